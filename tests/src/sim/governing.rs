//! Admins and stewards: what they sign, and hand to a node.

use signpost_keys::{
    SecretKey,
    blinding::ceremony::Progress,
    roster::{Roster, Statements},
    sign,
};
use signpost_node::core::local::{JoinCeremonyError, LocalReply, LocalRequest, Submitted};
use signpost_protocol::{
    ContentHash, KeyEpoch, OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    roster::{
        Approval, CeremonyCall, CeremonyConsent, Change, Dealer, MemberRecord, Objection,
        OrganizationKeys, Proposal, Revocation, RevocationReason, RootReset, Standing, Steward,
        StewardEpoch,
    },
};

use super::{Network, SimNode};
use crate::founding::{CLASS_MAX, FOUNDED, newcomer};

/// Milliseconds that a proposal lives, unless a test says otherwise.
pub const PROPOSAL_LIFE: u64 = 60_000;
/// Milliseconds that a ceremony may take.
const CEREMONY_LIFE: u64 = 120_000;

impl Network {
    /// The true time.
    #[must_use]
    pub fn true_time(&self) -> Timestamp {
        FOUNDED.plus(self.now)
    }

    /// What a node has been told of the roster.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn statements_at(&mut self, at: usize) -> Statements {
        let LocalReply::RosterFile(file) = self.call(at, LocalRequest::RosterFile) else {
            unreachable!("the core replies in kind")
        };
        let network = self.statements.network();
        Statements::read(&file, Some(network), self.true_time()).expect("a node has what holds")
    }

    /// The roster at a node, by true time.
    pub fn roster_at(&mut self, at: usize) -> Roster {
        self.statements_at(at).roster(self.true_time())
    }

    /// Hands statements to a node, and waits.
    pub fn submit(
        &mut self,
        at: usize,
        statements: Vec<Vec<u8>>,
    ) -> Vec<Result<Submitted, String>> {
        match self.call(at, LocalRequest::SubmitStatements(statements)) {
            LocalReply::SubmitStatements(results) => results,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// A change, as the present stewards in the view of a node are asked for it.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn proposal(&mut self, at: usize, change: Change, life: u64) -> Proposal {
        let epoch = self.roster_at(at).epoch().number();
        self.proposal_in(epoch, change, life)
    }

    /// A change, as the stewards of an epoch are asked for it.
    ///
    /// # Panics
    /// Never: its reason is short.
    #[must_use]
    pub fn proposal_in(&self, epoch: u64, change: Change, life: u64) -> Proposal {
        let issued = self.true_time();
        let reason = Text::new("a test").expect("short");
        Proposal { epoch, change, reason, issued, expires: issued.plus(life) }
    }

    /// Approvals of a proposal by the first organizations of these nodes.
    ///
    /// # Panics
    /// When the proposal is too long.
    #[must_use]
    pub fn approvals(&self, proposal: &Proposal, by: &[usize]) -> Vec<Vec<u8>> {
        let proposal = ByteString::new(codec::encode(proposal)).expect("within its cap");
        let network = self.statements.network();
        let issued = self.true_time();
        let approve = |at: &usize| {
            let founder = &self.nodes[*at].founder;
            let steward = founder.organization;
            let approval = Approval { steward, proposal: proposal.clone(), issued };
            sign(approval, &SecretKey::from_seed(&founder.govern), &network).bytes().to_vec()
        };
        by.iter().map(approve).collect()
    }

    /// Has the first three stewards decide something, at one node.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn decide(&mut self, at: usize, change: Change) {
        let proposal = self.proposal(at, change, PROPOSAL_LIFE);
        let approvals = self.approvals(&proposal, &[0, 1, 2]);
        for result in self.submit(at, approvals) {
            result.expect("the node takes it up");
        }
    }

    /// The next record of a member, as a node sees it.
    ///
    /// # Panics
    /// When the organization is no member.
    pub fn next_record(&mut self, at: usize, organization: OrganizationId) -> MemberRecord {
        let statements = self.statements_at(at);
        let law = statements.law(self.true_time());
        let record = law.record(&statements, &organization).expect("it is a member").clone();
        MemberRecord { version: record.version + 1, ..record }
    }

    /// Has the stewards decide at a node where a member stands.
    pub fn set_standing(&mut self, at: usize, organization: OrganizationId, standing: Standing) {
        let record = MemberRecord { standing, ..self.next_record(at, organization) };
        self.decide(at, Change::Member(record));
    }

    /// Starts the node of a new organization, which is no member yet: its number, and the record
    /// that would admit it.
    ///
    /// # Panics
    /// Never: a newcomer is well formed.
    pub fn add_newcomer(&mut self, seed: u64) -> (usize, MemberRecord) {
        let at = self.nodes.len();
        let (founder, inception) = newcomer(1_000 + at, seed);
        let record = MemberRecord {
            inception: ByteString::new(inception).expect("within its cap"),
            version: 1,
            standing: Standing::Admitted,
            ods: founder.ods.parse().expect("well formed"),
            name: Text::new(&format!("Organization {}", founder.ods)).expect("short"),
            class_max: CLASS_MAX,
            successor: None,
        };
        self.add_node(SimNode::new(founder));
        self.start(at);
        (at, record)
    }

    /// Starts a further node of an organization, which does not list it yet: its number.
    pub fn add_second(&mut self, of: usize, seed: u64) -> usize {
        let at = self.nodes.len();
        self.add_node(SimNode::new(self.nodes[of].founder.second(seed)));
        self.start(at);
        at
    }

    /// Signs what an organization lists next, after what a node knows of it.
    ///
    /// # Panics
    /// When it never listed anything.
    pub fn next_keys(
        &mut self,
        at: usize,
        of: usize,
        edit: impl FnOnce(&mut OrganizationKeys),
    ) -> Vec<u8> {
        let statements = self.statements_at(at);
        let law = statements.law(self.true_time());
        let founder = &self.nodes[of].founder;
        let (mut keys, previous) = match statements.last_keys(&law, &founder.organization) {
            Some(last) => ((**last).clone(), Some(last.hash())),
            None => (founder.keys(), None),
        };
        if let Some(previous) = previous {
            (keys.version, keys.previous) = (keys.version + 1, previous);
        }
        keys.issued = self.true_time();
        edit(&mut keys);
        let root = SecretKey::from_seed(&founder.root);
        sign(keys, &root, &self.statements.network()).bytes().to_vec()
    }

    /// Has an organization revoke the transport key of its node, as of now, at one node.
    ///
    /// # Panics
    /// When that node refuses it.
    pub fn revoke_transport(&mut self, at: usize, of: usize) {
        let (key, since) = (self.key(of), self.true_time());
        let revoked = Some(Revocation { since, reason: RevocationReason::Compromised });
        let keys = self.next_keys(at, of, |keys| {
            let mut records = keys.keys.clone().into_inner();
            records.iter_mut().filter(|record| record.key == key).for_each(|record| {
                record.revoked = revoked;
            });
            keys.keys = Bounded::new(records).expect("as many as before");
        });
        self.submit(at, vec![keys]).remove(0).expect("the node takes it up");
    }

    /// The next steward epoch, as a node sees it, with other stewards.
    pub fn next_stewards(&mut self, at: usize, stewards: &[usize]) -> Change {
        let roster = self.roster_at(at);
        let epoch = roster.epoch();
        let stewards: Vec<Steward> =
            stewards.iter().map(|at| self.nodes[*at].founder.steward()).collect();
        let threshold = u16::try_from(stewards.len() / 2 + 1).unwrap_or(u16::MAX);
        Change::Stewards(StewardEpoch {
            number: epoch.number() + 1,
            previous: epoch.id(),
            stewards: Bounded::new(stewards).unwrap_or_default(),
            threshold,
            parameters: *epoch.parameters(),
        })
    }

    /// A reset of an organization's root key to the one of this seed.
    #[must_use]
    pub fn root_reset(&self, of: usize, seed: &[u8; 32]) -> Change {
        let root = SecretKey::from_seed(seed).public();
        let next_root = ContentHash::of(root.as_bytes());
        let organization = self.nodes[of].founder.organization;
        Change::Root(RootReset { organization, lineage: 1, root, next_root })
    }

    /// The protest of an organization's root key against a proposal.
    #[must_use]
    pub fn objection(&self, of: usize, proposal: &Proposal) -> Vec<u8> {
        let founder = &self.nodes[of].founder;
        let objection = Objection {
            organization: founder.organization,
            proposal: ContentHash::of(&codec::encode(proposal)),
            reason: Text::shortened("we have not lost it"),
            issued: self.true_time(),
        };
        let root = SecretKey::from_seed(&founder.root);
        sign(objection, &root, &self.statements.network()).bytes().to_vec()
    }

    /// A steward's call to a ceremony: to make a key among the first organizations of these nodes, or to
    /// hand on the one there is, by these dealers. Its name and its bytes.
    ///
    /// # Panics
    /// When the node does not answer.
    pub fn ceremony_call(
        &mut self,
        at: usize,
        (evaluators, threshold): (&[usize], u16),
        dealers: &[usize],
    ) -> (ContentHash, Vec<u8>) {
        let statements = self.statements_at(at);
        let roster = statements.roster(self.true_time());
        let set = roster.evaluators().current();
        let organization = |at: &usize| self.nodes[*at].founder.organization;
        let dealers: Vec<_> = dealers.iter().map(organization).collect();
        let holders = set.into_iter().flat_map(|set| set.evaluators.iter());
        let dealers = holders
            .filter(|holder| dealers.contains(&holder.organization))
            .map(|holder| Dealer { index: holder.index, organization: holder.organization });
        let founder = &self.nodes[at].founder;
        let call = CeremonyCall {
            steward: founder.organization,
            number: statements.next_call_number(&founder.organization),
            previous: roster.evaluators().id,
            key_epoch: set.map_or(KeyEpoch(1), |set| set.key_epoch),
            share_epoch: set.map_or(1, |set| set.share_epoch + 1),
            threshold,
            evaluators: Bounded::new(evaluators.iter().map(organization).collect()).expect("few"),
            dealers: Bounded::new(dealers.collect()).expect("few"),
            issued: self.true_time(),
            expires: self.true_time().plus(CEREMONY_LIFE),
        };
        let govern = SecretKey::from_seed(&founder.govern);
        let signed = sign(call, &govern, &self.statements.network());
        (signed.hash(), signed.bytes().to_vec())
    }

    /// Has a node take part in a ceremony, as its first organization.
    ///
    /// # Errors
    /// As the node says.
    pub fn join_ceremony(&mut self, at: usize, call: ContentHash) -> Result<(), JoinCeremonyError> {
        let founder = &self.nodes[at].founder;
        let (organization, issued) = (founder.organization, self.true_time());
        let consent = CeremonyConsent { organization, ceremony: call, issued };
        let govern = SecretKey::from_seed(&founder.govern);
        let consent = sign(consent, &govern, &self.statements.network()).bytes().to_vec();
        match self.call(at, LocalRequest::JoinCeremony(consent)) {
            LocalReply::JoinCeremony(result) => result,
            _ => unreachable!("the core replies in kind"),
        }
    }

    /// What came out of a ceremony in the view of a node, as the stewards are to put it in force; why
    /// there is nothing, else.
    ///
    /// # Errors
    /// That it is unknown, not complete, or came to nothing.
    pub fn ceremony_outcome(&mut self, at: usize, call: ContentHash) -> Result<Change, String> {
        let statements = self.statements_at(at);
        let roster = statements.roster(self.true_time());
        let evaluators = roster.evaluators();
        let ceremony = statements.ceremony(&call).ok_or("it is not known")?;
        match ceremony.watch(evaluators)? {
            Progress::Done(outcome) => Ok(Change::Evaluators(evaluators.next(ceremony, &outcome)?)),
            Progress::Failed(fault) => Err(fault.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    /// What each running node has made law, hashed.
    #[must_use]
    pub fn roster_digests(&self) -> Vec<String> {
        self.running().map(|at| self.status(at).roster.digest).collect()
    }

    /// Whether all running nodes agree on what is law.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let digests = self.roster_digests();
        digests.windows(2).all(|two| two[0] == two[1])
    }
}
