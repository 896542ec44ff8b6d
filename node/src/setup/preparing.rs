//! A further node of an organization that is a member already, on a machine of its own: its directory
//! is like that of a founder, but with what it asks of its organization in the place of the roster,
//! until the organization lists it.
//!
//! No root or govern key comes here: whoever has the root key lists the node with a [`NodeRequest`],
//! at a node that the organization has. Guarantees that a process that is killed at any instant leaves
//! either nothing that counts, or a directory from which [`prepared`] goes on with the same keys.

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
    roster::{Statements, verify_inception},
};
use signpost_protocol::{
    ContentHash, DecodeError, NetworkId, NodeId, OrganizationId, Timestamp,
    codec::{self, Bounded, Text},
    limits,
    roster::{KeyRecord, NodeRecord, Standing},
    statement::KeyUse,
};

use super::{
    PREPARED_FILE, PlannedNode, ROSTER_FILE, SetupError,
    founding::{KEY_LIFE, check_addresses, new_key, peer_port},
    opening::{node_keystore, secret},
    secret_names,
    staging::{STAGING, publish, refuse_occupied, secrets, stage_folder, stage_node, write_whole},
};
use crate::config::Config;

/// What a new node asks of its organization: to be listed, with its keys. Public all of it.
///
/// As a file it is this map in deterministic CBOR, at most [`NodeRequest::BYTES_MAX`] bytes. Nobody has
/// signed it: that it is the one that was made is for people to compare, by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NodeRequest {
    /// The network in which it is to be listed.
    #[n(0)]
    pub network: NetworkId,
    /// The organization that is to list it.
    #[n(1)]
    pub organization: OrganizationId,
    /// The node, with at least one address.
    #[n(2)]
    pub node: NodeRecord,
    /// The key that signs its pointers, heads and answers.
    #[n(3)]
    pub pointer: KeyRecord,
    /// The key that is its libp2p identity.
    #[n(4)]
    pub transport: KeyRecord,
}

/// Why a file is no request that can be granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is none, or was cut off.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It contradicts itself.
    #[error("{0}")]
    Inconsistent(String),
}

impl NodeRequest {
    /// Bytes of a request: as many addresses as a node may have, and room for the rest.
    pub const BYTES_MAX: usize = limits::ADDRESSES_PER_NODE_MAX * limits::ADDRESS_BYTES_MAX + 1_024;

    /// Reads a request and checks that it asks for one node with its two keys.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let request: Self = codec::decode("request", bytes, Self::BYTES_MAX)?;
        let wrong = |what: &str| Err(RequestError::Inconsistent(what.to_owned()));
        if request.node.addresses.is_empty() {
            return wrong("the node has no address");
        }
        for address in request.node.addresses.iter() {
            peer_port(address).map_err(|error| RequestError::Inconsistent(error.to_string()))?;
        }
        let keys = [(&request.pointer, KeyUse::Pointer), (&request.transport, KeyUse::Transport)];
        for (key, usage) in keys {
            if key.usage != usage || key.node != Some(request.node.node) {
                return wrong("a key is of another use or node than it says");
            }
            if key.not_before >= key.not_after || key.not_after > key.not_before.plus(KEY_LIFE) {
                return wrong("a key is never valid, or longer than keys of a node may be");
            }
            if key.revoked.is_some() {
                return wrong("a key is revoked already");
            }
        }
        if request.pointer.key == request.transport.key {
            return wrong("one key cannot serve both uses");
        }
        Ok(request)
    }

    /// The request as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What people compare, so that nobody slips in a node of his own on the way.
    #[must_use]
    pub fn fingerprint(&self) -> ContentHash {
        ContentHash::of(&self.to_bytes())
    }
}

/// A node that is prepared, and that its organization does not list yet as far as it knows.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its directory.
    pub dir: PathBuf,
    /// What it asks for.
    pub request: NodeRequest,
}

impl Prepared {
    /// The file with the request, to be carried to a node that the organization has.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join(PREPARED_FILE)
    }
}

/// Makes the directory of a further node of `organization`, a member by `statements`: with keys of its
/// own, and a request in [`Prepared::file`]. The organization's folder is named by the code of the only
/// one that `plan` serves. Takes as long as the cost of one keystore, on purpose.
///
/// # Errors
/// When what was asked for makes no node, the organization is no member, or the directory holds
/// something already: then nothing is written.
pub fn prepare(
    plan: &PlannedNode,
    organization: &OrganizationId,
    statements: &Statements,
    cost: Cost,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<Prepared, SetupError> {
    let fault = |rule: &str| SetupError::Plan(rule.to_owned());
    check_addresses(plan)?;
    let [served] = &*plan.organizations else {
        return Err(fault("a node is prepared for one organization"));
    };
    let (network, law) = (statements.network(), statements.law(now));
    let member = law.record(statements, organization);
    let inception = member.filter(|member| member.standing != Standing::Expelled);
    let inception =
        inception.ok_or_else(|| fault("the organization is no member by this roster"))?;
    let inception = &*inception.inception;
    let is_its_own = verify_inception(inception).is_ok_and(|(id, _)| id == *organization);
    if !is_its_own {
        return Err(fault("the roster has another inception for this organization"));
    }
    refuse_occupied(&plan.dir)?;

    let mut node = [0; NodeId::LENGTH];
    rng.fill_bytes(&mut node);
    let node = NodeId(node);
    let (pointer, transport) = (SecretKey::generate(rng), SecretKey::generate(rng));
    let key = |key: &SecretKey, usage| new_key(key, (usage, Some(node)), KEY_LIFE, now);
    let addresses = Text::new(&plan.peer_address).and_then(|address| Bounded::new(vec![address]));
    let addresses = addresses.ok_or_else(|| fault("the peer address is too long"))?;
    let request = NodeRequest {
        network,
        organization: *organization,
        node: NodeRecord { node, addresses },
        pointer: key(&pointer, KeyUse::Pointer),
        transport: key(&transport, KeyUse::Transport),
    };
    let secrets = secrets(&transport, std::iter::once((organization, &pointer)), rng);
    let last = (PREPARED_FILE, &*request.to_bytes());
    stage_node(plan, &secrets, cost, last, rng, |staging, rng| {
        stage_folder(staging, &served.ods, inception, rng).map(drop)
    })?;
    publish(&plan.dir)?;
    Ok(Prepared { dir: plan.dir.clone(), request })
}

/// Reads a node that is prepared in `dir`, and finishes what [`prepare`] was stopped in. `None` when
/// there is none, be it that there is one that was listed.
///
/// # Errors
/// When what is there cannot be used; names the file at fault.
pub fn prepared(dir: &Path) -> Result<Option<Prepared>, SetupError> {
    if dir.join(ROSTER_FILE).exists() {
        return Ok(None);
    }
    if dir.join(STAGING).join(PREPARED_FILE).exists() {
        publish(dir)?;
    }
    let path = dir.join(PREPARED_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SetupError::Io { path, source }),
    };
    let request =
        NodeRequest::parse(&bytes).map_err(|source| SetupError::Request { path, source })?;
    let (keystore, path, _) = node_keystore(dir, &Config::read(dir)?)?;
    let pointer = secret_names::pointer(&request.organization);
    for (name, listed) in
        [(&*pointer, &request.pointer), (secret_names::TRANSPORT, &request.transport)]
    {
        let own = SecretKey::from_seed(&*secret(&keystore, &path, name)?).public();
        if own != listed.key {
            let what = "the request is for other keys than the node has".to_owned();
            return Err(SetupError::Mismatch { dir: dir.to_owned(), what });
        }
    }
    Ok(Some(Prepared { dir: dir.to_owned(), request }))
}

/// Makes a prepared directory that of a node that takes part, with a roster that lists it.
///
/// # Errors
/// When the roster is of another network, or does not list the node with its keys; and when the disk
/// fails. Then it is prepared still.
pub fn take_up(
    prepared: &Prepared,
    statements: &Statements,
    now: Timestamp,
) -> Result<(), SetupError> {
    let Prepared { dir, request } = prepared;
    if statements.network() != request.network {
        let what = "the roster is of another network than the node was prepared for".to_owned();
        return Err(SetupError::Mismatch { dir: dir.clone(), what });
    }
    let listed = statements.roster(now).keys_of(&request.organization);
    let is_listed = |key: &KeyRecord| {
        let mut same = listed.iter().filter(|listed| listed.key == key.key);
        same.any(|listed| (listed.usage, listed.node) == (key.usage, key.node))
    };
    if !is_listed(&request.pointer) || !is_listed(&request.transport) {
        return Err(SetupError::NotListed { dir: dir.clone() });
    }
    write_whole(&dir.join(ROSTER_FILE), &statements.write())?;
    let path = prepared.file();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SetupError::Io { path, source: error })
        }
        _ => Ok(()),
    }
}
