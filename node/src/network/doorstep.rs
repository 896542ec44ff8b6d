//! How many handshakes one source may have under way.
//!
//! A handshake costs a key agreement and a place before we know who asks. The places are few, and
//! without a share for each source one machine that opens connections and says nothing would hold
//! all of them, so that no member could connect any more.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
};

use libp2p::{Multiaddr, multiaddr::Protocol, swarm::ConnectionId};

/// Handshakes of one source under way at one time: an organization's nodes behind one address that
/// all connect at once, each from both ends.
pub(super) const HANDSHAKES_PER_SOURCE_MAX: usize = 8;

/// Inbound connections whose peer is not known yet, by source; see the module.
#[derive(Debug, Default)]
pub(super) struct Doorstep {
    /// Addresses at which members listen: they have no share, only the places of all.
    members: HashSet<IpAddr>,
    waiting: HashMap<ConnectionId, IpAddr>,
}

impl Doorstep {
    /// Replaces the members' addresses.
    pub(super) fn set_members<'a>(&mut self, addresses: impl Iterator<Item = &'a Multiaddr>) {
        self.members = addresses.filter_map(source_of).collect();
    }

    /// Notes a connection that begins; `false` when its source has as many as it may.
    pub(super) fn admit(&mut self, id: ConnectionId, remote: &Multiaddr) -> bool {
        // What has no address is no network: the memory transport of tests.
        let Some(source) = source_of(remote) else { return true };
        let waiting = self.waiting.values().filter(|other| **other == source).count();
        if waiting >= HANDSHAKES_PER_SOURCE_MAX && !self.members.contains(&source) {
            return false;
        }
        self.waiting.insert(id, source);
        true
    }

    /// Notes that a connection stands or has failed.
    pub(super) fn done(&mut self, id: ConnectionId) {
        self.waiting.remove(&id);
    }
}

/// Where a connection comes from: the address, and of IPv6 the network of 64 bits, within which
/// one machine may take any address it likes.
fn source_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_source_has_its_share_and_others_theirs() {
        let mut doorstep = Doorstep::default();
        let silent = from("/ip4/192.0.2.7/tcp/999");
        for id in 0..HANDSHAKES_PER_SOURCE_MAX {
            assert!(doorstep.admit(ConnectionId::new_unchecked(id), &silent));
        }
        assert!(!doorstep.admit(ConnectionId::new_unchecked(100), &silent));
        assert!(doorstep.admit(ConnectionId::new_unchecked(101), &from("/ip4/192.0.2.8/tcp/1")));
        // A refused one took no place; one that has ended makes room.
        doorstep.done(ConnectionId::new_unchecked(100));
        assert!(!doorstep.admit(ConnectionId::new_unchecked(102), &silent));
        doorstep.done(ConnectionId::new_unchecked(0));
        assert!(doorstep.admit(ConnectionId::new_unchecked(103), &silent));
    }

    #[test]
    fn one_network_of_ipv6_is_one_source() {
        let mut doorstep = Doorstep::default();
        for id in 0..HANDSHAKES_PER_SOURCE_MAX {
            let remote = from(&format!("/ip6/2001:db8::{id:x}/tcp/1"));
            assert!(doorstep.admit(ConnectionId::new_unchecked(id), &remote));
        }
        let mut next =
            |address: &str| doorstep.admit(ConnectionId::new_unchecked(200), &from(address));
        assert!(!next("/ip6/2001:db8::ffff:1/tcp/1"));
        assert!(next("/ip6/2001:db8:0:1::1/tcp/1"));
    }

    #[test]
    fn where_members_listen_there_is_no_share() {
        let mut doorstep = Doorstep::default();
        let address = from("/ip4/192.0.2.7/tcp/7701");
        doorstep.set_members([&address].into_iter());
        for id in 0..3 * HANDSHAKES_PER_SOURCE_MAX {
            assert!(doorstep.admit(ConnectionId::new_unchecked(id), &from("/ip4/192.0.2.7/tcp/5")));
        }
        doorstep.set_members(std::iter::empty());
        assert!(!doorstep.admit(ConnectionId::new_unchecked(999), &from("/ip4/192.0.2.7/tcp/5")));
    }
}
