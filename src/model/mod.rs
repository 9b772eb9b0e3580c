//! Pure: jobs, the supervisor, samples, reports. No I/O and no clock: time comes in as a value.

pub mod filter;
pub mod sample;
pub mod schema;
