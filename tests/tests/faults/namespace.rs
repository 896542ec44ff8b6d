//! A mount namespace for the tests: small disks of their own that nobody else sees and that are gone
//! with the process.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Set in the process that runs inside the namespace, or that found none to be had.
const ENTERED: &str = "SIGNPOST_TEST_NAMESPACE";
const YES: &str = "yes";
/// Ways to a namespace: as root, and as anybody where the system lets users have their own.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// Starts this program again inside a namespace, where that is possible.
pub(crate) fn enter() {
    if env::var_os(ENTERED).is_some() {
        return;
    }
    let probe = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$0\"";
    let way = WAYS.into_iter().find(|way| {
        let mut unshare = Command::new("unshare");
        let unshare = unshare.args(*way).args(["sh", "-c", mount]).arg(probe.path());
        let tried = unshare.stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    drop(probe);
    let program = env::current_exe().unwrap();
    match way {
        Some(way) => {
            let mut again = Command::new("unshare");
            let again = again.args(way).arg(program).args(env::args_os().skip(1));
            panic!("cannot start again: {}", again.env(ENTERED, YES).exec());
        }
        None => {
            let mut again = Command::new(program);
            panic!(
                "cannot start again: {}",
                again.args(env::args_os().skip(1)).env(ENTERED, "no").exec()
            );
        }
    }
}

/// Whether small disks can be had.
pub(crate) fn has_disks() -> bool {
    env::var(ENTERED).is_ok_and(|entered| entered == YES)
}

/// A small file system in memory over a directory, with what the directory held.
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// Mounts `size` (as mount(8) takes it, e.g. `16m`) over `dir` and copies in what was there.
    pub(crate) fn over(dir: &Path, size: &str) -> Self {
        let script = "set -e; mkdir \"$0.under\"; cp -a \"$0/.\" \"$0.under\"; \
                      mount -t tmpfs -o mode=700,size=$1 tmpfs \"$0\"; cp -a \"$0.under/.\" \"$0\"";
        sh(script, dir, size);
        Self { dir: dir.to_owned() }
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, size: &str) {
        sh("mount -o remount,size=$1 \"$0\"", &self.dir, size);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}

fn sh(script: &str, dir: &Path, size: &str) {
    let ran = Command::new("sh").args(["-c", script]).arg(dir).arg(size).status();
    assert!(ran.unwrap().success(), "{script}");
}
