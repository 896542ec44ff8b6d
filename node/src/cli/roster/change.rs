//! A proposal in plain words, against the roster of now: what it does, what it changes, what stays,
//! and what to be careful about. Nothing is signed that has not been shown like this.

use signpost_keys::roster::State;
use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    roster::{Change, MemberRecord, Objection, Proposal, RootReset, Standing, StewardEpoch},
};

use super::{
    doubt, evaluators, keys_words,
    view::View,
    warnings::warnings,
    words::{about, count, duration, name, names, parameters, quotas, short, standing, time},
};
use crate::{
    cli::text::{fingerprint, fingerprint_words},
    digests::SizeClass,
};

/// A proposal in plain words.
pub(super) struct Words {
    /// One sentence: what it does.
    pub(super) title: String,
    /// What follows from it, what it changes and what stays, a sentence or two each.
    pub(super) lines: Vec<String>,
    /// What to be careful about.
    pub(super) warnings: Vec<String>,
}

impl Words {
    /// The proposal of this id, in plain words.
    pub(super) fn of(view: &View, id: &ContentHash, proposal: &Proposal) -> Self {
        let mut lines = match &proposal.change {
            Change::Member(record) => member_lines(view, record),
            Change::Stewards(epoch) => steward_lines(view, epoch),
            Change::Root(reset) => reset_lines(view, id, reset, proposal.expires),
            Change::Evaluators(record) => evaluators::lines(view, record),
        };
        lines.push(format!("Why: {}", &*proposal.reason));
        lines.push(format!(
            "Written at {}; void at {} unless it is decided by then.",
            time(proposal.issued),
            time(proposal.expires)
        ));
        let warnings = warnings(view, id, proposal);
        Self { title: title(view, &proposal.change), lines, warnings }
    }

    /// As text: the title, then the rest indented.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for line in &self.lines {
            text += &format!("  {line}\n");
        }
        for warning in &self.warnings {
            text += &format!("  CAREFUL: {warning}\n");
        }
        text
    }
}

/// What a change of a record comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Admit,
    Suspend,
    Readmit,
    Expel,
    Amend,
}

fn kind(view: &View, record: &MemberRecord) -> Kind {
    let before = view.record_before(&record.organization(), record.version);
    // A record that has fallen does not let its member in any more.
    let standing = |before: &MemberRecord| match view.member(&record.organization()) {
        Some(member) if member.version == before.version && has_fallen(view, record) => {
            member.standing
        }
        _ => before.standing,
    };
    match (before.map(standing), record.standing) {
        (None, Standing::Admitted) => Kind::Admit,
        (Some(now), then) if now == then => Kind::Amend,
        (Some(_), Standing::Admitted) => Kind::Readmit,
        (_, Standing::Suspended) => Kind::Suspend,
        (_, Standing::Expelled) => Kind::Expel,
    }
}

fn has_fallen(view: &View, record: &MemberRecord) -> bool {
    doubt::of_record(view, &record.organization()) == Some(State::Fallen)
}

/// Whether a person has to type more than a letter to confirm it, and whose code.
pub(super) fn is_grave(view: &View, change: &Change) -> Option<OrganizationId> {
    match change {
        Change::Member(record) => {
            matches!(kind(view, record), Kind::Suspend | Kind::Expel).then(|| record.organization())
        }
        Change::Root(reset) => Some(reset.organization),
        Change::Stewards(_) | Change::Evaluators(_) => None,
    }
}

/// What a change does, in one sentence.
pub(super) fn title(view: &View, change: &Change) -> String {
    match change {
        Change::Member(record) => {
            let organization = record.organization();
            let named = match view.member(&organization) {
                Some(_) => name(view, &organization),
                None => format!("{} ({})", &*record.name, record.ods),
            };
            match kind(view, record) {
                Kind::Admit => format!("Admit {named} as a new member."),
                Kind::Suspend => format!("Suspend {named}."),
                Kind::Readmit => format!("Readmit {named}."),
                Kind::Expel => format!("Expel {named} for good."),
                Kind::Amend => format!("Change the record of {named}."),
            }
        }
        Change::Stewards(epoch) => format!(
            "Replace the stewards: epoch {} with {}, of whom {} make law.",
            epoch.number,
            count(epoch.stewards.len() as u64, "steward"),
            epoch.threshold
        ),
        Change::Root(reset) => {
            format!("Replace the root key of {}.", name(view, &reset.organization))
        }
        Change::Evaluators(record) => evaluators::title(record),
    }
}

fn member_lines(view: &View, record: &MemberRecord) -> Vec<String> {
    let organization = record.organization();
    let mut lines = vec![
        match kind(view, record) {
            Kind::Admit => {
                "From then on it asks and is asked like every other member, with the nodes and keys \
                 that it has signed."
            }
            Kind::Suspend => {
                "From then on no node asks it or answers it; results name it as excluded, so that \
                 nobody takes its silence for \"no records\". It can be readmitted."
            }
            Kind::Readmit => "From then on it asks and is asked again, like every other member.",
            Kind::Expel => {
                "From then on no node asks it or answers it, and results do not wait for it. It does \
                 not come back: it would have to apply anew, as a new organization."
            }
            Kind::Amend => "It stands as it stood.",
        }
        .to_owned(),
    ];
    let id = organization.to_string();
    let Some(before) = view.record_before(&organization, record.version) else {
        lines.push(format!("ODS code {}, name {}.", record.ods, &*record.name));
        lines.push(class(record.class_max));
        lines.push(
            "Its fingerprint, to compare with what it reads out to you over the telephone:"
                .to_owned(),
        );
        lines.push(format!("  {}", fingerprint_words(organization.as_bytes())));
        lines.push(format!("  {}", fingerprint(&id)));
        if let Some(set) = view.last_keys(&organization) {
            lines.push(format!("It has signed {}.", keys_words::summary(set)));
        }
        return lines;
    };
    let mut changes = vec![format!("version {} → {}", before.version, record.version)];
    let mut stays = Vec::new();
    let mut compare = |what: &str, before: String, after: String| {
        if before == after {
            stays.push(format!("{what} {after}"));
        } else {
            changes.push(format!("{what} {before} → {after}"));
        }
    };
    compare("standing", standing(before.standing).to_owned(), standing(record.standing).to_owned());
    compare("ODS code", before.ods.to_string(), record.ods.to_string());
    compare("name", before.name.to_string(), record.name.to_string());
    compare("largest digest class", before.class_max.to_string(), record.class_max.to_string());
    let successor = |record: &MemberRecord| {
        record.successor.map_or("none".to_owned(), |successor| name(view, &successor))
    };
    compare("successor", successor(before), successor(record));
    lines.push(format!("Changes: {}.", changes.join("; ")));
    if !stays.is_empty() {
        lines.push(format!("Stays: {}.", stays.join("; ")));
    }
    if before.class_max != record.class_max {
        lines.push(class(record.class_max));
    }
    lines.push(format!(
        "Fingerprint of the organization: {}",
        fingerprint_words(organization.as_bytes())
    ));
    lines
}

fn class(class_max: u8) -> String {
    match SizeClass::new(class_max) {
        Some(class) => format!(
            "Each of its nodes may advertise up to {} patients (digest class {class_max}).",
            class.filled()
        ),
        None => format!("Its digest class {class_max} is unknown to this version of Signpost."),
    }
}

fn steward_lines(view: &View, next: &StewardEpoch) -> Vec<String> {
    let epoch = view.roster.epoch();
    let joins: Vec<_> =
        next.stewards.iter().map(|s| s.organization).filter(|s| !epoch.has(s)).collect();
    let has = |organization: &OrganizationId| {
        next.stewards.iter().any(|steward| steward.organization == *organization)
    };
    let (stays, leaves): (Vec<_>, Vec<_>) =
        epoch.stewards().map(|steward| steward.organization).partition(has);
    let rekeyed: Vec<_> = epoch
        .stewards()
        .filter(|old| {
            let mut new = next.stewards.iter().filter(|new| new.organization == old.organization);
            new.any(|new| new.govern != old.govern)
        })
        .map(|steward| steward.organization)
        .collect();
    let mut lines = vec![
        "From then on their approvals decide, and the approvals of those who leave count no more."
            .to_owned(),
        format!("Leaves: {}.", names(view, &leaves)),
        format!("Joins: {}.", names(view, &joins)),
        format!("Stays: {}.", names(view, &stays)),
    ];
    if !rekeyed.is_empty() {
        lines.push(format!("With another govern key: {}.", names(view, &rekeyed)));
    }
    lines.push(format!(
        "Threshold: {} of {} → {} of {}.",
        epoch.threshold(),
        epoch.stewards().len(),
        next.threshold,
        next.stewards.len()
    ));
    let (old, new) = (parameters(epoch.parameters()), parameters(&next.parameters));
    let changed = old.iter().zip(new).filter(|(old, new)| **old != *new);
    let changed: Vec<_> = changed
        .map(|((what, old), (_, new))| format!("{what} {} → {}", duration(*old), duration(new)))
        .collect();
    lines.push(match changed.as_slice() {
        [] => "The network's durations stay as they are.".to_owned(),
        changed => format!("Durations: {}.", changed.join("; ")),
    });
    let (old, new) = (quotas(epoch.parameters()), quotas(&next.parameters));
    let changed = old.iter().zip(new).filter(|(old, new)| **old != *new);
    let changed: Vec<_> =
        changed.map(|((what, old), (_, new))| format!("{what} {old} → {new}")).collect();
    if !changed.is_empty() {
        lines.push(format!("Quotas of evaluations: {}.", changed.join("; ")));
    }
    lines.push(format!(
        "It takes the approval of {} of those until now and of {} of those from then on.",
        epoch.threshold(),
        next.threshold
    ));
    lines
}

fn reset_lines(
    view: &View,
    id: &ContentHash,
    reset: &RootReset,
    expires: Timestamp,
) -> Vec<String> {
    let effect = expires.plus(view.roster.parameters().reset_wait);
    let mut lines = vec![
        format!(
            "From {} on, if enough stewards approve it in time, keys of this organization count only \
             if the new root key has signed them; its nodes go on working meanwhile.",
            time(effect)
        ),
        format!(
            "Until then whoever has its present root key can stop this: `signpost roster object {} \
             --reason ...`.",
            short(id)
        ),
        format!("Root key number {} of the organization (lineage {}).", reset.lineage + 1, reset.lineage),
        "The new root key, to compare with what the organization reads out to you, face to face or \
         in a video call:"
            .to_owned(),
        format!("  {}", fingerprint_words(reset.root.as_bytes())),
        format!("  {}", fingerprint(&reset.root.to_string())),
        format!("Hash of the root key after it: {}", fingerprint(&reset.next_root.to_string())),
    ];
    let left = effect.since(view.now);
    if left > 0 {
        lines.push(format!("Objections are possible for another {}.", about(left)));
    }
    lines
}

/// An objection in plain words.
pub(super) fn objection(view: &View, objection: &Objection) -> String {
    format!(
        "{} objects to proposal {} with a former root key: {}",
        name(view, &objection.organization),
        short(&objection.proposal),
        &*objection.reason
    )
}
