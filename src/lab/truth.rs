//! What a sent frame is, found out in user space: the lab's ground truth.
//!
//! Written from the standards and from the classes' documentation in `model::schema`, on purpose without a look at the
//! BPF parser: the two are two witnesses, and a shared mistake would go unnoticed. Reads bytes only; knows no capture
//! format and no socket.
//!
//! Rules beyond the class names:
//! - Up to [`MAX_TAGS`] VLAN tags (802.1Q 0x8100, 802.1ad 0x88a8, 0x9100); the EtherType behind them decides. A further
//!   tag counts as an EtherType that no class names. A value up to 1500 is a length (IEEE 802.3 §3.2.6): `llc`.
//! - An IP packet is `truncated` if its protocol cannot be known: the fixed header or an IPv6 extension header is cut off,
//!   there are more than [`MAX_EXTENSIONS`] of them, or version, IHL or total length contradict themselves.
//! - An IP packet belongs to a flow if its fixed header is whole and does not contradict itself; the protocol is then the
//!   last that could be read.
//! - IPv6 headers hop-by-hop 0, routing 43, fragment 44, destination options 60 and mobility 135 are skipped; ESP and AH
//!   are classes of their own. What follows the fragment header of a later fragment is data, so its `next header` is
//!   the class.
//! - What lies behind the IP packet's own length is padding and never read.
//! - Ports: TCP, UDP, UDP-Lite, SCTP and DCCP, not of later fragments, if the first four bytes are there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::schema::{EthClass, IpClass};

/// VLAN tags that are followed to the EtherType behind them.
pub const MAX_TAGS: usize = 3;
/// IPv6 extension headers that are followed to the protocol behind them.
pub const MAX_EXTENSIONS: usize = 8;

/// The flow that an IP packet belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol number, behind IPv6 extension headers.
    pub ip_proto: u8,
    /// Source port, 0 where there is none.
    pub l4_sport: u16,
    /// Destination port, 0 where there is none.
    pub l4_dport: u16,
    /// VLAN id of the outermost tag, 0 without a tag.
    pub vlan: u16,
}

/// What one frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not IP; never `ipv4` or `ipv6`.
    Ethernet(EthClass),
    /// IP with a whole fixed header; the flow's addresses tell the version.
    Ip(IpClass, FlowKey),
    /// `ipv4` or `ipv6` by its EtherType, but the fixed header is cut or contradicts itself.
    BrokenIp(EthClass),
}

impl Kind {
    /// The Ethernet class.
    #[must_use]
    pub fn ethernet(&self) -> EthClass {
        match self {
            Kind::Ethernet(class) | Kind::BrokenIp(class) => *class,
            Kind::Ip(_, flow) if flow.src.is_ipv4() => EthClass::Ipv4,
            Kind::Ip(..) => EthClass::Ipv6,
        }
    }

    /// The IP class, for IP packets.
    #[must_use]
    pub fn ip(&self) -> Option<IpClass> {
        match self {
            Kind::Ethernet(_) => None,
            Kind::Ip(class, _) => Some(*class),
            Kind::BrokenIp(_) => Some(IpClass::Truncated),
        }
    }

    /// The flow, for IP packets with a whole fixed header.
    #[must_use]
    pub fn flow(&self) -> Option<&FlowKey> {
        match self {
            Kind::Ip(_, flow) => Some(flow),
            Kind::Ethernet(_) | Kind::BrokenIp(_) => None,
        }
    }
}

/// Packets and their frame bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames.
    pub packets: u64,
    /// Frame bytes without FCS, VLAN tags included.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, frame_bytes: usize, times: u64) {
        self.packets += times;
        self.bytes += frame_bytes as u64 * times;
    }
}

/// The truth about many frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// All frames.
    pub total: Tally,
    /// By Ethernet class, as [`EthClass::ALL`] orders them.
    pub ethernet: [Tally; EthClass::COUNT],
    /// By IP class, as [`IpClass::ALL`] orders them.
    pub ip: [Tally; IpClass::COUNT],
    /// By flow.
    pub flows: HashMap<FlowKey, Tally>,
}

impl Truth {
    /// Counts a frame that was sent `times` times.
    pub fn add(&mut self, frame: &[u8], times: u64) {
        if times == 0 {
            return;
        }
        let kind = classify(frame);
        self.total.add(frame.len(), times);
        self.ethernet[kind.ethernet() as usize].add(frame.len(), times);
        if let Some(class) = kind.ip() {
            self.ip[class as usize].add(frame.len(), times);
        }
        if let Kind::Ip(_, flow) = kind {
            self.flows.entry(flow).or_default().add(frame.len(), times);
        }
    }
}

/// Says what a frame is, from its bytes as they are on the wire (without FCS).
#[must_use]
pub fn classify(frame: &[u8]) -> Kind {
    let mut rest = Reader(frame);
    let Some((inner_type, vlan)) = ethertype(&mut rest) else { return Kind::Ethernet(EthClass::Truncated) };
    let (version, packet) = match ethernet_class(inner_type) {
        EthClass::Ipv4 => (EthClass::Ipv4, ipv4(rest.0)),
        EthClass::Ipv6 => (EthClass::Ipv6, ipv6(rest.0)),
        class => return Kind::Ethernet(class),
    };
    let Some(IpPacket { src, dst, ip_proto, class, segment }) = packet else { return Kind::BrokenIp(version) };
    let ports = segment.map_or((0, 0), |segment| ports(ip_proto, segment));
    Kind::Ip(class, FlowKey { src, dst, ip_proto, l4_sport: ports.0, l4_dport: ports.1, vlan })
}

/// The EtherType behind all tags and the outermost VLAN id; `None` if the frame ends before it.
fn ethertype(rest: &mut Reader<'_>) -> Option<(u16, u16)> {
    const MAC_ADDRESSES: usize = 12;
    rest.take(MAC_ADDRESSES)?;
    let mut ethertype = rest.u16()?;
    let mut vlan = None;
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        let tag = rest.u16()?;
        vlan.get_or_insert(tag & 0x0fff);
        ethertype = rest.u16()?;
    }
    Some((ethertype, vlan.unwrap_or(0)))
}

fn ethernet_class(ethertype: u16) -> EthClass {
    match ethertype {
        0..=1500 => EthClass::Llc,
        0x0800 => EthClass::Ipv4,
        0x0806 => EthClass::Arp,
        0x86dd => EthClass::Ipv6,
        0x8809 => EthClass::Slow,
        0x8847 | 0x8848 => EthClass::Mpls,
        0x8863 | 0x8864 => EthClass::Pppoe,
        0x888e => EthClass::Eapol,
        0x88cc => EthClass::Lldp,
        0x88e5 => EthClass::Macsec,
        0x88f7 => EthClass::Ptp,
        0x8902 => EthClass::Cfm,
        _ => EthClass::Other,
    }
}

/// IANA protocol-numbers.
fn ip_class(protocol: u8) -> IpClass {
    match protocol {
        1 => IpClass::Icmp,
        2 => IpClass::Igmp,
        4 => IpClass::Ipip,
        6 => IpClass::Tcp,
        17 => IpClass::Udp,
        33 => IpClass::Dccp,
        41 => IpClass::Ipv6,
        46 => IpClass::Rsvp,
        47 => IpClass::Gre,
        50 => IpClass::Esp,
        51 => IpClass::Ah,
        58 => IpClass::Icmpv6,
        59 => IpClass::NoNext,
        88 => IpClass::Eigrp,
        89 => IpClass::Ospf,
        103 => IpClass::Pim,
        112 => IpClass::Vrrp,
        115 => IpClass::L2tp,
        132 => IpClass::Sctp,
        _ => IpClass::Other,
    }
}

/// An IP packet with a whole fixed header.
struct IpPacket<'frame> {
    src: IpAddr,
    dst: IpAddr,
    ip_proto: u8,
    class: IpClass,
    /// What the protocol's own header is in; `None` in a later fragment and behind a cut header.
    segment: Option<&'frame [u8]>,
}

/// RFC 791 §3.1; `None` if the fixed header is cut or contradicts itself.
fn ipv4(packet: &[u8]) -> Option<IpPacket<'_>> {
    const FIXED: usize = 20;
    let fixed: &[u8; FIXED] = packet.first_chunk()?;
    let (version, header) = (fixed[0] >> 4, usize::from(fixed[0] & 0x0f) * 4);
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if version != 4 || header < FIXED || total < header {
        return None;
    }
    let is_later_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
    let segment = if is_later_fragment { None } else { packet[..total.min(packet.len())].get(header..) };
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]));
    Some(IpPacket { src: address(12), dst: address(16), ip_proto: fixed[9], class: ip_class(fixed[9]), segment })
}

/// RFC 8200 §3; `None` if the fixed header is cut or the version is not 6.
fn ipv6(packet: &[u8]) -> Option<IpPacket<'_>> {
    const FIXED: usize = 40;
    const HOP_BY_HOP: u8 = 0;
    let (fixed, payload) = packet.split_first_chunk::<FIXED>()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let stated = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    // RFC 2675: a jumbogram says 0 and has its length in a hop-by-hop option.
    let is_jumbogram = stated == 0 && fixed[6] == HOP_BY_HOP;
    let length = if is_jumbogram { payload.len() } else { stated.min(payload.len()) };
    let (ip_proto, end) = skip_extensions(fixed[6], Reader(&payload[..length]));
    let (class, segment) = match end {
        Chain::Segment(segment) => (ip_class(ip_proto), Some(segment)),
        Chain::LaterFragment => (ip_class(ip_proto), None),
        Chain::Broken => (IpClass::Truncated, None),
    };
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = fixed.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    Some(IpPacket { src: address(8)?, dst: address(24)?, ip_proto, class, segment })
}

/// How a chain of IPv6 extension headers ends.
enum Chain<'frame> {
    Segment(&'frame [u8]),
    LaterFragment,
    /// Cut, or too long to follow.
    Broken,
}

/// Follows the extension headers (RFC 8200 §4); returns the last protocol number read and how it went.
fn skip_extensions(first: u8, mut rest: Reader<'_>) -> (u8, Chain<'_>) {
    let mut next = first;
    for _ in 0..MAX_EXTENSIONS {
        let (length, is_fragment) = match next {
            // Length in units of 8 octets, not counting the first 8 (RFC 8200 §4.2; RFC 6275 §6.1.1 for mobility).
            0 | 43 | 60 | 135 => (rest.0.get(1).map_or(8, |units| (usize::from(*units) + 1) * 8), false),
            44 => (8, true),
            _ => return (next, Chain::Segment(rest.0)),
        };
        let Some(header) = rest.take(length) else { return (next, Chain::Broken) };
        next = header[0];
        if is_fragment && u16::from_be_bytes([header[2], header[3]]) & 0xfff8 != 0 {
            return (next, Chain::LaterFragment);
        }
    }
    match next {
        0 | 43 | 44 | 60 | 135 => (next, Chain::Broken),
        _ => (next, Chain::Segment(rest.0)),
    }
}

/// Source and destination port: the first four bytes of TCP (RFC 9293 §3.1), UDP (RFC 768), UDP-Lite (RFC 3828), SCTP
/// (RFC 9260 §3.1) and DCCP (RFC 4340 §5.1); zeros for others and if they are cut.
fn ports(protocol: u8, segment: &[u8]) -> (u16, u16) {
    match (protocol, segment) {
        (6 | 17 | 33 | 132 | 136, [s1, s2, d1, d2, ..]) => {
            (u16::from_be_bytes([*s1, *s2]), u16::from_be_bytes([*d1, *d2]))
        }
        _ => (0, 0),
    }
}

/// What is left of a frame.
struct Reader<'frame>(&'frame [u8]);

impl<'frame> Reader<'frame> {
    fn take(&mut self, bytes: usize) -> Option<&'frame [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

#[cfg(test)]
mod tests;
