//! From the maps' memory to a [`Sample`]: sums the CPUs and the marginals of the cells.

use std::collections::HashMap;
use std::hint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::bpf::types;
use super::mapped::{self, MappedArray};
use crate::model::sample::{Counter, Flow, FlowKey, FlowTable, Histogram, Sample};
use crate::model::schema::{EthClass, IpClass};

// The layout of a cell's index, bpf/types.h.
const CELL_IP: usize = 0x80;
const CELL_IPV6: usize = 0x40;
const CELL_FRAGMENT: usize = 0x20;
const CELL_IP_CLASS: usize = 0x1f;
const CELL_REJECTED: usize = 0x7f;

const WAYS: usize = super::FlowSlots::WAYS as usize;

/// 1 tick of a flow's times, in nanoseconds (`FLOW_TICK_SHIFT`).
const TICK_NS: u64 = 1 << 20;

/// All CPUs together. `flows` was read before.
pub(super) fn sample(cpus: &MappedArray, taken_at_ns: u64, flows: Option<FlowTable>) -> Sample {
    let mut sample = Sample { flows, ..Sample::empty(taken_at_ns) };
    for index in 0..cpus.len::<types::cpu>() {
        add_cpu(&mut sample, &cpus.read(index));
    }
    sample.delivered += sample.total;
    sample.packet_size.count = sample.packet_size.counts.iter().sum();
    sample.interarrival.count = sample.interarrival.counts.iter().sum();
    sample
}

fn add_cpu(sample: &mut Sample, cpu: &types::cpu) {
    for (index, cell) in cpu.cells.iter().enumerate() {
        let cell = counter(*cell);
        if index == CELL_REJECTED {
            sample.delivered += cell; // the rest of it is `total`
        } else if cell.packets != 0 {
            add_cell(sample, index, cell);
        }
    }
    for (sum, count) in sample.errors.iter_mut().zip(cpu.errors) {
        *sum += count;
    }
    sample.analysed += counter(cpu.analysed);
    add_histogram(&mut sample.packet_size, &cpu.size_counts, cpu.size_sum);
    add_histogram(&mut sample.interarrival, &cpu.gap_counts, cpu.gap_sum);
    if let Some(flows) = &mut sample.flows {
        flows.other += counter(cpu.other);
        flows.non_ip += counter(cpu.non_ip);
        flows.evicted += cpu.evicted;
        flows.seen += cpu.evicted;
    }
}

fn add_cell(sample: &mut Sample, index: usize, cell: Counter) {
    sample.total += cell;
    if index & CELL_IP == 0 {
        sample.eth[index] += cell;
        return;
    }
    let eth = if index & CELL_IPV6 == 0 { EthClass::Ipv4 } else { EthClass::Ipv6 };
    sample.eth[eth as usize] += cell;
    sample.ip[index & CELL_IP_CLASS] += cell;
    if index & CELL_FRAGMENT != 0 {
        sample.fragments += cell.packets;
    }
}

const _: () = assert!(EthClass::COUNT <= CELL_REJECTED && IpClass::COUNT <= CELL_IP_CLASS + 1);

fn counter(counter: types::counter) -> Counter {
    Counter { packets: counter.packets, bytes: counter.bytes }
}

/// The program's histogram has spare buckets behind the real ones, which no value reaches.
fn add_histogram(histogram: &mut Histogram, counts: &[u64], sum: u64) {
    for (to, count) in histogram.counts.iter_mut().zip(counts) {
        *to += count;
    }
    histogram.sum += sum;
}

/// The table of all CPUs; a flow that several CPUs saw is one flow. The counters besides it come with [`sample`].
pub(super) fn flows(table: &MappedArray, opened_ns: u64) -> FlowTable {
    let mut flows: HashMap<FlowKey, Flow> = HashMap::new();
    for index in 0..table.len::<types::flow_set>() {
        for flow in set_flows(table.element::<types::flow_set>(index), opened_ns) {
            flows
                .entry(flow.key)
                .and_modify(|known| {
                    known.packets += flow.packets;
                    known.bytes += flow.bytes;
                    known.base += flow.base;
                    known.first_seen_ns = known.first_seen_ns.min(flow.first_seen_ns);
                    known.last_seen_ns = known.last_seen_ns.max(flow.last_seen_ns);
                })
                .or_insert(flow);
        }
    }
    FlowTable { seen: flows.len() as u64, flows: flows.into_values().collect(), ..FlowTable::default() }
}

fn set_flows(set: &[AtomicU64], opened_ns: u64) -> Vec<Flow> {
    // Most sets of most jobs are empty: see that without copying.
    if set[..WAYS].iter().all(|rank| rank.load(Ordering::Relaxed) == 0) {
        return Vec::new();
    }
    let set = steady(set);
    (0..WAYS).filter_map(|way| flow(&set, way, opened_ns)).collect()
}

/// A copy in which every way is one flow: its version is even and the same before and after the copy (bpf/types.h says
/// what that is worth on which CPU). A program that is at it is done within nanoseconds.
fn steady(words: &[AtomicU64]) -> types::flow_set {
    const VERSIONS: usize = std::mem::offset_of!(types::flow_set, version) / 8;
    const ODD: u64 = 1 << 32 | 1; // two versions are in a word
    let versions = || [VERSIONS, VERSIONS + 1].map(|word| words[word].load(Ordering::Acquire));
    loop {
        let before = versions();
        let set = mapped::copy(words);
        fence(Ordering::Acquire);
        if before == versions() && before.iter().all(|word| word & ODD == 0) {
            return set;
        }
        hint::spin_loop();
    }
}

fn flow(set: &types::flow_set, way: usize, opened_ns: u64) -> Option<Flow> {
    let (rank, flow) = (set.rank[way], &set.flows[way]);
    let at = |tick: u32| opened_ns + u64::from(tick) * TICK_NS;
    (rank > 0).then(|| Flow {
        key: key(&flow.key),
        packets: rank.saturating_sub(flow.base), // below only where bpf/types.h says that a reader cannot be sure
        bytes: flow.bytes,
        base: flow.base,
        first_seen_ns: at(flow.first),
        last_seen_ns: at(flow.last),
    })
}

fn key(key: &types::flow_key) -> FlowKey {
    FlowKey {
        src: address(key.version, key.src),
        dst: address(key.version, key.dst),
        ip_proto: key.proto,
        sport: key.sport,
        dport: key.dport,
        vlan: key.vlan,
    }
}

fn address(version: u8, words: [u32; 4]) -> IpAddr {
    let [_, _, _, last] = words.map(u32::to_ne_bytes);
    if version == 4 {
        return Ipv4Addr::from(last).into();
    }
    Ipv6Addr::from(words.map(u32::from_be).into_iter().fold(0_u128, |bits, word| bits << 32 | u128::from(word))).into()
}
