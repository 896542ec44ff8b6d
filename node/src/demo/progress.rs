//! What the demo is doing just now, on standard error: bars on a terminal, plain lines elsewhere.
//! Standard output is left to the report.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    terminal: bool,
}

impl Progress {
    /// Progress for whatever standard error is.
    pub(super) fn to_stderr() -> Self {
        Self { terminal: stderr().is_terminal() }
    }

    /// One line.
    pub(super) fn say(self, line: &str) {
        // A closed standard error is no reason to fail.
        let _ = writeln!(stderr(), "{line}");
    }

    /// Begins a step of `total` parts; 0 when that is not known.
    pub(super) fn step(self, what: &str, total: u64) -> Step {
        let bar = self.terminal.then(|| {
            let bar = if total > 0 { ProgressBar::new(total) } else { ProgressBar::new_spinner() };
            let template = if total > 0 {
                "{spinner} {msg} [{bar:28}] {human_pos}/{human_len} {eta}"
            } else {
                "{spinner} {msg}"
            };
            let style = ProgressStyle::with_template(template)
                .expect("the template is a constant that indicatif accepts")
                .progress_chars("=> ");
            bar.set_style(style);
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            self.say(&format!("{what} ..."));
        }
        Step { progress: self, bar, what: what.to_owned(), started: Instant::now() }
    }
}

/// A step under way. Dropped without [`Step::done`], it vanishes: the error says the rest.
#[derive(Debug)]
pub(super) struct Step {
    progress: Progress,
    bar: Option<ProgressBar>,
    what: String,
    started: Instant,
}

impl Step {
    /// `parts` more are done.
    pub(super) fn advance(&self, parts: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(parts);
        }
    }

    /// The step is done; `outcome` in a few words.
    pub(super) fn done(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.progress.say(&format!("{}: {outcome} ({seconds:.1} s)", self.what));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_step_can_be_drawn() {
        for terminal in [false, true] {
            let progress = Progress { terminal };
            let step = progress.step("counting", 10);
            step.advance(10);
            step.done("ten");
            progress.step("waiting", 0).done("over");
        }
    }
}
