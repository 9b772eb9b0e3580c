//! Pure: jobs, the supervisor, samples, reports. No I/O and no clock: time comes in as a value.

pub mod ability;
pub mod admission;
pub mod aggregate;
pub mod asic;
pub mod counter;
pub mod erspan;
pub mod families;
pub mod filter;
pub mod job;
pub mod limits;
pub mod measure;
pub mod overtaken;
pub mod report;
pub mod rows;
pub mod sample;
pub mod schema;
pub mod seed_variables;
pub mod settings;
pub mod source_ports;
pub mod status;
pub mod stuck;
pub mod supervisor;
pub mod traffic;
pub mod value;
pub mod world;
