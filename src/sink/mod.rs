//! The sinks: STATE_DB, OTLP, REST. Each renders a snapshot (pure) and ships it (a thin task).

pub mod allocator;
mod gather;
pub mod otlp;
pub mod rest;
pub mod state_db;

/// Why the sinks are to end, once they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The daemon is stopped: what says that it is there goes.
    Stopped,
    /// Another daemon has the switch: the rows of which there is one for the switch are that one's.
    Ousted,
}
