//! `signpost evaluators evidence`: wrong evaluations that the node has caught, and those of others.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use signpost_protocol::{OdsCode, blind::EvaluationEvidence, codec, limits};

use super::super::{
    fail,
    govern::lines_printable,
    handed,
    source::Source,
    words::{name, time},
};
use crate::{api::evaluators::EvidenceEntry, cli::text::print};

/// Arguments of `signpost evaluators evidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An evaluator that answers wrongly would make a patient's records seem not to exist. Its answer carries a
proof, which does not hold then; the answer is not used, and kept with the evaluator's signature. Nobody
needs to be trusted for what that shows: send the file to the stewards, who check it and have the key
handed on to others.

Examples:
  signpost evaluators evidence
  signpost evaluators evidence --of RX3 --out rx3.evidence
  signpost evaluators evidence --check rx3.evidence")]
pub(super) struct Args {
    /// Only against this evaluator.
    #[arg(long, value_name = "ODS")]
    of: Option<OdsCode>,
    /// Writes the evidence to a file, to be sent to others.
    #[arg(long, value_name = "FILE", requires = "of")]
    out: Option<PathBuf>,
    /// Checks a file that somebody else has sent.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["of", "out"])]
    check: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn command(source: &Source, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.check {
        return check(source, file, json);
    }
    let mut all = source.evidence()?;
    all.retain(|entry| args.of.as_ref().is_none_or(|of| entry.ods == of.as_str()));
    if let Some(out) = &args.out {
        let entry = all.first().ok_or_else(|| {
            fail(
                "there is no evidence against it here",
                "`signpost evaluators evidence` lists what there is",
            )
        })?;
        let bytes = BASE64.decode(&entry.evidence).context("the node's answer is not base64")?;
        handed::write(out, &bytes)?;
    }
    if json {
        print(&json!({ "evidence": all }).to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = |entry: &EvidenceEntry| {
        format!(
            "{} ({}) has answered wrongly at {}, by its share of key epoch {}, share epoch {}.\n",
            entry.name, entry.ods, entry.issued, entry.key_epoch, entry.share_epoch
        )
    };
    let mut text: String = all.iter().map(line).collect();
    if all.is_empty() {
        text = "This node has caught no evaluator with a wrong answer.\n".to_owned();
    } else if let Some(out) = &args.out {
        text += &format!("Written to {}: send it to the stewards.\n", out.display());
    } else {
        text += "Next: `signpost evaluators evidence --of ODS --out FILE`, and send the file to the stewards.\n";
    }
    print(&lines_printable(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn check(source: &Source, file: &std::path::Path, json: bool) -> anyhow::Result<ExitCode> {
    let bytes = handed::read(file, limits::EVIDENCE_BYTES_MAX)?;
    let evidence: EvaluationEvidence =
        codec::decode("evidence", &bytes, limits::EVIDENCE_BYTES_MAX)
            .with_context(|| format!("{} is no evidence", file.display()))?;
    let view = source.view()?;
    let wrong = view.roster.convict(&evidence).map_err(|error| match error.is_forgotten() {
        true => fail(
            format!("it cannot be checked by this roster: {error}"),
            "check it by a roster that lists the keys and the evaluators of then",
        ),
        false => fail(format!("this shows nothing: {error}"), "nobody is to be accused by it"),
    })?;
    let who = name(&view, &wrong.organization);
    let text = format!(
        "It holds: {who} has answered {} wrongly at {}, by its share of key epoch {}, share epoch {}.\n\
         Next: hand the key on to others with `signpost evaluators reshare`, without it.\n",
        name(&view, &wrong.asking),
        time(wrong.issued),
        wrong.key_epoch.0,
        wrong.share_epoch
    );
    let report = json!({
        "holds": true,
        "organization": wrong.organization.to_string(),
        "name": who,
        "issued": time(wrong.issued),
        "key_epoch": wrong.key_epoch.0,
        "share_epoch": wrong.share_epoch,
    });
    print(&if json { report.to_string() } else { lines_printable(&text) })?;
    Ok(ExitCode::SUCCESS)
}
