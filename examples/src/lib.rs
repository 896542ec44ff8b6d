//! What the examples share: a founded network in a directory, a patient, a record's pointer.
//!
//! Each program in `src/bin` opens with its run command. The patients are synthetic: NHS numbers
//! from 999 000 0000 to 999 999 9999 are never issued to a person.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::Context as _;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::{Value, json};
use signpost_keys::keystore::Cost;
use signpost_node::{
    core::local::{Caller, LocateRequest},
    digests::SizeClass,
    runtime::wall_clock,
    setup::{self, Identity, Plan, PlannedNode, PlannedOrganization},
};
use signpost_protocol::{IdentifierSystem, PatientIdentifier, codec::Text, roster::Parameters};

/// The NHS number of the examples' patient: well formed, and nobody's.
pub const NHS_NUMBER: &str = "9990000018";

/// Patients for whom each organization may advertise pointers: the roster caps every member's
/// digest, so that none can say "maybe" to everything.
const PATIENTS_MAX: u64 = 10_000;

/// Founds a network of organizations on this machine, each with a directory below `dir`, and opens
/// the nodes.
///
/// # Errors
/// When a directory cannot be written, or a code or name is none.
pub fn found(dir: &Path, organizations: &[(&str, &str)]) -> anyhow::Result<Vec<Identity>> {
    // All are held until all are chosen, so that no port is given out twice.
    let held: Vec<_> = (0..2 * organizations.len())
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        held.iter().map(|port| Ok(port.local_addr()?.port())).collect::<anyhow::Result<_>>()?;
    let nodes = organizations
        .iter()
        .zip(ports.chunks(2))
        .map(|((ods, name), ports)| {
            Ok(PlannedNode {
                organizations: vec![PlannedOrganization::new(ods.parse()?, (*name).to_owned())],
                dir: dir.join(ods),
                peer_address: format!("/ip4/127.0.0.1/tcp/{}", ports[0]),
                api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ports[1])),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    drop(held);
    let class = SizeClass::for_locators(PATIENTS_MAX).context("too many patients")?;
    let plan = Plan {
        network_name: "Example".to_owned(),
        parameters: Parameters::STANDARD,
        nodes,
        class_max: class.number(),
        cost: Cost::standard(),
        deals_key: true,
    };
    // One program plays every founder and so knows every key: fit for an example, not for a network.
    setup::found(&plan, wall_clock(), &mut UnwrapErr(SysRng))?;
    plan.nodes.iter().map(|node| Ok(setup::open(&node.dir)?)).collect()
}

/// The examples' patient.
///
/// # Errors
/// Never with [`NHS_NUMBER`]; with another number, when its check digit is wrong.
pub fn patient() -> anyhow::Result<PatientIdentifier> {
    Ok(PatientIdentifier::parse(IdentifierSystem::NhsNumber, NHS_NUMBER)?)
}

/// A pointer to a mental health crisis plan, as the record's own system would describe it.
#[must_use]
pub fn crisis_plan(custodian: &str) -> Value {
    json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"identifier": {
            "system": "https://fhir.nhs.uk/Id/nhs-number",
            "value": NHS_NUMBER,
        }},
        "custodian": {"identifier": {
            "system": "https://fhir.nhs.uk/Id/ods-organization-code",
            "value": custodian,
        }},
        "type": {"coding": [{
            "system": "http://snomed.info/sct",
            "code": "736253002",
            "display": "Mental health crisis plan",
        }]},
        // The url names the record by an id of its own. With the patient's number in it, here or
        // anywhere but in `subject`, the pointer would be refused.
        "content": [{"attachment": {
            "contentType": "application/pdf",
            "url": "https://records.example/documents/crisis-plan-17",
        }}],
    })
}

/// A look-up of the examples' patient. Whom the question concerns, and why it is asked, reaches
/// every organization that answers.
///
/// # Errors
/// Never: purpose, role and user are within their bounds.
pub fn look_up() -> anyhow::Result<LocateRequest> {
    Ok(LocateRequest {
        patient: patient()?,
        caller: Caller {
            purpose: Text::new("TREAT").context("a purpose is short")?,
            role: Text::new("example").context("a role is short")?,
            user: Text::new("u-1").context("a user is short")?,
        },
        deadline: 3_000,
        custodian: None,
    })
}
