//! Wrong evaluations that were caught: kept with the evaluator's signature, to be shown to others.

use std::collections::BTreeMap;

use signpost_keys::roster::WrongEvaluation;
use signpost_protocol::{
    OrganizationId,
    blind::{EvaluationEvidence, EvaluatorSet},
    codec::{self, ByteString},
    limits,
};
use tracing::warn;

use super::{
    Core, Turn,
    event::{Action, Persist},
    local::EvidenceShown,
    rows,
};
use crate::store::Batch;

/// Evaluators of whom evidence is kept: twice as many as there can be.
const EVIDENCE_MAX: usize = 2 * limits::EVALUATORS_MAX;

/// Of each evaluator that was caught the first wrong answer by its present shares.
#[derive(Default)]
pub(super) struct Caught {
    of: BTreeMap<OrganizationId, (WrongEvaluation, EvaluationEvidence)>,
}

impl Caught {
    /// Whether an evaluator was caught with its share in this set.
    pub(super) fn has(&self, set: &EvaluatorSet, organization: &OrganizationId) -> bool {
        self.of.get(organization).is_some_and(|(wrong, _)| {
            wrong.key_epoch == set.key_epoch && wrong.share_epoch == set.share_epoch
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WrongEvaluation> {
        self.of.values().map(|(wrong, _)| wrong)
    }
}

impl Core {
    /// Takes up what an earlier life has kept: it was checked then.
    pub(super) fn load_evidence(&mut self, turn: &Turn<'_>) -> Result<(), rows::RowError> {
        let parts = EVIDENCE_MAX * rows::EVIDENCE_PARTS_MAX;
        let mut whole: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (mut key, part) in turn.store.scan(rows::EVIDENCE_PREFIX, None, parts)? {
            key.pop();
            whole.entry(key).or_default().extend(part);
        }
        for bytes in whole.into_values() {
            let evidence = codec::decode("evidence", &bytes, limits::EVIDENCE_BYTES_MAX);
            if let Ok(evidence) = evidence
                && let Some(wrong) = WrongEvaluation::claimed(&evidence)
            {
                self.caught.of.insert(wrong.organization, (wrong, evidence));
            }
        }
        Ok(())
    }

    /// Keeps a wrong answer together with the request.
    pub(super) fn keep_evidence(&mut self, turn: &mut Turn<'_>, request: &[u8], answer: &[u8]) {
        let (request, answer) =
            (ByteString::new(request.to_vec()), ByteString::new(answer.to_vec()));
        let (Some(request), Some(answer)) = (request, answer) else { return };
        let evidence = EvaluationEvidence { request, answer };
        let wrong = match self.roster.convict(&evidence) {
            Ok(wrong) => wrong,
            Err(error) => return warn!(%error, "a wrong evaluation cannot be shown to others"),
        };
        let known = self.caught.of.get(&wrong.organization).map(|(known, _)| known);
        let is_known = known.is_some_and(|known| {
            (known.key_epoch, known.share_epoch) == (wrong.key_epoch, wrong.share_epoch)
        });
        if is_known || (known.is_none() && self.caught.of.len() >= EVIDENCE_MAX) {
            return;
        }
        let mut batch = Batch::default();
        let bytes = codec::encode(&evidence);
        let mut parts = bytes.chunks(rows::EVIDENCE_PART_BYTES);
        for number in 0..rows::EVIDENCE_PARTS_MAX {
            let key = rows::evidence_key(&wrong.organization, number);
            let written = match parts.next() {
                Some(part) => batch.put(key, part),
                None => batch.delete(key),
            };
            written.expect("six parts fit a batch");
        }
        turn.act(Action::Persist(Persist { batches: vec![batch], ..Persist::default() }));
        self.caught.of.insert(wrong.organization, (wrong, evidence));
    }

    /// All that is kept, to be shown.
    pub(super) fn evidence(&self) -> Vec<EvidenceShown> {
        let shown = self.caught.of.values().map(|(wrong, evidence)| {
            let (ods, name) = self.label(&wrong.organization);
            EvidenceShown { wrong: *wrong, ods, name, evidence: codec::encode(evidence) }
        });
        shown.collect()
    }
}
