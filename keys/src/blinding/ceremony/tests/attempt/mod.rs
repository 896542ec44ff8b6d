//! Attempts as a node drives them: one call after another, each from the seed and the messages that
//! have come, in any order and more than once.

mod confirmations;
mod faults;
mod honest;
mod kept;
mod properties;
mod watching;

use rand_chacha::{ChaCha20Rng, rand_core::Rng as _};

use super::*;
use crate::blinding::ceremony::{Advance, Due, Messages, Progress, Role, Task, advance, watch};

/// One party, or one that only watches, with what it keeps.
#[derive(Clone)]
struct Player<'a> {
    task: &'a Task,
    role: Role<'a>,
    seed: u64,
    /// Which players hear it; all of them if `None`.
    reaches: Option<Vec<usize>>,
    known: Messages,
    /// What it wrote to disk before it confirmed.
    kept: Option<Vec<u8>>,
    /// What it has sent.
    sent: Vec<Due>,
}

impl<'a> Player<'a> {
    fn new(task: &'a Task, role: Role<'a>, seed: u64) -> Self {
        let (known, sent) = (Messages::default(), Vec::new());
        Self { task, role, seed, reaches: None, known, kept: None, sent }
    }

    fn who(&self) -> Who {
        let (dealer, receiver) = match self.role {
            Role::Generates(index) => (Some(index), Some(index)),
            Role::Reshares(ReshareRole::Dealer(share)) => (Some(share.index()), None),
            Role::Reshares(ReshareRole::Receiver(receiver)) => (None, Some(receiver)),
            Role::Reshares(ReshareRole::Both { share, receiver }) => {
                (Some(share.index()), Some(receiver))
            }
            Role::Watches => (None, None),
        };
        Who { dealer: dealer.map(EvaluatorIndex::get), receiver: receiver.map(EvaluatorIndex::get) }
    }

    /// What it concludes from these messages, the same in every order.
    fn ask(&self, messages: &Messages) -> Advance {
        let answer = self.ask_once(messages);
        let mut dice = seeded(300);
        let mut shuffled = messages.clone();
        shuffle(&mut shuffled, &mut dice);
        assert_eq!(shown(&self.ask_once(&shuffled)), shown(&answer), "order matters");
        answer
    }

    fn ask_once(&self, messages: &Messages) -> Advance {
        let answer = advance(self.task, self.role, messages, &mut seeded(self.seed)).unwrap();
        if matches!(self.role, Role::Watches) {
            let (watched, seen) = (watch(self.task, messages), &answer.progress);
            assert_eq!((answer.due.len(), format!("{watched:?}")), (0, format!("{seen:?}")));
        }
        answer
    }

    /// Works out where it stands, as a node would. Gives what it has not sent before.
    fn think(&mut self, dice: &mut ChaCha20Rng) -> (Vec<Due>, Progress) {
        let mut messages = self.known.clone();
        if let Some(kept) = &self.kept {
            let confirmations = messages.confirmations;
            messages = Messages { confirmations, ..Messages::from_bytes(kept).unwrap() };
        }
        shuffle(&mut messages, dice);
        let answer = self.ask_once(&messages);
        if below(4, dice) == 0 {
            shuffle(&mut messages, dice);
            assert_eq!(shown(&self.ask_once(&messages)), shown(&answer), "after a restart");
        }
        if answer.confirms() && self.kept.is_none() {
            let own = self.who().receiver;
            messages.shares.retain(|(_, bytes)| {
                let share = super::super::SealedShare::from_bytes(bytes);
                share.is_ok_and(|share| Some(share.receiver().get()) == own)
            });
            self.kept = messages.to_bytes();
            assert!(self.kept.is_some());
        }
        let common = self.sent.len().min(answer.due.len());
        assert_eq!(self.sent[..common], answer.due[..common], "what was sent stays as it was");
        if !matches!(answer.progress, Progress::Failed(_)) {
            assert_eq!(common, self.sent.len(), "what was sent is still due");
        }
        let new = answer.due[common..].to_vec();
        self.sent.extend(new.iter().cloned());
        (new, answer.progress)
    }
}

/// What becomes of a message on its way to one player.
type Passing<'a> = &'a mut dyn FnMut(&Due, &Player<'_>) -> Vec<Vec<u8>>;

fn unchanged(due: &Due, _: &Player<'_>) -> Vec<Vec<u8>> {
    vec![due.bytes.clone()]
}

/// Runs players until no message is under way, in an order that the dice choose. Every message goes
/// to everybody, its sender and those that it is not for too.
fn settle<'a>(
    mut players: Vec<Player<'a>>,
    dice: &mut ChaCha20Rng,
    passing: Passing<'_>,
) -> Vec<(Player<'a>, Progress)> {
    let mut wire: Vec<(usize, Due, Vec<u8>)> = Vec::new();
    let mut waking: Vec<usize> = (0..players.len()).collect();
    loop {
        for at in std::mem::take(&mut waking) {
            let (due, _) = players[at].think(dice);
            for due in due {
                for to in 0..players.len() {
                    if players[at].reaches.as_ref().is_none_or(|reached| reached.contains(&to)) {
                        let arriving = passing(&due, &players[to]);
                        wire.extend(arriving.into_iter().map(|bytes| (to, due.clone(), bytes)));
                    }
                }
            }
        }
        if wire.is_empty() {
            break;
        }
        let (to, due, bytes) = wire.swap_remove(below(wire.len(), dice));
        if below(8, dice) == 0 {
            wire.push((to, due.clone(), bytes.clone()));
        }
        list(&mut players[to].known, due.kind).push((due.from.index(), bytes));
        // Mostly several messages come before a player looks again, but in the end all do.
        if below(4, dice) == 0 {
            waking.push(to);
        }
        if wire.is_empty() {
            waking = (0..players.len()).collect();
        }
    }
    players
        .into_iter()
        .map(|mut player| {
            let (due, progress) = player.think(dice);
            assert_eq!(due, []);
            (player, progress)
        })
        .collect()
}

fn list(messages: &mut Messages, kind: MessageKind) -> &mut Vec<(EvaluatorIndex, Vec<u8>)> {
    match kind {
        MessageKind::Dealing => &mut messages.dealings,
        MessageKind::Enrolment => &mut messages.enrolments,
        MessageKind::SealedShare => &mut messages.shares,
        MessageKind::Confirmation => &mut messages.confirmations,
    }
}

/// All that these players send when everything arrives at once.
fn gathered(players: &[Player<'_>]) -> Messages {
    let mut all = Messages::default();
    for _ in 0..3 {
        let known = all.clone();
        all = Messages::default();
        for due in players.iter().flat_map(|player| player.ask_once(&known).due) {
            list(&mut all, due.kind).push((due.from.index(), due.bytes));
        }
    }
    all
}

fn below(count: usize, dice: &mut ChaCha20Rng) -> usize {
    dice.next_u32() as usize % count
}

fn shuffle(messages: &mut Messages, dice: &mut ChaCha20Rng) {
    for kind in KINDS {
        let list = list(messages, kind);
        for at in 0..list.len() {
            let other = below(list.len(), dice);
            list.swap(at, other);
            if below(8, dice) == 0 {
                list.push(list[at].clone());
            }
        }
    }
}

const KINDS: [MessageKind; 4] = [
    MessageKind::Dealing,
    MessageKind::Enrolment,
    MessageKind::SealedShare,
    MessageKind::Confirmation,
];

/// All of an answer, the share too.
fn shown(answer: &Advance) -> String {
    let share = match &answer.progress {
        Progress::Done(outcome) => outcome.share().map(KeyShare::to_bytes),
        _ => None,
    };
    format!("{answer:?} {share:?}")
}

fn generation(number: u8, threshold: usize, evaluators: usize) -> Task {
    Task::Generate(GeneratePlan::new(id(number), threshold, evaluators).unwrap())
}

fn resharing(
    number: u8,
    old: &PublicKeySet,
    dealers: &[u16],
    threshold: usize,
    receivers: usize,
) -> Task {
    let dealers: Vec<_> = dealers.iter().copied().map(index).collect();
    Task::Reshare(ResharePlan::new(id(number), old, &dealers, threshold, receivers).unwrap())
}

/// The parties of a generation.
fn generating(task: &Task, seed: u64) -> Vec<Player<'_>> {
    let Task::Generate(plan) = task else { panic!("not a generation") };
    let indices = plan.0.receivers.iter();
    let numbered = indices.zip(seed..);
    numbered.map(|(index, seed)| Player::new(task, Role::Generates(*index), seed)).collect()
}

/// The parties of a resharing. `seats` says which old share gets which new index.
fn handing_on<'a>(
    task: &'a Task,
    shares: &'a [KeyShare],
    seats: &BTreeMap<u16, u16>,
    seed: u64,
) -> Vec<Player<'a>> {
    let Task::Reshare(plan) = task else { panic!("not a resharing") };
    let mut roles = Vec::new();
    for dealer in &plan.0.dealers {
        let share = shares.iter().find(|share| share.index() == *dealer).unwrap();
        roles.push(match seats.get(&dealer.get()) {
            Some(receiver) => ReshareRole::Both { share, receiver: index(*receiver) },
            None => ReshareRole::Dealer(share),
        });
    }
    for receiver in &plan.0.receivers {
        if seats.values().all(|seat| *seat != receiver.get()) {
            roles.push(ReshareRole::Receiver(*receiver));
        }
    }
    let numbered = roles.into_iter().zip(seed..);
    numbered.map(|(role, seed)| Player::new(task, Role::Reshares(role), seed)).collect()
}

fn watcher(task: &Task) -> Player<'_> {
    Player::new(task, Role::Watches, 0)
}

fn done(progress: Progress) -> Outcome {
    match progress {
        Progress::Done(outcome) => *outcome,
        other => panic!("not done: {other:?}"),
    }
}

fn failed(progress: &Progress) -> &Fault {
    match progress {
        Progress::Failed(fault) => fault,
        other => panic!("not failed: {other:?}"),
    }
}

/// The key set and shares that all players end with.
fn all_done(ended: Vec<(Player<'_>, Progress)>) -> (PublicKeySet, Vec<KeyShare>) {
    agreed(ended.into_iter().map(|(player, end)| (player.who(), Ok(done(end)))).collect())
}
