//! Speaks to one node as a clinical system would: over its local HTTP API, with its token.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use signpost_protocol::PatientIdentifier;

use crate::core::local::StatusReport;

/// An import of 100 lines takes well under a second; a loaded laptop may take a hundred times that.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of the largest reply that is read: a Bundle of 1,000 pointers of 3 KiB.
const REPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Ids of pointers by the ODS code of their custodian.
pub(super) type Holdings = BTreeMap<String, BTreeSet<String>>;

/// A way to one node's API. No `Debug`: it holds the token.
#[derive(Clone)]
pub(super) struct Client {
    base: String,
    token: String,
    agent: ureq::Agent,
}

/// What became of one line of an import.
#[derive(Debug, Deserialize)]
pub(super) struct ImportResult {
    /// Set when the line was not taken.
    pub(super) error: Option<ImportError>,
}

/// Why a line of an import was not taken.
#[derive(Debug, Deserialize)]
pub(super) struct ImportError {
    /// For people.
    pub(super) diagnostics: String,
    /// The line may be fine: the node was busy.
    pub(super) retry: bool,
}

/// A pointer that a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// ODS code of the custodian.
    pub(super) custodian: String,
    /// The pointer's id.
    pub(super) id: String,
    /// The type of record, in words.
    pub(super) title: String,
    /// The number in its subject.
    pub(super) subject: String,
}

/// What a look-up brought.
#[derive(Clone, Debug)]
pub(super) struct LookUp {
    /// HTTP status.
    pub(super) status: u16,
    /// The `Signpost-Completeness` header.
    pub(super) completeness: String,
    /// The pointers.
    pub(super) found: Vec<Found>,
    /// `Bundle.total`.
    pub(super) total: Option<u64>,
    /// What the OperationOutcome says, an issue each.
    pub(super) issues: Vec<String>,
    /// From sending the request to the last byte of the reply.
    pub(super) took: Duration,
}

impl Client {
    /// A client of the node whose API is at `base`, e.g. `http://127.0.0.1:7700`.
    pub(super) fn new(base: String, token: String) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // Loopback: a proxy of the environment must not see the token.
            .proxy(None)
            .build();
        Self { base, token, agent: config.into() }
    }

    /// The address of the API.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The token of the API.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The path and query that look `patient` up.
    pub(super) fn search_path(patient: &PatientIdentifier) -> String {
        let value = format!("{}|{}", patient.system().uri(), patient.expose_digits());
        let value = utf8_percent_encode(&value, NON_ALPHANUMERIC);
        format!("/fhir/R4/DocumentReference?subject:identifier={value}")
    }

    /// Whether the node says that it is ready; an error when it does not answer at all.
    pub(super) fn ready(&self) -> anyhow::Result<bool> {
        let url = format!("{}/readyz", self.base);
        let reply = self.agent.get(&url).call().with_context(|| format!("GET {url}"))?;
        Ok(reply.status() == 200)
    }

    /// The node's state.
    pub(super) fn status(&self) -> anyhow::Result<StatusReport> {
        let url = format!("{}/signpost/v1/status", self.base);
        let (status, _, body) = self.get(&url)?;
        if status != 200 {
            bail!("GET {url}: {status} {}", shortened(&body));
        }
        serde_json::from_str(&body).with_context(|| format!("GET {url}: not a status report"))
    }

    /// Imports `lines`, one FHIR DocumentReference each; the results in the same order.
    pub(super) fn import(&self, lines: &[String]) -> anyhow::Result<Vec<ImportResult>> {
        #[derive(Deserialize)]
        struct Reply {
            results: Vec<ImportResult>,
        }
        let url = format!("{}/signpost/v1/import", self.base);
        let mut reply = self
            .agent
            .post(&url)
            .header("Authorization", format!("Bearer {}", self.token))
            .content_type("application/x-ndjson")
            .send(lines.join("\n"))
            .with_context(|| format!("POST {url}"))?;
        let status = reply.status().as_u16();
        let body = read(reply.body_mut()).with_context(|| format!("POST {url}"))?;
        if status != 200 {
            bail!("POST {url}: {status} {}", shortened(&body));
        }
        let reply: Reply = serde_json::from_str(&body)
            .with_context(|| format!("POST {url}: not the reply to an import"))?;
        if reply.results.len() != lines.len() {
            bail!("POST {url}: {} results for {} lines", reply.results.len(), lines.len());
        }
        Ok(reply.results)
    }

    /// Looks `patient` up.
    pub(super) fn look_up(&self, patient: &PatientIdentifier) -> anyhow::Result<LookUp> {
        let url = format!("{}{}", self.base, Self::search_path(patient));
        let started = Instant::now();
        // The URL holds the number, so no error repeats it.
        let (status, completeness, body) = self.get(&url).context("a look-up failed")?;
        let took = started.elapsed();
        let body: Value = serde_json::from_str(&body)
            .map_err(|_| anyhow!("a look-up got {status} and no JSON: {}", shortened(&body)))?;
        Ok(LookUp::new(status, completeness, &body, took))
    }

    fn get(&self, url: &str) -> anyhow::Result<(u16, String, String)> {
        let mut reply = self
            .agent
            .get(url)
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Accept", "application/fhir+json, application/json")
            .header("Signpost-Purpose", "TREAT")
            .header("Signpost-User", "demo-user")
            .header("Signpost-Role", "clinician")
            .call()
            .context("the node does not answer")?;
        let header = reply.headers().get("Signpost-Completeness");
        let completeness = header.and_then(|value| value.to_str().ok()).unwrap_or("none");
        let completeness = completeness.to_owned();
        let body = read(reply.body_mut())?;
        Ok((reply.status().as_u16(), completeness, body))
    }
}

impl LookUp {
    fn new(status: u16, completeness: String, body: &Value, took: Duration) -> Self {
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut found = Vec::new();
        let mut issues = Vec::new();
        let mut take = |resource: &Value| match text(resource, "/resourceType").as_str() {
            "DocumentReference" => found.push(Found {
                custodian: text(resource, "/custodian/identifier/value"),
                id: text(resource, "/id"),
                title: text(resource, "/type/coding/0/display"),
                subject: text(resource, "/subject/identifier/value"),
            }),
            "OperationOutcome" => {
                let list = resource.get("issue").and_then(Value::as_array);
                issues.extend(list.into_iter().flatten().map(|issue| {
                    match text(issue, "/diagnostics") {
                        diagnostics if diagnostics.is_empty() => text(issue, "/details/text"),
                        diagnostics => diagnostics,
                    }
                }));
            }
            _ => {}
        };
        match body.get("entry").and_then(Value::as_array) {
            Some(entries) => {
                entries.iter().filter_map(|entry| entry.get("resource")).for_each(take)
            }
            None => take(body),
        }
        let total = body.get("total").and_then(Value::as_u64);
        Self { status, completeness, found, total, issues, took }
    }

    /// The pointers' ids by custodian.
    pub(super) fn holdings(&self) -> Holdings {
        let mut holdings = Holdings::new();
        for found in &self.found {
            holdings.entry(found.custodian.clone()).or_default().insert(found.id.clone());
        }
        holdings
    }

    /// Whether it says that it is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.completeness == "complete"
    }
}

fn read(body: &mut ureq::Body) -> anyhow::Result<String> {
    Ok(body.with_config().limit(REPLY_BYTES_MAX).read_to_string()?)
}

/// As much of a reply as helps in an error.
fn shortened(body: &str) -> String {
    body.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signpost_protocol::IdentifierSystem;

    use super::*;

    #[test]
    fn a_search_is_encoded() {
        let patient = PatientIdentifier::parse(IdentifierSystem::NhsNumber, "9990000018").unwrap();
        let path = Client::search_path(&patient);
        assert!(path.ends_with("%2Fnhs%2Dnumber%7C9990000018"), "{path}");
        assert!(
            path.starts_with("/fhir/R4/DocumentReference?subject:identifier=https%3A"),
            "{path}"
        );
    }

    #[test]
    fn a_partial_bundle_is_understood() {
        let body = json!({
        "resourceType": "Bundle", "type": "searchset", "total": 1,
        "entry": [
            {"resource": {
                "resourceType": "DocumentReference", "id": "RZ1-a",
                "type": {"coding": [{"display": "Summary record"}]},
                "custodian": {"identifier": {"value": "RZ1"}},
                "subject": {"identifier": {"value": "9990000018"}}},
             "search": {"mode": "match"}},
            {"resource": {"resourceType": "OperationOutcome", "issue": [
                {"severity": "warning", "code": "incomplete", "diagnostics": "RZ2 is silent"},
                {"severity": "warning", "code": "incomplete", "details": {"text": "RZ3 is late"}}]},
             "search": {"mode": "outcome"}}
        ]});
        let look_up = LookUp::new(200, "partial".to_owned(), &body, Duration::ZERO);
        assert_eq!(look_up.holdings(), Holdings::from([("RZ1".into(), ["RZ1-a".into()].into())]));
        assert_eq!(look_up.issues, ["RZ2 is silent", "RZ3 is late"]);
        assert_eq!(look_up.total, Some(1));
        assert!(!look_up.is_complete());
    }

    #[test]
    fn a_bare_outcome_is_understood() {
        let body = json!({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "no"}]});
        let look_up = LookUp::new(503, "none".to_owned(), &body, Duration::ZERO);
        assert!(look_up.found.is_empty());
        assert_eq!(look_up.issues, ["no"]);
    }
}
