//! IPv4 and IPv6 headers, to where the transport protocol begins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use super::{Errors, Fragment};
use crate::model::schema::{ErrorKind, IpClass};

/// IPv6 extension headers that are followed to the protocol behind them.
pub const MAX_EXTENSIONS: usize = 8;

/// An IP packet with a whole fixed header that does not contradict itself.
pub(super) struct Header<'frame> {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// The TOS or traffic class byte.
    pub tos: u8,
    pub ttl: u8,
    /// The last protocol number that could be read.
    pub protocol: u8,
    /// `Truncated` if that is not the packet's protocol.
    pub class: IpClass,
    pub fragment: Option<Fragment>,
    /// Whether it is IPv4 and its header, which is all there, has options.
    pub has_options: bool,
    /// What the protocol's own header is in; `None` in a later fragment and behind a cut header.
    pub segment: Option<Segment<'frame>>,
}

/// What is behind all IP headers.
#[derive(Clone, Copy)]
pub(super) struct Segment<'frame> {
    /// As much as the frame has of it.
    pub bytes: &'frame [u8],
    /// How long the IP header says that it is.
    pub stated: usize,
}

/// RFC 791 §3.1; `None` if the fixed header is cut or contradicts itself.
pub(super) fn ipv4<'frame>(packet: &'frame [u8], errors: &mut Errors) -> Option<Header<'frame>> {
    const FIXED: usize = 20;
    const MORE_FRAGMENTS: u16 = 0x2000;
    let Some(fixed) = packet.first_chunk::<FIXED>() else {
        errors.add(ErrorKind::TruncatedIp);
        return None;
    };
    let (version, header) = (fixed[0] >> 4, usize::from(fixed[0] & 0x0f) * 4);
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if version != 4 || header < FIXED || total < header {
        errors.add(ErrorKind::MalformedIp);
        return None;
    }
    if total > packet.len() {
        errors.add(ErrorKind::MalformedIp);
    }
    let segment = packet[..total.min(packet.len())].split_at_checked(header).map(|(header, bytes)| {
        if !sums_up(header) {
            errors.add(ErrorKind::ChecksumIp);
        }
        Segment { bytes, stated: total - header.len() }
    });
    if segment.is_none() {
        errors.add(ErrorKind::TruncatedIp);
    }
    let field = u16::from_be_bytes([fixed[6], fixed[7]]);
    let fragment = match (field & 0x1fff, field & MORE_FRAGMENTS) {
        (0, 0) => None,
        (0, _) => Some(Fragment::First),
        _ => Some(Fragment::Later),
    };
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]));
    Some(Header {
        src: address(12),
        dst: address(16),
        tos: fixed[1],
        ttl: fixed[8],
        protocol: fixed[9],
        class: class(fixed[9]),
        fragment,
        has_options: header > FIXED && segment.is_some(),
        segment: segment.filter(|_| fragment != Some(Fragment::Later)),
    })
}

/// RFC 1071: the sum of a header with its checksum in it is all ones.
fn sums_up(header: &[u8]) -> bool {
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// RFC 8200 §3; `None` if the fixed header is cut or the version is not 6.
pub(super) fn ipv6<'frame>(packet: &'frame [u8], errors: &mut Errors) -> Option<Header<'frame>> {
    const FIXED: usize = 40;
    const HOP_BY_HOP: u8 = 0;
    let Some((fixed, payload)) = packet.split_first_chunk::<FIXED>() else {
        errors.add(ErrorKind::TruncatedIp);
        return None;
    };
    if fixed[0] >> 4 != 6 {
        errors.add(ErrorKind::MalformedIp);
        return None;
    }
    let stated = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    // RFC 2675: a jumbogram says 0 and has its length in a hop-by-hop option.
    let is_jumbogram = stated == 0 && fixed[6] == HOP_BY_HOP;
    let stated = if is_jumbogram { payload.len() } else { stated };
    if stated > payload.len() {
        errors.add(ErrorKind::MalformedIp);
    }
    let payload = &payload[..stated.min(payload.len())];
    let Chain { protocol, fragment, end } = extensions(fixed[6], Reader(payload));
    let segment = |rest: &'frame [u8]| Segment { bytes: rest, stated: stated - (payload.len() - rest.len()) };
    let (class, segment) = match end {
        End::Segment(rest) => (class(protocol), Some(segment(rest))),
        End::LaterFragment => (class(protocol), None),
        End::Cut => {
            errors.add(ErrorKind::TruncatedIp);
            (IpClass::Truncated, None)
        }
        End::TooDeep => {
            errors.add(ErrorKind::TooDeep);
            (IpClass::Truncated, None)
        }
    };
    let (src, dst) = (Ipv6Addr::from(*fixed[8..].first_chunk()?), Ipv6Addr::from(*fixed[24..].first_chunk()?));
    let tos = fixed[0] << 4 | fixed[1] >> 4;
    Some(Header {
        src: src.into(),
        dst: dst.into(),
        tos,
        ttl: fixed[7],
        protocol,
        class,
        fragment,
        has_options: false,
        segment,
    })
}

/// A chain of IPv6 extension headers.
struct Chain<'frame> {
    /// The last protocol number read.
    protocol: u8,
    fragment: Option<Fragment>,
    end: End<'frame>,
}

enum End<'frame> {
    Segment(&'frame [u8]),
    LaterFragment,
    Cut,
    /// Too long to follow.
    TooDeep,
}

/// Follows the extension headers (RFC 8200 §4).
fn extensions(first: u8, mut rest: Reader<'_>) -> Chain<'_> {
    const MORE_FRAGMENTS: u16 = 1;
    let (mut protocol, mut fragment) = (first, None);
    for _ in 0..MAX_EXTENSIONS {
        let (length, is_fragment) = match protocol {
            // Length in units of 8 octets, not counting the first 8 (RFC 8200 §4.2; RFC 6275 §6.1.1 for mobility).
            0 | 43 | 60 | 135 => (rest.0.get(1).map_or(8, |units| (usize::from(*units) + 1) * 8), false),
            44 => (8, true),
            _ => return Chain { protocol, fragment, end: End::Segment(rest.0) },
        };
        let Some(header) = rest.take(length) else { return Chain { protocol, fragment, end: End::Cut } };
        protocol = header[0];
        if is_fragment {
            let field = u16::from_be_bytes([header[2], header[3]]);
            if field & 0xfff8 != 0 {
                return Chain { protocol, fragment: Some(Fragment::Later), end: End::LaterFragment };
            }
            if field & MORE_FRAGMENTS != 0 {
                fragment = Some(Fragment::First);
            }
        }
    }
    match protocol {
        0 | 43 | 44 | 60 | 135 => Chain { protocol, fragment, end: End::TooDeep },
        _ => Chain { protocol, fragment, end: End::Segment(rest.0) },
    }
}

/// IANA protocol-numbers.
fn class(protocol: u8) -> IpClass {
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
