//! The part that this node takes in one ceremony of evaluators, in memory and as it is stored.

use std::sync::Arc;

use minicbor::{Decode, Encode, bytes::ByteArray};
use signpost_keys::blinding::{
    EvaluatorIndex, KeyShare,
    ceremony::{Advance, Confirmation, MessageKind, Messages},
};
use signpost_protocol::{
    ContentHash, OrganizationId, blind::EvaluatorSet, codec::ByteString, roster::CeremonyCall,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::rows;

/// A part in a ceremony, as it is stored.
pub(super) struct Part {
    pub(super) organization: OrganizationId,
    pub(super) call: CeremonyCall,
    /// Whose key is handed on, if one is.
    pub(super) old: Option<EvaluatorSet>,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// Under way. All that this party draws follows from the seed. Once it has confirmed, the messages
    /// by which it has are fixed.
    Open { seed: Zeroizing<[u8; 32]>, fixed: Option<Messages> },
    /// All have confirmed, and this is what came out.
    Done(Arc<KeyShare>),
}

/// The row of a part, sealed as a whole.
#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct PartRow {
    #[n(0)]
    organization: OrganizationId,
    #[n(1)]
    old: Option<EvaluatorSet>,
    #[n(2)]
    seed: Option<ByteArray<32>>,
    #[n(3)]
    fixed: Option<ByteString<{ rows::FIXED_MESSAGES_BYTES_MAX }>>,
    /// Index and scalar of the share.
    #[n(4)]
    share: Option<(u16, ByteArray<32>)>,
    #[n(5)]
    call: CeremonyCall,
}

impl Drop for PartRow {
    fn drop(&mut self) {
        self.seed.iter_mut().for_each(|seed| seed.as_mut().zeroize());
        self.share.iter_mut().for_each(|(_, scalar)| scalar.as_mut().zeroize());
    }
}

impl Part {
    pub(super) fn row(&self) -> PartRow {
        let (mut seed, mut fixed, mut share) = (None, None, None);
        match &self.stage {
            Stage::Open { seed: drawn, fixed: messages } => {
                seed = Some(ByteArray::from(**drawn));
                fixed = messages.as_ref().and_then(|m| ByteString::new(m.to_bytes()?));
            }
            Stage::Done(held) => {
                share = Some((held.index().get(), ByteArray::from(*held.to_bytes())));
            }
        }
        let (organization, call) = (self.organization, self.call.clone());
        PartRow { organization, old: self.old.clone(), seed, fixed, share, call }
    }

    pub(super) fn of_row(row: &PartRow) -> Option<Self> {
        let stage = if let Some((index, scalar)) = &row.share {
            let share = KeyShare::from_bytes(EvaluatorIndex::new(*index)?, scalar).ok()?;
            Stage::Done(Arc::new(share))
        } else {
            let fixed = match &row.fixed {
                Some(bytes) => Some(Messages::from_bytes(bytes).ok()?),
                None => None,
            };
            Stage::Open { seed: Zeroizing::new(**row.seed.as_ref()?), fixed }
        };
        let call = row.call.clone();
        Some(Self { organization: row.organization, call, old: row.old.clone(), stage })
    }

    pub(super) fn dealer(&self) -> Option<EvaluatorIndex> {
        EvaluatorIndex::new(self.call.dealer(&self.organization)?)
    }

    pub(super) fn receiver(&self) -> Option<EvaluatorIndex> {
        EvaluatorIndex::new(self.call.receiver(&self.organization)?)
    }
}

/// Where what came out is law, and this party has come to the same: takes it that all have confirmed it,
/// as the stewards have seen. Their confirmations may be gone with the call, or hidden behind others that
/// a dishonest receiver has signed since.
pub(super) fn confirm_as_law(
    part: &Part,
    adopted: &ContentHash,
    advanced: &Advance,
    received: &mut Messages,
) -> bool {
    let mut own = advanced.due.iter().filter(|due| due.kind == MessageKind::Confirmation);
    let own = own.find_map(|due| Confirmation::from_bytes(&due.bytes).ok());
    let Some(own) = own.filter(|own| own.transcript() == adopted.0) else { return false };
    let receivers = (1..).take(part.call.evaluators.len()).filter_map(EvaluatorIndex::new);
    received.confirmations = receivers.map(|one| (one, own.by(one).to_bytes())).collect();
    true
}
