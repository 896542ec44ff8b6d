//! Where a command has its roster from, and where new statements go: the running node, or files.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use signpost_keys::roster::in_order;
use signpost_protocol::limits;

use super::{fail, handed, view::View};
use crate::{
    api::{
        evaluators::{EvidenceEntry, EvidenceList, UsageList},
        joining::{ApplicantShown, ApplicantsShown},
        roster::CBOR,
    },
    cli::{behalf::Behalf, client::Client},
    core::local::{STATEMENTS_PER_REQUEST_MAX, StatusReport, UsageDay},
    runtime::wall_clock,
};

const PATH: &str = "/signpost/v1/roster";

/// A source of rosters.
pub(super) enum Source {
    /// The node that runs in a directory.
    Node(Client),
    /// A roster file.
    File(PathBuf),
}

/// What became of one statement that was brought to the node.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) statement: String,
    pub(super) kind: Option<String>,
    /// `new`, `known`, `waits`, `refused`.
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
}

impl Source {
    pub(super) fn new(dir: &Path, behalf: &Behalf, file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match file {
            Some(file) => Self::File(file.to_owned()),
            None => Self::Node(Client::open(dir, &behalf.or_first(dir))?),
        })
    }

    /// The bytes of the roster file.
    pub(super) fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Node(client) => Ok(client.get_bytes(PATH, limits::ROSTER_FILE_BYTES_MAX)?),
            Self::File(file) => handed::read(file, limits::ROSTER_FILE_BYTES_MAX),
        }
    }

    /// Who has applied with invitations of the node.
    ///
    /// # Errors
    /// When there is no node.
    pub(super) fn applicants(&self) -> anyhow::Result<Vec<ApplicantShown>> {
        let Self::Node(client) = self else {
            return Err(fail(
                "there is no node that knows who has applied".to_owned(),
                "name the file that you were sent with --application",
            ));
        };
        let shown: ApplicantsShown = client.get("/signpost/v1/applicants")?.json()?;
        Ok(shown.applicants)
    }

    /// The id of the node, hexadecimal.
    ///
    /// # Errors
    /// When there is no node.
    pub(super) fn node(&self) -> anyhow::Result<String> {
        let Self::Node(client) = self else {
            return Err(fail("a roster file is no node", "name the directory of one with --dir"));
        };
        Ok(client.get("/signpost/v1/status")?.json::<StatusReport>()?.node)
    }

    /// The roster now.
    pub(super) fn view(&self) -> anyhow::Result<View> {
        View::read(&self.bytes()?, None, wall_clock())
    }

    /// How the node is.
    ///
    /// # Errors
    /// When there is no node.
    pub(super) fn status(&self) -> anyhow::Result<StatusReport> {
        let Self::Node(client) = self else {
            return Err(fail(
                "a roster file does not say how a node is".to_owned(),
                "leave --file out, where the node runs",
            ));
        };
        Ok(client.get("/signpost/v1/status")?.json()?)
    }

    /// How much the node has evaluated for whom, the latest day first.
    ///
    /// # Errors
    /// When there is no node.
    pub(super) fn usage(&self) -> anyhow::Result<Vec<UsageDay>> {
        let Self::Node(client) = self else {
            return Err(fail(
                "a roster file has evaluated nothing".to_owned(),
                "leave --file out, where the node runs",
            ));
        };
        Ok(client.get("/signpost/v1/evaluators/usage")?.json::<UsageList>()?.days)
    }

    /// Wrong evaluations that the node has caught.
    ///
    /// # Errors
    /// When there is no node.
    pub(super) fn evidence(&self) -> anyhow::Result<Vec<EvidenceEntry>> {
        let Self::Node(client) = self else {
            return Err(fail(
                "a roster file has caught nobody".to_owned(),
                "leave --file out, where the node runs",
            ));
        };
        Ok(client.get("/signpost/v1/evaluators/evidence")?.json::<EvidenceList>()?.evidence)
    }

    /// Has the node take part in a ceremony of evaluators, by a signed consent.
    ///
    /// # Errors
    /// When there is no node, or it says why it cannot.
    pub(super) fn join_ceremony(&self, consent: Vec<u8>) -> anyhow::Result<()> {
        let Self::Node(client) = self else {
            return Err(fail(
                "a roster file takes part in nothing".to_owned(),
                "leave --file out, where the node runs",
            ));
        };
        client.post("/signpost/v1/evaluators/ceremonies/join", CBOR, consent, &[])?;
        Ok(())
    }

    /// Brings statements to the node, in an order in which few wait, and says what became of each.
    ///
    /// # Errors
    /// When there is no node. What was brought before an error stays.
    pub(super) fn submit(
        &self,
        founding: &[u8],
        mut statements: Vec<Vec<u8>>,
    ) -> anyhow::Result<Vec<Outcome>> {
        #[derive(Deserialize)]
        struct Results {
            results: Vec<Outcome>,
        }
        let Self::Node(client) = self else {
            return Err(fail(
                "there is no node to bring statements to".to_owned(),
                "name a file for them with --out, and import that at a node",
            ));
        };
        in_order(&mut statements);
        let mut outcomes = Vec::new();
        for batch in statements.chunks(STATEMENTS_PER_REQUEST_MAX) {
            let reply = client.post(PATH, CBOR, handed::parcel(founding, batch), &[])?;
            outcomes.extend(reply.json::<Results>()?.results);
        }
        Ok(outcomes)
    }
}
