//! Names, times and states in plain words.

use signpost_keys::roster::{Counts, Finding, State};
use signpost_protocol::{
    ContentHash, OrganizationId, Timestamp,
    roster::{Parameters, Standing, Subject},
};

use super::{doubt, tally, view::View};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// An id as people tell them apart: its first eight digits.
pub(super) fn short(id: &ContentHash) -> String {
    id.to_string()[..8].to_owned()
}

/// An organization: its name and ODS code today.
pub(super) fn name(view: &View, organization: &OrganizationId) -> String {
    if let Some(member) = view.member(organization) {
        return format!("{} ({})", member.name, member.ods);
    }
    match view.statements.inception(organization) {
        Some(inception) => format!("{} ({}), no member", &*inception.name, inception.ods),
        None => format!("organization {}", &organization.to_string()[..8]),
    }
}

/// Several organizations, one after the other.
pub(super) fn names<'a>(
    view: &View,
    organizations: impl IntoIterator<Item = &'a OrganizationId>,
) -> String {
    let names: Vec<_> = organizations.into_iter().map(|one| name(view, one)).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        _ => names.join(", "),
    }
}

/// An instant, RFC 3339 to the second.
pub(super) fn time(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0 / SECOND).ok();
    let at = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or("a time beyond the year 9999".to_owned(), |at| at.to_string())
}

/// A duration in its largest whole unit.
pub(super) fn duration(milliseconds: u64) -> String {
    let units = [(DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second")];
    match units.iter().find(|(unit, _)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => count(milliseconds / unit, name),
        None => format!("{milliseconds} ms"),
    }
}

/// A duration as one says it: hours, or less when there are few.
pub(super) fn about(milliseconds: u64) -> String {
    match milliseconds {
        left if left >= 2 * HOUR => format!("{} h", left / HOUR),
        left if left >= 2 * MINUTE => format!("{} min", left / MINUTE),
        left => format!("{} s", left / SECOND),
    }
}

/// `1 day`, `2 days`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Where a member stands.
pub(super) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Admitted => "admitted",
        Standing::Suspended => "suspended",
        Standing::Expelled => "expelled",
    }
}

/// What a change is about.
pub(super) fn subject(view: &View, subject: Subject) -> String {
    match subject {
        Subject::Member(organization) => format!("the record of {}", name(view, &organization)),
        Subject::Stewards => "the stewards".to_owned(),
        Subject::Evaluators => "the evaluators".to_owned(),
        Subject::Root(organization) => format!("the root key of {}", name(view, &organization)),
    }
}

/// The shared durations by name, in the order of [`Parameters`].
pub(super) fn parameters(parameters: &Parameters) -> [(&'static str, u64); 11] {
    let Parameters {
        head_interval,
        head_age_max,
        clock_skew_max,
        request_life_max,
        heartbeat_interval,
        heartbeat_warn,
        governance_age_max,
        disclosure_age_max,
        reset_wait,
        reapproval_grace,
        proposal_life_max,
        quotas: _,
    } = *parameters;
    [
        ("head-interval", head_interval),
        ("head-age-max", head_age_max),
        ("clock-skew-max", clock_skew_max),
        ("request-life-max", request_life_max),
        ("heartbeat-interval", heartbeat_interval),
        ("heartbeat-warn", heartbeat_warn),
        ("governance-age-max", governance_age_max),
        ("disclosure-age-max", disclosure_age_max),
        ("reset-wait", reset_wait),
        ("reapproval-grace", reapproval_grace),
        ("proposal-life-max", proposal_life_max),
    ]
}

/// The shared quotas by name, in the order of [`Quotas`](signpost_protocol::roster::Quotas).
pub(super) fn quotas(parameters: &Parameters) -> [(&'static str, u32); 4] {
    let quotas = parameters.quotas();
    [
        ("lookups", quotas.lookups),
        ("lookups-permille", quotas.lookups_permille.into()),
        ("publishes", quotas.publishes),
        ("publishes-permille", quotas.publishes_permille.into()),
    ]
}

/// What has become of a proposal, in one word for programs.
pub(super) const fn state_code(state: &State) -> &'static str {
    match state {
        State::Open => "open",
        State::Expired => "expired",
        State::Law => "law",
        State::Waits(_) => "waits",
        State::Objected => "objected",
        State::Fallen => "fallen",
        State::Superseded => "superseded",
        State::Conflicts => "conflicts",
    }
}

/// What has become of a proposal.
pub(super) fn state(view: &View, id: &ContentHash) -> String {
    let Some(decision) = view.law.proposal(id) else { return "not proposed yet".to_owned() };
    let since = || decision.decided.map_or_else(|| "some time".to_owned(), time);
    match &decision.state {
        State::Open => {
            let missing = tally::groups(view, id, &decision.proposal);
            let missing: usize = missing.iter().map(tally::Group::missing).max().unwrap_or(0);
            match missing {
                0 => "open: it cannot be decided here, see the warnings".to_owned(),
                missing => format!("open: {} needed", count(missing as u64, "more approval")),
            }
        }
        State::Expired => {
            format!("void: not decided before {}", time(decision.proposal.expires))
        }
        State::Law => match doubt::mend(view, id) {
            Some(mend) => format!("law since {}, and in doubt: {mend}", since()),
            None => format!("law since {}", since()),
        },
        State::Waits(until) => format!(
            "approved at {}; takes effect at {} unless a former root key objects",
            since(),
            time(*until)
        ),
        State::Objected => "approved, but a former root key has objected: of no effect".to_owned(),
        State::Fallen => {
            let mend = doubt::mend(view, id).unwrap_or_else(|| "propose it again".to_owned());
            format!("was law, but its approvals no longer suffice: {mend}")
        }
        State::Superseded => format!("law since {}, and superseded by a newer one", since()),
        State::Conflicts => {
            "approved, and so is another proposal of the same version: neither counts".to_owned()
        }
    }
}

/// How an approval counts, where it does not fully.
pub(super) const fn counts(counts: &Counts) -> &'static str {
    match counts {
        Counts::Fully => "",
        Counts::Until(_) => " (in doubt: counts for now)",
        Counts::Not(_) => " (does not count)",
    }
}

/// Something that people should look into, and what to do.
pub(super) fn finding(view: &View, finding: &Finding) -> String {
    match finding {
        Finding::Equivocation { steward, subject: about, version, proposals: [one, other] } => {
            format!(
                "{} has approved two proposals of version {version} of {}: {} and {}. Ask it why; \
                 its approvals are in doubt wherever others did not bear witness.",
                name(view, steward),
                subject(view, *about),
                short(one),
                short(other)
            )
        }
        Finding::ContradictoryKeys { organization, version } => format!(
            "{} has signed two different key sets of version {version}: only keys that both list \
             count. Ask it to sign a newer one.",
            name(view, organization)
        ),
        Finding::ApproveAgain { proposal, until } => {
            let mend = doubt::mend(view, proposal);
            format!(
                "Proposal {} rests on approvals that are in doubt: {}.",
                short(proposal),
                mend.unwrap_or_else(|| format!("it counts until {}", time(*until)))
            )
        }
        Finding::DuplicateOds { ods, first, second } => format!(
            "{ods} was given to two members: {} had it first, {} is treated as suspended until its \
             code is changed.",
            name(view, first),
            name(view, second)
        ),
        Finding::Conflict { subject: about, version } => format!(
            "Two proposals of version {version} of {} are approved, and neither counts: propose \
             the next version.",
            subject(view, *about)
        ),
        other => format!("{other:?}"),
    }
}

/// How lately stewards were heard of, and what ends when if they are not heard of again.
pub(super) fn freshness(view: &View) -> String {
    let parameters = view.roster.parameters();
    let warn = parameters.heartbeat_warn;
    let heard = view.roster.epoch().stewards().filter(|steward| {
        let last = view.statements.last_heartbeat(&steward.organization);
        last.is_some_and(|beat| view.now.since(beat.issued) < warn)
    });
    let ends = |what: &str, ended: &str, max: u64| match max.saturating_sub(view.age()) {
        0 => ended.to_owned(),
        left => format!("{what} in {}", about(left)),
    };
    format!(
        "{} of {} stewards heard of within {}; unless more are, {}, {}",
        heard.count(),
        view.roster.epoch().stewards().len(),
        duration(warn),
        ends(
            "nothing more can be decided",
            "nothing can be decided any more",
            parameters.governance_age_max
        ),
        ends(
            "holders stop disclosing",
            "holders disclose nothing any more",
            parameters.disclosure_age_max
        ),
    )
}
