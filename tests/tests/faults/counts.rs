//! What a fault test counts.

use std::time::Duration;

pub(crate) const HEADER: &str = "\
| fault | faults | acknowledged writes | lost | results complete | partial | wrongly complete | took |
|---|---:|---:|---:|---:|---:|---:|---:|";

#[derive(Default)]
pub(crate) struct Counts {
    /// Kills, full disks, damaged files, floods: what was done to the nodes.
    pub(crate) faults: u64,
    /// Writes that a node said it had done.
    pub(crate) acknowledged: u64,
    /// Look-ups that said `complete`.
    pub(crate) complete: u64,
    /// Look-ups that said `partial`.
    pub(crate) partial: u64,
    lost: Vec<String>,
    wrongly_complete: Vec<String>,
}

impl Counts {
    /// Notes an acknowledged write that is not there, or not as it was acknowledged.
    pub(crate) fn lost(&mut self, what: String) {
        println!("LOST: {what}");
        self.lost.push(what);
    }

    /// Notes a result that said `complete` and was not, or that showed what was deleted.
    pub(crate) fn wrong(&mut self, what: String) {
        println!("WRONG: {what}");
        self.wrongly_complete.push(what);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.wrongly_complete.is_empty()
    }

    pub(crate) fn complaints(&self) -> impl Iterator<Item = &String> {
        self.lost.iter().chain(&self.wrongly_complete)
    }

    /// A line of the table under [`HEADER`].
    pub(crate) fn row(&self, name: &str, ended: bool, took: Duration) -> String {
        let name = if ended { name.to_owned() } else { format!("{name} (FAILED)") };
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {:.0} s |",
            self.faults,
            self.acknowledged,
            self.lost.len(),
            self.complete,
            self.partial,
            self.wrongly_complete.len(),
            took.as_secs_f64(),
        )
    }
}
