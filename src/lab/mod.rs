//! The virtual switch: a SONiC control plane and an ASIC out of tc, for tests and demonstrations; never shipped to a switch.

pub mod orchagent;
pub mod redis_server;
pub mod switch_db;
