//! Puts a store of your own behind a node: here one that counts, in front of one in memory.
//!
//! A store that many nodes share, or that is highly available, would come in the same way.
//!
//! ```sh
//! cargo run -p signpost-examples --bin custom_store
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Context as _;
use signpost_examples::{crisis_plan, found, look_up};
use signpost_node::{
    core::local::{NewId, Write},
    fhir::document_reference::draft,
    runtime::{Node, NodeOptions},
    store::{Batch, MemoryStore, Row, Store, StoreError},
};

/// Counts what the node asks of its store.
#[derive(Default)]
struct CountingStore {
    inner: MemoryStore,
    reads: AtomicU64,
    batches: AtomicU64,
    writes: AtomicU64,
    flushes: AtomicU64,
}

// The node calls from several threads, so everything goes by `&self`.
impl Store for CountingStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        self.inner.get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        self.inner.scan(prefix, after, limit)
    }

    // All writes of a batch or none, visible to every later read.
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        self.batches.fetch_add(1, Relaxed);
        self.writes.fetch_add(batch.len() as u64, Relaxed);
        self.inner.apply(batch)
    }

    // The promise that counts: whatever was applied before survives a crash after this returns.
    // The node acknowledges nothing earlier, and stops for good when this fails.
    fn flush(&self) -> Result<(), StoreError> {
        self.flushes.fetch_add(1, Relaxed);
        self.inner.flush()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let identity = found(dir.path(), &[("RX1", "Harrowgate Vale Community Health")])?.remove(0);
    let store = Arc::new(CountingStore::default());

    let node = Node::spawn(NodeOptions::new(identity).store(store.clone())).await?;
    let handle = node.handle();
    let flushed = store.flushes.load(Relaxed);
    let (_, draft) = draft(crisis_plan("RX1"))?;
    let mut results = handle.write(vec![Write::Create { id: NewId::Random, draft }]).await;
    let written = results.pop().context("one result for each write")??;
    let flushed = store.flushes.load(Relaxed) > flushed;
    println!("created {}; flushed before that was told: {flushed}", written.id);
    let located = handle.locate(look_up()?).await?;
    println!(
        "found {} pointer, the result is {}",
        located.pointers.len(),
        located.completeness.word()
    );
    node.shutdown().await;

    println!(
        "reads {}, batches {} with {} writes, flushes {}",
        store.reads.load(Relaxed),
        store.batches.load(Relaxed),
        store.writes.load(Relaxed),
        store.flushes.load(Relaxed),
    );
    Ok(())
}
