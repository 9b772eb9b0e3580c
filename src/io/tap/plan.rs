//! What a tap is to do, the memory that takes, and the program's knobs that say so. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::bpf::types;
use super::inputs::Inputs;
use super::tables::Services;
use crate::model::filter::{Filter, MAX_PORT_RANGES, PortRange};
use crate::model::sample::{INTERARRIVAL_BOUNDS, INTERARRIVAL_RATE};
use crate::model::traffic::Service;

/// What a tap's maps may take by default, in bytes, whatever the number of CPUs.
pub const DEFAULT_MEMORY: u64 = 4 << 20;

/// The largest page of the kernels in question; a map takes whole pages.
const PAGE: u64 = 4096;

/// One job's tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapPlan {
    /// The netdev on which the copies arrive.
    pub netdev: String,
    /// Which of its hooks to watch.
    pub hooks: Hooks,
    /// Which packets are the job's.
    pub filter: Filter,
    /// Analyse 1 of this many.
    pub sample_rate: NonZeroU32,
    /// The size of the flow table, `None` to have none (`result_detail=summary`).
    pub flows: Option<FlowSlots>,
    /// Look into tunnels: filters and flows then speak of what is inside, where there is something.
    pub inner: bool,
    /// How copies come wrapped; `None`: as they are.
    pub encapsulation: Option<Encapsulation>,
}

/// Copies that come in GRE (0x88be bare or with an ERSPAN header of type II, 0x22eb with one of type III, 0x8949, 0x6558). Only packets
/// between these two addresses are this job's copies; nothing else on the netdev is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// Source address of the copies, the mirror session's `src_ip`.
    pub src: IpAddr,
    /// Destination address of the copies, of the same IP version.
    pub dst: IpAddr,
}

/// One side of a netdev, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the netdev receives.
    Ingress,
    /// What the host sends through the netdev.
    Egress,
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Hook::Ingress => "ingress",
            Hook::Egress => "egress",
        })
    }
}

/// Which sides of a netdev a tap watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// Only [`Hook::Ingress`]: the side on which mirror copies arrive.
    Ingress,
    /// Only [`Hook::Egress`].
    Egress,
    /// Both, into one set of counters.
    Both,
}

impl Hooks {
    /// The hooks, one by one.
    #[must_use]
    pub const fn each(self) -> &'static [Hook] {
        match self {
            Hooks::Ingress => &[Hook::Ingress],
            Hooks::Egress => &[Hook::Egress],
            Hooks::Both => &[Hook::Ingress, Hook::Egress],
        }
    }
}

/// The size of a flow table. Each CPU has its own part of it, so that no CPU waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSlots {
    sets_per_cpu: NonZeroU32,
}

impl FlowSlots {
    /// How many flows share a set; the table's size is a multiple of it.
    pub const WAYS: u32 = 4;

    /// The largest table (up to 2^20 flows per CPU) with which the whole tap takes at most `bytes` at any sampling rate; `None` if that is too
    /// little for one set per CPU.
    #[must_use]
    pub fn within(bytes: u64, cpus: NonZeroU32) -> Option<FlowSlots> {
        let fits = |sets: u64| totals_bytes(cpus) + tables_bytes(sets * u64::from(cpus.get()), true) <= bytes;
        let room = bytes.saturating_sub(totals_bytes(cpus));
        // Whole pages make the last sets cost more than their bytes.
        let mut sets = room / (u64::from(cpus.get()) * SET_BYTES);
        while sets > 0 && !fits(sets) {
            sets -= 1;
        }
        Self::per_cpu(u32::try_from(sets.min(1 << 18)).ok()?.checked_mul(Self::WAYS)?)
    }

    /// Room for this many flows on each CPU, rounded down to whole sets; `None` below [`Self::WAYS`].
    #[must_use]
    pub fn per_cpu(flows: u32) -> Option<FlowSlots> {
        NonZeroU32::new(flows / Self::WAYS).map(|sets_per_cpu| FlowSlots { sets_per_cpu })
    }

    /// How many flows fit on each CPU. Flows fall into sets by hash, so some sets are full before all are.
    #[must_use]
    pub const fn flows_per_cpu(self) -> u32 {
        self.sets_per_cpu.get() * Self::WAYS
    }

    pub(super) const fn sets_per_cpu(self) -> u32 {
        self.sets_per_cpu.get()
    }
}

/// What the kernel takes whatever the plan: the knobs, and a page for itself with each of the four maps.
const FIXED_BYTES: u64 = (size_of::<types::rodata>() as u64).next_multiple_of(PAGE) + 4 * PAGE;

fn totals_bytes(cpus: NonZeroU32) -> u64 {
    FIXED_BYTES + (u64::from(cpus.get()) * size_of::<types::cpu>() as u64).next_multiple_of(PAGE)
}

/// A set of flows, and the same flows' TCP segments.
const SET_BYTES: u64 = (size_of::<types::flow_set>() + size_of::<types::segment_set>()) as u64;

/// The tables of this many sets; two maps, each of whole pages.
const fn tables_bytes(sets: u64, follows_segments: bool) -> u64 {
    let segments = if follows_segments { sets * size_of::<types::segment_set>() as u64 } else { 0 };
    (sets * size_of::<types::flow_set>() as u64).next_multiple_of(PAGE) + segments.next_multiple_of(PAGE)
}

/// What differs between two taps of the same plan.
pub(super) struct Circumstances {
    pub opened_ns: u64,
    pub hash_keys: [u64; HASH_KEYS],
    pub switches: Switches,
}

/// What no job asks for, but tests and measurements do: by default a tap counts all that it can.
// Independent switches, each of which a test or a measurement sets alone.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Leaves all packets to the parsers of the layers, which must agree with the fast parser on every packet.
    pub layers_only: bool,
    /// Reads no clock: there are no inter-arrival times, and the times of flows mean nothing.
    pub untimed: bool,
    /// Counts no [`crate::model::traffic::Health`] but TCP flags, and no `checksum_ip` errors.
    pub without_health: bool,
    /// Verifies no IPv4 header checksums.
    pub without_checksum: bool,
    /// Keeps no histogram of lengths.
    pub without_sizes: bool,
    /// Counts no services.
    pub without_services: bool,
    /// Does not follow TCP segments, nor estimate the number of flows.
    pub bare_flows: bool,
    /// Hashes flows under keys that are all 0: those whose addresses, swapped or not, have one product then have one hash.
    pub zero_hash_keys: bool,
    /// The clock and the random numbers are these: two taps that get the same packets at the same times then give the
    /// same sample.
    pub fixed: Option<Inputs>,
}

impl Switches {
    /// Only the totals by class, flags, fragments and errors; flows without times and without what is made of them.
    pub const TOTALS: Switches = Switches {
        layers_only: false,
        untimed: true,
        without_health: true,
        without_checksum: true,
        without_sizes: true,
        without_services: true,
        bare_flows: true,
        zero_hash_keys: false,
        fixed: None,
    };

    /// Whether nothing but [`Self::TOTALS`] is counted of every packet.
    const fn only_totals(self) -> bool {
        self.untimed && self.without_health && self.without_checksum && self.without_sizes && self.without_services
    }
}

/// One key per 32-bit word of a flow key, and one to begin with.
pub(super) const HASH_KEYS: usize = size_of::<types::flow_key>() / 4 + 1;

impl TapPlan {
    /// What the tap's maps take, in bytes, on a machine with this many possible CPUs ([`super::possible_cpus`]). The
    /// program itself adds some tens of KiB.
    #[must_use]
    pub fn memory_bytes(&self, cpus: NonZeroU32) -> u64 {
        let sets = self.flows.map_or(0, |slots| u64::from(slots.sets_per_cpu()) * u64::from(cpus.get()));
        totals_bytes(cpus) + tables_bytes(sets, self.follows_segments())
    }

    /// Whether TCP segments are followed: where every packet is analysed, and has a flow to belong to.
    #[must_use]
    pub fn follows_segments(&self) -> bool {
        self.flows.is_some() && self.sample_rate == NonZeroU32::MIN
    }

    /// The distance of 1 of this many pairs of packets is measured.
    pub(super) fn gap_rate(&self) -> NonZeroU32 {
        self.sample_rate.max(INTERARRIVAL_RATE)
    }

    /// The knobs of the program.
    pub(super) fn config(&self, circumstances: &Circumstances) -> types::config {
        let switches = circumstances.switches;
        let services = Services::new();
        types::config {
            filter: filter(&self.filter),
            wrapping: self.encapsulation.map(wrapping).unwrap_or_default(),
            sample_rate: self.sample_rate.get(),
            gap_rate: if switches.untimed { 0 } else { self.gap_rate().get() },
            sets_per_cpu: self.flows.map_or(0, FlowSlots::sets_per_cpu),
            service_key: if switches.without_services { 0 } else { services.key },
            rocev2: u32::from(Services::number(Service::Rocev2)),
            opened_ns: circumstances.opened_ns,
            hash_keys: circumstances.hash_keys,
            gap_bounds: padded(INTERARRIVAL_BOUNDS),
            inner: u8::from(self.inner),
            health: u8::from(!switches.without_health),
            sizes: u8::from(!switches.without_sizes),
            checksum: u8::from(!switches.without_checksum),
            segments: u8::from(!switches.bare_flows && self.follows_segments()),
            distinct: u8::from(!switches.bare_flows),
            filtered: u8::from(!self.filter.is_empty()),
            more: u8::from(self.inner || !switches.only_totals()),
            untimed: u8::from(switches.untimed),
            fixed_inputs: u8::from(switches.fixed.is_some()),
            ..types::config::default()
        }
    }
}

/// The addresses may be of two IP versions only by a mistake of the caller, and then nothing is a copy.
fn wrapping(encapsulation: Encapsulation) -> types::wrapping {
    let bits = |address| words(mapped(address).to_bits());
    types::wrapping {
        version: if encapsulation.dst.is_ipv4() { 4 } else { 6 },
        src: bits(encapsulation.src),
        dst: bits(encapsulation.dst),
        ..types::wrapping::default()
    }
}

fn filter(filter: &Filter) -> types::filter {
    types::filter {
        vlan: filter.vlan.map_or(0, crate::model::filter::VlanId::get),
        any_ip: u8::from(!Filter { vlan: None, ..filter.clone() }.is_empty()),
        any_proto: u8::from(!filter.ip_protos.is_empty()),
        any_dscp: u8::from(!filter.dscps.is_empty()),
        sport_count: count(&filter.l4_sports),
        dport_count: count(&filter.l4_dports),
        dscps: filter.dscps.iter().fold(0, |bits, dscp| bits | 1 << dscp.get()),
        protos: filter.ip_protos.iter().fold([0; 4], |mut bits, proto| {
            bits[usize::from(proto / 64)] |= 1 << (proto % 64);
            bits
        }),
        sports: ranges(&filter.l4_sports),
        dports: ranges(&filter.l4_dports),
        src: filter.src_cidr.map(cidr).unwrap_or_default(),
        dst: filter.dst_cidr.map(cidr).unwrap_or_default(),
    }
}

#[allow(clippy::cast_possible_truncation)] // PortRanges holds at most MAX_PORT_RANGES
const fn count(ranges: &[PortRange]) -> u8 {
    ranges.len() as u8
}

fn ranges(ranges: &[PortRange]) -> [types::port_range; MAX_PORT_RANGES] {
    let mut fixed = [types::port_range::default(); MAX_PORT_RANGES];
    for (to, from) in fixed.iter_mut().zip(ranges) {
        *to = types::port_range { lo: from.lo(), hi: from.hi() };
    }
    fixed
}

fn cidr(net: IpNet) -> types::cidr {
    let (version, prefix_len) = match net {
        IpNet::V4(net) => (4, net.prefix_len() + 96),
        IpNet::V6(net) => (6, net.prefix_len()),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
    let bits = mapped(net.network()).to_bits() & mask;
    types::cidr { version, net: words(bits), mask: words(mask), ..types::cidr::default() }
}

/// An address as the program has it: IPv4 as `::ffff:a.b.c.d`.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The 64-bit words as they lie in a packet.
fn words(bits: u128) -> [u64; 2] {
    let bytes = bits.to_be_bytes();
    std::array::from_fn(|word| std::array::from_fn(|byte| bytes[word * 8 + byte])).map(u64::from_ne_bytes)
}

/// Bounds for a binary search: behind the real ones, the largest value.
fn padded<const N: usize>(bounds: &[u64]) -> [u64; N] {
    std::array::from_fn(|bucket| bounds.get(bucket).copied().unwrap_or(u64::MAX))
}

/// How far ahead the first analysed packet is, from two random numbers below 1; 1 is the next packet.
///
/// Later distances are uniform in 1..=2N-1. If the first were too, the first packet would be analysed with a
/// probability of 1/(2N-1), and short jobs would see half of what they should. A watcher who begins at any moment finds the next analysed packet
/// at a distance k with a probability proportional to the number of distances that are at least k. That is: take a
/// distance with a probability proportional to its length (the rounded-up root), then a place in it.
pub(super) fn first_skip(sample_rate: NonZeroU32, [length, place]: [u32; 2]) -> u32 {
    let longest = u128::from(2 * u64::from(sample_rate.get()) - 1);
    // Distance d has d of the longest * (longest + 1) / 2 places: find d for a uniform place among all of them.
    let places = longest * (longest + 1) / 2;
    let target = (u128::from(length) * places) >> 32;
    let mut distance = ((8 * target + 1).isqrt() - 1) / 2 + 1;
    distance = distance.min(longest);
    u32::try_from(1 + ((u128::from(place) * distance) >> 32)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(flows: Option<FlowSlots>) -> TapPlan {
        TapPlan {
            netdev: "Ethernet0".to_owned(),
            hooks: Hooks::Ingress,
            filter: Filter::default(),
            sample_rate: NonZeroU32::MIN,
            flows,
            inner: false,
            encapsulation: None,
        }
    }

    #[test]
    fn the_default_budget_holds_on_any_number_of_cpus() {
        for cpus in (1..=128).filter_map(NonZeroU32::new) {
            let slots = FlowSlots::within(DEFAULT_MEMORY, cpus).unwrap();
            let bytes = plan(Some(slots)).memory_bytes(cpus);
            assert!(bytes <= DEFAULT_MEMORY, "{cpus} CPUs: {bytes}");
            // One more set per CPU would not fit.
            let more = FlowSlots::per_cpu(slots.flows_per_cpu() + FlowSlots::WAYS);
            assert!(plan(more).memory_bytes(cpus) > DEFAULT_MEMORY, "{cpus} CPUs");
        }
        assert_eq!(FlowSlots::within(1000, NonZeroU32::MIN), None);
    }

    #[test]
    fn no_packet_is_likelier_to_be_the_first_that_is_analysed_than_the_rule_says() {
        let rate = NonZeroU32::new(3).unwrap();
        // Distances 1..=5: k is the first with probability (6 - k) / 15. Try a fine grid of random numbers.
        let grid = |step: u32| (step << 22) + (1 << 21);
        let mut counts = [0_u32; 5];
        for length in 0..1024 {
            for place in 0..1024 {
                counts[first_skip(rate, [grid(length), grid(place)]) as usize - 1] += 1;
            }
        }
        for (index, count) in counts.into_iter().enumerate() {
            let expected = f64::from(5 - u32::try_from(index).unwrap()) / 15.0;
            let share = f64::from(count) / f64::from(1 << 20);
            assert!((share - expected).abs() < 0.002, "distance {}: {share}, expected {expected}", index + 1);
        }
        assert_eq!(first_skip(NonZeroU32::MIN, [u32::MAX; 2]), 1);
    }

    #[test]
    fn an_ipv4_prefix_is_a_prefix_of_mapped_addresses() {
        let cidr = cidr("192.0.2.0/24".parse().unwrap());
        assert_eq!(cidr.version, 4);
        assert_eq!(cidr.mask, [u64::MAX, u64::from_ne_bytes([255, 255, 255, 255, 255, 255, 255, 0])]);
        assert_eq!(cidr.net, [0, u64::from_ne_bytes([0, 0, 255, 255, 192, 0, 2, 0])]);
        let all = super::cidr("::/0".parse().unwrap());
        assert_eq!((all.version, all.mask), (6, [0; 2]));
    }
}
