//! Comparing digest heads with peers, so that what gossip missed is found on the next connection.

use sha2::{Digest as _, Sha256};
use signpost_keys::Verified;
use signpost_protocol::{
    ContentHash, NodeId, OrganizationId, PublicKey,
    codec::{self, Bounded, ByteString},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, HeadVersion},
    limits,
    statement::{Body as _, Envelope},
};
use tracing::{debug, warn};

use super::{Core, Outstanding, Persist, Turn, event::Action};
use crate::network::{GossipId, InboundId, Plane, RequestFailure, Verdict};

/// Fetches of heads from one peer at a time: 1,024 heads, well below the requests that may be
/// under way to one peer.
const FETCHES_PER_PEER_MAX: usize = 8;

impl Core {
    /// Asks a peer which heads it has, unless both have the same.
    pub(super) fn compare_heads(&mut self, turn: &mut Turn<'_>, peer: PublicKey) {
        let request = DigestsRequest::Compare(hash_of(&self.head_versions()));
        self.send(turn, peer, Plane::Digests, codec::encode(&request), Outstanding::Compare);
    }

    pub(super) fn on_versions(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let versions = match digests_answer(&peer, result) {
            Some(DigestsAnswer::Versions(versions)) => versions,
            Some(DigestsAnswer::Same) => return self.recalled_the_same(),
            _ => return,
        };
        let wanted: Vec<(OrganizationId, NodeId)> = versions
            .iter()
            .filter(|theirs| self.wants_head(theirs))
            .map(|theirs| (theirs.organization, theirs.node))
            .collect();
        self.recalled(turn, &versions);
        if wanted.is_empty() {
            return;
        }
        let Some(connected) = self.peers.connected.get_mut(&peer) else { return };
        if connected.heads_awaited > 0 {
            return;
        }
        let chunks = wanted.len().div_ceil(limits::HEADS_PER_FETCH_MAX);
        connected.heads_awaited = chunks.min(FETCHES_PER_PEER_MAX);
        connected.has_more_heads = chunks > FETCHES_PER_PEER_MAX;
        for chunk in wanted.chunks(limits::HEADS_PER_FETCH_MAX).take(FETCHES_PER_PEER_MAX) {
            let list = Bounded::new(chunk.to_vec()).expect("chunks are of this size");
            let frame = codec::encode(&DigestsRequest::Heads(list));
            self.send(turn, peer, Plane::Digests, frame, Outstanding::Heads);
        }
    }

    pub(super) fn on_heads(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        result: Result<Vec<u8>, RequestFailure>,
    ) {
        let heads = match digests_answer(&peer, result) {
            Some(DigestsAnswer::Heads(heads)) => heads,
            _ => Bounded::default(),
        };
        let mut accepted = 0;
        for head in heads.iter() {
            accepted += usize::from(self.offer_head(turn, head, peer) == Verdict::Accept);
        }
        let Some(connected) = self.peers.connected.get_mut(&peer) else { return };
        connected.heads_awaited = connected.heads_awaited.saturating_sub(1);
        // Not when it gave nothing of use: such a peer would be asked in a circle.
        if connected.heads_awaited == 0 && connected.has_more_heads && accepted > 0 {
            self.compare_heads(turn, peer);
        }
    }

    pub(super) fn on_gossip(
        &mut self,
        turn: &mut Turn<'_>,
        id: GossipId,
        via: PublicKey,
        frame: &[u8],
    ) {
        let verdict = if self.roster.organizations_of_peer(&via, turn.now.unix).is_empty() {
            Verdict::Ignore
        } else if Envelope::kind_of(frame) == Some(DigestHead::KIND) {
            self.offer_head(turn, frame, via)
        } else {
            self.offer_statement(turn, frame, via)
        };
        turn.act(Action::Judge { id, verdict });
    }

    pub(super) fn on_digests_request(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        frame: &[u8],
    ) {
        let frame = (frame, limits::DIGESTS_REQUEST_FRAME_BYTES_MAX);
        match self.request_of_member(turn, (&peer, id), "digests request", frame) {
            None => {}
            Some(DigestsRequest::Compare(theirs)) => {
                let versions = self.head_versions();
                let answer = if hash_of(&versions) == theirs {
                    DigestsAnswer::Same
                } else {
                    DigestsAnswer::Versions(Bounded::new(versions).expect("capped when collected"))
                };
                reply_when_durable(turn, id, &answer);
            }
            Some(DigestsRequest::Heads(wanted)) => {
                let heads = wanted
                    .iter()
                    .filter_map(|(organization, node)| self.known_head(organization, node))
                    .filter_map(|head| ByteString::new(head.bytes().to_vec()))
                    .collect();
                let heads = Bounded::new(heads).expect("no more than were asked for");
                reply_when_durable(turn, id, &DigestsAnswer::Heads(heads));
            }
            Some(DigestsRequest::Blob(hash, offset)) => {
                turn.act(Action::ServeBlob { id, hash, offset });
            }
        }
    }

    /// The newest head known of one node, this one included.
    pub(super) fn known_head(
        &self,
        organization: &OrganizationId,
        node: &NodeId,
    ) -> Option<&Verified<DigestHead>> {
        if *node == self.me.node {
            self.own.get(organization)?.head()
        } else {
            self.digests.newest(organization, node)
        }
    }

    /// Every head known, in order.
    fn head_versions(&self) -> Vec<HeadVersion> {
        let mut versions: Vec<HeadVersion> = self
            .digests
            .newest_heads(|organization| self.roster.is_admitted(organization))
            .chain(self.own.values().filter_map(|own| own.head()))
            .map(|head| HeadVersion {
                organization: head.organization,
                node: head.node,
                version: head.version,
            })
            .take(limits::HEADS_MAX)
            .collect();
        versions.sort_unstable();
        versions
    }

    fn wants_head(&self, theirs: &HeadVersion) -> bool {
        if theirs.node == self.me.node {
            return self.wants_own_head(theirs);
        }
        self.roster.is_admitted(&theirs.organization)
            && self
                .known_head(&theirs.organization, &theirs.node)
                .is_none_or(|known| known.version < theirs.version)
    }
}

/// An own head that was just issued may be among them: should this node crash before it is on disk,
/// nobody may have seen its version.
fn reply_when_durable(turn: &mut Turn<'_>, id: InboundId, answer: &DigestsAnswer) {
    let frame = codec::encode(answer);
    turn.act(Action::Persist(Persist {
        then: vec![Action::Reply { id, frame }],
        otherwise: vec![Action::Refuse { id }],
        ..Persist::default()
    }));
}

fn hash_of(versions: &[HeadVersion]) -> ContentHash {
    let mut hash = Sha256::new();
    for HeadVersion { organization, node, version } in versions {
        hash.update(organization.as_bytes());
        hash.update(node.as_bytes());
        hash.update(version.to_be_bytes());
    }
    ContentHash(hash.finalize().into())
}

/// Decodes an answer on the digests plane; failures are routine and repaired by the next comparison.
pub(super) fn digests_answer(
    peer: &PublicKey,
    result: Result<Vec<u8>, RequestFailure>,
) -> Option<DigestsAnswer> {
    let frame =
        result.inspect_err(|failure| debug!(?peer, %failure, "no answer on digests")).ok()?;
    codec::decode("digests answer", &frame, limits::DIGESTS_ANSWER_FRAME_BYTES_MAX)
        .inspect_err(|error| warn!(?peer, %error, "refused a digests answer"))
        .ok()
}
