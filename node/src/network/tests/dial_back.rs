//! Trying a stranger's address from outside: what can be told, and that nothing else comes of it.

use std::{
    io::Write as _,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use super::*;
use crate::network::dial_back::DIAL_BACKS_MAX;

impl Node {
    pub(super) async fn dial_back(
        &mut self,
        peer: PublicKey,
        address: &Multiaddr,
    ) -> Result<(), String> {
        let address = address.clone();
        self.send(NetworkCommand::DialBack { token: 7, peer, address }).await;
        self.dialled_back(7).await
    }

    async fn dialled_back(&mut self, token: u64) -> Result<(), String> {
        self.until("dial-back", |event| match event {
            NetworkEvent::DialBack { token: found, result } if found == token => Some(result),
            _ => None,
        })
        .await
    }
}

/// A socket that accepts, as far as anybody outside can tell, and the address it listens at.
fn socket() -> (TcpListener, Multiaddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    (socket, format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address"))
}

#[tokio::test]
async fn an_open_port_is_found_and_nothing_is_exchanged() {
    let frames = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&frames);
    let tap: FrameTap = Arc::new(move |_| *counted.lock().expect("no holder panicked") += 1);
    let mut member = Node::start(NetworkConfig { tap: Some(tap), ..tcp() }).await;
    let mut stranger = Node::start(tcp()).await;
    // It believes that the other is a member, so it takes the connection for a member's.
    stranger.set_members(&[&member]).await;
    for _ in 0..3 {
        assert_eq!(member.dial_back(stranger.key, &stranger.address).await, Ok(()));
    }
    assert_eq!(*frames.lock().expect("no holder panicked"), 0);
    assert!(!stranger.waits(|event| matches!(event, NetworkEvent::Request { .. })));
    assert!(!member.waits(|_| true), "a dial-back is reported by its outcome alone");
    // It opened no door: the stranger still is one.
    member.send(NetworkCommand::Connect(stranger.key)).await;
    let failed = member
        .until("failure", |event| match event {
            NetworkEvent::DialFailed { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await;
    assert_eq!(failed, (stranger.key, "the peer is not a member".to_owned()));
}

#[tokio::test]
async fn why_an_address_cannot_be_reached_is_said() {
    let mut member = Node::start(tcp()).await;
    let (stranger, other) = (Node::start(tcp()).await, Node::start(tcp()).await);

    let (closed, nobody) = socket();
    drop(closed);
    let reason = member.dial_back(stranger.key, &nobody).await.expect_err("nobody listens");
    assert_eq!(reason, "connection refused: nothing listens there, or a firewall says no");

    let reason = member.dial_back(stranger.key, &other.address).await.expect_err("the wrong one");
    assert_eq!(reason, "another key answered");

    let own = member.address.clone();
    let reason = member.dial_back(stranger.key, &own).await.expect_err("its own address");
    assert_eq!(reason, "that is an address of the node that was asked");

    let elsewhere = "/memory/1".parse().expect("an address");
    let reason = member.dial_back(stranger.key, &elsewhere).await.expect_err("no TCP");
    assert_eq!(reason, "only addresses such as /ip4/192.0.2.1/tcp/4001 can be reached");

    let mut no_point = [0; 32];
    no_point[0] = 2;
    let reason = member.dial_back(PublicKey(no_point), &other.address).await;
    assert_eq!(reason, Err("the key is no Ed25519 key".to_owned()));

    let (silent, address) = socket();
    let reason = member.dial_back(stranger.key, &address).await.expect_err("silence");
    assert!(reason.starts_with("timed out: a firewall in between"), "{reason}");
    drop(silent);

    let (web, address) = socket();
    let served = thread::spawn(move || {
        let (mut stream, _) = web.accept().expect("a connection");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
    });
    let reason = member.dial_back(stranger.key, &address).await.expect_err("a web server");
    assert_eq!(reason, "connected, but what listens there is no Signpost node");
    served.join().expect("it served");

    assert_eq!(member.dial_back(stranger.key, &stranger.address).await, Ok(()));
}

#[tokio::test]
async fn dial_backs_under_way_are_bounded() {
    let mut member = Node::start(tcp()).await;
    let stranger = Node::start(tcp()).await;
    let (_silent, address) = socket();
    let tokens = 100..100 + DIAL_BACKS_MAX as u64;
    for token in tokens.clone() {
        let (peer, address) = (stranger.key, address.clone());
        member.send(NetworkCommand::DialBack { token, peer, address }).await;
    }
    let busy = member.dial_back(stranger.key, &stranger.address).await.expect_err("one too many");
    assert_eq!(busy, "too many dial-backs are under way; try again in some seconds");
    for token in tokens {
        let reason = member.dialled_back(token).await.expect_err("silence");
        assert!(reason.starts_with("timed out"), "{reason}");
    }
    // The places are free when the attempts have really ended.
    let free = async {
        while member.dial_back(stranger.key, &stranger.address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    soon("free place", free).await;
}

#[tokio::test]
async fn a_dial_back_to_a_member_leaves_its_connection_alone() {
    let (mut a, mut b) = pair(tcp(), tcp()).await;
    a.ask(1, b.key, Plane::Ask, b"question").await;
    let (_, _, id, _) = b.request().await;
    assert_eq!(a.dial_back(b.key, &b.address.clone()).await, Ok(()));
    let (closed, nobody) = socket();
    drop(closed);
    assert!(a.dial_back(b.key, &nobody).await.is_err());
    b.reply(id, b"reply").await;
    let outcome = a
        .until("response", |event| match event {
            NetworkEvent::Disconnected { .. } => panic!("the connection was closed"),
            NetworkEvent::DialFailed { .. } => panic!("a dial-back counts as a member's failure"),
            NetworkEvent::Response { result, .. } => Some(result),
            _ => None,
        })
        .await;
    assert_eq!(outcome, Ok(b"reply".to_vec()));
}
