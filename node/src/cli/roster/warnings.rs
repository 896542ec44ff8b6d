//! What a person should be careful about before he approves a proposal.

use signpost_keys::roster::State;
use signpost_protocol::{
    ContentHash, OrganizationId,
    roster::{Change, MemberRecord, Proposal, Standing, StewardEpoch, Subject},
};

use super::{
    evaluators,
    view::View,
    words::{count, name, names, short, standing, subject, time},
};

/// Stewards of whom two may be away and three still decide (DESIGN §5 asks for 5 to 15).
const STEWARDS_ADVISED: usize = 5;

/// Everything to be careful about in this proposal.
pub(super) fn warnings(view: &View, id: &ContentHash, proposal: &Proposal) -> Vec<String> {
    let mut warnings = Vec::new();
    let epoch = view.roster.epoch().number();
    let is_open = view.law.proposal(id).is_none_or(|decision| decision.state == State::Open);
    if proposal.epoch != epoch && is_open {
        warnings.push(format!(
            "It was written against an old roster: it asks the stewards of epoch {}, and those of \
             epoch {epoch} decide now.",
            proposal.epoch
        ));
    }
    if view.age() >= view.roster.parameters().heartbeat_warn {
        warnings.push(format!(
            "This roster may be old: enough stewards were last heard of at {}. Others may know more.",
            time(view.roster.fresh())
        ));
    }
    let (about, version) = proposal.change.subject();
    if is_open {
        versions(view, about, version, &mut warnings);
        rivals(view, id, about, version, &mut warnings);
    }
    match &proposal.change {
        Change::Member(record) => member(view, record, &mut warnings),
        Change::Stewards(next) => stewards(view, next, &mut warnings),
        Change::Evaluators(record) if is_open => {
            warnings.extend(evaluators::warnings(view, record))
        }
        Change::Evaluators(_) => {}
        Change::Root(reset) => {
            let standing = view.member(&reset.organization).map(|member| member.standing);
            if standing == Some(Standing::Admitted) {
                warnings.push(
                    "If somebody else may have its root key, suspend it first: who has the key can \
                     object, and can list keys of his own until the reset takes effect."
                        .to_owned(),
                );
            }
        }
    }
    warnings
}

/// Versions that were passed over, or are taken.
fn versions(view: &View, about: Subject, version: u64, warnings: &mut Vec<String>) {
    let current = match about {
        Subject::Member(organization) => {
            view.law.record(&view.statements, &organization).map(|r| r.version)
        }
        Subject::Stewards => Some(view.roster.epoch().number()),
        Subject::Evaluators => Some(view.roster.evaluators().version),
        Subject::Root(organization) => {
            view.member(&organization).map(|member| u64::from(member.lineage))
        }
    };
    let Some(current) = current else { return };
    if version > current + 1 {
        warnings.push(format!(
            "It is version {version} of {}, and version {current} counts now: what was proposed in \
             between is passed over for good.",
            subject(view, about)
        ));
    }
    if version <= current {
        warnings.push(format!(
            "It is version {version} of {}, and version {current} counts already: it can change \
             nothing.",
            subject(view, about)
        ));
    }
}

/// Other proposals for the same version, and newer ones.
fn rivals(view: &View, id: &ContentHash, about: Subject, version: u64, warnings: &mut Vec<String>) {
    for (other, decision) in view.law.proposals() {
        let (subject, number) = decision.proposal.change.subject();
        if other == id || subject != about || decision.state != State::Open {
            continue;
        }
        if number == version {
            warnings.push(format!(
                "Proposal {} is open as well and asks for another version {version}: whoever \
                 approves both contradicts himself in public.",
                short(other)
            ));
        } else if number > version {
            warnings.push(format!(
                "Proposal {} is open as well, and being version {number} it would take the place of \
                 this one.",
                short(other)
            ));
        }
    }
}

fn member(view: &View, record: &MemberRecord, warnings: &mut Vec<String>) {
    let organization = record.organization();
    if record.standing != Standing::Expelled
        && let Some(other) = view.others_with_code(&record.ods, &organization)
    {
        warnings.push(format!(
            "ODS code {} belongs to {} ({}) already: whoever was admitted with it later is treated \
             as suspended.",
            record.ods,
            other.name,
            standing(other.standing)
        ));
    }
    if record.standing == Standing::Admitted {
        if view.member(&organization).is_none() && view.last_keys(&organization).is_none() {
            warnings.push(
                "Its nodes and keys are not in the roster here yet. They go with its application, if \
                 that is proposed here; without them nobody will be able to speak with it."
                    .to_owned(),
            );
        }
        return;
    }
    let verb = if record.standing == Standing::Suspended { "suspended" } else { "expelled" };
    if view.roster.epoch().has(&organization) {
        warnings.push(format!(
            "It is a steward, and its approvals go on counting when it is {verb}: replace the \
             stewards as well (`signpost roster propose stewards --remove {}`).",
            record.ods
        ));
    }
    if view.is_evaluator(&organization) {
        let Some(set) = view.roster.evaluators().current() else { return };
        let others = set.evaluators.iter().map(|evaluator| evaluator.organization);
        let admitted =
            |other: &OrganizationId| *other != organization && view.roster.is_admitted(other);
        warnings.push(format!(
            "It is an evaluator: {} remain, of which {} must be up for any look-up.",
            count(others.filter(admitted).count() as u64, "evaluator"),
            set.threshold
        ));
    }
}

fn stewards(view: &View, next: &StewardEpoch, warnings: &mut Vec<String>) {
    let stewards = next.stewards.len();
    let threshold = usize::from(next.threshold);
    if stewards < STEWARDS_ADVISED {
        warnings.push(format!(
            "{} are few: {} are advised, so that some may be away and none decides alone.",
            count(stewards as u64, "steward"),
            STEWARDS_ADVISED
        ));
    }
    match threshold {
        1 => warnings.push("One steward alone could change everything.".to_owned()),
        all if all == stewards => warnings.push(
            "Every steward must approve everything: one that is away, or has lost its key, stops \
             all decisions, and no other decision can mend that."
                .to_owned(),
        ),
        threshold if threshold < usize::from(view.roster.epoch().threshold()) => {
            warnings.push(format!(
                "Fewer stewards than until now could decide together: {threshold} instead of {}.",
                view.roster.epoch().threshold()
            ));
        }
        _ => {}
    }
    let away: Vec<OrganizationId> = next
        .stewards
        .iter()
        .map(|steward| steward.organization)
        .filter(|steward| !view.roster.is_admitted(steward))
        .collect();
    if !away.is_empty() {
        warnings.push(format!("Not an admitted member: {}.", names(view, &away)));
    }
    let unlisted = next.stewards.iter().filter(|steward| {
        !view.roster.keys_of(&steward.organization).iter().any(|key| key.key == steward.govern)
    });
    for steward in unlisted {
        warnings.push(format!(
            "{} does not list the govern key that is proposed for it.",
            name(view, &steward.organization)
        ));
    }
}
