//! A peer that is no member gets `hello`, little of it, and nothing else.

use libp2p::{
    StreamProtocol,
    gossipsub::{self, IdentTopic},
    request_response::OutboundFailure,
    swarm::SwarmEvent,
};

use super::{
    hostile::{Raw, RawBehaviourEvent, peer},
    *,
};
use crate::network::{gate::STRANGER_HELLOS_MAX, plane::gossip_name};

const MEMBERS_ONLY: [Plane; 4] = [Plane::Ask, Plane::Evaluate, Plane::Digests, Plane::Roster];

/// A member that knows one other, and a stranger that believes itself a member.
async fn member_and_stranger(make: fn() -> NetworkConfig) -> (Node, Node, Node) {
    let (member, mut other) = pair(make(), make()).await;
    other.send(NetworkCommand::Connect(member.key)).await;
    other.connected(true).await;
    let stranger = Node::start(make()).await;
    stranger.set_members(&[&member]).await;
    (member, other, stranger)
}

#[tokio::test]
async fn a_stranger_gets_hello_and_nothing_else() {
    let (mut member, mut other, mut stranger) = member_and_stranger(tcp).await;
    exchange(&mut stranger, &mut member, Plane::Hello, 1).await;
    for (token, plane) in (2..).zip(MEMBERS_ONLY) {
        stranger.ask(token, member.key, plane, b"question").await;
        assert_eq!(stranger.response(token).await, Err(RequestFailure::Unsupported));
    }
    // Its gossip goes nowhere, and none comes to it: a hello later, there is nothing.
    stranger.send(NetworkCommand::Publish(b"a stranger's head".to_vec())).await;
    gossip::publish_until_heard(&member, &mut other, b"a member's head").await;
    stranger.ask(9, member.key, Plane::Hello, b"question").await;
    let (id, gossiped) = member
        .until("hello", {
            let mut gossiped = false;
            move |event| match event {
                NetworkEvent::Request { id, .. } => Some((id, gossiped)),
                event => {
                    gossiped |= matches!(event, NetworkEvent::Gossip { .. });
                    None
                }
            }
        })
        .await;
    assert!(!gossiped, "a stranger's gossip arrived");
    member.reply(id, b"reply").await;
    let heard = stranger
        .until("reply", |event| match event {
            NetworkEvent::Gossip { .. } => Some(true),
            NetworkEvent::Response { token: 9, .. } => Some(false),
            _ => None,
        })
        .await;
    assert!(!heard, "a stranger heard gossip");
    assert!(!stranger.waits(|event| matches!(event, NetworkEvent::Gossip { .. })));
}

#[tokio::test]
async fn a_stranger_never_asks_the_core_and_the_core_cannot_ask_it() {
    let (mut member, _other, mut stranger) = member_and_stranger(memory).await;
    stranger.ask(1, member.key, Plane::Ask, b"question").await;
    assert_eq!(stranger.response(1).await, Err(RequestFailure::Unsupported));
    assert_eq!(member.connected(false).await, stranger.key);
    member.ask(1, stranger.key, Plane::Hello, b"question").await;
    let not_a_member = RequestFailure::Unreachable("the peer is not a member".to_owned());
    let outcome = member
        .until("response", |event| match event {
            NetworkEvent::Request { .. } => panic!("a stranger's request reached the core"),
            NetworkEvent::Response { result, .. } => Some(result),
            _ => None,
        })
        .await;
    assert_eq!(outcome, Err(not_a_member));
}

#[tokio::test]
async fn the_negotiation_with_a_stranger_offers_no_protocol_but_hello() {
    let node = Node::start(memory()).await;
    let topic = IdentTopic::new(gossip_name(&NETWORK));
    let names = [
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/ping/1.0.0",
        "/meshsub/1.1.0",
        "/floodsub/1.0.0",
        "/libp2p/autonat/1.0.0",
        "/ipfs/kad/1.0.0",
    ];
    let names = names.into_iter().map(StreamProtocol::new);
    let ours = MEMBERS_ONLY
        .into_iter()
        .map(|plane| plane.protocol(&NETWORK))
        .chain([StreamProtocol::try_from_owned(gossip_name(&NETWORK)).expect("a name")]);
    for protocol in names.chain(ours) {
        let mut raw = Raw::start(protocol.clone(), gossip_name(&NETWORK));
        raw.swarm.behaviour_mut().gossip.subscribe(&topic).expect("a topic");
        let id = raw.send(&node, b"anything");
        let outcome = raw.outcome(id).await;
        assert!(
            matches!(outcome, Err(OutboundFailure::UnsupportedProtocols)),
            "{protocol}: {outcome:?}"
        );
    }
    let mut raw = Raw::start(Plane::Hello.protocol(&NETWORK), gossip_name(&NETWORK));
    raw.swarm.dial(node.address.clone()).expect("dials");
    loop {
        match raw.next().await {
            SwarmEvent::Behaviour(RawBehaviourEvent::Gossip(
                gossipsub::Event::GossipsubNotSupported { peer_id },
            )) => {
                assert_eq!(peer_id, peer(&node));
                break;
            }
            SwarmEvent::Behaviour(RawBehaviourEvent::Gossip(event)) => {
                panic!("{event:?}: gossip with a stranger")
            }
            _ => {}
        }
    }
}

/// Waits until the stranger's connection has ended at both ends; no request may come meanwhile.
async fn ended(node: &mut Node, raw: &mut Raw) {
    let (key, peer) = (raw.key, peer(node));
    let gone = async {
        while raw.swarm.is_connected(&peer) {
            raw.next().await;
        }
    };
    let left = node.until("end of the connection", |event| match event {
        NetworkEvent::Request { .. } => panic!("a hello too many reached the core"),
        NetworkEvent::Disconnected { peer, .. } => Some(peer),
        _ => None,
    });
    assert_eq!(tokio::join!(left, gone).0, key);
}

#[tokio::test]
async fn a_strangers_hellos_are_counted_and_its_connection_ends() {
    let mut node = Node::start(memory()).await;
    let mut raw = Raw::start(Plane::Hello.protocol(&NETWORK), "/none");
    for _ in 0..STRANGER_HELLOS_MAX {
        let id = raw.send(&node, b"\0\0\0\x05hello");
        let serve = async {
            let (from, plane, request, frame) = node.request().await;
            assert_eq!((plane, frame.as_slice()), (Plane::Hello, &b"hello"[..]));
            node.reply(request, b"reply").await;
            from
        };
        let (from, reply) = tokio::join!(serve, raw.outcome(id));
        assert_eq!((from, reply.expect("a reply")), (raw.key, b"\0\0\0\x05reply".to_vec()));
    }
    let id = raw.send(&node, b"\0\0\0\x05hello");
    assert_ne!(raw.outcome(id).await.unwrap_or_default(), b"\0\0\0\x05reply");
    ended(&mut node, &mut raw).await;
}

#[tokio::test]
async fn a_strangers_connection_ends_by_itself() {
    let mut node = Node::start(memory()).await;
    let mut raw = Raw::start(Plane::Hello.protocol(&NETWORK), "/none");
    raw.swarm.dial(node.address.clone()).expect("dials");
    while !matches!(raw.next().await, SwarmEvent::ConnectionEstablished { .. }) {}
    // The raw node would keep it for as long as the test's patience.
    ended(&mut node, &mut raw).await;
}

#[tokio::test]
async fn strangers_share_a_few_connections_and_leave_the_rest_to_members() {
    use crate::network::gate::STRANGER_CONNECTIONS_MAX;
    let (mut member, mut other) = pair(memory(), memory()).await;
    let mut strangers = Vec::new();
    for _ in 0..STRANGER_CONNECTIONS_MAX {
        let mut raw = Raw::start(Plane::Hello.protocol(&NETWORK), "/none");
        raw.swarm.dial(member.address.clone()).expect("dials");
        while !matches!(raw.next().await, SwarmEvent::ConnectionEstablished { .. }) {}
        strangers.push(raw);
    }
    for _ in 0..STRANGER_CONNECTIONS_MAX {
        member.connected(false).await;
    }
    let mut raw = Raw::start(Plane::Hello.protocol(&NETWORK), "/none");
    raw.swarm.dial(member.address.clone()).expect("dials");
    // Denied peers see a connection that stands and is closed at once.
    while !matches!(raw.next().await, SwarmEvent::ConnectionClosed { .. }) {}
    other.ask(1, member.key, Plane::Ask, b"question").await;
    let id = member
        .until("request", |event| match event {
            NetworkEvent::Connected { member: false, .. } => panic!("one stranger too many"),
            NetworkEvent::Request { id, .. } => Some(id),
            _ => None,
        })
        .await;
    member.reply(id, b"reply").await;
    assert_eq!(other.response(1).await, Ok(b"reply".to_vec()));
}

#[tokio::test]
async fn a_removed_member_is_cut_off_and_a_welcomed_stranger_comes_back_as_member() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    exchange(&mut a, &mut b, Plane::Ask, 1).await;

    // `b` learns that `a` is no member any more; `a` has not heard.
    b.set_members(&[]).await;
    assert_eq!(b.disconnected(true).await, a.key);
    assert_eq!(a.disconnected(true).await, b.key);
    a.ask(2, b.key, Plane::Ask, b"question").await;
    assert_eq!(a.response(2).await, Err(RequestFailure::Unsupported));
    exchange(&mut a, &mut b, Plane::Hello, 3).await;

    // Welcomed again while still connected as a stranger.
    b.set_members(&[&a]).await;
    assert_eq!(b.disconnected(false).await, a.key);
    assert_eq!(a.disconnected(true).await, b.key);
    exchange(&mut a, &mut b, Plane::Ask, 4).await;
    exchange(&mut b, &mut a, Plane::Digests, 5).await;
}

#[tokio::test]
async fn a_welcomed_stranger_can_be_asked_before_its_old_connection_is_gone() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    b.set_members(&[]).await;
    for token in 0..5 {
        exchange(&mut a, &mut b, Plane::Hello, token).await;
        b.set_members(&[&a]).await;
        exchange(&mut b, &mut a, Plane::Ask, token).await;
        b.set_members(&[]).await;
        a.disconnected(true).await;
    }
}
