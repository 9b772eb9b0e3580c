//! What `send` prints: one JSON object that says exactly what was sent.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::frames::Skipped;
use super::truth::{Flows, Truth};
use crate::model::counter::Counter;
use crate::model::sample::FlowKey;
use crate::model::schema::{ErrorKind, EthClass, IpClass};
use crate::model::traffic::{
    self, Cast, Ecn, Health, HealthEvent, Rocev2Op, Segments, Service, Tunnel, tcp_flags_name,
};

/// The ground truth about one `send`. Whatever was not there is left out of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Frames sent.
    pub packets: u64,
    /// Their bytes, without FCS, VLAN tags included.
    pub bytes: u64,
    /// By protocol.
    pub protocols: Protocols,
    /// Flows of the IP packets, the largest first.
    pub flows: Vec<SentFlow>,
    /// The TCP segments of these flows.
    pub segments: SentSegments,
    /// By error, packets.
    pub errors: BTreeMap<String, u64>,
    /// Parts of larger IP packets.
    pub fragments: u64,
    /// Those that are not the first.
    pub fragments_later: u64,
    /// By service.
    pub services: BTreeMap<String, Count>,
    /// Signs of good or bad health.
    pub health: SentHealth,
    /// What a job that looks into tunnels sees; `null` if there was no tunnel.
    pub inner: Option<SentInner>,
    /// What of a capture cannot be a frame, counted once, however often the capture was repeated.
    pub skipped: Skipped,
    /// What became of the mirror copies that the whole switch made while this was sent.
    pub copies: Copies,
}

/// See [`traffic::Health`]; all are packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentHealth {
    /// By event.
    pub events: BTreeMap<String, u64>,
    /// By destination.
    pub cast: BTreeMap<String, u64>,
    /// By DSCP, IP packets.
    pub dscp: BTreeMap<u8, u64>,
    /// By ECN, IP packets.
    pub ecn: BTreeMap<String, u64>,
    /// By combination of flags, TCP packets.
    pub tcp_flags: BTreeMap<String, u64>,
    /// By operation, packets to UDP port 4791.
    pub rocev2: BTreeMap<String, u64>,
    /// The same by ECN.
    pub rocev2_ecn: BTreeMap<String, u64>,
}

/// See [`traffic::Segments`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentSegments {
    /// TCP packets.
    pub tracked: u64,
    /// Segments that repeat what was sent before.
    pub retransmitted: u64,
    /// Segments behind later ones.
    pub out_of_order: u64,
}

/// What is in tunnels. Bytes are those of the whole frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentInner {
    /// By kind of tunnel.
    pub tunnels: BTreeMap<String, Count>,
    /// By class of the IP packets in them.
    pub ip: BTreeMap<String, Count>,
    /// What else was in them.
    pub non_ip: Count,
    /// All flows, those in tunnels by their inner headers.
    pub flows: Vec<SentFlow>,
    /// The TCP segments of these flows.
    pub segments: SentSegments,
}

/// Packets and bytes by protocol; classes without a packet are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// By Ethernet class; the classes sum up to all frames.
    pub ethernet: BTreeMap<String, Count>,
    /// By IP class; the classes sum up to `ipv4` and `ipv6`.
    pub ip: BTreeMap<String, Count>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One flow, see [`FlowKey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentFlow {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol number.
    pub ip_proto: u8,
    /// Source port or 0.
    pub l4_sport: u16,
    /// Destination port or 0.
    pub l4_dport: u16,
    /// Outermost VLAN id or 0.
    pub vlan: u16,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Mirror copies by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Handed to the destination's CPU netdev.
    pub delivered: u64,
    /// Dropped by `--policer`.
    pub policed: u64,
    /// Not taken by the kernel.
    pub refused: u64,
}

impl From<Counter> for Count {
    fn from(counter: Counter) -> Count {
        Count { packets: counter.packets, bytes: counter.bytes }
    }
}

impl From<Segments> for SentSegments {
    fn from(segments: Segments) -> SentSegments {
        let Segments { tracked, untracked: _, retransmitted, out_of_order } = segments;
        SentSegments { tracked, retransmitted, out_of_order }
    }
}

impl From<&Health> for SentHealth {
    fn from(health: &Health) -> SentHealth {
        SentHealth {
            events: numbers(HealthEvent::ALL.iter().map(|event| event.as_str().to_owned()), &health.events),
            cast: numbers(Cast::ALL.iter().map(|cast| cast.as_str().to_owned()), &health.cast),
            dscp: numbers(0.., &health.dscp),
            ecn: numbers(ecn_names(), &health.ecn),
            tcp_flags: numbers((0..).map(tcp_flags_name), &health.tcp_flags),
            rocev2: numbers(Rocev2Op::ALL.iter().map(|op| op.as_str().to_owned()), &health.rocev2),
            rocev2_ecn: numbers(ecn_names(), &health.rocev2_ecn),
        }
    }
}

impl SentInner {
    fn new(inner: &traffic::Inner, flows: Flows) -> SentInner {
        SentInner {
            tunnels: by_name(Tunnel::ALL.iter().map(|tunnel| tunnel.as_str()), &inner.tunnels),
            ip: by_name(IpClass::ALL.iter().map(|class| class.as_str()), &inner.ip),
            non_ip: inner.non_ip.into(),
            segments: flows.segments().into(),
            flows: sorted(flows.by_key),
        }
    }
}

impl Sent {
    /// Puts the truth into words.
    #[must_use]
    pub fn new(truth: Truth, skipped: Skipped, copies: Copies) -> Sent {
        let Truth { traffic, flows, inner_flows, .. } = truth;
        Sent {
            packets: traffic.total.packets,
            bytes: traffic.total.bytes,
            protocols: Protocols {
                ethernet: by_name(EthClass::ALL.iter().map(|class| class.as_str()), &traffic.eth),
                ip: by_name(IpClass::ALL.iter().map(|class| class.as_str()), &traffic.ip),
            },
            segments: flows.segments().into(),
            flows: sorted(flows.by_key),
            errors: numbers(ErrorKind::ALL.iter().map(|kind| kind.as_str().to_owned()), &traffic.errors),
            fragments: traffic.fragments,
            fragments_later: traffic.fragments_later,
            services: by_name(Service::ALL.iter().map(|service| service.as_str()), &traffic.services),
            health: SentHealth::from(&traffic.health),
            inner: inner_flows.zip(traffic.inner).map(|(flows, inner)| SentInner::new(&inner, flows)),
            skipped,
            copies,
        }
    }
}

fn sorted(flows: HashMap<FlowKey, Counter>) -> Vec<SentFlow> {
    let mut flows: Vec<_> = flows.into_iter().collect();
    flows.sort_unstable_by(|(left_key, left), (right_key, right)| {
        right.packets.cmp(&left.packets).then_with(|| left_key.cmp(right_key))
    });
    let flow = |(key, Counter { packets, bytes }): (FlowKey, Counter)| SentFlow {
        src: key.src,
        dst: key.dst,
        ip_proto: key.ip_proto,
        l4_sport: key.sport,
        l4_dport: key.dport,
        vlan: key.vlan,
        packets,
        bytes,
    };
    flows.into_iter().map(flow).collect()
}

fn ecn_names() -> impl Iterator<Item = String> {
    Ecn::ALL.iter().map(|ecn| ecn.as_str().to_owned())
}

fn by_name(names: impl Iterator<Item = &'static str>, counters: &[Counter]) -> BTreeMap<String, Count> {
    names
        .zip(counters)
        .filter(|(_, counter)| counter.packets > 0)
        .map(|(name, counter)| (name.to_owned(), Count::from(*counter)))
        .collect()
}

fn numbers<K: Ord>(names: impl Iterator<Item = K>, numbers: &[u64]) -> BTreeMap<K, u64> {
    names.zip(numbers.iter().copied()).filter(|(_, number)| *number > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::frames::Frames;
    use crate::lab::packet::{Addresses, ethernet, ethernet_to, ethertype, ip, udp};

    #[test]
    fn the_json_has_the_members_that_programs_expect() {
        let addresses = Addresses::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (ethertype, packet) = ip(addresses, 17, &udp(addresses, 1000, 53, 0));
        let mut frames = Frames::default();
        frames.push(&ethernet(&[(ethertype::VLAN, 7)], ethertype, &packet));
        frames.push(&ethernet_to([0xff; 6], &[], 0x0806, &[0; 28]));
        let truth = Truth::of_cycle(&frames, 3);
        let json = serde_json::to_value(Sent::new(truth, Skipped::new(), Copies::default())).unwrap();
        let expected = serde_json::json!({
            "packets": 3, "bytes": 180,
            "protocols": {
                "ethernet": {"ipv4": {"packets": 2, "bytes": 120}, "arp": {"packets": 1, "bytes": 60}},
                "ip": {"udp": {"packets": 2, "bytes": 120}},
            },
            "flows": [{
                "src": "10.0.0.1", "dst": "10.0.0.2", "ip_proto": 17, "l4_sport": 1000, "l4_dport": 53, "vlan": 7,
                "packets": 2, "bytes": 120,
            }],
            "segments": {"tracked": 0, "retransmitted": 0, "out_of_order": 0},
            "errors": {}, "fragments": 0, "fragments_later": 0,
            "services": {"dns": {"packets": 2, "bytes": 120}},
            "health": {
                "events": {}, "cast": {"unicast": 2, "broadcast": 1}, "dscp": {"0": 2}, "ecn": {"not_ect": 2},
                "tcp_flags": {}, "rocev2": {}, "rocev2_ecn": {},
            },
            "inner": null,
            "skipped": {},
            "copies": {"delivered": 0, "policed": 0, "refused": 0},
        });
        assert_eq!(json, expected);
    }
}
