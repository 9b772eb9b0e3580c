//! Time per packet, and medians of it.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::os::fd::BorrowedFd;

use crate::bench_programs::{self, BenchPrograms};
use crate::way::thread_cpu_ns;

/// How often a packet is repeated for one measurement.
pub const REPEAT: usize = 200_000;

/// Of several measurements.
#[derive(Clone, Copy)]
pub struct Median {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Median {
    /// Panics without samples.
    pub fn of(mut samples: Vec<f64>) -> Median {
        samples.sort_by(f64::total_cmp);
        Median { middle: samples[samples.len() / 2], least: samples[0], most: samples[samples.len() - 1] }
    }
}

/// What 95 of 100 samples do not exceed. Panics without samples.
pub fn p95(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() * 95).div_ceil(100) - 1]
}

/// CPU time of this thread per run of the program, in nanoseconds. It has fractions, unlike what the kernel reports, and
/// leaves out the time in which somebody else had the CPU.
pub fn ns_per_packet(program: BorrowedFd<'_>, packet: &[u8]) -> f64 {
    per_packet(REPEAT, || bench_programs::run(program, packet, REPEAT))
}

/// The same of the program behind the one that gives each packet another flow.
pub fn ns_per_flow_packet(programs: &BenchPrograms, program: BorrowedFd<'_>, packet: &[u8]) -> f64 {
    per_packet(REPEAT, || programs.run_flows(program, packet, REPEAT))
}

/// CPU time of this thread in this work on so many packets, per packet.
#[allow(clippy::cast_precision_loss)] // seconds, in nanoseconds; some millions of packets
pub fn per_packet(packets: usize, work: impl FnOnce()) -> f64 {
    let before = thread_cpu_ns();
    work();
    (thread_cpu_ns() - before) as f64 / packets as f64
}
