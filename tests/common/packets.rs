//! Frames for tests, layer by layer, inside out: `ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(1000, 53, b"x")))`.
//!
//! Lengths and offsets are right unless a test sets them; checksums are 0, nothing that is tested here looks at them.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr};

/// `EtherType` of IPv4.
pub const IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const IPV6: u16 = 0x86dd;
/// 802.1Q.
pub const VLAN: u16 = 0x8100;
/// 802.1ad.
pub const QINQ: u16 = 0x88a8;

/// IP protocol numbers.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;

/// IPv6 extension headers.
pub const HOP_BY_HOP: u8 = 0;
/// The fragment header.
pub const FRAGMENT: u8 = 44;
/// Destination options.
pub const DESTINATION: u8 = 60;

/// An Ethernet frame with these VLAN tags (TPID, id), the outermost first.
pub fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (tpid, id) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 header.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub proto: u8,
    pub dscp: u8,
    /// Flags and fragment offset as in the packet.
    pub fragment: u16,
    /// In 4 bytes.
    pub options: u8,
    /// `None`: the right one.
    pub total_length: Option<u16>,
    /// Version and header length byte; `None`: the right one.
    pub version_ihl: Option<u8>,
}

impl Ipv4 {
    pub fn new(proto: u8) -> Ipv4 {
        Ipv4 {
            src: Ipv4Addr::new(192, 0, 2, 1),
            dst: Ipv4Addr::new(198, 51, 100, 2),
            proto,
            dscp: 0,
            fragment: 0,
            options: 0,
            total_length: None,
            version_ihl: None,
        }
    }

    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + usize::from(self.options) * 4;
        let total = self.total_length.unwrap_or_else(|| u16::try_from(header + payload.len()).unwrap());
        let mut packet = vec![self.version_ihl.unwrap_or(0x45 + self.options), self.dscp << 2];
        packet.extend(total.to_be_bytes());
        packet.extend([0, 7]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.proto, 0, 0]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.resize(header, 1); // "no operation"
        let checksum = internet_checksum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// RFC 1071, of a header whose checksum field is 0.
fn internet_checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// An IPv6 header.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    /// What follows the header.
    pub next: u8,
    pub dscp: u8,
    /// `None`: the right one.
    pub payload_length: Option<u16>,
}

impl Ipv6 {
    pub fn new(next: u8) -> Ipv6 {
        Ipv6 {
            src: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            dst: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
            next,
            dscp: 0,
            payload_length: None,
        }
    }

    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let length = self.payload_length.unwrap_or_else(|| u16::try_from(payload.len()).unwrap());
        let mut packet = (0x6000_0000 | u32::from(self.dscp) << 22).to_be_bytes().to_vec();
        packet.extend(length.to_be_bytes());
        packet.extend([self.next, 64]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.extend(payload);
        packet
    }
}

/// An IPv6 extension header of `8 + 8 * more` bytes (not the fragment header).
pub fn extension(next: u8, more: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![next, more];
    packet.resize(8 + usize::from(more) * 8, 0);
    packet.extend(payload);
    packet
}

/// An IPv6 fragment header; the offset in 8 bytes.
pub fn ipv6_fragment(next: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![next, 0];
    packet.extend((offset << 3 | u16::from(more)).to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(payload);
    packet
}

/// TCP with options of `4 * options` bytes.
pub fn tcp_with(options: u8, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = ports(sport, dport);
    packet.extend([0; 8]);
    packet.extend([(5 + options) << 4, 0x10, 1, 0, 0, 0, 0, 0]);
    packet.resize(20 + usize::from(options) * 4, 1);
    packet.extend(payload);
    packet
}

/// TCP without options.
pub fn tcp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    tcp_with(0, sport, dport, payload)
}

/// UDP.
pub fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = ports(sport, dport);
    packet.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// The first 4 bytes of every protocol with ports.
pub fn ports(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes()].concat()
}
