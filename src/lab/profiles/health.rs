//! What an operator looks for in traffic that is not TCP's own.

use super::{Flow, LONGEST_FRAME, Random, Transport, v4_fragment};
use crate::lab::packet::{
    Addresses, Marks, SHORTEST_FRAME, ethernet, ethernet_to, ethertype, icmp, ip, ipv4, marked_ip, tcp, udp,
};
use crate::model::traffic::Service;

/// Where an IPv4 header is in an untagged frame.
const IP: usize = 14;

/// A packet with one sign of bad health, or with none.
pub(super) fn frame(random: &mut Random) -> Vec<u8> {
    let flow = Flow::of_rank(random.rank());
    let addresses = flow.addresses(random);
    match random.below(10) {
        0 => icmp_error(addresses, random),
        1 => spent(flow, random),
        2 => {
            let mut frame = flow.frame(flow.v4, Transport::Udp, &[], SHORTEST_FRAME);
            frame[IP + 10] ^= 1 << random.below(8);
            frame
        }
        3 => to_a_group(flow, random),
        // Unpadded, as a CPU hands it out.
        4 => {
            let datagram = udp(flow.v4, flow.sport, flow.dport, random.below(16));
            let (ethertype, packet) = ip(flow.v4, 17, &datagram);
            ethernet(&[], ethertype, &packet)[..IP + packet.len()].to_vec()
        }
        5 => flow.frame(addresses, Transport::Tcp, &[], LONGEST_FRAME + random.below(7000)),
        6 => v4_fragment(flow, random),
        7 | 8 => of_a_service(flow, addresses, random),
        _ => marked(flow, addresses, random),
    }
}

/// Unreachable, too big or time exceeded, with the header of the packet that it is about.
fn icmp_error(addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let code = random.below(4) as u8;
    let (kind, code, quoted) = match addresses {
        Addresses::V4(src, dst) => {
            let (kind, code) = [(3, code), (3, 4), (11, code % 2)][random.below(3)];
            (kind, code, ipv4(dst, src, 17, 0, &[0; 8]))
        }
        Addresses::V6(..) => {
            let (kind, code) = [(1, code), (2, 0), (3, code % 2)][random.below(3)];
            (kind, code, ip(addresses, 17, &[0; 8]).1)
        }
    };
    let (protocol, message) = icmp(addresses, kind, code, [0, 0, 5, 220], &quoted);
    let (ethertype, packet) = ip(addresses, protocol, &message);
    ethernet(&[], ethertype, &packet)
}

/// A packet that the next router does not forward, or that should not have come this far.
fn spent(flow: Flow, random: &mut Random) -> Vec<u8> {
    let addresses = flow.addresses(random);
    let marks = Marks { tos: 0, ttl: random.below(2) as u8 };
    let (ethertype, packet) = marked_ip(addresses, marks, 17, &udp(addresses, flow.sport, flow.dport, 20));
    ethernet(&[], ethertype, &packet)
}

fn to_a_group(flow: Flow, random: &mut Random) -> Vec<u8> {
    let (ethertype, packet) = ip(flow.v4, 17, &udp(flow.v4, flow.sport, flow.dport, 20));
    let group = [[0xff; 6], [0x01, 0x00, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]][random.below(3)];
    ethernet_to(group, &[], ethertype, &packet)
}

/// To or from one of a service's ports.
fn of_a_service(flow: Flow, addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let ports = Service::ALL[random.below(Service::ALL.len())].ports();
    let count = ports.tcp.len() + ports.udp.len();
    let which = random.below(count);
    let pair = |port: u16, is_answer: bool| if is_answer { (port, flow.sport) } else { (flow.sport, port) };
    let is_answer = random.below(2) == 0;
    let (protocol, segment) = if let Some(port) = ports.tcp.get(which) {
        let (from, to) = pair(*port, is_answer);
        (6, tcp(addresses, from, to, 1, 20))
    } else {
        let (from, to) = pair(ports.udp[which - ports.tcp.len()], is_answer);
        (17, udp(addresses, from, to, 20))
    };
    let (ethertype, packet) = ip(addresses, protocol, &segment);
    ethernet(&[], ethertype, &packet)
}

fn marked(flow: Flow, addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let marks = Marks { tos: random.below(256) as u8, ttl: 64 };
    let (ethertype, packet) = marked_ip(addresses, marks, 17, &udp(addresses, flow.sport, flow.dport, 20));
    ethernet(&[(ethertype::VLAN, 60)], ethertype, &packet)
}
