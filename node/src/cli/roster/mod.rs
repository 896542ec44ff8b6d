//! `signpost roster`: how members govern their network. Review in plain words, sign, hand on.
//!
//! There is no privileged node: every command works at any member's node, or offline on files.
//! What is pure stands apart from what acts: [`view`] looks things up, [`words`], [`change`],
//! [`warnings`] and [`keys_words`] say them, [`draft`] makes proposals and [`checks`] refuses to
//! sign; [`source`], [`handed`], [`admin_log`], [`govern`] and [`by_root`] touch the node and the disk; and each
//! command has a file of its own.

mod admin_log;
mod applicants;
mod by_root;
mod change;
mod checks;
mod diff;
mod doubt;
mod draft;
pub(super) mod evaluators;
mod exchange;
mod govern;
mod handed;
mod heard;
mod keys_words;
pub(super) mod leave;
mod log;
pub(super) mod node;
mod object;
pub(super) mod own_keys;
mod own_nodes;
mod propose;
mod renewal;
mod review;
mod show;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod verify;
mod view;
mod warnings;
mod words;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use signpost_protocol::OdsCode;

use self::{govern::Act, source::Source};
use crate::cli::{behalf::Behalf, error::Hinted};

/// Arguments of `signpost roster`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stewards decide together: one proposes, and as soon as enough of them have approved, it is law at
every node. No node is special: propose, review and approve at your own.

  1. signpost roster propose suspend RX2 --reason 'Its keys were stolen'
  2. send the id that it prints to the other stewards
  3. each of them: signpost roster review 3fa9c1, then signpost roster approve 3fa9c1

Without a node, name a roster file with --file and a file for what is signed with --out. An id may
be cut to its first six digits. Whatever is signed here is also in admin.log in the node's directory.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 done, but people should look into something.

Examples:
  signpost roster show
  signpost roster log --limit 5
  signpost roster propose admit RX9 --reason 'Joins on 1 May'
  signpost roster export roster.cbor
  signpost roster --file roster.cbor review 3fa9c1")]
pub(super) struct Args {
    /// Works on a roster file instead of the running node.
    #[arg(long, global = true, value_name = "ROSTER")]
    file: Option<PathBuf>,
    /// Which organization signs, where the node serves several: an ODS code.
    #[arg(long, global = true, value_name = "ODS")]
    organization: Option<OdsCode>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the members, or one of them with its keys.
    Show(show::Args),
    /// Tells in plain words how two rosters differ.
    Diff(diff::Args),
    /// Lists what was decided when and by whom, then what is open.
    Log(log::Args),
    /// Checks every signature and rule from the founding on.
    Verify(verify::Args),
    /// Lists who has applied to join with invitations of this node.
    Applicants(applicants::Args),
    /// Proposes a change, and approves it if this organization is a steward.
    Propose(Box<propose::Args>),
    /// Shows a proposal in plain words, with what to be careful about.
    Review(review::ReviewArgs),
    /// Approves a proposal with this steward's govern key.
    Approve(review::ApproveArgs),
    /// Objects, with the root key, to its own replacement.
    Object(object::Args),
    /// Writes the roster to a file.
    Export(exchange::ExportArgs),
    /// Takes up the statements of a file.
    Import(exchange::ImportArgs),
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let file = args.file.as_deref();
    let behalf = Behalf { organization: args.organization.clone() };
    let source = || Source::new(dir, &behalf, file);
    let act = |command, options, source| {
        let behalf = &behalf;
        Act { command, dir, behalf, json, options, source }
    };
    match &args.command {
        Command::Show(args) => show::command(&source()?, args, json),
        Command::Diff(args) => diff::command(source, args, json),
        Command::Log(args) => log::command(dir, source, args, json),
        Command::Verify(args) => verify::command(source, args, json),
        Command::Applicants(_) => applicants::command(&source()?, json),
        Command::Propose(args) => {
            propose::command(&act("propose", &args.signing, &source()?), args)
        }
        Command::Review(args) => review::review(&source()?, args, json),
        Command::Approve(args) => review::approve(&act("approve", &args.signing, &source()?), args),
        Command::Object(args) => object::command(&act("object", &args.signing, &source()?), args),
        Command::Export(args) => exchange::export(&source()?, args, json),
        Command::Import(args) => exchange::import(&source()?, args, json),
    }
}

/// An error with what to do about it.
fn fail(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { message: message.into(), hint: hint.into() })
}
