//! What the tap costs and what it finds, beside the goals: `make bench`. Needs root; live traffic only runs between two netdevs in a
//! namespace of its own.
//!
//! The result is tables and `target/bench/tap.json`; docs/benchmarks.md says how to read them. Arguments choose
//! sections by their names. This is no test: it never fails because of a figure.

// It reports to a person, who reads the panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod details;
mod draws;
mod frames;
mod live;
mod measure;
mod per_packet;
mod replay;
mod report;
mod taps;
mod topk;

#[path = "../../tests/common/bench_programs.rs"]
mod bench_programs;
#[path = "../../tests/common/heavy_flows.rs"]
mod heavy_flows;
#[path = "../../tests/common/kernel_info.rs"]
mod kernel_info;
#[path = "../../tests/common/packets.rs"]
mod packets;
#[path = "../../tests/common/random.rs"]
mod random;
#[path = "../../tests/common/veth.rs"]
mod veth;
#[path = "../../tests/common/live.rs"]
mod way;

use std::{env, fs, process};

use bench_programs::{BenchPrograms, pin_to_this_cpu};
use report::Section;

const ROUNDS: usize = 9;

/// The name of a section, and what measures it on a CPU that this thread is pinned to.
type Part = (&'static str, fn(usize) -> Section);

const PARTS: [Part; 10] = [
    ("frames", |_| per_packet::by_frame(&BenchPrograms::load(0))),
    ("flows", |_| per_packet::by_flows(&BenchPrograms::load(0))),
    ("replay", |_| replay::replay()),
    ("live", live::live),
    ("top", |_| topk::accuracy()),
    ("reads", |_| taps::reads()),
    ("looks", |_| taps::looks()),
    ("taps", |_| taps::start_and_stop()),
    ("loads", |_| taps::loads()),
    ("memory", |_| taps::memory()),
];

fn main() {
    // cargo bench says --bench to every benchmark.
    let chosen: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = chosen.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("no section {unknown}: there are {}", names.join(", "));
        process::exit(2);
    }
    let cpu = pin_to_this_cpu();
    let chosen = PARTS.iter().filter(|(name, _)| chosen.is_empty() || chosen.iter().any(|one| one == name));
    let sections: Vec<Section> = chosen.map(|(_, measure)| measure(cpu)).collect();
    println!("{}", report::text(&sections));
    fs::create_dir_all("target/bench").unwrap();
    let json = serde_json::to_string_pretty(&report::json(&sections)).unwrap();
    fs::write("target/bench/tap.json", json).unwrap();
    println!("\nthe same in target/bench/tap.json");
}
