//! Whatever a member may send another, put to a node as it would arrive.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::Rng as _;
use signpost_keys::{SecretKey, blinding::Blinding, sign};
use signpost_node::network::{Plane, Verdict};
use signpost_protocol::{
    ContentHash, PointerId, RequestId,
    blind::{EvaluatePurpose, EvaluateRequest},
    codec::{self, Bounded, Text},
    digest::DigestsRequest,
    hello::{HelloAnswer, HelloRequest, Regard, VERSIONS},
    limits,
    locate::{Ask, AskSubject, Reply},
    roster_exchange::RosterRequest,
    statement::Body,
};
use signpost_tests::sim::{Network, caller};

use crate::common::patient;

/// What the node `to` serves to the node `from`, of everything that there is.
pub fn served(network: &mut Network, from: usize, to: usize) -> Vec<&'static str> {
    let mut served = Vec::new();
    let mut try_it = |what, is_served: bool| {
        if is_served {
            served.push(what);
        }
    };
    let pointer: PointerId = format!("ORG{to}-x").parse().unwrap();
    let ask = ask(network, from, to, AskSubject::Pointer { id: pointer });
    try_it("ask", answered(send(network, from, to, Plane::Ask, ask)));
    let evaluation = evaluation(network, from, to);
    try_it("evaluate", answered(send(network, from, to, Plane::Evaluate, evaluation)));
    let none = ContentHash([0; 32]);
    let compare = codec::encode(&DigestsRequest::Compare(none));
    try_it("digests", send(network, from, to, Plane::Digests, compare).is_some());
    let compare = codec::encode(&RosterRequest::Compare(none));
    try_it("roster", send(network, from, to, Plane::Roster, compare).is_some());
    let keys = network.next_keys(to, to, |_| {});
    try_it("gossip", network.gossip(from, to, keys) == Verdict::Accept);
    served
}

/// All of it.
pub const ALL: [&str; 5] = ["ask", "evaluate", "digests", "roster", "gossip"];

/// How the node `to` regards the node `from`.
pub fn regard(network: &mut Network, from: usize, to: usize) -> Regard {
    let hello = HelloRequest {
        versions: Bounded::new(VERSIONS.to_vec()).unwrap(),
        network: network.statements.network(),
        now: now(network, from),
        joining: None,
    };
    let answer = send(network, from, to, Plane::Hello, codec::encode(&hello)).unwrap();
    let max = limits::HELLO_FRAME_BYTES_MAX;
    codec::decode::<HelloAnswer>("hello answer", &answer, max).unwrap().regard
}

fn now(network: &Network, at: usize) -> signpost_protocol::Timestamp {
    let skew = network.nodes[at].skew;
    signpost_protocol::Timestamp(network.true_time().0.saturating_add_signed(skew))
}

fn send(
    network: &mut Network,
    from: usize,
    to: usize,
    plane: Plane,
    frame: Vec<u8>,
) -> Option<Vec<u8>> {
    let peer = network.key(from);
    network.exchange(peer, to, plane, frame)
}

fn answered(reply: Option<Vec<u8>>) -> bool {
    let max = limits::ANSWER_FRAME_BYTES_MAX;
    let reply = reply.map(|frame| codec::decode::<Reply>("reply", &frame, max).unwrap());
    matches!(reply, Some(Reply::Statement(_)))
}

fn signed<B: Body>(network: &Network, at: usize, body: B) -> Vec<u8> {
    let key = SecretKey::from_seed(&network.nodes[at].founder.transport);
    sign(body, &key, &network.statements.network()).bytes().to_vec()
}

fn request_id(network: &Network) -> RequestId {
    let mut id = [0; 16];
    ChaCha20Rng::seed_from_u64(network.now).fill_bytes(&mut id);
    RequestId(id)
}

/// A signed ask.
pub fn ask(network: &Network, from: usize, to: usize, subject: AskSubject) -> Vec<u8> {
    let issued = now(network, from);
    let ask = Ask {
        asked: network.nodes[to].founder.organization,
        asking: network.nodes[from].founder.organization,
        subject,
        purpose: caller().purpose,
        role: Text::new("clinician").unwrap(),
        user: Text::new("user-1").unwrap(),
        request: request_id(network),
        issued,
        expires: issued.plus(3_000),
    };
    signed(network, from, ask)
}

fn evaluation(network: &Network, from: usize, to: usize) -> Vec<u8> {
    let mut rng = ChaCha20Rng::seed_from_u64(network.now);
    let blinding = Blinding::new(vec![patient(1).blinding_input()], &mut rng).unwrap();
    let set = network.roster.evaluators().current().unwrap();
    let issued = now(network, from);
    let request = EvaluateRequest {
        asked: network.nodes[to].founder.organization,
        asking: network.nodes[from].founder.organization,
        request: request_id(network),
        key_epoch: set.key_epoch,
        share_epoch: set.share_epoch,
        purpose: EvaluatePurpose::Lookup,
        blinded: Bounded::new(blinding.blinded().iter().map(|e| (*e).into()).collect()).unwrap(),
        issued,
        expires: issued.plus(3_000),
    };
    signed(network, from, request)
}
