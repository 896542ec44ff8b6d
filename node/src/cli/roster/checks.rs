//! Whether this steward may sign this proposal now. A signature cannot be taken back, and one that
//! does not count, or contradicts another, only does harm: every doubt is a refusal, with the way
//! out of it.

use signpost_keys::roster::State;
use signpost_protocol::{
    ContentHash, OrganizationId, PublicKey, Timestamp,
    roster::{Change, KeyRecord, MemberRecord, Proposal, RootReset, Standing, StewardEpoch},
    statement::KeyUse,
};

use super::{
    doubt, evaluators,
    view::View,
    words::{name, short, state, subject, time},
};
use crate::cli::error::Hinted;

fn refuse<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Hinted> {
    Err(Hinted { message: message.into(), hint: hint.into() })
}

/// A proposal that this steward has approved before, from the log of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) proposal: ContentHash,
    pub(super) expires: Timestamp,
}

/// The steward whose govern key this is: of the present epoch, or of the one that is proposed.
pub(super) fn steward(
    view: &View,
    govern: &PublicKey,
    change: &Change,
) -> Result<OrganizationId, Hinted> {
    let of_next: &[_] = match change {
        Change::Stewards(next) => &next.stewards,
        _ => &[],
    };
    let mut stewards = view.roster.epoch().stewards().chain(of_next.iter().copied());
    if let Some(steward) = stewards.find(|steward| steward.govern == *govern) {
        return Ok(steward.organization);
    }
    let lists = |organization: &OrganizationId| {
        view.roster.keys_of(organization).iter().any(|key| key.key == *govern)
    };
    let owner = view.roster.members().map(|member| member.organization).find(lists);
    match owner {
        Some(owner) if view.roster.epoch().has(&owner) => refuse(
            format!(
                "{} is a steward with another govern key than this one: the epoch names the key \
                 that counts",
                name(view, &owner)
            ),
            "sign with that key, or have the stewards put the new one into the next epoch \
             (`signpost roster propose stewards`)",
        ),
        Some(owner) => refuse(
            format!(
                "{} is no steward of epoch {}",
                name(view, &owner),
                view.roster.epoch().number()
            ),
            "hand the proposal to a steward: `signpost roster show` marks them",
        ),
        None => refuse(
            format!("no member of {} lists this govern key", view.roster.name()),
            "is it the right keystore (--govern), and the right network?",
        ),
    }
}

/// Whether a steward in office has approved the proposal, where this one is only to become steward by
/// it: nodes keep no proposal that nobody in office wants.
pub(super) fn begun(view: &View, steward: &OrganizationId, id: &ContentHash) -> Result<(), Hinted> {
    let epoch = view.roster.epoch();
    if epoch.has(steward) || view.law.proposal(id).is_some() {
        return Ok(());
    }
    refuse(
        format!(
            "{} is to become a steward by this proposal, and none of epoch {} has approved it yet",
            name(view, steward),
            epoch.number()
        ),
        "hand it to a steward first (`signpost roster approve`), then approve it as well",
    )
}

/// Whether the steward may sign with this key now.
pub(super) fn key(view: &View, steward: &OrganizationId, govern: &PublicKey) -> Result<(), Hinted> {
    let keys = view.roster.keys_of(steward);
    let is_it = |key: &&KeyRecord| key.key == *govern && key.usage == KeyUse::Govern;
    let who = name(view, steward);
    let Some(key) = keys.iter().find(is_it) else {
        return refuse(
            format!("{who} does not list this govern key any more"),
            "have the stewards put its new key into the next epoch (`signpost roster propose \
             stewards`)",
        );
    };
    let renew = "have a new govern key listed, and put into the next epoch (`signpost roster \
                 propose stewards`)";
    match key.revoked {
        Some(revoked) if revoked.since <= view.now => refuse(
            format!("this govern key of {who} was revoked as of {}", time(revoked.since)),
            renew,
        ),
        _ if key.not_after <= view.now => {
            refuse(format!("this govern key of {who} expired at {}", time(key.not_after)), renew)
        }
        _ if view.now < key.not_before => refuse(
            format!("this govern key of {who} is not valid before {}", time(key.not_before)),
            "wait until then; is this machine's clock right?",
        ),
        _ => Ok(()),
    }
}

/// Whether the network can still decide anything, as far as is known here.
pub(super) fn governance(view: &View) -> Result<(), Hinted> {
    let max = view.roster.parameters().governance_age_max;
    if view.age() < max {
        return Ok(());
    }
    refuse(
        format!(
            "governance has stopped: enough stewards were last heard of at {}, so this roster may \
             be a frozen view of the network",
            time(view.roster.fresh())
        ),
        "see that the nodes of the stewards run and are connected, or import a newer roster \
         (`signpost roster import`); is this machine's clock right?",
    )
}

/// Whether the proposal can still become law, and makes sense if it does.
pub(super) fn proposal(view: &View, id: &ContentHash, proposal: &Proposal) -> Result<(), Hinted> {
    decided(view, id)?;
    let in_doubt = doubt::mend(view, id);
    if proposal.expires <= view.now {
        return refuse(
            format!("proposal {} expired at {}", short(id), time(proposal.expires)),
            in_doubt.unwrap_or_else(|| "propose it again".to_owned()),
        );
    }
    let epoch = view.roster.epoch();
    if proposal.epoch != epoch.number() {
        return refuse(
            format!(
                "proposal {} asks the stewards of epoch {}, and those of epoch {} decide now",
                short(id),
                proposal.epoch,
                epoch.number()
            ),
            in_doubt.unwrap_or_else(|| "propose it again against the roster of now".to_owned()),
        );
    }
    match &proposal.change {
        Change::Member(record) => member(view, record, in_doubt.is_some()),
        Change::Stewards(next) => stewards(view, next),
        Change::Root(reset) => root(view, reset),
        Change::Evaluators(record) => evaluators::check(view, record),
    }
}

fn decided(view: &View, id: &ContentHash) -> Result<(), Hinted> {
    let Some(decision) = view.law.proposal(id) else { return Ok(()) };
    match decision.state {
        State::Open | State::Fallen | State::Expired => Ok(()),
        _ if doubt::until(view, id).is_some() => Ok(()),
        _ => refuse(
            format!("proposal {} is decided: {}", short(id), state(view, id)),
            "there is nothing left to approve; `signpost roster show` has what counts now",
        ),
    }
}

fn member(view: &View, record: &MemberRecord, in_doubt: bool) -> Result<(), Hinted> {
    let organization = record.organization();
    let current = view.law.record(&view.statements, &organization);
    if in_doubt && current == Some(record) {
        return Ok(());
    }
    if current.is_none() && record.standing != Standing::Admitted {
        return refuse(
            format!("{} was never a member: it cannot be suspended or expelled", record.ods),
            "`signpost roster show` lists the members",
        );
    }
    if let Some(current) = current.filter(|current| record.version <= current.version) {
        return refuse(
            format!(
                "version {} of the record is not newer than version {}, which counts",
                record.version, current.version
            ),
            "propose it again against the roster of now",
        );
    }
    let is_expelled =
        view.member(&organization).is_some_and(|member| member.standing == Standing::Expelled);
    if is_expelled && record.standing != Standing::Expelled {
        return refuse(
            format!("{} was expelled for good", name(view, &organization)),
            "it would have to apply anew, as a new organization",
        );
    }
    if record.standing != Standing::Expelled
        && let Some(other) = view.others_with_code(&record.ods, &organization)
    {
        return refuse(
            format!("ODS code {} belongs to {} already", record.ods, other.name),
            "give it another code, or change or expel the other member first",
        );
    }
    if let Some(successor) = record.successor.filter(|successor| view.member(successor).is_none()) {
        return refuse(
            format!("the successor, {}, is no member", name(view, &successor)),
            "admit the successor first",
        );
    }
    Ok(())
}

fn stewards(view: &View, next: &StewardEpoch) -> Result<(), Hinted> {
    let epoch = view.roster.epoch();
    if next.number != epoch.number() + 1 || next.previous != epoch.id() {
        return refuse(
            format!(
                "it would follow another epoch {} than the one that counts",
                next.number.saturating_sub(1)
            ),
            "propose it again against the roster of now",
        );
    }
    for steward in next.stewards.iter() {
        let who = name(view, &steward.organization);
        if !view.roster.is_admitted(&steward.organization) {
            return refuse(
                format!("{who} is no admitted member, so it cannot be a steward"),
                "propose stewards of whom all are admitted",
            );
        }
        // Whoever writes a proposal could name a key of his own for somebody else.
        if key(view, &steward.organization, &steward.govern).is_err() {
            return refuse(
                format!("{who} has no valid govern key like the one that is proposed for it"),
                "propose it again: `signpost roster propose stewards` takes the keys from the roster",
            );
        }
    }
    Ok(())
}

fn root(view: &View, reset: &RootReset) -> Result<(), Hinted> {
    let Some(member) = view.member(&reset.organization) else {
        return refuse(
            format!("{} is no member", name(view, &reset.organization)),
            "`signpost roster show` lists the members",
        );
    };
    if reset.lineage != member.lineage + 1 {
        return refuse(
            format!(
                "it would begin lineage {} of {}, and lineage {} counts now",
                reset.lineage,
                name(view, &reset.organization),
                member.lineage
            ),
            "propose it again against the roster of now",
        );
    }
    Ok(())
}

/// Whether this steward has approved another proposal of the same subject and version: two of them
/// would be a proof, for ever, that it contradicts itself. Whoever is to become steward by a proposal
/// may agree to several.
pub(super) fn contradiction(
    view: &View,
    steward: &OrganizationId,
    id: &ContentHash,
    proposal: &Proposal,
    signed: &[Signed],
) -> Result<(), Hinted> {
    if !view.roster.epoch().has(steward) {
        return Ok(());
    }
    let (about, version) = proposal.change.subject();
    let is_void = |other: &ContentHash| {
        view.law.proposal(other).is_some_and(|decision| decision.state == State::Expired)
    };
    let in_roster =
        view.statements.approved_by(steward, about, version).filter(|other| !is_void(other));
    let in_log = signed.iter().filter(|signed| signed.expires > view.now).map(|s| s.proposal);
    match in_roster.chain(in_log).find(|other| other != id) {
        None => Ok(()),
        Some(other) => refuse(
            format!(
                "{} has approved proposal {} for version {version} of {} already: approving {} as \
                 well would contradict it, in public and for ever",
                name(view, steward),
                short(&other),
                subject(view, about),
                short(id)
            ),
            match proposal.change {
                Change::Member(_) => "propose the next version instead: `signpost roster propose` \
                                      chooses it"
                    .to_owned(),
                _ => format!(
                    "only once {} has expired undecided is there another try",
                    short(&other)
                ),
            },
        ),
    }
}
