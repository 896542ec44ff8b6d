//! Small founded networks, and what they accept and refuse.

mod bounds;
mod ceremonies;
mod ceremony_properties;
mod deciding;
mod doubting;
mod evaluating;
mod evaluators;
mod opening;
mod properties;
mod resetting;
mod verifying;

use std::rc::Rc;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::CryptoRng;
use signpost_protocol::{
    ContentHash, KeyEpoch, NetworkId, NodeId, OdsCode, OrganizationId, Timestamp,
    blind::EvaluatorSet,
    codec::{self, Bounded, ByteString, Text},
    roster::{
        Approval, CeremonyCall, CeremonyMessage, Change, EvaluatorsRecord, Founding, Heartbeat,
        Inception, KeyRecord, MemberRecord, NodeRecord, Objection, OrganizationKeys, Parameters,
        Proposal, Revocation, RevocationReason, RootReset, RosterFile, Standing, Steward,
        StewardEpoch,
    },
    statement::KeyUse,
};

use super::{FoundingError, Refusal, Roster, State, Statements, dealt_evaluators, endorse, incept};
use crate::{secret::SecretKey, sign, verified::Verified};

const DAY: u64 = 24 * 60 * 60 * 1000;
const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
const EXPIRES: Timestamp = Timestamp(FOUNDED.0 + 90 * DAY);
const NOW: Timestamp = Timestamp(FOUNDED.0 + 10 * DAY);

/// A day of the network.
fn day(number: u64) -> Timestamp {
    FOUNDED.plus(number * DAY)
}

/// An organization with all its secrets.
struct Party {
    ods: OdsCode,
    id: OrganizationId,
    inception: Verified<Inception>,
    node: NodeId,
    root: SecretKey,
    govern: SecretKey,
    pointer: SecretKey,
    transport: SecretKey,
}

impl Party {
    fn draw(ods: &str, rng: &mut impl CryptoRng) -> Self {
        let ods: OdsCode = ods.parse().unwrap();
        let (inception, root, _) = incept(ods.clone(), Text::new("Party").unwrap(), FOUNDED, rng);
        let (id, _) = super::verify_inception(inception.bytes()).unwrap();
        let mut node = [0; 16];
        rng.fill_bytes(&mut node);
        let node = NodeId(node);
        let [govern, pointer, transport] = std::array::from_fn(|_| SecretKey::generate(rng));
        Self { ods, id, inception, node, root, govern, pointer, transport }
    }

    fn key(&self, usage: KeyUse) -> KeyRecord {
        let (key, node) = match usage {
            KeyUse::Pointer => (&self.pointer, Some(self.node)),
            KeyUse::Transport => (&self.transport, Some(self.node)),
            _ => (&self.govern, None),
        };
        let key = key.public();
        KeyRecord { key, usage, node, not_before: FOUNDED, not_after: EXPIRES, revoked: None }
    }

    fn record(&self, version: u64, standing: Standing) -> MemberRecord {
        MemberRecord {
            inception: ByteString::new(self.inception.bytes().to_vec()).unwrap(),
            version,
            standing,
            ods: self.ods.clone(),
            name: self.inception.name.clone(),
            class_max: 10,
            successor: None,
        }
    }

    fn member(&self, version: u64, standing: Standing) -> Change {
        Change::Member(self.record(version, standing))
    }

    /// Its first key set: one node, a pointer, a transport and a govern key.
    fn key_set(&self) -> OrganizationKeys {
        let address = Text::new("/ip4/192.0.2.1/tcp/4001").unwrap();
        let keys =
            [KeyUse::Pointer, KeyUse::Transport, KeyUse::Govern].map(|usage| self.key(usage));
        OrganizationKeys {
            organization: self.id,
            lineage: 0,
            version: 1,
            previous: ContentHash(self.id.0),
            nodes: list(vec![NodeRecord { node: self.node, addresses: list(vec![address]) }]),
            keys: list(keys.to_vec()),
            issued: FOUNDED,
        }
    }

    fn steward(&self) -> Steward {
        Steward { organization: self.id, govern: self.govern.public() }
    }
}

fn list<T, const MAX: usize>(items: Vec<T>) -> Bounded<T, MAX> {
    Bounded::new(items).expect("tests stay within the caps")
}

/// Changes one item of a bounded list.
fn edit<T: Clone, const MAX: usize>(
    items: &mut Bounded<T, MAX>,
    at: usize,
    change: impl FnOnce(&mut T),
) {
    let mut owned = items.to_vec();
    change(&mut owned[at]);
    *items = list(owned);
}

/// A network, with what it has said up to now.
#[derive(Clone)]
struct Network {
    /// The founders, then others.
    parties: Vec<Rc<Party>>,
    founders: usize,
    founding: Founding,
    sets: Vec<OrganizationKeys>,
    said: Vec<Vec<u8>>,
}

impl Network {
    /// `count` founders, all of them stewards, and three organizations outside.
    fn of(count: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(count as u64);
        let draw = |number| Rc::new(Party::draw(&format!("F{number}F"), &mut rng));
        let parties: Vec<_> = (0..count + 3).map(draw).collect();
        let founders: Vec<_> = parties[..count].iter().map(|party| party.id).collect();
        let threshold = count as u16 / 2 + 1;
        let (evaluators, _) = dealt_evaluators(&founders, threshold, &mut rng).unwrap();
        let members = parties[..count].iter().map(|p| p.record(0, Standing::Admitted));
        let founding = Founding {
            name: Text::new("Test").unwrap(),
            founded: FOUNDED,
            parameters: Parameters::STANDARD,
            members: list(members.collect()),
            evaluators: Some(evaluators),
            stewards: list(parties[..count].iter().map(|party| party.steward()).collect()),
            threshold,
        };
        let sets = parties[..count].iter().map(|party| party.key_set()).collect();
        Self { parties, founders: count, founding, sets, said: Vec::new() }
    }

    /// The same before it has made its key.
    fn keyless(count: usize) -> Self {
        let mut network = Self::of(count);
        network.founding.evaluators = None;
        network
    }

    /// The evaluators of the founding.
    fn dealt(&mut self) -> &mut EvaluatorSet {
        self.founding.evaluators.as_mut().unwrap()
    }

    fn threshold(&self) -> usize {
        usize::from(self.founding.threshold)
    }

    fn id(&self) -> NetworkId {
        NetworkId(ContentHash::of(&self.founding_bytes()).0)
    }

    fn founding_bytes(&self) -> Vec<u8> {
        codec::encode(&self.founding)
    }

    /// Endorsements and key sets of the founders.
    fn begun(&self) -> Vec<Vec<u8>> {
        let bytes = self.founding_bytes();
        let founders = self.parties[..self.founders].iter();
        let endorse = |p: &Rc<Party>| endorse(&bytes, p.id, &p.root, FOUNDED).bytes().to_vec();
        let mut begun: Vec<_> = founders.map(endorse).collect();
        begun.extend(self.sets.iter().zip(&self.parties).map(|(set, p)| self.keys(set, &p.root)));
        begun
    }

    /// Everything said up to now.
    fn all(&self) -> Vec<Vec<u8>> {
        [self.begun(), self.said.clone()].concat()
    }

    fn file(&self) -> Vec<u8> {
        file(self.founding_bytes(), &self.all())
    }

    fn open(&self) -> Result<Roster, FoundingError> {
        Roster::open(&self.file(), None, NOW)
    }

    /// What a node has that heard everything by `now`.
    fn statements(&self, now: Timestamp) -> Statements {
        let mut statements = Statements::begin(&self.founding_bytes(), None).unwrap();
        for bytes in self.all() {
            statements.take(&bytes, now).unwrap();
        }
        statements
    }

    fn roster(&self, now: Timestamp) -> Roster {
        self.statements(now).roster(now)
    }

    fn state(&self, proposal: &Proposal, now: Timestamp) -> State {
        let id = id_of(proposal);
        self.statements(now).law(now).proposal(&id).unwrap().state.clone()
    }

    fn standing(&self, party: usize, now: Timestamp) -> Option<Standing> {
        self.roster(now).member(&self.parties[party].id).map(|member| member.standing)
    }

    fn say(&mut self, bytes: Vec<u8>) {
        self.said.push(bytes);
    }

    fn keys(&self, set: &OrganizationKeys, root: &SecretKey) -> Vec<u8> {
        sign(set.clone(), root, &self.id()).bytes().to_vec()
    }

    /// A proposal of epoch 0 that lives for ten days.
    fn proposal(&self, change: Change, issued: Timestamp) -> Proposal {
        let expires = issued.plus(10 * DAY);
        Proposal { epoch: 0, change, reason: Text::new("For a test").unwrap(), issued, expires }
    }

    fn approval(&self, party: usize, proposal: &Proposal, issued: Timestamp) -> Vec<u8> {
        let party = &self.parties[party];
        let proposal = ByteString::new(codec::encode(proposal)).unwrap();
        let approval = Approval { steward: party.id, proposal, issued };
        sign(approval, &party.govern, &self.id()).bytes().to_vec()
    }

    fn approve(&mut self, parties: &[usize], proposal: &Proposal, issued: Timestamp) {
        for party in parties {
            let approval = self.approval(*party, proposal, issued);
            self.say(approval);
        }
    }

    /// Enough stewards approve a change at once.
    fn decide(&mut self, change: Change, issued: Timestamp) -> Proposal {
        let proposal = self.proposal(change, issued);
        let parties: Vec<_> = (0..self.threshold()).collect();
        self.approve(&parties, &proposal, issued);
        proposal
    }

    /// Another organization is admitted and lists its keys.
    fn admit(&mut self, party: usize, issued: Timestamp) -> Proposal {
        let member = self.parties[party].clone();
        let proposal = self.decide(member.member(1, Standing::Admitted), issued);
        let keys = self.keys(&member.key_set(), &member.root);
        self.say(keys);
        proposal
    }

    fn heartbeat(&self, party: usize, witnessed: &[&Proposal], issued: Timestamp) -> Vec<u8> {
        let party = &self.parties[party];
        let beat = Heartbeat {
            steward: party.id,
            number: issued.since(FOUNDED) / DAY + 1,
            roster: ContentHash([0; 32]),
            witnessed: list(witnessed.iter().map(|proposal| id_of(proposal)).collect()),
            issued,
        };
        sign(beat, &party.transport, &self.id()).bytes().to_vec()
    }

    fn witness(&mut self, parties: &[usize], proposal: &Proposal, issued: Timestamp) {
        for party in parties {
            let beat = self.heartbeat(*party, &[proposal], issued);
            self.say(beat);
        }
    }

    /// A party's root says that its govern key is revoked.
    fn revoke(&mut self, party: usize, since: Timestamp, said: Timestamp) {
        let party = self.parties[party].clone();
        let mut set = party.key_set();
        set.version = 2;
        set.issued = said;
        let reason = RevocationReason::Compromised;
        edit(&mut set.keys, 2, |key| key.revoked = Some(Revocation { since, reason }));
        let keys = self.keys(&set, &party.root);
        self.say(keys);
    }

    /// The founders and then others as stewards of an epoch.
    fn epoch(&self, number: u64, previous: ContentHash, stewards: &[usize]) -> Change {
        let threshold = stewards.len() as u16 / 2 + 1;
        let stewards = list(stewards.iter().map(|at| self.parties[*at].steward()).collect());
        let parameters = Parameters::STANDARD;
        Change::Stewards(StewardEpoch { number, previous, stewards, threshold, parameters })
    }

    fn reset(&self, party: usize, lineage: u32, root: &SecretKey) -> Change {
        let organization = self.parties[party].id;
        let next_root = ContentHash([7; 32]);
        Change::Root(RootReset { organization, lineage, root: root.public(), next_root })
    }

    /// A steward calls on day 1 to make a key, of which two of these can evaluate: over on day 5.
    fn call(&self, steward: usize, number: u64, evaluators: &[usize]) -> CeremonyCall {
        CeremonyCall {
            steward: self.parties[steward].id,
            number,
            previous: ContentHash(self.id().0),
            key_epoch: KeyEpoch(1),
            share_epoch: 1,
            threshold: 2,
            evaluators: list(evaluators.iter().map(|at| self.parties[*at].id).collect()),
            dealers: Bounded::default(),
            issued: day(1),
            expires: day(5),
        }
    }

    /// A call under the govern key of its steward.
    fn called(&self, call: &CeremonyCall) -> Vec<u8> {
        let steward = self.parties.iter().find(|party| party.id == call.steward).unwrap();
        sign(call.clone(), &steward.govern, &self.id()).bytes().to_vec()
    }

    /// A message of a ceremony under the transport key of its sender.
    fn message(
        &self,
        party: usize,
        ceremony: ContentHash,
        message: Vec<u8>,
        issued: Timestamp,
    ) -> Vec<u8> {
        let party = &self.parties[party];
        let message = ByteString::new(message).unwrap();
        let message = CeremonyMessage { organization: party.id, ceremony, message, issued };
        sign(message, &party.transport, &self.id()).bytes().to_vec()
    }

    fn objection(
        &self,
        party: usize,
        proposal: &Proposal,
        key: &SecretKey,
        issued: Timestamp,
    ) -> Vec<u8> {
        let organization = self.parties[party].id;
        let (proposal, reason) = (id_of(proposal), Text::new("It was not us").unwrap());
        let objection = Objection { organization, proposal, reason, issued };
        sign(objection, key, &self.id()).bytes().to_vec()
    }
}

/// The set that an organization's next one follows at an instant.
fn last_keys(
    statements: &Statements,
    organization: &OrganizationId,
    now: Timestamp,
) -> Option<Verified<OrganizationKeys>> {
    statements.last_keys(&statements.law(now), organization).cloned()
}

fn id_of(proposal: &Proposal) -> ContentHash {
    ContentHash::of(&codec::encode(proposal))
}

fn file(founding: Vec<u8>, statements: &[Vec<u8>]) -> Vec<u8> {
    let statements = statements.iter().map(|bytes| ByteString::new(bytes.clone()).unwrap());
    let statements = list(statements.collect());
    codec::encode(&RosterFile { founding: ByteString::new(founding).unwrap(), statements })
}
