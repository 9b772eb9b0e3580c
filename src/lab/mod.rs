//! The virtual switch: a SONiC control plane and an ASIC out of tc, for tests and demonstrations; never shipped to a switch.
//!
//! - [`switch`] is the lab process: [`namespaces`], [`network`], [`asic`] (which wraps copies by [`gre`]) and the control plane ([`redis_server`], [`switch_db`],
//!   [`orchagent`]), laid out by [`layout`] and found by others through [`state`];
//! - [`lifecycle`] starts and ends it and runs commands on it; [`control`] makes it fail;
//! - [`send()`](send::send) puts [`frames`] from captures and [`profiles`] on a wire, says by [`truth`] what they are ([`sent`]), and waits by
//!   [`drain`] until they have gone through; [`asic_maps`] has the counters;
//! - [`collector`] takes OTLP and prints it;
//! - [`handle`] is all of that for tests.

pub mod asic;
pub mod asic_maps;
pub mod collector;
pub mod control;
mod control_plane;
pub mod drain;
pub mod frames;
pub mod gre;
pub mod handle;
pub mod layout;
pub mod lifecycle;
pub mod namespaces;
pub mod network;
pub mod orchagent;
pub mod packet;
pub mod packet_socket;
pub mod profiles;
pub mod redis_server;
pub mod send;
pub mod sent;
pub mod state;
pub mod switch;
pub mod switch_db;
pub mod truth;
