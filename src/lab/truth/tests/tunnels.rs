//! What is inside of tunnels.

use super::*;
use crate::model::traffic::Tunnel;

fn inside(frame: &[u8]) -> Option<(Tunnel, Option<FlowKey>)> {
    let packet = Packet::read(frame);
    let inside = packet.inside.as_ref()?;
    let flow = matches!(inside.content, Content::Ip(_)).then(|| packet.flow(View::Inner)).flatten();
    Some((inside.tunnel, flow))
}

fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap();
    let header = [&ipv4_header(protocol, total, 0)[..12], &[192, 0, 2, 1, 192, 0, 2, 2]].concat();
    frame(&[&[0x81, 0x00, 0x20, 0x05, 0x08, 0x00], &header, payload])
}

fn to_port(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    outer(17, &[&[0xc0, 0], &port.to_be_bytes()[..], &length.to_be_bytes(), &[0, 0], payload].concat())
}

/// The packet with [`INNER`]'s flow.
fn inner_v4() -> Vec<u8> {
    [&ipv4_header(17, 28, 0)[..], &UDP_1000_TO_53].concat()
}

fn inner_v6() -> Vec<u8> {
    [&ipv6_header(60, 16)[..], &[17, 0, 0, 0, 0, 0, 0, 0], &UDP_1000_TO_53].concat()
}

fn inner_flow() -> FlowKey {
    v4_flow(17, (1000, 53), 5)
}

const VXLAN: [u8; 8] = [0x08, 0, 0, 0, 0, 0, 7, 0];

#[test]
fn the_flow_of_a_tunnelled_packet_is_the_inner_one_with_the_outer_vlan() {
    let in_ethernet = frame(&[&[0x88, 0xa8, 0, 8, 0x81, 0, 0, 9, 0x08, 0x00], &inner_v4()]);
    let v6 = FlowKey { vlan: 5, ..v6_flow(17, (1000, 53)) };
    let v4 = inner_flow();
    for (frame, tunnel, flow) in [
        (to_port(4789, &[&VXLAN, &in_ethernet[..]].concat()), Tunnel::Vxlan, v4),
        (to_port(6081, &[&[0, 0, 0x65, 0x58, 0, 0, 1, 0], &in_ethernet[..]].concat()), Tunnel::Geneve, v4),
        (to_port(6081, &[&[2, 0, 0x86, 0xdd, 0, 0, 1, 0], &[9; 8][..], &inner_v6()].concat()), Tunnel::Geneve, v6),
        (outer(47, &[&[0, 0, 0x08, 0], &inner_v4()[..]].concat()), Tunnel::Gre, v4),
        (outer(47, &[&[0xb0, 0, 0x65, 0x58], &[0; 12][..], &in_ethernet].concat()), Tunnel::Gre, v4),
        (outer(4, &inner_v4()), Tunnel::Ipip, v4),
        (outer(41, &inner_v6()), Tunnel::Ipip, v6),
        (
            frame(&[&[0x81, 0, 0, 5, 0x88, 0x47], &[0, 1, 0, 64].repeat(7), &[0, 1, 1, 64], &inner_v6()]),
            Tunnel::Mpls,
            v6,
        ),
    ] {
        assert_eq!(inside(&frame), Some((tunnel, Some(flow))), "{frame:x?}");
        let outer_flow = Packet::read(&frame).flow(View::Outer);
        assert_ne!(outer_flow, Some(flow));
    }
}

#[test]
fn what_is_not_a_known_tunnel_is_not_opened() {
    let arp = frame(&[&[0x08, 0x06], &[0; 28]]);
    let first = frame(&[&[0x08, 0x00], &ipv4_header(4, 48, 0x2000), &inner_v4()]);
    let mut bad_udp_length = to_port(4789, &[&VXLAN, &arp[..]].concat());
    bad_udp_length[18 + 20 + 5] = 7;
    for frame in [
        to_port(4790, &[&VXLAN, &arp[..]].concat()),
        to_port(4789, &[&[0; 8], &arp[..]].concat()),
        to_port(4789, &VXLAN[..7]),
        to_port(6081, &[&[0x40, 0, 0x08, 0, 0, 0, 1, 0], &inner_v4()[..]].concat()),
        to_port(6081, &[&[0, 0, 0x88, 0x47, 0, 0, 1, 0], &inner_v4()[..]].concat()),
        to_port(6081, &[2, 0, 0x08, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        outer(47, &[&[0x40, 0, 0x08, 0, 0, 0, 0, 0], &inner_v4()[..]].concat()),
        outer(47, &[&[0, 1, 0x08, 0], &inner_v4()[..]].concat()),
        outer(47, &[&[0, 0, 0x88, 0xbe], &arp[..]].concat()),
        outer(47, &[0x20, 0, 0x08, 0, 0, 0, 0]),
        bad_udp_length,
        frame_of_labels(9, &inner_v4()),
        frame_of_labels(1, &[0x00; 20]),
        frame_of_labels(1, &[]),
        first,
    ] {
        assert_eq!(inside(&frame), None, "{frame:x?}");
    }
}

fn frame_of_labels(count: usize, payload: &[u8]) -> Vec<u8> {
    let stack = [[0, 1, 0, 64].repeat(count - 1), vec![0, 1, 1, 64]].concat();
    frame(&[&[0x88, 0x47], &stack, payload])
}

#[test]
fn what_a_tunnel_carries_is_counted_by_class_or_as_not_ip() {
    let arp = frame(&[&[0x08, 0x06], &[0; 28]]);
    let mut truth = Truth::default();
    let frames = [
        to_port(4789, &[&VXLAN, &arp[..]].concat()),
        to_port(4789, &[&VXLAN, &arp[..13]].concat()),
        outer(4, &inner_v4()),
        outer(4, &inner_v6()),
        outer(41, &[]),
        outer(41, &inner_v6()[..47]),
        outer(17, &UDP_1000_TO_53),
    ];
    for frame in &frames {
        truth.add(frame);
    }
    let packets = |counter: &Counter| counter.packets;
    let inside = truth.inner.as_ref().expect("the truth looks into tunnels");
    assert_eq!(inside.tunnels.each_ref().map(packets), [2, 0, 0, 4, 0]);
    assert_eq!(inside.non_ip, Counter { packets: 2, bytes: (frames[0].len() + frames[1].len()) as u64 });
    assert_eq!(packets(&inside.ip[IpClass::Udp as usize]), 1);
    assert_eq!(packets(&inside.ip[IpClass::Truncated as usize]), 3);
    // Those with a whole inner IP header are in its flow, the others in the outer one's.
    let outer_flows: Vec<_> = truth.flows.by_key.values().map(packets).collect();
    assert_eq!(outer_flows.iter().sum::<u64>(), 7);
    let inner = truth.flows(View::Inner);
    assert_eq!(inner.by_key.get(&inner_flow()).map(packets), Some(1));
    assert_eq!(inner.by_key.get(&FlowKey { vlan: 5, ..v6_flow(60, (0, 0)) }).map(packets), Some(1));
    assert_eq!(inner.by_key.values().map(packets).sum::<u64>(), 7);
}

#[test]
fn a_packet_that_claims_more_than_the_frame_has_is_opened_as_far_as_it_goes() {
    let claims = frame(&[&[0x08, 0x00], &ipv4_header(4, 1500, 0), &inner_v4()]);
    assert_eq!(inside(&claims), Some((Tunnel::Ipip, Some(FlowKey { vlan: 0, ..inner_flow() }))));
    let padded = frame(&[&[0x08, 0x00], &ipv4_header(4, 39, 0), &inner_v4()]);
    assert_eq!(inside(&padded), Some((Tunnel::Ipip, None)));
}
