//! The processes that floors are measured against: what is left of a node without Signpost.
//!
//! Each is this very program under another argument, says its address in one line, and ends with
//! its standard input.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};
use axum::{Router, routing::get};
use futures::StreamExt as _;
use libp2p::{
    request_response::{Event, Message},
    swarm::SwarmEvent,
};

use crate::floors::{BareEvent, bare_swarm};

/// The argument that makes this program an HTTP server with nothing behind it.
const EMPTY_HANDLER: &str = "empty-handler";
/// The argument that makes it a libp2p peer that answers with bytes.
const ECHO: &str = "echo";

/// A running child; ends when it is dropped.
pub(crate) struct Floor {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Floor {
    /// An HTTP server whose handler does nothing.
    pub(crate) fn empty_handler() -> anyhow::Result<Self> {
        Self::start(EMPTY_HANDLER)
    }

    /// A libp2p peer that answers every request at once.
    pub(crate) fn echo() -> anyhow::Result<Self> {
        Self::start(ECHO)
    }

    fn start(what: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--child", what]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start this program once more")?;
        let out = child.stdout.take().context("a child has a standard output")?;
        let mut address = String::new();
        BufReader::new(out).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is such a process, until standard input ends.
pub(crate) fn run(what: &str) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match what {
        EMPTY_HANDLER => runtime.block_on(serve_nothing()),
        ECHO => runtime.block_on(echo()),
        _ => bail!("no such child"),
    }
}

async fn serve_nothing() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let router = Router::new().fallback(get(|| async {}));
    Ok(axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            // As the node's own API does.
            let _ = stream.set_nodelay(true);
        }),
        router,
    )
    .await?)
}

async fn echo() -> anyhow::Result<()> {
    let mut swarm = bare_swarm()?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                println!("{address}/p2p/{}", swarm.local_peer_id());
            }
            SwarmEvent::Behaviour(BareEvent::Exchange(Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            })) => {
                // The request says how long the answer is.
                let length = request.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                let answer = vec![7; length as usize];
                let _ = swarm.behaviour_mut().exchange.send_response(channel, answer);
            }
            _ => {}
        }
    }
}
