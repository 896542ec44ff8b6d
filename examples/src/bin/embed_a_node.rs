//! Runs a node inside this program, and talks to it without HTTP.
//!
//! ```sh
//! cargo run -p signpost-examples --bin embed_a_node
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::Context as _;
use signpost_examples::{crisis_plan, found, look_up};
use signpost_node::{
    core::local::{NewId, Write},
    fhir::document_reference::draft,
    runtime::{Node, NodeOptions},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let identity = found(dir.path(), &[("RX1", "Harrowgate Vale Community Health")])?.remove(0);

    let node = Node::spawn(NodeOptions::new(identity)).await?;
    println!("the node runs; clinical systems would reach it at http://{}", node.api_address());
    // A handle is cheap to clone: every task of the program may have one.
    let handle = node.handle();

    // The only way to a draft is through the checks that every pointer must pass.
    let (_, draft) = draft(crisis_plan("RX1"))?;
    let mut results = handle.write(vec![Write::Create { id: NewId::Random, draft }]).await;
    // Each write has its own result. What is reported as done is on disk.
    let written = results.pop().context("one result for each write")??;
    println!("created {} as version {}", written.id, written.version);

    let located = handle.locate(look_up()?).await?;
    for found in &located.pointers {
        println!("found {} at {}", found.pointer.id, found.ods);
    }
    // Never leave this out: "no pointers" means "no records" only when the result is complete.
    println!("the result is {}", located.completeness.word());

    node.shutdown().await;
    println!("the node has stopped");
    Ok(())
}
