//! `GET /metrics`: the state of the node for Prometheus, in its text format.
//!
//! Made from the same report as `signpost status`, at the moment of the scrape. Nothing in it
//! counts patients, look-ups of one patient, or anybody's records.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};

use super::{ApiState, error::ApiError};
use crate::core::local::StatusReport;

/// The content type of the format (OpenMetrics 1.0, which Prometheus reads).
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers a scrape.
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let busy = |reason| ApiError::busy(format!("the node is too busy: {reason}"));
    let report = state.handle.status().await.map_err(busy)?;
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((StatusCode::OK, headers, text(&report)).into_response())
}

fn text(report: &StatusReport) -> String {
    let mut registry = Registry::with_prefix("signpost");
    let mut gauge = |name: &str, help: &str, value: f64| {
        let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let of = |digest: &str| report.peers.iter().filter(|p| p.digest == digest).count() as f64;
    let roster = &report.roster;
    gauge("ready", "Whether the node can do its work", f64::from(u8::from(report.ready)));
    gauge("peers", "Other nodes of the network", report.peers.len() as f64);
    let connected = report.peers.iter().filter(|peer| peer.connected).count();
    gauge("peers_connected", "Other nodes that are connected", connected as f64);
    gauge("digests_stale", "Digests of other nodes that are stale", of("stale"));
    gauge("digests_missing", "Digests of other nodes that are missing", of("missing"));
    let evaluators = &report.evaluators;
    gauge("evaluators_needed", "Evaluators that a look-up takes", evaluators.threshold as f64);
    let evaluating = evaluators.connected.len() as f64;
    gauge("evaluators_connected", "Evaluators that can be asked", evaluating);
    if let Some(offset) = report.clock_offset {
        let help = "The peers' clocks minus this one, their median";
        gauge("clock_offset_seconds", help, offset as f64 / 1_000.0);
    }
    gauge("roster_epoch", "Number of the steward epoch", roster.epoch as f64);
    gauge("roster_findings", "What people should look into", roster.findings as f64);
    let hours = 3_600.0;
    gauge(
        "roster_no_governance_in_seconds",
        "Time until nothing more can be decided, unless stewards are heard of",
        roster.hours_to_no_governance * hours,
    );
    gauge(
        "roster_no_disclosure_in_seconds",
        "Time until holders stop disclosing, unless stewards are heard of",
        roster.hours_to_no_disclosure * hours,
    );
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a String cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn monitoring_reads_what_status_says() {
        let peer = |digest: &str, connected: bool| {
            json!({"ods": "RX2", "name": "York", "connected": connected, "digest": digest,
                "digest_issued": null, "digest_version": null})
        };
        let report = json!({
            "network_name": "Trial", "network": "00", "serves": [], "node": "ee",
            "peers": [peer("stale", true), peer("missing", false), peer("fresh", true)],
            "evaluators": {"threshold": 2, "members": [], "connected": ["RX1"], "dealt": true},
            "roster": {"epoch": 3, "stewards": [], "threshold": 2, "digest": "ab",
                "heard_of": "2026-01-01T00:00:00Z", "expiry": "fresh",
                "hours_to_no_governance": 2.0, "hours_to_no_disclosure": -1.0, "findings": 4},
            "ready": true, "notices": [], "clock_offset": -250,
        });
        let text = text(&serde_json::from_value(report).unwrap());
        for line in [
            "signpost_ready 1.0",
            "signpost_peers 3.0",
            "signpost_peers_connected 2.0",
            "signpost_digests_stale 1.0",
            "signpost_digests_missing 1.0",
            "signpost_evaluators_connected 1.0",
            "signpost_clock_offset_seconds -0.25",
            "signpost_roster_epoch 3.0",
            "signpost_roster_no_governance_in_seconds 7200.0",
            "signpost_roster_no_disclosure_in_seconds -3600.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
