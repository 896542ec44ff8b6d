//! `signpost evaluators`: who turns blinded patients into locators, and the ceremonies by which they
//! come by their shares of the key.
//!
//! [`plan`] makes and checks calls, [`progress`] says in words how far a ceremony has come; each command
//! has a file of its own.

mod confirm;
mod evidence;
mod join;
mod plan;
mod progress;
mod record;
mod show;
mod start;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use signpost_keys::roster::Ceremony;
use signpost_protocol::{ContentHash, OdsCode};

pub(super) use record::{check, lines, title, warnings};

use super::{fail, govern::Act, source::Source, view::View, words::short};
use crate::cli::behalf::Behalf;

/// Arguments of `signpost evaluators`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Evaluators turn blinded patients into locators together: each has a share of a key that nobody holds,
and it takes several of them. They come by their shares in a ceremony:

  1. a steward calls to it: signpost evaluators ceremony start --evaluators RX1,RX2,RX3 --threshold 2
  2. each evaluator takes part, at its own node: signpost evaluators ceremony join
  3. when all have confirmed (signpost evaluators ceremony status), the stewards put what came out in
     force, each at its own node: signpost evaluators ceremony confirm

The same again, with a key in force, hands that key on to new shares, of the same evaluators or others:
`signpost evaluators refresh` and `signpost evaluators reshare` call to that. Look-ups go on meanwhile.

Examples:
  signpost evaluators show
  signpost evaluators ceremony status
  signpost evaluators refresh --dry-run
  signpost evaluators reshare --evaluators RX1,RX2,RX4,RX5,RX6 --threshold 3")]
pub(in crate::cli) struct Args {
    /// Works on a roster file instead of the running node.
    #[arg(long, global = true, value_name = "ROSTER")]
    file: Option<PathBuf>,
    /// Which organization it is about, where the node serves several: an ODS code.
    #[arg(long, global = true, value_name = "ODS")]
    organization: Option<OdsCode>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows who evaluates now.
    Show(show::Args),
    /// The ceremony in which evaluators make a key, or hand it on.
    Ceremony(CeremonyArgs),
    /// Shows how much this node has evaluated for whom.
    Usage(usage::Args),
    /// Shows wrong evaluations that the node has caught, and checks those of others.
    Evidence(evidence::Args),
    /// Calls the same evaluators to new shares of the same key: old ones, stolen ones too, are useless then.
    Refresh(start::RefreshArgs),
    /// Calls other evaluators, or another number of them, to new shares of the same key.
    Reshare(start::ReshareArgs),
}

/// Arguments of `signpost evaluators ceremony`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signpost evaluators ceremony start --evaluators RX1,RX2,RX3 --threshold 2
  signpost evaluators ceremony join
  signpost evaluators ceremony status
  signpost evaluators ceremony confirm")]
struct CeremonyArgs {
    #[command(subcommand)]
    command: CeremonyCommand,
}

#[derive(Debug, Subcommand)]
enum CeremonyCommand {
    /// Calls evaluators to make the network's key, as a steward.
    Start(start::StartArgs),
    /// Takes part in a ceremony, as one of its evaluators, with the node that runs here.
    Join(join::Args),
    /// Puts what came out of a ceremony in force, as a steward.
    Confirm(confirm::Args),
    /// Shows how far ceremonies have come, and who is waited for.
    Status(progress::Args),
}

/// Runs the command.
pub(in crate::cli) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let behalf = &Behalf { organization: args.organization.clone() };
    let source = &Source::new(dir, behalf, args.file.as_deref())?;
    let act = |command, options| Act { command, dir, behalf, json, options, source };
    match &args.command {
        Command::Show(_) => show::command(source, json),
        Command::Usage(args) => usage::command(source, args, json),
        Command::Evidence(args) => evidence::command(source, args, json),
        Command::Refresh(args) => start::refresh(&act("evaluators refresh", &args.signing), args),
        Command::Reshare(args) => start::reshare(&act("evaluators reshare", &args.signing), args),
        Command::Ceremony(CeremonyArgs { command }) => match command {
            CeremonyCommand::Start(args) => {
                start::start(&act("evaluators ceremony start", &args.signing), args)
            }
            CeremonyCommand::Join(args) => {
                join::command(&act("evaluators ceremony join", &args.signing), args)
            }
            CeremonyCommand::Confirm(args) => {
                confirm::command(&act("evaluators ceremony confirm", &args.signing), args)
            }
            CeremonyCommand::Status(args) => progress::command(source, args, json),
        },
    }
}

/// The ceremony that a text names, by the beginning of its id; without one, the only one of which
/// something can still come.
fn find<'a>(
    view: &'a View,
    text: Option<&str>,
    is_meant: impl Fn(&Ceremony) -> bool,
) -> anyhow::Result<(ContentHash, &'a Ceremony)> {
    let all = view.statements.ceremonies().map(|(id, one)| (*id, one));
    let list = "`signpost evaluators ceremony status` lists those that are under way";
    if let Some(prefix) = text {
        let named = all.filter(|(id, _)| id.to_string().starts_with(&prefix.to_lowercase()));
        return match (named.collect::<Vec<_>>().as_slice(), prefix.len() >= 6) {
            ([one], true) => Ok(*one),
            (_, false) => Err(fail("an id is cut to six digits at least", list)),
            ([], _) => Err(fail(format!("there is no ceremony {prefix}"), list)),
            (_, _) => Err(fail(format!("{prefix} names several ceremonies"), "give more digits")),
        };
    }
    let evaluators = view.roster.evaluators();
    let can_come = |one: &Ceremony| evaluators.handed_on(one.call()).is_ok();
    let meant: Vec<_> = all.filter(|(_, one)| can_come(one) && is_meant(one)).collect();
    match meant.as_slice() {
        [one] => Ok(*one),
        [] => Err(fail("there is no such ceremony under way", list)),
        several => {
            let ids: Vec<_> = several.iter().map(|(id, _)| short(id)).collect();
            Err(fail(
                format!("there are several ceremonies: {}", ids.join(", ")),
                "name the one that you mean",
            ))
        }
    }
}
