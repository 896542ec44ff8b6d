//! The changes that an admin can propose, made from the roster of now.

use signpost_keys::{Member, roster::Application};
use signpost_protocol::{
    ContentHash, OdsCode, OrganizationId, PublicKey, Timestamp,
    codec::{Bounded, ByteString, Text},
    limits,
    roster::{
        Change, KeyRecord, MemberRecord, Parameters, Proposal, RootReset, Standing, Steward,
        StewardEpoch, Subject,
    },
    statement::KeyUse,
};

use super::{doubt, fail, view::View, words};
use crate::digests::SizeClass;

/// A record to begin from: that of the member, in the next version that nobody has proposed.
fn next_record(view: &View, member: &Member, signed_max: u64) -> anyhow::Result<MemberRecord> {
    let organization = member.organization;
    let record = view.law.record(&view.statements, &organization).cloned();
    let mut record =
        record.ok_or_else(|| fail("the member has no record".to_owned(), "ask why"))?;
    record.version = view.version_seen(Subject::Member(organization)).max(signed_max) + 1;
    Ok(record)
}

/// What is to be different in a member's record.
#[derive(Clone, Debug, Default)]
pub(super) struct Edit {
    pub(super) standing: Option<Standing>,
    pub(super) ods: Option<OdsCode>,
    pub(super) name: Option<String>,
    pub(super) class_max: Option<u8>,
    pub(super) successor: Option<OrganizationId>,
}

/// A changed record of a member. `signed_max` is the highest version for it that this machine has
/// signed, 0 if none.
pub(super) fn record(
    view: &View,
    member: &Member,
    edit: &Edit,
    signed_max: u64,
) -> anyhow::Result<Change> {
    let mut record = next_record(view, member, signed_max)?;
    let who = words::name(view, &member.organization);
    let before = record.clone();
    match (member.standing, edit.standing) {
        (Standing::Expelled, _) => {
            return Err(fail(
                format!("{who} was expelled for good"),
                "it would have to apply anew, as a new organization",
            ));
        }
        // What is in doubt is decided anew by another version that says the same.
        (now, Some(then))
            if now == then && doubt::of_record(view, &member.organization).is_none() =>
        {
            return Err(fail(
                format!("{who} is {} already", words::standing(now)),
                "`signpost roster show` has where the members stand",
            ));
        }
        (_, Some(then)) => record.standing = then,
        (_, None) => {}
    }
    if let Some(ods) = &edit.ods {
        record.ods = ods.clone();
    }
    if let Some(name) = &edit.name {
        record.name = text(name, "a name")?;
    }
    if let Some(class) = edit.class_max {
        record.class_max = check_class(class)?;
    }
    if let Some(successor) = edit.successor {
        if successor == member.organization {
            return Err(fail(
                format!("{who} cannot be its own successor"),
                "name another member with --successor",
            ));
        }
        record.successor = Some(successor);
    }
    let unchanged = MemberRecord { version: before.version, ..record.clone() } == before;
    if edit.standing.is_none() && unchanged {
        return Err(fail(
            "nothing would change".to_owned(),
            "say what to change: --name, --new-ods, --class-max or --successor",
        ));
    }
    Ok(Change::Member(record))
}

/// The record of a new member.
pub(super) fn admission(
    view: &View,
    application: &Application,
    class_max: u8,
    signed_max: u64,
) -> anyhow::Result<Change> {
    let organization = application.organization;
    if let Some(member) = view.member(&organization) {
        return Err(fail(
            format!(
                "{} is a member already, and {}",
                words::name(view, &organization),
                words::standing(member.standing)
            ),
            "one that was suspended comes back by `signpost roster propose readmit`",
        ));
    }
    let inception = ByteString::new(application.inception.bytes().to_vec());
    Ok(Change::Member(MemberRecord {
        inception: inception
            .ok_or_else(|| fail("the inception is too long".to_owned(), "ask why"))?,
        version: view.version_seen(Subject::Member(organization)).max(signed_max) + 1,
        standing: Standing::Admitted,
        ods: application.inception.ods.clone(),
        name: application.inception.name.clone(),
        class_max: check_class(class_max)?,
        successor: None,
    }))
}

/// What is to be different in the next steward epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct EpochEdit {
    pub(super) add: Vec<OrganizationId>,
    pub(super) remove: Vec<OrganizationId>,
    pub(super) threshold: Option<u16>,
    /// Durations by name, in milliseconds.
    pub(super) set: Vec<(String, u64)>,
    /// Quotas by name.
    pub(super) quota: Vec<(String, u32)>,
}

/// The next steward epoch, with the govern keys that the stewards list now.
pub(super) fn epoch(view: &View, edit: &EpochEdit) -> anyhow::Result<Change> {
    let epoch = view.roster.epoch();
    let mut organizations: Vec<OrganizationId> =
        epoch.stewards().map(|steward| steward.organization).collect();
    for leaver in &edit.remove {
        let who = words::name(view, leaver);
        let at = organizations.iter().position(|one| one == leaver).ok_or_else(|| {
            fail(format!("{who} is no steward"), "`signpost roster show` marks the stewards")
        })?;
        organizations.remove(at);
    }
    for joiner in &edit.add {
        if organizations.contains(joiner) {
            return Err(fail(
                format!("{} is a steward already", words::name(view, joiner)),
                "`signpost roster show` marks the stewards",
            ));
        }
        organizations.push(*joiner);
    }
    let stewards: Vec<Steward> = organizations
        .into_iter()
        .map(|organization| {
            let govern = govern_key(view, &organization)?;
            Ok(Steward { organization, govern })
        })
        .collect::<anyhow::Result<_>>()?;
    let count = u16::try_from(stewards.len()).unwrap_or(u16::MAX);
    let threshold = edit.threshold.unwrap_or(count / 2 + 1);
    if threshold > count || threshold <= count / 2 {
        return Err(fail(
            format!(
                "{threshold} of {count} cannot make law: it takes more than half, and no more than all"
            ),
            "choose another --threshold, or leave it out",
        ));
    }
    let mut parameters = *epoch.parameters();
    for (name, value) in &edit.set {
        set(&mut parameters, name, *value)?;
    }
    for (name, value) in &edit.quota {
        set_quota(&mut parameters, name, *value)?;
    }
    if let Some(fault) = parameters.fault() {
        return Err(fail(format!("these durations make no sense: {fault}"), "choose others"));
    }
    let stewards = Bounded::new(stewards).ok_or_else(|| {
        fail(format!("a network has at most {} stewards", limits::STEWARDS_MAX), "remove some")
    })?;
    let next = StewardEpoch {
        number: epoch.number() + 1,
        previous: epoch.id(),
        stewards,
        threshold,
        parameters,
    };
    let same = next.stewards.iter().copied().eq(epoch.stewards());
    if same
        && !doubt::of_stewards(view)
        && threshold == epoch.threshold()
        && parameters == *epoch.parameters()
    {
        return Err(fail(
            "nothing would change".to_owned(),
            "say what to change: --add, --remove, --threshold, --set or --quota",
        ));
    }
    Ok(Change::Stewards(next))
}

/// The valid govern key of an organization that lasts longest.
fn govern_key(view: &View, organization: &OrganizationId) -> anyhow::Result<PublicKey> {
    let valid = |key: &&KeyRecord| {
        key.usage == KeyUse::Govern
            && key.not_before <= view.now
            && view.now < key.not_after
            && key.revoked.is_none()
    };
    let keys = view.roster.keys_of(organization);
    let key = keys.iter().rfind(valid).ok_or_else(|| {
        fail(
            format!("{} lists no valid govern key", words::name(view, organization)),
            "it has to list one before it can be a steward",
        )
    })?;
    Ok(key.key)
}

fn set(parameters: &mut Parameters, name: &str, value: u64) -> anyhow::Result<()> {
    let place = match name {
        "head-interval" => &mut parameters.head_interval,
        "head-age-max" => &mut parameters.head_age_max,
        "clock-skew-max" => &mut parameters.clock_skew_max,
        "request-life-max" => &mut parameters.request_life_max,
        "heartbeat-interval" => &mut parameters.heartbeat_interval,
        "heartbeat-warn" => &mut parameters.heartbeat_warn,
        "governance-age-max" => &mut parameters.governance_age_max,
        "disclosure-age-max" => &mut parameters.disclosure_age_max,
        "reset-wait" => &mut parameters.reset_wait,
        "reapproval-grace" => &mut parameters.reapproval_grace,
        "proposal-life-max" => &mut parameters.proposal_life_max,
        _ => {
            let known = words::parameters(parameters).map(|(name, _)| name).join(", ");
            return Err(fail(
                format!("there is no duration called {name}"),
                format!("the durations are {known}"),
            ));
        }
    };
    *place = value;
    Ok(())
}

fn set_quota(parameters: &mut Parameters, name: &str, value: u32) -> anyhow::Result<()> {
    let mut quotas = parameters.quotas();
    let permille = u16::try_from(value).unwrap_or(u16::MAX);
    match name {
        "lookups" => quotas.lookups = value,
        "lookups-permille" => quotas.lookups_permille = permille,
        "publishes" => quotas.publishes = value,
        "publishes-permille" => quotas.publishes_permille = permille,
        _ => {
            let known = words::quotas(parameters).map(|(name, _)| name).join(", ");
            return Err(fail(
                format!("there is no quota called {name}"),
                format!("the quotas are {known}"),
            ));
        }
    }
    parameters.quotas = Some(quotas);
    Ok(())
}

/// A new root key for a member.
pub(super) fn reset(
    member: &Member,
    root: PublicKey,
    next_root: ContentHash,
) -> anyhow::Result<Change> {
    if ContentHash::of(root.as_bytes()) == next_root {
        return Err(fail(
            "--next-root is the hash of --root itself".to_owned(),
            "it must be the SHA-256 of the public key that may follow, kept in another place",
        ));
    }
    let lineage = member.lineage + 1;
    Ok(Change::Root(RootReset { organization: member.organization, lineage, root, next_root }))
}

/// A proposal of a change, for as long as the network lets proposals live. That of a new root key is
/// to be decided sooner, because its wait begins only when the proposal has expired.
pub(super) fn proposal(view: &View, change: Change, reason: &str) -> anyhow::Result<Proposal> {
    let parameters = view.roster.parameters();
    let life = match change {
        Change::Root(_) => parameters.proposal_life_max.min(parameters.reset_wait),
        _ => parameters.proposal_life_max,
    };
    Ok(Proposal {
        epoch: view.roster.epoch().number(),
        change,
        reason: text(reason, "a reason")?,
        issued: view.now,
        expires: Timestamp(view.now.0).plus(life),
    })
}

/// A text for people, within its cap.
pub(super) fn text<const MAX: usize>(text: &str, what: &str) -> anyhow::Result<Text<MAX>> {
    let fits = !text.trim().is_empty() && !text.contains(char::is_control);
    Text::new(text.trim()).filter(|_| fits).ok_or_else(|| {
        fail(format!("{what} has 1 to {MAX} bytes and no control characters"), "write another")
    })
}

fn check_class(class: u8) -> anyhow::Result<u8> {
    SizeClass::new(class).map(SizeClass::number).ok_or_else(|| {
        fail(
            format!("there is no digest class {class}"),
            format!("the largest is {}", SizeClass::LARGEST.number()),
        )
    })
}
