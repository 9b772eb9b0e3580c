//! Takes mirror copies out of their encapsulation.
//!
//! A copy is a GRE packet (RFC 2784 and 2890: version 0, no routing; checksum, key and sequence number may be there) between
//! two addresses, over IPv4 with or without options, or over IPv6 with or without extension headers, in a frame with or without tags:
//! - 0x88be without a sequence number: the frame follows (ERSPAN type I, and what SONiC programs);
//! - 0x88be with one: an ERSPAN type II header of 8 bytes precedes it;
//! - 0x22eb: an ERSPAN type III header of 12 bytes, and 8 more if its last bit (O) is set (draft-foschini-erspan-03 §4);
//! - 0x8949: a header of 22 bytes;
//! - 0x6558: the frame follows (Transparent Ethernet Bridging).
//!
//! What else is GRE between the addresses, or a fragment, or cut before the copied frame begins, is a copy that cannot be read.

use std::net::IpAddr;

use super::ethernet::ethernet;
use super::ip::{ipv4, ipv6};
use super::packet::Errors;
use super::reader::Reader;
use crate::model::schema::EthClass;

/// What a frame on the collecting netdev is to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<'frame> {
    /// Not between the job's addresses.
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
    let mut unreported = Errors::default();
    let outer = ethernet(frame, &mut unreported);
    let header = match outer.class {
        EthClass::Ipv4 => ipv4(outer.payload, &mut unreported),
        EthClass::Ipv6 => ipv6(outer.payload, &mut unreported),
        _ => None,
    };
    match header {
        Some(header) if (header.src, header.dst) == (src, dst) => {
            let gre = header.segment.filter(|_| header.protocol == 47 && header.fragment.is_none());
            gre.and_then(|segment| copy(segment.bytes)).unwrap_or(Arrival::Unreadable)
        }
        _ => Arrival::Foreign,
    }
}

fn copy(gre: &[u8]) -> Option<Arrival<'_>> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    const ERSPAN_3_OPTION: u8 = 1;
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
    match protocol {
        0x88be if sequence.is_some() => rest.take(8).map(drop)?,
        0x88be | 0x6558 => {}
        0x22eb => {
            let header = rest.array::<12>()?;
            if header[11] & ERSPAN_3_OPTION != 0 {
                rest.take(8)?;
            }
        }
        0x8949 => rest.take(22).map(drop)?,
        _ => return None,
    }
    Some(Arrival::Copy { frame: rest.0, sequence })
}
