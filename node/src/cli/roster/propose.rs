//! `signpost roster propose`: drafts a change, and approves it if this organization is a steward.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde_json::Value;
use signpost_keys::{Member, SecretKey};
use signpost_protocol::{
    ContentHash, OdsCode, PublicKey,
    codec::{self, Bounded, ByteString},
    roster::{Change, Proposal, Standing, Subject},
};

use super::{
    admin_log, applicants,
    change::{self, Words},
    checks,
    draft::{self, Edit, EpochEdit},
    fail,
    govern::{self, Act, Signing, describe, lines_printable},
    handed::{self, Draft},
    view::View,
    words::{self, short},
};
use crate::{
    cli::text::{print, tell},
    digests::SizeClass,
    setup::SetupError,
};

/// Arguments of `signpost roster propose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A steward's proposal carries its own approval. A member that is no steward gets a file, and hands it
to one. The version of what is changed is chosen: one more than anybody has proposed.

Examples:
  signpost roster propose admit RX9 --reason 'Joins on 1 May'
  signpost roster propose suspend RX2 --reason 'Its node key was stolen on 3 May'
  signpost roster propose readmit RX2 --reason 'It has new keys'
  signpost roster propose expel RX2 --successor RX7 --reason 'Merged into RX7'
  signpost roster propose rename RX7 --name 'Harrow and Vale NHS Trust' --reason 'Merger'
  signpost roster propose stewards --add RX7 --remove RX2 --reason 'RX2 is leaving'
  signpost roster propose suspend RX2 --reason 'A trial' --dry-run")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) signing: Signing,
    #[command(subcommand)]
    change: Wanted,
}

/// Why, for the people who decide.
#[derive(Debug, clap::Args)]
struct Reason {
    /// Why: the stewards read it before they approve, and it stays in the log of the network.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Subcommand)]
enum Wanted {
    /// Admits an organization that has applied.
    #[command(after_help = "\
Compare the fingerprint words with what the organization's own admin reads out over the telephone:
nothing else shows that the application is theirs.

Examples:
  signpost roster propose admit RX9 --reason 'Joins on 1 May'
  signpost roster propose admit --application rx9.application --reason 'Joins on 1 May'")]
    Admit {
        /// The organization, which has applied with an invitation of this node.
        #[arg(value_name = "ODS", required_unless_present = "application")]
        applicant: Option<String>,
        /// The file that the organization has sent, where it has not.
        #[arg(long, value_name = "FILE", conflicts_with = "applicant")]
        application: Option<PathBuf>,
        /// The largest digest size class that each of its nodes may advertise [default: as the
        /// largest among the members].
        #[arg(long, value_name = "CLASS")]
        class_max: Option<u8>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Cuts a member off until it is readmitted; results name it as excluded.
    #[command(after_help = "\
Example:
  signpost roster propose suspend RX2 --reason 'Its node key was stolen on 3 May'")]
    Suspend {
        /// The member.
        #[arg(value_name = "ODS")]
        member: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Lets a suspended member take part again.
    #[command(after_help = "\
Example:
  signpost roster propose readmit RX2 --reason 'It has new keys'")]
    Readmit {
        /// The member.
        #[arg(value_name = "ODS")]
        member: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Cuts a member off for good.
    #[command(after_help = "\
Example:
  signpost roster propose expel RX2 --successor RX7 --reason 'Merged into RX7'")]
    Expel {
        /// The member.
        #[arg(value_name = "ODS")]
        member: String,
        /// The member that takes its place.
        #[arg(long, value_name = "ODS")]
        successor: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Changes the name, ODS code, digest class or successor of a member.
    #[command(after_help = "\
Example:
  signpost roster propose rename RX7 --name 'Harrow and Vale NHS Trust' --reason 'Merger'
  signpost roster propose rename RX7 --class-max 20 --reason 'It has grown'")]
    Rename {
        /// The member.
        #[arg(value_name = "ODS")]
        member: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// Its new ODS code.
        #[arg(long, value_name = "CODE")]
        new_ods: Option<OdsCode>,
        /// The largest digest size class that each of its nodes may advertise.
        #[arg(long, value_name = "CLASS")]
        class_max: Option<u8>,
        /// The member that takes its place.
        #[arg(long, value_name = "ODS")]
        successor: Option<String>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Replaces stewards, their threshold, or the network's durations.
    #[command(after_help = "\
It takes as many of the present stewards as make law now, and as many of the new ones as will. Each
steward's govern key is taken from the keys that it lists; so a steward whose govern key is about to
expire is given its new one by proposing the same stewards again.

Example:
  signpost roster propose stewards --add RX7 --remove RX2 --reason 'RX2 is leaving'
  signpost roster propose stewards --threshold 4 --reason 'Four of five from now on'
  signpost roster propose stewards --set reset-wait=604800 --reason 'A week to object'
  signpost roster propose stewards --quota lookups=5000 --reason 'Winter'")]
    Stewards {
        /// A member that becomes a steward.
        #[arg(long, value_name = "ODS")]
        add: Vec<String>,
        /// A steward that is one no longer.
        #[arg(long, value_name = "ODS")]
        remove: Vec<String>,
        /// How many of them make law [default: more than half].
        #[arg(long, value_name = "COUNT")]
        threshold: Option<u16>,
        /// A duration of the network, in seconds.
        #[arg(long, value_name = "DURATION=SECONDS", value_parser = duration)]
        set: Vec<(String, u64)>,
        /// How much evaluators do for one organization in a day: lookups and publishes for everybody,
        /// lookups-permille and publishes-permille more by the capacity of its digest class.
        #[arg(long, value_name = "QUOTA=NUMBER", value_parser = quota)]
        quota: Vec<(String, u32)>,
        #[command(flatten)]
        reason: Reason,
    },
    /// Gives a member that has lost its root key a new one, after a waiting time.
    #[command(after_help = "\
Make sure that you speak with the organization itself, face to face or in a video call with somebody
you know: whoever gets a root key of his own accepted, is that organization from then on.

Example:
  signpost roster propose reset-root RX2 --root 8c2e... --next-root 51af... \\
      --reason 'Both root keys were lost in the fire of 3 May'")]
    ResetRoot {
        /// The member.
        #[arg(value_name = "ODS")]
        member: String,
        /// The new root public key, in hexadecimal.
        #[arg(long, value_name = "HEX")]
        root: PublicKey,
        /// The SHA-256 of the root public key that may follow it, in hexadecimal.
        #[arg(long, value_name = "HEX")]
        next_root: ContentHash,
        #[command(flatten)]
        reason: Reason,
    },
}

fn duration(text: &str) -> Result<(String, u64), String> {
    let (name, seconds) = text.split_once('=').ok_or("must look like reset-wait=604800")?;
    let seconds: u64 = seconds.parse().map_err(|_| "the seconds must be a whole number")?;
    let milliseconds = seconds.checked_mul(1_000).ok_or("these are too many seconds")?;
    Ok((name.to_owned(), milliseconds))
}

fn quota(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text.split_once('=').ok_or("must look like lookups=5000")?;
    let number = number.parse().map_err(|_| "the quota must be a whole number")?;
    Ok((name.to_owned(), number))
}

/// Runs the command.
pub(super) fn command(act: &Act<'_>, args: &Args) -> anyhow::Result<ExitCode> {
    let view = act.source.view()?;
    let (change, reason, companions) = args.change.change(&view, act)?;
    let proposal = draft::proposal(&view, change, reason)?;
    let bytes = codec::encode(&proposal);
    match steward_key(act, &view, &proposal.change)? {
        Some(key) => {
            act.check_way_out()?;
            govern::approve(act, &view, &key, &bytes, &proposal, companions)
        }
        None => hand_over(act, &view, &bytes, &proposal, companions),
    }
}

impl Wanted {
    /// The change, why it is wanted, and statements that go with it.
    fn change<'a>(
        &'a self,
        view: &View,
        act: &Act<'_>,
    ) -> anyhow::Result<(Change, &'a str, Vec<Vec<u8>>)> {
        let dir = act.dir;
        let edited = |member: &Member, edit: &Edit| {
            let signed_max = signed_max(dir, Subject::Member(member.organization))?;
            draft::record(view, member, edit, signed_max)
        };
        let successor = |text: &Option<String>| -> anyhow::Result<_> {
            text.as_deref().map(|text| Ok(view.find_member(text)?.organization)).transpose()
        };
        let of_member = |member: &str, edit: Edit, reason: &'a Reason| {
            let change = edited(view.find_member(member)?, &edit)?;
            Ok((change, reason.reason.as_str(), Vec::new()))
        };
        let standing = |standing| Edit { standing: Some(standing), ..Edit::default() };
        match self {
            Self::Admit { applicant, application, class_max, reason } => {
                let network = view.roster.network();
                let application = match application {
                    Some(file) => handed::application(file, &network)?,
                    None => {
                        let applicant = applicant.as_deref().unwrap_or_default();
                        let (application, words) =
                            applicants::find(act.source, applicant, &network)?;
                        tell(&words);
                        application
                    }
                };
                let about = Subject::Member(application.organization);
                let largest = view.roster.admitted().map(|member| member.class_max).max();
                let class_max = class_max.or(largest).unwrap_or(SizeClass::LARGEST.number());
                let change =
                    draft::admission(view, &application, class_max, signed_max(dir, about)?)?;
                Ok((change, reason.reason.as_str(), vec![application.keys.bytes().to_vec()]))
            }
            Self::Suspend { member, reason } => {
                of_member(member, standing(Standing::Suspended), reason)
            }
            Self::Readmit { member, reason } => {
                of_member(member, standing(Standing::Admitted), reason)
            }
            Self::Expel { member, successor: next, reason } => {
                let edit = Edit { successor: successor(next)?, ..standing(Standing::Expelled) };
                of_member(member, edit, reason)
            }
            Self::Rename { member, name, new_ods, class_max, successor: next, reason } => {
                let edit = Edit {
                    standing: None,
                    ods: new_ods.clone(),
                    name: name.clone(),
                    class_max: *class_max,
                    successor: successor(next)?,
                };
                of_member(member, edit, reason)
            }
            Self::Stewards { add, remove, threshold, set, quota, reason } => {
                let ids = |codes: &[String]| -> anyhow::Result<Vec<_>> {
                    codes.iter().map(|code| Ok(view.find_member(code)?.organization)).collect()
                };
                let edit = EpochEdit {
                    add: ids(add)?,
                    remove: ids(remove)?,
                    threshold: *threshold,
                    set: set.clone(),
                    quota: quota.clone(),
                };
                Ok((draft::epoch(view, &edit)?, reason.reason.as_str(), Vec::new()))
            }
            Self::ResetRoot { member, root, next_root, reason } => {
                let change = draft::reset(view.find_member(member)?, *root, *next_root)?;
                Ok((change, reason.reason.as_str(), Vec::new()))
            }
        }
    }
}

/// The highest version of a subject that was signed on this machine.
fn signed_max(dir: &Path, about: Subject) -> anyhow::Result<u64> {
    Ok(admin_log::version_max(&admin_log::peek(dir)?, about))
}

/// The govern key, when there is one here and it is that of a steward in office.
fn steward_key(act: &Act<'_>, view: &View, change: &Change) -> anyhow::Result<Option<SecretKey>> {
    let key = match act.govern_key() {
        Ok(key) => key,
        Err(error) if act.options.govern.is_none() && is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let epoch = view.roster.epoch();
    let lists = |member: &&Member| {
        view.roster.keys_of(&member.organization).iter().any(|listed| listed.key == key.public())
    };
    let owner = view.roster.members().find(lists).map(|member| member.organization);
    match checks::steward(view, &key.public(), change) {
        Ok(steward) => Ok(epoch.has(&steward).then_some(key)),
        // A member that is no steward hands its proposal over; a stranger's key is a mistake.
        Err(_) if owner.is_some_and(|owner| !epoch.has(&owner)) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<SetupError>(),
        Some(SetupError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound
    )
}

/// Writes a proposal that a steward is to sign.
fn hand_over(
    act: &Act<'_>,
    view: &View,
    bytes: &[u8],
    proposal: &Proposal,
    companions: Vec<Vec<u8>>,
) -> anyhow::Result<ExitCode> {
    let id = ContentHash::of(bytes);
    checks::governance(view)?;
    checks::proposal(view, &id, proposal)?;
    let companions: Option<Vec<_>> = companions.into_iter().map(ByteString::new).collect();
    let file = Draft {
        network: view.roster.network(),
        proposal: ByteString::new(bytes.to_vec())
            .ok_or_else(|| fail("the proposal is too long".to_owned(), "give a shorter reason"))?,
        statements: companions
            .and_then(Bounded::new)
            .ok_or_else(|| fail("the application is too long".to_owned(), "ask for another"))?,
    };
    let words = Words::of(view, &id, proposal);
    let shown = lines_printable(&format!("Proposal {}\n{}", short(&id), words.text()));
    if act.options.dry_run {
        let text = format!("{shown}\nDry run: nothing was written.");
        return result(act, view, &id, &words, None, &text);
    }
    let out = act.options.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(format!("proposal-{}.cbor", short(&id))));
    tell(&shown);
    let code = match (&proposal.change, change::is_grave(view, &proposal.change)) {
        (_, Some(subject)) => view.member(&subject).map(|member| member.ods.to_string()),
        _ => None,
    };
    act.confirm(code.as_deref())?;
    handed::write(&out, &codec::encode(&file))?;
    let stewards: Vec<_> =
        view.roster.epoch().stewards().map(|steward| steward.organization).collect();
    let text = format!(
        "Written to {out}. No steward's govern key is here, so nothing was signed.\nNext: hand it to a \
         steward ({stewards}), who signs it with `signpost roster approve {out}`.",
        out = out.display(),
        stewards = words::names(view, &stewards)
    );
    result(act, view, &id, &words, Some(&out), &text)
}

fn result(
    act: &Act<'_>,
    view: &View,
    id: &ContentHash,
    words: &Words,
    file: Option<&Path>,
    text: &str,
) -> anyhow::Result<ExitCode> {
    let mut value = describe(view, id, words);
    value["signed"] = false.into();
    value["file"] = file.map_or(Value::Null, |file| file.display().to_string().into());
    print(&if act.json { value.to_string() } else { text.to_owned() })?;
    Ok(ExitCode::SUCCESS)
}
