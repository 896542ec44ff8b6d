//! `signpost evaluators show`: who evaluates now.

use std::process::ExitCode;

use serde_json::{Value, json};
use signpost_protocol::blind::EvaluatorSet;

use super::super::{
    govern::lines_printable,
    source::Source,
    view::View,
    words::{name, short},
};
use crate::cli::text::print;

/// Arguments of `signpost evaluators show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  signpost evaluators show")]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn command(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let view = source.view()?;
    print(&if json { report(&view).to_string() } else { lines_printable(&text(&view)) })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(view: &View) -> String {
    let state = view.roster.evaluators();
    let mut text = String::new();
    for set in &state.sets {
        text += &format!(
            "Key epoch {}, share epoch {}: {} of {} evaluators are needed.\n",
            set.key_epoch.0,
            set.share_epoch,
            set.threshold,
            set.evaluators.len()
        );
        for one in set.evaluators.iter() {
            text += &format!("  {}  {}\n", one.index, name(view, &one.organization));
        }
        text += origin(set);
    }
    if state.sets.is_empty() {
        text += "The network has no blinding key yet, so nobody can be looked up.\nNext: a steward calls \
                 evaluators to make one: `signpost evaluators ceremony start`.\n";
    } else if state.version > 0 {
        text += &format!("In force by proposal {} (`signpost roster log`).\n", short(&state.id));
    }
    text
}

const fn origin(set: &EvaluatorSet) -> &'static str {
    if set.dealt {
        "  One party dealt the key and may know it: for demonstrations only.\n"
    } else {
        "  They made the key among themselves: nobody has ever held it.\n"
    }
}

fn report(view: &View) -> Value {
    let state = view.roster.evaluators();
    let sets = state.sets.iter().map(|set| {
        let evaluators = set.evaluators.iter().map(|one| {
            let member = view.member(&one.organization);
            json!({
                "index": one.index,
                "organization": one.organization.to_string(),
                "ods": member.map(|member| member.ods.to_string()),
                "name": member.map(|member| member.name.clone()),
            })
        });
        json!({
            "key_epoch": set.key_epoch.0,
            "share_epoch": set.share_epoch,
            "threshold": set.threshold,
            "dealt": set.dealt,
            "evaluators": evaluators.collect::<Vec<_>>(),
        })
    });
    json!({
        "version": state.version,
        "proposal": state.id.to_string(),
        "sets": sets.collect::<Vec<_>>(),
    })
}
