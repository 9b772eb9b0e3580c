//! The drivers: Redis sources, mirror sessions, the tap, the executor. Each translates; none decides.

pub mod asic;
pub mod capture;
pub mod counters;
mod dirty;
pub mod executor;
pub mod feeds;
pub mod known;
pub mod mirror;
pub mod probe;
pub mod replay;
mod rows;
pub mod source;
pub mod survey;
pub mod tables;
pub mod tap;
pub mod unbind;
pub mod window;
