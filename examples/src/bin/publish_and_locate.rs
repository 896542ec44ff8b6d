//! What a clinical system does: publishes a pointer at its organization's node over HTTP (FHIR R4),
//! looks the patient up, and withdraws the pointer.
//!
//! With a running node, for instance one of `signpost demo --dir ./demo`:
//!
//! ```sh
//! cargo run -p signpost-examples --bin publish_and_locate -- --dir ./demo/RZ1
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::Value;
use signpost_examples::{NHS_NUMBER, crisis_plan};
use signpost_node::{
    config::Config,
    setup::{self, API_TOKEN_FILE},
};
use ureq::{Agent, Body, http::Response};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("--dir"), Some(dir), None) => PathBuf::from(dir),
        _ => bail!("usage: publish_and_locate --dir DIR, the directory of a running node"),
    };
    let node = format!("http://{}", Config::read(&dir)?.api.listen);
    let records = format!("{node}/fhir/R4/DocumentReference");
    // Whoever can read this file speaks for the organization's clinical systems.
    let served = setup::organizations(&dir)?;
    let ods = served.first().context("the node serves nobody")?;
    let token = std::fs::read_to_string(setup::organization_dir(&dir, ods).join(API_TOKEN_FILE))?;
    let bearer = format!("Bearer {}", token.trim());
    // A refusal is an OperationOutcome whose text is worth reading, so it comes back as a reply.
    let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();

    let created = agent
        .post(&records)
        .header("Authorization", &bearer)
        .header("Content-Type", "application/fhir+json")
        .send(crisis_plan(ods.as_str()).to_string())
        .context("does the node run?")?;
    let (_, created) = json(created)?;
    let id = created["id"].as_str().context("a pointer has an id")?;
    println!("published {id}");

    // By POST, so that the patient's number stands in no URL, and so in no log on the way. The
    // headers say on whose behalf this is asked: they reach the holders.
    let found = agent
        .post(format!("{records}/_search"))
        .header("Authorization", &bearer)
        .header("Signpost-Purpose", "TREAT")
        .header("Signpost-User", "u-1")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send(format!("subject:identifier=https://fhir.nhs.uk/Id/nhs-number|{NHS_NUMBER}"))?;
    let (completeness, bundle) = json(found)?;
    for entry in bundle["entry"].as_array().into_iter().flatten() {
        let resource = &entry["resource"];
        // The last entry of a partial result is no record: it says what may be missing.
        if entry["search"]["mode"] == "outcome" {
            for issue in resource["issue"].as_array().into_iter().flatten() {
                println!("may be missing: {}", text(&issue["diagnostics"]));
            }
        } else {
            let holder = &resource["custodian"]["identifier"]["value"];
            println!("found {} at {}", text(&resource["id"]), text(holder));
        }
    }
    println!("the result is {completeness}");

    let deleted =
        agent.delete(format!("{records}/{id}")).header("Authorization", &bearer).call()?;
    println!("withdrew {id}: HTTP {}", deleted.status().as_u16());
    Ok(())
}

/// The completeness of a reply, and its body.
fn json(mut reply: Response<Body>) -> anyhow::Result<(String, Value)> {
    let header = reply.headers().get("Signpost-Completeness");
    let completeness = header.and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let body: Value = reply.body_mut().read_json()?;
    if !reply.status().is_success() {
        bail!("{}: {}", reply.status(), text(&body["issue"][0]["diagnostics"]));
    }
    Ok((completeness, body))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
