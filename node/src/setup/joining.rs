//! The directory of a node that is to join a network: like that of a founder, but with what it
//! hands in to the network in the place of the roster, until it is admitted.
//!
//! Guarantees that a process that is killed at any instant leaves either nothing that counts, or a
//! directory from which [`candidate`] goes on with the same keys.

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use signpost_keys::{
    SecretKey,
    keystore::Cost,
    roster::{Application, Statements},
    sign,
};
use signpost_protocol::{
    Timestamp,
    codec::{self, ByteString},
    invitation::Invitation,
    limits,
};

use super::{
    JOINING_FILE, PlannedNode, Prepared, ROSTER_FILE, SetupError,
    founding::{FoundingNode, check_addresses},
    opening::{node_keystore, secret},
    prepared, secret_names,
    staging::{STAGING, publish, refuse_occupied, write_whole},
};
use crate::config::Config;

/// Bytes of `joining.cbor`: its three parts, and what stands between them.
const JOINING_FILE_BYTES_MAX: usize = limits::INVITATION_BYTES_MAX
    + limits::JOINING_INCEPTION_BYTES_MAX
    + limits::JOINING_KEYS_BYTES_MAX
    + 64;

/// The content of `joining.cbor`.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct JoiningFile {
    #[n(0)]
    invitation: Invitation,
    #[n(1)]
    inception: ByteString<{ limits::JOINING_INCEPTION_BYTES_MAX }>,
    #[n(2)]
    keys: ByteString<{ limits::JOINING_KEYS_BYTES_MAX }>,
}

/// A node that has applied, or is to apply, to join a network.
#[derive(Debug)]
pub struct Candidate {
    /// Its directory.
    pub dir: PathBuf,
    /// What it was invited with.
    pub invitation: Invitation,
    /// What it hands in.
    pub application: Application,
    /// The libp2p identity.
    pub transport: SecretKey,
    /// The configuration.
    pub config: Config,
}

impl Candidate {
    /// Where other nodes are to reach it: a multiaddr without a peer id.
    ///
    /// # Panics
    /// Never: an application lists a node, and this one's has an address.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        let addresses = self.application.keys.nodes.first().map(|node| &node.addresses);
        addresses.and_then(|addresses| addresses.first()).map_or("", |address| address)
    }
}

/// Makes the directory of a node that is to join the network of `invitation`: its organization with
/// new keys, and the signed statements that it hands in. Takes as long as the cost of four keystores,
/// on purpose.
///
/// # Errors
/// When what was asked for makes no node, or the directory holds something already: then nothing is
/// written.
pub fn apply(
    plan: &PlannedNode,
    invitation: &Invitation,
    cost: Cost,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<(), SetupError> {
    check_addresses(plan)?;
    refuse_occupied(&plan.dir)?;
    let node = FoundingNode::new(plan, now, rng)?;
    let [founder] = &*node.founders else {
        return Err(SetupError::Plan("one organization joins at a time".to_owned()));
    };
    let too_long = || {
        SetupError::Plan(
            "the name and the peer address are too long to be handed in: choose shorter ones"
                .to_owned(),
        )
    };
    let keys = sign(founder.keys(now).ok_or_else(too_long)?, &founder.root, &invitation.network);
    let file = JoiningFile {
        invitation: invitation.clone(),
        inception: ByteString::new(founder.inception.bytes().to_vec()).ok_or_else(too_long)?,
        keys: ByteString::new(keys.bytes().to_vec()).ok_or_else(too_long)?,
    };
    node.stage(cost, (JOINING_FILE, &codec::encode(&file)), None, rng)?;
    publish(&plan.dir)
}

/// Reads a node that has applied in `dir`, and finishes what [`apply`] was stopped in. `None` when
/// there is none, be it that there is a member's node.
///
/// # Errors
/// When what is there cannot be used; names the file at fault.
pub fn candidate(dir: &Path) -> Result<Option<Candidate>, SetupError> {
    if dir.join(ROSTER_FILE).exists() {
        return Ok(None);
    }
    if dir.join(STAGING).join(JOINING_FILE).exists() {
        publish(dir)?;
    }
    let Some(file) = read(dir)? else {
        // A further node of a member does not join: its organization lists it.
        return match prepared(dir)? {
            Some(Prepared { dir, .. }) => Err(SetupError::NotListed { dir }),
            None => Ok(None),
        };
    };
    let path = dir.join(JOINING_FILE);
    let application = Application::verify(&file.inception, &file.keys, &file.invitation.network)
        .map_err(|error| SetupError::Application { path, reason: error.to_string() })?;
    let config = Config::read(dir)?;
    let (keystore, path, _) = node_keystore(dir, &config)?;
    let transport = SecretKey::from_seed(&*secret(&keystore, &path, secret_names::TRANSPORT)?);
    if application.keys.keys.iter().all(|listed| listed.key != transport.public()) {
        let what = "the application does not list the node's transport key".to_owned();
        return Err(SetupError::Mismatch { dir: dir.to_owned(), what });
    }
    let (dir, invitation) = (dir.to_owned(), file.invitation);
    Ok(Some(Candidate { dir, invitation, application, transport, config }))
}

/// Goes on with another invitation to the same network: the one before was used up or has expired.
///
/// # Errors
/// When it is to another network, for which the keys are not signed.
pub fn renew(candidate: &mut Candidate, invitation: Invitation) -> Result<(), SetupError> {
    let dir = &candidate.dir;
    if invitation.network != candidate.invitation.network {
        return Err(SetupError::Plan(format!(
            "the node in {} has applied to another network, {}; choose another --dir",
            dir.display(),
            &*candidate.invitation.network_name
        )));
    }
    if let Some(file) = read(dir)? {
        let file = JoiningFile { invitation: invitation.clone(), ..file };
        write_whole(&dir.join(JOINING_FILE), &codec::encode(&file))?;
    }
    candidate.invitation = invitation;
    Ok(())
}

/// Makes a candidate's directory that of a member, with the roster that it has fetched.
///
/// # Errors
/// When the roster does not list it as an admitted member, with its keys; and when the disk fails.
/// Then it is a candidate still.
pub fn admit(
    candidate: &Candidate,
    statements: &Statements,
    now: Timestamp,
) -> Result<(), SetupError> {
    let (dir, organization) = (&candidate.dir, candidate.application.organization);
    let roster = statements.roster(now);
    let speaks_for = roster.organizations_of_peer(&candidate.transport.public(), now);
    if roster.network() != candidate.invitation.network || !speaks_for.contains(&organization) {
        let what = "the roster does not list this organization as a member with this node's key";
        let what = what.to_owned();
        return Err(SetupError::Mismatch { dir: dir.clone(), what });
    }
    write_whole(&dir.join(ROSTER_FILE), &statements.write())?;
    let path = dir.join(JOINING_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SetupError::Io { path, source: error })
        }
        _ => Ok(()),
    }
}

fn read(dir: &Path) -> Result<Option<JoiningFile>, SetupError> {
    let path = dir.join(JOINING_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SetupError::Io { path, source }),
    };
    let file = codec::decode(JOINING_FILE, &bytes, JOINING_FILE_BYTES_MAX);
    file.map(Some).map_err(|error| SetupError::Application { path, reason: error.to_string() })
}
