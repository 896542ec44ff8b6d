//! `signpost roster log`: what was decided when, in words; and what this machine has signed.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};
use signpost_keys::roster::{Decision, State};
use signpost_protocol::{ContentHash, Timestamp};

use super::{
    admin_log,
    change::{Words, objection, title},
    fail,
    govern::{describe, lines_printable},
    source::Source,
    view::View,
    words::{self, counts, name, short, time},
};
use crate::cli::text::print;

/// Arguments of `signpost roster log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Decisions come in the order in which they were made, the newest last; what is open comes after them.
With --local the log of what was signed on this machine is shown instead, and its chain checked.

Examples:
  signpost roster log
  signpost roster log --limit 5
  signpost roster log --local")]
pub(super) struct Args {
    /// Shows only so many, the newest.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Shows what was signed on this machine.
    #[arg(long)]
    local: bool,
}

/// Runs the command.
pub(super) fn command(
    dir: &Path,
    source: impl FnOnce() -> anyhow::Result<Source>,
    args: &Args,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if args.local {
        return local(dir, args, json);
    }
    let view = source()?.view()?;
    let mut all = in_time_order(&view);
    let skipped = all.len().saturating_sub(args.limit.unwrap_or(usize::MAX));
    all.drain(..skipped);
    print(&if json { log_json(&view, &all) } else { text(&view, &all, skipped) })?;
    Ok(ExitCode::SUCCESS)
}

/// Decisions by time, then what is open by the time at which it was written.
fn in_time_order(view: &View) -> Vec<(ContentHash, &Decision)> {
    let mut all: Vec<_> = view.law.proposals().map(|(id, decision)| (*id, decision)).collect();
    let key = |(id, decision): &(ContentHash, &Decision)| {
        let is_open = decision.state == State::Open;
        let at: Timestamp = match decision.state {
            State::Expired => decision.proposal.expires,
            _ => decision.decided.unwrap_or(decision.proposal.issued),
        };
        (is_open, at, *id)
    };
    all.sort_by_key(key);
    all
}

fn text(view: &View, all: &[(ContentHash, &Decision)], skipped: usize) -> String {
    let mut lines = Vec::new();
    match skipped {
        0 => lines.push(format!(
            "{}  The network {} was founded by {}.",
            time(view.roster.founded()),
            view.roster.name(),
            words::count(view.founders as u64, "member")
        )),
        _ => lines.push(format!("({skipped} earlier ones are not shown)")),
    }
    for (id, decision) in all {
        let at = match decision.state {
            State::Open => "open                ".to_owned(),
            State::Expired => time(decision.proposal.expires),
            _ => decision.decided.map_or_else(String::new, time),
        };
        lines.push(format!("{at}  {}  {}", short(id), title(view, &decision.proposal.change)));
        lines.push(format!("    Why: {}", &*decision.proposal.reason));
        let approvals = decision.approvals.iter().map(|(steward, at, how)| {
            format!("{} at {}{}", name(view, steward), time(*at), counts(how))
        });
        let approvals: Vec<_> = approvals.collect();
        lines.push(match approvals.as_slice() {
            [] => "    Approved by nobody whose approval counts.".to_owned(),
            some => format!("    Approved by {}.", some.join("; ")),
        });
        for protest in view.statements.objections_to(id) {
            lines.push(format!("    {}", objection(view, protest)));
        }
        lines.push(format!("    {}.", capital(&words::state(view, id))));
    }
    if all.is_empty() && skipped == 0 {
        lines.push("Nothing has been proposed since.".to_owned());
    }
    lines_printable(&lines.join("\n"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

fn log_json(view: &View, all: &[(ContentHash, &Decision)]) -> String {
    let entries: Vec<Value> = all
        .iter()
        .map(|(id, decision)| {
            let mut value = describe(view, id, &Words::of(view, id, &decision.proposal));
            value["decided"] = decision.decided.map(time).into();
            value["issued"] = time(decision.proposal.issued).into();
            value["expires"] = time(decision.proposal.expires).into();
            value["epoch"] = decision.proposal.epoch.into();
            let protests = view.statements.objections_to(id);
            value["objections"] = protests.map(|protest| objection(view, protest)).collect();
            value
        })
        .collect();
    json!({ "founded": time(view.roster.founded()), "proposals": entries }).to_string()
}

/// What this machine has signed.
fn local(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let reading = admin_log::read(dir)?;
    let skipped = reading.entries.len().saturating_sub(args.limit.unwrap_or(usize::MAX));
    let entries = &reading.entries[skipped..];
    if json {
        print(&json!({ "entries": entries, "fault": reading.fault }).to_string())?;
    } else {
        let lines = entries.iter().map(|entry| {
            let event = match entry.event {
                admin_log::Event::Signed => "signed",
                admin_log::Event::Accepted => "accepted by the node",
                admin_log::Event::Refused => "REFUSED by the node",
                admin_log::Event::Written => "written to a file",
            };
            let proposal = entry.proposal.get(..8).unwrap_or_default();
            format!("{}  {}  {} ({}): {event}", entry.time, proposal, entry.what, entry.command)
        });
        print(&lines_printable(&lines.collect::<Vec<_>>().join("\n")))?;
    }
    match reading.fault {
        None => Ok(ExitCode::SUCCESS),
        Some(fault) => Err(fail(
            format!("the log was altered: {fault}"),
            "what is shown above is sound; find out who has changed the rest",
        )),
    }
}
