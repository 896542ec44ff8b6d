//! Carries out what a core decides, as the runtime does with a real network and a real disk.

use std::sync::Arc;

use signpost_node::{
    core::{Action, Event, NewFilter, Persist, audit_filter, build_filter},
    digests::SharedBytes,
    network::RequestFailure,
    store::Store as _,
};
use signpost_protocol::{
    ContentHash,
    codec::{self, ByteString},
    digest::DigestsAnswer,
    limits,
};

use super::{Due, Network, Plant, node::Asker};

/// Milliseconds until a write is durable.
const FLUSH_DELAY: u64 = 2;

impl Network {
    pub(super) fn carry_out(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            self.carry_out_one(at, action);
        }
    }

    fn carry_out_one(&mut self, at: usize, action: Action) {
        match action {
            Action::Connect(peer) => {
                if let Some(to) = self.number_of(&peer) {
                    self.connect(at, to);
                }
            }
            Action::Disconnect(peer) => {
                if let Some(to) = self.number_of(&peer) {
                    self.disconnect(at, to);
                    self.disconnect(to, at);
                }
            }
            Action::Send { token, peer, plane, frame } => {
                self.send_request(at, token, &peer, plane, frame);
            }
            Action::Reply { id, frame } => self.send_reply(at, id, frame),
            Action::Refuse { id } => match self.nodes[at].inbound.remove(&id) {
                Some(Asker { at: from, life, token, .. }) => {
                    if self.nodes[from].life == life {
                        self.fail_request(from, token, at, RequestFailure::Refused);
                    }
                }
                None => {
                    self.nodes[at].answers.insert(id, None);
                }
            },
            Action::ServeBlob { id, hash, offset } => {
                let answer =
                    self.nodes[at].blobs.get(&hash).map_or(DigestsAnswer::NotFound, |blob| {
                        let blob = (**blob).as_ref();
                        let start = (offset as usize).min(blob.len());
                        let end = (start + limits::BLOB_PIECE_BYTES_MAX).min(blob.len());
                        let piece = ByteString::new(blob[start..end].to_vec());
                        DigestsAnswer::Blob(piece.expect("cut to its cap"))
                    });
                self.send_reply(at, id, codec::encode(&answer));
            }
            Action::DialBack { token, peer, .. } => {
                let up = self.number_of(&peer).is_some_and(|to| self.nodes[to].core.is_some());
                let result = if up { Ok(()) } else { Err("connection refused".to_owned()) };
                self.push_event(at, 1, Event::DialBack { token, result });
            }
            Action::SetMembers(members) => self.set_members(at, &members),
            Action::Publish(frame) => self.publish(at, frame),
            Action::Judge { id, verdict } => self.judge(at, id, verdict),
            Action::Answer { ticket, reply } => {
                let reply = self.spoil_reply(at, reply);
                self.nodes[at].replies.insert(ticket, (self.now, reply));
            }
            Action::Persist(Persist { batches, disclosures, then, .. }) => {
                for batch in &batches {
                    self.nodes[at].store.apply(batch).expect("the memory store does not fail");
                }
                let life = self.nodes[at].life;
                let then = self.spoil_order(at, then);
                self.push(FLUSH_DELAY, Due::Durable { node: at, life, disclosures, then });
            }
            Action::LoadBlob(hash) => {
                let bytes = self.nodes[at].blobs.get(&hash).cloned();
                self.push_event(at, 1, Event::Blob { hash, bytes });
            }
            Action::StoreBlob { hash, bytes } => {
                let fits = ContentHash::of(&bytes) == hash;
                let bytes: Option<SharedBytes> = fits.then(|| Arc::new(bytes) as SharedBytes);
                if let Some(bytes) = &bytes {
                    self.nodes[at].blobs.insert(hash, bytes.clone());
                }
                self.push_event(at, 1, Event::Blob { hash, bytes });
            }
            Action::KeepBlob(bytes) => {
                self.nodes[at].blobs.insert(ContentHash::of(&bytes), Arc::new(bytes));
            }
            Action::RetainBlobs(named) => {
                self.nodes[at].blobs.retain(|hash, _| named.contains(hash));
            }
            Action::BuildFilter(build) => {
                let store = self.nodes[at].store.clone();
                let result = build_filter(&build, &*store).map(|built| {
                    let hash = ContentHash::of(&built.bytes);
                    let bytes: SharedBytes = Arc::new(built.bytes);
                    self.nodes[at].blobs.insert(hash, bytes.clone());
                    let (salt, class, ones) = (build.salt, built.class, built.ones);
                    NewFilter { hash, salt, class, ones, bytes }
                });
                let organization = build.organization;
                let delay = self.nodes[at].build_time;
                self.push_event(at, delay, Event::FilterBuilt { organization, result });
            }
            Action::AuditFilter(job) => {
                let store = self.nodes[at].store.clone();
                let result = match self.plant {
                    Some(Plant::BlindAudit) => Ok(Vec::new()),
                    _ => audit_filter(&job, &*store),
                };
                let organization = job.organization;
                let delay = self.nodes[at].build_time;
                self.push_event(at, delay, Event::FilterAudited { organization, result });
            }
        }
    }
}
