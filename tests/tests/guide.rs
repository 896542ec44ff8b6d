//! The guides, typed as they stand: every command works, and what they show comes out.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, reason = "what is typed and said belongs to the result")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use signpost_protocol::roster::Parameters;
use signpost_tests::processes::{Federation, Process, free_ports, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
const NEWCOMER: &str = "RX9";
const SECOND: &str = "the second machine of RZ1";

/// Commands for one node, and what the last of them prints, if the guide shows it.
struct Block {
    at: String,
    commands: Vec<String>,
    shown: Option<String>,
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Fences alternate between the text of the guide and what stands inside.
    for part in guide.split("```").skip(1).step_by(2) {
        if let Some(commands) = part.strip_prefix("sh\n") {
            let (at, commands) = commands.split_once('\n').expect("a line that says where");
            let at = at.strip_prefix("# at ").expect("the first line says where").to_owned();
            let commands = commands.lines().map(str::to_owned).collect();
            blocks.push(Block { at, commands, shown: None });
        } else if let Some(shown) = part.strip_prefix("text\n") {
            blocks.last_mut().expect("a command before").shown = Some(shown.to_owned());
        }
    }
    blocks
}

/// The network of the guide, and what was printed last that others need.
struct Reader {
    federation: Federation,
    root: tempfile::TempDir,
    /// The nodes that the guide makes, by where they are.
    made: BTreeMap<String, Process>,
    invitation: String,
    proposal: String,
    /// The id of the node that was made last.
    node: String,
    ports: Vec<u16>,
}

impl Reader {
    fn dir(&self, at: &str) -> PathBuf {
        let founder = (0..5).map(|n| self.federation.node(n)).find(|node| node.ods == at);
        let name = if at == SECOND { "second" } else { "newcomer" };
        founder.map_or_else(|| self.root.path().join(name), |node| node.dir.clone())
    }

    /// A command as it is typed, with what the guide leaves open.
    fn filled_in(&self, at: &str, command: &str) -> String {
        let ports = if at == SECOND { &self.ports[2..] } else { &self.ports[..2] };
        let address = format!("/ip4/127.0.0.1/tcp/{}", ports[0]);
        let mut command = command
            .replace("INVITATION", &self.invitation)
            .replace("ADDRESS", &address)
            .replace("API", &format!("127.0.0.1:{}", ports[1]))
            .replace("NODE", &self.node.chars().take(8).collect::<String>())
            .replace("ID", &self.proposal.chars().take(8).collect::<String>());
        let asks = ["join", "roster propose", "roster approve", "keys renew", "keys add-node"];
        let asks = asks.into_iter().chain(["keys remove-node", "leave"]);
        let asks = asks.chain(["evaluators refresh", "evaluators reshare"]);
        let ceremony = ["start", "join", "confirm"].map(|c| format!("evaluators ceremony {c}"));
        let asks = asks.map(str::to_owned).chain(ceremony);
        if asks.into_iter().any(|asks| command.starts_with(&format!("signpost {asks}"))) {
            command += " --yes";
        }
        command
    }

    fn type_in(&self, at: &str, command: &str) -> (bool, String, String) {
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.args(["-ec", command]).current_dir(self.root.path());
        shell.env("PATH", format!("{}:{path}", self.root.path().display()));
        shell.env("SIGNPOST_DIR", self.dir(at)).stdin(Stdio::null());
        let ran = shell.output().expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.success(), text(&ran.stdout), text(&ran.stderr))
    }

    /// Types a command until it works: what others have done may not have come here yet.
    fn run(&mut self, at: &str, command: &str) -> String {
        if command == "signpost run" {
            assert!([NEWCOMER, SECOND].contains(&at), "the others run already");
            self.start(at);
            return String::new();
        }
        let command = self.filled_in(at, command);
        println!("# at {at}\n{command}");
        let mut last = String::new();
        let (out, _) = until(&command, || {
            let (ok, out, error) = self.type_in(at, &command);
            if !ok && error != last {
                println!("{error}");
                last = error;
            }
            ok.then_some(out)
        });
        println!("{out}");
        if let Some(invitation) = out.split_whitespace().find(|w| w.contains("-invitation:")) {
            invitation.clone_into(&mut self.invitation);
        }
        if command.starts_with("signpost roster propose") {
            let log = self.type_in(at, "signpost roster log --json").1;
            let log: serde_json::Value = serde_json::from_str(&log).expect("JSON");
            let proposals = log["proposals"].as_array().expect("a list");
            let open = proposals.iter().rfind(|proposal| proposal["state"] == "open");
            let id = open.expect("it is open")["proposal"].as_str().expect("an id");
            id.clone_into(&mut self.proposal);
        }
        out
    }

    /// Starts a node that the guide makes, for the first time or again.
    fn start(&mut self, at: &str) {
        if let Some(mut node) = self.made.remove(at) {
            node.kill();
        }
        let dir = self.dir(at);
        let mut command = Command::new(PROGRAM);
        command.arg("--dir").arg(&dir).args(["run", "--stop-with-stdin"]);
        let log = dir.with_extension("log");
        self.made.insert(at.to_owned(), Process::start(&mut command, &log));
        let (status, _) = until("the node runs", || {
            let (ok, out, _) = self.type_in(at, "signpost status --json");
            ok.then_some(out)
        });
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["node"].as_str().expect("an id").clone_into(&mut self.node);
    }
}

/// What differs from one run to the next, by what it is.
fn normal(text: &str) -> String {
    let is_hexadecimal = |word: &str| {
        word.len() >= 6
            && word.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            && word.contains(|c: char| c.is_ascii_digit())
    };
    let is_time = |word: &str| word.starts_with("20") && word.contains('T') && word.ends_with('Z');
    let word = |word: &str| {
        let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_time(core) {
            word.replace(core, "TIME")
        } else if is_hexadecimal(core) {
            word.replace(core, "HEX")
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| {
        let line = match line.split_once("ingerprint of the organization: ") {
            Some((before, _)) => format!("{before}ingerprint of the organization: WORDS"),
            None => match line.split_once("confirmed it: ") {
                Some((before, _)) => format!("{before}confirmed it: WORDS"),
                None => line.to_owned(),
            },
        };
        line.trim_end().split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    text.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_about_membership_works_and_what_is_shown_comes_out() {
    let root = follow("membership.md", Federation::running(PROGRAM, 5));
    assert!(root.path().join("roster.cbor").exists());
}

#[test]
fn every_command_about_evaluators_works_and_what_is_shown_comes_out() {
    let parameters = Parameters::STANDARD;
    let mut federation = Federation::found_without_key(PROGRAM, 5, parameters, "info");
    (0..5).for_each(|n| federation.start(n));
    federation.await_fresh();
    follow("evaluators.md", federation);
}

/// Types a guide at the nodes of a network.
fn follow(guide: &str, federation: Federation) -> tempfile::TempDir {
    let guide = fs::read_to_string(Path::new(DOCS).join(guide)).expect("the guide is there");
    let blocks = blocks(&guide);
    assert!(blocks.len() > 20, "{} blocks", blocks.len());
    let root = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink(PROGRAM, root.path().join("signpost")).expect("a link");
    let mut reader = Reader {
        federation,
        root,
        made: BTreeMap::new(),
        invitation: String::new(),
        proposal: String::new(),
        node: String::new(),
        ports: free_ports(4),
    };
    let mut wrong = BTreeMap::new();
    for (number, block) in blocks.iter().enumerate() {
        let mut out = String::new();
        for command in &block.commands {
            out = reader.run(&block.at, command);
        }
        let Some(shown) = &block.shown else { continue };
        // The news may still be on its way to this node.
        let last = reader.filled_in(&block.at, block.commands.last().expect("a command"));
        for _ in 0..50 {
            if normal(&out) == normal(shown) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            out = reader.type_in(&block.at, &last).1;
        }
        if normal(&out) != normal(shown) {
            wrong.insert(number, (normal(shown), normal(&out), out));
        }
    }
    for (number, (shown, said, raw)) in &wrong {
        println!("block {number}: the guide shows\n{shown}\nbut it says\n{said}\nthat is\n{raw}");
    }
    assert!(wrong.is_empty(), "{} of the guide's transcripts are not true", wrong.len());
    reader.root
}
