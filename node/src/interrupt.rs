//! Ctrl-C, SIGTERM and a closed terminal, as something that every wait of a long command notices.
//!
//! The work of such a command is blocking threads; one more thread listens for the signals and
//! raises a flag. Nothing is stopped from inside a signal handler.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// The command was told to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped before it was finished")]
pub(crate) struct Interrupted;

/// A cloneable flag: raised once, never lowered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<(Mutex<bool>, Condvar)>);

impl Interrupt {
    /// A flag that the process's signals raise.
    ///
    /// # Errors
    /// When the signals cannot be listened for.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        Self::listening(None)
    }

    /// The same, and a second signal ends the process at once with this exit code: the command may
    /// be waiting for input that never comes.
    ///
    /// # Errors
    /// When the signals cannot be listened for.
    pub(crate) fn on_signals_then_exit(code: i32) -> anyhow::Result<Self> {
        Self::listening(Some(code))
    }

    fn listening(code_of_second: Option<i32>) -> anyhow::Result<Self> {
        let flag = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot listen for signals")?;
        let mut signals = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).context("cannot listen for signals");
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            )
        };
        let raised = flag.clone();
        thread::spawn(move || {
            let mut next = || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = signals.0.recv() => {}
                        _ = signals.1.recv() => {}
                        _ = signals.2.recv() => {}
                    }
                });
            };
            next();
            raised.raise();
            if let Some(code) = code_of_second {
                next();
                std::process::exit(code);
            }
        });
        Ok(flag)
    }

    /// Raises the flag.
    pub(crate) fn raise(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Fails when the flag is raised.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        self.pause(Duration::ZERO)
    }

    /// Waits for `duration`, or fails as soon as the flag is raised.
    pub(crate) fn pause(&self, duration: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + duration;
        let mut raised = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *raised {
                return Err(Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            raised = self.0.1.wait_timeout(raised, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_passes_until_the_flag_is_raised() {
        let interrupt = Interrupt::default();
        assert!(interrupt.check().is_ok());
        assert!(interrupt.pause(Duration::from_millis(1)).is_ok());
        let other = interrupt.clone();
        let waiting = thread::spawn(move || other.pause(Duration::from_secs(3600)));
        interrupt.raise();
        assert!(waiting.join().unwrap().is_err());
        assert!(interrupt.check().is_err());
    }
}
