//! What to answer when another organization asks.
//!
//! Nothing held, refused by policy, and not for this asker all take the same path: the rows are
//! read, the answer is signed, the disclosure is recorded, and an empty list leaves.

use signpost_keys::{Verified, sign};
use signpost_protocol::{
    PointerState, PublicKey,
    codec::{self, Bounded, ByteString},
    limits,
    locate::{Answer, Ask, AskSubject, RefusalCode, Reply},
};
use tracing::{debug, error};

use super::{
    Core, Persist, Turn,
    event::Action,
    heartbeat::Expiry,
    rows::{self, PointerRow, RowError},
};
use crate::{
    network::InboundId,
    store::{DisclosureRecord, DisclosureRole},
};

/// Signed pointers, as stored, and whether there are more.
type Holding = (Vec<(String, Vec<u8>)>, bool);

impl Core {
    pub(super) fn on_ask(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        frame: &[u8],
    ) {
        match self.decide_ask(turn, &peer, frame) {
            Ok((answer, disclosure)) => {
                let reply = |reply: &Reply| Action::Reply { id, frame: codec::encode(reply) };
                turn.act(Action::Persist(Persist {
                    disclosures: vec![disclosure],
                    then: vec![reply(&statement(&answer))],
                    otherwise: vec![reply(&Reply::Refused(RefusalCode::Internal))],
                    ..Persist::default()
                }));
            }
            Err(code) => {
                debug!(?peer, ?code, "refused an ask");
                turn.reply(id, &Reply::Refused(code));
            }
        }
    }

    /// Answers an ask of this very node, on behalf of one organization that it serves to another:
    /// as any other ask, but that nothing travels. The record must be durable before the answer is
    /// shown.
    pub(super) fn answer_own(
        &mut self,
        turn: &Turn<'_>,
        ask: &[u8],
    ) -> (Reply, Option<DisclosureRecord>) {
        let own = self.me.transport.public();
        match self.decide_ask(turn, &own, ask) {
            Ok((answer, disclosure)) => (statement(&answer), Some(disclosure)),
            Err(code) => (Reply::Refused(code), None),
        }
    }

    fn decide_ask(
        &mut self,
        turn: &Turn<'_>,
        peer: &PublicKey,
        frame: &[u8],
    ) -> Result<(Verified<Answer>, DisclosureRecord), RefusalCode> {
        let now = turn.now.unix;
        let ask = self.verify_request::<Ask>(turn, frame, peer)?;
        if self.served(&ask.asked).is_none() {
            return Err(RefusalCode::NotServed);
        }
        if self.expiry(turn.now) == Expiry::NoDisclosure {
            return Err(RefusalCode::RosterStale);
        }
        if self.is_recalling() || self.may_have_missed_law(peer, turn.now.uptime) {
            // What is stored may be of yesterday: an answer would say that it is all, and might go to
            // one that was cut off since.
            return Err(RefusalCode::Busy);
        }
        self.admit_request(turn, ask.asking, ask.request, ask.issued, ask.expires)?;
        let (mut held, mut more) = self.holding(turn, &ask).map_err(|error| {
            error!(%error, "an ask could not be answered");
            RefusalCode::Internal
        })?;
        let refused = !self.policy.purposes.iter().any(|purpose| **purpose == *ask.purpose);
        if refused {
            held.clear();
            more = false;
        }
        let outcome = if refused { "refused-by-policy" } else { "answered" };
        let (ids, statements): (Vec<String>, Vec<Vec<u8>>) = held.into_iter().unzip();
        let disclosure = DisclosureRecord {
            time: now,
            role: DisclosureRole::Holder,
            request: ask.request.to_string(),
            asking: self.label(&ask.asking).0.to_string(),
            asked: vec![self.label(&ask.asked).0.to_string()],
            asks: Vec::new(),
            purpose: ask.purpose.to_string(),
            user: ask.user.to_string(),
            user_role: ask.role.to_string(),
            outcome: outcome.to_owned(),
            pointers: ids,
            completeness: None,
        };
        let pointers = statements.into_iter().filter_map(ByteString::new).collect();
        let body = Answer {
            ask: ask.hash(),
            organization: ask.asked,
            pointers: Bounded::new(pointers).ok_or(RefusalCode::Internal)?,
            more,
            issued: now,
            restored_as_of: self.own.get(&ask.asked).and_then(|own| own.past.restored_as_of()),
        };
        let served = self.served(&ask.asked).ok_or(RefusalCode::NotServed)?;
        Ok((sign(body, &served.pointer, &self.roster.network()), disclosure))
    }

    /// What is held on the subject of an ask, as far as one answer takes it.
    fn holding(&self, turn: &Turn<'_>, ask: &Ask) -> Result<Holding, RowError> {
        let (key_epoch, locator, after) = match &ask.subject {
            AskSubject::Locator { key_epoch, locator, after } => (*key_epoch, locator, after),
            AskSubject::Pointer { id } => {
                let row = PointerRow::read(turn.store, id)?;
                let row = row.map(|row| Ok::<_, RowError>((row.pointer()?, row))).transpose()?;
                let held = row
                    .filter(|(pointer, _)| pointer.organization == ask.asked)
                    .map(|(_, row)| (id.to_string(), row.statement.to_vec()));
                return Ok((held.into_iter().collect(), false));
            }
        };
        let prefix = rows::index_prefix(&ask.asked, key_epoch, locator);
        let after = after.as_ref().map(|id| [&prefix, id.as_str().as_bytes()].concat());
        let limit = limits::POINTERS_PER_ANSWER_MAX + 1;
        let index = turn.store.scan(&prefix, after.as_deref(), limit)?;
        let mut held: Vec<(String, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        for (key, _) in index {
            let id = rows::index_pointer(&key)?;
            let row = PointerRow::read(turn.store, &id)?.ok_or(RowError::Damaged("index"))?;
            if row.pointer()?.state == PointerState::Tombstone {
                continue;
            }
            bytes += row.statement.len();
            if held.len() == limits::POINTERS_PER_ANSWER_MAX
                || bytes > limits::ANSWER_POINTERS_BYTES_MAX
            {
                return Ok((held, true));
            }
            held.push((id.to_string(), row.statement.to_vec()));
        }
        Ok((held, false))
    }
}

fn statement(answer: &Verified<Answer>) -> Reply {
    let bytes = ByteString::new(answer.bytes().to_vec());
    Reply::Statement(bytes.expect("the pointers were collected within the answer's cap"))
}
