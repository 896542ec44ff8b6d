//! Import and export by the command line, with real nodes: what the world sends, what a nightly
//! extract changes, and what is kept when something is wrong with it.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "what was said belongs to the result")]

mod bad_input;
mod examples;
mod export;
mod replace;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use signpost_protocol::{OdsCode, PatientIdentifier, roster::Parameters};
use signpost_tests::{client::Client, processes::Federation};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains("99900") && !text.contains("panicked"), "{text}");
        }
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(all.contains(text), "no {text:?} in {all}");
        self
    }

    /// The last line of the results.
    fn sum(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }
}

/// `signpost <arguments>` at the node in `dir`.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--dir").arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn signpost(dir: &Path, arguments: &[&str]) -> Ran {
    signpost_with(dir, arguments, b"")
}

fn signpost_with(dir: &Path, arguments: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command(dir, arguments).spawn().expect("the program can be started");
    // A command that needs no input may end before it is offered any.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    let ran = ended(child);
    println!("signpost {}: {:?}\n{}{}", arguments.join(" "), ran.code, ran.stdout, ran.stderr);
    ran
}

/// A network of these organizations, running.
fn federation(codes: &[&str]) -> Federation {
    let named = codes.iter().map(|code| {
        let ods: OdsCode = code.parse().expect("an ODS code");
        (ods, format!("Organization {code}"))
    });
    let mut federation =
        Federation::found_by(PROGRAM, named.collect(), Parameters::STANDARD, "info", 20_000);
    (0..codes.len()).for_each(|n| federation.start(n));
    federation.await_fresh();
    federation
}

/// A file of `tests/data`.
fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// One node, and a directory for files.
struct Alone {
    federation: Federation,
    files: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        Self { federation: federation(&["RX1"]), files }
    }

    fn client(&self) -> &Client {
        self.federation.client(0)
    }

    fn dir(&self) -> &Path {
        &self.federation.node(0).dir
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        signpost(self.dir(), arguments)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes a file; returns its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).expect("the file can be written");
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// Url and version of each pointer that a search for the patient shows.
    fn held(&self, patient: &PatientIdentifier) -> BTreeMap<String, (String, String)> {
        let reply = self.client().search(patient);
        reply.assert_complete();
        let entries = reply.body["entry"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries
            .map(|entry| {
                let resource = &entry["resource"];
                let url = text(&resource["content"][0]["attachment"]["url"]);
                (text(&resource["id"]), (url, text(&resource["meta"]["versionId"])))
            })
            .collect()
    }

    /// How many pointers the node holds.
    fn count(&self) -> u64 {
        self.client().status().expect("a status").serves[0].pointers.expect("one's own are told")
    }
}

/// A CSV extract of these records: local id and url, all of one patient.
fn extract(patient: &PatientIdentifier, records: &[(&str, &str)]) -> String {
    let mut text = "id,nhs_number,custodian,type_code,url\n".to_owned();
    for (id, url) in records {
        let number = patient.expose_digits();
        text += &format!("{id},{number},RX1,736253002,https://records.example/{url}\n");
    }
    text
}
