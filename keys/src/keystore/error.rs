//! What can go wrong with a keystore, in sentences for the admin who reads them.

use super::{NAME_CHARS_MAX, SECRET_BYTES_MAX, SECRETS_MAX, cost::Cost, private_file::FileError};

/// Why a keystore does not open, or is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file itself: missing, unreadable, or open to other users.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else was given as a keystore.
    #[error("this is not a Signpost keystore")]
    NotAKeystore,
    /// Written by a later program.
    #[error("the keystore has format version {found}, and this program reads version {known}")]
    Version {
        /// The version in the file.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// The ciphertext does not open. That one of the two is at fault is all that can be known.
    #[error("the passphrase is wrong, or the keystore is damaged")]
    WrongPassphraseOrDamaged,
    /// The header, or what was decrypted, is not of the format's shape.
    #[error("the keystore is damaged; restore it from a back-up")]
    Damaged,
    /// Opening would take more than this program grants.
    #[error(
        "the keystore asks for {memory_kib} KiB of memory, {passes} passes and {lanes} lanes to open; at most {} KiB, {} and {} are granted",
        Cost::MEMORY_KIB_MAX,
        Cost::PASSES_MAX,
        Cost::LANES_MAX
    )]
    Cost {
        /// Memory asked for, in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Parallel lanes.
        lanes: u32,
    },
    /// The system did not give the memory that the derivation of the key needs.
    #[error("opening or writing the keystore takes {memory_kib} KiB of memory, which are not free")]
    OutOfMemory {
        /// Memory needed, in KiB.
        memory_kib: u32,
    },
}

/// Why a secret is not added. Each is the caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// A name of another form.
    #[error("a name has 1 to {NAME_CHARS_MAX} lower-case letters, digits and hyphens")]
    Name,
    /// A secret is there under that name.
    #[error("the keystore already has a secret named {0}")]
    Taken(String),
    /// Empty or too long.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes, not {got}")]
    Size {
        /// Bytes given.
        got: usize,
    },
    /// The keystore is full.
    #[error("a keystore holds at most {SECRETS_MAX} secrets")]
    TooMany,
}
