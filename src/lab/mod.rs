//! The virtual switch: a SONiC control plane and an ASIC out of tc, for tests and demonstrations; never shipped to a switch.

pub mod asic;
pub mod asic_maps;
pub mod layout;
pub mod namespaces;
pub mod network;
pub mod orchagent;
pub mod truth;
