//! How an organization comes to be.

use rand_core::CryptoRng;
use signpost_protocol::{
    ContentHash, NetworkId, OdsCode, OrganizationId, Timestamp,
    codec::Text,
    limits,
    roster::Inception,
    statement::{Body as _, Envelope, statement_hash},
};

use crate::{
    secret::SecretKey,
    signing::{self, CheckedKey, VerifyError},
    verified::Verified,
};

/// Draws a root key and its committed successor, and signs the inception of an organization.
///
/// Returns the statement, the root key and the next root key; the last belongs in another place.
pub fn incept(
    ods: OdsCode,
    name: Text<{ limits::NAME_BYTES_MAX }>,
    created: Timestamp,
    rng: &mut impl CryptoRng,
) -> (Verified<Inception>, SecretKey, SecretKey) {
    let root = SecretKey::generate(rng);
    let next_root = SecretKey::generate(rng);
    let body = Inception {
        root: root.public(),
        next_root: ContentHash::of(next_root.public().as_bytes()),
        ods,
        name,
        created,
    };
    (signing::sign(body, &root, &NetworkId::NONE), root, next_root)
}

/// Checks an inception against the root key that it names, and gives the organization its id.
///
/// # Errors
/// When it does not decode, its key is weak, or its signature does not verify.
pub fn verify_inception(
    bytes: &[u8],
) -> Result<(OrganizationId, Verified<Inception>), VerifyError> {
    let envelope = Envelope::parse(Inception::KIND, bytes, Inception::BYTES_MAX)?;
    // Self-signed: the key is inside, so this one body is read before its signature is checked.
    let claimed: Inception = envelope.body()?;
    if claimed.root.key_id() != envelope.key_id() {
        return Err(VerifyError::WrongAuthor);
    }
    let key = CheckedKey::new(&claimed.root)?;
    let inception = signing::verify(&envelope, bytes, &key, &NetworkId::NONE)?;
    Ok((OrganizationId(statement_hash(bytes).0), inception))
}
