//! What a node does for an organization that wants to join: it hands out invitations, keeps what an
//! applicant hands in, tries whether the applicant can be reached, and says how far things are.
//!
//! Nothing here admits anybody. The stewards do, after people have compared fingerprints; this only
//! saves them from mailing files. An applicant is a stranger: it costs a row in the store for as long
//! as its invitation lasts, and nothing at all without one.

use minicbor::{Decode, Encode};
use rand_core::Rng as _;
use signpost_keys::roster::{Application, Law, State, verify_inception};
use signpost_protocol::{
    InvitationCode, OrganizationId, PublicKey, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    hello::Regard,
    invitation::Invitation,
    joining::{Joining, JoiningAnswer, JoiningStage},
    limits,
    roster::{Change, Standing},
};
use tracing::{info, warn};

use super::{
    Core, Persist, Ticket, Turn,
    event::Action,
    local::{Applicant, INVITATION_LIFE_MAX, INVITATIONS_MAX, InviteError, LocalReply},
    peers::hello_answer,
    rows,
};
use crate::{
    network::{InboundId, Multiaddr, peer_address},
    store::Batch,
};

/// An invitation, and what was handed in with it.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct InvitationRow {
    #[n(0)]
    organization: OrganizationId,
    #[n(1)]
    expires: Timestamp,
    /// The transport key of whoever used it first; nobody else can go on with it.
    #[n(2)]
    peer: Option<PublicKey>,
    #[n(3)]
    inception: Option<ByteString<{ limits::JOINING_INCEPTION_BYTES_MAX }>>,
    #[n(4)]
    keys: Option<ByteString<{ limits::JOINING_KEYS_BYTES_MAX }>>,
    #[n(5)]
    received: Option<Timestamp>,
    /// What the last dial-back found: empty when the applicant was reached.
    #[n(6)]
    dialled: Option<Text<{ limits::JOINING_REASON_BYTES_MAX }>>,
}

/// A dial-back under way for an applicant that waits for its outcome.
pub(super) struct DialBack {
    code: InvitationCode,
    id: InboundId,
    regard: Regard,
}

/// What to say to an applicant: at once, once something is on disk, or when a dial-back has ended.
enum Said {
    Now(JoiningAnswer),
    Once(Batch, JoiningAnswer),
    Later,
}

impl Core {
    /// Makes an invitation by one of the organizations that this node serves.
    pub(super) fn invite(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        organization: OrganizationId,
        life: u64,
    ) {
        match self.make_invitation(turn, organization, life) {
            Ok((invitation, batch)) => turn.act(Action::Persist(Persist {
                batches: vec![batch],
                then: vec![Action::Answer {
                    ticket,
                    reply: LocalReply::Invite(Ok(Box::new(invitation))),
                }],
                otherwise: vec![Action::Answer {
                    ticket,
                    reply: LocalReply::Invite(Err(InviteError::Storage(String::new()))),
                }],
                ..Persist::default()
            })),
            Err(error) => turn.answer(ticket, LocalReply::Invite(Err(error))),
        }
    }

    fn make_invitation(
        &mut self,
        turn: &Turn<'_>,
        organization: OrganizationId,
        life: u64,
    ) -> Result<(Invitation, Batch), InviteError> {
        let now = turn.now.unix;
        let member = self.roster.member(&organization);
        let member = member.filter(|member| member.standing == Standing::Admitted);
        let member = member.ok_or(InviteError::NotAdmitted)?.clone();
        let storage = |error: rows::RowError| InviteError::Storage(error.to_string());
        let kept = self.invitations(turn).map_err(storage)?;
        if kept.len() >= INVITATIONS_MAX {
            return Err(InviteError::TooMany);
        }
        let mut code = [0; InvitationCode::LENGTH];
        self.rng.fill_bytes(&mut code);
        let code = InvitationCode(code);
        let addresses: Vec<_> = member
            .nodes
            .iter()
            .flat_map(|node| {
                let keys: Vec<PublicKey> = node.transport_keys(now).collect();
                let named = node.addresses.iter().flat_map(move |address| {
                    let address: Option<Multiaddr> = address.parse().ok();
                    keys.clone().into_iter().filter_map(move |key| {
                        Text::new(&peer_address(&key, address.as_ref()?)?.to_string())
                    })
                });
                named.collect::<Vec<_>>()
            })
            .take(limits::INVITATION_ADDRESSES_MAX)
            .collect();
        if addresses.is_empty() {
            return Err(InviteError::NoAddress);
        }
        let expires = now.plus(life.min(INVITATION_LIFE_MAX));
        let invitation = Invitation {
            network: self.roster.network(),
            network_name: Text::shortened(self.roster.name()),
            ods: member.ods.clone(),
            name: Text::shortened(&member.name),
            code,
            addresses: Bounded::new(addresses).expect("cut to the cap"),
            expires,
        };
        let row = InvitationRow {
            organization,
            expires,
            peer: None,
            inception: None,
            keys: None,
            received: None,
            dialled: None,
        };
        let mut batch = Batch::new();
        // Those that have expired make room.
        for (code, _) in self.expired_invitations(turn).map_err(storage)? {
            if batch.delete(rows::invitation_key(&code)).is_err() {
                break;
            }
        }
        if batch.put(rows::invitation_key(&code), codec::encode(&row)).is_err() {
            return Err(InviteError::TooMany);
        }
        Ok((invitation, batch))
    }

    /// What was handed in with invitations of one of the organizations that this node serves.
    pub(super) fn applicants(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        organization: OrganizationId,
    ) {
        let network = self.roster.network();
        let applicants = self.invitations(turn).map(|invitations| {
            let own = invitations.into_iter().filter(|(_, row)| row.organization == organization);
            let handed_in = own.filter_map(|(_, row)| {
                let (inception, keys) = (row.inception?, row.keys?);
                let application = Application::verify(&inception, &keys, &network).ok()?;
                Some(Applicant {
                    organization: application.organization,
                    ods: application.inception.ods.clone(),
                    name: application.inception.name.to_string(),
                    inception: inception.into_inner(),
                    keys: keys.into_inner(),
                    received: row.received.unwrap_or_default(),
                    expires: row.expires,
                    unreachable: row.dialled.as_ref().map(ToString::to_string),
                    is_member: self.roster.member(&application.organization).is_some(),
                })
            });
            handed_in.collect()
        });
        let applicants = applicants.map_err(|error| error.to_string());
        turn.answer(ticket, LocalReply::Applicants(applicants));
    }

    /// The invitations that have not expired.
    fn invitations(
        &self,
        turn: &Turn<'_>,
    ) -> Result<Vec<(InvitationCode, InvitationRow)>, rows::RowError> {
        let all = self.all_invitations(turn)?;
        Ok(all.into_iter().filter(|(_, row)| row.expires > turn.now.unix).collect())
    }

    fn expired_invitations(
        &self,
        turn: &Turn<'_>,
    ) -> Result<Vec<(InvitationCode, InvitationRow)>, rows::RowError> {
        let all = self.all_invitations(turn)?;
        Ok(all.into_iter().filter(|(_, row)| row.expires <= turn.now.unix).collect())
    }

    fn all_invitations(
        &self,
        turn: &Turn<'_>,
    ) -> Result<Vec<(InvitationCode, InvitationRow)>, rows::RowError> {
        let rows = turn.store.scan(rows::INVITATIONS_PREFIX, None, 2 * INVITATIONS_MAX)?;
        rows.iter()
            .map(|(key, bytes)| {
                let damaged = || rows::RowError::Damaged("invitation");
                let code = key.get(rows::INVITATIONS_PREFIX.len()..);
                let code = code.and_then(|code| code.try_into().ok()).ok_or_else(damaged)?;
                Ok((InvitationCode(code), read_row(bytes).ok_or_else(damaged)?))
            })
            .collect()
    }

    /// Answers an applicant.
    pub(super) fn on_joining(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        regard: Regard,
        joining: &Joining,
    ) {
        let now = turn.now.unix;
        match self.decide_joining(turn, peer, id, regard, joining) {
            Said::Now(answer) => turn.reply(id, &hello_answer(regard, now, Some(answer))),
            Said::Once(batch, answer) => {
                let frame = codec::encode(&hello_answer(regard, now, Some(answer)));
                turn.act(Action::Persist(Persist {
                    batches: vec![batch],
                    then: vec![Action::Reply { id, frame }],
                    otherwise: vec![Action::Refuse { id }],
                    ..Persist::default()
                }));
            }
            Said::Later => {}
        }
    }

    fn decide_joining(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        id: InboundId,
        regard: Regard,
        joining: &Joining,
    ) -> Said {
        let code = *joining.code();
        let stored = turn.store.get(&rows::invitation_key(&code));
        let row = match stored {
            Ok(row) => row.as_deref().and_then(read_row),
            Err(error) => {
                warn!(%error, "an invitation could not be read");
                return refused("the node's store failed; try again later");
            }
        };
        let row = row.filter(|row| row.expires > turn.now.unix);
        let Some(mut row) = row else { return Said::Now(JoiningAnswer::UnknownCode) };
        if !self.roster.is_admitted(&row.organization) {
            return refused("who sent this invitation is no admitted member: ask another member");
        }
        if row.peer.is_some_and(|known| known != peer) {
            return refused("another key has used this invitation: ask for a new one");
        }
        match joining {
            Joining::Inception { inception, .. } => {
                let Ok((organization, known)) = verify_inception(inception) else {
                    return refused("the inception does not hold: make the keys anew");
                };
                if row.inception.as_ref().is_some_and(|kept| kept[..] == inception[..]) {
                    // It was started again; its keys stay.
                    return Said::Now(JoiningAnswer::Noted);
                }
                info!(ods = %known.ods, ?organization, "an organization applies to join");
                row.peer = Some(peer);
                row.inception = ByteString::new(inception.to_vec());
                (row.keys, row.dialled) = (None, None);
                row.received = Some(turn.now.unix);
                keep(&code, &row)
            }
            Joining::Keys { keys, .. } => {
                let Some(inception) = &row.inception else {
                    return refused("the inception has to be handed in first");
                };
                let network = self.roster.network();
                let application = match Application::verify(inception, keys, &network) {
                    Ok(application) => application,
                    Err(error) => return refused(&format!("the keys do not hold: {error}")),
                };
                if application.keys.keys.iter().all(|record| record.key != peer) {
                    return refused("the keys do not list the key of this connection");
                }
                row.keys = ByteString::new(keys.to_vec());
                keep(&code, &row)
            }
            Joining::DialBack { address, .. } => {
                let waiting = DialBack { code, id, regard };
                self.dial_back(turn, peer, waiting, &row, address)
            }
            Joining::Progress { .. } => Said::Now(self.progress(turn, &row)),
        }
    }

    /// Only to addresses that the applicant itself has listed, one at a time.
    fn dial_back(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PublicKey,
        waiting: DialBack,
        row: &InvitationRow,
        address: &str,
    ) -> Said {
        let network = self.roster.network();
        let application = row
            .inception
            .as_ref()
            .zip(row.keys.as_ref())
            .and_then(|(i, k)| Application::verify(i, k, &network).ok());
        let listed = application.is_some_and(|application| {
            let mut addresses =
                application.keys.nodes.iter().flat_map(|node| node.addresses.iter());
            addresses.any(|listed| **listed == *address)
        });
        let Some(parsed) = address.parse::<Multiaddr>().ok().filter(|_| listed) else {
            return refused("only an address that the keys list is dialled");
        };
        if self.dial_backs.values().any(|other| other.code == waiting.code) {
            return refused("an attempt to reach this address is under way");
        }
        let token = self.number();
        self.dial_backs.insert(token, waiting);
        turn.act(Action::DialBack { token, peer, address: parsed.to_string() });
        Said::Later
    }

    /// The outcome of a dial-back, for whoever waits for it.
    pub(super) fn on_dial_back(
        &mut self,
        turn: &mut Turn<'_>,
        token: u64,
        result: Result<(), String>,
    ) {
        let Some(DialBack { code, id, regard }) = self.dial_backs.remove(&token) else { return };
        let reason = Text::shortened(result.as_ref().err().map_or("", String::as_str));
        let answer = JoiningAnswer::DialBack { reachable: result.is_ok(), reason: reason.clone() };
        turn.reply(id, &hello_answer(regard, turn.now.unix, Some(answer)));
        // For the admins who decide; should it be lost, the applicant asks again.
        let row = turn.store.get(&rows::invitation_key(&code)).ok().flatten();
        if let Some(mut row) = row.as_deref().and_then(read_row) {
            row.dialled = Some(reason);
            let batches = vec![stored(&code, &row)];
            turn.act(Action::Persist(Persist { batches, ..Persist::default() }));
        }
    }

    fn progress(&mut self, turn: &Turn<'_>, row: &InvitationRow) -> JoiningAnswer {
        let organization = row.inception.as_ref().and_then(|i| verify_inception(i).ok());
        let Some((organization, _)) = organization else {
            return JoiningAnswer::Progress { stage: JoiningStage::Waiting };
        };
        let law = self.law(turn.now.unix);
        let stage = if self.roster.is_admitted(&organization) {
            JoiningStage::Admitted
        } else {
            proposed(&law, &organization).unwrap_or(JoiningStage::Waiting)
        };
        JoiningAnswer::Progress { stage }
    }
}

/// How far the furthest open proposal to admit an organization is.
fn proposed(law: &Law, organization: &OrganizationId) -> Option<JoiningStage> {
    let open = law.proposals().filter(|(_, decision)| decision.state == State::Open);
    let admitting = open.filter(|(_, decision)| match &decision.proposal.change {
        Change::Member(record) => {
            record.standing == Standing::Admitted && record.organization() == *organization
        }
        _ => false,
    });
    let furthest = admitting.max_by_key(|(_, decision)| decision.approvals.len())?.1;
    let approvals = u16::try_from(furthest.approvals.len()).unwrap_or(u16::MAX);
    Some(JoiningStage::Proposed { approvals, needed: furthest.needed })
}

fn refused(reason: &str) -> Said {
    Said::Now(JoiningAnswer::Refused(Text::shortened(reason)))
}

/// The applicant is told when it is on disk.
fn keep(code: &InvitationCode, row: &InvitationRow) -> Said {
    Said::Once(stored(code, row), JoiningAnswer::Noted)
}

fn stored(code: &InvitationCode, row: &InvitationRow) -> Batch {
    let mut batch = Batch::new();
    batch
        .put(rows::invitation_key(code), codec::encode(row))
        .expect("an application is far smaller than a row may be");
    batch
}

fn read_row(bytes: &[u8]) -> Option<InvitationRow> {
    codec::decode("invitation", bytes, 2 * limits::STATEMENT_BYTES_MAX).ok()
}
