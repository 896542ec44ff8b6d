//! One party's part in one attempt at a ceremony, worked out anew from its seed and the messages
//! known so far.
//!
//! The rounds of this module hold secrets in memory and go one way. Whoever drives a ceremony between
//! nodes has messages that come in any order, more than once and over days, and restarts in between.
//! So [`advance`] begins at the beginning each time: the same seed, plan and messages give the same
//! [`Advance`]. The caller keeps the seed, as carefully as a key share and for this attempt alone, and
//! the [`Messages`]; it signs and sends what it owes and has not sent.

use std::collections::BTreeSet;

use rand_core::CryptoRng;

use super::{
    super::EvaluatorIndex,
    confirmation::{Confirmation, dealing_hash},
    confirmation_round::ConfirmationRound,
    dealing_round::{DealingRound, Opening, ReshareRole},
    fault::{Fault, MessageKind, Party, Reason},
    message::is_of_another,
    messages::Messages,
    outcome::Outcome,
    plan::{CeremonyId, GeneratePlan, Plan, ResharePlan, RoleError},
    sealed::SealedShare,
};

/// What is planned.
#[derive(Clone)]
pub enum Task {
    /// To generate a key.
    Generate(GeneratePlan),
    /// To hand a key on.
    Reshare(ResharePlan),
}

/// What this party does in it.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    /// Takes part in a generation, under this index.
    Generates(EvaluatorIndex),
    /// Takes part in a resharing.
    Reshares(ReshareRole<'a>),
    /// Takes no part and owes nothing: it concludes what anybody can from the public messages.
    /// Stewards do, before they approve the outcome. It checks all that is public, proofs of
    /// knowledge too. It lists the enrolments that are missing, and is done without them once all
    /// receivers have confirmed.
    Watches,
}

/// Where an attempt stands for one party.
#[derive(Debug)]
pub enum Progress {
    /// It waits for the dealings and enrolments of these.
    Dealing(Vec<Party>),
    /// It waits for the sealed shares of these dealers.
    Sharing(Vec<Party>),
    /// It waits for the confirmations of these receivers.
    Confirming {
        /// Who has not confirmed yet, at least one.
        missing: Vec<Party>,
        /// This party's transcript, which they are to confirm.
        transcript: [u8; 32],
    },
    /// All receivers have confirmed the same. It stays so, whatever else they confirm.
    Done(Box<Outcome>),
    /// The attempt is over; another can start. More messages may name another fault.
    ///
    /// If this party has confirmed ([`Advance::confirms`]), others may finish all the same: the
    /// receiver at fault can have signed for them what agrees. Once that reaches this party it is
    /// done too. So it keeps what it has until a key set for that share epoch is law.
    Failed(Fault),
}

/// An own message that is due: to be signed by this party's organization, and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What it is.
    pub kind: MessageKind,
    /// This party, in the role and under the index in which it sends it.
    pub from: Party,
    /// Of a sealed share, the only one that can open it. All else is for everybody.
    pub receiver: Option<EvaluatorIndex>,
    /// The exact bytes.
    pub bytes: Vec<u8>,
}

/// What [`advance`] gives.
#[derive(Debug)]
pub struct Advance {
    /// All that this party owes so far, from the beginning, in order: dealing and enrolment, then
    /// sealed shares by their receivers, then the confirmation. What is here is here again with more
    /// messages, except that a fault in an early round holds back the later ones.
    pub due: Vec<Due>,
    /// Where the attempt stands.
    pub progress: Progress,
}

impl Advance {
    /// Whether this party's confirmation is due: from before it is sent, the caller keeps the
    /// dealings, enrolments and shares that it has passed, and passes no others.
    #[must_use]
    pub fn confirms(&self) -> bool {
        self.due.iter().any(|due| due.kind == MessageKind::Confirmation)
    }
}

impl Task {
    /// The attempt that is planned.
    #[must_use]
    pub const fn ceremony(&self) -> CeremonyId {
        self.plan().ceremony
    }

    const fn plan(&self) -> &Plan {
        match self {
            Self::Generate(plan) => &plan.0,
            Self::Reshare(plan) => &plan.0,
        }
    }
}

impl Role<'_> {
    const fn receives(self) -> bool {
        match self {
            Self::Generates(_)
            | Self::Reshares(ReshareRole::Receiver(_) | ReshareRole::Both { .. }) => true,
            Self::Reshares(ReshareRole::Dealer(_)) | Self::Watches => false,
        }
    }
}

/// Takes one party as far as the messages known so far allow. It is a function of its arguments.
///
/// Takes milliseconds. Secrets are wiped before it returns, but for the share in an [`Outcome`].
///
/// # What the caller promises
///
/// - `rng` is fresh, and seeded with the seed of this attempt, which came from the operating system
///   and serves no other attempt. Its polynomial and its keys depend on the seed alone, and a seal on
///   the receiver's key besides, so with more messages than last time it gives no more away.
/// - **A caller that has sent its confirmation passes the same dealings, enrolments and shares ever
///   after**, whatever else comes, and only adds confirmations. So once [`Advance::confirms`], it
///   writes seed and messages to disk ([`Messages::to_bytes`]), and sends the confirmation after that.
///   Otherwise a dealer could show a second dealing after all have agreed, and whoever saw it would be
///   left without a share that the others hold.
/// - A caller that has sent its confirmation keeps seed and messages, even when the attempt then
///   fails, until a key set for that share epoch is law: see [`Progress::Failed`].
///
/// # Which messages count
///
/// The order of the messages does not matter, nor how often one comes; which fault is named depends on
/// the set of messages alone.
///
/// | message | what becomes of it |
/// |---|---|
/// | of no party of the plan, or of a party that owes none of this kind | skipped |
/// | naming another ceremony | skipped. Honest parties have signed such messages and anybody can replay them, so they show nothing of their sender but that its right one is still to come |
/// | a sealed share for another receiver | skipped: not for this party to judge |
/// | malformed, under another's index, or not made as planned | its sender's fault, even beside a good one: an honest party signs no such thing in this ceremony |
/// | a second dealing or enrolment | its sender's fault |
/// | a second sealed share | its sender's fault: only one can be right, as share and keys settle every byte |
/// | a confirmation other than this party's | its sender's fault, or disputed, unless the same receiver has also signed the one that agrees |
/// | an own message other than the one owed | own fault, and the one owed is held back: this party ran before with another seed or other messages, and must not say two things |
///
/// Sealed shares are judged when all dealings are there, confirmations when all shares are.
///
/// # Why one agreeing confirmation is enough
///
/// A receiver that has signed two confirmations counts by the one that agrees. Were it at fault
/// instead, it could agree first and contradict itself later, or towards some: whoever had finished
/// would hold a share, whoever had not would never get one. Counting it is safe, because an outcome
/// takes the signatures of *all* receivers under one transcript, and an honest receiver signs one
/// transcript only. So there cannot be two outcomes of one attempt as long as one receiver is honest,
/// whatever the others sign.
///
/// One that receives nothing signs nothing, so nothing freezes what it knows. When all receivers have
/// signed one transcript, it goes by the dealings that they name, and what else came does not matter
/// to it either.
///
/// # Errors
/// When there is no such role in the task. A fault of a party is no error but
/// [`Progress::Failed`].
pub fn advance(
    task: &Task,
    role: Role<'_>,
    messages: &Messages,
    rng: &mut impl CryptoRng,
) -> Result<Advance, RoleError> {
    let known = Known::new(task.ceremony(), messages);
    let opening = begin(task, role, rng)?;
    let mut due = Vec::new();
    let progress = play(opening, &known, &mut due).unwrap_or_else(Progress::Failed);
    let progress = if role.receives() { progress } else { look_on(task, &known, progress) };
    Ok(Advance { due, progress })
}

/// What anybody can conclude from the messages known so far: as [`advance`] in [`Role::Watches`], which
/// owes nothing, so that there is nothing to draw.
#[must_use]
pub fn watch(task: &Task, messages: &Messages) -> Progress {
    let known = Known::new(task.ceremony(), messages);
    let progress = play(watching(task), &known, &mut Vec::new()).unwrap_or_else(Progress::Failed);
    look_on(task, &known, progress)
}

/// One that receives nothing is done once all receivers have signed one thing, wherever it stands itself.
fn look_on(task: &Task, known: &Known<'_>, progress: Progress) -> Progress {
    if matches!(progress, Progress::Done(_)) {
        return progress;
    }
    conclude(task.plan(), known).map_or(progress, |outcome| Progress::Done(Box::new(outcome)))
}

fn watching(task: &Task) -> Opening {
    let round = DealingRound::watch(task.plan().clone());
    Opening { round, dealing: None, enrolment: None }
}

fn begin(task: &Task, role: Role<'_>, rng: &mut impl CryptoRng) -> Result<Opening, RoleError> {
    match (task, role) {
        (Task::Generate(plan), Role::Generates(index)) => {
            let (round, dealing) = DealingRound::generate(plan.clone(), index, rng)?;
            Ok(Opening { round, dealing: Some(dealing), enrolment: None })
        }
        (Task::Reshare(plan), Role::Reshares(role)) => {
            DealingRound::reshare(plan.clone(), role, rng)
        }
        (task, Role::Watches) => Ok(watching(task)),
        (Task::Generate(_), Role::Reshares(_)) | (Task::Reshare(_), Role::Generates(_)) => {
            Err(RoleError::OtherTask)
        }
    }
}

/// Goes through the rounds until a message is missing. What falls due on the way is in `due` also
/// when a fault ends it.
fn play(opening: Opening, known: &Known<'_>, due: &mut Vec<Due>) -> Result<Progress, Fault> {
    let Opening { mut round, dealing, enrolment } = opening;
    let dealing = dealing.map(|dealing| Due {
        kind: MessageKind::Dealing,
        from: Party::Dealer(dealing.dealer),
        receiver: None,
        bytes: dealing.to_bytes(),
    });
    let enrolment = enrolment.map(|enrolment| Due {
        kind: MessageKind::Enrolment,
        from: Party::Receiver(enrolment.receiver),
        receiver: None,
        bytes: enrolment.to_bytes(),
    });
    known.owe(due, dealing.into_iter().chain(enrolment))?;
    for (from, bytes) in &known.dealings {
        unless_stray(round.accept_dealing(*from, bytes))?;
    }
    for (from, bytes) in &known.enrolments {
        unless_stray(round.accept_enrolment(*from, bytes))?;
    }
    let missing = round.missing();
    if !missing.is_empty() {
        return Ok(Progress::Dealing(missing));
    }

    let (mut round, shares) = round.finish()?;
    let shares = shares.iter().map(|share| Due {
        kind: MessageKind::SealedShare,
        from: Party::Dealer(share.dealer),
        receiver: Some(share.receiver),
        bytes: share.to_bytes(),
    });
    known.owe(due, shares)?;
    for (from, bytes) in &known.shares {
        unless_stray(round.accept(*from, bytes))?;
    }
    let missing = round.missing();
    if !missing.is_empty() {
        return Ok(Progress::Sharing(missing));
    }

    let (round, confirmation) = round.finish()?;
    let confirmation = confirmation.map(|confirmation| Due {
        kind: MessageKind::Confirmation,
        from: Party::Receiver(confirmation.receiver),
        receiver: None,
        bytes: confirmation.to_bytes(),
    });
    known.owe(due, confirmation)?;
    confirm(round, known)
}

/// The third round, which has the own confirmation of a party that receives.
fn confirm(mut round: ConfirmationRound, known: &Known<'_>) -> Result<Progress, Fault> {
    for (from, bytes) in &known.confirmations {
        // One that agrees outweighs all else its receiver said.
        let agreeing = round.agreeing(*from);
        let has_agreed = known.has_confirmation(*from, &agreeing);
        if *bytes == agreeing || !has_agreed {
            unless_stray(round.accept(*from, bytes))?;
        }
    }
    let missing = round.missing();
    if missing.is_empty() {
        return Ok(Progress::Done(Box::new(round.finish()?)));
    }
    Ok(Progress::Confirming { missing, transcript: round.transcript() })
}

/// What all receivers have signed, if they have signed one thing and all that it takes is known.
fn conclude(plan: &Plan, known: &Known<'_>) -> Option<Outcome> {
    // What all have signed the first has. It is one thing, unless every receiver cheats; the least
    // is as good as any then.
    let views = known.views(*plan.receivers.first()?);
    views.into_iter().find_map(|dealings| conclude_from(plan, known, &dealings))
}

fn conclude_from(plan: &Plan, known: &Known<'_>, dealings: &[[u8; 32]]) -> Option<Outcome> {
    let mut round = DealingRound::watch(plan.clone());
    for (from, bytes) in &known.dealings {
        if dealings.contains(&dealing_hash(bytes)) {
            // One that is refused, a copy under another name perhaps, is not what they confirmed.
            let _ = round.accept_dealing(*from, bytes);
        }
    }
    let (round, _) = round.finish().ok()?;
    let (mut round, _) = round.finish().ok()?;
    for receiver in &plan.receivers {
        let agreeing = round.agreeing(*receiver);
        if known.has_confirmation(*receiver, &agreeing) {
            round.accept(*receiver, &agreeing).ok()?;
        }
    }
    round.finish().ok()
}

/// Lets what is not this party's business pass.
fn unless_stray(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(Fault::At { reason: Reason::NotExpected(_) | Reason::OtherReceiver(_), .. }) => Ok(()),
        other => other,
    }
}

/// The messages of this ceremony, sorted, so that the first fault is the same one whatever order
/// they came in.
struct Known<'a> {
    dealings: Vec<(EvaluatorIndex, &'a [u8])>,
    enrolments: Vec<(EvaluatorIndex, &'a [u8])>,
    shares: Vec<(EvaluatorIndex, &'a [u8])>,
    confirmations: Vec<(EvaluatorIndex, &'a [u8])>,
}

impl<'a> Known<'a> {
    fn new(ceremony: CeremonyId, messages: &'a Messages) -> Self {
        let sorted = |list: &'a [(EvaluatorIndex, Vec<u8>)]| {
            let list = list.iter().map(|(from, bytes)| (*from, bytes.as_slice()));
            let mut list: Vec<_> =
                list.filter(|(_, bytes)| !is_of_another(bytes, ceremony)).collect();
            list.sort_unstable();
            list.dedup();
            list
        };
        Self {
            dealings: sorted(&messages.dealings),
            enrolments: sorted(&messages.enrolments),
            shares: sorted(&messages.shares),
            confirmations: sorted(&messages.confirmations),
        }
    }

    /// Adds own messages to what is due, all or, if one of them is known to have been another
    /// before, none.
    fn owe(&self, due: &mut Vec<Due>, own: impl IntoIterator<Item = Due>) -> Result<(), Fault> {
        let own: Vec<_> = own.into_iter().collect();
        if let Some(other) = own.iter().find(|message| self.contradicts(message)) {
            return Err(Fault::at(other.from, Reason::Contradiction(other.kind)));
        }
        due.extend(own);
        Ok(())
    }

    /// Whether another message is known in place of this own one.
    fn contradicts(&self, own: &Due) -> bool {
        let list = match own.kind {
            MessageKind::Dealing => &self.dealings,
            MessageKind::Enrolment => &self.enrolments,
            MessageKind::SealedShare => &self.shares,
            MessageKind::Confirmation => &self.confirmations,
        };
        let is_in_place = |bytes: &[u8]| match own.receiver {
            Some(receiver) => {
                SealedShare::from_bytes(bytes).is_ok_and(|share| share.receiver == receiver)
            }
            None => true,
        };
        list.iter().any(|(from, bytes)| {
            *from == own.from.index() && *bytes != own.bytes && is_in_place(bytes)
        })
    }

    fn has_confirmation(&self, from: EvaluatorIndex, bytes: &[u8]) -> bool {
        self.confirmations.binary_search(&(from, bytes)).is_ok()
    }

    /// The dealings, by their hashes, of each confirmation that a receiver has signed.
    fn views(&self, receiver: EvaluatorIndex) -> BTreeSet<Vec<[u8; 32]>> {
        let own = self.confirmations.iter().filter(|(from, _)| *from == receiver);
        own.filter_map(|(_, bytes)| Confirmation::from_bytes(bytes).ok())
            .map(|confirmation| confirmation.dealings)
            .collect()
    }
}
