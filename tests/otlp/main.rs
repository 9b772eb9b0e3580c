//! The OTLP sink: what it says (`render`, `records`), where it sends it (`config`), and how it stands up to collectors (`ship`).

// clippy.toml allows unwrap in tests, but does not see that the helpers of an integration test belong to it.
#![allow(clippy::unwrap_used)]

mod collector;
mod config;
mod families;
mod fixtures;
mod records;
mod render;
mod ship;
