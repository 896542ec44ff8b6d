//! Comparing digest heads with peers, so that what gossip missed is found on the next connection.

use sha2::{Digest as _, Sha256};
use signpost_keys::Verified;
use signpost_protocol::{
    ContentHash, NodeId, OrganizationId, PublicKey,
    codec::{self, Bounded, ByteString},
    digest::{DigestHead, DigestsAnswer, DigestsRequest, HeadVersion},
    limits,
};
use tracing::{debug, warn};

use super::{Core, Outstanding, Turn, event::Action, own_digest::OwnDigest};
use crate::network::{GossipId, InboundId, Plane, RequestFailure, Verdict};

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
            Some(DigestsAnswer::Same) => return self.own.values_mut().for_each(|own| own.heard()),
            _ => return,
        };
        let wanted: Vec<(OrganizationId, NodeId)> = versions
            .iter()
            .filter(|theirs| self.wants_head(theirs))
            .map(|theirs| (theirs.organization, theirs.node))
            .collect();
        let me = self.me.node;
        let lost = |organization| wanted.contains(&(organization, me));
        self.own.iter_mut().filter(|(id, _)| !lost(**id)).for_each(|(_, own)| own.heard());
        for chunk in wanted.chunks(limits::HEADS_PER_FETCH_MAX) {
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
        let Some(DigestsAnswer::Heads(heads)) = digests_answer(&peer, result) else { return };
        for head in heads.iter() {
            self.offer_head(turn, head, peer);
        }
    }

    /// Whether some own head waits for a peer to say which one it knows.
    pub(super) fn is_unheard(&self) -> bool {
        self.own.values().any(OwnDigest::is_unheard)
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
        } else {
            self.offer_head(turn, frame, via)
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
        if self.roster.organizations_of_peer(&peer, turn.now.unix).is_empty() {
            return turn.act(Action::Refuse { id });
        }
        match codec::decode("digests request", frame, limits::DIGESTS_REQUEST_FRAME_BYTES_MAX) {
            Err(error) => {
                warn!(?peer, %error, "refused a digests request");
                turn.act(Action::Refuse { id });
            }
            Ok(DigestsRequest::Compare(theirs)) => {
                let versions = self.head_versions();
                let answer = if hash_of(&versions) == theirs {
                    DigestsAnswer::Same
                } else {
                    DigestsAnswer::Versions(Bounded::new(versions).expect("capped when collected"))
                };
                turn.reply(id, &answer);
            }
            Ok(DigestsRequest::Heads(wanted)) => {
                let heads = wanted
                    .iter()
                    .filter_map(|(organization, node)| self.known_head(organization, node))
                    .filter_map(|head| ByteString::new(head.bytes().to_vec()))
                    .collect();
                let heads = Bounded::new(heads).expect("no more than were asked for");
                turn.reply(id, &DigestsAnswer::Heads(heads));
            }
            Ok(DigestsRequest::Blob(hash, offset)) => {
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
            .newest_heads()
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
        self.roster.is_admitted(&theirs.organization)
            && self
                .known_head(&theirs.organization, &theirs.node)
                .is_none_or(|known| known.version < theirs.version)
    }
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
