//! Admins and stewards: what they sign, and hand to a node.

use signpost_keys::{
    SecretKey,
    roster::{Roster, Statements},
    sign,
};
use signpost_node::core::local::{LocalReply, LocalRequest, Submitted};
use signpost_protocol::{
    OrganizationId, Timestamp,
    codec::{self, Bounded, ByteString, Text},
    roster::{
        Approval, Change, MemberRecord, Objection, OrganizationKeys, Proposal, Revocation,
        RevocationReason, RootReset, Standing, Steward, StewardEpoch,
    },
};

use super::{Network, SimNode};
use crate::founding::{CLASS_MAX, FOUNDED, newcomer};

/// Milliseconds that a proposal lives, unless a test says otherwise.
pub const PROPOSAL_LIFE: u64 = 60_000;

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
        let next_root = signpost_protocol::ContentHash::of(root.as_bytes());
        let organization = self.nodes[of].founder.organization;
        Change::Root(RootReset { organization, lineage: 1, root, next_root })
    }

    /// The protest of an organization's root key against a proposal.
    #[must_use]
    pub fn objection(&self, of: usize, proposal: &Proposal) -> Vec<u8> {
        let founder = &self.nodes[of].founder;
        let objection = Objection {
            organization: founder.organization,
            proposal: signpost_protocol::ContentHash::of(&codec::encode(proposal)),
            reason: Text::shortened("we have not lost it"),
            issued: self.true_time(),
        };
        let root = SecretKey::from_seed(&founder.root);
        sign(objection, &root, &self.statements.network()).bytes().to_vec()
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
