//! RDMA over converged Ethernet, version 2: InfiniBand's transport in UDP (InfiniBand Architecture Specification, annex A17).

use super::{Flow, Random};
use crate::lab::packet::{Marks, ethernet, marked_ip, udp_around};

const PORT: u16 = 4791;
const CNP: u8 = 0x81;
/// Of the invariant checksum at the end.
const ICRC: usize = 4;

/// Opcodes of the reliable connection (0x00) and, of some, of other transports; the last two are reserved.
const OPCODES: [u8; 27] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x16, 0x17, 0x64, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x2a, 0x0c, 0x0d, 0x0e,
    0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x1f,
];

/// One packet of a queue pair; a fifth met congestion, and one in twenty tells the sender so.
pub(super) fn frame(random: &mut Random) -> Vec<u8> {
    const DSCP_26: u8 = 26 << 2;
    const DSCP_48: u8 = 48 << 2;
    let flow = Flow::of_rank(random.rank());
    let addresses = flow.addresses(random);
    let (ect0, ce) = (2, 3);
    let ecn = match random.below(10) {
        0 | 1 => ce,
        2 => 0,
        _ => ect0,
    };
    let (payload, tos) = match random.below(100) {
        0..5 => (transport(CNP, 16), DSCP_48),
        // Nothing behind UDP.
        5 => (Vec::new(), DSCP_26 | ecn),
        _ => (transport(OPCODES[random.below(OPCODES.len())], 28 + random.below(1024)), DSCP_26 | ecn),
    };
    // The source port spreads queue pairs over links.
    let datagram = udp_around(addresses, 0xc000 | flow.sport, PORT, &payload);
    let (ethertype, packet) = marked_ip(addresses, Marks { tos, ttl: 64 }, 17, &datagram);
    ethernet(&[], ethertype, &packet)
}

/// A base transport header (volume 1, 9.2) with this opcode, `length` bytes for what it has behind it, and the checksum.
fn transport(opcode: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![opcode, 0x40, 0xff, 0xff, 0, 0, 0, 17, 0, 0, 0, 1];
    packet.resize(packet.len() + length + ICRC, 0);
    packet
}
