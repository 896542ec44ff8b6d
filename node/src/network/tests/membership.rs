//! Members change while connections stand and requests are under way.

use super::*;

fn at(key: PublicKey, address: &Multiaddr) -> Member {
    Member { key, addresses: vec![address.clone()] }
}

#[tokio::test]
async fn a_removed_members_requests_end_at_once_and_another_members_go_on() {
    let (mut a, mut removed, mut stays) =
        (Node::start(memory()).await, Node::start(memory()).await, Node::start(memory()).await);
    a.set_members(&[&removed, &stays]).await;
    removed.set_members(&[&a]).await;
    stays.set_members(&[&a]).await;
    // One request each way with both, none of them answered yet.
    let mut waiting = Vec::new();
    for (token, node) in [(1, &mut removed), (2, &mut stays)] {
        a.ask(token, node.key, Plane::Roster, b"question").await;
        let theirs = node.request().await.2;
        node.ask(token, a.key, Plane::Roster, b"question").await;
        waiting.push((theirs, a.request().await.2));
    }

    a.set_members(&[&stays]).await;
    assert_eq!(a.cut_off(1).await, (Err(RequestFailure::Closed), removed.key));
    // The core's answer comes too late, and does not leave any more.
    a.reply(waiting[0].1, b"reply").await;
    let (outcome, peer) = removed.cut_off(1).await;
    assert!(outcome.is_err() && peer == a.key, "{outcome:?}");

    a.reply(waiting[1].1, b"reply").await;
    stays.reply(waiting[1].0, b"reply").await;
    assert_eq!(stays.response(2).await, Ok(b"reply".to_vec()));
    let outcome = a
        .until("response", |event| match event {
            NetworkEvent::Disconnected { .. } => panic!("a member's connection was closed"),
            NetworkEvent::Response { token, result, .. } => Some((token, result)),
            _ => None,
        })
        .await;
    assert_eq!(outcome, (2, Ok(b"reply".to_vec())), "the removed member's request ended twice");
}

#[tokio::test]
async fn a_strangers_hello_outlasts_a_change_of_members() {
    let (mut member, mut stranger) = (Node::start(memory()).await, Node::start(memory()).await);
    let other = Node::start(memory()).await;
    stranger.set_members(&[&member]).await;
    stranger.ask(1, member.key, Plane::Hello, b"question").await;
    let (_, _, id, _) = member.request().await;
    member.set_members(&[&other]).await;
    member.reply(id, b"reply").await;
    assert_eq!(stranger.response(1).await, Ok(b"reply".to_vec()));
}

#[tokio::test]
async fn who_remains_a_member_keeps_its_connection_whatever_else_changes() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    let (c, d) = (Node::start(memory()).await, Node::start(memory()).await);
    exchange(&mut a, &mut b, Plane::Ask, 1).await;
    for members in [[&b, &c], [&b, &d], [&c, &b]] {
        a.set_members(&members).await;
    }
    let moved = "/memory/9".parse().expect("an address");
    a.send(NetworkCommand::SetMembers(vec![at(b.key, &moved)])).await;
    a.ask(2, b.key, Plane::Ask, b"question").await;
    let id = b
        .until("request", |event| match event {
            NetworkEvent::Connected { .. } | NetworkEvent::Disconnected { .. } => {
                panic!("{event:?}: the connection did not stay")
            }
            NetworkEvent::Request { id, .. } => Some(id),
            _ => None,
        })
        .await;
    b.reply(id, b"reply").await;
    assert_eq!(a.response(2).await, Ok(b"reply".to_vec()));
}

#[tokio::test]
async fn a_new_address_is_used_at_the_next_dial_and_an_old_one_is_not() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    exchange(&mut a, &mut b, Plane::Ask, 1).await;
    let nobody = "/memory/18446744073709551615".parse().expect("an address");
    a.send(NetworkCommand::SetMembers(vec![at(b.key, &nobody)])).await;
    a.send(NetworkCommand::Disconnect(b.key)).await;
    a.disconnected(true).await;
    a.ask(2, b.key, Plane::Ask, b"question").await;
    let failure = a.response(2).await.expect_err("nobody listens there").to_string();
    assert!(failure.contains("/memory/18446744073709551615"), "{failure}");

    a.send(NetworkCommand::SetMembers(vec![at(b.key, &b.address)])).await;
    exchange(&mut a, &mut b, Plane::Ask, 3).await;
}

#[tokio::test]
async fn a_node_whose_key_changes_is_reached_by_the_new_one_and_not_by_the_old() {
    let mut a = Node::start(tcp()).await;
    let mut old = Node::start(tcp()).await;
    let address = old.address.clone();
    a.set_members(&[&old]).await;
    old.set_members(&[&a]).await;
    exchange(&mut a, &mut old, Plane::Ask, 1).await;

    // Both keys are valid for a while; the node comes back with the new one.
    let next = config(Transport::Tcp, &address.to_string());
    let new_key = Keypair::ed25519_from_bytes(*next.transport_secret).expect("any seed is a key");
    let new_key = peers::public_key_of(&new_key.public().to_peer_id()).expect("an Ed25519 key");
    let both = vec![at(old.key, &address), at(new_key, &address)];
    a.send(NetworkCommand::SetMembers(both)).await;
    exchange(&mut a, &mut old, Plane::Ask, 2).await;
    old.handle.shutdown().await;
    assert_eq!(a.disconnected(true).await, old.key);
    let mut new = Node::start(next).await;
    assert_eq!(new.key, new_key);
    new.set_members(&[&a]).await;
    exchange(&mut a, &mut new, Plane::Ask, 3).await;
    a.ask(4, old.key, Plane::Ask, b"question").await;
    let failure = a.response(4).await.expect_err("the key is gone").to_string();
    assert!(failure.contains("another key answers at"), "{failure}");

    // The old key is over; the new one's connection stands.
    a.send(NetworkCommand::SetMembers(vec![at(new_key, &address)])).await;
    a.ask(5, old.key, Plane::Ask, b"question").await;
    let not_a_member = RequestFailure::Unreachable("the peer is not a member".to_owned());
    assert_eq!(a.response(5).await, Err(not_a_member));
    exchange(&mut new, &mut a, Plane::Ask, 6).await;
    assert!(!a.waits(|event| matches!(event, NetworkEvent::Disconnected { .. })));
}
