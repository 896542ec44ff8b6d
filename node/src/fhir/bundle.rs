//! Searchset Bundles (FHIR R4 §3.1.1.1).

use serde_json::{Value, json};

/// The result of a search, ready to be written.
#[derive(Clone, Debug)]
pub struct Searchset<'a> {
    /// The server's base URL, without a final slash.
    pub base: &'a str,
    /// The search as it was understood, as a URL.
    pub self_link: String,
    /// The resources that match, each with its id.
    pub matches: Vec<(String, Value)>,
    /// What the result lacks: an OperationOutcome.
    pub outcome: Option<Value>,
    /// Whether only the number of matches was asked for.
    pub count_only: bool,
}

impl Searchset<'_> {
    /// The Bundle. `total` counts the matches, never the outcome, which comes last. A mere count
    /// carries the outcome too: a number that may be too small must not look final.
    #[must_use]
    pub fn into_bundle(self) -> Value {
        let total = self.matches.len();
        let mut entries = Vec::new();
        if !self.count_only {
            entries.extend(self.matches.into_iter().map(|(id, resource)| {
                json!({
                    "fullUrl": format!("{}/DocumentReference/{id}", self.base),
                    "resource": resource,
                    "search": {"mode": "match"},
                })
            }));
        }
        entries.extend(
            self.outcome.map(|outcome| json!({"resource": outcome, "search": {"mode": "outcome"}})),
        );
        let mut bundle = json!({
            "resourceType": "Bundle",
            "type": "searchset",
            "total": total,
            "link": [{"relation": "self", "url": self.self_link}],
        });
        // FHIR has no empty arrays (R4 §2.6.2).
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        bundle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searchset(matches: usize, outcome: bool, count_only: bool) -> Value {
        Searchset {
            base: "http://x/fhir/R4",
            self_link: "http://x/fhir/R4/DocumentReference?a=b".into(),
            matches: (0..matches).map(|n| (format!("RX1-{n}"), json!({"n": n}))).collect(),
            outcome: outcome.then(|| json!({"resourceType": "OperationOutcome"})),
            count_only,
        }
        .into_bundle()
    }

    #[test]
    fn matches_are_counted_and_the_outcome_is_not() {
        let bundle = searchset(2, true, false);
        assert_eq!(bundle["total"], 2);
        assert_eq!(bundle["entry"].as_array().unwrap().len(), 3);
        assert_eq!(bundle["entry"][1]["fullUrl"], "http://x/fhir/R4/DocumentReference/RX1-1");
        assert_eq!(bundle["entry"][0]["search"]["mode"], "match");
        assert_eq!(bundle["entry"][2]["search"]["mode"], "outcome");
    }

    #[test]
    fn a_count_has_no_matches_in_it_but_says_when_it_is_partial() {
        assert_eq!(searchset(2, false, true)["total"], 2);
        assert!(searchset(2, false, true).get("entry").is_none());
        assert_eq!(searchset(2, true, true)["entry"][0]["search"]["mode"], "outcome");
        assert!(searchset(0, false, false).get("entry").is_none());
    }
}
