//! What the virtual ASIC puts in front of a copy: Ethernet, IPv4 or IPv6, GRE, and what may stand behind that. Pure; what
//! differs from copy to copy is filled in by `bpf/lab_tunnel.h`, at the places that a [`Head`] names.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::orchagent::hardware::Tunnel;
use super::packet::ethertype;
use crate::model::schema::words;

words! {
    /// What stands between the GRE header and the copied frame.
    Header {
        /// Nothing: what SONiC's SAI is asked for, and what `0x88be` without a sequence number means (type I).
        Plain = "plain",
        /// ERSPAN type II: GRE `0x88be` with a sequence number, and 8 bytes (draft-foschiano-erspan-03 §4.2).
        TypeIi = "type2",
        /// ERSPAN type III: GRE `0x22eb` with a sequence number, and 12 bytes (§4.3).
        TypeIii = "type3",
        /// Type III with its optional 8 bytes.
        TypeIiiLong = "type3-long",
        /// Nothing, in GRE `0x6558`: transparent Ethernet bridging.
        Bridging = "teb",
        /// 22 bytes of a vendor, in GRE `0x8949`, as on Mellanox ASICs (sonic-mgmt tests/everflow).
        Vendor = "8949",
    }
}

/// How the ASIC wraps copies, where it is not as a session's `gre_type` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GreOptions {
    /// This header, instead of the one that goes with `gre_type`.
    pub header: Option<Header>,
    /// A key in the GRE header (RFC 2890).
    pub key: Option<u32>,
    /// A sequence number in the GRE header (RFC 2890), also where the header does not need one.
    pub sequence: bool,
    /// A checksum in the GRE header (RFC 2784).
    pub checksum: bool,
    /// Every so-manieth copy is lost after it has got its number.
    pub drop_every: Option<NonZeroU32>,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(word: &str) -> Result<Header, String> {
        Header::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = Header::ALL.iter().map(|header| header.as_str()).collect();
            format!("there is no header '{word}'; there are {}", known.join(", "))
        })
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The bytes in front of a copy, and where to fill in. Places are 0 where there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the IP header is IPv6's.
    pub is_ipv6: bool,
    /// One's complement sum of the IPv4 header, its length and checksum being 0.
    pub ip_sum: u32,
    /// Where the GRE header begins.
    pub gre_at: usize,
    /// Where its checksum is.
    pub checksum_at: usize,
    /// Where its sequence number is.
    pub sequence_at: usize,
    /// Where the ERSPAN header is.
    pub erspan_at: usize,
    /// The version in the ERSPAN header: 1 is type II, 2 type III.
    pub erspan_version: u8,
}

/// GRE flags (RFC 2784, RFC 2890).
mod flag {
    pub const CHECKSUM: u16 = 0x8000;
    pub const KEY: u16 = 0x2000;
    pub const SEQUENCE: u16 = 0x1000;
}

const IP_PROTOCOL_GRE: u8 = 47;
/// GRE types that say which header follows.
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const BRIDGING: u16 = 0x6558;
const VENDOR: u16 = 0x8949;
/// The vendor's header: nobody says what is in it, so nothing may depend on it.
const VENDOR_HEADER: [u8; 22] = *b"\x01telegen-lab vendor...";
/// Type III, last two bytes: no frame type, hardware or direction, a granularity of 100 µs, and whether 8 bytes follow.
const ERSPAN_III_SUBHEADER: u16 = 1;

impl Head {
    /// What a session's copies begin with, if they are sent from the switch with this MAC address.
    ///
    /// # Errors
    /// A sentence, if the options contradict each other or the MAC address of the neighbour is none.
    pub fn new(tunnel: &Tunnel, switch_mac: [u8; 6]) -> Result<Head, String> {
        let options = &tunnel.options;
        let (gre_type, header) = match (options.header, tunnel.gre_type) {
            (None, BRIDGING) | (Some(Header::Bridging), _) => (BRIDGING, Header::Plain),
            (None, VENDOR) | (Some(Header::Vendor), _) => (VENDOR, Header::Vendor),
            (None, ERSPAN_III) | (Some(Header::TypeIii), _) => (ERSPAN_III, Header::TypeIii),
            (Some(Header::TypeIiiLong), _) => (ERSPAN_III, Header::TypeIiiLong),
            (Some(Header::TypeIi), _) => (ERSPAN, Header::TypeIi),
            (None | Some(Header::Plain), gre_type) => (gre_type, Header::Plain),
        };
        let is_erspan = matches!(header, Header::TypeIi | Header::TypeIii | Header::TypeIiiLong);
        if gre_type == ERSPAN && options.sequence && !is_erspan {
            return Err("a sequence number says that a header of type II follows 0x88be: choose type2".to_owned());
        }
        let mut head = Head::default();
        head.add_ethernet_and_ip(tunnel, switch_mac)?;
        head.add_gre(gre_type, options, options.sequence || is_erspan);
        match header {
            Header::Plain | Header::Bridging => {}
            Header::Vendor => head.bytes.extend(VENDOR_HEADER),
            Header::TypeIi => head.add_erspan(1, &[0; 4]),
            Header::TypeIii => head.add_erspan(2, &[0; 8]),
            Header::TypeIiiLong => {
                let subheader = ERSPAN_III_SUBHEADER.to_be_bytes();
                head.add_erspan(2, &[[0; 6].as_slice(), &subheader, &[0; 8]].concat());
            }
        }
        Ok(head)
    }

    fn add_ethernet_and_ip(&mut self, tunnel: &Tunnel, switch_mac: [u8; 6]) -> Result<(), String> {
        let destination = mac(&tunnel.neighbour_mac)
            .ok_or_else(|| format!("the neighbour's MAC address is {:?}", tunnel.neighbour_mac))?;
        self.bytes.extend(destination);
        self.bytes.extend(switch_mac);
        let traffic_class = tunnel.dscp << 2;
        match (tunnel.src, tunnel.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.bytes.extend(ethertype::IPV4.to_be_bytes());
                // Don't fragment, no identification (RFC 6864 §4).
                let mut ip = vec![0x45, traffic_class, 0, 0, 0, 0, 0x40, 0, tunnel.ttl, IP_PROTOCOL_GRE, 0, 0];
                ip.extend(src.octets());
                ip.extend(dst.octets());
                self.ip_sum = ones_complement_sum(&ip);
                self.bytes.extend(ip);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.is_ipv6 = true;
                self.bytes.extend(ethertype::IPV6.to_be_bytes());
                let [high, low] = [0x60 | traffic_class >> 4, traffic_class << 4];
                self.bytes.extend([high, low, 0, 0, 0, 0, IP_PROTOCOL_GRE, tunnel.ttl]);
                self.bytes.extend(src.octets());
                self.bytes.extend(dst.octets());
            }
            (src, dst) => return Err(format!("{src} and {dst} are of two IP versions")),
        }
        self.gre_at = self.bytes.len();
        Ok(())
    }

    fn add_gre(&mut self, gre_type: u16, options: &GreOptions, sequence: bool) {
        let bit = |set: bool, flag: u16| if set { flag } else { 0 };
        let flags = bit(options.checksum, flag::CHECKSUM)
            | bit(options.key.is_some(), flag::KEY)
            | bit(sequence, flag::SEQUENCE);
        self.bytes.extend(flags.to_be_bytes());
        self.bytes.extend(gre_type.to_be_bytes());
        if options.checksum {
            self.checksum_at = self.bytes.len();
            self.bytes.extend([0; 4]);
        }
        if let Some(key) = options.key {
            self.bytes.extend(key.to_be_bytes());
        }
        if sequence {
            self.sequence_at = self.bytes.len();
            self.bytes.extend([0; 4]);
        }
    }

    fn add_erspan(&mut self, version: u8, behind_the_first_word: &[u8]) {
        self.erspan_at = self.bytes.len();
        self.erspan_version = version;
        self.bytes.extend([0; 4]);
        self.bytes.extend(behind_the_first_word);
    }
}

/// `02:00:00:00:00:05`
fn mac(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect::<Option<_>>()?;
    octets.try_into().ok()
}

/// The sum of the 16-bit words, not folded (RFC 1071).
fn ones_complement_sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(addresses: [&str; 2], gre_type: u16, options: GreOptions) -> Tunnel {
        let [src, dst] = addresses.map(|address| address.parse().unwrap());
        let (interface, neighbour_mac) = ("collector0".to_owned(), "02:00:00:00:00:05".to_owned());
        let monitor_port = interface.clone();
        Tunnel { src, dst, gre_type, dscp: 8, ttl: 255, interface, monitor_port, neighbour_mac, options }
    }

    fn head(gre_type: u16, options: GreOptions) -> Result<Head, String> {
        Head::new(&tunnel(["10.0.0.1", "10.0.0.5"], gre_type, options), [2, 0, 0, 0, 0, 1])
    }

    #[test]
    fn a_plain_head_is_what_rfc_2784_says_and_no_more() {
        let head = head(ERSPAN, GreOptions::default()).unwrap();
        let ethernet: &[u8] = &[2, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
        let ip: &[u8] = &[0x45, 0x20, 0, 0, 0, 0, 0x40, 0, 255, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 5];
        let gre: &[u8] = &[0, 0, 0x88, 0xbe];
        assert_eq!(head.bytes, [ethernet, ip, gre].concat());
        assert_eq!((head.gre_at, head.checksum_at, head.sequence_at, head.erspan_at), (34, 0, 0, 0));
        assert_eq!(head.ip_sum, 0x4520 + 0x4000 + 0xff2f + 0x0a00 + 0x0001 + 0x0a00 + 0x0005);
    }

    #[test]
    fn an_ipv6_head_has_its_traffic_class_across_two_bytes() {
        let v6 = tunnel(["2001:db8::1", "2001:db8::5"], ERSPAN, GreOptions::default());
        let head = Head::new(&v6, [0; 6]).unwrap();
        assert_eq!(head.bytes[12..22], [0x86, 0xdd, 0x62, 0x00, 0, 0, 0, 0, 47, 255]);
        assert_eq!((head.is_ipv6, head.gre_at, head.bytes.len()), (true, 54, 58));
    }

    #[test]
    fn options_stand_in_the_order_of_rfc_2890() {
        let options = GreOptions { key: Some(7), sequence: true, checksum: true, ..GreOptions::default() };
        let head = head(BRIDGING, options).unwrap();
        assert_eq!(head.bytes[34..], [0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
        assert_eq!((head.checksum_at, head.sequence_at), (38, 46));
    }

    #[test]
    fn the_header_behind_gre_goes_with_the_type_unless_another_is_asked_for() {
        let shape = |gre_type, header: Option<Header>| {
            let head = head(gre_type, GreOptions { header, ..GreOptions::default() }).unwrap();
            let gre = head.gre_at;
            let number = u16::from_be_bytes([head.bytes[gre + 2], head.bytes[gre + 3]]);
            let behind_gre = head.bytes.len() - gre - if head.sequence_at > 0 { 8 } else { 4 };
            (number, behind_gre, head.erspan_version)
        };
        assert_eq!(shape(ERSPAN, None), (0x88be, 0, 0));
        assert_eq!(shape(ERSPAN_III, None), (0x22eb, 12, 2));
        assert_eq!(shape(BRIDGING, None), (0x6558, 0, 0));
        assert_eq!(shape(VENDOR, None), (0x8949, 22, 0));
        assert_eq!(shape(ERSPAN, Some(Header::TypeIi)), (0x88be, 8, 1));
        assert_eq!(shape(ERSPAN, Some(Header::TypeIii)), (0x22eb, 12, 2));
        assert_eq!(shape(ERSPAN, Some(Header::TypeIiiLong)), (0x22eb, 20, 2));
        assert_eq!(shape(ERSPAN, Some(Header::Bridging)), (0x6558, 0, 0));
        assert_eq!(shape(ERSPAN, Some(Header::Vendor)), (0x8949, 22, 0));
        assert_eq!(shape(VENDOR, Some(Header::Plain)), (0x8949, 0, 0));
        // Type III with 8 bytes more says so in its last bit.
        let long = head(ERSPAN, GreOptions { header: Some(Header::TypeIiiLong), ..GreOptions::default() }).unwrap();
        assert_eq!(long.bytes[long.erspan_at + 11] & 1, 1);
    }

    #[test]
    fn the_longest_head_fits_the_asic() {
        let options = GreOptions { key: Some(1), sequence: true, checksum: true, ..GreOptions::default() };
        for &header in Header::ALL.iter().filter(|header| **header != Header::Plain) {
            let v6 = tunnel(["::1", "::2"], ERSPAN, GreOptions { header: Some(header), ..options });
            assert!(Head::new(&v6, [0; 6]).unwrap().bytes.len() <= 96, "{header}");
        }
    }

    #[test]
    fn a_plain_0x88be_with_a_sequence_number_is_refused_because_it_would_mean_type_ii() {
        let refused = head(ERSPAN, GreOptions { sequence: true, ..GreOptions::default() }).unwrap_err();
        assert_eq!(refused, "a sequence number says that a header of type II follows 0x88be: choose type2");
    }

    #[test]
    fn options_are_json_with_words() {
        let options =
            GreOptions { header: Some(Header::TypeIii), drop_every: NonZeroU32::new(10), ..GreOptions::default() };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(text, r#"{"header":"type3","key":null,"sequence":false,"checksum":false,"drop_every":10}"#);
        assert_eq!(serde_json::from_str::<GreOptions>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<GreOptions>(r#"{"key":7}"#).unwrap().key, Some(7));
        assert!("type4".parse::<Header>().unwrap_err().contains("type2, type3"));
    }
}
