//! Packets in packets.

use super::{Flow, Random, Transport, arp_request, v4_fragment};
use crate::lab::packet::{Addresses, Tag, ethernet, ethernet_to, ethertype, ip, tcp, udp, udp_around};

const BRIDGED: u16 = 0x6558;

/// A tunnel of one of five kinds, between two of a few hosts, with a packet of one of many flows in it.
pub(super) fn frame(random: &mut Random) -> Vec<u8> {
    let outer = Flow::of_rank(1 + random.below(8));
    let addresses = outer.addresses(random);
    let tags: &[Tag] = if random.below(4) == 0 { &[(ethertype::VLAN, 40)] } else { &[] };
    let (protocol, payload) = match random.below(5) {
        0 => (17, vxlan(addresses, random)),
        1 => (17, geneve(addresses, random)),
        2 => (47, gre(random)),
        3 => match inner_ip(random) {
            (ethertype::IPV4, packet) => (4, packet),
            (_, packet) => (41, packet),
        },
        _ => return ethernet(tags, 0x8847, &mpls(random)),
    };
    let (ethertype, packet) = ip(addresses, protocol, &payload);
    ethernet(tags, ethertype, &packet)
}

/// RFC 7348 §5. The source port tells flows apart.
fn vxlan(addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let header = [0x08, 0, 0, 0, 0, 0, random.below(256) as u8, 0];
    udp_around(addresses, source_port(random), 4789, &[&header[..], &inner_frame(random)].concat())
}

/// RFC 8926 §3.4, with up to 28 bytes of options.
fn geneve(addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let (ethertype, inner) = inner(random);
    let [hi, lo] = ethertype.to_be_bytes();
    let words = random.below(8);
    let mut packet = vec![words as u8, 0, hi, lo, 0, 0, random.below(256) as u8, 0];
    // Options of an experimental class, with 4 bytes of data each or, at the end, none.
    for word in (0..words).step_by(2) {
        let length = u8::from(word + 1 < words);
        packet.extend([0xff, 0x00, 0x01, length]);
        packet.extend(vec![0; 4 * usize::from(length)]);
    }
    packet.extend(inner);
    udp_around(addresses, source_port(random), 6081, &packet)
}

/// RFC 2784, and 2890 with key, sequence number or both.
fn gre(random: &mut Random) -> Vec<u8> {
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    let (ethertype, inner) = inner(random);
    let (flags, fields) = [(0, 0), (KEY, 1), (SEQUENCE, 1), (KEY | SEQUENCE, 2)][random.below(4)];
    let mut packet = [flags.to_be_bytes(), ethertype.to_be_bytes()].concat();
    packet.extend([0, 0, 0, 7].repeat(fields));
    packet.extend(inner);
    packet
}

/// RFC 3032: up to eight labels, or a ninth that is too many.
fn mpls(random: &mut Random) -> Vec<u8> {
    let count = if random.below(50) == 0 { 9 } else { 1 + random.below(8) };
    let label = |index: usize| {
        let [_, _, hi, lo] = (((100 + index as u32) << 4) | u32::from(index + 1 == count)).to_be_bytes();
        [0, hi, lo, 64]
    };
    [(0..count).flat_map(label).collect(), inner_ip(random).1].concat()
}

/// An IP packet or an Ethernet frame, and the EtherType that announces it.
fn inner(random: &mut Random) -> (u16, Vec<u8>) {
    if random.below(3) == 0 { (BRIDGED, inner_frame(random)) } else { inner_ip(random) }
}

fn inner_frame(random: &mut Random) -> Vec<u8> {
    let flow = Flow::of_rank(random.rank());
    match random.below(20) {
        0 => ethernet_to([0xff; 6], &[], 0x0806, &arp_request(flow)),
        1 => v4_fragment(flow, random),
        _ => {
            let (ethertype, packet) = inner_ip(random);
            let tags = [(ethertype::SERVICE_VLAN, 50), (ethertype::VLAN, 51)];
            ethernet(&tags[random.below(3)..], ethertype, &packet)
        }
    }
}

fn inner_ip(random: &mut Random) -> (u16, Vec<u8>) {
    let flow = Flow::of_rank(random.rank());
    let (addresses, payload) = (flow.addresses(random), random.below(1200));
    let (protocol, segment) = match [Transport::Tcp, Transport::Udp][random.below(2)] {
        Transport::Tcp => (6, tcp(addresses, flow.sport, flow.dport, 1, payload)),
        // No tunnel in a tunnel: what is not opened is not of interest here.
        Transport::Udp => (17, udp(addresses, flow.sport, 53, payload)),
    };
    ip(addresses, protocol, &segment)
}

fn source_port(random: &mut Random) -> u16 {
    0xc000 | random.below(0x4000) as u16
}
