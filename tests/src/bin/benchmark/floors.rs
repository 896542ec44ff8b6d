//! What no implementation can avoid: a round trip, signatures, blinding, a write that is on disk.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    core::upgrade::Version,
    multiaddr::Protocol,
    noise,
    request_response::{self, Event, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use signpost_keys::blinding::{Blinding, Dealt, deal};

use crate::child::Floor;

/// Bytes of a signed ask on the wire, and of an answer with one pointer of the generator's.
const ASK_BYTES: usize = 420;
const ANSWER_BYTES: usize = 2_400;
/// Bytes of that pointer.
const POINTER_BYTES: usize = 2_000;
/// Bytes of an evaluation request and of its answer, for one patient.
const EVALUATE_BYTES: usize = 360;

// -- a round trip --

/// One request-response behaviour over the node's transport, and nothing else.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "BareEvent")]
pub(crate) struct Bare {
    pub(crate) exchange: request_response::Behaviour<Bytes>,
}

/// What it says.
pub(crate) enum BareEvent {
    /// A request or a reply.
    Exchange(Event<Vec<u8>, Vec<u8>>),
}

impl From<Event<Vec<u8>, Vec<u8>>> for BareEvent {
    fn from(event: Event<Vec<u8>, Vec<u8>>) -> Self {
        Self::Exchange(event)
    }
}

/// A length and so many bytes.
#[derive(Clone, Default)]
pub(crate) struct Bytes;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u32).to_be_bytes();
    io.write_all(&[&length, bytes].concat()).await?;
    io.flush().await
}

impl request_response::Codec for Bytes {
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
        request: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

/// TCP, Noise and Yamux with the node's own settings.
pub(crate) fn bare_swarm() -> anyhow::Result<Swarm<Bare>> {
    let protocols = [(StreamProtocol::new("/floor/1"), ProtocolSupport::Full)];
    let exchange = request_response::Behaviour::with_codec(
        Bytes,
        protocols,
        request_response::Config::default(),
    );
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Bare { exchange })?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(600))
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build())
}

/// A connection to another process that answers at once.
pub(crate) struct RoundTrip {
    runtime: tokio::runtime::Runtime,
    swarm: Swarm<Bare>,
    peer: PeerId,
    _child: Floor,
}

impl RoundTrip {
    pub(crate) fn connect() -> anyhow::Result<Self> {
        let child = Floor::echo()?;
        let address: Multiaddr = child.address.parse().context("the child says where it is")?;
        let peer = address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let swarm = runtime.block_on(async {
            let mut swarm = bare_swarm()?;
            swarm.dial(address)?;
            while !matches!(
                swarm.select_next_some().await,
                SwarmEvent::ConnectionEstablished { .. }
            ) {}
            anyhow::Ok(swarm)
        })?;
        let peer = peer.context("the child's address names it")?;
        let mut this = Self { runtime, swarm, peer, _child: child };
        for _ in 0..20 {
            this.ask()?;
        }
        Ok(this)
    }

    /// An ask and its answer.
    pub(crate) fn ask(&mut self) -> anyhow::Result<Duration> {
        self.exchange(ASK_BYTES, ANSWER_BYTES)
    }

    /// An evaluation request and its answer.
    pub(crate) fn evaluate(&mut self) -> anyhow::Result<Duration> {
        self.exchange(EVALUATE_BYTES, EVALUATE_BYTES)
    }

    fn exchange(&mut self, request: usize, answer: usize) -> anyhow::Result<Duration> {
        let mut bytes = vec![5; request];
        bytes[..4].copy_from_slice(&(answer as u32).to_be_bytes());
        let Self { runtime, swarm, peer, .. } = self;
        runtime.block_on(async {
            let started = Instant::now();
            swarm.behaviour_mut().exchange.send_request(peer, bytes);
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::Behaviour(BareEvent::Exchange(Event::Message {
                        message: Message::Response { response, .. },
                        ..
                    })) => {
                        anyhow::ensure!(response.len() == answer, "half an answer");
                        return Ok(started.elapsed());
                    }
                    SwarmEvent::Behaviour(BareEvent::Exchange(Event::OutboundFailure {
                        error,
                        ..
                    })) => anyhow::bail!("a bare round trip failed: {error}"),
                    _ => {}
                }
            }
        })
    }
}

// -- signatures and blinding --

/// Bare Ed25519, with the strict verification that the node uses.
pub(crate) struct Signatures {
    key: SigningKey,
    ask: Vec<u8>,
    answer: Vec<u8>,
    /// Of the pointer in the answer, made when it was published.
    pointer: Signature,
}

impl Signatures {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let (ask, answer) = (vec![1; ASK_BYTES], vec![2; ANSWER_BYTES]);
        let pointer = key.sign(&answer[..POINTER_BYTES]);
        Self { key, ask, answer, pointer }
    }

    /// The signatures of one ask: it and its answer are signed and checked, and so is the one
    /// pointer in the answer.
    pub(crate) fn of_an_ask(&self) -> Duration {
        let started = Instant::now();
        self.sign_and_check(&self.ask);
        self.sign_and_check(&self.answer);
        let pointer = &self.answer[..POINTER_BYTES];
        let checked = self.key.verifying_key().verify_strict(pointer, &self.pointer);
        assert!(black_box(checked).is_ok());
        started.elapsed()
    }

    /// The signatures of one evaluation: request and answer are signed and checked.
    pub(crate) fn of_an_evaluation(&self) -> Duration {
        let started = Instant::now();
        self.sign_and_check(&self.ask[..EVALUATE_BYTES]);
        self.sign_and_check(&self.ask[..EVALUATE_BYTES]);
        started.elapsed()
    }

    /// One signature.
    pub(crate) fn sign(&self, bytes: &[u8]) {
        black_box(self.key.sign(bytes));
    }

    fn sign_and_check(&self, bytes: &[u8]) {
        let signature = self.key.sign(bytes);
        let checked = self.key.verifying_key().verify_strict(bytes, &signature);
        assert!(black_box(checked).is_ok());
    }
}

/// The blinding's mathematics alone: what the asker computes, and what one evaluator does.
pub(crate) struct Voprf {
    dealt: Dealt,
    threshold: usize,
    rng: ChaCha20Rng,
}

impl Voprf {
    /// As dealt in a network of five: three of five evaluators.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let dealt = deal(3, 5, &mut rng)?;
        Ok(Self { dealt, threshold: 3, rng })
    }

    /// Locators of so many new patients, when the evaluators work side by side: blinding, one
    /// evaluation, the checks of all that are needed, combining.
    pub(crate) fn locators(&mut self, patients: usize) -> anyhow::Result<Duration> {
        let inputs = (0..patients)
            .map(|n| format!("signpost/v1/nhs-number\0{:010}", 9_990_000_000 + n as u64))
            .map(String::into_bytes);
        let inputs = inputs.collect();
        let started = Instant::now();
        let blinding = Blinding::new(inputs, &mut self.rng)?;
        let mut time = started.elapsed();
        let mut checked = Vec::new();
        for share in self.dealt.shares.iter().take(self.threshold) {
            let started = Instant::now();
            let evaluation = share.evaluate(blinding.blinded(), &mut self.rng)?;
            if checked.is_empty() {
                time += started.elapsed();
            }
            let started = Instant::now();
            checked.push(blinding.check(&share.public(), share.index(), &evaluation)?);
            time += started.elapsed();
        }
        let started = Instant::now();
        let prfs = blinding.combine(self.threshold, &self.dealt.group_public, &checked)?;
        for prf in &prfs {
            black_box(prf.locator(1));
        }
        Ok(time + started.elapsed())
    }
}

// -- the disk --

/// A file on the disk that the nodes are on.
pub(crate) struct Disk {
    file: File,
}

impl Disk {
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("floor");
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends, and returns when it is on disk.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        Ok(started.elapsed())
    }
}
