//! The bytes of the file.
//!
//! ```text
//! "signpost keystore\n"            so that people and tools can tell what the file is
//! header                           CBOR map: 0 version, 1 memory in KiB, 2 passes, 3 lanes,
//!                                  4 salt (16 bytes), 5 nonce (24 bytes)
//! ciphertext and 16-byte tag       XChaCha20-Poly1305 of a CBOR map from name to bytes,
//!                                  with all that stands before as associated data
//! ```
//!
//! The key is Argon2id (version 0x13) of the passphrase and the salt. Both salt and nonce are new
//! in every file that is written.

use argon2::{Algorithm, Argon2};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, aead::AeadInOut};
use minicbor::{Decode, Decoder, Encode, Encoder};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{
    Keystore, NAME_CHARS_MAX, SECRET_BYTES_MAX, SECRETS_MAX, cost::Cost, error::KeystoreError,
    passphrase::Passphrase,
};

const MAGIC: &[u8] = b"signpost keystore\n";
const VERSION: u32 = 1;
const TAG_BYTES: usize = 16;

/// CBOR's cost of one entry beyond its content: two heads of at most 3 bytes at these lengths.
const ENTRY_HEADS_BYTES: usize = 6;

/// The largest file, in bytes: the largest keystore, and 1 KiB for magic, header, map head and tag.
pub(super) const FILE_BYTES_MAX: usize =
    SECRETS_MAX * (NAME_CHARS_MAX + SECRET_BYTES_MAX + ENTRY_HEADS_BYTES) + 1024;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Header {
    #[n(0)]
    version: u32,
    #[n(1)]
    memory_kib: u32,
    #[n(2)]
    passes: u32,
    #[n(3)]
    lanes: u32,
    #[cbor(n(4), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[cbor(n(5), with = "minicbor::bytes")]
    nonce: [u8; 24],
}

/// The one field of the header that every version has, read before the rest is believed.
#[derive(Decode)]
#[cbor(map)]
struct AnyHeader {
    #[n(0)]
    version: u32,
}

pub(super) fn seal(
    keystore: &Keystore,
    passphrase: &Passphrase,
    cost: Cost,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, KeystoreError> {
    let mut header = Header {
        version: VERSION,
        memory_kib: cost.memory_kib(),
        passes: cost.passes(),
        lanes: cost.lanes(),
        salt: [0; 16],
        nonce: [0; 24],
    };
    rng.fill_bytes(&mut header.salt);
    rng.fill_bytes(&mut header.nonce);
    let cipher = cipher(passphrase, cost, &header.salt)?;

    let mut file = MAGIC.to_vec();
    minicbor::encode(&header, &mut file).expect("writing to a Vec cannot fail");
    let mut secrets = encode(keystore);
    cipher
        .encrypt_in_place(&header.nonce.into(), &file, &mut *secrets)
        .expect("a keystore is far below the cipher's limit");
    file.extend_from_slice(&secrets);
    Ok(file)
}

/// The header, and where it ends.
fn header(file: &[u8]) -> Result<(Header, Cost, usize), KeystoreError> {
    let rest = file.strip_prefix(MAGIC).ok_or(KeystoreError::NotAKeystore)?;
    if file.len() > FILE_BYTES_MAX {
        return Err(KeystoreError::Damaged);
    }
    let AnyHeader { version } = minicbor::decode(rest).map_err(|_| KeystoreError::Damaged)?;
    if version != VERSION {
        return Err(KeystoreError::Version { found: version, known: VERSION });
    }
    let mut decoder = Decoder::new(rest);
    let header: Header = decoder.decode().map_err(|_| KeystoreError::Damaged)?;
    let (memory_kib, passes, lanes) = (header.memory_kib, header.passes, header.lanes);
    let cost = Cost::from_header(memory_kib, passes, lanes).ok_or(KeystoreError::Cost {
        memory_kib,
        passes,
        lanes,
    })?;
    Ok((header, cost, MAGIC.len() + decoder.position()))
}

pub(super) fn cost(file: &[u8]) -> Result<Cost, KeystoreError> {
    Ok(header(file)?.1)
}

pub(super) fn open(file: &[u8], passphrase: &Passphrase) -> Result<Keystore, KeystoreError> {
    let (header, cost, end) = header(file)?;
    let (clear, ciphertext) = file.split_at(end);
    let mut secrets = Zeroizing::new(ciphertext.to_vec());
    cipher(passphrase, cost, &header.salt)?
        .decrypt_in_place(&header.nonce.into(), clear, &mut *secrets)
        .map_err(|_| KeystoreError::WrongPassphraseOrDamaged)?;
    decode(&secrets).ok_or(KeystoreError::Damaged)
}

fn cipher(
    passphrase: &Passphrase,
    cost: Cost,
    salt: &[u8; 16],
) -> Result<XChaCha20Poly1305, KeystoreError> {
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, cost.params())
        .hash_password_into(passphrase.reveal().as_bytes(), salt, key.as_mut())
        // Lengths are in bounds, which leaves one cause.
        .map_err(|_| KeystoreError::OutOfMemory { memory_kib: cost.memory_kib() })?;
    Ok(XChaCha20Poly1305::new_from_slice(key.as_ref()).expect("the key has 32 bytes"))
}

/// The plaintext. Its buffer never grows, since the old one would stay behind unwiped.
fn encode(keystore: &Keystore) -> Zeroizing<Vec<u8>> {
    const MAP_HEAD_BYTES: usize = 3;
    let entries = keystore
        .secrets
        .iter()
        .map(|(name, secret)| name.len() + secret.0.len() + ENTRY_HEADS_BYTES)
        .sum::<usize>();
    let capacity = MAP_HEAD_BYTES + entries + TAG_BYTES;
    let mut buffer = Zeroizing::new(Vec::with_capacity(capacity));
    let mut encoder = Encoder::new(&mut *buffer);
    encoder.map(keystore.secrets.len() as u64).expect("writing to a Vec cannot fail");
    for (name, secret) in &keystore.secrets {
        encoder
            .str(name)
            .and_then(|encoder| encoder.bytes(&secret.0))
            .expect("writing to a Vec cannot fail");
    }
    debug_assert!(buffer.len() + TAG_BYTES <= capacity);
    buffer
}

/// The secrets of an authentic plaintext; `None` when it breaks a rule that we keep.
fn decode(plaintext: &[u8]) -> Option<Keystore> {
    let mut decoder = Decoder::new(plaintext);
    let mut keystore = Keystore::new();
    for _ in 0..decoder.map().ok()?? {
        let name = decoder.str().ok()?;
        keystore.insert(name, decoder.bytes().ok()?).ok()?;
    }
    (decoder.position() == plaintext.len()).then_some(keystore)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
    use serde::Deserialize;

    use super::*;

    fn passphrase() -> Passphrase {
        Passphrase::new("correct horse").unwrap()
    }

    fn keystore() -> Keystore {
        let mut keystore = Keystore::new();
        keystore.insert("root", b"a secret that would be easy to spot").unwrap();
        keystore.insert("pointer", &[0xab; 32]).unwrap();
        keystore
    }

    fn sealed(seed: u64) -> Vec<u8> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        keystore().seal(&passphrase(), Cost::weak_for_tests(), &mut rng).unwrap()
    }

    fn contents(keystore: &Keystore) -> Vec<(&str, &[u8])> {
        keystore.names().map(|name| (name, keystore.get(name).unwrap())).collect()
    }

    /// A file with this header, and nothing that could be decrypted.
    fn file_with(header: &Header) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        minicbor::encode(header, &mut file).unwrap();
        file.extend([0; 64]);
        file
    }

    fn header(version: u32, memory_kib: u32, passes: u32) -> Header {
        Header { version, memory_kib, passes, lanes: 1, salt: [0; 16], nonce: [0; 24] }
    }

    #[test]
    fn what_is_sealed_opens() {
        for keystore in [keystore(), Keystore::new()] {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let file = keystore.seal(&passphrase(), Cost::weak_for_tests(), &mut rng).unwrap();
            let opened = Keystore::open(&file, &passphrase()).unwrap();
            assert_eq!(contents(&opened), contents(&keystore));
        }
    }

    #[test]
    fn the_standard_cost_opens() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let file = keystore().seal(&passphrase(), Cost::standard(), &mut rng).unwrap();
        assert_eq!(contents(&Keystore::open(&file, &passphrase()).unwrap()), contents(&keystore()));
    }

    #[test]
    fn the_largest_keystore_fits() {
        let mut keystore = Keystore::new();
        for number in 0..SECRETS_MAX {
            let name = format!("{number:0>width$}", width = NAME_CHARS_MAX);
            keystore.insert(&name, &[1; SECRET_BYTES_MAX]).unwrap();
        }
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let file = keystore.seal(&passphrase(), Cost::weak_for_tests(), &mut rng).unwrap();
        assert!(file.len() <= FILE_BYTES_MAX);
        assert_eq!(Keystore::open(&file, &passphrase()).unwrap().names().count(), SECRETS_MAX);
    }

    #[test]
    fn a_wrong_passphrase_is_refused() {
        let wrong = Passphrase::new("correct horse ").unwrap();
        assert!(matches!(
            Keystore::open(&sealed(4), &wrong),
            Err(KeystoreError::WrongPassphraseOrDamaged)
        ));
    }

    #[test]
    fn every_bit_counts() {
        let file = sealed(5);
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Keystore::open(&damaged, &passphrase()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_byte_counts() {
        let file = sealed(6);
        for length in 0..file.len() {
            assert!(Keystore::open(&file[..length], &passphrase()).is_err(), "{length} bytes");
        }
        let mut longer = file;
        longer.push(0);
        assert!(Keystore::open(&longer, &passphrase()).is_err());
    }

    #[test]
    fn the_file_shows_neither_secrets_nor_names() {
        let file = sealed(7);
        let shows = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
        assert!(shows(MAGIC), "the search itself works");
        for (name, secret) in contents(&keystore()) {
            assert!(!shows(name.as_bytes()), "{name}");
            assert!(!shows(&secret[..8]), "{name}");
        }
        assert!(!shows(b"correct"));
    }

    #[test]
    fn salt_and_nonce_are_new_each_time() {
        let [first, second] = [sealed(8), sealed(9)].map(|file| {
            let header: Header = minicbor::decode(&file[MAGIC.len()..]).unwrap();
            header
        });
        assert_ne!(first.salt, second.salt);
        assert_ne!(first.nonce, second.nonce);
    }

    #[test]
    fn greedy_headers_are_refused() {
        for (memory_kib, passes) in [(u32::MAX, 1), (Cost::MEMORY_KIB_MAX + 1, 1), (8, 17)] {
            let file = file_with(&header(VERSION, memory_kib, passes));
            assert!(matches!(
                Keystore::open(&file, &passphrase()),
                Err(KeystoreError::Cost { memory_kib: said, .. }) if said == memory_kib
            ));
        }
        let file = file_with(&header(VERSION, 8, 1));
        assert!(
            matches!(
                Keystore::open(&file, &passphrase()),
                Err(KeystoreError::WrongPassphraseOrDamaged)
            ),
            "a modest one gets as far as the ciphertext"
        );
    }

    #[test]
    fn other_versions_and_other_files_are_named() {
        let later = file_with(&header(2, 8, 1));
        let error = Keystore::open(&later, &passphrase()).unwrap_err();
        assert!(matches!(error, KeystoreError::Version { found: 2, known: 1 }));
        // A later version may have another header; {0: 9} is all that is asked of it.
        let stranger = [MAGIC, &[0xa1, 0x00, 0x09]].concat();
        let error = Keystore::open(&stranger, &passphrase()).unwrap_err();
        assert!(matches!(error, KeystoreError::Version { found: 9, .. }));

        let error = Keystore::open(b"-----BEGIN PRIVATE KEY-----", &passphrase()).unwrap_err();
        assert!(matches!(error, KeystoreError::NotAKeystore));
    }

    #[derive(Deserialize)]
    struct Vector {
        passphrase: String,
        file: String,
        secrets: std::collections::BTreeMap<String, String>,
    }

    /// A file that another implementation made, and that must open for ever.
    #[test]
    fn the_format_is_pinned() {
        let vector: Vector =
            serde_json::from_str(include_str!("../../vectors/keystore-v1.json")).unwrap();
        let passphrase = Passphrase::new(vector.passphrase).unwrap();
        let opened = Keystore::open(&hex::decode(vector.file).unwrap(), &passphrase).unwrap();
        let secrets: std::collections::BTreeMap<_, _> = contents(&opened)
            .into_iter()
            .map(|(name, secret)| (name.to_owned(), hex::encode(secret)))
            .collect();
        assert_eq!(secrets, vector.secrets);
    }

    #[test]
    fn plaintexts_keep_the_rules() {
        let entry = |name: &str, secret: &[u8]| {
            let mut bytes = Vec::new();
            Encoder::new(&mut bytes).str(name).unwrap().bytes(secret).unwrap();
            bytes
        };
        let one = entry("root", &[1]);
        assert!(decode(&[&[0xa1][..], &one].concat()).is_some());
        for wrong in [
            [&[0xa2][..], &one, &one].concat(),
            [&[0xa1][..], &entry("Root", &[1])].concat(),
            [&[0xa1][..], &entry("root", &[])].concat(),
            [&[0xa1][..], &one, &[0]].concat(),
            [&[0xa2][..], &one].concat(),
            // A map of unstated length, and one of absurd length.
            [&[0xbf][..], &one, &[0xff]].concat(),
            [&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &one].concat(),
        ] {
            assert!(decode(&wrong).is_none(), "{wrong:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(Keystore::open(&bytes, &passphrase()).is_err());
            let file = [MAGIC, &bytes].concat();
            prop_assert!(Keystore::open(&file, &passphrase()).is_err());
            let _ = decode(&bytes);
        }
    }
}
