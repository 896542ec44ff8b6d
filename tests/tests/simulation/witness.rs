//! Sees every frame at the moment in which an honest core lets it out.

use std::collections::{BTreeMap, HashMap, HashSet};

use signpost_node::{
    network::Plane,
    store::{DisclosureRecord, DisclosureRole},
};
use signpost_protocol::{
    ContentHash, Timestamp, codec,
    digest::{DigestHead, DigestsAnswer},
    limits,
    locate::{Answer, Ask, Reply},
    statement::{Body, Envelope},
};
use signpost_tests::sim::{Passing, SimNode};

use crate::truth::Violation;

/// The number of the choice `heads` in [`DigestsAnswer`], the second byte of its encoding.
const HEADS: u8 = 2;

/// What was seen.
#[derive(Default)]
pub struct Witness {
    /// What was wrong about it.
    pub violations: Vec<Violation>,
    /// When each head was signed, by its writer and version.
    pub heads: BTreeMap<(usize, u64), Timestamp>,
    hashes: HashMap<(usize, u64), ContentHash>,
    gossiped: HashMap<usize, ContentHash>,
    asks: HashMap<ContentHash, String>,
    answered: HashSet<(usize, String)>,
}

impl Witness {
    /// Looks at a frame.
    pub fn see(&mut self, frame: &Passing<'_>, sender: &SimNode) {
        match (frame.plane, frame.is_reply) {
            (None, _) => {
                // One head goes to everybody: looked at once.
                let hash = ContentHash::of(frame.bytes);
                if self.gossiped.insert(frame.from, hash) != Some(hash) {
                    self.see_head(frame.from, sender, frame.bytes);
                }
            }
            (Some(Plane::Digests), true) if frame.bytes.get(1) == Some(&HEADS) => {
                let max = limits::DIGESTS_ANSWER_FRAME_BYTES_MAX;
                if let Ok(DigestsAnswer::Heads(heads)) = codec::decode("heads", frame.bytes, max) {
                    heads.iter().for_each(|head| self.see_head(frame.from, sender, head));
                }
            }
            (Some(Plane::Ask), false) => {
                let ask: Ask = body_of(frame.bytes).expect("honest cores ask properly");
                self.asks.insert(ContentHash::of(frame.bytes), ask.request.to_string());
            }
            (Some(Plane::Ask), true) => self.see_answer(frame, sender),
            _ => {}
        }
    }

    /// DESIGN §7.3: the number of a head is never used for two.
    fn see_head(&mut self, from: usize, sender: &SimNode, bytes: &[u8]) {
        if Envelope::kind_of(bytes) != Some(DigestHead::KIND) {
            // A statement of the roster.
            return;
        }
        let head: DigestHead = body_of(bytes).expect("honest cores pass on proper heads");
        if head.organization != sender.founder.organization {
            return;
        }
        let hash = ContentHash::of(bytes);
        let known = *self.hashes.entry((from, head.version)).or_insert(hash);
        if known != hash {
            self.violations.push(format!("ORG{from} has two heads of version {}", head.version));
        }
        self.heads.insert((from, head.version), head.issued);
    }

    /// DESIGN §7.3: a disclosure leaves after its record is on disk, and once.
    fn see_answer(&mut self, frame: &Passing<'_>, sender: &SimNode) {
        let max = limits::ANSWER_FRAME_BYTES_MAX;
        let Ok(Reply::Statement(answer)) = codec::decode("reply", frame.bytes, max) else { return };
        let answer: Answer = body_of(&answer).expect("honest cores answer properly");
        let from = frame.from;
        let Some(request) = self.asks.get(&answer.ask) else {
            return self.violations.push(format!("ORG{from} answered what nobody asked"));
        };
        let is_it = |record: &DisclosureRecord| {
            record.request == *request
                && record.role == DisclosureRole::Holder
                && record.pointers.len() == answer.pointers.len()
        };
        if !sender.disclosures.iter().rev().any(is_it) {
            let what = format!("ORG{from} answered before the record of it was on disk");
            self.violations.push(what);
        }
        if !self.answered.insert((from, request.clone())) {
            self.violations.push(format!("ORG{from} answered the same ask twice"));
        }
    }
}

/// The body of a statement, unchecked.
pub fn body_of<B: Body>(bytes: &[u8]) -> Option<B> {
    Envelope::parse(B::KIND, bytes, B::BYTES_MAX).ok()?.body().ok()
}
