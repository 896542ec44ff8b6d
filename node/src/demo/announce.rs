//! Tells programs (`federation.json`) and people where the running nodes are.

use std::{fmt::Write as _, io::Write as _, path::Path};

use serde::Serialize;
use signpost_protocol::PatientIdentifier;

use super::{AtomicFile, client::Client, federation::Node};

/// Name of the file that says where the nodes are.
pub(super) const FEDERATION_FILE: &str = "federation.json";

#[derive(Serialize)]
struct FederationFile<'a> {
    state: &'static str,
    nodes: Vec<NodeEntry<'a>>,
    patients: &'a [String],
}

#[derive(Serialize)]
struct NodeEntry<'a> {
    ods: &'a str,
    name: &'a str,
    api: &'a str,
    token: &'a str,
    peer: String,
    pid: u32,
    dir: String,
}

impl<'a> NodeEntry<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            ods: node.ods(),
            name: node.name(),
            api: node.client().base(),
            token: node.client().token(),
            peer: node.peer().to_owned(),
            pid: node.pid(),
            dir: node.dir().display().to_string(),
        }
    }
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn write(dir: &Path, nodes: &[Node], numbers: &[String]) -> std::io::Result<()> {
    let entries = nodes.iter().map(NodeEntry::new).collect();
    write_entries(dir, "ready", entries, numbers)
}

/// Writes that the nodes have been stopped: whoever waits for them must not find old process ids.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn write_stopped(dir: &Path, numbers: &[String]) -> std::io::Result<()> {
    write_entries(dir, "stopped", Vec::new(), numbers)
}

fn write_entries(
    dir: &Path,
    state: &'static str,
    nodes: Vec<NodeEntry<'_>>,
    patients: &[String],
) -> std::io::Result<()> {
    let mut file = AtomicFile::create(&dir.join(FEDERATION_FILE))?;
    serde_json::to_writer(&mut file, &FederationFile { state, nodes, patients })?;
    file.write_all(b"\n")?;
    file.commit()
}

/// What to try while the nodes stay up.
pub(super) fn invitation(
    dir: &Path,
    nodes: &[Node],
    patient: &PatientIdentifier,
    program: &Path,
) -> String {
    let mut page = String::from("The nodes stay up. Try one:\n");
    for node in nodes {
        let (base, token) = (node.client().base(), node.client().token());
        let path = Client::search_path(patient);
        let _ = write!(
            page,
            "\n  {} {}\n    API    {base}\n    token  {token}\n    curl -i -H 'Authorization: Bearer {token}' '{base}{path}'\n    stop   kill {}\n    start  {} run --dir {}\n",
            node.ods(),
            node.name(),
            node.pid(),
            program.display(),
            node.dir().display()
        );
    }
    let _ = write!(
        page,
        "\nA node that you stop stays down until you start it. {} has all of this.\nCtrl-C stops all; a node that you started by hand, you also stop by hand.",
        dir.join(FEDERATION_FILE).display()
    );
    page
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_file_has_the_agreed_shape() {
        let dir = tempfile::tempdir().unwrap();
        let entry = NodeEntry {
            ods: "RZ1",
            name: "Northmoor University Hospitals",
            api: "http://127.0.0.1:7700",
            token: "secret",
            peer: "/ip4/127.0.0.1/tcp/7701/p2p/12D3".to_owned(),
            pid: 42,
            dir: "/tmp/demo/RZ1".to_owned(),
        };
        let numbers = ["9990000018".to_owned()];
        write_entries(dir.path(), "ready", vec![entry], &numbers).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FEDERATION_FILE)).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read,
            json!({
                "state": "ready",
                "nodes": [{
                    "ods": "RZ1", "name": "Northmoor University Hospitals",
                    "api": "http://127.0.0.1:7700", "token": "secret",
                    "peer": "/ip4/127.0.0.1/tcp/7701/p2p/12D3", "pid": 42,
                    "dir": "/tmp/demo/RZ1"
                }],
                "patients": ["9990000018"]
            })
        );
        write_stopped(dir.path(), &numbers).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FEDERATION_FILE)).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({"state": "stopped", "nodes": [], "patients": ["9990000018"]}));
    }
}
