//! Builds well-formed packets, layer by layer, checksums included. Payloads are zeros: nobody reads them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Shortest Ethernet frame without FCS (IEEE 802.3 §4A.4.2); shorter ones are padded with zeros.
pub const SHORTEST_FRAME: usize = 60;

/// EtherTypes of IP and of VLAN tags.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A customer VLAN tag, 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// A service VLAN tag, 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// The two addresses of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4 source and destination.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6 source and destination.
    V6(Ipv6Addr, Ipv6Addr),
}

/// A VLAN tag: its EtherType and id.
pub type Tag = (u16, u16);

/// A frame from and to unicast addresses, padded to [`SHORTEST_FRAME`].
#[must_use]
pub fn ethernet(tags: &[Tag], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    ethernet_to([0x02, 0, 0, 0, 0, 0x02], tags, ethertype, payload)
}

/// A frame to `destination`, padded to [`SHORTEST_FRAME`].
#[must_use]
pub fn ethernet_to(destination: [u8; 6], tags: &[Tag], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [destination, [0x02, 0, 0, 0, 0, 0x01]].concat();
    for (tag_type, id) in tags {
        frame.extend(tag_type.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(SHORTEST_FRAME), 0);
    frame
}

/// What a packet's IP header says besides addresses and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The TOS or traffic class byte: DSCP, and ECN in the lowest two bits.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// An IP packet and the EtherType that announces it.
#[must_use]
pub fn ip(addresses: Addresses, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    match addresses {
        Addresses::V4(src, dst) => (ethertype::IPV4, ipv4(src, dst, protocol, 0, payload)),
        Addresses::V6(src, dst) => (ethertype::IPV6, ipv6(src, dst, protocol, payload)),
    }
}

/// An IP packet with these marks.
#[must_use]
pub fn marked_ip(addresses: Addresses, marks: Marks, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    let (ethertype, mut packet) = ip(addresses, protocol, payload);
    match addresses {
        Addresses::V4(..) => {
            (packet[1], packet[8]) = (marks.tos, marks.ttl);
            packet[10..12].fill(0);
            let sum = checksum(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Addresses::V6(..) => {
            (packet[0], packet[1]) = (0x60 | marks.tos >> 4, marks.tos << 4);
            packet[7] = marks.ttl;
        }
    }
    (ethertype, packet)
}

/// An IPv4 packet (RFC 791); `fragment` is the flags and offset field.
#[must_use]
pub fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 20;
    let mut packet = vec![0x45, 0];
    packet.extend(be16(HEADER + payload.len()));
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An IPv6 packet (RFC 8200); `payload` begins with what `next` says, extension headers included.
#[must_use]
pub fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(be16(payload.len()));
    packet.extend([next, 64]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram (RFC 768) with `payload` zeros.
#[must_use]
pub fn udp(addresses: Addresses, sport: u16, dport: u16, payload: usize) -> Vec<u8> {
    udp_around(addresses, sport, dport, &vec![0; payload])
}

/// A UDP datagram with this payload.
#[must_use]
pub fn udp_around(addresses: Addresses, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    let mut datagram = [sport.to_be_bytes(), dport.to_be_bytes(), be16(HEADER + payload.len()), [0, 0]].concat();
    datagram.extend(payload);
    fill_checksum(addresses, 17, &mut datagram, 6);
    datagram
}

/// What a TCP header says besides the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFields {
    /// Sequence number.
    pub sequence: u32,
    /// The flags of RFC 793.
    pub flags: u8,
    /// Unscaled.
    pub window: u16,
}

/// A TCP segment (RFC 9293) with ACK set and `payload` zeros.
#[must_use]
pub fn tcp(addresses: Addresses, sport: u16, dport: u16, sequence: u32, payload: usize) -> Vec<u8> {
    const ACK: u8 = 0x10;
    tcp_with(addresses, sport, dport, TcpFields { sequence, flags: ACK, window: 0xffff }, payload)
}

/// A TCP segment with these fields and `payload` zeros.
#[must_use]
pub fn tcp_with(addresses: Addresses, sport: u16, dport: u16, fields: TcpFields, payload: usize) -> Vec<u8> {
    const HEADER: usize = 20;
    let mut segment = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    segment.extend(fields.sequence.to_be_bytes());
    segment.extend([0, 0, 0, 1, 5 << 4, fields.flags]);
    segment.extend(fields.window.to_be_bytes());
    segment.extend([0; 4]);
    segment.resize(HEADER + payload, 0);
    fill_checksum(addresses, 6, &mut segment, 16);
    segment
}

/// An echo request with `payload` zeros: ICMP (RFC 792) or ICMPv6 (RFC 4443), and its protocol number.
#[must_use]
pub fn echo(addresses: Addresses, sequence: u16, payload: usize) -> (u8, Vec<u8>) {
    let [hi, lo] = sequence.to_be_bytes();
    let kind = match addresses {
        Addresses::V4(..) => 8,
        Addresses::V6(..) => 128,
    };
    icmp(addresses, kind, 0, [0, 1, hi, lo], &vec![0; payload])
}

/// An ICMP or `ICMPv6` message and its protocol number; `rest` is what follows the checksum.
#[must_use]
pub fn icmp(addresses: Addresses, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> (u8, Vec<u8>) {
    let mut message = [&[kind, code, 0, 0], &rest[..], payload].concat();
    match addresses {
        // ICMP alone has no pseudo-header.
        Addresses::V4(..) => {
            let sum = checksum(&[&message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            (1, message)
        }
        Addresses::V6(..) => {
            fill_checksum(addresses, 58, &mut message, 2);
            (58, message)
        }
    }
}

/// Writes the checksum over pseudo-header and segment (RFC 9293 §3.1, RFC 8200 §8.1) at `at`.
fn fill_checksum(addresses: Addresses, protocol: u8, segment: &mut [u8], at: usize) {
    let [hi, lo] = be16(segment.len());
    let tail = [0, protocol, hi, lo];
    let sum = match addresses {
        Addresses::V4(src, dst) => checksum(&[&src.octets(), &dst.octets(), &tail, segment]),
        Addresses::V6(src, dst) => checksum(&[&src.octets(), &dst.octets(), &tail, segment]),
    };
    // RFC 768: a sum of 0 is sent as all ones, because 0 means "none"; all ones is as good for the others.
    let sum = if sum == 0 { 0xffff } else { sum };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071) of parts, each but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(|pair| match pair {
        [hi, lo] => u32::from(u16::from_be_bytes([*hi, *lo])),
        [hi] => u32::from(*hi) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, hi, lo] = sum.to_be_bytes();
    !u16::from_be_bytes([hi, lo])
}

/// A length field.
///
/// # Panics
/// The length has more than 16 bits, which no frame of the lab has.
fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or_else(|_| panic!("a length of {length} has more than 16 bits")).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ipv4_checksum_agrees_with_a_published_example() {
        // RFC 1071 §3: the sum of these words is 0xddf2.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn a_packet_sums_up_to_nothing_as_a_receiver_checks_it() {
        let addresses = Addresses::V4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let segment = tcp(addresses, 1000, 80, 7, 5);
        let (ethertype, packet) = ip(addresses, 6, &segment);
        assert_eq!((ethertype, packet.len()), (ethertype::IPV4, 45));
        assert_eq!(checksum(&[&packet[..20]]), 0);
        assert_eq!(checksum(&[&packet[12..20], &[0, 6, 0, 25], &segment]), 0);
    }

    #[test]
    fn short_frames_are_padded_and_long_ones_are_not() {
        assert_eq!(ethernet(&[], ethertype::IPV4, &[1]).len(), 60);
        let tagged = ethernet(&[(ethertype::SERVICE_VLAN, 5), (ethertype::VLAN, 6)], ethertype::IPV4, &[1; 100]);
        assert_eq!(tagged.len(), 12 + 8 + 2 + 100);
        assert_eq!(tagged[12..22], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x08, 0]);
    }
}
