//! Who has approved a proposal, and whose approval is still needed.

use std::collections::BTreeSet;

use signpost_keys::roster::Counts;
use signpost_protocol::{
    ContentHash, KeyId, OrganizationId,
    roster::{Change, Proposal, Steward},
};

use super::view::View;

/// Stewards of whom so many have to approve.
pub(super) struct Group {
    /// `the stewards`, or those before or after the change.
    pub(super) label: &'static str,
    pub(super) approved: Vec<OrganizationId>,
    pub(super) others: Vec<OrganizationId>,
    pub(super) needed: usize,
}

impl Group {
    /// How many more approvals it takes.
    pub(super) fn missing(&self) -> usize {
        self.needed.saturating_sub(self.approved.len())
    }
}

/// Whose approvals a proposal of the present epoch takes; none for one of another epoch.
pub(super) fn groups(view: &View, id: &ContentHash, proposal: &Proposal) -> Vec<Group> {
    let epoch = view.roster.epoch();
    let doubtful: BTreeSet<OrganizationId> = view
        .law
        .proposal(id)
        .into_iter()
        .flat_map(|decision| &decision.approvals)
        .filter(|(_, _, counts)| matches!(counts, Counts::Not(_)))
        .map(|(steward, ..)| *steward)
        .collect();
    let given: BTreeSet<(OrganizationId, KeyId)> =
        view.statements.approvers(id).iter().map(|(steward, key, _)| (*steward, *key)).collect();
    let group = |label, stewards: &[Steward], needed: u16| {
        let has_approved = |steward: &&Steward| {
            given.contains(&(steward.organization, steward.govern.key_id()))
                && !doubtful.contains(&steward.organization)
        };
        let (approved, others): (Vec<&Steward>, Vec<_>) = stewards.iter().partition(has_approved);
        let ids = |stewards: Vec<&Steward>| stewards.iter().map(|s| s.organization).collect();
        Group { label, approved: ids(approved), others: ids(others), needed: needed.into() }
    };
    if proposal.epoch != epoch.number() {
        return Vec::new();
    }
    let stewards: Vec<Steward> = epoch.stewards().collect();
    match &proposal.change {
        Change::Stewards(next) => vec![
            group("the stewards until now", &stewards, epoch.threshold()),
            group("the stewards from then on", &next.stewards, next.threshold),
        ],
        _ => vec![group("the stewards", &stewards, epoch.threshold())],
    }
}

/// The organizations that have not approved and whose approval would count, each once.
pub(super) fn others(groups: &[Group]) -> Vec<OrganizationId> {
    let missing = groups.iter().filter(|group| group.missing() > 0);
    let mut others = Vec::new();
    for other in missing.flat_map(|group| &group.others) {
        if !others.contains(other) {
            others.push(*other);
        }
    }
    others
}
