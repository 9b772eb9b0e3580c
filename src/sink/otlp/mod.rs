//! The OTLP sink: job metrics, a log record per status change and a span per job, to an OpenTelemetry collector.
//!
//! ```text
//! Snapshot ─ cursor ─▶ metrics ──┐
//!     │      (what is due)       ├─▶ ship ─▶ client ─▶ collector (gRPC or http/protobuf)
//!     └───── records ─ queues ───┘     └───▶ board ─▶ ExportState
//!         (what has changed)
//! ```
//!
//! Everything left of `ship` is pure: times and environment come in as values. The messages are made with `opentelemetry-proto` and not
//! with the SDK, because the SDK starts a sum when its instrument is made rather than when the job started, cuts a metric at 2000
//! points, and takes no histogram that is already counted.
//!
//! Not here: TLS, compression, naming profiles, spilling to disk. An `https://` endpoint is refused, never downgraded.

pub mod attribute;
pub mod board;
pub mod client;
pub mod config;
pub mod cursor;
pub mod failure;
mod families;
pub mod metrics;
pub mod origin;
pub mod records;
pub mod ship;

pub use config::{Config, Environment};
pub use ship::run;

/// What is sent: OTLP has one service per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `/v1/metrics`
    Metrics,
    /// `/v1/logs`
    Logs,
    /// `/v1/traces`
    Traces,
}

impl Signal {
    /// Every signal, in declaration order.
    pub const ALL: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Traces];

    /// The word in messages and in the last part of the HTTP path (OTLP specification, "OTLP/HTTP Request").
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
            Signal::Traces => "traces",
        }
    }
}
