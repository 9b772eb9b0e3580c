//! The drivers: Redis sources, mirror sessions, the tap, the executor. Each translates; none decides.

pub mod tap;
