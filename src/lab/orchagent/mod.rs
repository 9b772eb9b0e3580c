//! The virtual orchagent: mirror sessions exactly as the real one was observed to treat them, bad sides included.
//!
//! [`core`] decides on [`messages`], [`session`] and [`prefix`] read rows, [`objects`] is what ASIC_DB shows, [`faults`] spoil it on request, [`driver`] connects it with Redis and with the
//! [`hardware`]. Unlike on the virtual-switch SAI (fact M13), a bound SPAN session does copy packets, if the hardware does.

pub mod core;
pub mod driver;
pub mod faults;
pub mod hardware;
pub mod messages;
pub mod objects;
pub mod prefix;
pub mod queue;
pub mod session;

pub use driver::run;
