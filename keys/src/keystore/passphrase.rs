//! The passphrase of a keystore, and the ways that one is had: generated, typed, or from a file.

use std::{fmt, path::Path};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::private_file::{self, FileError};

/// The longest passphrase in bytes: far beyond what anyone types, so a wrong file is noticed.
const BYTES_MAX: usize = 1024;

/// Random bytes in a generated passphrase: 160 bits, past the 128 that need no slow derivation, and
/// a whole number of groups of four characters.
const GENERATED_BYTES: usize = 20;

/// Text that opens a keystore. Wiped on drop, and never shown by `Debug`.
pub struct Passphrase(Zeroizing<String>);

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Nothing, or nothing but white space.
    #[error("the passphrase is empty")]
    Empty,
    /// Longer than a passphrase can be.
    #[error("the passphrase is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// Not text.
    #[error("the passphrase is not UTF-8 text")]
    NotText,
    /// The file that should hold it.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Passphrase {
    /// A passphrase as typed: 1 to 1,024 bytes, taken as they are.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn new(text: impl Into<String>) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text.into());
        if text.trim().is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.len() > BYTES_MAX {
            return Err(PassphraseError::TooLong);
        }
        Ok(Self(text))
    }

    /// Draws a passphrase of 160 bits: 32 characters of base32 (RFC 4648 §6, in lower case) in
    /// groups of four, so that it can be copied by hand.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut random = Zeroizing::new([0; GENERATED_BYTES]);
        rng.fill_bytes(random.as_mut());
        // Five bytes make eight characters, with a hyphen after each four of them.
        let mut text = Zeroizing::new(String::with_capacity(GENERATED_BYTES * 2));
        for five in random.chunks_exact(5) {
            let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in 0..8 {
                if place % 4 == 0 && !text.is_empty() {
                    text.push('-');
                }
                let digit = (bits >> (35 - 5 * place)) & 31;
                text.push(char::from(ALPHABET[digit as usize]));
            }
        }
        Self(text)
    }

    /// Reads the passphrase that is all of a file, but for one line end at its close.
    ///
    /// # Errors
    /// When the file cannot be read or is open to other users, or what it holds is empty, too long
    /// or not text.
    pub fn read_file(path: &Path) -> Result<Self, PassphraseError> {
        const LINE_END_BYTES_MAX: usize = 2;
        let bytes = private_file::read(path, BYTES_MAX + LINE_END_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PassphraseError::NotText)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// Writes a file that [`Self::read_file`] takes: mode 0600, with a line end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, path: &Path, rng: &mut impl CryptoRng) -> Result<(), FileError> {
        let mut line = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        line.extend_from_slice(self.0.as_bytes());
        line.push(b'\n');
        private_file::replace(path, &line, rng)
    }

    /// The text itself: to show a generated one to the admin once, and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    /// What comes of a private file with these bytes.
    fn from_file(bytes: &[u8]) -> Result<String, PassphraseError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        private_file::replace(&path, bytes, &mut rng()).unwrap();
        Passphrase::read_file(&path).map(|passphrase| passphrase.reveal().to_owned())
    }

    #[test]
    fn generated_ones_are_long_and_new() {
        let mut rng = rng();
        let [first, second] = [(); 2].map(|()| Passphrase::generate(&mut rng));
        assert_ne!(first.reveal(), second.reveal());
        let groups: Vec<_> = first.reveal().split('-').collect();
        assert_eq!(groups.len(), 8);
        for group in groups {
            assert_eq!(group.len(), 4);
            assert!(group.chars().all(|c| c.is_ascii_lowercase() || ('2'..='7').contains(&c)));
        }
    }

    #[test]
    fn one_line_end_is_not_part_of_it() {
        assert_eq!(from_file(b"open sesame").unwrap(), "open sesame");
        assert_eq!(from_file(b"open sesame\n").unwrap(), "open sesame");
        assert_eq!(from_file(b"open sesame\r\n").unwrap(), "open sesame");
        assert_eq!(from_file(b" open sesame\n\n").unwrap(), " open sesame\n");
    }

    #[test]
    fn empty_long_and_binary_ones_are_refused() {
        for empty in [&b""[..], b"\n", b"\r\n", b"  \n"] {
            assert!(matches!(from_file(empty), Err(PassphraseError::Empty)));
        }
        let longest = "x".repeat(BYTES_MAX);
        assert_eq!(from_file(format!("{longest}\r\n").as_bytes()).unwrap(), longest);
        let too_long = format!("{longest}x\n");
        assert!(matches!(from_file(too_long.as_bytes()), Err(PassphraseError::TooLong)));
        assert!(matches!(
            from_file(&[b'x'; 4 * BYTES_MAX]),
            Err(PassphraseError::File(FileError::TooLarge { .. }))
        ));
        assert!(matches!(from_file(&[0xff, 0xfe]), Err(PassphraseError::NotText)));
    }

    #[test]
    fn files_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        let passphrase = Passphrase::generate(&mut rng());
        passphrase.write_file(&path, &mut rng()).unwrap();
        assert_eq!(Passphrase::read_file(&path).unwrap().reveal(), passphrase.reveal());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Passphrase::read_file(&path),
            Err(PassphraseError::File(FileError::Permissions { mode: 0o644, .. }))
        ));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Passphrase::new("open sesame").unwrap()), "Passphrase(..)");
    }
}
