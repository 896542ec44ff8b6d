//! The founders of the small network, and what they say in the roster plane.

use std::fmt;

use rand_chacha::ChaCha20Rng;
use signpost_keys::{
    Roster, SecretKey, VerifyError,
    roster::{FoundingError, Refusal, endorse, incept, verify_inception},
    sign,
};
use signpost_protocol::{
    ContentHash, NetworkId, NodeId, OdsCode, OrganizationId,
    codec::{self, Bounded, ByteString},
    roster::{
        Approval, Change, Heartbeat, Inception, KeyRecord, MemberRecord, NodeRecord, Objection,
        OrganizationKeys, Parameters, Proposal, Revocation, RevocationReason, RootReset,
        RosterFile, Standing, Steward, StewardEpoch,
    },
    statement::{Body, Envelope, KeyUse},
};

use crate::{
    messages::{DAY, Judge, NOW, Network, Raw, Sign, Subject, WEIGHT, bytes, list, survives, text},
    outcome::Outcome,
};

pub(crate) struct Founder {
    pub(crate) organization: OrganizationId,
    pub(crate) node: NodeId,
    ods: OdsCode,
    pub(crate) inception: Vec<u8>,
    pub(crate) root: SecretKey,
    pub(crate) govern: SecretKey,
    pub(crate) pointer: SecretKey,
    pub(crate) transport: SecretKey,
}

impl Founder {
    pub(crate) fn draw(number: usize, rng: &mut ChaCha20Rng) -> Self {
        let ods: OdsCode = format!("F{number}").parse().expect("an ODS code");
        let (inception, root, _) = incept(ods.clone(), text("Founder"), NOW, rng);
        let inception = inception.bytes().to_vec();
        let (organization, _) = verify_inception(&inception).expect("it was just made");
        let node = NodeId([number as u8; 16]);
        let mut key = || SecretKey::generate(rng);
        let (govern, pointer, transport) = (key(), key(), key());
        Self { organization, node, ods, inception, root, govern, pointer, transport }
    }

    pub(crate) fn record(&self) -> MemberRecord {
        MemberRecord {
            inception: bytes(&self.inception),
            version: 0,
            standing: Standing::Admitted,
            ods: self.ods.clone(),
            name: text("Founder"),
            class_max: 10,
            successor: None,
        }
    }

    pub(crate) fn steward(&self) -> Steward {
        Steward { organization: self.organization, govern: self.govern.public() }
    }

    fn keys(&self) -> OrganizationKeys {
        let key = |key: &SecretKey, usage, node| KeyRecord {
            key: key.public(),
            usage,
            node,
            not_before: NOW.minus(DAY),
            not_after: NOW.plus(DAY),
            revoked: None,
        };
        let (node, addresses) = (Some(self.node), list(vec![text("/ip4/192.0.2.1/tcp/4001")]));
        OrganizationKeys {
            organization: self.organization,
            lineage: 0,
            version: 1,
            previous: ContentHash(self.organization.0),
            nodes: list(vec![NodeRecord { node: self.node, addresses }]),
            keys: list(vec![
                key(&self.govern, KeyUse::Govern, None),
                key(&self.pointer, KeyUse::Pointer, node),
                key(&self.transport, KeyUse::Transport, node),
            ]),
            issued: NOW,
        }
    }
}

/// The roster file of a founding: endorsed by every founder, with their keys, and an approval by
/// the second one of a reset of the first one's root, so that there is something to object to.
/// `None` when the founding is too long for a file.
pub(crate) fn file(founders: &[Founder], founding: &[u8]) -> Option<Vec<u8>> {
    let network = NetworkId(ContentHash::of(founding).0);
    let mut statements = Vec::new();
    for founder in founders {
        let endorsement = endorse(founding, founder.organization, &founder.root, NOW);
        let keys = sign(founder.keys(), &founder.root, &network);
        statements.extend([bytes(endorsement.bytes()), bytes(keys.bytes())]);
    }
    let approval = approval(&founders[1], &reset(&founders[0]));
    statements.push(bytes(sign(approval, &founders[1].govern, &network).bytes()));
    let founding = ByteString::new(founding.to_vec())?;
    Some(codec::encode(&RosterFile { founding, statements: Bounded::new(statements)? }))
}

fn proposal(change: Change) -> Proposal {
    let expires = NOW.plus(DAY);
    Proposal { epoch: 0, change, reason: text("Seen on video."), issued: NOW, expires }
}

fn reset(founder: &Founder) -> Proposal {
    let root = SecretKey::from_seed(&[0x3a; 32]).public();
    let next_root = ContentHash([0x3b; 32]);
    proposal(Change::Root(RootReset {
        organization: founder.organization,
        lineage: 1,
        root,
        next_root,
    }))
}

fn approval(steward: &Founder, proposal: &Proposal) -> Approval {
    let proposal = bytes(&codec::encode(proposal));
    Approval { steward: steward.organization, proposal, issued: NOW }
}

impl Subject {
    /// A statement that becomes part of the roster, rather than being judged by it.
    fn of_roster<B>(name: &'static str, network: &Network, body: B) -> Self
    where
        B: Body + PartialEq + fmt::Debug,
    {
        let judge: Judge = |network, bytes| {
            let mut statements = network.statements.clone();
            match statements.take(bytes, NOW) {
                Ok(taken) if taken.waits => Outcome::Roster("it waits for another statement"),
                Ok(taken) if taken.new.is_empty() => Outcome::Roster("it adds nothing"),
                Ok(_) => {
                    let envelope = Envelope::parse(B::KIND, bytes, B::BYTES_MAX);
                    let body = envelope.and_then(|envelope| envelope.body::<B>());
                    let body = body.expect("it was taken up");
                    let again = codec::decode("mutant", &codec::encode(&body), B::BYTES_MAX);
                    assert_eq!(body, again.expect("what was decoded can be encoded"));
                    Outcome::Verified
                }
                // The body tells whose key to look for, so these come before the signature.
                Err(Refusal::Verify(VerifyError::WrongAuthor)) => {
                    Outcome::Roster("an inception names another key")
                }
                Err(Refusal::Verify(error)) => Outcome::of_verifying(&error, false),
                Err(Refusal::Kind) => Outcome::Roster("no statement of a roster"),
                Err(Refusal::Inconsistent(_)) => Outcome::Roster("the statement is not consistent"),
                Err(Refusal::Future) => Outcome::Roster("from the future"),
                Err(other) => panic!("an error that this test does not know: {other}"),
            }
        };
        let again: Sign = |network, payload| {
            let raw = Raw::<B>::new(payload);
            Some(sign(raw, network.key::<B>(), &network.id).bytes().to_vec())
        };
        Self {
            name,
            payload: codec::encode(&body),
            message: sign(body, network.key::<B>(), &network.id).bytes().to_vec(),
            judge,
            sign: Some(again),
            names_its_key: true,
            weight: WEIGHT,
        }
    }
}

impl Network {
    pub(crate) fn roster_subjects(&self) -> Vec<Subject> {
        let (us, them) = (&self.founders[0], &self.founders[1]);
        let mut keys = us.keys();
        keys.version = 2;
        let mut records = keys.keys.into_inner();
        records[1].revoked = Some(Revocation { since: NOW, reason: RevocationReason::Superseded });
        keys.keys = list(records);
        let suspension = proposal(Change::Member(MemberRecord {
            version: 1,
            standing: Standing::Suspended,
            successor: Some(us.organization),
            ..them.record()
        }));
        let stewards = proposal(Change::Stewards(StewardEpoch {
            number: 1,
            previous: ContentHash(self.id.0),
            stewards: list(vec![us.steward(), them.steward()]),
            threshold: 2,
            parameters: Parameters::STANDARD,
        }));
        let root = reset(us);
        let id = |proposal: &Proposal| ContentHash::of(&codec::encode(proposal));
        let objection = Objection {
            organization: us.organization,
            proposal: id(&root),
            reason: text("We have our keys."),
            issued: NOW,
        };
        let heartbeat = Heartbeat {
            steward: us.organization,
            number: 1,
            roster: ContentHash([0; 32]),
            witnessed: list(vec![id(&suspension), id(&root)]),
            issued: NOW,
        };
        vec![
            self.inception(),
            self.roster_file(),
            Subject::of_roster("organization keys", self, keys),
            Subject::of_roster("approval of a suspension", self, approval(us, &suspension)),
            Subject::of_roster("approval of stewards", self, approval(us, &stewards)),
            Subject::of_roster("approval of a reset", self, approval(us, &root)),
            Subject::of_roster("objection", self, objection),
            Subject::of_roster("heartbeat", self, heartbeat),
            Subject::unsigned("proposal", &suspension),
        ]
    }

    fn inception(&self) -> Subject {
        let message = self.founders[0].inception.clone();
        let (_, inception) = verify_inception(&message).expect("it was just made");
        Subject {
            name: "inception",
            payload: codec::encode(&*inception),
            message,
            judge: |_, bytes| match verify_inception(bytes) {
                Ok((_, inception)) => survives(inception),
                // The key stands inside, so these two come before the signature.
                Err(VerifyError::WrongAuthor) => Outcome::Roster("an inception names another key"),
                Err(error) => Outcome::of_verifying(&error, false),
            },
            sign: Some(|network, payload| {
                let root = &network.founders[0].root;
                let raw = Raw::<Inception>::new(payload);
                Some(sign(raw, root, &NetworkId::NONE).bytes().to_vec())
            }),
            names_its_key: true,
            weight: WEIGHT,
        }
    }

    /// The roster file; signed again means that every founder says again what it says in it.
    fn roster_file(&self) -> Subject {
        let founding = self.statements.founding();
        Subject {
            name: "roster",
            message: file(&self.founders, founding).expect("it was read"),
            payload: founding.to_vec(),
            judge: |network, bytes| match Roster::open(bytes, None, NOW) {
                // Unknown fields around founding and statements mean nothing to anybody.
                Ok(roster) if roster.network() == network.id => Outcome::SameNetwork,
                Ok(_) => Outcome::Verified,
                Err(FoundingError::Decode(error)) => Outcome::of_decoding(&error, false),
                Err(FoundingError::Inception { .. }) => Outcome::Roster("an inception"),
                Err(FoundingError::Statement { .. }) => Outcome::Roster("a statement"),
                Err(FoundingError::NotEndorsed { .. }) => Outcome::Roster("not endorsed"),
                Err(FoundingError::Inconsistent(_)) => {
                    Outcome::Roster("the founding is not consistent")
                }
                Err(other) => panic!("an error that this test does not know: {other}"),
            },
            sign: Some(|network, founding| file(&network.founders, founding)),
            names_its_key: true,
            weight: 1,
        }
    }
}
