//! Small founded networks, and what they accept and refuse.

mod opening;
mod verifying;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::CryptoRng;
use signpost_protocol::{
    NodeId, OdsCode, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    roster::{
        Endorsement, Founding, Inception, KeyRecord, MemberRecord, NodeRecord, Parameters, Standing,
    },
    statement::KeyUse,
};

use super::{FoundingError, Roster, assemble, dealt_evaluators, endorse, incept};
use crate::{secret::SecretKey, verified::Verified};

const DAY: u64 = 24 * 60 * 60 * 1000;
const FOUNDED: Timestamp = Timestamp(1_767_225_600_000);
const EXPIRES: Timestamp = Timestamp(FOUNDED.0 + 90 * DAY);
const NOW: Timestamp = Timestamp(FOUNDED.0 + 10 * DAY);

/// A founder with all its secrets.
struct Founder {
    ods: OdsCode,
    organization: OrganizationId,
    inception: Verified<Inception>,
    node: NodeId,
    root: SecretKey,
    pointer: SecretKey,
    transport: SecretKey,
}

impl Founder {
    fn draw(number: usize, rng: &mut impl CryptoRng) -> Self {
        let ods: OdsCode = format!("F{number}F").parse().unwrap();
        let name = Text::new(&format!("Founder {number}")).unwrap();
        let (inception, root, _) = incept(ods.clone(), name, FOUNDED, rng);
        let (organization, _) = super::verify_inception(inception.bytes()).unwrap();
        let mut node = [0; 16];
        rng.fill_bytes(&mut node);
        let pointer = SecretKey::generate(rng);
        let transport = SecretKey::generate(rng);
        let node = NodeId(node);
        Self { ods, organization, inception, node, root, pointer, transport }
    }

    fn key(&self, usage: KeyUse) -> KeyRecord {
        let key = if usage == KeyUse::Pointer { &self.pointer } else { &self.transport };
        let key = key.public();
        KeyRecord { key, usage, node: self.node, not_before: FOUNDED, not_after: EXPIRES }
    }

    fn record(&self) -> MemberRecord {
        let address = Text::new("/ip4/192.0.2.1/tcp/4001").unwrap();
        let node = NodeRecord { node: self.node, addresses: Bounded::new(vec![address]).unwrap() };
        MemberRecord {
            inception: ByteString::new(self.inception.bytes().to_vec()).unwrap(),
            standing: Standing::Admitted,
            ods: self.ods.clone(),
            name: self.inception.name.clone(),
            nodes: Bounded::new(vec![node]).unwrap(),
            keys: list(vec![self.key(KeyUse::Pointer), self.key(KeyUse::Transport)]),
            class_max: 10,
        }
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

/// A network to be.
struct Network {
    founders: Vec<Founder>,
    founding: Founding,
}

impl Network {
    fn of(count: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(count as u64);
        let founders: Vec<_> = (0..count).map(|number| Founder::draw(number, &mut rng)).collect();
        let organizations: Vec<_> = founders.iter().map(|f| f.organization).collect();
        let threshold = count as u16 / 2 + 1;
        let (evaluators, _) = dealt_evaluators(&organizations, threshold, &mut rng).unwrap();
        let founding = Founding {
            name: Text::new("Test").unwrap(),
            founded: FOUNDED,
            parameters: Parameters::STANDARD,
            members: list(founders.iter().map(Founder::record).collect()),
            evaluators,
        };
        Self { founders, founding }
    }

    fn member(&mut self, at: usize, change: impl FnOnce(&mut MemberRecord)) {
        edit(&mut self.founding.members, at, change);
    }

    fn key(&mut self, member: usize, at: usize, change: impl FnOnce(&mut KeyRecord)) {
        self.member(member, |record| edit(&mut record.keys, at, change));
    }

    fn endorsements(&self) -> Vec<Verified<Endorsement>> {
        let bytes = codec::encode(&self.founding);
        self.founders.iter().map(|f| endorse(&bytes, f.organization, &f.root, FOUNDED)).collect()
    }

    /// The roster file, endorsed by everybody.
    fn file(&self) -> Vec<u8> {
        assemble(codec::encode(&self.founding), &self.endorsements()).unwrap()
    }

    fn open(&self) -> Result<Roster, FoundingError> {
        Roster::open(&self.file(), None)
    }
}
