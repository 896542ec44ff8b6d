//! A roster as people look at it: all statements, what counts of them, and what follows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use signpost_keys::{
    Member, Roster, Verified,
    roster::{Decision, Law, Refusal, State, Statements},
};
use signpost_protocol::{
    ContentHash, NetworkId, OrganizationId, Timestamp, codec, limits,
    roster::{
        Approval, Change, Founding, MemberRecord, OrganizationKeys, Proposal, RosterFile, Standing,
        Subject,
    },
    statement::{Body as _, Envelope, StatementKind, statement_hash},
};

use super::{fail, words};

/// Hexadecimal digits by which an id may be abbreviated: 24 bits, of a few thousand ids.
const ID_DIGITS_MIN: usize = 6;
/// Ids that are listed where one was meant and several fit.
const CANDIDATES_MAX: usize = 5;

/// A roster at an instant.
#[derive(Clone)]
pub(super) struct View {
    pub(super) statements: Statements,
    pub(super) law: Law,
    pub(super) roster: Roster,
    pub(super) now: Timestamp,
    /// Of each member the records that are or were law, by version.
    records: BTreeMap<OrganizationId, BTreeMap<u64, MemberRecord>>,
    /// How many members founded the network.
    pub(super) founders: usize,
}

/// A roster file, read to its end whatever it holds.
pub(super) struct Reading {
    pub(super) view: View,
    /// How many statements of each kind are kept.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// Proposals' approvals that have expired: of no effect, and no fault.
    pub(super) void: usize,
    /// What does not hold.
    pub(super) faults: Vec<String>,
}

impl View {
    pub(super) fn new(statements: Statements, now: Timestamp) -> Self {
        let law = statements.law(now);
        let roster = statements.roster(now);
        let (records, founders) = records(&statements, &law);
        Self { statements, law, roster, now, records, founders }
    }

    /// Reads a roster file of which everything must hold.
    pub(super) fn read(
        file: &[u8],
        expected: Option<NetworkId>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let reading = Reading::of(file, expected, now)?;
        match reading.faults.first() {
            None => Ok(reading.view),
            Some(fault) => Err(fail(
                format!("the roster does not hold: {fault}"),
                "`signpost roster verify` lists everything that does not; get the roster anew from \
                 another member (`signpost roster export`)",
            )),
        }
    }

    /// This view with further statements; what does not hold, or waits, is an error.
    pub(super) fn with(&self, statements: &[Vec<u8>]) -> anyhow::Result<Self> {
        let mut all = self.statements.clone();
        for bytes in statements {
            let taken = all.take(bytes, self.now).context("the statement does not hold")?;
            if taken.waits {
                return Err(fail(
                    "the statement rests on another one that is not here".to_owned(),
                    "import the roster that it was made with first (`signpost roster import`)",
                ));
            }
        }
        Ok(Self::new(all, self.now))
    }

    /// The record that one of this version takes the place of; none for a new member.
    pub(super) fn record_before(
        &self,
        organization: &OrganizationId,
        version: u64,
    ) -> Option<&MemberRecord> {
        self.records.get(organization)?.range(..version).next_back().map(|(_, record)| record)
    }

    pub(super) fn member(&self, organization: &OrganizationId) -> Option<&Member> {
        self.roster.member(organization)
    }

    /// The newest key set of an organization that counts.
    pub(super) fn last_keys(
        &self,
        organization: &OrganizationId,
    ) -> Option<&Verified<OrganizationKeys>> {
        self.statements.last_keys(&self.law, organization)
    }

    /// The member that a person means: by its ODS code, or by the beginning of its organization id.
    pub(super) fn find_member(&self, text: &str) -> anyhow::Result<&Member> {
        let code = text.parse().ok();
        if let Some(member) = code.as_ref().and_then(|code| self.roster.member_by_ods(code)) {
            return Ok(member);
        }
        let fits = |member: &&Member| {
            Some(&member.ods) == code.as_ref()
                || (is_id(text) && member.organization.to_string().starts_with(text))
        };
        let mut found: Vec<&Member> = self.roster.members().filter(fits).collect();
        match (found.pop(), found.is_empty()) {
            (Some(member), true) => Ok(member),
            (Some(_), false) => Err(fail(
                format!("{text} fits several organizations"),
                "give more digits of the organization id: `signpost roster show --json` has them",
            )),
            (None, _) => Err(fail(
                format!("{text} is no member of {}", self.roster.name()),
                "`signpost roster show` lists the members by ODS code",
            )),
        }
    }

    /// The proposal that a person means: by its id, or by the beginning of it.
    pub(super) fn find_proposal(&self, text: &str) -> anyhow::Result<ContentHash> {
        if !is_id(text) {
            return Err(fail(
                format!("{text} is neither a file nor the id of a proposal"),
                "an id is hexadecimal, the first six digits are enough; `signpost roster log` lists \
                 all proposals",
            ));
        }
        let ids = self.law.proposals().map(|(id, _)| *id);
        let found: Vec<ContentHash> =
            ids.filter(|id| id.to_string().starts_with(text)).take(CANDIDATES_MAX + 1).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            [] => Err(fail(
                format!("no proposal here has the id {text}"),
                "it may not have arrived yet: import it (`signpost roster import FILE`), or ask who \
                 sent you the id",
            )),
            several => {
                let ids =
                    several.iter().take(CANDIDATES_MAX).map(|id| id.to_string()[..12].to_owned());
                Err(fail(
                    format!(
                        "{text} fits several proposals: {}",
                        ids.collect::<Vec<_>>().join(", ")
                    ),
                    "give more digits",
                ))
            }
        }
    }

    /// What has become of a proposal.
    pub(super) fn decision(&self, id: &ContentHash) -> anyhow::Result<&Decision> {
        self.law
            .proposal(id)
            .with_context(|| format!("no proposal here has the id {}", words::short(id)))
    }

    /// The highest version that anybody has proposed for a subject, or that counts.
    pub(super) fn version_seen(&self, subject: Subject) -> u64 {
        let current = match subject {
            Subject::Member(organization) => {
                self.law.record(&self.statements, &organization).map_or(0, |record| record.version)
            }
            Subject::Stewards => self.roster.epoch().number(),
            Subject::Evaluators => self.roster.evaluators().version,
            Subject::Root(organization) => {
                self.member(&organization).map_or(0, |member| u64::from(member.lineage))
            }
        };
        let proposed = self.law.proposals().map(|(_, decision)| decision.proposal.change.subject());
        let of_subject = proposed.filter(|(other, _)| *other == subject);
        of_subject.map(|(_, version)| version).fold(current, u64::max)
    }

    /// Milliseconds since enough stewards to make law were last heard of.
    pub(super) fn age(&self) -> u64 {
        self.now.since(self.roster.fresh())
    }

    /// Whether an organization evaluates blinded identifiers.
    pub(super) fn is_evaluator(&self, organization: &OrganizationId) -> bool {
        let sets = self.roster.evaluators().sets.iter();
        sets.flat_map(|set| set.evaluators.iter())
            .any(|evaluator| evaluator.organization == *organization)
    }

    /// Members that are not gone for good and have this ODS code, other than `but`.
    pub(super) fn others_with_code(
        &self,
        ods: &signpost_protocol::OdsCode,
        but: &OrganizationId,
    ) -> Option<&Member> {
        self.roster.members().find(|member| {
            member.ods == *ods
                && member.organization != *but
                && member.standing != Standing::Expelled
        })
    }
}

/// The records of members that are or were law, and the number of founders.
fn records(
    statements: &Statements,
    law: &Law,
) -> (BTreeMap<OrganizationId, BTreeMap<u64, MemberRecord>>, usize) {
    let mut records: BTreeMap<_, BTreeMap<u64, MemberRecord>> = BTreeMap::new();
    let founding: Option<Founding> =
        codec::decode("founding", statements.founding(), limits::FOUNDING_BYTES_MAX).ok();
    for record in founding.iter().flat_map(|founding| founding.members.iter()) {
        records.entry(record.organization()).or_default().insert(record.version, record.clone());
    }
    let founders = records.len();
    for (_, decision) in law.proposals() {
        let counted = matches!(decision.state, State::Law | State::Superseded | State::Fallen);
        if let (true, Change::Member(record)) = (counted, &decision.proposal.change) {
            let of_member = records.entry(record.organization()).or_default();
            of_member.insert(record.version, record.clone());
        }
    }
    (records, founders)
}

fn is_id(text: &str) -> bool {
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (ID_DIGITS_MIN..=64).contains(&text.len()) && text.bytes().all(hexadecimal)
}

impl Reading {
    /// Reads a roster file and notes what of it does not hold.
    ///
    /// # Errors
    /// When the bytes are no roster file, the founding does not hold, or it is of another network.
    pub(super) fn of(
        file: &[u8],
        expected: Option<NetworkId>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let file: RosterFile = codec::decode("roster file", file, limits::ROSTER_FILE_BYTES_MAX)
            .map_err(|error| fail(format!("this is no roster file: {error}"), HANDED_ON))?;
        let mut statements = Statements::begin(&file.founding, expected)?;
        let (mut void, mut faults, mut waiting) = (0, Vec::new(), BTreeSet::new());
        let mut again = Vec::new();
        for (number, bytes) in file.statements.iter().enumerate() {
            match statements.take(bytes, now) {
                Ok(taken) if taken.waits => drop(waiting.insert((number, statement_hash(bytes)))),
                Ok(_) => {}
                // Whoever else has approved the same proposal brings it in, so that it finds room.
                Err(Refusal::TooManyOpen) => again.push(bytes),
                Err(error) => faults.push(format!("statement {}: {error}", number + 1)),
            }
        }
        for bytes in again {
            let _ = statements.take(bytes, now);
        }
        for (number, _) in waiting.iter().filter(|(_, hash)| !statements.has(hash)) {
            if is_void(&file.statements[*number], now) {
                void += 1;
            } else {
                faults.push(format!(
                    "statement {}: it rests on another one that is not in the file",
                    number + 1
                ));
            }
        }
        if let Err(error) = statements.check_endorsed() {
            faults.push(error.to_string());
        }
        let mut counts = BTreeMap::new();
        for (_, bytes) in statements.iter() {
            let kind = Envelope::kind_of(&bytes).map_or("other", |kind| kind.name());
            *counts.entry(kind).or_insert(0) += 1;
        }
        Ok(Self { view: View::new(statements, now), counts, void, faults })
    }
}

/// Whether an approval is of a proposal that has expired, or a statement belongs to a ceremony: of one that
/// is over nothing is kept.
fn is_void(bytes: &[u8], now: Timestamp) -> bool {
    let kind = Envelope::kind_of(bytes);
    if matches!(kind, Some(StatementKind::CeremonyCall | StatementKind::CeremonyMessage)) {
        return true;
    }
    let envelope = Envelope::parse(Approval::KIND, bytes, Approval::BYTES_MAX);
    let approval = envelope.and_then(|envelope| envelope.body::<Approval>());
    let proposal = approval.and_then(|approval| Proposal::decode(&approval.proposal));
    proposal.is_ok_and(|proposal| proposal.expires <= now)
}

/// Where roster files come from.
pub(super) const HANDED_ON: &str = "a roster file is written by `signpost roster export`";
