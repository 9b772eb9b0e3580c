//! The virtual orchagent: mirror sessions exactly as the real one was observed to treat them, bad sides included.

pub mod hardware;
