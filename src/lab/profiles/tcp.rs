//! TCP connections on which things go wrong.

use super::{Flow, Random};
use crate::lab::packet::{Addresses, TcpFields, ethernet, ip, tcp_with};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// One direction each of some connections.
#[derive(Default)]
pub(super) struct Connections(Vec<Connection>);

struct Connection {
    flow: Flow,
    addresses: Addresses,
    /// The number behind all that was sent.
    next: u32,
    latest: Segment,
    /// Overtaken by later ones.
    late: Option<Segment>,
}

#[derive(Clone, Copy)]
struct Segment {
    sequence: u32,
    payload: usize,
}

impl Connections {
    const COUNT: usize = 40;

    /// The next packet of one of them.
    pub fn next(&mut self, random: &mut Random) -> Vec<u8> {
        let which = random.rank() % Connections::COUNT;
        while self.0.len() <= which {
            let connection = Connection::new(self.0.len(), random);
            self.0.push(connection);
        }
        self.0[which].next(random)
    }
}

impl Connection {
    fn new(rank: usize, random: &mut Random) -> Connection {
        let flow = Flow::of_rank(rank);
        // Close below the end of the numbers, so that many connections wrap around.
        let next = 0_u32.wrapping_sub(random.below(200_000) as u32);
        let latest = Segment { sequence: next, payload: 0 };
        Connection { flow, addresses: flow.addresses(random), next, latest, late: None }
    }

    fn next(&mut self, random: &mut Random) -> Vec<u8> {
        match random.below(100) {
            0..55 => self.data(random),
            55..63 => self.packet(self.latest, ACK | PSH, 1000),
            // Overtaken by what comes next.
            63..72 => {
                let segment = self.advance(random);
                let overtaken = self.late.replace(segment);
                // A second one that is late opens a second gap: the older one is then no longer the latest.
                match overtaken {
                    Some(segment) => self.packet(segment, ACK, 1000),
                    None => self.data(random),
                }
            }
            72..84 => match self.late.take() {
                Some(segment) => self.packet(segment, ACK, 1000),
                None => self.data(random),
            },
            // A keep-alive with and without a byte (RFC 9293 §3.8.4).
            84..88 => {
                let probe = Segment { sequence: self.next.wrapping_sub(1), payload: random.below(2) };
                self.packet(probe, ACK, 1000)
            }
            88..92 => self.packet(Segment { sequence: self.next, payload: 0 }, ACK, 0),
            92..94 => self.packet(Segment { sequence: self.next, payload: 0 }, RST | ACK, 0),
            94..96 => self.control(SYN),
            96..98 => self.control(FIN | ACK),
            _ => self.packet(Segment { sequence: self.next, payload: 0 }, ACK, 1000),
        }
    }

    fn advance(&mut self, random: &mut Random) -> Segment {
        let segment = Segment { sequence: self.next, payload: 1 + random.below(1400) };
        self.next = self.next.wrapping_add(segment.payload as u32);
        segment
    }

    fn data(&mut self, random: &mut Random) -> Vec<u8> {
        self.latest = self.advance(random);
        self.packet(self.latest, ACK, 1000)
    }

    /// A flag that takes a sequence number.
    fn control(&mut self, flags: u8) -> Vec<u8> {
        let segment = Segment { sequence: self.next, payload: 0 };
        self.next = self.next.wrapping_add(1);
        self.packet(segment, flags, 1000)
    }

    fn packet(&self, Segment { sequence, payload }: Segment, flags: u8, window: u16) -> Vec<u8> {
        let fields = TcpFields { sequence, flags, window };
        let segment = tcp_with(self.addresses, self.flow.sport, self.flow.dport, fields, payload);
        let (ethertype, packet) = ip(self.addresses, 6, &segment);
        ethernet(&[], ethertype, &packet)
    }
}
