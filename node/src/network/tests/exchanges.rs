//! Requests and replies among members, and what becomes of those that fail.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
};

use super::*;

#[tokio::test]
async fn members_exchange_every_plane_both_ways_over_tcp() {
    let (mut a, mut b) = pair(tcp(), tcp()).await;
    // Both at once: each side's attempt must be fit to stand beside the other's.
    a.send(NetworkCommand::Connect(b.key)).await;
    b.send(NetworkCommand::Connect(a.key)).await;
    assert_eq!(a.connected(true).await, b.key);
    assert_eq!(b.connected(true).await, a.key);
    for (token, plane) in (0..).zip(Plane::ALL) {
        exchange(&mut a, &mut b, plane, token).await;
        exchange(&mut b, &mut a, plane, token).await;
    }
}

#[tokio::test]
async fn a_request_connects_by_itself_and_carries_frames_up_to_the_cap() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    for (token, plane) in (0..).zip(Plane::ALL) {
        a.ask(token, b.key, plane, &vec![7; plane.request_bytes_max()]).await;
        let (_, _, id, frame) = b.request().await;
        assert_eq!(frame.len(), plane.request_bytes_max());
        b.reply(id, &vec![8; plane.reply_bytes_max()]).await;
        assert_eq!(a.response(token).await.map(|reply| reply.len()), Ok(plane.reply_bytes_max()));
    }
}

#[tokio::test]
async fn a_frame_above_the_cap_leaves_neither_as_request_nor_as_reply() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    for (token, plane) in (0..).zip(Plane::ALL) {
        a.ask(token, b.key, plane, &vec![7; plane.request_bytes_max() + 1]).await;
        let failure = a.response(token).await.expect_err("too long");
        assert!(matches!(failure, RequestFailure::TooLong { what: "request", .. }), "{failure}");
    }
    a.ask(9, b.key, Plane::Ask, b"question").await;
    let (_, _, id, frame) = b.request().await;
    assert_eq!(frame, b"question", "none of the long ones arrived");
    b.reply(id, &vec![8; Plane::Ask.reply_bytes_max() + 1]).await;
    assert_eq!(a.response(9).await, Err(RequestFailure::Refused));
}

#[tokio::test]
async fn a_refused_request_says_so_and_an_unanswered_one_times_out() {
    let mut hurried = memory();
    hurried.request_timeout = Some(Duration::from_secs(3));
    let (mut a, mut b) = pair(hurried, memory()).await;
    a.ask(1, b.key, Plane::Evaluate, b"question").await;
    let (_, _, id, _) = b.request().await;
    b.send(NetworkCommand::Refuse { id }).await;
    assert_eq!(a.response(1).await, Err(RequestFailure::Refused));

    a.ask(2, b.key, Plane::Evaluate, b"question").await;
    let (_, _, id, _) = b.request().await;
    assert_eq!(a.response(2).await, Err(RequestFailure::Timeout));
    // Too late, and without effect.
    b.reply(id, b"reply").await;
    a.ask(3, b.key, Plane::Evaluate, b"question").await;
    let (_, _, id, _) = b.request().await;
    b.reply(id, b"in time").await;
    assert_eq!(a.response(3).await, Ok(b"in time".to_vec()));
}

#[tokio::test]
async fn a_member_that_cannot_be_reached_is_named_with_the_reason() {
    let (mut a, b) = pair(tcp(), tcp()).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    drop(taken);
    let closed = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");

    a.send(NetworkCommand::SetMembers(vec![Member { key: b.key, addresses: vec![closed] }])).await;
    a.ask(1, b.key, Plane::Ask, b"question").await;
    let failure = a.response(1).await.expect_err("nobody listens").to_string();
    assert!(failure.starts_with("the peer cannot be reached: /ip4/127.0.0.1/tcp/"), "{failure}");
    assert!(failure.contains("refused"), "{failure}");

    a.send(NetworkCommand::SetMembers(vec![Member { key: b.key, addresses: Vec::new() }])).await;
    a.ask(2, b.key, Plane::Ask, b"question").await;
    let unreachable = |reason: &str| Err(RequestFailure::Unreachable(reason.to_owned()));
    assert_eq!(a.response(2).await, unreachable("no address is known"));
    a.send(NetworkCommand::Connect(b.key)).await;
    let failed = a
        .until("failure", |event| match event {
            NetworkEvent::DialFailed { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await;
    assert_eq!(failed, (b.key, "no address is known".to_owned()));

    a.set_members(&[]).await;
    a.ask(3, b.key, Plane::Ask, b"question").await;
    assert_eq!(a.response(3).await, unreachable("the peer is not a member"));
}

#[tokio::test]
async fn another_node_at_a_members_address_is_no_substitute() {
    let (mut a, b) = pair(tcp(), tcp()).await;
    let c = Node::start(tcp()).await;
    a.send(NetworkCommand::SetMembers(vec![Member {
        key: b.key,
        addresses: vec![c.address.clone()],
    }]))
    .await;
    a.ask(1, b.key, Plane::Hello, b"question").await;
    let failure = a.response(1).await.expect_err("the wrong node").to_string();
    assert!(failure.contains("another key answers at"), "{failure}");
}

#[tokio::test]
async fn requests_under_way_to_one_peer_are_bounded() {
    const PLACES: u64 = 96;
    let (mut a, mut b) = pair(memory(), memory()).await;
    for token in 0..=PLACES {
        a.ask(token, b.key, Plane::Ask, b"question").await;
    }
    assert_eq!(a.response(PLACES).await, Err(RequestFailure::Busy));
    for _ in 0..PLACES {
        let (_, _, id, _) = b.request().await;
        b.reply(id, b"reply").await;
    }
    for _ in 0..PLACES {
        let result = a
            .until("response", |event| match event {
                NetworkEvent::Response { result, .. } => Some(result),
                _ => None,
            })
            .await;
        assert_eq!(result, Ok(b"reply".to_vec()));
    }
    exchange(&mut a, &mut b, Plane::Ask, 99).await;
}

#[tokio::test]
async fn a_core_that_sends_without_reading_is_not_locked_out() {
    const COMMANDS: u64 = 2_000;
    let mut a = Node::start(memory()).await;
    let nobody = PublicKey([0x33; 32]);
    // Each yields an event at once: far more than both queues hold.
    for token in 0..COMMANDS {
        a.ask(token, nobody, Plane::Ask, b"question").await;
    }
    for token in 0..COMMANDS {
        assert!(a.response(token).await.is_err());
    }
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let expected = format!("cannot listen on {address}: address already in use");
    let start =
        || spawn(config(Transport::Tcp, &address)).map(drop).map_err(|error| error.to_string());
    assert_eq!(start(), Err(expected.clone()));
    drop(taken);

    // Another node shares its port on the system's level, and still it is taken.
    let first = Node::start(config(Transport::Tcp, &address)).await;
    assert_eq!(start(), Err(expected));
    first.handle.shutdown().await;
    Node::start(config(Transport::Tcp, &address)).await;
}

#[tokio::test]
async fn addresses_that_no_transport_serves_are_refused() {
    for address in ["/ip4/127.0.0.1/udp/4001/quic-v1", "/memory/1"] {
        let error = spawn(config(Transport::Tcp, address)).expect_err("not TCP").to_string();
        assert!(error.ends_with("addresses of this kind are not supported"), "{error}");
    }
    let error = spawn(config(Transport::Tcp, "/ip4/192.0.2.1/tcp/4001")).expect_err("not ours");
    assert!(error.to_string().ends_with("this machine has no such address"), "{error}");
}

#[tokio::test]
async fn shutting_down_closes_connections_and_ends_the_events() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    exchange(&mut a, &mut b, Plane::Hello, 1).await;
    b.handle.shutdown().await;
    b.handle.shutdown().await;
    assert_eq!(a.disconnected(true).await, b.key);
    assert_eq!(b.handle.send(NetworkCommand::Connect(a.key)).await, Err(NetworkClosed));

    let Node { handle, mut events, .. } = a;
    drop(handle);
    soon("end", async { while events.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn the_tap_sees_every_frame_at_both_ends() {
    type Seen = Arc<Mutex<Vec<(Traffic, Direction, Vec<u8>)>>>;
    let tapped = |seen: &Seen| {
        let seen = Arc::clone(seen);
        let tap: FrameTap = Arc::new(move |frame: FrameSeen<'_>| {
            let mut seen = seen.lock().expect("no holder panicked");
            seen.push((frame.traffic, frame.direction, frame.bytes.to_vec()));
        });
        NetworkConfig { tap: Some(tap), ..memory() }
    };
    let (at_a, at_b) = (Seen::default(), Seen::default());
    let (mut a, mut b) = pair(tapped(&at_a), tapped(&at_b)).await;
    for (token, plane) in (0..).zip(Plane::ALL) {
        exchange(&mut a, &mut b, plane, token).await;
    }
    gossip::publish_until_heard(&a, &mut b, b"head").await;

    for plane in Plane::ALL {
        for (seen, asks, replies) in
            [(&at_a, Direction::Out, Direction::In), (&at_b, Direction::In, Direction::Out)]
        {
            let seen = seen.lock().expect("no holder panicked");
            let traffic = Traffic::Exchange(plane);
            assert!(seen.contains(&(traffic, asks, b"question".to_vec())));
            assert!(seen.contains(&(traffic, replies, b"reply".to_vec())));
            assert_eq!(seen.iter().filter(|frame| frame.0 == traffic).count(), 2);
        }
    }
    for (seen, direction) in [(&at_a, Direction::Out), (&at_b, Direction::In)] {
        let seen = seen.lock().expect("no holder panicked");
        assert!(seen.contains(&(Traffic::Gossip, direction, b"head".to_vec())));
    }
}
