//! The files that are handed from one admin to another: proposals that nobody has signed yet,
//! applications, and new statements.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use minicbor::{Decode, Encode};
use signpost_keys::roster::Application;
use signpost_protocol::{
    ContentHash, NetworkId,
    codec::{self, Bounded, ByteString},
    limits,
    roster::{Approval, Proposal, RosterFile},
    statement::{Body as _, Envelope, StatementKind},
};

use super::fail;
use crate::{atomic_file::AtomicFile, setup::ApplicationFile};

/// Statements that go with a proposal: the keys of an applicant.
const COMPANIONS_MAX: usize = 4;
/// Bytes of such a file: a proposal and its companions, each as long as it may be.
const DRAFT_BYTES_MAX: usize =
    limits::PROPOSAL_BYTES_MAX + COMPANIONS_MAX * limits::STATEMENT_BYTES_MAX + 1024;
/// Bytes of an application.
const APPLICATION_BYTES_MAX: usize = limits::INCEPTION_BYTES_MAX + limits::STATEMENT_BYTES_MAX + 64;

/// A proposal that nobody has signed, as a member that is no steward hands it to one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Draft {
    /// The network for which it is meant; a proposal by itself does not say.
    #[n(0)]
    pub(super) network: NetworkId,
    /// The bytes of the [`Proposal`].
    #[n(1)]
    pub(super) proposal: ByteString<{ limits::PROPOSAL_BYTES_MAX }>,
    /// Statements that it needs to be of use.
    #[n(2)]
    pub(super) statements: Bounded<ByteString<{ limits::STATEMENT_BYTES_MAX }>, COMPANIONS_MAX>,
}

/// Reads and checks an application to this network.
pub(super) fn application(path: &Path, network: &NetworkId) -> anyhow::Result<Application> {
    let bytes = read(path, APPLICATION_BYTES_MAX)?;
    let file: ApplicationFile = codec::decode("application", &bytes, APPLICATION_BYTES_MAX)
        .with_context(|| format!("{} is no application", path.display()))?;
    Application::verify(&file.inception, &file.keys, network)
        .with_context(|| format!("the application in {} does not hold", path.display()))
}

/// What a file that was handed on holds.
pub(super) struct Handed {
    /// A proposal that nobody has signed.
    pub(super) draft: Option<(ContentHash, Proposal)>,
    /// Signed statements.
    pub(super) statements: Vec<Vec<u8>>,
}

impl Handed {
    /// Reads a draft, a roster file, or one statement, of this network.
    pub(super) fn read(path: &Path, network: &NetworkId) -> anyhow::Result<Self> {
        let bytes = read(path, limits::ROSTER_FILE_BYTES_MAX)?;
        if Envelope::kind_of(&bytes).is_some() {
            return Ok(Self { draft: None, statements: vec![bytes] });
        }
        let other_network = |found: NetworkId| {
            fail(
                format!("{} is of network {found}, not of {network}", path.display()),
                "name the directory of the right node with --dir",
            )
        };
        if let Ok(draft) = codec::decode::<Draft>("draft", &bytes, DRAFT_BYTES_MAX) {
            if draft.network != *network {
                return Err(other_network(draft.network));
            }
            let proposal = Proposal::decode(&draft.proposal)?;
            let statements = draft.statements.iter().map(|bytes| bytes.to_vec()).collect();
            let id = ContentHash::of(&draft.proposal);
            return Ok(Self { draft: Some((id, proposal)), statements });
        }
        let file: RosterFile = codec::decode("file", &bytes, limits::ROSTER_FILE_BYTES_MAX)
            .map_err(|_| {
                fail(
                    format!("{} holds no proposal, roster or statement", path.display()),
                    "such files come from `signpost roster propose`, `approve --out` and `export`",
                )
            })?;
        let found = NetworkId(ContentHash::of(&file.founding).0);
        if found != *network {
            return Err(other_network(found));
        }
        let statements = file.statements.iter().map(|bytes| bytes.to_vec()).collect();
        Ok(Self { draft: None, statements })
    }

    /// The proposals in it.
    pub(super) fn proposals(&self) -> Vec<(ContentHash, Proposal)> {
        let mut found: Vec<(ContentHash, Proposal)> = self.draft.clone().into_iter().collect();
        for bytes in &self.statements {
            if Envelope::kind_of(bytes) != Some(StatementKind::Approval) {
                continue;
            }
            let Ok(envelope) = Envelope::parse(Approval::KIND, bytes, Approval::BYTES_MAX) else {
                continue;
            };
            let Ok(approval) = envelope.body::<Approval>() else { continue };
            let id = ContentHash::of(&approval.proposal);
            if found.iter().all(|(known, _)| *known != id)
                && let Ok(proposal) = Proposal::decode(&approval.proposal)
            {
                found.push((id, proposal));
            }
        }
        found
    }
}

/// Statements as a roster file that carries no more than them.
pub(super) fn parcel(founding: &[u8], statements: &[Vec<u8>]) -> Vec<u8> {
    let statements = statements
        .iter()
        .map(|bytes| ByteString::new(bytes.clone()).expect("a statement that was made or read"));
    codec::encode(&RosterFile {
        founding: ByteString::new(founding.to_vec()).expect("it was read"),
        statements: Bounded::new(statements.collect()).expect("fewer than a roster has"),
    })
}

/// Reads a file of at most `bytes_max`.
pub(super) fn read(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, bytes_max as u64 + 1), &mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::other(format!(
                "longer than the {bytes_max} bytes allowed here"
            )));
        }
        Ok(bytes)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = || {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes)?;
        file.commit()
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
