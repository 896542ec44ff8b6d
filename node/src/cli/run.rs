//! `signpost run`: the daemon, from its directory to its graceful end.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    config::{self, Log},
    runtime::{Node, NodeOptions},
    setup,
};

/// Exit code after a second Ctrl-C: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// How long a node that cannot go on takes to tell those who wait: replies are short, and a client
/// that does not read must not keep its supervisor from starting it again.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Arguments of `signpost run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Once the node serves, one line on standard output says where:
  ready api=http://127.0.0.1:7700 peer=/ip4/192.0.2.1/tcp/7701

Logs go to standard error; RUST_LOG overrides log.filter of signpost.toml. SIGTERM or Ctrl-C stops
the node gracefully; a second Ctrl-C stops it at once, which loses nothing that was acknowledged.

Examples:
  signpost run
  signpost run --dir /var/lib/signpost
  RUST_LOG=signpost_node=debug signpost run")]
pub(super) struct Args {
    /// Stops the node gracefully once standard input is closed, so that it does not outlive the
    /// program that started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs the command.
pub(super) fn command(dir: &Path, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    // Before the logs start, whose form is in the configuration that this reads.
    let identity = setup::open(dir)?;
    start_logs(&identity.config.log, std::env::var("RUST_LOG").ok())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the runtime")?;
    runtime.block_on(serve(NodeOptions::new(identity), args, json))
}

async fn serve(options: NodeOptions, args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    let node = Node::spawn(options).await?;
    announce(&ready(node.api_address(), &node.peer_addresses(), json));

    let input_closed = input_closed(args.stop_with_stdin);
    let reason = tokio::select! {
        stopped = node.stopped() => {
            // Those who wait for a reply are still told; then this says why the node stopped.
            let _ = tokio::time::timeout(FAREWELL_MAX, node.shutdown()).await;
            stopped?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "Ctrl-C",
        () = input_closed => "standard input was closed",
    };
    tracing::info!(reason, "stopping");
    tokio::select! {
        () = node.shutdown() => tracing::info!("stopped"),
        _ = interrupt.recv() => std::process::exit(INTERRUPTED),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the line that programs wait for. The node serves on when nobody reads it.
fn announce(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "cannot write to standard output");
    }
}

fn ready(api: SocketAddr, peer: &[String], json: bool) -> String {
    let api = format!("http://{api}");
    if json {
        json!({ "ready": true, "api": api, "peer": peer }).to_string()
    } else {
        format!("ready api={api} peer={}", peer.join(","))
    }
}

/// Resolves when standard input ends; never when `watch` is false.
async fn input_closed(watch: bool) {
    let (closed, wait) = oneshot::channel();
    if !watch {
        return std::future::pending().await;
    }
    // A thread of its own: the runtime would wait for a blocked read when it ends.
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut ignored = [0; 256];
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = closed.send(());
    });
    let _ = wait.await;
}

/// Sends logs to standard error.
fn start_logs(log: &Log, variable: Option<String>) -> anyhow::Result<()> {
    let filter = filter(log, variable)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if log.json {
        builder.json().try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the logs: {error}"))
}

fn filter(log: &Log, variable: Option<String>) -> anyhow::Result<EnvFilter> {
    let variable = variable.filter(|variable| !variable.is_empty());
    let (text, source) = match &variable {
        Some(variable) => (variable, "RUST_LOG".to_owned()),
        None => (&log.filter, format!("log.filter in {}", config::FILE)),
    };
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into());
    builder.parse(text).with_context(|| format!("{source} cannot be understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_both_addresses() {
        let api = "127.0.0.1:7700".parse().unwrap();
        let peer = ["/ip4/127.0.0.1/tcp/7701".to_owned()];
        let line = ready(api, &peer, false);
        assert_eq!(line, "ready api=http://127.0.0.1:7700 peer=/ip4/127.0.0.1/tcp/7701");
        let value: serde_json::Value = serde_json::from_str(&ready(api, &peer, true)).unwrap();
        assert_eq!(value["peer"][0], peer[0].as_str());
    }

    #[test]
    fn the_environment_overrides_the_configured_filter() {
        let log = Log { filter: "info".to_owned(), json: false };
        let shown = |variable: Option<&str>| {
            filter(&log, variable.map(str::to_owned)).map(|filter| filter.to_string())
        };
        assert_eq!(shown(None).unwrap(), "info");
        assert_eq!(shown(Some("")).unwrap(), "info");
        assert_eq!(shown(Some("debug")).unwrap(), "debug");
        let error = shown(Some("signpost=loud")).unwrap_err().to_string();
        assert!(error.contains("RUST_LOG"), "{error}");
        let error = filter(&Log { filter: "a=b=c".to_owned(), json: false }, None).unwrap_err();
        assert!(error.to_string().contains("log.filter in signpost.toml"), "{error}");
    }
}
