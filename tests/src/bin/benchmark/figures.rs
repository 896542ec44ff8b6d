//! Figures: a measured series, what it is compared with, and how that is said.

use std::time::Duration;

use serde::Serialize;

/// What a ratio should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// A time: at most so many times its floor.
    AtMost(f64),
    /// A rate: at least this part of what would be possible.
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(bound) => ratio <= bound,
            Self::AtLeast(bound) => ratio >= bound,
        }
    }
}

/// Values in the order in which they were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Milliseconds.
    pub(crate) fn time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One figure of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// `ms`, `/s`, `bytes`, or nothing.
    pub(crate) unit: &'static str,
    /// Median of what was measured.
    pub(crate) median: f64,
    /// The 99th of 100, for times.
    pub(crate) p99: Option<f64>,
    /// How many times it was measured.
    pub(crate) samples: usize,
    /// What it is compared with, each measured in the same run, turn by turn.
    pub(crate) beside: Vec<Beside>,
}

/// A floor or a ceiling.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    /// What was measured.
    pub(crate) what: String,
    /// Median, in the figure's unit.
    pub(crate) median: f64,
    /// The figure's median divided by this one.
    pub(crate) ratio: f64,
    /// What the ratio should be.
    pub(crate) aim: Option<Aim>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, series: &Series) -> Self {
        Self {
            what: what.into(),
            unit,
            median: series.median(),
            p99: (unit == "ms").then(|| series.quantile(0.99)),
            samples: series.len(),
            beside: Vec::new(),
        }
    }

    /// A figure that is known exactly.
    pub(crate) fn exact(what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        let mut series = Series::default();
        series.push(value);
        Self { p99: None, ..Self::new(what, unit, &series) }
    }

    pub(crate) fn beside(self, what: impl Into<String>, floor: &Series, aim: Option<Aim>) -> Self {
        self.beside_value(what, floor.median(), aim)
    }

    pub(crate) fn beside_value(
        mut self,
        what: impl Into<String>,
        median: f64,
        aim: Option<Aim>,
    ) -> Self {
        let ratio = self.median / median;
        self.beside.push(Beside { what: what.into(), median, ratio, aim });
        self
    }
}

/// The figures of one measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// As `--only` names it.
    pub(crate) name: &'static str,
    /// What the measurement was, in a sentence.
    pub(crate) about: String,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// The figures.
    pub(crate) figures: Vec<Figure>,
}

/// A Markdown table of all figures, a line for each comparison.
pub(crate) fn table(groups: &[Group]) -> String {
    let mut text = String::from(
        "| | median | p99 | beside, in the same run | its median | ratio | aim |\n\
         |---|---:|---:|---|---:|---:|---|\n",
    );
    for group in groups {
        text += &format!("| **{}** | | | | | | |\n", group.name);
        for figure in &group.figures {
            let p99 = figure.p99.map_or(String::new(), |p99| said(p99, figure.unit));
            let (median, what) = (said(figure.median, figure.unit), &figure.what);
            let mut start = format!("| {what} | {median} | {p99} |");
            if figure.beside.is_empty() {
                text += &format!("{start} | | | |\n");
            }
            for beside in &figure.beside {
                let ratio = format!("{:.2}", beside.ratio);
                let floor = said(beside.median, figure.unit);
                let aim = beside.aim.map_or(String::new(), |aim| aim_said(aim, beside.ratio));
                text += &format!("{start} {} | {floor} | {ratio} | {aim} |\n", beside.what);
                start = "| | | |".to_owned();
            }
        }
    }
    text
}

/// The figures that have an aim, for the README.
pub(crate) fn short_table(groups: &[Group]) -> String {
    let mut text = String::from("| | measured | beside, in the same run | ratio | aim |\n");
    text += "|---|---:|---|---:|---|\n";
    for figure in groups.iter().flat_map(|group| &group.figures) {
        for beside in &figure.beside {
            let Some(aim) = beside.aim else { continue };
            text += &format!(
                "| {} | {} | {}: {} | {:.2} | {} |\n",
                figure.what,
                said(figure.median, figure.unit),
                beside.what,
                said(beside.median, figure.unit),
                beside.ratio,
                aim_said(aim, beside.ratio),
            );
        }
    }
    text
}

fn aim_said(aim: Aim, ratio: f64) -> String {
    let (sign, bound) = match aim {
        Aim::AtMost(bound) => ("≤", bound),
        Aim::AtLeast(bound) => ("≥", bound),
    };
    format!("{sign} {bound}: {}", if aim.is_met(ratio) { "met" } else { "not met" })
}

fn said(value: f64, unit: &str) -> String {
    match unit {
        "ms" if value < 1.0 => format!("{:.0} µs", value * 1e3),
        "ms" => format!("{value:.2} ms"),
        "/s" => format!("{value:.0}/s"),
        "bytes" if value >= 1e6 => format!("{:.0} MB", value / 1e6),
        "bytes" => format!("{value:.0} B"),
        _ => format!("{value:.2}"),
    }
}
