//! Frames of every kind that the tap tells apart, and of every kind of damage.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use super::packets::{
    DESTINATION, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, IPV4, IPV6, Ipv4, Ipv6, QINQ, SCTP, TCP, UDP, VLAN, ethernet,
    extension, ipv6_fragment, tcp, tcp_with, udp,
};

/// The packet with a VLAN tag in front, if it is IP: `BPF_PROG_TEST_RUN` refuses IP packets (and frames of 14 bytes) that are cut
/// in the fixed header, as long as it sees that they are IP. `tap_live.rs` sends such frames without a tag.
pub fn tagged(packet: &[u8]) -> Vec<u8> {
    if matches!(packet[12..14], [0x08, 0x00] | [0x86, 0xdd]) {
        return [&packet[..12], &[0x81, 0, 0, 1], &packet[12..]].concat();
    }
    packet.to_vec()
}

/// Frames by name, and the classes, errors and "fragment" that they count as.
pub fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    [ethernet_cases(), ipv4_cases(), ipv6_cases(), l4_cases()].concat()
}

fn ethernet_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let dns = Ipv4::new(UDP).around(&udp(1000, 53, b"query"));
    let of_type = |ethertype| ethernet(&[], ethertype, &[0; 46]);
    vec![
        ("UDP", ethernet(&[], IPV4, &dns), "ipv4 udp"),
        ("one tag", ethernet(&[(VLAN, 10)], IPV4, &dns), "ipv4 udp"),
        ("QinQ", ethernet(&[(QINQ, 10), (VLAN, 20)], IPV4, &dns), "ipv4 udp"),
        ("three tags", ethernet(&[(0x9100, 10), (VLAN, 20), (VLAN, 30)], IPV4, &dns), "ipv4 udp"),
        ("four tags", ethernet(&[(VLAN, 1), (VLAN, 2), (VLAN, 3), (VLAN, 4)], IPV4, &dns), "other too_deep"),
        ("a tag without what follows", ethernet(&[], VLAN, &[0, 10]), "truncated truncated_eth"),
        ("ARP", of_type(0x0806), "arp"),
        ("MPLS", of_type(0x8847), "mpls"),
        ("MPLS, upstream labels", of_type(0x8848), "mpls"),
        ("LLDP", of_type(0x88cc), "lldp"),
        ("LACP", of_type(0x8809), "slow"),
        ("PTP", of_type(0x88f7), "ptp"),
        ("MACsec", of_type(0x88e5), "macsec"),
        ("EAPOL", of_type(0x888e), "eapol"),
        ("PPPoE discovery", of_type(0x8863), "pppoe"),
        ("PPPoE session", of_type(0x8864), "pppoe"),
        ("CFM", of_type(0x8902), "cfm"),
        ("RARP", of_type(0x8035), "other"),
        ("802.3, an STP frame", of_type(38), "llc"),
        ("the largest 802.3 length", of_type(1500), "llc"),
        ("neither length nor EtherType", of_type(1501), "other"),
        ("802.3 in a VLAN", ethernet(&[(VLAN, 5)], 38, &[0; 46]), "llc"),
    ]
}

fn ipv4_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let of_proto = |proto| ethernet(&[], IPV4, &Ipv4::new(proto).around(&[0; 40]));
    let with = |change: fn(&mut Ipv4)| {
        let mut header = Ipv4::new(TCP);
        change(&mut header);
        ethernet(&[], IPV4, &header.around(&tcp(1, 2, b"data")))
    };
    let padded = |packet: Vec<u8>| [packet, vec![0; 20]].concat();
    vec![
        ("IGMP", of_proto(2), "ipv4 igmp"),
        ("IPv4 in IPv4", of_proto(4), "ipv4 ipip"),
        ("IPv6 in IPv4", of_proto(41), "ipv4 ipv6"),
        ("RSVP", of_proto(46), "ipv4 rsvp"),
        ("GRE", of_proto(47), "ipv4 gre"),
        ("ESP", of_proto(50), "ipv4 esp"),
        ("AH", of_proto(51), "ipv4 ah"),
        ("EIGRP", of_proto(88), "ipv4 eigrp"),
        ("OSPF", of_proto(89), "ipv4 ospf"),
        ("PIM", of_proto(103), "ipv4 pim"),
        ("VRRP", of_proto(112), "ipv4 vrrp"),
        ("L2TP", of_proto(115), "ipv4 l2tp"),
        ("DCCP", of_proto(33), "ipv4 dccp"),
        ("an unnamed protocol", of_proto(200), "ipv4 other"),
        ("options", with(|ip| ip.options = 10), "ipv4 tcp"),
        ("padding behind the packet", padded(with(|_| ())), "ipv4 tcp"),
        ("don't fragment", with(|ip| ip.fragment = 0x4000), "ipv4 tcp"),
        ("first fragment", with(|ip| ip.fragment = 0x2000), "ipv4 tcp fragment"),
        ("middle fragment", with(|ip| ip.fragment = 0x2010), "ipv4 tcp fragment"),
        ("last fragment", with(|ip| ip.fragment = 0x0010), "ipv4 tcp fragment"),
        ("version 6 in an IPv4 frame", with(|ip| ip.version_ihl = Some(0x65)), "ipv4 truncated malformed_ip"),
        ("a header of 16 bytes", with(|ip| ip.version_ihl = Some(0x44)), "ipv4 truncated malformed_ip"),
        ("a total length below the header", with(|ip| ip.total_length = Some(19)), "ipv4 truncated malformed_ip"),
        ("a total length of 0 without GSO", with(|ip| ip.total_length = Some(0)), "ipv4 truncated malformed_ip"),
        ("a total length beyond the frame", with(|ip| ip.total_length = Some(45)), "ipv4 tcp malformed_ip"),
        ("a packet that ends in TCP", padded(with(|ip| ip.total_length = Some(39))), "ipv4 tcp truncated_l4"),
        ("half a header", ethernet(&[], IPV4, &Ipv4::new(TCP).around(&[])[..19]), "ipv4 truncated truncated_ip"),
        (
            "half of the options",
            ethernet(&[], IPV4, &Ipv4 { options: 5, ..Ipv4::new(TCP) }.around(&[])[..30]),
            // Its total length is beyond the frame, too.
            "ipv4 tcp truncated_ip malformed_ip",
        ),
    ]
}

fn ipv6_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let v6 = |next, payload: &[u8]| ethernet(&[], IPV6, &Ipv6::new(next).around(payload));
    let data = tcp(1, 2, b"data");
    let chain =
        |length: usize| (1..length).fold(extension(TCP, 0, &data), |inner, _| extension(DESTINATION, 0, &inner));
    let jumbogram = Ipv6 { payload_length: Some(0), ..Ipv6::new(HOP_BY_HOP) }.around(&extension(TCP, 0, &data));
    vec![
        ("TCP", v6(TCP, &data), "ipv6 tcp"),
        ("ICMPv6", v6(ICMPV6, &[128, 0, 0, 0]), "ipv6 icmpv6"),
        ("OSPFv3", v6(89, &[0; 16]), "ipv6 ospf"),
        ("nothing follows", v6(59, &[]), "ipv6 no_next"),
        ("AH before TCP", v6(51, &[TCP, 4, 0, 0]), "ipv6 ah"),
        ("hop-by-hop of 24 bytes", v6(HOP_BY_HOP, &extension(UDP, 2, &udp(1, 2, b""))), "ipv6 udp"),
        ("routing header", v6(43, &extension(UDP, 0, &udp(1, 2, b""))), "ipv6 udp"),
        ("mobility header", v6(135, &extension(59, 0, &[])), "ipv6 no_next"),
        ("eight extension headers", v6(DESTINATION, &chain(8)), "ipv6 tcp"),
        ("nine extension headers", v6(DESTINATION, &chain(9)), "ipv6 truncated too_deep"),
        ("first fragment", v6(FRAGMENT, &ipv6_fragment(TCP, 0, true, &data)), "ipv6 tcp fragment"),
        ("later fragment", v6(FRAGMENT, &ipv6_fragment(TCP, 5, true, &[0; 3])), "ipv6 tcp fragment"),
        (
            "later fragment of options",
            v6(FRAGMENT, &ipv6_fragment(DESTINATION, 5, false, &[0; 3])),
            "ipv6 other fragment",
        ),
        ("atomic fragment", v6(FRAGMENT, &ipv6_fragment(TCP, 0, false, &data)), "ipv6 tcp"),
        (
            "fragment behind options",
            v6(0, &extension(FRAGMENT, 0, &ipv6_fragment(UDP, 9, false, &[]))),
            "ipv6 udp fragment",
        ),
        ("half a fragment header", v6(FRAGMENT, &ipv6_fragment(TCP, 0, true, &[])[..7]), "ipv6 truncated truncated_ip"),
        ("half an option header", v6(HOP_BY_HOP, &extension(TCP, 1, &[])[..15]), "ipv6 truncated truncated_ip"),
        ("a jumbogram", ethernet(&[], IPV6, &jumbogram), "ipv6 tcp"),
        (
            "payload length 0",
            ethernet(&[], IPV6, &Ipv6 { payload_length: Some(0), ..Ipv6::new(TCP) }.around(&data)),
            "ipv6 tcp truncated_l4",
        ),
        (
            "a payload length beyond the frame",
            ethernet(&[], IPV6, &Ipv6 { payload_length: Some(25), ..Ipv6::new(TCP) }.around(&data)),
            "ipv6 tcp malformed_ip",
        ),
        (
            "version 4 in an IPv6 frame",
            ethernet(&[], IPV6, &Ipv4::new(TCP).around(&[0; 40])),
            "ipv6 truncated malformed_ip",
        ),
        ("half a header", ethernet(&[], IPV6, &Ipv6::new(TCP).around(&[])[..39]), "ipv6 truncated truncated_ip"),
    ]
}

fn l4_cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let v4 = |proto, payload: &[u8]| ethernet(&[], IPV4, &Ipv4::new(proto).around(payload));
    let changed = |mut l4: Vec<u8>, at: usize, value: u8| {
        l4[at] = value;
        l4
    };
    vec![
        ("TCP with all options", v4(TCP, &tcp_with(10, 1, 2, b"")), "ipv4 tcp"),
        ("half of TCP's options", v4(TCP, &tcp_with(10, 1, 2, b"")[..59]), "ipv4 tcp truncated_l4"),
        ("19 bytes of TCP", v4(TCP, &tcp(1, 2, b"")[..19]), "ipv4 tcp truncated_l4"),
        ("a data offset of 4", v4(TCP, &changed(tcp(1, 2, b""), 12, 0x40)), "ipv4 tcp malformed_l4"),
        ("7 bytes of UDP", v4(UDP, &udp(1, 2, b"")[..7]), "ipv4 udp truncated_l4"),
        ("a UDP length of 7", v4(UDP, &changed(udp(1, 2, b""), 5, 7)), "ipv4 udp malformed_l4"),
        ("7 bytes of ICMP", v4(ICMP, &[8; 7]), "ipv4 icmp truncated_l4"),
        ("8 bytes of ICMP", v4(ICMP, &[8; 8]), "ipv4 icmp"),
        ("11 bytes of SCTP", v4(SCTP, &[0; 11]), "ipv4 sctp truncated_l4"),
        ("12 bytes of SCTP", v4(SCTP, &[0; 12]), "ipv4 sctp"),
        ("UDP-Lite", v4(136, &udp(1, 2, b"")), "ipv4 other"),
    ]
}

/// Packets in every kind of tunnel, and packets with every sign of bad health, by name.
pub fn tunnel_and_health_cases() -> Vec<(&'static str, Vec<u8>)> {
    [tunnel_cases(), health_cases()].concat()
}

fn tunnel_cases() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |proto, payload: &[u8]| ethernet(&[], IPV4, &Ipv4::new(proto).around(payload));
    let v6 = |proto, payload: &[u8]| ethernet(&[(VLAN, 6)], IPV6, &Ipv6::new(proto).around(payload));
    let packet = Ipv4 { src: [10, 0, 0, 1].into(), dscp: 46, ..Ipv4::new(TCP) }.around(&tcp(1000, 179, b"open"));
    let packet_v6 = Ipv6 { dscp: 8, ..Ipv6::new(DESTINATION) }.around(&extension(UDP, 1, &udp(1000, 53, b"query")));
    let frame = ethernet(&[(QINQ, 30), (VLAN, 31)], IPV4, &packet);
    let behind = |header: &[u8], inner: &[u8]| [header, inner].concat();
    let vxlan = |inner: &[u8]| udp(50_000, 4789, &behind(&[0x08, 0, 0, 0, 0, 0, 7, 0], inner));
    let geneve = |first: u8, ethertype: u16, inner: &[u8]| {
        let [hi, lo] = ethertype.to_be_bytes();
        let options = vec![0x86; usize::from(first & 0x3f) * 4];
        udp(50_000, 6081, &[&[first, 0, hi, lo, 0, 0, 7, 0], &options[..], inner].concat())
    };
    let labels = |count: usize| [[0, 1, 0x20, 64].repeat(count - 1), vec![0, 2, 0x21, 64]].concat();
    vec![
        ("VXLAN", v4(UDP, &vxlan(&frame))),
        ("VXLAN over IPv6", v6(UDP, &vxlan(&ethernet(&[], IPV6, &packet_v6)))),
        ("ARP in VXLAN", v4(UDP, &vxlan(&ethernet(&[], 0x0806, &[0; 28])))),
        ("Geneve", v4(UDP, &geneve(0, 0x6558, &frame))),
        ("Geneve with options", v6(UDP, &geneve(3, IPV4, &packet))),
        ("Geneve with all options", v4(UDP, &geneve(0x3f, IPV6, &packet_v6))),
        ("GRE", v4(47, &behind(&[0, 0, 0x08, 0x00], &packet))),
        ("GRE with all fields", v6(47, &[&[0xb0, 0, 0x86, 0xdd], &[0; 12][..], &packet_v6].concat())),
        ("Ethernet in GRE", v4(47, &behind(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 9], &frame))),
        ("IPv4 in IPv4", v4(4, &packet)),
        ("IPv6 in IPv4", v4(41, &packet_v6)),
        ("IPv4 in IPv6", v6(DESTINATION, &extension(4, 0, &packet))),
        ("IPv6 in IPv6", v6(41, &packet_v6)),
        ("a fragment in IPv4", v4(4, &Ipv4 { fragment: 0x2010, ..Ipv4::new(UDP) }.around(&[0; 24]))),
        ("IPv4 below a label", ethernet(&[(VLAN, 9)], 0x8847, &behind(&labels(1), &packet))),
        ("IPv6 below eight labels", ethernet(&[], 0x8848, &behind(&labels(8), &packet_v6))),
        ("IPv4 below nine labels", ethernet(&[], 0x8847, &behind(&labels(9), &packet))),
        ("a pseudowire", ethernet(&[], 0x8847, &behind(&labels(2), &[0; 30]))),
    ]
}

fn health_cases() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |proto, payload: &[u8]| ethernet(&[], IPV4, &Ipv4::new(proto).around(payload));
    let flags = |flags: u8, window: u8| {
        let mut segment = tcp(1000, 443, b"data");
        (segment[13], segment[14], segment[15]) = (flags, 0, window);
        v4(TCP, &segment)
    };
    let checksummed = |mut packet: Vec<u8>| {
        let words = packet[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[24..26].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    vec![
        ("a right checksum", checksummed(v4(UDP, &udp(1, 2, b"")))),
        ("SYN", flags(0x02, 1)),
        ("a reset", flags(0x14, 0)),
        ("a zero window", flags(0x10, 0)),
        ("unreachable", v4(ICMP, &[3, 1, 0, 0, 0, 0, 0, 0, 0x45, 0])),
        ("too big", v4(ICMP, &[3, 4, 0, 0, 0, 0, 5, 220])),
        ("time exceeded", v4(ICMP, &[11, 0, 0, 0, 0, 0, 0, 0])),
        ("too big, IPv6", ethernet(&[], IPV6, &Ipv6::new(ICMPV6).around(&[2, 0, 0, 0, 0, 0, 5, 220]))),
        ("RoCEv2", v4(UDP, &udp(50_000, 4791, &[0x0a, 0x40, 0xff, 0xff, 0, 0, 0, 7, 0x80, 0, 0, 1]))),
        ("CNP", ethernet(&[], IPV6, &Ipv6::new(UDP).around(&udp(50_000, 4791, &[0x81, 0, 0xff, 0xff])))),
        ("RoCEv2 without an opcode", v4(UDP, &udp(50_000, 4791, b""))),
    ]
}
