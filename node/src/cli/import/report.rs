//! What an import says: each line that was refused, each id that came twice, and the sum.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{node::Fault, pipeline::Interruption};
use crate::{
    cli::{
        error::Hinted,
        input::Place,
        text::{print, printable, tell},
    },
    core::local::Effect,
};

/// How many resources met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) deleted: u64,
    pub(super) refused: u64,
    /// Entries of transactions that are no pointers.
    pub(super) skipped: u64,
}

impl Tally {
    pub(super) const fn acknowledged(&self) -> u64 {
        self.created + self.updated + self.unchanged
    }

    pub(super) fn count(&mut self, effect: Effect) {
        match effect {
            Effect::Created => self.created += 1,
            Effect::Updated => self.updated += 1,
            Effect::Unchanged => self.unchanged += 1,
            Effect::Deleted => self.deleted += 1,
        }
    }

    /// For people; deletions are spoken of where there can be any.
    pub(super) fn text(&self, deletes: bool) -> String {
        let Self { created, updated, unchanged, deleted, refused, skipped } = self;
        let deleted =
            if deletes { format!(", {deleted} deleted (tombstoned)") } else { String::new() };
        let skipped = match skipped {
            0 => String::new(),
            1 => "; 1 entry that is no pointer was skipped".to_owned(),
            many => format!("; {many} entries that are no pointers were skipped"),
        };
        format!(
            "{created} created, {updated} updated, {unchanged} unchanged{deleted}, {refused} \
             refused{skipped}"
        )
    }

    pub(super) fn json(&self) -> Value {
        let Self { created, updated, unchanged, deleted, refused, skipped } = self;
        json!({
            "created": created, "updated": updated, "unchanged": unchanged, "deleted": deleted,
            "refused": refused, "skipped": skipped,
        })
    }

    /// What is kept of an import that stopped, and what to do. `unknown` lines were sent and not
    /// answered.
    pub(super) fn interrupted(&self, why: &Interruption, unknown: usize) -> Hinted {
        let mut message =
            format!("the import stopped after {} pointers were acknowledged", self.acknowledged());
        if unknown > 0 {
            message += &format!(
                ", and it is not known which of the {unknown} lines sent last were stored as well"
            );
        }
        let first = match why {
            Interruption::Signal => "",
            Interruption::Storage(_) => {
                "free space on the node's disk and start the node again if it has stopped; then "
            }
            _ => "once this is mended, ",
        };
        let hint = format!(
            "{first}run the same command again: that is safe, because what was acknowledged is \
             kept and the same content changes nothing"
        );
        Hinted { message, hint }
    }
}

/// A bar over the bytes of the files; over time only when the size is unknown. Hidden without a terminal.
pub(super) fn progress(bytes: u64, json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    if bytes == 0 {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} {elapsed} {msg}"));
        return bar;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    bar.set_style(style("{bar:30} {bytes}/{total_bytes} {eta} left {msg}"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants and well formed")
}

/// Says what there is to say while the import goes on.
pub(super) struct Report {
    pub(super) bar: ProgressBar,
    pub(super) json: bool,
}

impl Report {
    /// A line that was refused.
    pub(super) fn refused(&self, place: &Place, fault: &Fault) {
        self.line(&refused_text(place, fault), || refused_json(place, fault));
    }

    /// An id that came before, with other content.
    pub(super) fn repeated(&self, place: &Place, before: &Place) {
        self.line(&repeated_text(place, before), || repeated_json(place, before));
    }

    /// Something that the sum does not say.
    pub(super) fn note(&self, text: &str) {
        self.line(&printable(text), || json!({ "note": text }));
    }

    /// A result on standard output.
    pub(super) fn result(&self, text: &str, json: impl FnOnce() -> Value) -> std::io::Result<()> {
        self.bar.suspend(|| if self.json { print(&json().to_string()) } else { print(text) })
    }

    fn line(&self, text: &str, json: impl FnOnce() -> Value) {
        self.bar.suspend(|| {
            if !self.json {
                tell(text);
            } else if let Err(error) = print(&json().to_string()) {
                // The import goes on: what is lost of the report can be had by running it again.
                tell(&format!("cannot write the report: {error}"));
            }
        });
    }
}

pub(super) fn refused_text(place: &Place, fault: &Fault) -> String {
    printable(&format!("{place}: {}", fault.diagnostics))
}

pub(super) fn refused_json(place: &Place, fault: &Fault) -> Value {
    json!({
        "file": place.file, "line": place.line, "entry": place.entry,
        "code": fault.code, "error": fault.diagnostics,
    })
}

pub(super) fn repeated_text(place: &Place, before: &Place) -> String {
    printable(&format!("{place}: warning: the same id as {before}; the later one counts"))
}

pub(super) fn repeated_json(place: &Place, before: &Place) -> Value {
    json!({
        "file": place.file, "line": place.line, "entry": place.entry,
        "warning": format!("the same id as {before}; the later one counts"),
    })
}
