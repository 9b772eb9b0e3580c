//! Mirror copies in every encapsulation that `lab::truth::mirror` names.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use telegen_sonic::io::tap::Encapsulation;

use super::packets::{DESTINATION, IPV4, IPV6, Ipv4, Ipv6, VLAN, ethernet, extension};

const GRE: u8 = 47;

/// What the copies travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    V4,
    /// With 40 bytes of options, and in a VLAN.
    V4Options,
    V6,
    /// With a destination options header, as Linux puts one in front of GRE (RFC 2473, the tunnel encapsulation limit).
    V6Options,
}

/// Which of GRE's optional fields are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub checksum: bool,
    pub key: bool,
    pub sequence: bool,
}

/// What precedes the copied frame in GRE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// 0x88be: nothing, or, with a sequence number, ERSPAN II.
    Erspan,
    /// 0x22eb.
    Erspan3,
    /// 0x22eb with the optional subheader.
    Erspan3Long,
    /// 0x8949.
    Long,
    /// 0x6558.
    Bridged,
}

/// One way to wrap copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping {
    pub carrier: Carrier,
    pub fields: Fields,
    pub header: Header,
}

impl Wrapping {
    /// All of them.
    pub fn all() -> Vec<Wrapping> {
        let mut all = Vec::new();
        for carrier in [Carrier::V4, Carrier::V4Options, Carrier::V6, Carrier::V6Options] {
            for header in [Header::Erspan, Header::Erspan3, Header::Erspan3Long, Header::Long, Header::Bridged] {
                for bits in 0..8 {
                    let fields = Fields { checksum: bits & 1 != 0, key: bits & 2 != 0, sequence: bits & 4 != 0 };
                    all.push(Wrapping { carrier, fields, header });
                }
            }
        }
        all
    }

    /// The addresses between which the copies travel.
    pub fn addresses(self) -> Encapsulation {
        let v4 = |last| IpAddr::V4(Ipv4Addr::new(10, 99, 0, last));
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
        match self.carrier {
            Carrier::V4 | Carrier::V4Options => Encapsulation { src: v4(1), dst: v4(2) },
            Carrier::V6 | Carrier::V6Options => Encapsulation { src: v6(1), dst: v6(2) },
        }
    }

    /// The copy of a frame.
    pub fn wrap(self, frame: &[u8], sequence: u32) -> Vec<u8> {
        let gre = [self.gre(sequence), self.header(), frame.to_vec()].concat();
        match (self.carrier, self.addresses()) {
            (Carrier::V4, Encapsulation { src: IpAddr::V4(src), dst: IpAddr::V4(dst) }) => {
                ethernet(&[], IPV4, &Ipv4 { src, dst, ..Ipv4::new(GRE) }.around(&gre))
            }
            (Carrier::V4Options, Encapsulation { src: IpAddr::V4(src), dst: IpAddr::V4(dst) }) => {
                ethernet(&[(VLAN, 77)], IPV4, &Ipv4 { src, dst, options: 10, ..Ipv4::new(GRE) }.around(&gre))
            }
            (Carrier::V6, Encapsulation { src: IpAddr::V6(src), dst: IpAddr::V6(dst) }) => {
                ethernet(&[], IPV6, &Ipv6 { src, dst, ..Ipv6::new(GRE) }.around(&gre))
            }
            (Carrier::V6Options, Encapsulation { src: IpAddr::V6(src), dst: IpAddr::V6(dst) }) => {
                let header = Ipv6 { src, dst, ..Ipv6::new(DESTINATION) };
                ethernet(&[], IPV6, &header.around(&extension(GRE, 0, &gre)))
            }
            (_, addresses) => unreachable!("{addresses:?}"),
        }
    }

    /// RFC 2890. Nothing checks the checksum.
    fn gre(self, sequence: u32) -> Vec<u8> {
        let Fields { checksum, key, sequence: is_numbered } = self.fields;
        let flags = u16::from(checksum) << 15 | u16::from(key) << 13 | u16::from(is_numbered) << 12;
        let protocol: u16 = match self.header {
            Header::Erspan => 0x88be,
            Header::Erspan3 | Header::Erspan3Long => 0x22eb,
            Header::Long => 0x8949,
            Header::Bridged => 0x6558,
        };
        let mut header = [flags.to_be_bytes(), protocol.to_be_bytes()].concat();
        for (is_there, field) in [(checksum, 0xfeed_0000_u32), (key, 0x0800_4500), (is_numbered, sequence)] {
            if is_there {
                header.extend(field.to_be_bytes());
            }
        }
        header
    }

    /// The bytes mean nothing to the tap but for version and O bit; none of them is 0, which could be taken for something else.
    fn header(self) -> Vec<u8> {
        match self.header {
            Header::Erspan if self.fields.sequence => [0x1f, 0xff, 0x86, 0x86, 0, 0x0f, 0x86, 0x86].to_vec(),
            Header::Erspan | Header::Bridged => Vec::new(),
            // Of the last two bytes: the P bit, frame type 0 (Ethernet), hardware id, direction, granularity, O.
            Header::Erspan3 => [&[0x20], [0x86; 9].as_slice(), &[0x00, 0x1e]].concat(),
            Header::Erspan3Long => [&[0x20], [0x86; 9].as_slice(), &[0x00, 0x1f], &[0x81; 8]].concat(),
            Header::Long => vec![0x81; 22],
        }
    }
}
