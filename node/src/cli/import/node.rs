//! What an import asks of the node, and what it is told.

use serde::Deserialize;
use serde_json::json;

use crate::{
    cli::client::{Client, ClientError},
    core::{local::Effect, source::Source},
};

/// Why one line is not imported, in the node's words or ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Fault {
    /// A FHIR issue type.
    pub(super) code: String,
    pub(super) diagnostics: String,
    /// Whether the line may be accepted later as it is.
    #[serde(default)]
    pub(super) retry: bool,
}

impl Fault {
    /// Whether the node's disk is at fault: then the other lines fare no better.
    pub(super) fn is_storage(&self) -> bool {
        self.code == "no-store"
    }
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done, or would be.
    Done { effect: Effect, id: String },
    /// It is not.
    Refused(Fault),
}

/// One outcome for each line of a request, in their order.
pub(super) type Reply = Result<Vec<Outcome>, ClientError>;

/// A node's answers. Shared by the requests that are under way at once.
pub(super) trait Node: Sync {
    /// Writes resources, or says what that would do.
    fn put(&self, lines: &[&str], dry_run: bool) -> Reply;
    /// Deletes pointers of the source.
    fn remove(&self, ids: &[&str]) -> Reply;
    /// A page of the ids of the source, and where the next one begins.
    fn ids(&self, after: Option<&str>) -> Result<(Vec<String>, Option<String>), ClientError>;
}

/// A running node, as the importer of one source sees it.
pub(super) struct HttpNode<'a> {
    pub(super) client: &'a Client,
    pub(super) source: &'a Source,
}

impl Node for HttpNode<'_> {
    fn put(&self, lines: &[&str], dry_run: bool) -> Reply {
        let path = format!("/signpost/v1/import?source={}&dry_run={dry_run}", self.source);
        let body = lines.join("\n") + "\n";
        let reply = self.client.post(&path, "application/x-ndjson", &body, &[])?;
        outcomes(reply.json()?, lines.len())
    }

    fn remove(&self, ids: &[&str]) -> Reply {
        let path = format!("/signpost/v1/sources/{}/delete", self.source);
        let body = json!({ "ids": ids }).to_string();
        let reply = self.client.post(&path, "application/json", &body, &[])?;
        outcomes(reply.json()?, ids.len())
    }

    fn ids(&self, after: Option<&str>) -> Result<(Vec<String>, Option<String>), ClientError> {
        #[derive(Deserialize)]
        struct Page {
            ids: Vec<String>,
            next: Option<String>,
        }
        // An id has letters, digits, dots and hyphens only.
        let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let path = format!("/signpost/v1/sources/{}/ids{after}", self.source);
        let page: Page = self.client.get(&path)?.json()?;
        Ok((page.ids, page.next))
    }
}

#[derive(Deserialize)]
pub(super) struct Results {
    results: Vec<ResultOfLine>,
}

#[derive(Deserialize)]
struct ResultOfLine {
    id: Option<String>,
    effect: Option<Effect>,
    error: Option<Fault>,
}

pub(super) fn outcomes(reply: Results, lines: usize) -> Reply {
    let garbled = || ClientError::Garbled("not one result for each line".to_owned());
    let outcomes: Vec<_> = reply
        .results
        .into_iter()
        .map(|result| match result {
            ResultOfLine { id: Some(id), effect: Some(effect), error: None } => {
                Ok(Outcome::Done { effect, id })
            }
            ResultOfLine { effect: None, error: Some(fault), .. } => Ok(Outcome::Refused(fault)),
            _ => Err(garbled()),
        })
        .collect::<Result<_, _>>()?;
    if outcomes.len() == lines { Ok(outcomes) } else { Err(garbled()) }
}
