//! Keeps [`ExportState`], what the rest of the daemon sees of the export, and says each change of fortune once in the log.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::client::Accepted;
use super::{Config, Signal};
use crate::model::report::ExportState;

/// The three signals' common account. `last_error` is that of the first signal that has one, because a collector that takes
/// metrics and no logs would otherwise seem well and ill by turns.
#[derive(Debug)]
pub struct Board {
    state: watch::Sender<ExportState>,
    errors: Mutex<[Option<String>; Signal::ALL.len()]>,
    /// Where each signal goes, for the log.
    targets: Mutex<[String; Signal::ALL.len()]>,
}

impl Board {
    /// An account that is published in `state`.
    #[must_use]
    pub fn new(state: watch::Sender<ExportState>) -> Board {
        Board { state, errors: Mutex::default(), targets: Mutex::default() }
    }

    /// A new configuration: where metrics go, and what of it could not be taken.
    pub fn configured(&self, config: &Config) {
        let mut problems: Vec<String> = config.ignored.iter().map(ToString::to_string).collect();
        for problem in &problems {
            tracing::warn!("OTLP export: {problem}; the default is used");
        }
        if config.disabled {
            problems.push("OTEL_SDK_DISABLED is true: nothing is exported".to_owned());
        }
        let targets = Signal::ALL.map(|signal| config.target(signal).map(ToString::to_string).unwrap_or_default());
        let endpoint = targets[Signal::Metrics as usize].clone();
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        self.set_errors(|errors| *errors = Default::default());
        self.state.send_modify(|state| {
            state.endpoint = endpoint;
            state.config_errors = problems;
        });
    }

    /// The collector took a request of `signal`.
    pub fn accepted(&self, signal: Signal, accepted: &Accepted, now: Timestamp) {
        let what = match signal {
            Signal::Metrics => "data points",
            Signal::Logs => "log records",
            Signal::Traces => "spans",
        };
        let partial = (accepted.rejected != 0 || !accepted.message.is_empty())
            .then(|| format!("the collector rejected {} {what}: {}", accepted.rejected, accepted.message));
        self.state.send_modify(|state| {
            state.accepted_requests += 1;
            state.last_success = Some(now);
        });
        self.set_error(signal, partial);
    }

    /// A request of `signal` failed.
    pub fn failed(&self, signal: Signal, message: String) {
        self.state.send_modify(|state| state.failed_requests += 1);
        self.set_error(signal, Some(message));
    }

    /// `signal` is not sent, because its endpoint cannot be taken.
    pub fn unconfigured(&self, signal: Signal, message: String) {
        self.set_error(signal, Some(message));
    }

    /// `count` records were dropped: their queue was full, or the collector refused them for good.
    pub fn dropped(&self, count: u64) {
        self.state.send_modify(|state| state.dropped_records += count);
    }

    /// At least one export of this job was accepted.
    pub fn exported(&self, job: &str) {
        self.state.send_if_modified(|state| state.exported_jobs.insert(job.to_owned()));
    }

    /// These ids no longer mean the jobs they meant.
    pub fn forget(&self, jobs: &[String]) {
        self.state.send_if_modified(|state| {
            let known = state.exported_jobs.len();
            state.exported_jobs.retain(|job| !jobs.contains(job));
            state.exported_jobs.len() < known
        });
    }

    fn set_error(&self, signal: Signal, error: Option<String>) {
        let target = self.targets.lock().unwrap_or_else(PoisonError::into_inner)[signal as usize].clone();
        let export = format!("OTLP export of {} to {target}", signal.as_str());
        self.set_errors(|errors| {
            let old = &mut errors[signal as usize];
            match (&*old, &error) {
                (known, Some(message)) if known.as_ref() != Some(message) => tracing::warn!("{export}: {message}"),
                (Some(_), None) => tracing::info!("{export}: accepted again"),
                _ => {}
            }
            *old = error;
        });
    }

    fn set_errors(&self, change: impl FnOnce(&mut [Option<String>; Signal::ALL.len()])) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut errors);
        let of_signal = |signal: Signal| Some(format!("{}: {}", signal.as_str(), errors[signal as usize].as_ref()?));
        let first = Signal::ALL.into_iter().find_map(of_signal);
        self.state.send_if_modified(|state| {
            let changed = state.last_error != first;
            state.last_error = first;
            changed
        });
    }
}
