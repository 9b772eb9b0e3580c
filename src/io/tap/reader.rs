//! From the maps' memory to a [`Sample`]: sums the CPUs and the marginals of the cells.

use std::hint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::bpf::types;
use super::distinct;
use super::mapped::{self, MappedArray};
use super::tables::{JUMBO_ABOVE, RUNT_BELOW, SIZE_BOUNDS};
use crate::model::sample::{Counter, Flow, FlowKey, FlowTable, Sample};
use crate::model::schema::{EthClass, IpClass};
use crate::model::traffic::{Cast, Copies, Health, HealthEvent, Inner, Segments};

// The layout of a cell's index, bpf/types.h.
const CELL_KIND: usize = 0x180;
const CELL_NOT_IP: usize = 0x000;
const CELL_TCP: usize = 0x100;
const CELL_LATER: usize = 0x180;
const CELL_IPV6: usize = 0x040;
const CELL_FRAGMENT: usize = 0x020;
const CELL_IP_CLASS: usize = 0x01f;
const CELL_FLAGS: usize = 0x03f;
const CELL_REJECTED: usize = 0x07f;

const TCP_RST: usize = 0x04;

// The names of enum health_event that HealthEvent does not have.
const HEALTH_MULTICAST: usize = 7;
const HEALTH_BROADCAST: usize = 8;
const HEALTH_NO_DESTINATION: usize = 9;

const WAYS: usize = super::FlowSlots::WAYS as usize;

/// 1 tick of a flow's times, in nanoseconds (`FLOW_TICK_SHIFT`).
const TICK_NS: u64 = 1 << 20;

/// What the tap was told to find out, besides what every tap does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub inner: bool,
    pub segments: bool,
    pub copies: bool,
}

/// All CPUs together. `flows` was read before.
pub(super) fn sample(cpus: &MappedArray, taken_at_ns: u64, flows: Option<FlowTable>, scope: Scope) -> Sample {
    let mut sample = Sample { flows, ..Sample::empty(taken_at_ns) };
    sample.inner = scope.inner.then(Inner::default);
    sample.segments = scope.segments.then(Segments::default);
    let mut registers = [0; distinct::REGISTERS];
    let mut copies = Numbering::default();
    let mut no_destination = 0;
    for index in 0..cpus.len::<types::cpu>() {
        let cpu: types::cpu = cpus.read(index);
        add_cpu(&mut sample, &cpu);
        no_destination += cpu.health[HEALTH_NO_DESTINATION];
        distinct::merge(&mut registers, &cpu.distinct);
        copies.add(cpu.sequence, cpu.unreadable);
    }
    sample.traffic.delivered += sample.traffic.total;
    let [_, multicast, broadcast] = sample.health.cast;
    sample.health.cast[Cast::Unicast as usize] =
        sample.total.packets.saturating_sub(multicast + broadcast + no_destination);
    sample.packet_size.count = sample.packet_size.counts.iter().sum();
    sample.packet_size.sum = sample.total.bytes;
    sample.interarrival.count = sample.interarrival.counts.iter().sum();
    sample.copies = scope.copies.then(|| copies.copies());
    if let Some(table) = &mut sample.flows {
        table.distinct = distinct::flows(&registers, table);
    }
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
    add(&mut sample.errors, &cpu.errors);
    for (sum, count) in sample.services.iter_mut().zip(&cpu.services[1..]) {
        *sum += counter(*count);
    }
    add_health(&mut sample.health, cpu);
    sample.ipv4_options += cpu.ipv4_options;
    add_sizes(sample, &cpu.size_counts);
    sample.analysed += counter(cpu.analysed);
    add(&mut sample.interarrival.counts, &cpu.gap_counts);
    sample.interarrival.sum += cpu.gap_sum;
    if let Some(inner) = &mut sample.inner {
        for (sum, count) in inner.tunnels.iter_mut().zip(cpu.tunnels) {
            *sum += counter(count);
        }
        for (sum, count) in inner.ip.iter_mut().zip(cpu.inner) {
            *sum += counter(count);
        }
        inner.non_ip += counter(cpu.inner_non_ip);
    }
    if let Some(segments) = &mut sample.segments {
        segments.tracked += cpu.segments.tracked;
        segments.untracked += cpu.segments.untracked;
        segments.retransmitted += cpu.segments.retransmitted;
        segments.out_of_order += cpu.segments.out_of_order;
    }
    if let Some(flows) = &mut sample.flows {
        flows.other += counter(cpu.other);
        flows.non_ip += counter(cpu.non_ip);
        flows.evicted += cpu.evicted;
        flows.seen += cpu.evicted;
    }
}

fn add_cell(sample: &mut Sample, index: usize, cell: Counter) {
    sample.total += cell;
    let kind = index & CELL_KIND;
    if kind == CELL_NOT_IP {
        sample.eth[index] += cell;
        return;
    }
    let eth = if index & CELL_IPV6 == 0 { EthClass::Ipv4 } else { EthClass::Ipv6 };
    sample.eth[eth as usize] += cell;
    if kind == CELL_TCP {
        let flags = index & CELL_FLAGS;
        sample.ip[IpClass::Tcp as usize] += cell;
        sample.health.tcp_flags[flags] += cell.packets;
        if flags & TCP_RST != 0 {
            sample.health.events[HealthEvent::TcpReset as usize] += cell.packets;
        }
        return;
    }
    sample.ip[index & CELL_IP_CLASS] += cell;
    if kind == CELL_LATER {
        sample.fragments_later += cell.packets;
    }
    if kind == CELL_LATER || index & CELL_FRAGMENT != 0 {
        sample.fragments += cell.packets;
    }
}

const _: () = assert!(EthClass::COUNT <= CELL_REJECTED && IpClass::COUNT <= CELL_IP_CLASS + 1);

/// Runts, jumbo frames and resets are counted elsewhere: their places in the program's array stay 0.
fn add_health(health: &mut Health, cpu: &types::cpu) {
    add(&mut health.events[..HEALTH_MULTICAST], &cpu.health);
    health.cast[Cast::Multicast as usize] += cpu.health[HEALTH_MULTICAST];
    health.cast[Cast::Broadcast as usize] += cpu.health[HEALTH_BROADCAST];
    for (tos, packets) in cpu.tos.iter().enumerate() {
        health.dscp[tos >> 2] += packets;
        health.ecn[tos & 3] += packets;
    }
    add(&mut health.rocev2, &cpu.rocev2);
    add(&mut health.rocev2_ecn, &cpu.rocev2_ecn);
}

const _: () = assert!(HealthEvent::Ttl1 as usize + 1 == HEALTH_MULTICAST);

/// The program's buckets tell runts apart, the histogram does not.
fn add_sizes(sample: &mut Sample, counts: &[u64]) {
    let bounds = SIZE_BOUNDS.into_iter().chain(std::iter::repeat(u64::MAX));
    for (count, bound) in counts.iter().zip(bounds) {
        let histogram = &mut sample.packet_size;
        let bucket = histogram.bounds.partition_point(|upper| *upper < bound);
        histogram.counts[bucket] += count;
        let events = &mut sample.health.events;
        if bound < RUNT_BELOW {
            events[HealthEvent::Runt as usize] += count;
        }
        if bound > JUMBO_ABOVE {
            events[HealthEvent::Jumbo as usize] += count;
        }
    }
}

fn counter(counter: types::counter) -> Counter {
    Counter { packets: counter.packets, bytes: counter.bytes }
}

/// The program's arrays may have spare places at their end, which nothing reaches.
fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// The sequence numbers of the copies, CPU by CPU.
#[derive(Default)]
struct Numbering {
    unreadable: u64,
    range: Option<(u64, u64)>,
    numbered: u64,
    restarted: bool,
}

impl Numbering {
    /// Numbers are continued from 2^32 on each CPU for itself: here they are brought to the same multiple of 2^32.
    fn add(&mut self, sequence: types::sequence, unreadable: u64) {
        self.unreadable += unreadable;
        self.restarted |= sequence.restart != 0;
        if sequence.count == 0 {
            return;
        }
        self.numbered += sequence.count;
        let (lowest, highest) = (sequence.lowest, sequence.highest);
        self.range = Some(match self.range {
            None => (lowest, highest),
            Some((low, high)) => {
                let wraps = (i128::from(high) - i128::from(highest) + (1 << 31)) >> 32;
                let near = |number: u64| u64::try_from(i128::from(number) + (wraps << 32)).unwrap_or(number);
                (low.min(near(lowest)), high.max(near(highest)))
            }
        });
    }

    /// What is missing between the lowest and the highest number. Not known if the numbering began anew meanwhile.
    fn copies(&self) -> Copies {
        let lost = |(low, high): (u64, u64)| (high - low + 1).saturating_sub(self.numbered);
        Copies { lost: self.range.filter(|_| !self.restarted).map(lost), unreadable: self.unreadable }
    }
}

/// The table of all CPUs; a flow that several CPUs saw is one flow. The counters besides it come with [`sample`].
///
/// The place of a flow is the same in each CPU's part of the table: it only follows from the hash, whose keys all CPUs share.
/// So a flow can only be in the sets of one number, and a few tags decide what a map of all flows would have to.
pub(super) fn flows(table: &MappedArray, cpus: usize, opened_ns: u64) -> FlowTable {
    let sets_per_cpu = table.len::<types::flow_set>() / cpus;
    // Room for all at once: growing would copy a full table several times, and pages that nobody writes to cost nothing.
    let mut flows = Vec::with_capacity(sets_per_cpu * cpus * WAYS);
    let mut known = SameSets::new(cpus * WAYS);
    for number in 0..sets_per_cpu {
        known.clear();
        for cpu in 0..cpus {
            let set = table.element::<types::flow_set>(cpu * sets_per_cpu + number);
            // Most sets of most jobs are empty: see that without copying.
            if set[..WAYS].iter().any(|rank| rank.load(Ordering::Relaxed) != 0) {
                add_set(&mut flows, &mut known, &steady(set), opened_ns);
            }
        }
    }
    FlowTable { seen: flows.len() as u64, flows, ..FlowTable::default() }
}

fn add_set(flows: &mut Vec<Flow>, known: &mut SameSets, set: &types::flow_set, opened_ns: u64) {
    for (way, tag) in set.tag.into_iter().enumerate() {
        if set.rank[way] == 0 {
            continue;
        }
        // A flow is made where it stays: copying it there would take as long again as all the rest.
        match known.find_or_note(tag, flows.len(), |index| flows[index].key == key(&set.flows[way].key)) {
            Some(index) => add_flow(&mut flows[index], &flow(set, way, opened_ns)),
            None => flows.push(flow(set, way, opened_ns)),
        }
    }
}

fn add_flow(sum: &mut Flow, flow: &Flow) {
    sum.packets += flow.packets;
    sum.bytes += flow.bytes;
    sum.base += flow.base;
    sum.first_seen_ns = sum.first_seen_ns.min(flow.first_seen_ns);
    sum.last_seen_ns = sum.last_seen_ns.max(flow.last_seen_ns);
}

/// Where the flows of all CPUs' sets of one number are among the flows read, by tag: a hash table with linear probing that is emptied for
/// each number, and is small enough to stay in the fastest cache on machines with few CPUs.
struct SameSets {
    /// A tag and an index; tag 0, which no flow has, is a free place.
    places: Vec<(u32, usize)>,
}

impl SameSets {
    /// At most this many flows are noted; at least half of the places stay free, so that a search ends.
    fn new(flows: usize) -> SameSets {
        SameSets { places: vec![(0, 0); (2 * flows).next_power_of_two()] }
    }

    fn clear(&mut self) {
        self.places.fill((0, 0));
    }

    /// The index that was noted for this flow; if there is none, `index` is noted.
    fn find_or_note(&mut self, tag: u32, index: usize, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.places.len() - 1;
        // The lowest bit of every tag is 1 (bpf/flow.h).
        let mut place = (tag >> 1) as usize & mask;
        loop {
            match self.places[place] {
                (0, _) => {
                    self.places[place] = (tag, index);
                    return None;
                }
                (other, known) if other == tag && is_it(known) => return Some(known),
                _ => place = (place + 1) & mask,
            }
        }
    }
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

#[inline]
fn flow(set: &types::flow_set, way: usize, opened_ns: u64) -> Flow {
    let (rank, flow) = (set.rank[way], &set.flows[way]);
    let at = |tick: u32| opened_ns + u64::from(tick) * TICK_NS;
    Flow {
        key: key(&flow.key),
        packets: rank.saturating_sub(flow.base), // below only where bpf/types.h says that a reader cannot be sure
        bytes: flow.bytes,
        base: flow.base,
        first_seen_ns: at(flow.first),
        last_seen_ns: at(flow.last),
    }
}

#[inline]
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

#[inline]
fn address(version: u8, words: [u32; 4]) -> IpAddr {
    let [_, _, _, last] = words.map(u32::to_ne_bytes);
    if version == 4 {
        return Ipv4Addr::from(last).into();
    }
    Ipv6Addr::from(words.map(u32::from_be).into_iter().fold(0_u128, |bits, word| bits << 32 | u128::from(word))).into()
}
