//! Transport keys and libp2p peer ids are two spellings of one thing; only this module translates.
//!
//! A peer id of an Ed25519 key is an identity multihash, so the key can be read back from it.
//! Peers with any other kind of key are refused.

use libp2p::{PeerId, identity};
use signpost_protocol::PublicKey;

/// The multihash code of "identity": the digest is the key itself.
const IDENTITY_MULTIHASH: u64 = 0;

/// The libp2p name of a transport key; `None` when the bytes are no point of the curve.
pub(super) fn peer_id_of(key: &PublicKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The transport key behind a libp2p name; `None` when it is no Ed25519 key.
pub(super) fn public_key_of(peer: &PeerId) -> Option<PublicKey> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(PublicKey(key.try_into_ed25519().ok()?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_way_there_and_back() {
        let key = identity::ed25519::Keypair::generate().public().to_bytes();
        let peer = peer_id_of(&PublicKey(key)).expect("a valid key");
        assert_eq!(public_key_of(&peer), Some(PublicKey(key)));
    }

    #[test]
    fn other_names_and_bytes_that_are_no_key_are_refused() {
        // A random peer id hashes to an identity multihash of 32 bytes that hold no key.
        assert_eq!(public_key_of(&PeerId::random()), None);
        // y = 2 has no x on the curve.
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert_eq!(peer_id_of(&PublicKey(bytes)), None);
    }
}
