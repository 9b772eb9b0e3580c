//! The drivers: Redis sources, mirror sessions, the tap, the executor. Each translates; none decides.

pub mod asic;
pub mod counters;
pub mod executor;
pub mod mirror;
pub mod probe;
pub mod source;
pub mod survey;
pub mod tables;
pub mod tap;
pub mod taps;
pub mod unbind;
