//! Clinical systems that write until their node is gone, and keep the ledger.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use serde_json::Value;
use signpost_tests::{
    client::{Client, Reply, patient},
    processes::{Federation, Node, until},
};

use crate::ledger::{Doubt, Ledger};

/// Pause after a write that was refused: evaluators are being connected, or the node is ending.
const PAUSE: Duration = Duration::from_millis(50);
/// Of the lines of an import, every so many is a new version of an older record.
const CHANGED_EVERY: u32 = 5;
/// Refusals that are kept to be looked at.
const REFUSALS_MAX: usize = 1_000;

/// The node that is written to, and when to stop.
pub(crate) struct Target<'a> {
    pub(crate) client: Client,
    pub(crate) ods: String,
    pub(crate) holder: usize,
    pub(crate) ledger: &'a Ledger,
    pub(crate) stop: AtomicBool,
    /// What the node said about writes that it did not do.
    pub(crate) refusals: Mutex<Vec<String>>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(node: &Node, holder: usize, ledger: &'a Ledger) -> Self {
        let (client, ods) = (node.client.clone(), node.ods.clone());
        let (stop, refusals) = (AtomicBool::new(false), Mutex::default());
        Self { client, ods, holder, ledger, stop, refusals }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn refused(&self, text: String) {
        let mut refusals = self.refusals.lock().unwrap();
        if refusals.len() < REFUSALS_MAX {
            refusals.push(text);
        }
        drop(refusals);
        thread::sleep(PAUSE);
    }

    /// Creates, changes and deletes one record after another, over a connection of its own.
    pub(crate) fn write_one_by_one(&self, mut rng: ChaCha20Rng) {
        while self.goes_on() {
            let taken = match rng.next_u64() % 10 {
                0..5 => None,
                _ => self.ledger.take(self.holder, rng.next_u64()),
            };
            let is_there = match taken {
                None => self.create(false).is_some(),
                Some(taken) if rng.next_u64().is_multiple_of(3) => {
                    self.ledger.deleting(taken.serial);
                    let reply = self.client.try_delete(&taken.id);
                    self.conclude(reply, taken.serial, Doubt::Delete, |_| {
                        self.ledger.deleted(taken.serial);
                    })
                }
                Some(taken) => {
                    let version = taken.version + 1;
                    let resource = self.ledger.resource(&self.ods, taken.serial, version);
                    let seen = format!("W/\"{}\"", taken.version);
                    let reply = self.client.try_put(&taken.id, &resource, Some(&seen));
                    self.conclude(reply, taken.serial, Doubt::Update, |reply| {
                        assert_eq!(reply.etag, format!("W/\"{version}\""));
                        self.ledger.written(taken.serial, &taken.id, version);
                    })
                }
            };
            if !is_there {
                return;
            }
        }
    }

    /// Creates a record; returns its serial number unless the node is gone.
    pub(crate) fn create(&self, only_one: bool) -> Option<u32> {
        let serial = self.ledger.begin(self.holder, only_one);
        let resource = self.ledger.resource(&self.ods, serial, 1);
        let reply = self.client.try_create(&resource);
        let is_there = self.conclude(reply, serial, Doubt::Create, |reply| {
            let id = reply.body["id"].as_str().expect("a created pointer has an id");
            self.ledger.written(serial, id, 1);
        });
        is_there.then_some(serial)
    }

    fn conclude(
        &self,
        reply: Result<Reply, impl std::fmt::Debug>,
        serial: u32,
        doubt: Doubt,
        done: impl FnOnce(&Reply),
    ) -> bool {
        match reply {
            Ok(reply) if (200..300).contains(&reply.status) => done(&reply),
            Ok(reply) => {
                self.ledger.doubt(serial, doubt);
                self.refused(format!("{}: {}", reply.status, reply.body));
            }
            Err(_) => {
                self.ledger.doubt(serial, doubt);
                return false;
            }
        }
        true
    }

    /// Imports `lines` at a time, new records and new versions.
    pub(crate) fn import(&self, mut rng: ChaCha20Rng, lines: u32) {
        while self.goes_on() {
            let mut batch: Vec<(u32, String, u64, Doubt)> = Vec::new();
            let mut resources: Vec<Value> = Vec::new();
            for n in 0..lines {
                let taken = match n % CHANGED_EVERY {
                    0 => self.ledger.take(self.holder, rng.next_u64()),
                    _ => None,
                };
                let (serial, id, version, doubt) = match taken {
                    Some(taken) => (taken.serial, taken.id, taken.version + 1, Doubt::Update),
                    None => {
                        let serial = self.ledger.begin(self.holder, false);
                        (serial, format!("{}-import-{serial}", self.ods), 1, Doubt::Create)
                    }
                };
                let mut resource = self.ledger.resource(&self.ods, serial, version);
                resource["id"] = id.as_str().into();
                resources.push(resource);
                batch.push((serial, id, version, doubt));
            }
            let reply = self.client.import(&resources);
            let results = reply.as_ref().ok().filter(|reply| reply.status == 200);
            for (n, (serial, id, version, doubt)) in batch.into_iter().enumerate() {
                match results.map(|reply| &reply.body["results"][n]) {
                    Some(result) if result["version"] == version => {
                        assert_eq!(result["id"], id.as_str());
                        self.ledger.written(serial, &id, version);
                    }
                    Some(result) => {
                        self.ledger.doubt(serial, doubt);
                        self.refusals.lock().unwrap().push(result.to_string());
                    }
                    None => self.ledger.doubt(serial, doubt),
                }
            }
            match reply {
                Ok(reply) if reply.status == 200 => {}
                Ok(reply) => self.refused(format!("{}: {}", reply.status, reply.body)),
                Err(_) => return,
            }
        }
    }
}

/// Makes a record at `holder` and waits until `asker` finds it: by then it has the digest that
/// tells of everything before.
pub(crate) fn settle(
    federation: &Federation,
    ledger: &Ledger,
    holder: usize,
    asker: usize,
) -> Duration {
    let target = Target::new(federation.node(holder), holder, ledger);
    let since = Instant::now();
    let (serial, _) = until("a record is made", || {
        let serial = target.create(true).expect("the node runs");
        ledger.is_held(serial).then_some(serial)
    });
    let of = patient(ledger.patient_of(serial));
    let (_, took) = until("the record is found from afar", || {
        Ledger::shows(&federation.client(asker).search(&of), serial).then_some(())
    });
    ledger.settle(holder, since);
    took
}
