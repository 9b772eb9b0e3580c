//! The virtual orchagent against a real Redis: each numbered fact that was observed on the real one, then the faults that the lab
//! adds. The facts are those of MirrorOrch and SflowOrch on sonic-swss e6b0c5b5 with the virtual-switch SAI: a list of thirteen in `facts`, and a
//! second one in `samplers`, `channels`, `routes` and `rows`.

// In the helpers of tests as in the tests themselves: a failure here is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "redis_common/mod.rs"]
mod redis_common;

#[path = "lab_orchagent/asic_db.rs"]
mod asic_db;
#[path = "lab_orchagent/channels.rs"]
mod channels;
#[path = "lab_orchagent/facts.rs"]
mod facts;
#[path = "lab_orchagent/faults.rs"]
mod faults;
#[path = "lab_orchagent/routes.rs"]
mod routes;
#[path = "lab_orchagent/rows.rs"]
mod rows;
#[path = "lab_orchagent/samplers.rs"]
mod samplers;
#[path = "lab_orchagent/switch.rs"]
mod switch;
#[path = "lab_orchagent/timing.rs"]
mod timing;
