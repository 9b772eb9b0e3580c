//! What is behind IP: ports, TCP, ICMP and RoCEv2 headers, and what is wrong with them.

use super::Errors;
use super::ip::Segment;
use super::reader::Reader;
use crate::model::schema::ErrorKind;
use crate::model::traffic::{HealthEvent, Rocev2Op, Service};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// UDP port of RoCEv2 (InfiniBand Architecture Specification, annex A17).
const ROCEV2: u16 = 4791;

/// What was read behind an IP header; nothing of a later fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// TCP whose fixed header is there.
    pub tcp: Option<Tcp>,
    /// An ICMP or ICMPv6 message that an operator looks for.
    pub icmp: Option<HealthEvent>,
    /// Of packets to RoCEv2's port.
    pub rocev2: Option<Rocev2Op>,
    /// By the ports of TCP and UDP.
    pub service: Option<Service>,
}

/// The fields of a TCP header (RFC 9293 §3.1) that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// The six flags of RFC 793.
    pub flags: u8,
    /// As in the header, unscaled.
    pub window: u16,
    /// Bytes behind the TCP header, as IP and TCP headers say.
    pub payload: u32,
}

impl Tcp {
    /// FIN, the lowest bit of the flags.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;

    /// See [`HealthEvent::TcpReset`].
    #[must_use]
    pub const fn is_reset(&self) -> bool {
        self.flags & Tcp::RST != 0
    }

    /// See [`HealthEvent::TcpZeroWindow`].
    #[must_use]
    pub const fn has_zero_window(&self) -> bool {
        self.window == 0 && self.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) == 0
    }
}

pub(super) fn transport(protocol: u8, segment: Segment<'_>, errors: &mut Errors) -> Transport {
    check(protocol, segment.bytes, errors);
    let ports = ports(protocol, segment.bytes);
    Transport {
        ports,
        tcp: (protocol == TCP).then(|| tcp(segment)).flatten(),
        icmp: icmp(protocol, segment.bytes),
        rocev2: (protocol == UDP && ports.is_some_and(|(_, to)| to == ROCEV2)).then(|| rocev2(segment.bytes)),
        service: ports.and_then(|ports| service(protocol, ports)),
    }
}

/// Whether the header is there and can be right: TCP (RFC 9293 §3.1), UDP (RFC 768), ICMP (RFC 792), ICMPv6 (RFC 4443 §2.1: four bytes
/// are common to all messages), SCTP (RFC 9260 §3.1).
fn check(protocol: u8, segment: &[u8], errors: &mut Errors) {
    let fixed = match protocol {
        TCP => 20,
        UDP | ICMP => 8,
        SCTP => 12,
        ICMPV6 => 4,
        _ => 0,
    };
    if segment.len() < fixed {
        errors.add(ErrorKind::TruncatedL4);
        return;
    }
    match protocol {
        TCP => {
            let header = usize::from(segment[12] >> 4) * 4;
            if header < fixed {
                errors.add(ErrorKind::MalformedL4);
            } else if header > segment.len() {
                errors.add(ErrorKind::TruncatedL4);
            }
        }
        UDP if usize::from(u16::from_be_bytes([segment[4], segment[5]])) < fixed => errors.add(ErrorKind::MalformedL4),
        _ => {}
    }
}

/// The first four bytes of TCP, UDP, UDP-Lite (RFC 3828), SCTP and DCCP (RFC 4340 §5.1).
fn ports(protocol: u8, segment: &[u8]) -> Option<(u16, u16)> {
    let mut rest = Reader(segment);
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => Some((rest.u16()?, rest.u16()?)),
        _ => None,
    }
}

fn tcp(segment: Segment<'_>) -> Option<Tcp> {
    let header: &[u8; 20] = segment.bytes.first_chunk()?;
    let length = usize::from(header[12] >> 4) * 4;
    Some(Tcp {
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        flags: header[13] & 0x3f,
        window: u16::from_be_bytes([header[14], header[15]]),
        payload: u32::try_from(segment.stated.saturating_sub(length)).unwrap_or(u32::MAX),
    })
}

fn icmp(protocol: u8, segment: &[u8]) -> Option<HealthEvent> {
    match (protocol, segment) {
        (ICMP, [3, 4, _, _, _, _, _, _, ..]) | (ICMPV6, [2, _, _, _, ..]) => Some(HealthEvent::IcmpTooBig),
        (ICMP, [3, _, _, _, _, _, _, _, ..]) | (ICMPV6, [1, _, _, _, ..]) => Some(HealthEvent::IcmpUnreachable),
        (ICMP, [11, _, _, _, _, _, _, _, ..]) | (ICMPV6, [3, _, _, _, ..]) => Some(HealthEvent::IcmpTimeExceeded),
        _ => None,
    }
}

/// The operation, by the upper three bits of the opcode (0 RC, 1 UC, 2 RD, 3 UD, 5 XRC; 4 is congestion notification) and the lower five.
fn rocev2(datagram: &[u8]) -> Rocev2Op {
    const UDP_HEADER: usize = 8;
    let Some(opcode) = datagram.get(UDP_HEADER) else { return Rocev2Op::Truncated };
    match (opcode >> 5, opcode & 0x1f) {
        (4, 1) => Rocev2Op::Cnp,
        (0..=3 | 5, operation) => match operation {
            0..=5 | 22 | 23 => Rocev2Op::Send,
            6..=11 => Rocev2Op::Write,
            12 => Rocev2Op::ReadRequest,
            13..=16 => Rocev2Op::ReadResponse,
            17 => Rocev2Op::Ack,
            18..=20 => Rocev2Op::Atomic,
            _ => Rocev2Op::Other,
        },
        _ => Rocev2Op::Other,
    }
}

fn service(protocol: u8, (from, to): (u16, u16)) -> Option<Service> {
    let of = |port: u16| {
        Service::ALL.iter().copied().find(|service| match protocol {
            TCP => service.ports().tcp.contains(&port),
            UDP => service.ports().udp.contains(&port),
            _ => false,
        })
    };
    of(to).or_else(|| of(from))
}
