//! One reading of a tap: what the kernel has counted since the tap was opened. Pure values: the aggregator makes
//! reports of them, and nothing here knows how they were counted.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut};

pub use super::counter::Counter;
use super::traffic::{DistinctFlows, Traffic};

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

/// At least this many packets lie on average between two whose distance is measured: reading the clock costs more than
/// all other work on a packet.
pub const INTERARRIVAL_RATE: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// All that a tap counted since it was opened; every number only grows (flows can be evicted).
///
/// In the sample that closes a tap everything agrees to the packet. One that is read while packets arrive is the work
/// of a few hundred microseconds: its parts may differ by the packets that came meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was read, `CLOCK_MONOTONIC`, nanoseconds.
    pub taken_at_ns: u64,
    /// What was counted of the packets. The sample reads as if these were fields of its own.
    pub traffic: Traffic,
    /// Lengths of the packets of `total`, bytes; one observation per wire packet.
    pub packet_size: Histogram,
    /// Nanoseconds between two packets of `total` that the same CPU saw one after the other: of one pair in
    /// [`INTERARRIVAL_RATE`], chosen at random, or one in `sample_rate` if that is more. One observation per buffer the
    /// kernel handed over.
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
            traffic: Traffic::default(),
            packet_size: Histogram::empty(PACKET_SIZE_BOUNDS),
            interarrival: Histogram::empty(INTERARRIVAL_BOUNDS),
            flows: None,
        }
    }
}

impl Deref for Sample {
    type Target = Traffic;

    fn deref(&self) -> &Traffic {
        &self.traffic
    }
}

impl DerefMut for Sample {
    fn deref_mut(&mut self) -> &mut Traffic {
        &mut self.traffic
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

/// The analysed packets by flow. `flows`, `other` and `non_ip` sum to [`Traffic::analysed`].
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
    /// How many more packets the flow may have had before it entered (they are in [`FlowTable::other`]); 0 if it found
    /// a free place. `packets` is a lower bound, `packets + base` the estimate of RAP (Ben Basat et al., "Randomized
    /// Admission Policy", 2016).
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
