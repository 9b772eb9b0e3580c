//! What a job wants to see: the filter fields of the contract as types in which an illegal value cannot be written,
//! and what they mean for one packet ([`Filter::matches`]).
//!
//! The tap executes the same rule in the kernel; the rule here is what it is tested against. This file knows no spelling
//! of any field: that is `job`'s.

use std::net::IpAddr;
use std::ops::Deref;

use ipnet::IpNet;

/// How many port ranges one port field may list (contract, section 1).
pub const MAX_PORT_RANGES: usize = 16;

/// A VLAN id that a frame's tag can carry and mean a VLAN by: 1..=4094 (IEEE 802.1Q §9.6; 0 is a priority tag, 4095 reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The smallest VLAN id.
    pub const MIN: u16 = 1;
    /// The largest VLAN id.
    pub const MAX: u16 = 4094;

    /// `None` outside of [`Self::MIN`]..=[`Self::MAX`].
    #[must_use]
    pub const fn new(id: u16) -> Option<VlanId> {
        if id >= Self::MIN && id <= Self::MAX { Some(VlanId(id)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A Differentiated Services code point, 0..=63 (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dscp(u8);

impl Dscp {
    /// The largest code point.
    pub const MAX: u8 = 63;

    /// `None` above [`Self::MAX`].
    #[must_use]
    pub const fn new(code_point: u8) -> Option<Dscp> {
        if code_point <= Self::MAX { Some(Dscp(code_point)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A range of L4 ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    lo: u16,
    hi: u16,
}

impl PortRange {
    /// `None` if `lo` is above `hi`.
    #[must_use]
    pub const fn new(lo: u16, hi: u16) -> Option<PortRange> {
        if lo <= hi { Some(PortRange { lo, hi }) } else { None }
    }

    /// The range of one port.
    #[must_use]
    pub const fn single(port: u16) -> PortRange {
        PortRange { lo: port, hi: port }
    }

    /// The first port of the range.
    #[must_use]
    pub const fn lo(self) -> u16 {
        self.lo
    }

    /// The last port of the range.
    #[must_use]
    pub const fn hi(self) -> u16 {
        self.hi
    }

    /// Whether `port` is in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.lo <= port && port <= self.hi
    }
}

/// More port ranges than the tap can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} port ranges given, at most {MAX_PORT_RANGES} are accepted")]
pub struct TooManyPortRanges {
    /// How many there were.
    pub given: usize,
}

/// At most [`MAX_PORT_RANGES`] port ranges; none of them means any port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortRanges(Vec<PortRange>);

impl TryFrom<Vec<PortRange>> for PortRanges {
    type Error = TooManyPortRanges;

    fn try_from(ranges: Vec<PortRange>) -> Result<PortRanges, TooManyPortRanges> {
        if ranges.len() > MAX_PORT_RANGES {
            return Err(TooManyPortRanges { given: ranges.len() });
        }
        Ok(PortRanges(ranges))
    }
}

impl Deref for PortRanges {
    type Target = [PortRange];

    fn deref(&self) -> &[PortRange] {
        &self.0
    }
}

/// What of the delivered packets is the job's. Different fields all have to match; of a list, one item has to. An empty
/// list, like `None`, asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The id in the frame's outermost VLAN tag: the one by which the switch forwards it, and the one that flows are keyed by.
    pub vlan: Option<VlanId>,
    /// IP protocol numbers, of the protocol behind all IPv6 extension headers. A packet that is cut before it matches none.
    pub ip_protos: Vec<u8>,
    /// Source ports. A packet without ports matches none: not TCP, UDP, SCTP, DCCP or UDP-Lite; cut before
    /// its ports; a fragment other than the first.
    pub l4_sports: PortRanges,
    /// Destination ports, as for [`Self::l4_sports`].
    pub l4_dports: PortRanges,
    /// Where the IP source address has to be. A prefix of one IP version never matches a packet of the other.
    pub src_cidr: Option<IpNet>,
    /// Where the IP destination address has to be.
    pub dst_cidr: Option<IpNet>,
    /// Code points in the IPv4 TOS or the IPv6 traffic class byte.
    pub dscps: Vec<Dscp>,
}

/// What a filter looks at in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFacts {
    /// The id in the outermost VLAN tag, `None` without a tag. 0 and 4095 can be carried, but no filter asks for them.
    pub vlan: Option<u16>,
    /// `None` if the packet is not IP, or its fixed IP header (20 or 40 bytes) is cut or malformed.
    pub ip: Option<IpFacts>,
}

/// What a filter looks at in an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFacts {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The upper six bits of the TOS or traffic class byte.
    pub dscp: u8,
    /// The protocol behind all extension headers, `None` if the packet is cut before it or has too many of them.
    pub proto: Option<u8>,
    /// Source and destination port, if the protocol has ports and this packet carries them.
    pub ports: Option<(u16, u16)>,
}

impl Filter {
    /// Whether the filter asks nothing: every packet matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a packet of which these facts are known is one of the job's.
    #[must_use]
    pub fn matches(&self, packet: &PacketFacts) -> bool {
        let vlan = self.vlan.is_none_or(|vlan| packet.vlan == Some(vlan.get()));
        let asks_for_ip = Filter { vlan: None, ..self.clone() } != Filter::default();
        vlan && (!asks_for_ip || packet.ip.is_some_and(|ip| self.matches_ip(&ip)))
    }

    fn matches_ip(&self, ip: &IpFacts) -> bool {
        let (sport, dport) = ip.ports.unzip();
        (self.ip_protos.is_empty() || ip.proto.is_some_and(|proto| self.ip_protos.contains(&proto)))
            && matches_port(&self.l4_sports, sport)
            && matches_port(&self.l4_dports, dport)
            && self.src_cidr.is_none_or(|net| net.contains(&ip.src))
            && self.dst_cidr.is_none_or(|net| net.contains(&ip.dst))
            && (self.dscps.is_empty() || self.dscps.iter().any(|dscp| dscp.get() == ip.dscp))
    }
}

fn matches_port(ranges: &[PortRange], port: Option<u16>) -> bool {
    ranges.is_empty() || port.is_some_and(|port| ranges.iter().any(|range| range.contains(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS_QUERY: PacketFacts = PacketFacts {
        vlan: Some(10),
        ip: Some(IpFacts {
            src: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
            dst: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)),
            dscp: 46,
            proto: Some(17),
            ports: Some((40000, 53)),
        }),
    };

    #[test]
    fn values_outside_of_their_range_cannot_be_made() {
        assert_eq!((VlanId::new(0), VlanId::new(4095), Dscp::new(64), PortRange::new(2, 1)), (None, None, None, None));
        assert_eq!(VlanId::new(4094).map(VlanId::get), Some(4094));
        let ranges = vec![PortRange::single(1); MAX_PORT_RANGES + 1];
        assert_eq!(PortRanges::try_from(ranges), Err(TooManyPortRanges { given: 17 }));
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        let not_ip = PacketFacts { vlan: None, ip: None };
        assert!(Filter::default().is_empty());
        assert!(Filter::default().matches(&not_ip) && Filter::default().matches(&DNS_QUERY));
    }

    #[test]
    fn different_fields_all_have_to_match_and_items_of_a_list_one_of_them() {
        let filter = Filter {
            vlan: VlanId::new(10),
            ip_protos: vec![6, 17],
            l4_dports: vec![PortRange::single(80), PortRange::new(50, 60).unwrap()].try_into().unwrap(),
            src_cidr: Some("192.0.2.0/24".parse().unwrap()),
            dscps: vec![Dscp::new(46).unwrap()],
            ..Filter::default()
        };
        assert!(filter.matches(&DNS_QUERY));
        assert!(!Filter { vlan: VlanId::new(11), ..filter.clone() }.matches(&DNS_QUERY));
        assert!(!Filter { ip_protos: vec![6], ..filter.clone() }.matches(&DNS_QUERY));
        assert!(!Filter { dst_cidr: Some("::/0".parse().unwrap()), ..filter }.matches(&DNS_QUERY));
    }

    #[test]
    fn a_packet_without_ports_matches_no_port_filter() {
        let filter =
            Filter { l4_sports: vec![PortRange::new(0, u16::MAX).unwrap()].try_into().unwrap(), ..Filter::default() };
        let later_fragment = PacketFacts { ip: DNS_QUERY.ip.map(|ip| IpFacts { ports: None, ..ip }), ..DNS_QUERY };
        assert!(filter.matches(&DNS_QUERY) && !filter.matches(&later_fragment));
    }
}
