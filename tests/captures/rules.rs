//! From tshark's dissection of a frame to what `lab::truth` would say of it.
//!
//! A class is by the *name* of the dissector that tshark gave the bytes to: its tables of EtherTypes and protocols are not ours. Where
//! it gave them to nobody (a fragment, a cut header: `data`, or nothing), it is by the number that tshark read (`numbers`). The other rules:
//! - Bytes are `frame.cap_len`: what the file has of a frame is what is sent.
//! - What `send` skips is skipped by the same limits (`frames::Skip`).
//! - Tags are 802.1Q and 802.1ad right behind the addresses. Without an EtherType it is a length, and the frame `llc`. tshark takes 0, and
//!   anything behind a service tag, for an EtherType; IEEE 802.3, 3.2.6, has everything up to 1500 as a length.
//! - IP without a destination address is broken: tshark shows none where the fixed header is cut or contradicts itself.
//! - The protocol of IPv6 is behind hop-by-hop, routing, fragment and destination options headers. Where those, as long as tshark says
//!   they are, do not fit the packet, it is `truncated`, and its flow has the last number before. That tshark gives up on an option
//!   inside of one does not make it so: the next number is known.
//! - A TCP segment is as long as IP says, even beyond the frame: what a mirror cut off was sent. tshark's own `tcp.len` ends with the frame.
//! - A flow has the ports of the protocol in its class, never those of a packet inside.

use telegen_sonic::lab::truth::{BrokenIp, Content, Fragment, Inside, Ip, Packet, Tcp, Transport};
use telegen_sonic::model::sample::FlowKey;
use telegen_sonic::model::schema::{ErrorKind, EthClass, IpClass};
use telegen_sonic::model::traffic::{Cast, HealthEvent, Rocev2Op};

use crate::numbers::{ethernet_by_name, ethernet_by_number, ip_by_name, ip_by_number, rocev2};
use crate::tshark::Frame;
use crate::tunnels::{mpls, tunnel};
use crate::walk::Walk;

/// Bytes of addresses and EtherType.
const HEADER: usize = 14;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// What a witness says of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dissection {
    pub bytes: usize,
    pub class: EthClass,
    pub cast: Option<Cast>,
    /// The id in the outermost tag.
    pub vlan: Option<u16>,
    /// Without services (they are ports by another name) and without TCP in fragments, and behind a data offset below 5: tshark stops there.
    /// Ports of 0 are none: tshark shows none of a short SCTP header, and flows do not tell them apart.
    pub ip: Option<Result<Ip, BrokenIp>>,
    pub inside: Option<Inside>,
    pub has_bad_checksum: bool,
    /// The witness gave up on an option inside of a whole IPv6 header, and saw nothing of what follows.
    pub gave_up: bool,
}

impl From<&Packet> for Dissection {
    fn from(packet: &Packet) -> Dissection {
        let is_malformed = packet.errors.iter().any(|kind| kind == ErrorKind::MalformedL4);
        let comparable = |ip: Ip| {
            let tcp = ip.transport.tcp.filter(|_| ip.fragment.is_none() && !is_malformed);
            let ports = ip.transport.ports.filter(|ports| *ports != (0, 0));
            Ip { transport: Transport { service: None, tcp, ports, ..ip.transport }, ..ip }
        };
        let inside = packet.inside.clone().map(|Inside { tunnel, content }| match content {
            Content::Ip(ip) => Inside { tunnel, content: Content::Ip(comparable(ip)) },
            content => Inside { tunnel, content },
        });
        Dissection {
            bytes: packet.length,
            class: packet.class,
            cast: packet.cast,
            vlan: packet.vlan,
            ip: packet.ip.map(|ip| ip.map(comparable)),
            inside,
            has_bad_checksum: packet.errors.iter().any(|kind| kind == ErrorKind::ChecksumIp),
            gave_up: false,
        }
    }
}

impl Dissection {
    /// Whether two witnesses agree in all that both of them saw.
    pub fn agrees_with(&self, other: &Dissection) -> bool {
        let gave_up = self.gave_up || other.gave_up;
        let seen = |dissection: &Dissection| {
            let ip = dissection.ip.map(|ip| ip.map(|ip| if gave_up { header_alone(ip) } else { ip }));
            let inside = dissection.inside.clone().filter(|_| !gave_up);
            Dissection { ip, inside, gave_up, ..dissection.clone() }
        };
        seen(self) == seen(other)
    }

    pub fn ip_class(&self) -> Option<IpClass> {
        self.ip.map(|ip| ip.map_or(IpClass::Truncated, |ip| ip.class))
    }

    pub fn flow(&self) -> Option<FlowKey> {
        let ip = self.ip?.ok()?;
        let (sport, dport) = ip.transport.ports.unwrap_or_default();
        let vlan = self.vlan.unwrap_or(0);
        Some(FlowKey { src: ip.src, dst: ip.dst, ip_proto: ip.protocol, sport, dport, vlan })
    }
}

fn header_alone(ip: Ip) -> Ip {
    Ip { protocol: 0, class: IpClass::Truncated, fragment: None, transport: Transport::default(), ..ip }
}

/// `None`: such a frame cannot be sent.
pub fn dissect(frame: &Frame<'_>) -> Result<Option<Dissection>, String> {
    let bytes: usize = frame.must("frame.cap_len", 0)?;
    if is_skipped(frame, bytes)? {
        return Ok(None);
    }
    let mut walk = Walk::through(frame)?;
    let Ethernet { class, vlan, length } = ethernet(&mut walk)?;
    let room = bytes.saturating_sub(length);
    let (ip, inside) = match (class, walk.name()) {
        (EthClass::Ipv4, "ip") | (EthClass::Ipv6, "ipv6") => {
            let ip = ip(&mut walk, Some(room))?;
            let inside = match ip {
                Ok(ip) if ip.fragment.is_none() => tunnel(&mut walk, ip.transport.ports.map(|(_, to)| to))?,
                _ => None,
            };
            (Some(ip), inside)
        }
        // The version contradicts the EtherType, so tshark does not begin.
        (EthClass::Ipv4 | EthClass::Ipv6, _) => (Some(Err(BrokenIp)), None),
        (EthClass::Mpls, _) => (None, mpls(&mut walk)?),
        _ => (None, None),
    };
    let has_bad_checksum =
        class == EthClass::Ipv4 && ip.is_some_and(|ip| ip.is_ok()) && frame.nth("ip.checksum.status", 0) == Some("0");
    let gave_up = gave_up(frame)?;
    Ok(Some(Dissection { bytes, class, cast: cast(frame), vlan, ip, inside, has_bad_checksum, gave_up }))
}

/// The last of tshark's layers are options, though something follows them.
fn gave_up(frame: &Frame<'_>) -> Result<bool, String> {
    let last = frame.layers()?.last().copied().unwrap_or_default();
    let end = match last {
        "ipv6.hopopts" | "ipv6.dstopts" => frame.count(&format!("{last}.nxt")).checked_sub(1),
        _ => None,
    };
    let next: Option<u8> = end.map(|nth| frame.must(&format!("{last}.nxt"), nth)).transpose()?;
    Ok(next.is_some_and(|next| next != 59))
}

fn is_skipped(frame: &Frame<'_>, bytes: usize) -> Result<bool, String> {
    const LONGEST: usize = 9300 + HEADER;
    Ok(match frame.number("eth.type", 0)? {
        Some(0x8100_u16) => !(HEADER + TAG + 2..=LONGEST + TAG).contains(&bytes),
        Some(0x88a8) => !(HEADER + TAG + 2..=LONGEST).contains(&bytes),
        _ => !(HEADER..=LONGEST).contains(&bytes),
    })
}

fn cast(frame: &Frame<'_>) -> Option<Cast> {
    match frame.nth("eth.dst", 0)? {
        "ff:ff:ff:ff:ff:ff" => Some(Cast::Broadcast),
        // The lowest bit of the first byte: the second digit is odd.
        address if matches!(address.as_bytes()[1], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f') => {
            Some(Cast::Multicast)
        }
        _ => Some(Cast::Unicast),
    }
}

/// An Ethernet header.
struct Ethernet {
    class: EthClass,
    vlan: Option<u16>,
    /// Its bytes, tags included.
    length: usize,
}

/// Leaves the walk at what is behind the EtherType.
fn ethernet(walk: &mut Walk<'_, '_>) -> Result<Ethernet, String> {
    walk.enter();
    let frame = walk.frame;
    let (mut ethertype, mut vlan, mut tags) = (frame.number("eth.type", 0)?, None, 0);
    while let ("ethertype", tag @ ("vlan" | "ieee8021ad")) = (walk.name(), walk.next_name()) {
        walk.enter();
        let nth = walk.enter();
        let [id, etype] = match tag {
            "vlan" => ["vlan.id", "vlan.etype"],
            _ => ["ieee8021ad.id", "ieee8021ah.etype"],
        };
        vlan = vlan.or(frame.number(id, nth)?);
        ethertype = frame.number(etype, nth)?;
        tags += 1;
    }
    let is_length = ["eth.len", "vlan.len"].iter().any(|field| frame.has(field));
    let class = match (walk.name(), walk.next_name(), ethertype) {
        _ if frame.has("eth.invalid_lentype") => EthClass::Other,
        ("ethertype", "", Some(ethertype)) | ("", _, Some(ethertype)) => ethernet_by_number(ethertype),
        ("ethertype", name, Some(ethertype)) => ethernet_by_name(name, ethertype),
        ("", _, None) if !is_length => EthClass::Truncated,
        _ => EthClass::Llc,
    };
    walk.enter();
    Ok(Ethernet { class, vlan, length: HEADER + TAG * tags })
}

type Read = Result<Result<Ip, BrokenIp>, String>;

/// An IP packet, for which its frame has this many bytes if that is known. Leaves the walk behind the transport header.
pub fn ip(walk: &mut Walk<'_, '_>, room: Option<usize>) -> Read {
    if walk.name() == "ip" { ipv4(walk, room) } else { ipv6(walk, room) }
}

fn ipv4(walk: &mut Walk<'_, '_>, room: Option<usize>) -> Read {
    let (frame, nth) = (walk.frame, walk.enter());
    let (Some(src), Some(dst)) = (frame.address("ip.src", nth)?, frame.address("ip.dst", nth)?) else {
        return Ok(Err(BrokenIp));
    };
    let fragment = match (frame.must::<u16>("ip.frag_offset", nth)?, frame.flag("ip.flags.mf", nth)?) {
        (0, false) => None,
        (0, true) => Some(Fragment::First),
        _ => Some(Fragment::Later),
    };
    let header: usize = frame.must("ip.hdr_len", nth)?;
    let total: usize = frame.must("ip.len", nth)?;
    let stated = total - header;
    let segment = room.unwrap_or(total).min(total).checked_sub(header).map(|here| Segment { here, stated });
    let has_options = header > 20 && segment.is_some();
    let protocol = frame.must("ip.proto", nth)?;
    let (class, transport) = transport(walk, protocol, fragment, segment)?;
    let (tos, ttl) = (frame.must("ip.dsfield", nth)?, frame.must("ip.ttl", nth)?);
    Ok(Ok(Ip { src, dst, tos, ttl, protocol, class, fragment, has_options, transport }))
}

fn ipv6(walk: &mut Walk<'_, '_>, room: Option<usize>) -> Read {
    const FIXED: usize = 40;
    let (frame, nth) = (walk.frame, walk.enter());
    let (Some(src), Some(dst)) = (frame.address("ipv6.src", nth)?, frame.address("ipv6.dst", nth)?) else {
        return Ok(Err(BrokenIp));
    };
    let (tos, ttl) = (frame.must("ipv6.tclass", nth)?, frame.must("ipv6.hlim", nth)?);
    let (mut protocol, mut fragment) = (frame.must("ipv6.nxt", nth)?, None);
    let stated: usize = frame.must("ipv6.plen", nth)?;
    let room = room.map_or(Ok(stated), |room| room.checked_sub(FIXED).ok_or("addresses, but no room for them"))?;
    // A jumbogram (RFC 2675) has its length in the hop-by-hop header.
    let stated = if stated == 0 && protocol == 0 { room } else { stated };
    let (whole, mut room) = (room.min(stated), room.min(stated));
    let cut = |protocol, fragment| {
        Ok(Ok(Ip {
            src,
            dst,
            tos,
            ttl,
            protocol,
            class: IpClass::Truncated,
            fragment,
            has_options: false,
            transport: Transport::default(),
        }))
    };
    while let name @ ("ipv6.hopopts" | "ipv6.routing" | "ipv6.fraghdr" | "ipv6.dstopts") = walk.name() {
        let nth = walk.enter();
        let length = match name {
            "ipv6.fraghdr" => Some(8),
            _ => frame.number(&format!("{name}.len_oct"), nth)?,
        };
        let left = length.and_then(|length| room.checked_sub(length));
        let (Some(left), Some(next)) = (left, frame.number(&format!("{name}.nxt"), nth)?) else {
            return cut(protocol, fragment);
        };
        (room, protocol) = (left, next);
        if name == "ipv6.fraghdr" {
            match (frame.must::<u16>("ipv6.fraghdr.offset", nth)?, frame.flag("ipv6.fraghdr.more", nth)?) {
                (0, false) => {}
                (0, true) => fragment = Some(Fragment::First),
                _ => fragment = Some(Fragment::Later),
            }
        }
    }
    // Announced, and nothing of it is there.
    if matches!(protocol, 0 | 43 | 44 | 60) && walk.name().is_empty() {
        return cut(protocol, fragment);
    }
    let segment = Segment { here: room, stated: stated - (whole - room) };
    let (class, transport) = transport(walk, protocol, fragment, Some(segment))?;
    Ok(Ok(Ip { src, dst, tos, ttl, protocol, class, fragment, has_options: false, transport }))
}

/// What is behind an IP header, in bytes.
#[derive(Clone, Copy)]
struct Segment {
    /// That the frame has.
    here: usize,
    /// That IP says.
    stated: usize,
}

/// A transport header at the beginning of a segment; `None`: not even the IP header is whole. Leaves the walk in front of what is not
/// a transport protocol.
fn transport(
    walk: &mut Walk<'_, '_>,
    protocol: u8,
    fragment: Option<Fragment>,
    segment: Option<Segment>,
) -> Result<(IpClass, Transport), String> {
    let (frame, name) = (walk.frame, walk.name());
    let class = ip_by_name(name).unwrap_or_else(|| ip_by_number(protocol));
    let mut transport = Transport::default();
    let Some(segment) = segment.filter(|_| fragment != Some(Fragment::Later)) else { return Ok((class, transport)) };
    match name {
        "tcp" | "udp" | "sctp" | "dccp" => {
            let nth = walk.enter();
            let port = |side: &str| frame.number(&format!("{name}.{side}port"), nth);
            // Both, or none: a header that is cut between them has no ports.
            transport.ports = port("src")?.zip(port("dst")?).filter(|ports| *ports != (0, 0));
            if name == "tcp" && segment.here >= 20 && fragment.is_none() && frame.nth("tcp.flags", nth).is_some() {
                transport.tcp = Some(tcp(frame, nth, segment)?);
            }
            if name == "udp" && transport.ports.is_some_and(|(_, port)| port == 4791) {
                let opcode: Option<u8> = frame.number("infiniband.bth.opcode", 0)?;
                transport.rocev2 = Some(opcode.map_or(Rocev2Op::Truncated, rocev2));
            }
        }
        "icmp" if segment.here >= 8 => {
            transport.icmp = match (frame.must::<u8>("icmp.type", 0)?, frame.must::<u8>("icmp.code", 0)?) {
                (3, 4) => Some(HealthEvent::IcmpTooBig),
                (3, _) => Some(HealthEvent::IcmpUnreachable),
                (11, _) => Some(HealthEvent::IcmpTimeExceeded),
                _ => None,
            }
        }
        "icmpv6" if segment.here >= 4 => {
            transport.icmp = match frame.must::<u8>("icmpv6.type", 0)? {
                1 => Some(HealthEvent::IcmpUnreachable),
                2 => Some(HealthEvent::IcmpTooBig),
                3 => Some(HealthEvent::IcmpTimeExceeded),
                _ => None,
            }
        }
        _ => {}
    }
    Ok((class, transport))
}

fn tcp(frame: &Frame<'_>, nth: usize, segment: Segment) -> Result<Tcp, String> {
    let header: usize = frame.must("tcp.hdr_len", nth)?;
    let payload = match segment.stated.checked_sub(header) {
        Some(payload) if segment.here < segment.stated => u32::try_from(payload).map_err(|error| error.to_string())?,
        _ => frame.must("tcp.len", nth)?,
    };
    Ok(Tcp {
        sequence: frame.must("tcp.seq_raw", nth)?,
        flags: u8::try_from(frame.must::<u16>("tcp.flags", nth)? & 0x3f).map_err(|error| error.to_string())?,
        window: frame.must("tcp.window_size_value", nth)?,
        payload,
    })
}
