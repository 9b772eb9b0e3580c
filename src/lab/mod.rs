//! The virtual switch: a SONiC control plane and an ASIC out of tc, for tests and demonstrations; never shipped to a switch.

pub mod asic;
pub mod asic_maps;
pub mod control;
mod control_plane;
pub mod drain;
pub mod frames;
pub mod handle;
pub mod layout;
pub mod lifecycle;
pub mod namespaces;
pub mod network;
pub mod orchagent;
pub mod packet;
pub mod packet_socket;
pub mod profiles;
pub mod send;
pub mod sent;
pub mod state;
pub mod switch;
pub mod truth;
