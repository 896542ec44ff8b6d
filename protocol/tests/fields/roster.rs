//! The messages of the roster plane.

use signpost_protocol::{
    KeyEpoch,
    blind::{Evaluator, EvaluatorSet},
    codec::Text,
    roster::{
        Approval, CeremonyCall, CeremonyMessage, Change, Dealer, Endorsement, EvaluatorsRecord,
        Founding, Heartbeat, Inception, KeyRecord, MemberRecord, NodeRecord, Objection,
        OrganizationKeys, Parameters, Proposal, Quotas, Revocation, RevocationReason, RootReset,
        RosterFile, Standing, Steward, StewardEpoch,
    },
    statement::KeyUse,
};

use super::Fields;

pub(crate) fn inception(f: Fields<'_>) -> Inception {
    Inception {
        root: f.parse("root"),
        next_root: f.parse("next_root"),
        ods: f.parse("ods"),
        name: f.text("name"),
        created: f.time("created"),
    }
}

fn revocation(f: Fields<'_>) -> Revocation {
    let reasons = [
        ("compromised", RevocationReason::Compromised),
        ("superseded", RevocationReason::Superseded),
        ("retired", RevocationReason::Retired),
    ];
    Revocation { since: f.time("since"), reason: f.one_of("reason", &reasons) }
}

fn key_record(f: Fields<'_>) -> KeyRecord {
    let uses = [
        ("root", KeyUse::Root),
        ("govern", KeyUse::Govern),
        ("pointer", KeyUse::Pointer),
        ("transport", KeyUse::Transport),
    ];
    KeyRecord {
        key: f.parse("key"),
        usage: f.one_of("usage", &uses),
        node: f.has("node").then(|| f.parse("node")),
        not_before: f.time("not_before"),
        not_after: f.time("not_after"),
        revoked: f.has("revoked").then(|| revocation(f.get("revoked"))),
    }
}

fn node_record(f: Fields<'_>) -> NodeRecord {
    let address = |f: Fields<'_>| Text::new(f.str()).expect("an address within its cap");
    NodeRecord { node: f.parse("node"), addresses: f.list("addresses", address) }
}

pub(crate) fn organization_keys(f: Fields<'_>) -> OrganizationKeys {
    OrganizationKeys {
        organization: f.parse("organization"),
        lineage: f.uint("lineage"),
        version: f.uint("version"),
        previous: f.parse("previous"),
        nodes: f.list("nodes", node_record),
        keys: f.list("keys", key_record),
        issued: f.time("issued"),
    }
}

fn member_record(f: Fields<'_>) -> MemberRecord {
    let standings = [
        ("admitted", Standing::Admitted),
        ("suspended", Standing::Suspended),
        ("expelled", Standing::Expelled),
    ];
    MemberRecord {
        inception: f.get("inception").byte_string(),
        version: f.uint("version"),
        standing: f.one_of("standing", &standings),
        ods: f.parse("ods"),
        name: f.text("name"),
        class_max: f.uint("class_max"),
        successor: f.has("successor").then(|| f.parse("successor")),
    }
}

fn steward(f: Fields<'_>) -> Steward {
    Steward { organization: f.parse("organization"), govern: f.parse("govern") }
}

fn parameters(f: Fields<'_>) -> Parameters {
    Parameters {
        head_interval: f.uint("head_interval"),
        head_age_max: f.uint("head_age_max"),
        clock_skew_max: f.uint("clock_skew_max"),
        request_life_max: f.uint("request_life_max"),
        heartbeat_interval: f.uint("heartbeat_interval"),
        heartbeat_warn: f.uint("heartbeat_warn"),
        governance_age_max: f.uint("governance_age_max"),
        disclosure_age_max: f.uint("disclosure_age_max"),
        reset_wait: f.uint("reset_wait"),
        reapproval_grace: f.uint("reapproval_grace"),
        proposal_life_max: f.uint("proposal_life_max"),
        quotas: f.has("quotas").then(|| {
            let f = f.get("quotas");
            Quotas {
                lookups: f.uint("lookups"),
                lookups_permille: f.uint("lookups_permille"),
                publishes: f.uint("publishes"),
                publishes_permille: f.uint("publishes_permille"),
            }
        }),
    }
}

fn evaluator_set(f: Fields<'_>) -> EvaluatorSet {
    let evaluator = |f: Fields<'_>| Evaluator {
        index: f.uint("index"),
        organization: f.parse("organization"),
        public_share: f.byte_array("public_share"),
    };
    EvaluatorSet {
        key_epoch: KeyEpoch(f.uint("key_epoch")),
        share_epoch: f.uint("share_epoch"),
        threshold: f.uint("threshold"),
        group: f.byte_array("group"),
        evaluators: f.list("evaluators", evaluator),
        dealt: f.bool("dealt"),
    }
}

pub(crate) fn founding(f: Fields<'_>) -> Founding {
    Founding {
        name: f.text("name"),
        founded: f.time("founded"),
        parameters: parameters(f.get("parameters")),
        members: f.list("members", member_record),
        evaluators: f.has("evaluators").then(|| evaluator_set(f.get("evaluators"))),
        stewards: f.list("stewards", steward),
        threshold: f.uint("threshold"),
    }
}

pub(crate) fn endorsement(f: Fields<'_>) -> Endorsement {
    Endorsement {
        organization: f.parse("organization"),
        network: f.parse("network"),
        issued: f.time("issued"),
    }
}

pub(crate) fn roster_file(f: Fields<'_>) -> RosterFile {
    RosterFile {
        founding: f.get("founding").byte_string(),
        statements: f.list("statements", Fields::byte_string),
    }
}

fn change(f: Fields<'_>) -> Change {
    if f.has("member") {
        Change::Member(member_record(f.get("member").get("record")))
    } else if f.has("stewards") {
        let f = f.get("stewards").get("epoch");
        Change::Stewards(StewardEpoch {
            number: f.uint("number"),
            previous: f.parse("previous"),
            stewards: f.list("stewards", steward),
            threshold: f.uint("threshold"),
            parameters: parameters(f.get("parameters")),
        })
    } else if f.has("evaluators") {
        let f = f.get("evaluators").get("record");
        Change::Evaluators(EvaluatorsRecord {
            version: f.uint("version"),
            previous: f.parse("previous"),
            sets: f.list("sets", evaluator_set),
            ceremony: f.parse("ceremony"),
            transcript: f.parse("transcript"),
        })
    } else {
        let f = f.get("root").get("reset");
        Change::Root(RootReset {
            organization: f.parse("organization"),
            lineage: f.uint("lineage"),
            root: f.parse("root"),
            next_root: f.parse("next_root"),
        })
    }
}

pub(crate) fn proposal(f: Fields<'_>) -> Proposal {
    Proposal {
        epoch: f.uint("epoch"),
        change: change(f.get("change")),
        reason: f.text("reason"),
        issued: f.time("issued"),
        expires: f.time("expires"),
    }
}

pub(crate) fn approval(f: Fields<'_>) -> Approval {
    Approval {
        steward: f.parse("steward"),
        proposal: f.get("proposal").byte_string(),
        issued: f.time("issued"),
    }
}

pub(crate) fn objection(f: Fields<'_>) -> Objection {
    Objection {
        organization: f.parse("organization"),
        proposal: f.parse("proposal"),
        reason: f.text("reason"),
        issued: f.time("issued"),
    }
}

pub(crate) fn heartbeat(f: Fields<'_>) -> Heartbeat {
    Heartbeat {
        steward: f.parse("steward"),
        number: f.uint("number"),
        roster: f.parse("roster"),
        witnessed: f.list("witnessed", |f| f.str().parse().expect("a hash")),
        issued: f.time("issued"),
    }
}

pub(crate) fn ceremony_call(f: Fields<'_>) -> CeremonyCall {
    let dealer =
        |f: Fields<'_>| Dealer { index: f.uint("index"), organization: f.parse("organization") };
    CeremonyCall {
        steward: f.parse("steward"),
        number: f.uint("number"),
        previous: f.parse("previous"),
        key_epoch: KeyEpoch(f.uint("key_epoch")),
        share_epoch: f.uint("share_epoch"),
        threshold: f.uint("threshold"),
        evaluators: f.list("evaluators", |f| f.str().parse().expect("an organization")),
        dealers: f.list("dealers", dealer),
        issued: f.time("issued"),
        expires: f.time("expires"),
    }
}

pub(crate) fn ceremony_message(f: Fields<'_>) -> CeremonyMessage {
    CeremonyMessage {
        organization: f.parse("organization"),
        ceremony: f.parse("ceremony"),
        message: f.get("message").byte_string(),
        issued: f.time("issued"),
    }
}
