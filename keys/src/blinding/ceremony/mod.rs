//! How evaluators come by their shares without anybody ever holding the key: **generating** one
//! among themselves, and **resharing** one to other evaluators, another threshold, or the same
//! evaluators afresh (a *refresh*, after which the shares of before are useless).
//!
//! Generation is the one of FROST (Komlo and Goldberg, SAC 2020, figure 1; after Pedersen,
//! EUROCRYPT 1991), by the library `frost-ristretto255`. Resharing is our own, of Feldman's scheme
//! (FOCS 1987) as Desmedt and Jajodia describe redistribution (1997): each dealer shares out its
//! part of the key, its old share times its Lagrange coefficient among exactly the dealers agreed
//! on, and a new share is the sum of what came.
//!
//! Both take three rounds, each a type that gives the next one up:
//!
//! 1. [`DealingRound`]: every dealer broadcasts a [`Dealing`]; in a resharing every receiver
//!    broadcasts an [`Enrolment`].
//! 2. [`ShareRound`]: every dealer sends each receiver a [`SealedShare`].
//! 3. [`ConfirmationRound`]: every receiver broadcasts a [`Confirmation`]. When all are equal, and
//!    not before, there is an [`Outcome`].
//!
//! [`advance`] takes a party through all three as far as the messages known so far allow: from the
//! beginning each time, so that nothing but its seed and its [`Messages`] has to survive a restart.
//!
//! What it guarantees to an honest party:
//! - Fewer than t dishonest parties learn nothing of the key, nor of anybody's share. In a
//!   resharing fewer than the old threshold of dealers and the new of receivers.
//! - Honest receivers that get an outcome get one key set, and each the share that belongs to its
//!   place. A dealer that shows different dealings to different receivers is caught in the third
//!   round, which key generation by itself does not do.
//! - A resharing keeps the key: outputs stay the same, whoever deals.
//! - Whatever goes wrong ends the attempt with a [`Fault`] that names who did it, where that can be
//!   known. No bytes make it panic.
//! - Secrets are wiped on drop, and what touches them takes constant time.
//!
//! What it leaves to others:
//! - Who sent a message. `accept` takes the sender as known: every message must come in a statement
//!   signed by the sender's organization, and whoever has one may pass it on.
//! - Time: when to stop waiting for what `missing` lists. Messages of a later round that come early
//!   are the caller's to keep.
//! - That all parties agree on the plan and on the [`CeremonyId`] beforehand.
//! - Storing the share, and the share epoch beside it, before the new set is in force; wiping the
//!   old one afterwards, which no protocol can prove.
//!
//! Limits. One party that stays silent or cheats stops an attempt: start another without it. The
//! last to deal can bias the public key of a generation a little (Gennaro, Jarecki, Krawczyk,
//! Rabin, J. Cryptology 2007); nothing is known to follow from it for this use. A receiver that
//! claims falsely to have got a wrong share cannot be told from one that got it. Neither refresh
//! nor resharing helps against t holders that kept old shares of one epoch. Resharing has not been
//! reviewed by anybody outside.
//!
//! # Example
//!
//! Three evaluators in one process generate a key of which any two can evaluate.
//!
//! ```
//! use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
//! use signpost_keys::blinding::{EvaluatorIndex, ceremony::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = ChaCha20Rng::seed_from_u64(1); // in earnest the operating system's
//! let plan = GeneratePlan::new(CeremonyId::new([7; 32]), 2, 3)?;
//!
//! let (mut rounds, mut dealings) = (Vec::new(), Vec::new());
//! for index in (1..=3).filter_map(EvaluatorIndex::new) {
//!     let (round, dealing) = DealingRound::generate(plan.clone(), index, &mut rng)?;
//!     rounds.push((index, round));
//!     dealings.push(dealing);
//! }
//!
//! let (mut share_rounds, mut sealed) = (Vec::new(), Vec::new());
//! for (index, mut round) in rounds {
//!     for dealing in &dealings {
//!         round.accept_dealing(dealing.dealer(), &dealing.to_bytes())?;
//!     }
//!     let (round, shares) = round.finish()?;
//!     share_rounds.push((index, round));
//!     sealed.extend(shares);
//! }
//!
//! let (mut last_rounds, mut confirmations) = (Vec::new(), Vec::new());
//! for (index, mut round) in share_rounds {
//!     for share in sealed.iter().filter(|share| share.receiver() == index) {
//!         round.accept(share.dealer(), &share.to_bytes())?;
//!     }
//!     let (round, confirmation) = round.finish()?;
//!     last_rounds.push(round);
//!     confirmations.extend(confirmation);
//! }
//!
//! for mut round in last_rounds {
//!     for confirmation in &confirmations {
//!         round.accept(confirmation.receiver(), &confirmation.to_bytes())?;
//!     }
//!     let outcome = round.finish()?;
//!     assert!(outcome.share().is_some());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The share cannot be had without the last round:
//!
//! ```compile_fail,E0599
//! # use signpost_keys::blinding::ceremony::ConfirmationRound;
//! fn share_without_confirmation(round: ConfirmationRound) {
//!     round.share();
//! }
//! ```
//!
//! ```compile_fail,E0616
//! # use signpost_keys::blinding::ceremony::ConfirmationRound;
//! fn share_without_confirmation(round: ConfirmationRound) {
//!     let _ = round.share;
//! }
//! ```
//!
//! and a round that is over cannot go on, so nobody deals twice by mistake:
//!
//! ```compile_fail,E0382
//! # use signpost_keys::blinding::ceremony::DealingRound;
//! fn finish_twice(round: DealingRound) {
//!     let _ = round.finish();
//!     let _ = round.finish();
//! }
//! ```

mod attempt;
mod confirmation;
mod confirmation_round;
mod dealing;
mod dealing_round;
mod fault;
mod generation;
mod inbox;
mod message;
mod messages;
mod outcome;
mod plan;
mod polynomial;
mod sealed;
mod share_round;
#[cfg(test)]
mod tests;

pub use attempt::{Advance, Due, Progress, Role, Task, advance, watch};
pub use confirmation::Confirmation;
pub use confirmation_round::ConfirmationRound;
pub use dealing::{Dealing, Enrolment};
pub use dealing_round::{DealingRound, Opening, ReshareRole};
pub use fault::{Fault, MessageKind, Party, Reason, Unexplained};
pub use message::MessageError;
pub use messages::Messages;
pub use outcome::Outcome;
pub use plan::{CeremonyId, GeneratePlan, PlanError, PublicKeySet, ResharePlan, RoleError};
pub use sealed::SealedShare;
pub use share_round::ShareRound;
