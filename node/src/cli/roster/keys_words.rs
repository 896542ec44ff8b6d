//! An organization's nodes and keys in plain words, and what a new set of them changes.

use std::collections::BTreeMap;

use signpost_protocol::{
    NodeId, PublicKey, Timestamp,
    roster::{KeyRecord, NodeRecord, OrganizationKeys, RevocationReason},
    statement::KeyUse,
};

use super::words::{count, time};

/// What a key is for.
pub(super) const fn usage(usage: KeyUse) -> &'static str {
    match usage {
        KeyUse::Root => "root",
        KeyUse::Govern => "govern",
        KeyUse::Pointer => "pointer",
        KeyUse::Transport => "transport",
    }
}

/// Why a key was revoked.
pub(super) const fn reason(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Compromised => "somebody else may have it",
        RevocationReason::Superseded => "another has taken its place",
        RevocationReason::Retired => "it is no longer needed",
    }
}

/// Why a key is revoked, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Reason {
    /// Somebody else may have it.
    Compromised,
    /// Another has taken its place.
    Superseded,
    /// It is no longer needed.
    Retired,
}

impl Reason {
    /// As the roster says it.
    pub(super) const fn said(self) -> RevocationReason {
        match self {
            Self::Compromised => RevocationReason::Compromised,
            Self::Superseded => RevocationReason::Superseded,
            Self::Retired => RevocationReason::Retired,
        }
    }

    /// As a person types it.
    pub(super) const fn typed(self) -> &'static str {
        match self {
            Self::Compromised => "compromised",
            Self::Superseded => "superseded",
            Self::Retired => "retired",
        }
    }
}

/// Whether a key counts at an instant, and until when.
pub(super) fn validity(key: &KeyRecord, now: Timestamp) -> String {
    match key.revoked {
        Some(revoked) if revoked.since <= now => {
            format!("REVOKED since {}: {}", time(revoked.since), reason(revoked.reason))
        }
        _ if now < key.not_before => format!("not valid before {}", time(key.not_before)),
        _ if key.not_after <= now => format!("EXPIRED at {}", time(key.not_after)),
        _ => format!("valid until {}", time(key.not_after)),
    }
}

/// A key by its use and the first digits of its id.
pub(super) fn key(key: &KeyRecord) -> String {
    let id = key.key.key_id().to_string();
    match key.node {
        Some(node) => format!("{} key {} of node {}", usage(key.usage), &id[..8], short(&node)),
        None => format!("{} key {}", usage(key.usage), &id[..8]),
    }
}

/// How many nodes and keys a set lists.
pub(super) fn summary(set: &OrganizationKeys) -> String {
    let nodes = count(set.nodes.len() as u64, "node");
    format!("{nodes} and {}", count(set.keys.len() as u64, "key"))
}

/// What the second set changes of the first, one sentence each; empty when nothing.
pub(super) fn difference(before: &OrganizationKeys, after: &OrganizationKeys) -> Vec<String> {
    let mut lines = Vec::new();
    let nodes = |set: &OrganizationKeys| -> BTreeMap<NodeId, NodeRecord> {
        set.nodes.iter().map(|node| (node.node, node.clone())).collect()
    };
    let (old, new) = (nodes(before), nodes(after));
    for (node, record) in &new {
        match old.get(node) {
            None => lines.push(format!("New node {} at {}.", short(node), addresses(record))),
            Some(other) if other.addresses != record.addresses => lines.push(format!(
                "Node {} moves from {} to {}.",
                short(node),
                addresses(other),
                addresses(record)
            )),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|node| !new.contains_key(node));
    lines.extend(gone.map(|node| format!("Node {} is gone.", short(node))));

    let keys = |set: &OrganizationKeys| -> BTreeMap<PublicKey, KeyRecord> {
        set.keys.iter().map(|key| (key.key, *key)).collect()
    };
    let (old, new) = (keys(before), keys(after));
    for (public, record) in &new {
        let Some(other) = old.get(public) else {
            lines.push(format!(
                "New {}, valid from {} until {}.",
                key(record),
                time(record.not_before),
                time(record.not_after)
            ));
            continue;
        };
        match (other.revoked, record.revoked) {
            (None, Some(revoked)) => lines.push(format!(
                "Revoked: {}, as of {}: {}.",
                key(record),
                time(revoked.since),
                reason(revoked.reason)
            )),
            (Some(_), None) => lines.push(format!("No longer revoked: {}.", key(record))),
            _ => {}
        }
        if (other.not_before, other.not_after) != (record.not_before, record.not_after) {
            lines.push(format!(
                "Valid from {} until {} now: {}.",
                time(record.not_before),
                time(record.not_after),
                key(record)
            ));
        }
    }
    let gone = old.iter().filter(|(public, _)| !new.contains_key(public));
    lines.extend(gone.map(|(_, record)| format!("No longer listed: {}.", key(record))));
    lines
}

/// Where a node listens.
fn addresses(node: &NodeRecord) -> String {
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") }
}

/// A node by its first digits.
pub(super) fn short(node: &NodeId) -> String {
    node.to_string()[..8].to_owned()
}
