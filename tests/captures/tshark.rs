//! tshark as a witness: one run per capture, and the rules that say which class each of its frames is in.
//!
//! The class is by the *name* of the dissector that tshark gave the bytes to: its tables of EtherTypes and protocols are not ours. Where
//! it gave them to nobody (a fragment, a cut header: `data`, or nothing), it is by the number that tshark read. The other rules:
//! - Bytes are `frame.cap_len`: what the file has of a frame is what is sent.
//! - What `send` skips is skipped by the same limits (`frames::Skip`).
//! - Tags are 802.1Q and 802.1ad right behind the addresses. Without an EtherType it is a length, and the frame `llc`. tshark takes 0, and
//!   anything behind a service tag, for an EtherType; IEEE 802.3, 3.2.6, has everything up to 1500 as a length.
//! - IP without a destination address is `truncated`: tshark shows none where the fixed header is cut or contradicts itself.
//! - The protocol of IPv6 is behind hop-by-hop, routing, fragment and destination options headers. Where those, as long as tshark says
//!   they are, do not fit the packet, it is `truncated`, and its flow has the last number before. That tshark gives up on an option
//!   inside of one does not make it so: the next number is known.
//! - A flow has the ports of the protocol in its class, never those of a packet inside.
//!
//! Nothing is reassembled, and a length of 0 is not taken for segmentation offload: these are frames on a wire.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use telegen_sonic::model::sample::FlowKey;
use telegen_sonic::model::schema::{EthClass, IpClass};
use tempfile::TempDir;

use crate::view::View;

const PREFERENCES: [&str; 3] = ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "ip.tso_support:FALSE"];

const FIELDS: [&str; 32] = [
    "frame.cap_len",
    "frame.protocols",
    "eth.type",
    "eth.len",
    "eth.invalid_lentype",
    "vlan.id",
    "vlan.etype",
    "vlan.len",
    "ieee8021ad.id",
    "ieee8021ah.etype",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.plen",
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "ipv6.hopopts.len_oct",
    "ipv6.routing.nxt",
    "ipv6.routing.len_oct",
    "ipv6.fraghdr.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.dstopts.len_oct",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "dccp.srcport",
    "dccp.dstport",
];

/// Bytes of addresses and EtherType.
const HEADER: usize = 14;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// What tshark says of a capture.
pub struct Dissected {
    pub view: View,
    /// The file ends in the middle of a frame.
    pub is_cut: bool,
}

/// A tshark at work.
pub struct Reading {
    tshark: Child,
    /// Empty, so that nobody's own settings count.
    _settings: TempDir,
}

impl Reading {
    pub fn start(capture: &Path) -> Result<Reading, String> {
        let settings = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut tshark = Command::new("tshark");
        tshark.env("WIRESHARK_CONFIG_DIR", settings.path()).args(["-n", "-T", "fields", "-r"]).arg(capture);
        tshark.args(PREFERENCES.iter().flat_map(|preference| ["-o", preference]));
        tshark.args(["-E", "occurrence=a", "-E", "aggregator=,", "-E", "separator=/t"]);
        tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        tshark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let tshark = tshark.spawn().map_err(|error| format!("starting tshark: {error}"))?;
        Ok(Reading { tshark, _settings: settings })
    }

    pub fn end(self) -> Result<Dissected, String> {
        let output = self.tshark.wait_with_output().map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_cut = errors.contains("appears to have been cut short in the middle of a packet");
        if !output.status.success() && !is_cut {
            return Err(format!("tshark: {errors}"));
        }
        let mut view = View::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let frame = Frame::of(line);
            frame.add_to(&mut view).map_err(|error| format!("{error} in tshark's {frame:?}"))?;
        }
        Ok(Dissected { view, is_cut })
    }
}

/// One frame as tshark prints it.
#[derive(Debug)]
struct Frame<'line>(HashMap<&'static str, &'line str>);

impl<'line> Frame<'line> {
    fn of(line: &'line str) -> Frame<'line> {
        Frame(FIELDS.into_iter().zip(line.split('\t')).filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a field in the header that is the `nth` to have it.
    fn nth(&self, field: &str, nth: usize) -> Option<&'line str> {
        self.0.get(field)?.split(',').nth(nth)
    }

    fn number(&self, field: &str, nth: usize) -> Result<Option<u16>, String> {
        let Some(text) = self.nth(field, nth) else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Some).map_err(|error| format!("{field} {text}: {error}"))
    }

    fn protocol(&self, field: &str, nth: usize) -> Result<Option<u8>, String> {
        let number = self.number(field, nth)?;
        number.map(|number| u8::try_from(number).map_err(|error| format!("{field} {number}: {error}"))).transpose()
    }

    fn address(&self, field: &str) -> Result<Option<IpAddr>, String> {
        self.nth(field, 0).map(|text| text.parse().map_err(|error| format!("{field} {text}: {error}"))).transpose()
    }

    /// Counts the frame, if it is one that is sent.
    fn add_to(&self, view: &mut View) -> Result<(), String> {
        let bytes: usize = self.nth("frame.cap_len", 0).and_then(|text| text.parse().ok()).ok_or("no frame.cap_len")?;
        if self.is_skipped(bytes)? {
            return Ok(());
        }
        let Ethernet { class, vlan, length, layers } = self.ethernet()?;
        let (ip_class, flow) = match (class, layers.as_slice()) {
            (EthClass::Ipv4, ["ip", layers @ ..]) => self.ipv4(vlan, layers)?,
            (EthClass::Ipv6, ["ipv6", layers @ ..]) => self.ipv6(vlan, bytes.saturating_sub(length), layers)?,
            // The version contradicts the EtherType, so tshark does not begin.
            (EthClass::Ipv4 | EthClass::Ipv6, _) => (Some(IpClass::Truncated), None),
            _ => (None, None),
        };
        let classes = [Some(format!("eth_{class}")), ip_class.map(|class| format!("ip_{class}"))];
        view.add(bytes as u64, classes.into_iter().flatten(), flow);
        Ok(())
    }

    fn is_skipped(&self, bytes: usize) -> Result<bool, String> {
        const LONGEST: usize = 9300 + HEADER;
        Ok(match self.number("eth.type", 0)? {
            Some(0x8100) => !(HEADER + TAG + 2..=LONGEST + TAG).contains(&bytes),
            Some(0x88a8) => !(HEADER + TAG + 2..=LONGEST).contains(&bytes),
            _ => !(HEADER..=LONGEST).contains(&bytes),
        })
    }

    fn ethernet(&self) -> Result<Ethernet<'line>, String> {
        let all: Vec<&str> = self.0.get("frame.protocols").ok_or("no frame.protocols")?.split(':').collect();
        let mut layers = &all[1..];
        let (mut ethertype, mut vlan) = (self.number("eth.type", 0)?, None);
        let (mut customer_tags, mut service_tags) = (0, 0);
        while let ["ethertype", tag @ ("vlan" | "ieee8021ad"), rest @ ..] = layers {
            let (fields, nth) = match *tag {
                "vlan" => (["vlan.id", "vlan.etype"], &mut customer_tags),
                _ => (["ieee8021ad.id", "ieee8021ah.etype"], &mut service_tags),
            };
            vlan = vlan.or(self.number(fields[0], *nth)?);
            ethertype = self.number(fields[1], *nth)?;
            *nth += 1;
            layers = rest;
        }
        let is_length = ["eth.len", "vlan.len"].iter().any(|field| self.0.contains_key(field));
        let class = match (layers, ethertype) {
            _ if self.0.contains_key("eth.invalid_lentype") => EthClass::Other,
            (["ethertype", name, ..], Some(ethertype)) => ethernet_by_name(name, ethertype),
            (["ethertype"] | [], Some(ethertype)) => ethernet_by_number(ethertype),
            ([], None) if !is_length => EthClass::Truncated,
            _ => EthClass::Llc,
        };
        let length = HEADER + TAG * (customer_tags + service_tags);
        Ok(Ethernet { class, vlan: vlan.unwrap_or(0), length, layers: layers.get(1..).unwrap_or_default().to_vec() })
    }

    fn ipv4(&self, vlan: u16, layers: &[&str]) -> Result<Ip, String> {
        let (Some(src), Some(dst)) = (self.address("ip.src")?, self.address("ip.dst")?) else {
            return Ok((Some(IpClass::Truncated), None));
        };
        let ip_proto = self.protocol("ip.proto", 0)?.ok_or("no ip.proto")?;
        self.transport(layers, FlowKey { src, dst, ip_proto, sport: 0, dport: 0, vlan })
    }

    /// `room`: bytes that the frame has for the packet.
    fn ipv6(&self, vlan: u16, room: usize, mut layers: &[&str]) -> Result<Ip, String> {
        const FIXED: usize = 40;
        let (Some(src), Some(dst)) = (self.address("ipv6.src")?, self.address("ipv6.dst")?) else {
            return Ok((Some(IpClass::Truncated), None));
        };
        let ip_proto = self.protocol("ipv6.nxt", 0)?.ok_or("no ipv6.nxt")?;
        let mut flow = FlowKey { src, dst, ip_proto, sport: 0, dport: 0, vlan };
        let stated = usize::from(self.number("ipv6.plen", 0)?.ok_or("no ipv6.plen")?);
        let room = room.checked_sub(FIXED).ok_or("addresses, but no room for them")?;
        // A jumbogram (RFC 2675) has its length in the hop-by-hop header.
        let mut room = if stated == 0 && ip_proto == 0 { room } else { room.min(stated) };
        let mut met: HashMap<&str, usize> = HashMap::new();
        while let Some((&name @ ("ipv6.hopopts" | "ipv6.routing" | "ipv6.fraghdr" | "ipv6.dstopts"), rest)) =
            layers.split_first()
        {
            let nth = met.entry(name).or_default();
            let length = match name {
                "ipv6.fraghdr" => Some(8),
                _ => self.number(&format!("{name}.len_oct"), *nth)?.map(usize::from),
            };
            let left = length.and_then(|length| room.checked_sub(length));
            let (Some(left), Some(next)) = (left, self.protocol(&format!("{name}.nxt"), *nth)?) else {
                return Ok((Some(IpClass::Truncated), Some(flow)));
            };
            (room, flow.ip_proto, layers) = (left, next, rest);
            *nth += 1;
        }
        match flow.ip_proto {
            // Announced, and nothing of it is there.
            0 | 43 | 44 | 60 if layers.is_empty() => Ok((Some(IpClass::Truncated), Some(flow))),
            _ => self.transport(layers, flow),
        }
    }

    fn transport(&self, layers: &[&str], mut flow: FlowKey) -> Result<Ip, String> {
        let name = layers.first().copied().unwrap_or_default();
        if let "tcp" | "udp" | "sctp" | "dccp" = name {
            let port = |side: &str| self.number(&format!("{name}.{side}port"), 0);
            // Both, or none: a header that is cut between them has no ports.
            if let (Some(source), Some(destination)) = (port("src")?, port("dst")?) {
                (flow.sport, flow.dport) = (source, destination);
            }
        }
        let class = ip_by_name(name).unwrap_or_else(|| ip_by_number(flow.ip_proto));
        Ok((Some(class), Some(flow)))
    }
}

/// An Ethernet header.
struct Ethernet<'line> {
    class: EthClass,
    vlan: u16,
    /// Its bytes, tags included.
    length: usize,
    /// Dissectors from IP on.
    layers: Vec<&'line str>,
}

type Ip = (Option<IpClass>, Option<FlowKey>);

fn ethernet_by_name(name: &str, ethertype: u16) -> EthClass {
    match name {
        "ip" => EthClass::Ipv4,
        "ipv6" => EthClass::Ipv6,
        "arp" => EthClass::Arp,
        "mpls" => EthClass::Mpls,
        "lldp" => EthClass::Lldp,
        "slow" => EthClass::Slow,
        "ptp" => EthClass::Ptp,
        "macsec" => EthClass::Macsec,
        "eapol" => EthClass::Eapol,
        "pppoed" | "pppoes" => EthClass::Pppoe,
        "cfm" => EthClass::Cfm,
        "data" => ethernet_by_number(ethertype),
        _ => EthClass::Other,
    }
}

/// IANA ieee-802-numbers, for frames that no dissector took.
fn ethernet_by_number(ethertype: u16) -> EthClass {
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

/// `None`: no dissector took it, or one of a protocol without a class.
fn ip_by_name(name: &str) -> Option<IpClass> {
    Some(match name {
        "tcp" => IpClass::Tcp,
        "udp" => IpClass::Udp,
        "icmp" => IpClass::Icmp,
        "icmpv6" => IpClass::Icmpv6,
        "igmp" => IpClass::Igmp,
        "sctp" => IpClass::Sctp,
        "gre" => IpClass::Gre,
        "esp" => IpClass::Esp,
        "ah" => IpClass::Ah,
        "ospf" => IpClass::Ospf,
        "pim" => IpClass::Pim,
        "vrrp" => IpClass::Vrrp,
        "ip" => IpClass::Ipip,
        "ipv6" => IpClass::Ipv6,
        "eigrp" => IpClass::Eigrp,
        "rsvp" => IpClass::Rsvp,
        "dccp" => IpClass::Dccp,
        "l2tp" => IpClass::L2tp,
        _ => return None,
    })
}

/// IANA protocol-numbers, for packets that no dissector took.
fn ip_by_number(number: u8) -> IpClass {
    match number {
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
