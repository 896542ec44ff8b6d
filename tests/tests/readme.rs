//! The README's section "By hand, on one machine", typed as it stands there, and what it says comes out.
#![allow(missing_docs)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use signpost_tests::processes::{Process, free_ports, signal, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_signpost-under-test");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// The blocks of shell commands below a heading.
fn commands_below(heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(README).expect("the README is there");
    let section = readme.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading}"));
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Runs commands as a person does in a directory, with `signpost` on the path.
fn shell(dir: &Path, commands: &str) -> Command {
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(["-ec", commands]).current_dir(dir);
    command.env("PATH", format!("{}:{path}", dir.display())).env_remove("SIGNPOST_DIR");
    command
}

fn out(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_newcomer_publishes_a_pointer_and_finds_it() {
    let blocks = commands_below("By hand, on one machine");
    let [start, publish, ..] = &blocks[..] else { panic!("{blocks:?}") };
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = root.path();
    symlink(PROGRAM, dir.join("signpost")).expect("a link");
    let (init, run) = start.split_once('\n').expect("two commands");
    let init = init.split('#').next().unwrap_or_default();
    assert!(init.starts_with("signpost init") && run.starts_with("signpost run"), "{start}");

    // The usual ports may be taken on the machine of the test.
    let ports = free_ports(2);
    let options =
        format!("--api 127.0.0.1:{} --peer-address /ip4/127.0.0.1/tcp/{}", ports[0], ports[1]);
    let made = out(&shell(dir, &format!("{init} {options}")).output().expect("a shell"));
    assert!(made.contains("RX1"), "{made}");
    let refused = shell(dir, &format!("{init} {options}")).output().expect("a shell");
    assert_eq!(refused.status.code(), Some(1), "a second time would replace keys");

    let log = dir.join("run.log");
    let mut node = Process::start(&mut shell(dir, "exec signpost run"), &log);
    let ready = format!("ready api=http://127.0.0.1:{}", ports[0]);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    until("it says that it is ready", || {
        assert!(node.ended().is_none(), "{}", said());
        said().contains(&ready).then_some(())
    });

    let shown = out(&shell(dir, publish).output().expect("a shell"));
    for part in [
        "1 created, 0 updated, 0 unchanged, 0 refused",
        "Mental health crisis plan",
        "https://records.example/documents/crisis-plan-17",
        "1 record was found. The result is complete.",
        "Harrowgate Vale Community Health",
    ] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    let again = out(&shell(dir, "signpost import pointer.json").output().expect("a shell"));
    assert!(again.contains("1 unchanged"), "{again}");
    let telling = "sed s/crisis-plan-17/9990000018/ pointer.json > telling.json
                   signpost import telling.json";
    let refused = shell(dir, telling).output().expect("a shell");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("the patient's number") && !errors.contains("999"), "{errors}");
    let piped = "echo 9990000018 | signpost locate --purpose treat --json -";
    assert!(out(&shell(dir, piped).output().expect("a shell")).contains("\"total\":1"));
    let slip = shell(dir, "signpost locate --purpose TRAET 9990000018").output().expect("a shell");
    assert_eq!(slip.status.code(), Some(1), "a slip is no result");

    signal(node.id(), "TERM");
    assert_eq!(node.end().code(), Some(0), "{}", said());
    let down = shell(dir, "signpost locate 9990000018").output().expect("a shell");
    assert_eq!(down.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&down.stderr).contains("signpost run"), "it says what to do");
}
