//! Takes mirror copies out of their encapsulation.
//!
//! A packet is a job's copy if it is GRE from one address to another, over IPv4 with or without options, or over IPv6 with
//! or without one destination options header of up to 64 bytes (Linux puts the encapsulation limit of RFC 2473 there). Or if it is a fragment
//! between them that IPv6 does not say the protocol of. What is in it (GRE by RFC 2784 and 2890: version 0, no routing; checksum, key
//! and sequence number may be there):
//! - 0x88be: the frame (ERSPAN type I, and what SONiC programs); behind a sequence number an ERSPAN type II header of 8 bytes first, if it has
//!   version 1 and zeros in the 12 reserved bits in front of the index;
//! - 0x22eb: an ERSPAN type III header of 12 bytes, version 2 and frame type 0 (Ethernet), and 8 bytes more if its last bit (O) is set
//!   (draft-foschiano-erspan-03 §4);
//! - 0x8949: a header of 22 bytes;
//! - 0x6558: the frame (Transparent Ethernet Bridging).
//!
//! A copy that is a fragment, has something else in it, is longer than its frame has room for, or ends before the copied frame begins, cannot
//! be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ethernet::ethernet;
use super::packet::Errors;
use super::reader::Reader;
use crate::model::schema::EthClass;

const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const DESTINATION_OPTIONS: u8 = 60;

/// What a frame on the collecting netdev is to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<'frame> {
    /// No copy of the job.
    Foreign,
    /// A copy without a frame that can be read.
    Unreadable,
    /// A copy.
    Copy {
        /// What was mirrored, as it was on its wire.
        frame: &'frame [u8],
        /// GRE's sequence number.
        sequence: Option<u32>,
    },
}

/// What a frame is to the job whose copies come from `src` to `dst`.
#[must_use]
pub fn arrival(frame: &[u8], src: IpAddr, dst: IpAddr) -> Arrival<'_> {
    let outer = ethernet(frame, &mut Errors::default());
    let carrier = match outer.class {
        EthClass::Ipv4 => ipv4(outer.payload),
        EthClass::Ipv6 => ipv6(outer.payload),
        _ => None,
    };
    match carrier {
        Some(carrier) if (carrier.src, carrier.dst) == (src, dst) => {
            carrier.gre.and_then(copy).unwrap_or(Arrival::Unreadable)
        }
        _ => Arrival::Foreign,
    }
}

/// The packet that carries a copy.
struct Carrier<'frame> {
    src: IpAddr,
    dst: IpAddr,
    /// `None`: a fragment, or not all there.
    gre: Option<&'frame [u8]>,
}

fn ipv4(packet: &[u8]) -> Option<Carrier<'_>> {
    let [version_length, _, total @ ..] = packet.first_chunk::<20>()?;
    let [hi, lo, _, _, fragment_hi, fragment_lo, _, protocol, _, _, addresses @ ..] = total;
    let (version, header) = (version_length >> 4, usize::from(version_length & 0x0f) * 4);
    if version != 4 || header < 20 || *protocol != GRE {
        return None;
    }
    // "More fragments" and the offset.
    let is_fragment = u16::from_be_bytes([*fragment_hi, *fragment_lo]) & 0x3fff != 0;
    let total = usize::from(u16::from_be_bytes([*hi, *lo]));
    let whole = packet.get(header..total).filter(|_| !is_fragment);
    let [s1, s2, s3, s4, d1, d2, d3, d4] = *addresses;
    let (src, dst) = (Ipv4Addr::new(s1, s2, s3, s4), Ipv4Addr::new(d1, d2, d3, d4));
    Some(Carrier { src: src.into(), dst: dst.into(), gre: whole })
}

fn ipv6(packet: &[u8]) -> Option<Carrier<'_>> {
    const LONGEST_OPTIONS: usize = 64;
    let (fixed, rest) = packet.split_first_chunk::<40>()?;
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let (mut next, mut start) = (fixed[6], 0);
    if next == DESTINATION_OPTIONS {
        next = *rest.first()?;
        start = (usize::from(*rest.get(1)?) + 1) * 8;
    }
    if fixed[0] >> 4 != 6 || !matches!(next, GRE | FRAGMENT) || start > LONGEST_OPTIONS {
        return None;
    }
    let (src, dst) = (Ipv6Addr::from(*fixed[8..].first_chunk()?), Ipv6Addr::from(*fixed[24..].first_chunk()?));
    Some(Carrier { src: src.into(), dst: dst.into(), gre: rest.get(start..length).filter(|_| next == GRE) })
}

/// `None`: it cannot be read.
fn copy(gre: &[u8]) -> Option<Arrival<'_>> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    let mut rest = Reader(gre);
    let flags = rest.u16()?;
    let protocol = rest.u16()?;
    if flags & (ROUTING | VERSION) != 0 {
        return None;
    }
    for field in [CHECKSUM, KEY] {
        if flags & field != 0 {
            rest.u32()?;
        }
    }
    let sequence = if flags & SEQUENCE == 0 { None } else { Some(rest.u32()?) };
    let header = match protocol {
        0x88be if sequence.is_some() && is_erspan_2(rest.0) => 8,
        0x88be | 0x6558 => 0,
        0x22eb => erspan_3(rest.0)?,
        0x8949 => 22,
        _ => return None,
    };
    rest.take(header)?;
    Some(Arrival::Copy { frame: rest.0, sequence }).filter(|_| !rest.0.is_empty())
}

fn is_erspan_2(header: &[u8]) -> bool {
    matches!(header, [0x10..=0x1f, _, _, _, 0, 0..=0x0f, _, _, ..])
}

/// The length of a type III header with an Ethernet frame behind it.
fn erspan_3(header: &[u8]) -> Option<usize> {
    const FRAME_TYPE: u8 = 0x7c;
    const OPTION: u8 = 1;
    let header: &[u8; 12] = header.first_chunk()?;
    (header[0] >> 4 == 2 && header[10] & FRAME_TYPE == 0).then_some(if header[11] & OPTION == 0 { 12 } else { 20 })
}
