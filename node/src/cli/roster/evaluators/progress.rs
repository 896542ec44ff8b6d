//! `signpost evaluators ceremony status`: how far ceremonies have come, in words.

use std::process::ExitCode;

use serde_json::{Value, json};
use signpost_keys::{
    blinding::ceremony::{Fault, MessageKind, Party, Progress},
    roster::Ceremony,
};
use signpost_protocol::{ContentHash, OrganizationId};

use super::{
    super::{
        govern::lines_printable,
        source::Source,
        view::View,
        words::{name, names, short, time},
    },
    plan,
};
use crate::cli::text::{fingerprint_words, print};

/// Exit code when a ceremony came to nothing: people should look into it.
const LOOK_INTO: u8 = 3;

/// Arguments of `signpost evaluators ceremony status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 when all is well, 3 when a ceremony came to nothing.

Examples:
  signpost evaluators ceremony status
  signpost evaluators ceremony status 3fa9c1 --json")]
pub(super) struct Args {
    /// The ceremony, by the first six or more digits of its id [default: all].
    #[arg(value_name = "ID")]
    ceremony: Option<String>,
}

/// Runs the command.
pub(super) fn command(source: &Source, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let view = source.view()?;
    let shown: Vec<(ContentHash, &Ceremony)> = match &args.ceremony {
        Some(prefix) => vec![super::find(&view, Some(prefix), |_| true)?],
        None => view.statements.ceremonies().map(|(id, one)| (*id, one)).collect(),
    };
    let stages: Vec<_> = shown.iter().map(|(_, one)| Stage::of(&view, one)).collect();
    if json {
        let all = shown.iter().zip(&stages).map(|((id, one), stage)| report(&view, id, one, stage));
        print(&json!({ "ceremonies": all.collect::<Vec<_>>() }).to_string())?;
    } else if shown.is_empty() {
        print(&format!("No ceremony is under way.\n{}", super::show::text(&view)))?;
    } else {
        let all = shown.iter().zip(&stages).map(|((id, one), stage)| text(&view, id, one, stage));
        print(&lines_printable(&all.collect::<Vec<_>>().join("\n")))?;
    }
    let failed = stages.iter().any(|stage| matches!(stage, Stage::Failed(_)));
    Ok(if failed { ExitCode::from(LOOK_INTO) } else { ExitCode::SUCCESS })
}

/// How far a ceremony has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for these to take part.
    Joining(Vec<OrganizationId>),
    /// All take part; waits for these to hand out shares.
    Sharing(Vec<OrganizationId>),
    /// Waits for these to confirm.
    Confirming(Vec<OrganizationId>),
    /// All have confirmed; the stewards can put it in force. The transcript.
    Done([u8; 32]),
    /// What came out is in force.
    InForce,
    /// Other evaluators are in force than those it starts from.
    Overtaken,
    /// Nothing can come of it any more; why.
    Failed(String),
}

impl Stage {
    /// How far it has come, as far as the roster shows.
    pub(super) fn of(view: &View, ceremony: &Ceremony) -> Self {
        if view.law.adopted(&ceremony.id()).is_some() {
            return Self::InForce;
        }
        let who = |parties: Vec<Party>| {
            let mut who: Vec<_> =
                parties.iter().filter_map(|party| organization(ceremony, party)).collect();
            who.sort_unstable();
            who.dedup();
            who
        };
        match ceremony.watch(view.roster.evaluators()) {
            Err(_) if ceremony.call().previous != view.roster.evaluators().id => Self::Overtaken,
            Err(reason) => Self::Failed(reason),
            Ok(Progress::Failed(at)) => Self::Failed(fault(view, ceremony, &at)),
            Ok(Progress::Done(outcome)) => Self::Done(outcome.transcript()),
            Ok(Progress::Dealing(parties)) => Self::Joining(who(parties)),
            Ok(Progress::Sharing(parties)) => Self::Sharing(who(parties)),
            Ok(Progress::Confirming { missing, .. }) => match owing_shares(ceremony) {
                owing if owing.is_empty() => Self::Confirming(who(missing)),
                owing => Self::Sharing(owing),
            },
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Joining(_) => "joining",
            Self::Sharing(_) => "sharing",
            Self::Confirming(_) => "confirming",
            Self::Done(_) => "confirmed",
            Self::InForce => "in-force",
            Self::Overtaken => "overtaken",
            Self::Failed(_) => "failed",
        }
    }

    fn waits_for(&self) -> &[OrganizationId] {
        match self {
            Self::Joining(who) | Self::Sharing(who) | Self::Confirming(who) => who,
            _ => &[],
        }
    }

    fn words(&self, view: &View, id: &ContentHash) -> String {
        match self {
            Self::Joining(who) => format!(
                "Waits for these to take part (`signpost evaluators ceremony join {}` at their nodes): {}.",
                short(id),
                names(view, who)
            ),
            Self::Sharing(who) => {
                format!("Waits for the shares that these hand out: {}.", names(view, who))
            }
            Self::Confirming(who) => format!("Waits for these to confirm: {}.", names(view, who)),
            Self::Done(transcript) => format!(
                "All evaluators have confirmed it: {}.\nNext: the stewards put it in force, each with \
                 `signpost evaluators ceremony confirm {}`.",
                fingerprint_words(transcript),
                short(id)
            ),
            Self::InForce => "What came out is in force.".to_owned(),
            Self::Overtaken => {
                "Nothing can come of it: other evaluators are in force by now.".to_owned()
            }
            Self::Failed(why) => {
                format!("It came to nothing: {why}.\nNext: a steward calls to another attempt.")
            }
        }
    }
}

/// Those who have not handed out all their shares.
fn owing_shares(ceremony: &Ceremony) -> Vec<OrganizationId> {
    let call = ceremony.call();
    let owes = |organization: &&OrganizationId| {
        let others = call.evaluators.iter().filter(|one| one != organization).count();
        let given = ceremony.messages().filter(|((kind, ..), message)| {
            *kind == MessageKind::SealedShare && message.organization == **organization
        });
        ceremony.dealer(organization).is_some() && given.count() < others
    };
    parties(ceremony).iter().filter(owes).copied().collect()
}

/// Everybody who has a part in a ceremony.
pub(super) fn parties(ceremony: &Ceremony) -> Vec<OrganizationId> {
    let call = ceremony.call();
    let mut parties = call.evaluators.to_vec();
    let dealers = call.dealers.iter().map(|dealer| dealer.organization);
    parties.extend(dealers.filter(|dealer| !call.evaluators.contains(dealer)));
    parties
}

fn organization(ceremony: &Ceremony, party: &Party) -> Option<OrganizationId> {
    let call = ceremony.call();
    let at = |index: u16| call.evaluators.get(usize::from(index).checked_sub(1)?).copied();
    match party {
        Party::Dealer(index) if !call.dealers.is_empty() => {
            let mut dealers = call.dealers.iter();
            dealers.find(|one| one.index == index.get()).map(|one| one.organization)
        }
        Party::Dealer(index) | Party::Receiver(index) => at(index.get()),
    }
}

/// What went wrong, with the name of who did it.
pub(super) fn fault(view: &View, ceremony: &Ceremony, fault: &Fault) -> String {
    match fault {
        Fault::At { party, reason } => match organization(ceremony, party) {
            Some(organization) => format!("{}: {reason}", name(view, &organization)),
            None => fault.to_string(),
        },
        _ => fault.to_string(),
    }
}

fn text(view: &View, id: &ContentHash, ceremony: &Ceremony, stage: &Stage) -> String {
    let call = ceremony.call();
    let mut text = format!(
        "Ceremony {}, called by {} at {}.\n",
        short(id),
        name(view, &call.steward),
        time(call.issued)
    );
    text += &plan::words(view, call);
    for organization in parties(ceremony) {
        let sent = |kind: MessageKind| {
            let mut messages = ceremony.messages();
            messages.any(|((of, ..), one)| of == kind && one.organization == organization)
        };
        let state = if sent(MessageKind::Confirmation) {
            "has confirmed"
        } else if sent(MessageKind::SealedShare) {
            "has handed out shares"
        } else if sent(MessageKind::Dealing) || sent(MessageKind::Enrolment) {
            "takes part"
        } else {
            "is waited for"
        };
        text += &format!("  {}: {state}\n", name(view, &organization));
    }
    if plan::is_over(call, view.now) {
        text += "Its time is over.\n";
    }
    text + &stage.words(view, id) + "\n"
}

fn report(view: &View, id: &ContentHash, ceremony: &Ceremony, stage: &Stage) -> Value {
    let call = ceremony.call();
    let ods = |one: &OrganizationId| match view.member(one) {
        Some(member) => member.ods.to_string(),
        None => one.to_string(),
    };
    json!({
        "ceremony": id.to_string(),
        "called_by": ods(&call.steward),
        "key_epoch": call.key_epoch.0,
        "share_epoch": call.share_epoch,
        "threshold": call.threshold,
        "evaluators": call.evaluators.iter().map(ods).collect::<Vec<_>>(),
        "dealers": call.dealers.iter().map(|one| ods(&one.organization)).collect::<Vec<_>>(),
        "expires": time(call.expires),
        "stage": stage.code(),
        "waits_for": stage.waits_for().iter().map(ods).collect::<Vec<_>>(),
        "fault": match stage { Stage::Failed(why) => Some(why), _ => None },
    })
}
