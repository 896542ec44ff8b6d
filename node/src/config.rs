//! The configuration file: one TOML file, every key with a working default, misspelt keys refused.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::fhir::purpose::{RULE, purpose};

/// Name of the configuration file inside the node's directory.
pub const FILE: &str = "signpost.toml";

/// Everything that an admin can set. See `signpost init`, which writes a commented file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The local HTTP API.
    pub api: Api,
    /// The connection to other nodes.
    pub peer: Peer,
    /// What this organization discloses.
    pub disclosure: Disclosure,
    /// The store of pointers.
    pub store: Store,
    /// Where the keystore's passphrase comes from.
    pub keystore: Keystore,
    /// What is logged, and how.
    pub log: Log,
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where clinical systems reach the node. Loopback only: the API speaks plain HTTP.
    pub listen: SocketAddr,
    /// How long a look-up may take, in milliseconds, unless the request says otherwise.
    pub deadline_ms: u64,
    /// The purpose of use of requests that name none.
    pub default_purpose: String,
}

/// `[peer]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peer {
    /// Multiaddrs to listen on for other nodes.
    pub listen: Vec<String>,
}

/// `[disclosure]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disclosure {
    /// The purposes of use (HL7 v3 PurposeOfUse codes) for which pointers are disclosed to other organizations.
    pub purposes: Vec<String>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Memory for the store's cache, in MiB.
    pub cache_mib: u64,
}

/// `[keystore]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keystore {
    /// The file that holds the passphrase; relative to the node's directory.
    pub passphrase_file: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What to log when `RUST_LOG` is not set, in its syntax.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7700)),
            // DESIGN §3, step 4.
            deadline_ms: 3_000,
            default_purpose: "TREAT".to_owned(),
        }
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self { listen: vec!["/ip4/0.0.0.0/tcp/7701".to_owned()] }
    }
}

impl Default for Disclosure {
    fn default() -> Self {
        // Treatment, emergency treatment, and the patient's own request.
        Self { purposes: ["TREAT", "ETREAT", "PATRQT"].map(str::to_owned).to_vec() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { cache_mib: 32 }
    }
}

impl Default for Keystore {
    fn default() -> Self {
        Self { passphrase_file: PathBuf::from("passphrase") }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or holds a key that does not exist.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{path}: {key} {rule}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl Config {
    /// Reads and checks the configuration of the node in `dir`. A missing file means all defaults.
    ///
    /// # Errors
    /// Names the file, the line and the key.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let config: Self = match toml::from_str(&text) {
            Ok(config) => config,
            Err(source) => return Err(ConfigError::Parse { path, source: Box::new(source) }),
        };
        match config.fault() {
            Some((key, rule)) => Err(ConfigError::Value { path, key, rule }),
            None => Ok(config),
        }
    }

    fn fault(&self) -> Option<(&'static str, &'static str)> {
        if !self.api.listen.ip().is_loopback() {
            return Some(("api.listen", "must be a loopback address: the API speaks plain HTTP"));
        }
        if !(50..=30_000).contains(&self.api.deadline_ms) {
            return Some(("api.deadline_ms", "must be between 50 and 30000"));
        }
        if purpose(&self.api.default_purpose).is_none() {
            return Some(("api.default_purpose", RULE));
        }
        if !self.disclosure.purposes.iter().all(|text| purpose(text).is_some()) {
            return Some(("disclosure.purposes", RULE));
        }
        if self.peer.listen.is_empty() {
            return Some(("peer.listen", "must name at least one address"));
        }
        if !(4..=4096).contains(&self.store.cache_mib) {
            return Some(("store.cache_mib", "must be between 4 and 4096"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        Config::read(dir.path())
    }

    #[test]
    fn an_empty_or_missing_file_means_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(Config::read(tempfile::tempdir().unwrap().path()).unwrap(), Config::default());
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(read(&text).unwrap(), Config::default());
    }

    #[test]
    fn misspelt_keys_and_senseless_values_are_refused_by_name() {
        let error = read("[api]\nlisten_on = \"127.0.0.1:1\"").unwrap_err().to_string();
        assert!(error.contains("listen_on"), "{error}");
        for (text, key) in [
            ("[api]\nlisten = \"0.0.0.0:7700\"", "api.listen"),
            ("[api]\ndeadline_ms = 0", "api.deadline_ms"),
            ("[api]\ndefault_purpose = \"\"", "api.default_purpose"),
            ("[disclosure]\npurposes = [\"TREAT\", \"TRAET\"]", "disclosure.purposes"),
            ("[peer]\nlisten = []", "peer.listen"),
            ("[store]\ncache_mib = 0", "store.cache_mib"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
