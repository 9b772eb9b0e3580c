//! Why the daemon ends: a signal, or another daemon that has the switch.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::sonic::hold::Hold;

/// SIGTERM and SIGINT, and the loss of the right to be this switch's daemon.
pub(super) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// The right, once it is held.
    pub(super) hold: Option<Hold>,
    /// Those that have the right now.
    pub(super) ousted: Option<Vec<String>>,
}

impl Stop {
    pub(super) fn new() -> anyhow::Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            hold: None,
            ousted: None,
        })
    }

    /// Waits until there is a reason to end.
    pub(super) async fn asked(&mut self) {
        let lost = async {
            match &mut self.hold {
                Some(hold) => hold.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            by = lost => {
                self.hold = None;
                self.ousted = Some(by);
            }
        }
    }
}
