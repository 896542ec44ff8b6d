//! What a proposal about the evaluators says, in plain words, and whether it follows from a ceremony.

use signpost_keys::blinding::ceremony::Progress;
use signpost_protocol::{blind::EvaluatorSet, roster::EvaluatorsRecord};

use super::super::{
    view::View,
    words::{names, short},
};
use crate::cli::{error::Hinted, text::fingerprint_words};

/// What it does, in one sentence.
pub(in super::super) fn title(record: &EvaluatorsRecord) -> String {
    let sets = record.sets.iter().map(|set| {
        format!(
            "{} of {} for key epoch {}, share epoch {}",
            set.threshold,
            set.evaluators.len(),
            set.key_epoch.0,
            set.share_epoch
        )
    });
    format!("Have these evaluate: {}.", sets.collect::<Vec<_>>().join("; "))
}

/// What follows from it.
pub(in super::super) fn lines(view: &View, record: &EvaluatorsRecord) -> Vec<String> {
    let before = view.roster.evaluators();
    let mut lines = Vec::new();
    for set in record.sets.iter() {
        let who = names(view, set.evaluators.iter().map(|one| &one.organization));
        lines.push(format!("Evaluators of key epoch {}: {who}.", set.key_epoch.0));
        let old = before.sets.iter().find(|old| old.key_epoch == set.key_epoch);
        lines.push(match old {
            None => "The key is a new one.".to_owned(),
            Some(old) if old == set => "Nothing changes about these.".to_owned(),
            Some(old) => changed(view, old, set),
        });
    }
    lines.push(format!("It came out of ceremony {}.", short(&record.ceremony)));
    lines.push(format!("What all of them confirmed: {}.", fingerprint_words(&record.transcript.0)));
    lines
}

fn changed(view: &View, old: &EvaluatorSet, new: &EvaluatorSet) -> String {
    let has = |set: &EvaluatorSet, organization| {
        set.evaluators.iter().any(|one| one.organization == organization)
    };
    let only = |these: &EvaluatorSet, others: &EvaluatorSet| {
        let only: Vec<_> = (these.evaluators.iter())
            .map(|one| one.organization)
            .filter(|one| !has(others, *one))
            .collect();
        names(view, &only)
    };
    format!(
        "The key stays, and locators with it; its shares are new. New among them: {}; evaluators no \
         longer: {}.",
        only(new, old),
        only(old, new)
    )
}

/// Refuses to approve what cannot follow, or is not what this roster shows all evaluators to have
/// confirmed.
pub(in super::super) fn check(view: &View, record: &EvaluatorsRecord) -> Result<(), Hinted> {
    let hinted = |message: String, hint: &str| Err(Hinted { message, hint: hint.to_owned() });
    let state = view.roster.evaluators();
    if let Err(reason) = state.check_next(record) {
        return hinted(
            format!("nothing can come of it: {reason}"),
            "`signpost evaluators show` has what counts",
        );
    }
    match unconfirmed(view, record) {
        None => Ok(()),
        Some(why) => hinted(
            format!("this roster does not show that all evaluators have confirmed it: {why}"),
            "have the node compare its roster with others' (wait a minute), or propose what came out with \
             `signpost evaluators ceremony confirm`",
        ),
    }
}

/// What to be careful about.
pub(in super::super) fn warnings(view: &View, record: &EvaluatorsRecord) -> Vec<String> {
    let unconfirmed = unconfirmed(view, record).map(|why| {
        format!("This roster does not show that all evaluators have confirmed it: {why}.")
    });
    unconfirmed.into_iter().collect()
}

/// Why it is not what a ceremony is seen to have come to, if it is not.
fn unconfirmed(view: &View, record: &EvaluatorsRecord) -> Option<String> {
    let state = view.roster.evaluators();
    let Some(ceremony) = view.statements.ceremony(&record.ceremony) else {
        return Some("its ceremony is not known here, or is over".to_owned());
    };
    match ceremony.watch(state) {
        Ok(Progress::Done(outcome)) => match state.next(ceremony, &outcome) {
            Ok(expected) => {
                let expected = EvaluatorsRecord { version: record.version, ..expected };
                (expected != *record).then(|| "its ceremony came to something else".to_owned())
            }
            Err(reason) => Some(reason.to_owned()),
        },
        Ok(Progress::Failed(fault)) => Some(fault.to_string()),
        Ok(_) => Some("its ceremony is not complete".to_owned()),
        Err(reason) => Some(reason),
    }
}
