//! Heads spread among members, and only as far as each of them vouches for them.

use signpost_protocol::limits;

use super::*;

/// How often a head is published again while a connection is still being made.
const AGAIN: Duration = Duration::from_millis(200);

impl Node {
    async fn gossip(&mut self) -> (GossipId, PublicKey, PublicKey, Vec<u8>) {
        self.until("gossip", |event| match event {
            NetworkEvent::Gossip { id, from, via, frame } => Some((id, from, via, frame)),
            _ => None,
        })
        .await
    }

    async fn judge(&self, id: GossipId, verdict: Verdict) {
        self.send(NetworkCommand::Judge { id, verdict }).await;
    }
}

/// Publishes until `to` hears it: before they know each other's topics, gossip goes nowhere.
pub(super) async fn publish_until_heard(from: &Node, to: &mut Node, head: &[u8]) -> GossipId {
    let heard = async {
        loop {
            from.send(NetworkCommand::Publish(head.to_vec())).await;
            if let Ok((id, _, _, frame)) = timeout(AGAIN, to.gossip()).await {
                assert_eq!(frame, head);
                return id;
            }
        }
    };
    soon("gossip", heard).await
}

/// A line of three: the ends do not know each other.
async fn line() -> (Node, Node, Node) {
    let (mut a, b, mut c) =
        (Node::start(memory()).await, Node::start(memory()).await, Node::start(memory()).await);
    a.set_members(&[&b]).await;
    b.set_members(&[&a, &c]).await;
    c.set_members(&[&b]).await;
    a.send(NetworkCommand::Connect(b.key)).await;
    c.send(NetworkCommand::Connect(b.key)).await;
    a.connected(true).await;
    c.connected(true).await;
    (a, b, c)
}

/// Publishes new heads at `a` until one has come through `b` to `c`.
async fn warm_up(a: &Node, b: &mut Node, c: &mut Node) {
    for round in 0_u32.. {
        let head = format!("warm-up {round}");
        let id = publish_until_heard(a, b, head.as_bytes()).await;
        b.judge(id, Verdict::Accept).await;
        if let Ok((_, from, via, _)) = timeout(AGAIN, c.gossip()).await {
            assert_eq!((from, via), (a.key, b.key));
            return;
        }
        assert!(round < 100, "no gossip through the middle");
    }
}

#[tokio::test]
async fn an_accepted_head_reaches_the_far_end_and_others_do_not() {
    let (a, mut b, mut c) = line().await;
    warm_up(&a, &mut b, &mut c).await;
    for (head, verdict) in [
        (&b"rejected"[..], Verdict::Reject),
        (b"ignored", Verdict::Ignore),
        (b"accepted", Verdict::Accept),
    ] {
        a.send(NetworkCommand::Publish(head.to_vec())).await;
        let (id, from, via, frame) = b.gossip().await;
        assert_eq!((from, via, frame.as_slice()), (a.key, a.key, head));
        b.judge(id, verdict).await;
    }
    loop {
        let (_, from, via, frame) = c.gossip().await;
        if frame.starts_with(b"warm-up") {
            continue;
        }
        // They were judged in this order, so the others would have come before.
        assert_eq!((from, via, frame.as_slice()), (a.key, b.key, &b"accepted"[..]));
        break;
    }
}

#[tokio::test]
async fn publishing_alone_or_too_much_is_no_fault() {
    let (mut a, mut b) = pair(memory(), memory()).await;
    a.send(NetworkCommand::Publish(b"nobody listens".to_vec())).await;
    exchange(&mut a, &mut b, Plane::Ask, 1).await;
    publish_until_heard(&a, &mut b, b"a first head").await;
    a.send(NetworkCommand::Publish(vec![7; limits::GOSSIP_FRAME_BYTES_MAX + 1])).await;
    let longest = vec![8; limits::GOSSIP_FRAME_BYTES_MAX];
    a.send(NetworkCommand::Publish(longest.clone())).await;
    assert_eq!(b.gossip().await.3, longest, "the one above the cap was not sent");
}

#[tokio::test]
async fn the_oldest_heads_give_way_when_the_core_does_not_judge() {
    const MORE_THAN_KEPT: u32 = 300;
    let (a, mut b, mut c) = line().await;
    warm_up(&a, &mut b, &mut c).await;
    let mut ids = Vec::new();
    for number in 0..MORE_THAN_KEPT {
        a.send(NetworkCommand::Publish(format!("head {number}").into_bytes())).await;
        ids.push(b.gossip().await.0);
    }
    // The first is forgotten and stays here; the last still waits.
    b.judge(ids[0], Verdict::Accept).await;
    b.judge(*ids.last().expect("not empty"), Verdict::Accept).await;
    loop {
        let frame = c.gossip().await.3;
        if !frame.starts_with(b"warm-up") {
            assert_eq!(frame, format!("head {}", MORE_THAN_KEPT - 1).into_bytes());
            break;
        }
    }
}
