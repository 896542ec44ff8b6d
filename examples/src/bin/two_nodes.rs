//! Two organizations in one program: a pointer made at one is found from the other.
//!
//! ```sh
//! cargo run -p signpost-examples --bin two_nodes
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use signpost_examples::{crisis_plan, found, look_up};
use signpost_node::{
    core::local::{NewId, Write},
    fhir::document_reference::draft,
    handle::NodeHandle,
    runtime::{Node, NodeOptions},
};

/// Far more than it takes: the example fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let founders = [("RX1", "Harrowgate Vale"), ("RX2", "Wyrecombe")];
    let mut nodes = Vec::new();
    for identity in found(dir.path(), &founders)? {
        nodes.push(Node::spawn(NodeOptions::new(identity)).await?);
    }
    let (harrowgate, wyrecombe) = (nodes[0].handle(), nodes[1].handle());

    // They find each other by the addresses in the roster. Until the digest of the other has
    // arrived every look-up works, and is partial.
    digest_of_the_other(&harrowgate).await?;
    digest_of_the_other(&wyrecombe).await?;
    println!("each has the other's digest");

    let (_, draft) = draft(crisis_plan("RX1"))?;
    let mut results = harrowgate.write(vec![Write::Create { id: NewId::Random, draft }]).await;
    let written = results.pop().context("one result for each write")??;
    println!("RX1 holds {}", written.id);

    // The new digest is on its way, normally for less than a second. Until it arrives RX2 has no
    // reason to ask RX1.
    let since = Instant::now();
    let located = loop {
        let located = wyrecombe.locate(look_up()?).await?;
        if !located.pointers.is_empty() {
            break located;
        }
        ensure!(since.elapsed() < PATIENCE, "RX2 does not find the pointer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let found = &located.pointers[0];
    println!("RX2 found {} at {} after {:?}", found.pointer.id, found.ods, since.elapsed());
    println!("the result is {}", located.completeness.word());

    for node in nodes {
        node.shutdown().await;
    }
    println!("both nodes have stopped");
    Ok(())
}

async fn digest_of_the_other(node: &NodeHandle) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let status = node.status().await.map_err(anyhow::Error::msg)?;
        if status.peers.iter().all(|peer| peer.digest == "fresh") {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "no digest has come: {:?}", status.notices);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
