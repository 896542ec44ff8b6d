//! Turns a patient identifier into a pseudorandom value without any one party learning both.
//!
//! There are so few valid patient numbers that every hash of them, keyed or not, is enumerated in
//! minutes by whoever can compute it. So nobody can: the key is shared among n **evaluators**, and
//! t of them must help. A client blinds the identifier, each evaluator applies its share of the key
//! to the blinded element and proves that it did, and the client combines t proven answers,
//! unblinds, and hashes. The outcome is RFC 9497 VOPRF (mode 0x01, ristretto255-SHA512) under the
//! shared key, byte for byte, as if one server had held it; the sharing is that of TOPPSS
//! (Jarecki, Kiayias, Krawczyk, Xu: ACNS 2017).
//!
//! What it guarantees:
//! - Evaluators learn nothing of the identifier: a blinded element is uniformly random.
//! - Fewer than t evaluators cannot evaluate, so they cannot enumerate identifiers offline.
//! - A wrong answer never becomes a plausible wrong locator, which would read as "no records".
//!   Every answer carries a proof against the evaluator's public share ([`Blinding::check`]), and
//!   the public shares of the answers combined must amount to the group's public key
//!   ([`Blinding::combine`]). A refused answer can be shown to third parties
//!   ([`PublicShare::refutes`]).
//! - Decoding refuses what is not canonical and the identity, before any curve arithmetic.
//! - What touches a key share, a blind or an input runs in constant time and is wiped on drop.
//!
//! How evaluators generate the key without a dealer, and hand it on to other evaluators, is in
//! [`ceremony`], complete but for the network: nothing drives it between nodes yet. Until then the
//! networks that there are were dealt by [`deal`], which is for demonstrations only: whoever ran it
//! could have kept the key.
//!
//! What it leaves to others: which shares are the network's (the roster), quotas and purposes (the
//! evaluator), and the form of the identifier (`"signpost/v1/" name 0x00 value`, the caller).
//!
//! It does not protect against t evaluators that collude, nor against a client that guesses online.

pub mod ceremony;
mod client;
mod combine;
mod dealer;
mod evaluation;
mod evaluator;
mod prf;
mod proof;
mod sharing;
mod suite;
#[cfg(test)]
mod tests;

pub use client::{BlindError, Blinding};
pub use combine::{CheckedEvaluation, CombineError};
pub use dealer::{DealError, Dealt, deal};
pub use evaluation::{BadEvaluation, Evaluation, Proof};
pub use evaluator::{EvaluateError, KeyShare, KeyShareError};
pub use prf::Prf;
pub use sharing::{EVALUATORS_MAX, EvaluatorIndex, PublicShare, group_public_matches};
pub use suite::ElementError;

/// Items in one batch, at least 1. A batch of 1,000 brings the cost of the proof to a tenth of the
/// evaluation's, is 32 kB each way, and occupies one evaluator core for about 50 ms; RFC 9497
/// would allow 65,535, which is seconds of work for a stranger's one message.
pub const BATCH_MAX: usize = 1000;
