//! `signpost evaluators usage`: how much this evaluator has evaluated for whom.

use std::process::ExitCode;

use serde_json::json;

use super::super::{govern::lines_printable, source::Source};
use crate::{cli::text::print, core::local::UsageDay};

/// Arguments of `signpost evaluators usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each evaluator counts for itself, from midnight to midnight UTC. An organization may look up as many
patients as its quota says, and in a pinch twice as many; and publish as many new ones as its quota says.
The quotas follow from the size class that the stewards have given it (`signpost roster propose rename
--class-max`), and from the network's parameters.

Examples:
  signpost evaluators usage
  signpost evaluators usage --days 7 --json")]
pub(super) struct Args {
    /// How many days back, today counted.
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=36))]
    days: u64,
}

/// Runs the command.
pub(super) fn command(source: &Source, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let mut days = source.usage()?;
    let today = days.first().map_or(0, |day| day.day);
    days.retain(|day| day.day + args.days > today);
    if json {
        print(&json!({ "days": days }).to_string())?;
    } else {
        print(&lines_printable(&text(&days)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(days: &[UsageDay]) -> String {
    let mut text = String::new();
    for day in days {
        text += &format!("{} (UTC)\n", date(day.day));
        for one in &day.organizations {
            let over = if one.lookups > one.lookups_quota { "  MORE THAN ITS QUOTA" } else { "" };
            text += &format!(
                "  {:8} {}: {} of {} look-ups, {} of {} to publish{over}\n",
                one.ods,
                one.name,
                one.lookups,
                one.lookups_quota,
                one.publishes,
                one.publishes_quota
            );
        }
        if day.organizations.is_empty() {
            text += "  nothing was evaluated for others\n";
        }
    }
    text
}

fn date(day: u64) -> String {
    let seconds = i64::try_from(day).ok().and_then(|day| day.checked_mul(86_400));
    let instant = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    instant.map_or_else(|| format!("day {day}"), |instant| instant.strftime("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::local::UsageShown;

    #[test]
    fn each_day_is_listed_with_who_has_passed_its_quota() {
        let one = |ods: &str, lookups| UsageShown {
            organization: String::new(),
            ods: ods.to_owned(),
            name: "York\u{1b}".to_owned(),
            lookups,
            lookups_quota: 100,
            publishes: 7,
            publishes_quota: 1_000,
        };
        let organizations = vec![one("RX1", 5), one("RX2", 101)];
        let days =
            [UsageDay { day: 20_786, organizations }, UsageDay { day: 1, organizations: vec![] }];
        let text = lines_printable(&text(&days));
        for part in
            ["2026-11-29 (UTC)", "5 of 100 look-ups, 7 of 1000", "York\u{fffd}", "1970-01-02"]
        {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
        let marked = text.lines().filter(|line| line.contains("MORE THAN")).count();
        assert_eq!(marked, 1, "{text}");
    }
}
