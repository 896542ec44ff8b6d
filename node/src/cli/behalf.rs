//! On behalf of which organization a command speaks to the node.

use std::path::{Path, PathBuf};

use signpost_protocol::OdsCode;

use super::client::ClientError;
use crate::setup::{self, API_TOKEN_FILE};

/// Organizations that an error names to choose from: more are hundreds, and known to their admin.
const CHOICES_MAX: usize = 20;

/// The option of every command that speaks to the node.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Behalf {
    /// On whose behalf, where the node serves several organizations: an ODS code.
    #[arg(long, value_name = "ODS")]
    pub(super) organization: Option<OdsCode>,
}

impl Behalf {
    /// The file with the token of the organization that is meant.
    ///
    /// # Errors
    /// When there is no node, or none of this organization, or one of several is to be chosen.
    pub(super) fn token_file(&self, dir: &Path) -> Result<PathBuf, ClientError> {
        Ok(self.folder(dir)?.join(API_TOKEN_FILE))
    }

    /// The folder of the organization that is meant.
    ///
    /// # Errors
    /// As [`Self::token_file`].
    pub(super) fn folder(&self, dir: &Path) -> Result<PathBuf, ClientError> {
        let served = setup::organizations(dir);
        let served = served.map_err(|_| ClientError::NoNode { dir: dir.to_owned() })?;
        let choices = || choices(&served);
        let ods = match (&self.organization, &*served) {
            (Some(ods), served) if served.contains(ods) => ods,
            (Some(ods), _) => {
                return Err(ClientError::NotServed { ods: ods.clone(), choices: choices() });
            }
            (None, [only]) => only,
            (None, _) => return Err(ClientError::Whose { choices: choices() }),
        };
        Ok(setup::organization_dir(dir, ods))
    }

    /// This, or the first organization of the node where none is named: for what concerns the node
    /// as a whole.
    pub(super) fn or_first(&self, dir: &Path) -> Self {
        let first = || setup::organizations(dir).ok()?.into_iter().next();
        Self { organization: self.organization.clone().or_else(first) }
    }
}

fn choices(served: &[OdsCode]) -> String {
    let named: Vec<_> = served.iter().take(CHOICES_MAX).map(OdsCode::as_str).collect();
    match served.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(codes: impl IntoIterator<Item = String>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for code in codes {
            let folder = setup::organization_dir(dir.path(), &code.parse().unwrap());
            std::fs::create_dir_all(folder).unwrap();
        }
        dir
    }

    fn of(code: &str) -> Behalf {
        Behalf { organization: Some(code.parse().unwrap()) }
    }

    #[test]
    fn the_only_organization_needs_no_name() {
        let dir = node(["RX1".to_owned()]);
        let expected = dir.path().join("organizations/RX1/api.token");
        assert_eq!(Behalf::default().token_file(dir.path()).unwrap(), expected);
        assert_eq!(of("RX1").token_file(dir.path()).unwrap(), expected);
    }

    #[test]
    fn one_of_several_must_be_named_and_be_there() {
        let dir = node(["RX2", "RX1"].map(str::to_owned));
        let expected = dir.path().join("organizations/RX2/api.token");
        assert_eq!(of("RX2").token_file(dir.path()).unwrap(), expected);
        let error = Behalf::default().token_file(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), "this node serves several organizations: RX1, RX2");
        assert!(error.hint().unwrap().contains("--organization"));
        let error = of("RX3").token_file(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), "this node does not serve RX3; it serves RX1, RX2");
        let first = Behalf::default().or_first(dir.path()).token_file(dir.path()).unwrap();
        assert!(first.ends_with("RX1/api.token"));
    }

    #[test]
    fn hundreds_are_not_listed() {
        let dir = node((100..400).map(|n| format!("A{n}")));
        let error = Behalf::default().token_file(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("A118, A119 and 280 more"), "{error}");
    }

    #[test]
    fn where_there_is_no_node_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = Behalf::default().token_file(dir.path()).unwrap_err();
        assert!(matches!(error, ClientError::NoNode { .. }), "{error}");
        let error = Behalf::default().or_first(dir.path()).token_file(dir.path()).unwrap_err();
        assert!(matches!(error, ClientError::NoNode { .. }), "{error}");
    }
}
