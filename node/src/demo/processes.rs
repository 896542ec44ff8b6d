//! A node as an operating-system process of its own.
//!
//! The node stops when its standard input closes, and the demo holds the other end: however the
//! demo ends, also by SIGKILL, the kernel closes that end and no node is left behind. A node is in
//! a process group of its own, so that Ctrl-C reaches the demo alone, which then stops its nodes
//! in order.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Time for a node to write what it must and stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often a stopping process is looked at.
const STOP_POLL: Duration = Duration::from_millis(20);
/// Bytes of a log's end that are worth showing beside an error: some 20 lines.
const TAIL_BYTES: u64 = 4096;
/// Lines of them.
const TAIL_LINES: usize = 20;

/// A process that runs until it is stopped, or dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` with `arguments`; what it prints is appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not started.
    pub(super) fn start(program: &Path, arguments: &[&OsStr], log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let errors = output.try_clone()?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, ended: None })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did. A dead process is reaped here: it does not stay a zombie.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap_or(None);
        }
        self.ended
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub(super) fn kill(&mut self) {
        if self.ended().is_none() {
            // Fails only when it is gone already.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        self.stdin = None;
    }

    /// Asks it to stop, by closing its standard input.
    pub(super) fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Waits for it to stop until `deadline`, then kills it.
    pub(super) fn stop_by(&mut self, deadline: Instant) {
        self.ask_to_stop();
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(STOP_POLL);
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops all of `processes`, side by side: each has the same time.
pub(super) fn stop_all<'a>(processes: impl Iterator<Item = &'a mut Process>) {
    let mut asked: Vec<_> = processes.collect();
    asked.iter_mut().for_each(|process| process.ask_to_stop());
    let deadline = Instant::now() + STOP_PATIENCE;
    asked.iter_mut().for_each(|process| process.stop_by(deadline));
}

/// The last lines of a log, for people.
pub(super) fn tail(log: &PathBuf) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(no log: {error})"));
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(dir: &Path, script: &str) -> Process {
        let arguments = ["-c".as_ref(), script.as_ref()];
        Process::start("/bin/sh".as_ref(), &arguments, &dir.join("log")).unwrap()
    }

    #[test]
    fn a_process_that_heeds_its_input_stops_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = start(dir.path(), "cat; echo bye");
        assert!(process.ended().is_none());
        process.stop_by(Instant::now() + Duration::from_secs(60));
        assert!(process.ended().unwrap().success());
        assert_eq!(tail(&dir.path().join("log")), "bye");
    }

    #[test]
    fn a_process_that_does_not_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = start(dir.path(), "exec sleep 3600");
        process.stop_by(Instant::now());
        assert!(!process.ended().unwrap().success());
    }

    #[test]
    fn all_are_stopped_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let mut processes: Vec<_> = (0..3).map(|_| start(dir.path(), "cat")).collect();
        stop_all(processes.iter_mut());
        assert!(processes.iter_mut().all(|process| process.ended().unwrap().success()));
    }

    #[test]
    fn a_dead_process_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = start(dir.path(), "exit 7");
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.ended().is_none() && Instant::now() < deadline {
            thread::sleep(STOP_POLL);
        }
        assert_eq!(process.ended().unwrap().code(), Some(7));
    }

    #[test]
    fn a_tail_is_short_and_a_missing_log_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(tail(&log).contains("no log"));
        let text: String = (0..1000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&log, text).unwrap();
        let shown = tail(&log);
        assert_eq!(shown.lines().count(), TAIL_LINES);
        assert!(shown.ends_with("line 999"));
    }
}
