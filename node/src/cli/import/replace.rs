//! `--replace`: what a source has becomes what its files say. First everything is read and judged
//! without a write, and what would happen is said; then it happens, deletions last.
//!
//! The danger is a file that says less than its system holds: cut off, half written, half refused.
//! So nothing is deleted unless every line was accepted, both readings found the same bytes, and
//! the deletions are few or asked for. Only ids that the summary counted are deleted, so another
//! import of the same source at the same time loses nothing unsaid.

use std::{collections::HashSet, process::ExitCode};

use super::{
    INTERRUPTED, Import, PARTLY, Pass,
    node::{Node as _, Outcome},
    pipeline::{Interruption, insist},
    report::Tally,
    seen::{Fingerprint, Seen, fingerprint},
};
use crate::{
    cli::error::Hinted,
    core::local::{Effect, WRITES_PER_REQUEST_MAX},
};

/// Deletions beyond this many need `--allow-mass-delete` if they are most of the source: fewer can
/// be looked through by a person, and a small source may change altogether.
const DELETIONS_UNASKED_MAX: usize = 100;

/// What is to be deleted.
struct Doomed {
    /// How many pointers the source has.
    held: usize,
    ids: HashSet<Fingerprint>,
}

impl Import<'_> {
    /// Judges everything without a write, and says what would happen; then, unless that was all
    /// that was asked for, does it.
    pub(super) fn in_two_passes(&self) -> anyhow::Result<ExitCode> {
        let mut seen = Seen::default();
        let first = self.pass(true, Some(&mut seen), &HashSet::new());
        if let Err(why) = first.outcome {
            let signal = matches!(why, Interruption::Signal);
            let error = anyhow::Error::from(why).context("nothing was written");
            return if signal { self.said(&error, INTERRUPTED) } else { Err(error) };
        }
        if let Some(name) = first.changed.first() {
            anyhow::bail!(Hinted {
                message: format!("{name} changed while it was read; nothing was written"),
                hint: "run the same command again once the export has finished".to_owned(),
            });
        }
        let mut plan = first.tally;
        let doomed = match self.args.replace {
            true => self.doomed(&seen)?,
            false => Doomed { held: 0, ids: HashSet::new() },
        };
        if plan.refused == 0 {
            plan.deleted = doomed.ids.len() as u64;
        }
        self.say_plan(&plan)?;
        if plan.refused > 0 && self.args.replace {
            self.report.note(&format!(
                "Nothing is deleted, because {} lines were refused or could not be read: it cannot \
                 be told which pointers they stand for.",
                plan.refused
            ));
        } else if !self.args.allow_mass_delete {
            self.guard(&doomed, seen.count())?;
        }
        drop(seen);
        if self.args.dry_run {
            return Ok(plan.exit_code());
        }
        self.apply(&first.hashes, &first.refused, &doomed)
    }

    fn say_plan(&self, plan: &Tally) -> anyhow::Result<()> {
        let source = &self.args.source;
        let written = if self.args.dry_run { "; dry run, nothing is written" } else { "" };
        let text = format!("to do for source {source}: {}{written}", plan.text(self.args.replace));
        self.report.result(&text, || serde_json::json!({"plan": plan.json()}))?;
        Ok(())
    }

    /// Asks the node what the source has and the files lack.
    fn doomed(&self, seen: &Seen) -> anyhow::Result<Doomed> {
        let mut doomed = Doomed { held: 0, ids: HashSet::new() };
        self.for_each_page(&mut |ids| {
            doomed.held += ids.len();
            doomed.ids.extend(ids.iter().filter(|id| !seen.has(id)).map(|id| fingerprint(id)));
            Ok(())
        })
        .map_err(|error| anyhow::Error::from(error).context("nothing was written"))?;
        Ok(doomed)
    }

    fn for_each_page(
        &self,
        page: &mut dyn FnMut(&[String]) -> Result<(), Interruption>,
    ) -> Result<(), Interruption> {
        let mut after: Option<String> = None;
        loop {
            if self.interrupt.check().is_err() {
                return Err(Interruption::Signal);
            }
            let (ids, next) = self.node.ids(after.as_deref())?;
            page(&ids)?;
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Refuses what looks like a cut-off extract rather than a change.
    fn guard(&self, doomed: &Doomed, named: usize) -> anyhow::Result<()> {
        let (deleted, held) = (doomed.ids.len(), doomed.held);
        let many = deleted > DELETIONS_UNASKED_MAX && deleted * 2 > held;
        let nothing_left = named == 0 && deleted > 0;
        if !many && !nothing_left {
            return Ok(());
        }
        let message = match nothing_left {
            true => format!(
                "the files hold no pointer at all, and all {held} of source {} would be deleted; \
                 nothing was written",
                self.args.source
            ),
            false => format!(
                "{deleted} of the {held} pointers of source {} would be deleted; nothing was \
                 written",
                self.args.source
            ),
        };
        anyhow::bail!(Hinted {
            message,
            hint: "an extract that was cut off looks like this: check it, and if it is whole, add \
                   --allow-mass-delete"
                .to_owned(),
        })
    }

    /// The second pass: writes, then deletes.
    fn apply(
        &self,
        hashes: &[[u8; 32]],
        reported: &HashSet<super::seen::Position>,
        doomed: &Doomed,
    ) -> anyhow::Result<ExitCode> {
        let second = self.pass(false, None, reported);
        let Pass { mut tally, outcome, unknown, .. } = second;
        let mut outcome = outcome;
        let changed = second.changed.first().cloned().or_else(|| {
            let inputs = self.inputs.iter().zip(hashes.iter().zip(&second.hashes));
            let other = inputs.into_iter().find(|(_, (first, second))| first != second);
            other.map(|(input, _)| input.name.clone())
        });
        let kept_from_deleting = match (&outcome, &changed, tally.refused) {
            (Err(_), ..) => Some("the import did not come to its end".to_owned()),
            (_, Some(name), _) => Some(format!(
                "{name} changed after it was checked: what was read the second time was imported, \
                 and it cannot be told whether that is all"
            )),
            (.., 1..) => Some(format!("{} lines were refused", tally.refused)),
            _ if !reported.is_empty() => Some(format!("{} lines were refused", reported.len())),
            _ => None,
        };
        let skip = kept_from_deleting.is_some() || doomed.ids.is_empty();
        if !skip {
            outcome = self.delete(doomed, &mut tally);
        }
        if let Some(why) = kept_from_deleting.filter(|_| self.args.replace) {
            self.report.note(&format!("Nothing was deleted: {why}."));
        }
        let code = self.end(&tally, outcome, unknown)?;
        Ok(if changed.is_some() && code == ExitCode::SUCCESS {
            ExitCode::from(PARTLY)
        } else {
            code
        })
    }

    /// Deletes what the summary spoke of, as far as the source still has it.
    fn delete(&self, doomed: &Doomed, tally: &mut Tally) -> Result<(), Interruption> {
        self.report.bar.set_message("deleting");
        let mut left = 0_u64;
        let pause = self.pause();
        let outcome = self.for_each_page(&mut |ids| {
            let gone: Vec<_> = ids
                .iter()
                .map(String::as_str)
                .filter(|id| doomed.ids.contains(&fingerprint(id)))
                .collect();
            for ids in gone.chunks(WRITES_PER_REQUEST_MAX) {
                if self.interrupt.check().is_err() {
                    return Err(Interruption::Signal);
                }
                let (outcomes, why) = insist(ids, &|ids| self.node.remove(ids), &pause);
                for outcome in outcomes.into_iter().flatten() {
                    match outcome {
                        Outcome::Done { effect: Effect::Deleted, .. } => tally.deleted += 1,
                        Outcome::Done { .. } => {}
                        Outcome::Refused(_) => left += 1,
                    }
                }
                why.map_or(Ok(()), Err)?;
            }
            Ok(())
        });
        if left > 0 {
            self.report.note(&format!(
                "{left} pointers were not deleted: they have become another source's meanwhile, or \
                 the node refused. The next run tries again."
            ));
        }
        outcome
    }
}
