//! What `send` prints: one JSON object that says exactly what was sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::frames::Skipped;
use super::truth::{Tally, Truth};
use crate::model::schema::{EthClass, IpClass};

/// The ground truth about one `send`.
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
    /// What of a capture cannot be a frame, counted once, however often the capture was repeated.
    pub skipped: Skipped,
    /// What became of the mirror copies that the whole switch made while this was sent.
    pub copies: Copies,
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

/// One flow, see [`super::truth::FlowKey`].
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

impl From<Tally> for Count {
    fn from(tally: Tally) -> Count {
        Count { packets: tally.packets, bytes: tally.bytes }
    }
}

impl Sent {
    /// Puts the truth into words.
    #[must_use]
    pub fn new(truth: Truth, skipped: Skipped, copies: Copies) -> Sent {
        let mut flows: Vec<_> = truth.flows.into_iter().collect();
        flows.sort_unstable_by(|(left_key, left), (right_key, right)| {
            right.packets.cmp(&left.packets).then_with(|| left_key.cmp(right_key))
        });
        let flows = flows.into_iter().map(|(key, Tally { packets, bytes })| SentFlow {
            src: key.src,
            dst: key.dst,
            ip_proto: key.ip_proto,
            l4_sport: key.l4_sport,
            l4_dport: key.l4_dport,
            vlan: key.vlan,
            packets,
            bytes,
        });
        Sent {
            packets: truth.total.packets,
            bytes: truth.total.bytes,
            protocols: Protocols {
                ethernet: by_name(EthClass::ALL.iter().map(|class| class.as_str()), &truth.ethernet),
                ip: by_name(IpClass::ALL.iter().map(|class| class.as_str()), &truth.ip),
            },
            flows: flows.collect(),
            skipped,
            copies,
        }
    }
}

fn by_name(names: impl Iterator<Item = &'static str>, tallies: &[Tally]) -> BTreeMap<String, Count> {
    names
        .zip(tallies)
        .filter(|(_, tally)| tally.packets > 0)
        .map(|(name, tally)| (name.to_owned(), Count::from(*tally)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::packet::{Addresses, ethernet, ethernet_to, ethertype, ip, udp};

    #[test]
    fn the_json_has_the_members_that_programs_expect() {
        let addresses = Addresses::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (ethertype, packet) = ip(addresses, 17, &udp(addresses, 1000, 53, 0));
        let mut truth = Truth::default();
        truth.add(&ethernet(&[(ethertype::VLAN, 7)], ethertype, &packet), 2);
        truth.add(&ethernet_to([0xff; 6], &[], 0x0806, &[0; 28]), 1);
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
            "skipped": {},
            "copies": {"delivered": 0, "policed": 0, "refused": 0},
        });
        assert_eq!(json, expected);
    }
}
