//! The real daemon on the virtual switch, end to end and as root: rows in, mirrored packets counted, rows out, nothing left.
//!
//! Every test has a switch of its own; [`fixture`] lets no more than a few run at once. A test that cannot run here says
//! `SKIPPED: <test>: <reason>` and returns.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

mod asic_db;
#[path = "../common/bpf_link.rs"]
mod bpf_link;
mod capabilities;
mod compat;
mod daemon;
mod doors;
mod erspan;
mod exact;
mod faults;
mod filters;
mod fixture;
mod floods;
mod foreign;
mod giants;
mod kernel;
mod kills;
mod life;
mod operations;
mod outages;
mod ports;
mod redis_db;
