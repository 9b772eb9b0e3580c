//! One reading of a tap: what the kernel has counted since the tap was opened. Pure values: the aggregator makes reports
//! of them, and nothing here knows how they were counted.
//!
//! Packets are wire packets (a GSO buffer counts its segments), bytes are Ethernet frame bytes without FCS and with all VLAN tags.

use std::net::IpAddr;
use std::num::NonZeroU32;

pub use super::counter::Counter;
use super::schema::{ErrorKind, EthClass, IpClass};
use super::traffic::{Copies, DistinctFlows, Health, Inner, Segments, Service};

/// Upper bounds of the buckets of [`Sample::packet_size`], in bytes.
pub const PACKET_SIZE_BOUNDS: &[u64] = &[64, 128, 256, 512, 1024, 1518, 2048, 4096, 9216];

/// Upper bounds of the buckets of [`Sample::interarrival`], in nanoseconds: 100 ns to 10 s in steps of 1, 2 and 5.
pub const INTERARRIVAL_BOUNDS: &[u64] = &[
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// At least this many packets lie on average between two whose distance is measured: reading the clock costs more than all
/// other work on a packet.
pub const INTERARRIVAL_RATE: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// All that a tap counted since it was opened; every number only grows (flows can be evicted).
///
/// In the sample that closes a tap everything agrees to the packet. One that is read while packets arrive is the work of a few
/// hundred microseconds: its parts may differ by the packets that came meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was read, `CLOCK_MONOTONIC`, nanoseconds.
    pub taken_at_ns: u64,
    /// What reached the tap.
    pub delivered: Counter,
    /// What of it passed the job's filter. Everything below speaks of these packets.
    pub total: Counter,
    /// What of `total` sampling chose for the histograms and the flow table.
    pub analysed: Counter,
    /// One class per packet, indexed by `EthClass as usize`; they sum to `total`.
    pub eth: [Counter; EthClass::COUNT],
    /// One class per IP packet, indexed by `IpClass as usize`; they sum to the Ethernet classes ipv4 and ipv6.
    pub ip: [Counter; IpClass::COUNT],
    /// Packets with each error, indexed by `ErrorKind as usize`. A packet can have several.
    pub errors: [u64; ErrorKind::COUNT],
    /// IP packets that are a part of a larger one: "more fragments" set, or an offset. An IPv6 atomic fragment (RFC 6946: a fragment header
    /// with neither) is a whole packet and not counted.
    pub fragments: u64,
    /// Those of them that are not the first of their packet: without ports, and of which nothing behind IP is known.
    pub fragments_later: u64,
    /// By `Service as usize`. Most packets are of none.
    pub services: [Counter; Service::COUNT],
    /// The health of the traffic.
    pub health: Health,
    /// What was found in tunnels; `None` if the job does not look into them.
    pub inner: Option<Inner>,
    /// TCP segments; `None` if not every packet is analysed, or there are no flows.
    pub segments: Option<Segments>,
    /// Of the copies themselves; `None` if they do not come encapsulated.
    pub copies: Option<Copies>,
    /// Lengths of the packets of `total`, bytes; one observation per wire packet.
    pub packet_size: Histogram,
    /// Nanoseconds between two packets of `total` that the same CPU saw one after the other: of one pair in
    /// [`INTERARRIVAL_RATE`], chosen at random, or one in `sample_rate` if that is more. One observation per buffer the kernel handed over.
    pub interarrival: Histogram,
    /// `None` if the job asks for no flows, or this reading did not.
    pub flows: Option<FlowTable>,
}

impl Sample {
    /// A tap that has seen nothing.
    #[must_use]
    pub fn empty(taken_at_ns: u64) -> Sample {
        Sample {
            taken_at_ns,
            delivered: Counter::default(),
            total: Counter::default(),
            analysed: Counter::default(),
            eth: [Counter::default(); EthClass::COUNT],
            ip: [Counter::default(); IpClass::COUNT],
            errors: [0; ErrorKind::COUNT],
            fragments: 0,
            fragments_later: 0,
            services: [Counter::default(); Service::COUNT],
            health: Health::default(),
            inner: None,
            segments: None,
            copies: None,
            packet_size: Histogram::empty(PACKET_SIZE_BOUNDS),
            interarrival: Histogram::empty(INTERARRIVAL_BOUNDS),
            flows: None,
        }
    }
}

/// How often values fell between bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Ascending; bucket `i` holds the values above `bounds[i - 1]` and up to, with it, `bounds[i]`.
    pub bounds: &'static [u64],
    /// One more than there are bounds: the last bucket has none.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
    /// How many values there are: the sum of `counts`.
    pub count: u64,
}

impl Histogram {
    /// No values yet.
    #[must_use]
    pub fn empty(bounds: &'static [u64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0, count: 0 }
    }
}

/// The analysed packets by flow. `flows`, `other` and `non_ip` sum to [`Sample::analysed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowTable {
    /// In no order; each key once.
    pub flows: Vec<Flow>,
    /// Analysed packets of flows that are not, or no longer, in the table.
    pub other: Counter,
    /// Analysed packets without a flow: not IP, or the fixed IP header is cut or malformed.
    pub non_ip: Counter,
    /// How often a flow had to leave the table for another.
    pub evicted: u64,
    /// How often a flow entered the table: the number of flows as long as `evicted` is 0. Afterwards a flow that comes
    /// back is counted again, and one that never got in is not counted.
    pub seen: u64,
    /// How many different flows the analysed packets were of.
    pub distinct: DistinctFlows,
}

/// One flow, as far as it was analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Whose packets they are.
    pub key: FlowKey,
    /// Packets counted since the flow entered the table: all of them certainly its own.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many more packets the flow may have had before it entered (they are in [`FlowTable::other`]); 0 if it found a
    /// free place. `packets` is a lower bound, `packets + base` the estimate of RAP (Ben Basat et al., "Randomized Admission Policy", 2016).
    pub base: u64,
    /// When its first counted packet came, `CLOCK_MONOTONIC`, nanoseconds.
    pub first_seen_ns: u64,
    /// When its last packet came.
    pub last_seen_ns: u64,
}

/// What makes two packets one flow; one direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Source address, of the same IP version as `dst`.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The protocol behind all IPv6 extension headers, or the last header that could be read.
    pub ip_proto: u8,
    /// Source port; 0 where a packet has none ([`super::filter::Filter::l4_sports`] says which).
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// The id in the outermost VLAN tag; 0 untagged or priority-tagged.
    pub vlan: u16,
}
