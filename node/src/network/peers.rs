//! Transport keys and libp2p peer ids are two spellings of one thing; only this module translates.
//!
//! A peer id of an Ed25519 key is an identity multihash, so the key can be read back from it.
//! Peers with any other kind of key are refused.

use libp2p::{Multiaddr, PeerId, identity, multiaddr::Protocol};
use signpost_protocol::PublicKey;

use super::Member;

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

/// Why a text is no address with a peer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} does not say where a node is: {rule}")]
pub struct PeerAddressError {
    /// The text.
    pub address: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// The address of a node with its name, as invitations have it:
/// `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..`. `None` when the key is no point of the curve, or the
/// address ends in another node's name.
#[must_use]
pub fn peer_address(key: &PublicKey, address: &Multiaddr) -> Option<Multiaddr> {
    address.clone().with_p2p(peer_id_of(key)?).ok()
}

/// The nodes behind such addresses, in the order in which they are named first, each with all its
/// addresses: what a node that is to join starts its network with.
///
/// # Errors
/// At the first text that is no address with the name of a node.
pub fn members_at<'a>(
    addresses: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Member>, PeerAddressError> {
    let mut members: Vec<Member> = Vec::new();
    for text in addresses {
        let (key, address) =
            split(text).map_err(|rule| PeerAddressError { address: text.to_owned(), rule })?;
        match members.iter_mut().find(|member| member.key == key) {
            Some(member) => member.addresses.push(address),
            None => members.push(Member { key, addresses: vec![address] }),
        }
    }
    Ok(members)
}

fn split(text: &str) -> Result<(PublicKey, Multiaddr), &'static str> {
    let mut address: Multiaddr = text.parse().map_err(|_| "it is no multiaddr")?;
    let Some(Protocol::P2p(peer)) = address.pop() else {
        return Err("it must end in /p2p/ and a peer id");
    };
    let key = public_key_of(&peer).ok_or("its peer id must be one of an Ed25519 key")?;
    if address.is_empty() {
        return Err("an address must stand before /p2p/");
    }
    Ok((key, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PublicKey {
        PublicKey(identity::ed25519::Keypair::generate().public().to_bytes())
    }

    #[test]
    fn addresses_with_names_lead_to_members() {
        let (first, second) = (key(), key());
        let at = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let [a, b] = [at("/ip4/192.0.2.1/tcp/4001"), at("/ip6/2001:db8::1/tcp/4001")];
        let texts = [(first, &a), (second, &a), (first, &b)]
            .map(|(key, at)| peer_address(&key, at).expect("a key").to_string());
        let members = members_at(texts.iter().map(String::as_str)).expect("addresses");
        let expected = [
            Member { key: first, addresses: vec![a.clone(), b] },
            Member { key: second, addresses: vec![a.clone()] },
        ];
        assert_eq!(members, expected);
        // A name is not put behind another's.
        let named = peer_address(&first, &a).expect("a key");
        assert_eq!(peer_address(&second, &named), None);
    }

    #[test]
    fn an_address_without_a_name_leads_nowhere() {
        let named = peer_address(&key(), &Multiaddr::empty()).expect("a key").to_string();
        let other_key = format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", PeerId::random());
        for (text, rule) in [
            ("", "it must end in /p2p/ and a peer id"),
            ("192.0.2.1:4001", "it is no multiaddr"),
            ("/ip4/192.0.2.1/tcp/4001", "it must end in /p2p/ and a peer id"),
            (&other_key, "its peer id must be one of an Ed25519 key"),
            (&named, "an address must stand before /p2p/"),
        ] {
            let error = members_at([text]).expect_err(text);
            assert_eq!(error, PeerAddressError { address: text.to_owned(), rule });
        }
    }

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
