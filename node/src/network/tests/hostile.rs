//! A member that breaks the rules of framing, built from bare libp2p.

use std::{collections::VecDeque, io};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    PeerId, StreamProtocol,
    request_response::{self, Message, OutboundFailure, OutboundRequestId, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
};

use super::*;

/// Writes bytes as they are. A message that begins with [`HANG`] is written without that byte,
/// and the stream is then held open.
#[derive(Clone, Default)]
pub(super) struct RawCodec;

const HANG: u8 = 0xee;

async fn write<T: AsyncWrite + Unpin>(io: &mut T, message: &[u8]) -> io::Result<()> {
    match message.split_first() {
        Some((&HANG, rest)) => {
            io.write_all(rest).await?;
            io.flush().await?;
            std::future::pending().await
        }
        _ => {
            io.write_all(message).await?;
            io.flush().await
        }
    }
}

async fn read<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    io.read_to_end(&mut message).await?;
    Ok(message)
}

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        m: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &m).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        m: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &m).await
    }
}

#[derive(NetworkBehaviour)]
pub(super) struct RawBehaviour {
    pub(super) exchange: request_response::Behaviour<RawCodec>,
    pub(super) gossip: libp2p::gossipsub::Behaviour,
}

/// A node outside our rules: it speaks one exchange in raw bytes, and gossip.
pub(super) struct Raw {
    pub(super) swarm: Swarm<RawBehaviour>,
    pub(super) key: PublicKey,
    /// What to reply to requests, first come first served.
    replies: VecDeque<Vec<u8>>,
}

impl Raw {
    pub(super) fn start(protocol: StreamProtocol, gossip: impl Into<String>) -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let carrier = transport::build(Transport::Memory, &keypair).expect("a usable key");
        let gossip_config = libp2p::gossipsub::ConfigBuilder::default()
            .protocol_id(gossip.into(), libp2p::gossipsub::Version::V1_1)
            .build()
            .expect("the settings fit");
        let authenticity = libp2p::gossipsub::MessageAuthenticity::Signed(keypair);
        let behaviour = RawBehaviour {
            exchange: request_response::Behaviour::new(
                [(protocol, ProtocolSupport::Full)],
                request_response::Config::default(),
            ),
            gossip: libp2p::gossipsub::Behaviour::new(authenticity, gossip_config)
                .expect("the settings fit"),
        };
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(10 * PATIENCE);
        let mut swarm = Swarm::new(carrier, behaviour, peer, config);
        swarm.listen_on("/memory/0".parse().expect("an address")).expect("memory is free");
        let key = peers::public_key_of(&peer).expect("an Ed25519 key");
        Self { swarm, key, replies: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> SwarmEvent<RawBehaviourEvent> {
        soon("event at the raw node", self.swarm.select_next_some()).await
    }

    async fn member(&mut self) -> Member {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.next().await {
                return Member { key: self.key, addresses: vec![address] };
            }
        }
    }

    pub(super) fn send(&mut self, node: &Node, bytes: &[u8]) -> OutboundRequestId {
        let peer = peers::peer_id_of(&node.key).expect("a valid key");
        self.swarm.behaviour_mut().exchange.send_request_with_addresses(
            &peer,
            bytes.to_vec(),
            vec![node.address.clone()],
        )
    }

    /// Runs until the request has an outcome.
    pub(super) async fn outcome(
        &mut self,
        id: OutboundRequestId,
    ) -> Result<Vec<u8>, OutboundFailure> {
        use request_response::Event;
        loop {
            let SwarmEvent::Behaviour(RawBehaviourEvent::Exchange(event)) = self.next().await
            else {
                continue;
            };
            match event {
                Event::Message { message: Message::Response { request_id, response }, .. }
                    if request_id == id =>
                {
                    return Ok(response);
                }
                Event::OutboundFailure { request_id, error, .. } if request_id == id => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Runs for ever, replying with what was prepared.
    async fn serve(mut self) {
        use request_response::Event;
        loop {
            if let SwarmEvent::Behaviour(RawBehaviourEvent::Exchange(Event::Message {
                message: Message::Request { channel, .. },
                ..
            })) = self.swarm.select_next_some().await
            {
                let reply = self.replies.pop_front().expect("a reply for each request");
                let _ = self.swarm.behaviour_mut().exchange.send_response(channel, reply);
            }
        }
    }
}

pub(super) fn peer(node: &Node) -> PeerId {
    peers::peer_id_of(&node.key).expect("a valid key")
}

fn framed(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), bytes].concat()
}

fn ask_protocol() -> StreamProtocol {
    Plane::Ask.protocol(&NETWORK)
}

#[tokio::test]
async fn malformed_requests_never_reach_the_core() {
    let mut node = Node::start(memory()).await;
    let mut raw = Raw::start(ask_protocol(), "/none");
    node.send(NetworkCommand::SetMembers(vec![raw.member().await])).await;
    let too_long = u32::try_from(Plane::Ask.request_bytes_max() + 1).expect("small");
    for bytes in [
        framed(too_long, &vec![7; Plane::Ask.request_bytes_max() + 1]),
        framed(u32::MAX, b"claims 4 GiB"),
        framed(100, b"truncated"),
        framed(3, b"abc and more"),
        vec![0, 0],
        Vec::new(),
    ] {
        let id = raw.send(&node, &bytes);
        // A stream that ends without a byte, or a broken one: never a reply.
        assert_ne!(raw.outcome(id).await.unwrap_or_default(), b"\0\0\0\x05reply");
    }
    // Half a message on a stream that stays open does not hold up the next.
    raw.send(&node, &[&[HANG][..], &framed(100, b"half")].concat());
    let id = raw.send(&node, &framed(5, b"whole"));
    let serve = async {
        let (from, plane, request, frame) = node.request().await;
        assert_eq!((plane, frame.as_slice()), (Plane::Ask, &b"whole"[..]));
        node.reply(request, b"reply").await;
        from
    };
    let (from, reply) = tokio::join!(serve, raw.outcome(id));
    assert_eq!(from, raw.key);
    assert_eq!(reply.expect("a reply"), b"\0\0\0\x05reply");
}

#[tokio::test]
async fn malformed_replies_are_failures_that_say_what_was_wrong() {
    let mut hurried = memory();
    hurried.request_timeout = Some(Duration::from_secs(3));
    let mut node = Node::start(hurried).await;
    let mut raw = Raw::start(ask_protocol(), "/none");
    let key = raw.key;
    node.send(NetworkCommand::SetMembers(vec![raw.member().await])).await;
    let malformed = |text: &str| RequestFailure::Malformed(text.to_owned());
    let (length, bytes_max) = (Plane::Ask.reply_bytes_max() + 1, Plane::Ask.reply_bytes_max());
    let cases = [
        (
            framed(u32::try_from(length).expect("small"), b"long"),
            RequestFailure::TooLong { what: "reply", length, bytes_max },
        ),
        (framed(9, b"short"), malformed("the stream ended after 5 of 9 bytes")),
        (framed(1, b"stray"), malformed("stray bytes follow the frame")),
        (Vec::new(), RequestFailure::Refused),
        ([&[HANG][..], &framed(9, b"half")].concat(), RequestFailure::Timeout),
    ];
    raw.replies = cases.iter().map(|(reply, _)| reply.clone()).collect();
    let serving = tokio::spawn(raw.serve());
    for (token, (_, failure)) in (0..).zip(cases) {
        node.ask(token, key, Plane::Ask, b"question").await;
        assert_eq!(node.response(token).await, Err(failure));
    }
    serving.abort();
}

#[tokio::test]
async fn one_member_cannot_take_every_place_for_requests() {
    const PLACES: usize = 96;
    let mut node = Node::start(memory()).await;
    let mut raw = Raw::start(ask_protocol(), "/none");
    node.send(NetworkCommand::SetMembers(vec![raw.member().await])).await;
    let ids = (0..=PLACES).map(|_| raw.send(&node, &framed(1, b"q"))).collect::<Vec<_>>();
    // The core replies to none, so the first outcome is the refusal of the one too many.
    let first = loop {
        if let SwarmEvent::Behaviour(RawBehaviourEvent::Exchange(event)) = raw.next().await {
            break event;
        }
    };
    let request_response::Event::Message {
        message: Message::Response { request_id, response },
        ..
    } = first
    else {
        panic!("{first:?} is no end of a stream");
    };
    assert!(ids.contains(&request_id) && response.is_empty());
    for _ in 0..PLACES {
        let (_, _, id, _) = node.request().await;
        node.send(NetworkCommand::Refuse { id }).await;
    }
    // The places are free again.
    let id = raw.send(&node, &framed(1, b"q"));
    let serve = async {
        let (_, _, request, _) = node.request().await;
        node.reply(request, b"reply").await;
    };
    let (_, reply) = tokio::join!(serve, raw.outcome(id));
    assert_eq!(reply.expect("a reply"), b"\0\0\0\x05reply");
}
