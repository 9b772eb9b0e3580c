//! What is inside of the first tunnel of a packet.

use super::ethernet::ethernet;
use super::ip::{Header, Segment, ipv4, ipv6};
use super::reader::Reader;
use super::{Errors, Ip};
use crate::model::schema::EthClass;
use crate::model::traffic::Tunnel;

/// Labels of an MPLS stack that are followed to its bottom.
pub const MAX_LABELS: usize = 8;

/// A tunnel and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its kind.
    pub tunnel: Tunnel,
    /// What it carries.
    pub content: Content,
}

/// What a tunnel carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An IP packet with a whole fixed header that does not contradict itself.
    Ip(Ip),
    /// What should be an IP packet; class `truncated`.
    BrokenIp,
    /// An Ethernet frame with something else in it, or with nothing that can be read.
    NotIp,
}

/// What the bytes behind a tunnel's header are said to be.
enum Carried {
    Ipv4,
    Ipv6,
    Ethernet,
}

impl Carried {
    fn by_ethertype(ethertype: u16) -> Option<Carried> {
        match ethertype {
            0x0800 => Some(Carried::Ipv4),
            0x86dd => Some(Carried::Ipv6),
            // Transparent Ethernet Bridging.
            0x6558 => Some(Carried::Ethernet),
            _ => None,
        }
    }

    fn read(self, bytes: &[u8]) -> Content {
        // What is wrong inside is the business of whoever opens the tunnel.
        let mut unreported = Errors::default();
        let packet = match self {
            Carried::Ipv4 => ipv4(bytes, &mut unreported),
            Carried::Ipv6 => ipv6(bytes, &mut unreported),
            Carried::Ethernet => {
                let frame = ethernet(bytes, &mut unreported);
                match frame.class {
                    EthClass::Ipv4 => ipv4(frame.payload, &mut unreported),
                    EthClass::Ipv6 => ipv6(frame.payload, &mut unreported),
                    _ => return Content::NotIp,
                }
            }
        };
        packet.map_or(Content::BrokenIp, |header| Content::Ip(Ip::read(&header, &mut unreported)))
    }
}

/// The tunnel in an IP packet, if there is one. No fragment is opened: its inner packet is not whole.
pub(super) fn in_ip(packet: &Header<'_>) -> Option<Inside> {
    if packet.fragment.is_some() {
        return None;
    }
    let Segment { bytes, .. } = packet.segment?;
    let mut rest = Reader(bytes);
    let (tunnel, carried) = match packet.protocol {
        4 => (Tunnel::Ipip, Carried::Ipv4),
        41 => (Tunnel::Ipip, Carried::Ipv6),
        47 => (Tunnel::Gre, gre(&mut rest)?),
        17 => udp(&mut rest)?,
        _ => return None,
    };
    Some(Inside { tunnel, content: carried.read(rest.0) })
}

/// RFC 3032; what is below the stack is known by its first four bits alone.
pub(super) fn in_mpls(payload: &[u8]) -> Option<Inside> {
    const BOTTOM_OF_STACK: u32 = 0x100;
    let mut rest = Reader(payload);
    for _ in 0..MAX_LABELS {
        if rest.u32()? & BOTTOM_OF_STACK != 0 {
            let carried = match rest.0.first()? >> 4 {
                4 => Carried::Ipv4,
                6 => Carried::Ipv6,
                _ => return None,
            };
            return Some(Inside { tunnel: Tunnel::Mpls, content: carried.read(rest.0) });
        }
    }
    None
}

/// RFC 2784 and 2890.
fn gre(rest: &mut Reader<'_>) -> Option<Carried> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    let flags = rest.u16()?;
    let carried = Carried::by_ethertype(rest.u16()?)?;
    if flags & (ROUTING | VERSION) != 0 {
        return None;
    }
    for field in [CHECKSUM, KEY, SEQUENCE] {
        if flags & field != 0 {
            rest.u32()?;
        }
    }
    Some(carried)
}

/// VXLAN (RFC 7348 §5) and Geneve (RFC 8926 §3.4) by their destination ports.
fn udp(rest: &mut Reader<'_>) -> Option<(Tunnel, Carried)> {
    const VXLAN_VNI_VALID: u8 = 0x08;
    let [_, _, port_hi, port_lo, _, _, _, _] = rest.array::<8>()?;
    match u16::from_be_bytes([*port_hi, *port_lo]) {
        4789 => (rest.array::<8>()?[0] & VXLAN_VNI_VALID != 0).then_some((Tunnel::Vxlan, Carried::Ethernet)),
        6081 => {
            let [first, _, type_hi, type_lo, ..] = rest.array::<8>()?;
            let (version, options) = (first >> 6, usize::from(first & 0x3f) * 4);
            rest.take(options)?;
            let carried = Carried::by_ethertype(u16::from_be_bytes([*type_hi, *type_lo]))?;
            (version == 0).then_some((Tunnel::Geneve, carried))
        }
        _ => None,
    }
}
