//! A clinical system of one organization: speaks FHIR to its own node, with its token.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use signpost_node::core::local::StatusReport;
use signpost_protocol::{IdentifierSystem, PatientIdentifier};

/// Longer than any request may take at a node; then the node is at fault.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where the pointers are.
const RESOURCE: &str = "/fhir/R4/DocumentReference";
const FHIR_JSON: (&str, &str) = ("Content-Type", "application/fhir+json");
/// Time for a look-up, in milliseconds: a loaded machine must not make a result partial.
const DEADLINE: (&str, &str) = ("Signpost-Deadline", "20000");

/// The `n`th of many synthetic patients, all different.
///
/// # Panics
/// Beyond the range reserved for synthetic patients.
#[must_use]
pub fn patient(n: u32) -> PatientIdentifier {
    assert!(n < 500_000, "outside the range of synthetic numbers");
    // One stem in eleven has no check digit, and never two in a row.
    let stem = 999_000_000 + 2 * n;
    PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem)
        .or_else(|| PatientIdentifier::from_stem(IdentifierSystem::NhsNumber, stem + 1))
        .expect("of two neighbours one has a check digit")
}

/// A record of `patient` that `ods` holds and that `url` leads to.
#[must_use]
pub fn record(ods: &str, patient: &PatientIdentifier, url: &str) -> Value {
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://snomed.info/sct", "code": "736253002"}]},
        "subject": {"identifier": {
            "system": patient.system().uri(),
            "value": patient.expose_digits(),
        }},
        "custodian": {"identifier": {
            "system": "https://fhir.nhs.uk/Id/ods-organization-code",
            "value": ods,
        }},
        "content": [{"attachment": {"contentType": "application/pdf", "url": url}}],
    })
}

/// A way to one node's API.
#[derive(Clone)]
pub struct Client {
    base: String,
    token: String,
    agent: ureq::Agent,
}

/// What the node replied.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The `Signpost-Completeness` header, or nothing.
    pub completeness: String,
    /// The `ETag` header, or nothing.
    pub etag: String,
    /// The `Retry-After` header, or nothing.
    pub retry_after: String,
    /// The body; null when there is none.
    pub body: Value,
    /// From sending the request to the last byte of the reply.
    pub took: Duration,
}

impl Client {
    /// A client of the node whose API is at `base`, e.g. `http://127.0.0.1:7700`.
    #[must_use]
    pub fn new(base: String, token: String) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Self { base, token, agent: config.into() }
    }

    /// The same node, asked with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends a request; fails only when there is no reply.
    ///
    /// # Errors
    /// When the node does not run, or stops before it has replied.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, ureq::Error> {
        let started = Instant::now();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut reply = if body.is_empty() && matches!(method, "GET" | "DELETE") {
            self.agent.run(request.body(())?)?
        } else {
            self.agent.run(request.body(body)?)?
        };
        let header = |name| {
            let value = reply.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (completeness, etag) = (header("signpost-completeness"), header("etag"));
        let retry_after = header("retry-after");
        let status = reply.status().as_u16();
        let text = reply.body_mut().read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply { status, completeness, etag, retry_after, body, took: started.elapsed() })
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.replied(self.send(method, path, headers, body))
    }

    fn replied(&self, reply: Result<Reply, ureq::Error>) -> Reply {
        reply.unwrap_or_else(|error| panic!("{}: no reply: {error}", self.base))
    }

    /// Makes a pointer.
    ///
    /// # Panics
    /// As all requests below: when the node does not reply.
    #[must_use]
    pub fn create(&self, resource: &Value) -> Reply {
        self.replied(self.try_create(resource))
    }

    /// Makes a pointer.
    ///
    /// # Errors
    /// As [`Client::send`], like the next two.
    pub fn try_create(&self, resource: &Value) -> Result<Reply, ureq::Error> {
        self.send("POST", RESOURCE, &[FHIR_JSON], resource.to_string().as_bytes())
    }

    /// Changes a pointer; `version` is what the producer saw.
    ///
    /// # Errors
    /// See above.
    pub fn try_put(
        &self,
        id: &str,
        resource: &Value,
        version: Option<&str>,
    ) -> Result<Reply, ureq::Error> {
        let mut resource = resource.clone();
        resource["id"] = id.into();
        let mut headers = vec![FHIR_JSON];
        headers.extend(version.map(|version| ("If-Match", version)));
        self.send("PUT", &format!("{RESOURCE}/{id}"), &headers, resource.to_string().as_bytes())
    }

    /// Deletes a pointer.
    ///
    /// # Errors
    /// See above.
    pub fn try_delete(&self, id: &str) -> Result<Reply, ureq::Error> {
        self.send("DELETE", &format!("{RESOURCE}/{id}"), &[], b"")
    }

    /// Makes a pointer that the node must take; returns its id.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn created(&self, resource: &Value) -> String {
        let reply = self.create(resource);
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body["id"].as_str().expect("a created pointer has an id").to_owned()
    }

    /// Changes a pointer; `version` is what the producer saw.
    #[must_use]
    pub fn put(&self, id: &str, resource: &Value, version: Option<&str>) -> Reply {
        self.replied(self.try_put(id, resource, version))
    }

    /// Deletes a pointer.
    #[must_use]
    pub fn delete(&self, id: &str) -> Reply {
        self.replied(self.try_delete(id))
    }

    /// Reads a pointer, whoever holds it.
    #[must_use]
    pub fn read(&self, id: &str) -> Reply {
        self.ask("GET", &format!("{RESOURCE}/{id}"), &[DEADLINE], b"")
    }

    /// Looks a patient up.
    #[must_use]
    pub fn search(&self, patient: &PatientIdentifier) -> Reply {
        // In the NHS number system's URI only these two need encoding inside a query.
        let system = patient.system().uri().replace(':', "%3A").replace('/', "%2F");
        let value = format!("{system}%7C{}", patient.expose_digits());
        self.ask("GET", &format!("{RESOURCE}?subject:identifier={value}"), &[DEADLINE], b"")
    }

    /// Imports resources, at most 100, and waits for the acknowledgement.
    ///
    /// # Errors
    /// When the node stops before it has replied.
    pub fn import(&self, resources: &[Value]) -> Result<Reply, ureq::Error> {
        let lines: Vec<_> = resources.iter().map(Value::to_string).collect();
        let headers = [("Content-Type", "application/x-ndjson")];
        self.send("POST", "/signpost/v1/import", &headers, lines.join("\n").as_bytes())
    }

    /// Whether the node says that it can do its work; false also when it does not answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.send("GET", "/readyz", &[], b"").is_ok_and(|reply| reply.status == 200)
    }

    /// The node's state; `None` when it does not answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusReport> {
        let reply = self.send("GET", "/signpost/v1/status", &[], b"").ok()?;
        serde_json::from_value(reply.body).ok()
    }
}

impl Reply {
    fn resources(&self, wanted: &str) -> impl Iterator<Item = &Value> {
        let entries = self.body["entry"].as_array().into_iter().flatten();
        entries
            .map(|entry| &entry["resource"])
            .filter(move |resource| resource["resourceType"] == wanted)
    }

    /// The pointers in a searchset, as resources.
    pub fn pointers(&self) -> impl Iterator<Item = &Value> {
        self.resources("DocumentReference")
    }

    /// The pointers in a searchset, with the ODS code of each one's custodian.
    #[must_use]
    pub fn found(&self) -> BTreeSet<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.pointers()
            .map(|resource| {
                let custodian = &resource["custodian"]["identifier"]["value"];
                (text(custodian), text(&resource["id"]))
            })
            .collect()
    }

    /// The ids of the pointers in a searchset.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<String> {
        self.found().into_iter().map(|(_, id)| id).collect()
    }

    /// The issues of an OperationOutcome, or of the one inside a searchset.
    #[must_use]
    pub fn issues(&self) -> Vec<&Value> {
        let whole = (self.body["resourceType"] == "OperationOutcome").then_some(&self.body);
        let outcomes = self.resources("OperationOutcome").chain(whole);
        outcomes.flat_map(|outcome| outcome["issue"].as_array().into_iter().flatten()).collect()
    }

    /// The issue that gives `code` as the reason why something of `ods` may be missing.
    #[must_use]
    pub fn cause(&self, code: &str, ods: &str) -> Option<&Value> {
        self.issues().into_iter().find(|issue| {
            let has = |code: &str| {
                let codings = issue["details"]["coding"].as_array().into_iter().flatten();
                codings.into_iter().any(|coding| coding["code"] == code)
            };
            has(code) && has(ods)
        })
    }

    /// Why something may be missing, and of which organization, by code; empty for a whole result.
    #[must_use]
    pub fn causes(&self) -> Vec<(String, String)> {
        let codes = |issue: &Value| {
            let codings = issue["details"]["coding"].as_array().cloned().unwrap_or_default();
            let codes = codings.iter().filter_map(|coding| coding["code"].as_str());
            // Causes are written in small letters, ODS codes in capitals.
            let (causes, ods): (Vec<&str>, Vec<&str>) =
                codes.partition(|code| code.contains(|c: char| c.is_ascii_lowercase()));
            (causes.concat(), ods.concat())
        };
        self.issues().into_iter().map(codes).collect()
    }

    /// Asserts that it is a whole result: 200, `complete`, with a `total` that fits, and no issues.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_complete(&self) {
        assert_eq!((self.status, &*self.completeness), (200, "complete"), "{}", self.body);
        self.assert_searchset();
        assert!(self.issues().is_empty(), "{}", self.body);
    }

    /// Asserts that it is a result that names the gap, in the header and in the Bundle.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_partial(&self, code: &str, ods: &str, name: &str) -> &Value {
        assert_eq!((self.status, &*self.completeness), (200, "partial"), "{}", self.body);
        self.assert_searchset();
        let entries = self.body["entry"].as_array().into_iter().flatten();
        let outcomes = entries.filter(|entry| entry["search"]["mode"] == "outcome").count();
        assert_eq!(outcomes, 1, "{}", self.body);
        let cause = self.cause(code, ods);
        let cause = cause.unwrap_or_else(|| panic!("no {code} of {ods} in {}", self.body));
        let text = cause["diagnostics"].as_str().unwrap_or_default();
        assert!(text.contains(ods) && text.contains(name), "{text}");
        cause
    }

    fn assert_searchset(&self) {
        assert_eq!(self.body["type"], "searchset", "{}", self.body);
        assert_eq!(self.body["total"], self.ids().len(), "{}", self.body);
    }

    /// Asserts that the request was refused with this status and said why.
    ///
    /// # Panics
    /// When it was not.
    pub fn assert_refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["resourceType"], "OperationOutcome", "{}", self.body);
        assert_eq!(self.body["issue"][0]["severity"], "error", "{}", self.body);
        assert!(self.completeness.is_empty(), "a refusal is no result, complete or not");
        self.body["issue"][0]["diagnostics"].as_str().expect("a refusal says why")
    }
}
