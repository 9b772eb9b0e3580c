//! The sinks: STATE_DB, OTLP, REST. Each renders a snapshot (pure) and ships it (a thin task).

pub mod otlp;
pub mod rest;
pub mod state_db;
