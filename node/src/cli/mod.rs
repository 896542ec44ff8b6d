//! The command line: one file a subcommand, errors folded in one place.
//!
//! Standard output carries results, for people or, with `--json`, for programs; everything else
//! goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part, 130 stopped by
//! Ctrl-C.

mod behalf;
mod client;
mod confirm;
mod error;
mod export;
mod generate;
mod import;
mod init;
mod input;
mod invite;
mod join;
mod locate;
mod roster;
mod run;
mod status;
mod text;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::demo;

/// Exit code of a command that did its work in part: lines refused, or a partial result.
const PARTLY: u8 = 3;
/// Exit code of a command that was stopped by a signal, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;
/// The environment variable that stands in for `--dir`.
const DIRECTORY_VARIABLE: &str = "SIGNPOST_DIR";
/// The node's directory when nothing names one.
const DIRECTORY_DEFAULT: &str = "signpost-data";

/// Signpost tells who in a federation holds a record for a patient, of what kind, and how it is fetched.
#[derive(Debug, Parser)]
#[command(name = "signpost", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done in part, 130 stopped by Ctrl-C.

Examples:
  signpost demo
  signpost init --ods RX1 --name 'Harrowgate Vale Community Health'
  signpost join signpost-invitation:uaaf... --ods RX9 --name 'Harrow General' \
      --peer-address /dns4/signpost.harrow.example/tcp/7701
  signpost run
  signpost import pointers.ndjson.gz
  signpost locate 9990000018
  signpost roster show")]
struct Arguments {
    /// The node's directory [default: $SIGNPOST_DIR, else signpost-data].
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Prints for programs: JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an organization with its first node, in a network of its own.
    Init(init::Args),
    /// Joins a network with an invitation, and makes the organization's node.
    Join(Box<join::Args>),
    /// Makes a further node of an organization that is a member already, on a machine of its own.
    Node(roster::node::Args),
    /// Makes an invitation for an organization that is to join.
    Invite(invite::Args),
    /// Takes an organization's nodes and keys out of the network.
    Leave(roster::leave::Args),
    /// Runs the node until it is told to stop.
    Run(run::Args),
    /// Imports pointers into the running node.
    Import(Box<import::Args>),
    /// Writes this node's own pointers to a file, as import takes them.
    Export(export::Args),
    /// Writes invented pointers, for trials and measurements.
    Generate(generate::Args),
    /// Finds out who holds records for a patient.
    Locate(locate::Args),
    /// Governs the network: who is a member, who decides, and what was decided.
    Roster(roster::Args),
    /// Shows and changes who turns blinded patients into locators, and by which shares of the key.
    Evaluators(roster::evaluators::Args),
    /// Lists, renews and revokes the organization's own keys.
    Keys(roster::own_keys::Args),
    /// Shows how the running node is.
    Status(status::StatusArgs),
    /// Confirms that everything was sent again after the node was restored from a back-up.
    ConfirmRestored(status::ConfirmRestoredArgs),
    /// Shows a whole federation on this machine, each node a process, with synthetic patients.
    Demo(demo::Args),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing better can be done when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Arguments { dir, json, command } = arguments;
    run_command(command, dir, json).unwrap_or_else(|error| error::report(&error, json))
}

fn run_command(command: Command, dir: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    // A demonstration lives in a directory of its own, never in that of a real node.
    if let Command::Demo(mut args) = command {
        args.dir = args.dir.or(dir);
        return demo::command(args, json);
    }
    // Needs no node, and none of its directories.
    if let Command::Generate(args) = &command {
        return generate::command(args, json);
    }
    let dir = &directory(dir, std::env::var_os(DIRECTORY_VARIABLE));
    match &command {
        Command::Demo(_) | Command::Generate(_) => unreachable!("left above"),
        Command::Init(args) => init::command(dir, args, json),
        Command::Join(args) => join::command(dir, args, json),
        Command::Node(args) => roster::node::command(dir, args, json),
        Command::Invite(args) => invite::command(dir, args, json),
        Command::Leave(args) => roster::leave::command(dir, args, json),
        Command::Run(args) => run::command(dir, args, json),
        Command::Import(args) => import::command(dir, args, json),
        Command::Export(args) => export::command(dir, args, json),
        Command::Locate(args) => locate::command(dir, args, json),
        Command::Roster(args) => roster::command(dir, args, json),
        Command::Evaluators(args) => roster::evaluators::command(dir, args, json),
        Command::Keys(args) => roster::own_keys::command(dir, args, json),
        Command::Status(args) => status::command(dir, args, json),
        Command::ConfirmRestored(args) => status::confirm_restored(dir, args, json),
    }
}

fn directory(argument: Option<PathBuf>, variable: Option<OsString>) -> PathBuf {
    let variable = variable.filter(|variable| !variable.is_empty()).map(PathBuf::from);
    argument.or(variable).unwrap_or_else(|| PathBuf::from(DIRECTORY_DEFAULT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_commands_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_examples() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let error = parse(&format!("signpost {name} --help")).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0));
            let help = error.to_string();
            for part in ["Example", &format!("signpost {name}"), "--dir", "--json"] {
                assert!(help.contains(part), "no {part} in the help of {name}:\n{help}");
            }
        }
    }

    #[test]
    fn the_help_says_what_cannot_be_seen() {
        let locate = parse("signpost locate --help").unwrap_err().to_string();
        assert!(
            locate.contains("list of\nprocesses") && locate.contains("standard input"),
            "{locate}"
        );
        let run = parse("signpost run --help").unwrap_err().to_string();
        assert!(!run.contains("stop-with-stdin"), "{run}");
    }

    #[test]
    fn wrong_usage_is_refused_with_exit_code_2() {
        for (line, kind) in [
            ("signpost", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("signpost fly", ErrorKind::InvalidSubcommand),
            ("signpost import", ErrorKind::MissingRequiredArgument),
            ("signpost locate", ErrorKind::MissingRequiredArgument),
            ("signpost locate --system passport 1", ErrorKind::InvalidValue),
            ("signpost run --port 1", ErrorKind::UnknownArgument),
            ("signpost generate --ods RX1", ErrorKind::MissingRequiredArgument),
            ("signpost init --ods rx1 --name x", ErrorKind::ValueValidation),
            ("signpost init --ods RX1", ErrorKind::MissingRequiredArgument),
            ("signpost init --ods RX1 --name x --api elsewhere", ErrorKind::ValueValidation),
            ("signpost join x --ods rx9", ErrorKind::ValueValidation),
            ("signpost join x y", ErrorKind::UnknownArgument),
            ("signpost invite --hours 721", ErrorKind::ValueValidation),
            ("signpost roster propose admit --reason x", ErrorKind::MissingRequiredArgument),
            (
                "signpost roster propose admit RX9 --application f --reason x",
                ErrorKind::ArgumentConflict,
            ),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }

    #[test]
    fn the_global_options_stand_before_or_after_the_command() {
        for line in ["signpost --dir d --json status", "signpost status --json --dir d"] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.dir.as_deref(), Some(Path::new("d")));
            assert!(arguments.json);
        }
        assert!(parse("signpost run --stop-with-stdin").is_ok());
        assert!(parse("signpost import a.json - b.gz").is_ok());
        assert!(parse("signpost locate -").is_ok());
        assert!(parse("signpost join").is_ok(), "goes on where it was");
    }

    #[test]
    fn the_option_goes_before_the_environment_and_that_before_the_default() {
        let (option, variable) = (Some(PathBuf::from("o")), Some(OsString::from("v")));
        assert_eq!(directory(option, variable.clone()), PathBuf::from("o"));
        assert_eq!(directory(None, variable), PathBuf::from("v"));
        assert_eq!(directory(None, Some(OsString::new())), PathBuf::from(DIRECTORY_DEFAULT));
        assert_eq!(directory(None, None), PathBuf::from(DIRECTORY_DEFAULT));
    }
}
