//! The tap's fast parser and its parsers of the layers say the same of every packet. Needs root.
//!
//! What they have to say is in `tap_programs.rs`.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;

use cases::{cases, tagged};
use packets::{DESTINATION, HOP_BY_HOP, IPV4, IPV6, Ipv4, Ipv6, QINQ, TCP, UDP, VLAN, ethernet, extension, tcp, udp};
use telegen_sonic::io::tap::{FlowSlots, Program, Switches, TapPlan};
use telegen_sonic::model::filter::{Dscp, Filter, PortRange, VlanId};
use telegen_sonic::model::sample::{Histogram, Sample};
use test_run::{plan, run};

/// The same tap twice, with and without the fast parser.
struct Pair {
    fast: Program,
    layers: Program,
}

impl Pair {
    fn load(plan: &TapPlan) -> Pair {
        let load = |layers_only| Program::load_with(plan, Switches { layers_only, ..Switches::default() }).unwrap();
        Pair { fast: load(false), layers: load(true) }
    }

    fn run(&self, packet: &[u8]) {
        run(&self.fast, packet);
        run(&self.layers, packet);
    }

    /// Everything that was counted, but what depends on when.
    fn samples(&self) -> [Sample; 2] {
        [&self.fast, &self.layers].map(|program| {
            let mut sample = program.read(true);
            sample.taken_at_ns = 0;
            sample.interarrival = Histogram { sum: 0, count: 0, counts: Vec::new(), ..sample.interarrival };
            if let Some(table) = &mut sample.flows {
                table.flows.sort_by_key(|flow| flow.key);
                for flow in &mut table.flows {
                    flow.first_seen_ns = 0;
                    flow.last_seen_ns = 0;
                }
            }
            sample
        })
    }
}

/// Room for all flows of a test: where flows throw each other out, chance decides which stay.
fn roomy() -> TapPlan {
    TapPlan { flows: FlowSlots::per_cpu(65_536), ..plan() }
}

/// All packets of `cases.rs`, and those at the edges of what the fast parser takes.
fn packets() -> Vec<(String, Vec<u8>)> {
    let segment = tcp(1000, 179, b"open");
    let options =
        |count: usize| (1..count).fold(extension(TCP, 0, &segment), |inner, _| extension(DESTINATION, 0, &inner));
    let v4 = Ipv4::new(TCP).around(&segment);
    let edges = [
        ("v6 in QinQ", ethernet(&[(QINQ, 5), (VLAN, 6)], IPV6, &Ipv6::new(TCP).around(&segment))),
        ("v4 in three tags", ethernet(&[(QINQ, 5), (VLAN, 6), (VLAN, 7)], IPV4, &v4)),
        ("padded v4", [ethernet(&[], IPV4, &v4), vec![0x45; 30]].concat()),
        ("four options", ethernet(&[], IPV6, &Ipv6::new(HOP_BY_HOP).around(&options(4)))),
        ("five options", ethernet(&[], IPV6, &Ipv6::new(HOP_BY_HOP).around(&options(5)))),
        ("long options", ethernet(&[], IPV6, &Ipv6::new(43).around(&extension(UDP, 30, &udp(1, 2, b"x"))))),
    ];
    let cases = cases().into_iter().map(|(name, packet, _)| (name.to_owned(), packet));
    // With and without a tag: what may not be cut in the IP header without one, can be with one.
    cases
        .chain(edges.map(|(name, packet)| (name.to_owned(), packet)))
        .flat_map(|(name, packet)| [(format!("{name}, tagged"), tagged(&packet)), (name, packet)])
        .collect()
}

/// Whether `BPF_PROG_TEST_RUN` takes it, see [`tagged`].
fn runs(packet: &[u8]) -> bool {
    let headers = match packet[12..14] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 1,
    };
    packet.len() >= 14 + headers
}

/// A small generator (xorshift64*, Vigna 2016): the same packets on every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[test]
fn both_say_the_same_of_every_packet_and_of_it_cut_at_every_length() {
    for (name, packet) in packets() {
        let pair = Pair::load(&roomy());
        for length in (15..=packet.len()).filter(|length| runs(&packet[..*length])) {
            pair.run(&packet[..length]);
        }
        let [fast, layers] = pair.samples();
        assert_eq!(fast, layers, "{name}");
    }
}

#[test]
fn both_say_the_same_of_every_packet_with_any_byte_changed() {
    let mut seeded = Seeded(0x7e1e_6e11);
    for (name, packet) in packets() {
        let pair = Pair::load(&roomy());
        for at in 12..packet.len().min(256) {
            let values =
                [0, 1, 0x7f, 0xff, packet[at] ^ 0x10, packet[at].wrapping_add(1), seeded.byte(), seeded.byte()];
            for value in values {
                let mut changed = packet.clone();
                changed[at] = value;
                if runs(&changed) {
                    pair.run(&changed);
                }
            }
        }
        let [fast, layers] = pair.samples();
        assert_eq!(fast, layers, "{name}");
    }
}

#[test]
fn both_give_a_filter_the_same_facts() {
    let range = |lo, hi| vec![PortRange::new(lo, hi).unwrap()].try_into().unwrap();
    let filters = [
        Filter { vlan: VlanId::new(5), ..Filter::default() },
        Filter { ip_protos: vec![TCP, 200], ..Filter::default() },
        Filter { l4_sports: range(1, 1), ..Filter::default() },
        Filter { l4_dports: range(2, 179), ..Filter::default() },
        Filter { src_cidr: "192.0.2.0/24".parse().ok(), ..Filter::default() },
        Filter { dst_cidr: "2001:db8::/64".parse().ok(), ..Filter::default() },
        Filter { dscps: Dscp::new(0).into_iter().chain(Dscp::new(4)).collect(), ..Filter::default() },
    ];
    let mut seeded = Seeded(0xf117);
    for filter in filters {
        let pair = Pair::load(&TapPlan { filter: filter.clone(), flows: None, ..plan() });
        for (_, packet) in packets() {
            for at in 12..packet.len().min(80) {
                let mut changed = packet.clone();
                changed[at] = seeded.byte();
                for packet in [&packet, &changed].into_iter().filter(|packet| runs(packet)) {
                    pair.run(packet);
                }
            }
        }
        let [fast, layers] = pair.samples();
        assert!(fast.total.packets > 0 && fast.total.packets < fast.delivered.packets, "{filter:?}");
        assert_eq!(fast, layers, "{filter:?}");
    }
}
