//! telegen-sonic makes the traffic that a switch ASIC forwards visible, on demand and safely, on SONiC switches.
//!
//! ```text
//! CONFIG_DB/APPL_DB ─source─▶ Event ─▶ Supervisor ─▶ Effect ─executor─▶ mirror session / tap
//!                               ▲        (pure)                               │
//!                               └───────────── outcome Events ◀───────────────┤
//!                                                             Sample ◀────────┘
//! STATE_DB ◀┐                                                    │
//! OTLP     ◀┼── watch<Arc<Snapshot>> ◀── Aggregator (pure) ◀─────┘
//! REST/SSE ◀┘
//! ```
//!
//! Imports point down only, and `tests/layers.rs` enforces it: `cli`, `daemon` → `sink` → `io` → `sonic`, `model` →
//! `row`. `lab` is the virtual switch of tests and demonstrations; it uses `sonic` and nothing above it.

pub mod cli;
pub mod daemon;
pub mod io;
pub mod lab;
pub mod model;
pub mod row;
pub mod sink;
pub mod sonic;
