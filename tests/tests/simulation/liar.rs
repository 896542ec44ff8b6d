//! A member that holds valid keys and says what is not so.
//!
//! Its node runs an honest core; what leaves it is replaced on the way. Whatever makes a lie
//! stronger is signed with its real keys.

use std::{collections::HashMap, sync::Arc};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use signpost_keys::SecretKey;
use signpost_node::{
    core::rows,
    digests::SizeClass,
    network::Plane,
    store::{MemoryStore, Store as _},
};
use signpost_protocol::{
    ContentHash, NetworkId, Pointer, PointerId, PointerState, Timestamp,
    blind::EvaluateAnswer,
    codec::{self, Bounded, ByteString},
    digest::{DigestHead, DigestsAnswer, HeadVersion},
    limits,
    locate::{Answer, Ask, AskSubject, Reply},
    statement::Body,
};
use signpost_tests::{
    founding::Founder,
    sim::{Fate, Network, Passing},
};

use crate::witness::body_of;

/// What it lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Answers with its own pointer of another patient.
    OtherPatient,
    /// Answers with another holder's pointer as if it were its own.
    Stolen,
    /// Answers with a pointer that was changed after it was signed.
    Altered,
    /// Answers with a pointer in another holder's name.
    Forged,
    /// Answers with a deleted pointer.
    Tombstone,
    /// Answers another ask than the one it was asked.
    OtherAsk,
    /// Gives an answer that it gave before.
    OldAnswer,
    /// Says that there is more, for ever.
    Endless,
    /// Says nothing at all.
    Silence,
    /// Evaluates something else than it was asked to.
    WrongEvaluation,
    /// Advertises a filter with more bits than it may have.
    OverFull,
    /// Advertises a filter that nobody has.
    NoSuchFilter,
    /// Advertises another's digest, signed by itself.
    OthersHead,
    /// Advertises its oldest head again.
    OldHead,
    /// Serves digests that do not have the hash asked for, with as many bits set.
    SpoiltParts,
    /// Says that it knows far later heads of everybody.
    LaterHeads,
    /// Sends its asks twice.
    Replay,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::OtherPatient,
        Self::Stolen,
        Self::Altered,
        Self::Forged,
        Self::Tombstone,
        Self::OtherAsk,
        Self::OldAnswer,
        Self::Endless,
        Self::Silence,
        Self::WrongEvaluation,
        Self::OverFull,
        Self::NoSuchFilter,
        Self::OthersHead,
        Self::OldHead,
        Self::SpoiltParts,
        Self::LaterHeads,
        Self::Replay,
    ];
}

/// A lie that was told in place of an answer, and must not go unnoticed.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// To whom.
    pub to: usize,
    /// When that node asked, by its own clock.
    pub asked: Timestamp,
    /// When it was told.
    pub time: u64,
    /// What.
    pub lie: Lie,
}

/// The liar.
pub struct Liar {
    /// Its number.
    pub at: usize,
    /// What it lies about now.
    pub lies: Vec<Lie>,
    /// What it told.
    pub told: Vec<Told>,
    /// How often it did anything of this.
    pub count: u64,
    pointer: SecretKey,
    transport: SecretKey,
    founder: Member,
    victim: Member,
    network: NetworkId,
    store: Arc<MemoryStore>,
    asks: HashMap<ContentHash, Ask>,
    stolen: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    heads: Vec<Vec<u8>>,
    evaluations: Vec<EvaluateAnswer>,
    rng: ChaCha20Rng,
}

/// Who somebody is.
#[derive(Clone)]
struct Member {
    organization: signpost_protocol::OrganizationId,
    node: signpost_protocol::NodeId,
    ods: String,
}

impl From<&Founder> for Member {
    fn from(founder: &Founder) -> Self {
        Self { organization: founder.organization, node: founder.node, ods: founder.ods.clone() }
    }
}

impl Liar {
    /// Node `at` of a network; it lies about `victim`.
    pub fn new(network: &Network, at: usize, victim: usize, rng: ChaCha20Rng) -> Self {
        let founder = &network.nodes[at].founder;
        Self {
            at,
            lies: Vec::new(),
            told: Vec::new(),
            count: 0,
            pointer: SecretKey::from_seed(&founder.pointer),
            transport: SecretKey::from_seed(&founder.transport),
            founder: founder.into(),
            victim: (&network.nodes[victim].founder).into(),
            network: network.roster.network(),
            store: network.nodes[at].store.clone(),
            asks: HashMap::new(),
            stolen: Vec::new(),
            answers: Vec::new(),
            heads: Vec::new(),
            evaluations: Vec::new(),
            rng,
        }
    }

    /// What becomes of a frame, if the liar has its hand in it.
    pub fn meddle(&mut self, frame: &Passing<'_>) -> Option<Fate> {
        if frame.to == self.at {
            self.overhear(frame);
        }
        if frame.from != self.at || self.lies.is_empty() || self.rng.next_u64().is_multiple_of(3) {
            return None;
        }
        let lie = self.lies[self.rng.next_u64() as usize % self.lies.len()];
        let fate = match (frame.plane, frame.is_reply) {
            (Some(Plane::Ask), true) => self.answer(frame, lie),
            (Some(Plane::Ask), false) => (lie == Lie::Replay).then_some(Fate::Twice),
            (Some(Plane::Evaluate), true) => self.evaluate(frame, lie),
            (Some(Plane::Digests), true) => self.digests(frame, lie),
            (None, _) => self.head(frame, lie),
            _ => None,
        };
        self.count += u64::from(fate.is_some());
        fate
    }

    /// Keeps what it may use later.
    fn overhear(&mut self, frame: &Passing<'_>) {
        if frame.plane != Some(Plane::Ask) {
            return;
        }
        if !frame.is_reply {
            let ask = body_of(frame.bytes).expect("honest nodes ask properly");
            self.asks.insert(ContentHash::of(frame.bytes), ask);
        } else if let Some(answer) = statement_in(frame.bytes).and_then(|s| body_of::<Answer>(&s)) {
            self.stolen.extend(answer.pointers.iter().map(|pointer| pointer.to_vec()));
        }
    }

    fn sign<B: Body>(&self, body: B, key: &SecretKey) -> Vec<u8> {
        signpost_keys::sign(body, key, &self.network).bytes().to_vec()
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let nth = self.rng.next_u64() as usize;
        (!of.is_empty()).then(|| of[nth % of.len()].clone())
    }

    /// Its own pointers, deleted ones among them.
    fn own(&self) -> Vec<Vec<u8>> {
        let rows = self.store.scan(b"p", None, 1_000).expect("the memory store does not fail");
        let statement = |row: &[u8]| Some(rows::PointerRow::decode(row).ok()?.statement.to_vec());
        rows.iter().filter_map(|(_, row)| statement(row)).collect()
    }

    fn answer(&mut self, frame: &Passing<'_>, lie: Lie) -> Option<Fate> {
        let honest = statement_in(frame.bytes)?;
        let answer: Answer = body_of(&honest)?;
        let ask = self.asks.get(&answer.ask)?.clone();
        let AskSubject::Locator { locator, key_epoch, .. } = ask.subject else { return None };
        let told = Told { to: frame.to, asked: ask.issued, time: frame.time, lie };
        if lie == Lie::Silence {
            self.told.push(told);
            return Some(Fate::Drop);
        }
        let own = self.own();
        let pointer = |bytes: &Vec<u8>| body_of::<Pointer>(bytes).expect("was signed properly");
        let mut made = Pointer {
            id: PointerId::new(&self.founder.ods.parse().ok()?, "made-up").ok()?,
            version: 1,
            organization: self.founder.organization,
            custodian_suffix: None,
            state: PointerState::Current,
            listed: true,
            key_epoch,
            locator,
            issued: answer.issued,
            resource: ByteString::new(br#"{"resourceType":"DocumentReference"}"#.to_vec())?,
        };
        let mut forged = answer.clone();
        let put = |pointers: Vec<Vec<u8>>| {
            Bounded::new(pointers.into_iter().filter_map(ByteString::new).collect())
        };
        match lie {
            Lie::OtherPatient => {
                let of_another: Vec<_> =
                    own.into_iter().filter(|bytes| pointer(bytes).locator != locator).collect();
                forged.pointers = put(vec![self.pick(&of_another)?])?;
            }
            Lie::Stolen => {
                let stolen = self.stolen.clone();
                forged.pointers = put(vec![self.pick(&stolen)?])?;
            }
            Lie::Altered => {
                let mut altered = self.sign(made, &self.pointer);
                let at = self.rng.next_u64() as usize % altered.len();
                altered[at] ^= 1;
                forged.pointers = put(vec![altered])?;
            }
            Lie::Forged => {
                let id = PointerId::new(&self.victim.ods.parse().ok()?, "made-up").ok()?;
                if self.rng.next_u64().is_multiple_of(2) {
                    made.organization = self.victim.organization;
                }
                made.id = id;
                forged.pointers = put(vec![self.sign(made, &self.pointer)])?;
            }
            Lie::Tombstone => {
                made.state = PointerState::Tombstone;
                made.resource = ByteString::default();
                forged.pointers = put(vec![self.sign(made, &self.pointer)])?;
            }
            Lie::OtherAsk => forged.ask = ContentHash([7; 32]),
            Lie::OldAnswer => {
                let before = self.answers.clone();
                self.answers.push(honest);
                let old = self.pick(&before)?;
                self.told.push(told);
                return Some(Fate::Replace(reply_with(old)));
            }
            Lie::Endless => {
                let nth = self.asks.len();
                let ods = self.founder.ods.parse().ok()?;
                made.id = PointerId::new(&ods, &format!("made-up-{nth:09}")).ok()?;
                forged.pointers = put(vec![self.sign(made, &self.pointer)])?;
                forged.more = true;
            }
            _ => return None,
        }
        self.answers.push(honest);
        // One endless page may be followed by an honest last one: then there is nothing to notice.
        if lie != Lie::Endless {
            self.told.push(told);
        }
        Some(Fate::Replace(reply_with(self.sign(forged, &self.pointer))))
    }

    fn evaluate(&mut self, frame: &Passing<'_>, lie: Lie) -> Option<Fate> {
        if lie != Lie::WrongEvaluation {
            return None;
        }
        let mut answer: EvaluateAnswer = body_of(&statement_in(frame.bytes)?)?;
        let before = self.evaluations.last().cloned();
        self.evaluations = vec![answer.clone()];
        answer.evaluated = before?.evaluated;
        Some(Fate::Replace(reply_with(self.sign(answer, &self.transport))))
    }

    fn digests(&mut self, frame: &Passing<'_>, lie: Lie) -> Option<Fate> {
        let max = limits::DIGESTS_ANSWER_FRAME_BYTES_MAX;
        let honest: DigestsAnswer = codec::decode("answer", frame.bytes, max).ok()?;
        let forged = match (lie, honest) {
            (Lie::SpoiltParts, DigestsAnswer::Blob(piece)) => {
                let mut bytes = piece.to_vec();
                bytes.rotate_left(1);
                DigestsAnswer::Blob(ByteString::new(bytes)?)
            }
            (Lie::LaterHeads, DigestsAnswer::Versions(versions)) => {
                let later = |theirs: &HeadVersion| HeadVersion { version: u64::MAX, ..*theirs };
                DigestsAnswer::Versions(Bounded::new(versions.iter().map(later).collect())?)
            }
            (Lie::Silence, _) => return Some(Fate::Drop),
            (Lie::OldHead, DigestsAnswer::Heads(_)) => {
                let old = ByteString::new(self.heads.first()?.clone())?;
                DigestsAnswer::Heads(Bounded::new(vec![old])?)
            }
            _ => return None,
        };
        Some(Fate::Replace(codec::encode(&forged)))
    }

    fn head(&mut self, frame: &Passing<'_>, lie: Lie) -> Option<Fate> {
        if self.heads.last().map(Vec::as_slice) != Some(frame.bytes) {
            self.heads.push(frame.bytes.to_vec());
        }
        let mut head: DigestHead = body_of(frame.bytes)?;
        let mut filters = head.filters.to_vec();
        match lie {
            Lie::OldHead => return Some(Fate::Replace(self.heads.first()?.clone())),
            Lie::Silence => return Some(Fate::Drop),
            Lie::OverFull => {
                filters[0].ones = SizeClass::new(filters[0].class)?.ones_max() + 1;
            }
            Lie::NoSuchFilter => filters[0].filter = ContentHash([9; 32]),
            Lie::OthersHead => {
                head.organization = self.victim.organization;
                head.node = self.victim.node;
                head.version += 1_000_000;
            }
            _ => return None,
        }
        head.filters = Bounded::new(filters)?;
        Some(Fate::Replace(self.sign(head, &self.pointer)))
    }
}

fn statement_in(frame: &[u8]) -> Option<Vec<u8>> {
    match codec::decode("reply", frame, limits::ANSWER_FRAME_BYTES_MAX).ok()? {
        Reply::Statement(bytes) => Some(bytes.to_vec()),
        Reply::Refused(_) => None,
    }
}

fn reply_with(statement: Vec<u8>) -> Vec<u8> {
    codec::encode(&Reply::Statement(ByteString::new(statement).expect("an answer fits")))
}
