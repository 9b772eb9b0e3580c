//! Traffic whose flows are known one by one, through the tap's program, and how well the flow table found the largest of them.

// Each target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use telegen_sonic::io::tap::{Hook, Program};
use telegen_sonic::model::sample::{Counter, Flow, FlowTable};

use super::bench_programs::{BenchPrograms, DRAWS};
use super::random::{Seeded, Zipf};

/// Flows whose packets follow Zipf(1.1).
const FLOWS: u32 = 1_000_000;

/// Where the flows' addresses are: heavy ones in these /8, the flood in a half of all addresses.
const HEAVY: u32 = 10 << 24;
const HEAVY_LATER: u32 = 11 << 24;
const FLOOD: u32 = 1 << 31;

/// Which flows the packets are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Zipf(1.1) over a million flows.
    Zipf,
    /// The same, and before each packet one of a flow that has no other.
    Flood,
    /// The same, and in the second half a million other flows.
    Change,
}

impl Traffic {
    /// All of them.
    pub const ALL: [Traffic; 3] = [Traffic::Zipf, Traffic::Flood, Traffic::Change];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Traffic::Zipf => "Zipf(1.1), 1M flows",
            Traffic::Flood => "half a flood of one-packet flows",
            Traffic::Change => "all flows change half-way",
        }
    }

    /// The flows of the packets of one round.
    fn round(self, round: usize, rounds: usize, zipf: &Zipf, random: &mut Seeded) -> Vec<u32> {
        let flood = |packet: usize| FLOOD | u32::try_from(round * DRAWS + packet).unwrap();
        let heavy = if self == Traffic::Change && round * 2 >= rounds { HEAVY_LATER } else { HEAVY };
        (0..DRAWS)
            .map(|packet| match self {
                Traffic::Flood if packet % 2 == 0 => flood(packet),
                _ => heavy | zipf.draw(random),
            })
            .collect()
    }
}

/// How many packets each flow really had.
#[derive(Default)]
pub struct Truth(HashMap<u32, u64>);

impl Truth {
    fn add(&mut self, mut flows: Vec<u32>) {
        flows.sort_unstable();
        for same in flows.chunk_by(|one, other| one == other) {
            *self.0.entry(same[0]).or_default() += same.len() as u64;
        }
    }

    /// How many flows there were.
    pub fn flows(&self) -> usize {
        self.0.len()
    }

    /// Of one flow.
    pub fn packets(&self, flow: &Flow) -> u64 {
        match flow.key.src {
            IpAddr::V4(address) => self.0.get(&address.to_bits()).copied().unwrap_or(0),
            IpAddr::V6(_) => 0,
        }
    }

    /// How many packets the flow of this rank (from 1 on) had.
    fn packets_of_rank(&self, rank: usize) -> u64 {
        let mut packets: Vec<u64> = self.0.values().copied().collect();
        let (_, nth, _) = packets.select_nth_unstable_by_key(rank - 1, |packets| std::cmp::Reverse(*packets));
        *nth
    }
}

/// Runs a fresh ingress program on `rounds` times [`DRAWS`] packets, on the CPU that this thread is pinned to, and says what they were.
pub fn run(program: &Program, traffic: Traffic, rounds: usize, packet: &[u8]) -> Truth {
    let programs = BenchPrograms::load(0);
    let (zipf, mut random, mut truth) = (Zipf::new(FLOWS), Seeded::new(7), Truth::default());
    for round in 0..rounds {
        let flows = traffic.round(round, rounds, &zipf, &mut random);
        programs.draw(&flows);
        programs.run_flows(program.fd(Hook::Ingress).unwrap(), packet, DRAWS);
        truth.add(flows);
    }
    truth
}

/// How well a table has the largest flows.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    /// How many of the reported flows belong to the largest, of as many (two flows with equally many packets are as large).
    pub recall: f64,
    /// What the reported packets of those that belong there deviate from the truth, on average.
    pub mean_error: f64,
    /// The same of the one that deviates most.
    pub worst_error: f64,
}

impl Accuracy {
    /// Of the flows that a job would report as its `top` largest.
    #[allow(clippy::cast_precision_loss)] // some millions of packets
    pub fn of(table: &FlowTable, truth: &Truth, top: usize) -> Accuracy {
        let mut ranked: Vec<&Flow> = table.flows.iter().collect();
        ranked.sort_by_key(|flow| (std::cmp::Reverse(flow.packets + flow.base), flow.key));
        ranked.truncate(top);
        let least = truth.packets_of_rank(top);
        let errors: Vec<f64> = ranked
            .iter()
            .map(|flow| (flow.packets, truth.packets(flow)))
            .filter(|(_, real)| *real >= least)
            .map(|(packets, real)| packets.abs_diff(real) as f64 / real as f64)
            .collect();
        Accuracy {
            recall: errors.len() as f64 / top as f64,
            mean_error: errors.iter().sum::<f64>() / errors.len() as f64,
            worst_error: errors.iter().copied().fold(0.0, f64::max),
        }
    }
}

/// The packets of the table, those beside it included: all that were analysed, if nothing is lost.
pub fn reconciled(table: &FlowTable) -> Counter {
    let flows = table.flows.iter().map(|flow| Counter { packets: flow.packets, bytes: flow.bytes });
    flows.chain([table.other, table.non_ip]).sum()
}

/// Whether each flow is there once.
pub fn is_without_doubles(table: &FlowTable) -> bool {
    let mut keys = HashSet::new();
    table.flows.iter().all(|flow| keys.insert(flow.key))
}
