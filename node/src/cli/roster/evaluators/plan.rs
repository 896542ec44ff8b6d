//! A call to a ceremony: drafted from the roster of now, and said in plain words. Pure.

use signpost_protocol::{
    KeyEpoch, OrganizationId, Timestamp,
    blind::EvaluatorSet,
    codec::Bounded,
    limits,
    roster::{CeremonyCall, Dealer},
};

use super::super::{
    fail,
    view::View,
    words::{count, name, names, time},
};

/// Evaluators that are advised, at least: of these, three are enough, and two may be away.
const EVALUATORS_ADVISED: usize = 5;

/// What is wanted of a ceremony.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Who is to hold a share.
    pub(super) evaluators: Vec<OrganizationId>,
    /// How many of them it takes.
    pub(super) threshold: u16,
    /// Holders that are not to deal: they are away, or not trusted.
    pub(super) without: Vec<OrganizationId>,
    /// How long it may take, in milliseconds.
    pub(super) life: u64,
}

/// The call of a steward: to make a key, or to hand on the one there is.
pub(super) fn call(
    view: &View,
    steward: OrganizationId,
    wanted: Wanted,
) -> anyhow::Result<CeremonyCall> {
    let state = view.roster.evaluators();
    let set = state.current();
    let holders = set.into_iter().flat_map(|set| set.evaluators.iter());
    if let Some(stranger) = (wanted.without.iter())
        .find(|one| !holders.clone().any(|holder| holder.organization == **one))
    {
        return Err(fail(
            format!(
                "{} holds no share of the key, so it would not deal anyhow",
                name(view, stranger)
            ),
            "`signpost evaluators show` says who does",
        ));
    }
    let dealers: Vec<Dealer> = holders
        .filter(|one| !wanted.without.contains(&one.organization))
        .map(|one| Dealer { index: one.index, organization: one.organization })
        .collect();
    let many = || {
        fail(
            format!("a key has at most {} evaluators", limits::EVALUATORS_MAX),
            "name fewer of them",
        )
    };
    let (key_epoch, share_epoch) = match set {
        None => (KeyEpoch(1), 1),
        Some(set) => (set.key_epoch, set.share_epoch.saturating_add(1)),
    };
    let call = CeremonyCall {
        steward,
        number: view.statements.next_call_number(&steward),
        previous: state.id,
        key_epoch,
        share_epoch,
        threshold: wanted.threshold,
        evaluators: Bounded::new(wanted.evaluators).ok_or_else(many)?,
        dealers: Bounded::new(dealers).ok_or_else(many)?,
        issued: view.now,
        expires: view.now.plus(wanted.life.min(view.roster.parameters().proposal_life_max)),
    };
    check(view, &call)?;
    Ok(call)
}

/// Refuses a call of which nothing could come.
fn check(view: &View, call: &CeremonyCall) -> anyhow::Result<()> {
    if call.evaluators.len() < 2 || call.threshold < 2 {
        return Err(fail(
            "with one evaluator, or if one is enough, that one has the whole key".to_owned(),
            "name three or more, and a threshold of two at least",
        ));
    }
    if usize::from(call.threshold) > call.evaluators.len() {
        return Err(fail(
            format!("{} of {} evaluators is not possible", call.threshold, call.evaluators.len()),
            "choose a threshold between half of them and all",
        ));
    }
    for organization in call.evaluators.iter().chain(call.dealers.iter().map(|d| &d.organization)) {
        if !view.roster.is_admitted(organization) {
            return Err(fail(
                format!(
                    "{} is no admitted member, so it cannot take part",
                    name(view, organization)
                ),
                "name others; leave a holder out with --without",
            ));
        }
    }
    view.roster.evaluators().handed_on(call).map_err(|reason| {
        fail(
            format!("nothing could come of it: {reason}"),
            "`signpost evaluators show` has what counts",
        )
    })?;
    Ok(())
}

/// A call in plain words.
pub(super) fn words(view: &View, call: &CeremonyCall) -> String {
    let (threshold, evaluators) = (call.threshold, call.evaluators.len());
    let old = view.roster.evaluators().handed_on(call).ok().flatten();
    let what = match old {
        None if call.dealers.is_empty() => format!(
            "Make a key among {evaluators} evaluators, of whom any {threshold} can evaluate.\n"
        ),
        None => format!(
            "Hand a key on to {evaluators} evaluators, of whom any {threshold} can evaluate.\n"
        ),
        Some(old) if is_same(old, call) => format!(
            "Hand the key on to new shares of the same {evaluators} evaluators, of whom any {threshold} \
             can evaluate.\n"
        ),
        Some(old) => format!(
            "Hand the key on to {evaluators} evaluators, of whom any {threshold} can evaluate; it was {} \
             of {}.\n  New among them: {}; evaluators no longer: {}.\n",
            old.threshold,
            old.evaluators.len(),
            names(view, &gained(old, call)),
            names(view, &lost(old, call)),
        ),
    };
    let dealers: Vec<_> = call.dealers.iter().map(|dealer| dealer.organization).collect();
    let deal_all = old.is_some_and(|old| old.evaluators.len() == dealers.len());
    let what = if dealers.is_empty() || (deal_all && old.is_some_and(|old| is_same(old, call))) {
        what
    } else {
        format!("{what}  Handed on by: {}. All of them have to take part.\n", names(view, &dealers))
    };
    let mut text = format!(
        "{what}  Evaluators: {}. All of them have to take part.\n  Key epoch {}, share epoch {}; over \
         at {}.\n",
        names(view, call.evaluators.iter()),
        call.key_epoch.0,
        call.share_epoch,
        time(call.expires),
    );
    if !call.dealers.is_empty() {
        text += "  Locators stay as they are. The old shares are deleted a while after the new ones are \
                 in force; nobody can prove that of another.\n";
    }
    for warning in warnings(view, call) {
        text += &format!("  CAREFUL: {warning}\n");
    }
    text
}

fn is_same(old: &EvaluatorSet, call: &CeremonyCall) -> bool {
    old.threshold == call.threshold && gained(old, call).is_empty() && lost(old, call).is_empty()
}

/// Who is to evaluate and does not now.
fn gained(old: &EvaluatorSet, call: &CeremonyCall) -> Vec<OrganizationId> {
    let is_new = |one: &&OrganizationId| old.evaluators.iter().all(|e| e.organization != **one);
    call.evaluators.iter().filter(is_new).copied().collect()
}

/// Who evaluates now and is not to any more.
fn lost(old: &EvaluatorSet, call: &CeremonyCall) -> Vec<OrganizationId> {
    let organizations = old.evaluators.iter().map(|one| one.organization);
    organizations.filter(|one| !call.evaluators.contains(one)).collect()
}

fn warnings(view: &View, call: &CeremonyCall) -> Vec<String> {
    let (threshold, evaluators) = (usize::from(call.threshold), call.evaluators.len());
    let mut warnings = Vec::new();
    if evaluators < EVALUATORS_ADVISED {
        warnings.push(format!(
            "{} are few: {EVALUATORS_ADVISED} are advised, of different sectors and suppliers.",
            count(evaluators as u64, "evaluator")
        ));
    }
    if threshold * 2 <= evaluators {
        warnings.push(format!("Half of them or fewer, {threshold}, could find out every patient."));
    }
    if threshold == evaluators {
        warnings.push("No look-up of a new patient works while one of them is away.".to_owned());
    }
    let nodes = |organization: &OrganizationId| {
        let member = view.member(organization);
        let nodes = member.into_iter().flat_map(|member| &member.nodes);
        nodes.map(|node| node.node).collect::<Vec<_>>()
    };
    for (at, one) in call.evaluators.iter().enumerate() {
        let others = call.evaluators[..at].iter();
        for other in others.filter(|other| nodes(other).iter().any(|n| nodes(one).contains(n))) {
            warnings.push(format!(
                "{} and {} are served by one node, which will not hold shares for both.",
                name(view, other),
                name(view, one)
            ));
        }
    }
    if view.roster.evaluators().current().is_some_and(|set| set.dealt) {
        warnings.push(
            "The key was dealt by one party, which knows it still: handing it on does not change that."
                .to_owned(),
        );
    }
    warnings
}

/// The longest that a ceremony may be called for: hours to milliseconds.
pub(super) const fn hours(hours: u64) -> u64 {
    hours * 3_600_000
}

/// Whether its time is over.
pub(super) fn is_over(call: &CeremonyCall, now: Timestamp) -> bool {
    call.expires <= now
}
