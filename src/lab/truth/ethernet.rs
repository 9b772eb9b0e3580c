//! Ethernet and VLAN headers.

use super::Errors;
use super::reader::Reader;
use crate::model::schema::{ErrorKind, EthClass};
use crate::model::traffic::Cast;

/// VLAN tags that are followed to the EtherType behind them.
pub const MAX_TAGS: usize = 3;

/// What precedes a frame's payload.
pub(super) struct Ethernet<'frame> {
    pub class: EthClass,
    pub cast: Option<Cast>,
    /// The id in the outermost tag.
    pub vlan: Option<u16>,
    /// What is behind the EtherType.
    pub payload: &'frame [u8],
}

pub(super) fn ethernet<'frame>(frame: &'frame [u8], errors: &mut Errors) -> Ethernet<'frame> {
    let cast = frame.first_chunk().copied().map(cast);
    let mut rest = Reader(frame);
    let Some((ethertype, vlan)) = ethertype(&mut rest) else {
        errors.add(ErrorKind::TruncatedEth);
        // A tag that is there counts, though the frame ends behind it.
        return Ethernet { class: EthClass::Truncated, cast, vlan: outermost_tag(frame), payload: &[] };
    };
    if is_tag(ethertype) {
        errors.add(ErrorKind::TooDeep);
    }
    Ethernet { class: class(ethertype), cast, vlan, payload: rest.0 }
}

/// IEEE 802.3 §3.2.3: the first bit on the wire tells groups from stations.
fn cast(destination: [u8; 6]) -> Cast {
    match destination {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Cast::Broadcast,
        [first, ..] if first & 1 != 0 => Cast::Multicast,
        _ => Cast::Unicast,
    }
}

/// The EtherType behind all tags and the outermost VLAN id; `None` if the frame ends before it.
fn ethertype(rest: &mut Reader<'_>) -> Option<(u16, Option<u16>)> {
    const MAC_ADDRESSES: usize = 12;
    rest.take(MAC_ADDRESSES)?;
    let mut ethertype = rest.u16()?;
    let mut vlan = None;
    for _ in 0..MAX_TAGS {
        if !is_tag(ethertype) {
            break;
        }
        let tag = rest.u16()?;
        vlan.get_or_insert(tag & 0x0fff);
        ethertype = rest.u16()?;
    }
    Some((ethertype, vlan))
}

fn outermost_tag(frame: &[u8]) -> Option<u16> {
    let [hi, lo, tag_hi, tag_lo] = frame.get(12..16)? else { return None };
    is_tag(u16::from_be_bytes([*hi, *lo])).then(|| u16::from_be_bytes([*tag_hi, *tag_lo]) & 0x0fff)
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

fn class(ethertype: u16) -> EthClass {
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
