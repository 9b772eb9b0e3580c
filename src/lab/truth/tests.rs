//! Frames made by hand, byte by byte, so that no builder's mistake can hide a reader's.

mod health;
mod mirrors;
mod segments;
mod tunnels;

use std::net::IpAddr;

use super::*;
use crate::model::schema::{ErrorKind, EthClass};
use crate::model::traffic::Service;

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    [MACS.as_slice()].iter().chain(parts).flat_map(|part| part.iter().copied()).collect()
}

/// 10.0.0.1 -> 10.0.0.2, header of 20 bytes.
fn ipv4_header(protocol: u8, total: u16, fragment: u16) -> Vec<u8> {
    let (total, fragment) = (total.to_be_bytes(), fragment.to_be_bytes());
    vec![0x45, 0, total[0], total[1], 0, 1, fragment[0], fragment[1], 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}

/// 2001:db8::1 -> 2001:db8::2.
fn ipv6_header(next: u8, payload: u16) -> Vec<u8> {
    let [hi, lo] = payload.to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, hi, lo, next, 64];
    for last in [1, 2] {
        header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    header
}

/// Of one frame, the class, the class of its IP packet and the flow.
fn classify(frame: &[u8]) -> (EthClass, Option<IpClass>, Option<FlowKey>) {
    let packet = Packet::read(frame);
    (packet.class, packet.ip_class(), packet.flow(View::Outer))
}

fn in_flow(class: IpClass, flow: FlowKey) -> (EthClass, Option<IpClass>, Option<FlowKey>) {
    (if flow.src.is_ipv4() { EthClass::Ipv4 } else { EthClass::Ipv6 }, Some(class), Some(flow))
}

fn broken(class: EthClass) -> (EthClass, Option<IpClass>, Option<FlowKey>) {
    (class, Some(IpClass::Truncated), None)
}

fn not_ip(class: EthClass) -> (EthClass, Option<IpClass>, Option<FlowKey>) {
    (class, None, None)
}

const UDP_1000_TO_53: [u8; 8] = [0x03, 0xe8, 0, 53, 0, 8, 0, 0];

fn v4_flow(ip_proto: u8, ports: (u16, u16), vlan: u16) -> FlowKey {
    let (src, dst) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    FlowKey { src, dst, ip_proto, sport: ports.0, dport: ports.1, vlan }
}

fn v6_flow(ip_proto: u8, ports: (u16, u16)) -> FlowKey {
    let address = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    FlowKey { src: address(1), dst: address(2), ip_proto, sport: ports.0, dport: ports.1, vlan: 0 }
}

#[test]
fn udp_over_ipv4_has_its_ports() {
    let udp = frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0), &UDP_1000_TO_53]);
    assert_eq!(classify(&udp), in_flow(IpClass::Udp, v4_flow(17, (1000, 53), 0)));
}

#[test]
fn the_outermost_of_three_tags_is_the_vlan_and_a_fourth_hides_the_packet() {
    let inner = [&ipv4_header(17, 28, 0)[..], &UDP_1000_TO_53].concat();
    let tags: [&[u8]; 3] = [&[0x88, 0xa8, 0x20, 0x07], &[0x91, 0x00, 0, 8], &[0x81, 0x00, 0, 9]];
    let three = frame(&[tags[0], tags[1], tags[2], &[0x08, 0x00], &inner]);
    assert_eq!(classify(&three), in_flow(IpClass::Udp, v4_flow(17, (1000, 53), 7)));
    let four = frame(&[tags[0], tags[1], tags[2], tags[2], &[0x08, 0x00], &inner]);
    assert_eq!(classify(&four), not_ip(EthClass::Other));
}

#[test]
fn frames_that_end_before_their_ethertype_are_truncated() {
    assert_eq!(classify(&[]), not_ip(EthClass::Truncated));
    assert_eq!(classify(&frame(&[&[0x08]])), not_ip(EthClass::Truncated));
    assert_eq!(classify(&frame(&[&[0x81, 0x00, 0, 1, 0x08]])), not_ip(EthClass::Truncated));
}

#[test]
fn ethertypes_have_their_classes_and_lengths_are_llc() {
    let class = |ethertype: u16| classify(&frame(&[&ethertype.to_be_bytes(), &[0; 46]])).0;
    for (ethertype, expected) in [
        (0, EthClass::Llc),
        (38, EthClass::Llc),
        (1500, EthClass::Llc),
        (1501, EthClass::Other),
        (0x0600, EthClass::Other),
        (0x0806, EthClass::Arp),
        (0x8847, EthClass::Mpls),
        (0x8848, EthClass::Mpls),
        (0x88cc, EthClass::Lldp),
        (0x8809, EthClass::Slow),
        (0x88f7, EthClass::Ptp),
        (0x88e5, EthClass::Macsec),
        (0x888e, EthClass::Eapol),
        (0x8863, EthClass::Pppoe),
        (0x8864, EthClass::Pppoe),
        (0x8902, EthClass::Cfm),
        (0x8035, EthClass::Other),
    ] {
        assert_eq!(class(ethertype), expected, "{ethertype:#06x}");
    }
}

#[test]
fn protocol_numbers_have_their_classes() {
    for (protocol, expected) in [
        (6, IpClass::Tcp),
        (17, IpClass::Udp),
        (1, IpClass::Icmp),
        (58, IpClass::Icmpv6),
        (2, IpClass::Igmp),
        (132, IpClass::Sctp),
        (47, IpClass::Gre),
        (50, IpClass::Esp),
        (51, IpClass::Ah),
        (89, IpClass::Ospf),
        (103, IpClass::Pim),
        (112, IpClass::Vrrp),
        (4, IpClass::Ipip),
        (41, IpClass::Ipv6),
        (88, IpClass::Eigrp),
        (46, IpClass::Rsvp),
        (33, IpClass::Dccp),
        (115, IpClass::L2tp),
        (59, IpClass::NoNext),
        (253, IpClass::Other),
    ] {
        assert_eq!(classify(&frame(&[&[0x08, 0x00], &ipv4_header(protocol, 20, 0)])).1, Some(expected), "{protocol}");
    }
}

#[test]
fn a_later_fragment_keeps_its_class_and_has_no_ports() {
    let first = frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0x2000), &UDP_1000_TO_53]);
    assert_eq!(classify(&first), in_flow(IpClass::Udp, v4_flow(17, (1000, 53), 0)));
    let later = frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0x0001), &UDP_1000_TO_53]);
    assert_eq!(classify(&later), in_flow(IpClass::Udp, v4_flow(17, (0, 0), 0)));
    let later_v6 = frame(&[&[0x86, 0xdd], &ipv6_header(44, 16), &[17, 0, 0, 8, 0, 0, 0, 1], &UDP_1000_TO_53]);
    assert_eq!(classify(&later_v6), in_flow(IpClass::Udp, v6_flow(17, (0, 0))));
}

#[test]
fn options_of_ipv4_are_counted_where_all_of_the_header_is_there() {
    let mut header = ipv4_header(17, 32, 0);
    header[0] = 0x46;
    header.extend([1, 1, 1, 0]);
    let with_options = frame(&[&[0x08, 0x00], &header, &UDP_1000_TO_53]);
    let mut truth = Truth::default();
    truth.add(&with_options);
    truth.add(&with_options[..14 + 22]);
    truth.add(&frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0), &UDP_1000_TO_53]));
    truth.add(&frame(&[&[0x86, 0xdd], &ipv6_header(0, 16), &[17, 0, 1, 4, 0, 0, 0, 0], &UDP_1000_TO_53]));
    assert_eq!((truth.total.packets, truth.ipv4_options), (4, 1));
}

#[test]
fn headers_that_contradict_themselves_are_truncated_and_in_no_flow() {
    let mut version_6 = ipv4_header(17, 28, 0);
    version_6[0] = 0x65;
    let mut ihl_4 = ipv4_header(17, 28, 0);
    ihl_4[0] = 0x44;
    let total_19 = ipv4_header(17, 19, 0);
    let total_0 = ipv4_header(17, 0, 0);
    for header in [version_6, ihl_4, total_19, total_0, ipv4_header(17, 28, 0)[..19].to_vec()] {
        let cut_or_wrong = frame(&[&[0x08, 0x00], &header]);
        assert_eq!(classify(&cut_or_wrong), broken(EthClass::Ipv4), "{header:x?}");
        assert_eq!(classify(&cut_or_wrong).1, Some(IpClass::Truncated));
    }
    let mut version_4 = ipv6_header(17, 8);
    version_4[0] = 0x40;
    assert_eq!(classify(&frame(&[&[0x86, 0xdd], &version_4])), broken(EthClass::Ipv6));
    assert_eq!(classify(&frame(&[&[0x86, 0xdd], &ipv6_header(17, 8)[..39]])), broken(EthClass::Ipv6));
}

#[test]
fn cut_options_leave_the_protocol_known_and_the_ports_unknown() {
    let mut header = ipv4_header(6, 60, 0);
    header[0] = 0x4f;
    assert_eq!(classify(&frame(&[&[0x08, 0x00], &header])), in_flow(IpClass::Tcp, v4_flow(6, (0, 0), 0)));
}

#[test]
fn padding_behind_the_packet_is_not_read() {
    let padded = frame(&[&[0x08, 0x00], &ipv4_header(17, 20, 0), &UDP_1000_TO_53, &[0; 18]]);
    assert_eq!(classify(&padded), in_flow(IpClass::Udp, v4_flow(17, (0, 0), 0)));
    let padded_v6 = frame(&[&[0x86, 0xdd], &ipv6_header(17, 3), &UDP_1000_TO_53]);
    assert_eq!(classify(&padded_v6), in_flow(IpClass::Udp, v6_flow(17, (0, 0))));
}

#[test]
fn every_extension_header_is_skipped_but_esp_and_ah_are_classes() {
    let chain = [
        &[43_u8, 0, 1, 4, 0, 0, 0, 0][..],                  // hop-by-hop, then routing
        &[60, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // routing of 16 bytes, then destination options
        &[135, 0, 1, 4, 0, 0, 0, 0],                        // destination options, then mobility
        &[44, 0, 0, 0, 0, 0, 0, 0],                         // mobility, then fragment
        &[17, 0, 0, 1, 0, 0, 0, 1],                         // first fragment, then UDP
        &UDP_1000_TO_53,
    ]
    .concat();
    let whole = frame(&[&[0x86, 0xdd], &ipv6_header(0, 56), &chain]);
    assert_eq!(classify(&whole), in_flow(IpClass::Udp, v6_flow(17, (1000, 53))));
    for (protocol, class) in [(50, IpClass::Esp), (51, IpClass::Ah), (59, IpClass::NoNext)] {
        let ended = frame(&[&[0x86, 0xdd], &ipv6_header(60, 8), &[protocol, 0, 1, 4, 0, 0, 0, 0]]);
        assert_eq!(classify(&ended), in_flow(class, v6_flow(protocol, (0, 0))));
    }
}

#[test]
fn a_cut_extension_header_is_truncated_but_in_a_flow() {
    let cut = frame(&[&[0x86, 0xdd], &ipv6_header(0, 8), &[17, 0, 1, 4, 0, 0, 0]]);
    assert_eq!(classify(&cut), in_flow(IpClass::Truncated, v6_flow(0, (0, 0))));
    let beyond_payload = frame(&[&[0x86, 0xdd], &ipv6_header(60, 8), &[17, 1, 1, 4, 0, 0, 0, 0], &[0; 8]]);
    assert_eq!(classify(&beyond_payload), in_flow(IpClass::Truncated, v6_flow(60, (0, 0))));
}

#[test]
fn eight_extension_headers_are_followed_and_a_ninth_is_not() {
    let option = [60, 0, 1, 4, 0, 0, 0, 0];
    let last = [17, 0, 1, 4, 0, 0, 0, 0];
    let eight = frame(&[&[0x86, 0xdd], &ipv6_header(60, 72), &option.repeat(7), &last, &UDP_1000_TO_53]);
    assert_eq!(classify(&eight), in_flow(IpClass::Udp, v6_flow(17, (1000, 53))));
    let nine = frame(&[&[0x86, 0xdd], &ipv6_header(60, 80), &option.repeat(8), &last, &UDP_1000_TO_53]);
    assert_eq!(classify(&nine), in_flow(IpClass::Truncated, v6_flow(60, (0, 0))));
}

#[test]
fn a_jumbogram_without_a_payload_length_is_read_to_the_end_of_the_frame() {
    let jumbo = frame(&[&[0x86, 0xdd], &ipv6_header(0, 0), &[17, 0, 0xc2, 4, 0, 1, 0, 0], &UDP_1000_TO_53]);
    assert_eq!(classify(&jumbo), in_flow(IpClass::Udp, v6_flow(17, (1000, 53))));
}

#[test]
fn ports_need_their_four_bytes_and_a_protocol_that_has_ports() {
    for (protocol, bytes, expected) in
        [(6, 4, (1000, 53)), (6, 3, (0, 0)), (132, 8, (1000, 53)), (136, 8, (1000, 53)), (1, 8, (0, 0))]
    {
        let cut = frame(&[&[0x08, 0x00], &ipv4_header(protocol, 60, 0), &UDP_1000_TO_53[..bytes]]);
        let flow = v4_flow(protocol, expected, 0);
        assert_eq!(classify(&cut).2, Some(flow), "{protocol} with {bytes} bytes");
    }
}

#[test]
fn the_sums_of_all_classes_are_the_totals() {
    let mut frames = Frames::default();
    let udp = frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0), &UDP_1000_TO_53]);
    for frame in [&udp, &frame(&[&[0x08, 0x06], &[0; 46]]), &frame(&[&[0x08, 0x00], &[0; 10]])] {
        frames.push(frame);
    }
    let truth = Truth::of_cycle(&frames, 5);
    assert_eq!(truth.total, Counter { packets: 5, bytes: 2 * 42 + 2 * 60 + 24 });
    assert_eq!(truth.eth[EthClass::Ipv4 as usize], Counter { packets: 3, bytes: 2 * 42 + 24 });
    assert_eq!(truth.ip[IpClass::Truncated as usize], Counter { packets: 1, bytes: 24 });
    let udp = Counter { packets: 2, bytes: 84 };
    assert_eq!(truth.flows.by_key, HashMap::from([(v4_flow(17, (1000, 53), 0), udp)]));
    assert_eq!(truth.flows.none, Counter { packets: 3, bytes: 2 * 60 + 24 });
}

#[test]
fn a_list_that_is_repeated_counts_its_first_frames_once_more() {
    let mut frames = Frames::default();
    for length in [60, 70, 80] {
        frames.push(&vec![0; length]);
    }
    let total = Truth::of_cycle(&frames, 8).total;
    assert_eq!((total.packets, total.bytes), (8, 3 * 60 + 3 * 70 + 2 * 80));
    assert_eq!(Truth::of_cycle(&frames, 2).total.bytes, 130);
    assert_eq!(Truth::of_cycle(&Frames::default(), 0), Truth::default());
}
