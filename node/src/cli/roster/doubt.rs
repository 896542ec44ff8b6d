//! Decisions that rest on approvals which are in doubt, and how people mend them: by further
//! approvals for as long as the proposal takes any, and by proposing the same anew after that.

use signpost_keys::roster::{Decision, Finding, State};
use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    roster::{Change, MemberRecord, Standing},
};

use super::{
    view::View,
    words::{name, short, standing, time},
};

/// Until when a decision counts that has to be approved again; none when it is not in doubt.
pub(super) fn until(view: &View, id: &ContentHash) -> Option<Timestamp> {
    view.roster.findings().iter().find_map(|finding| match finding {
        Finding::ApproveAgain { proposal, until } if proposal == id => Some(*until),
        _ => None,
    })
}

/// Whether the record of a member that counts is in doubt, or has fallen for that.
pub(super) fn of_record(view: &View, organization: &OrganizationId) -> Option<State> {
    let counts = view.law.record(&view.statements, organization)?;
    in_doubt(view, |change| matches!(change, Change::Member(record) if record == counts))
}

/// Whether the present stewards were chosen by approvals that are in doubt.
pub(super) fn of_stewards(view: &View) -> bool {
    until(view, &view.roster.epoch().id()).is_some()
}

fn in_doubt(view: &View, is_it: impl Fn(&Change) -> bool) -> Option<State> {
    let mut all = view.law.proposals().filter(|(_, decision)| is_it(&decision.proposal.change));
    all.find_map(|(id, decision)| {
        let counts = matches!(decision.state, State::Law | State::Fallen);
        (counts && until(view, id).is_some()).then(|| decision.state.clone())
    })
}

/// Whether further approvals of this decision are taken, and count.
pub(super) fn takes_approvals(view: &View, decision: &Decision) -> bool {
    decision.proposal.epoch == view.roster.epoch().number() && view.now < decision.proposal.expires
}

/// What people do about a decision that is in doubt, without a full stop; none when it is not.
pub(super) fn mend(view: &View, id: &ContentHash) -> Option<String> {
    let until = until(view, id)?;
    let decision = view.law.proposal(id)?;
    if let Some(why) = needs_nothing(view, decision, until) {
        return Some(format!("{why}, so nothing has to be done"));
    }
    let (proposal, short) = (&decision.proposal, short(id));
    if takes_approvals(view, decision) {
        return Some(format!(
            "have other stewards approve it again before {}: `signpost roster approve {short}`",
            time(proposal.expires.min(until))
        ));
    }
    let over = if view.now < proposal.expires {
        format!("those of epoch {} decide now", view.roster.epoch().number())
    } else {
        format!("it expired at {}", time(proposal.expires))
    };
    let by = if view.now < until { format!(" before {}", time(until)) } else { String::new() };
    Some(format!(
        "it takes no more approvals ({over}): have the same decided anew{by}: {}",
        anew(view, &proposal.change)
    ))
}

/// The command that proposes the same again.
fn anew(view: &View, change: &Change) -> String {
    match change {
        Change::Member(record) => {
            format!("`signpost roster propose readmit {} --reason ...`", code(view, record))
        }
        Change::Stewards(_) => "`signpost roster propose stewards --reason ...`".to_owned(),
        Change::Evaluators(_) => "`signpost evaluators refresh`, and what follows it".to_owned(),
        Change::Root(reset) => {
            let ods = view
                .member(&reset.organization)
                .map_or_else(|| "ODS".to_owned(), |member| member.ods.to_string());
            format!(
                "if it falls before most stewards have seen it in effect, `signpost roster propose \
                 reset-root {ods} --root {} --next-root {} --reason ...`",
                reset.root, reset.next_root
            )
        }
    }
}

fn code(view: &View, record: &MemberRecord) -> String {
    let member = view.member(&record.organization());
    member.map_or_else(|| record.ods.to_string(), |member| member.ods.to_string())
}

/// Why the doubt changes nothing, if it does not.
fn needs_nothing(view: &View, decision: &Decision, until: Timestamp) -> Option<String> {
    let newer = || Some("something newer has taken its place".to_owned());
    match (&decision.state, &decision.proposal.change) {
        (State::Superseded, _) => newer(),
        (State::Objected | State::Conflicts, _) => Some("it is of no effect anyway".to_owned()),
        (_, Change::Stewards(next)) if next.number < view.roster.epoch().number() => newer(),
        (_, Change::Evaluators(record)) if record.version < view.roster.evaluators().version => {
            newer()
        }
        // What falls cuts off rather than lets in.
        (_, Change::Member(record)) if record.standing != Standing::Admitted => {
            let who = name(view, &record.organization());
            Some(format!("{who} stays {} all the same", standing(record.standing)))
        }
        (State::Law, Change::Root(_)) if until <= view.now => {
            Some("most stewards have seen it in effect".to_owned())
        }
        _ => None,
    }
}
