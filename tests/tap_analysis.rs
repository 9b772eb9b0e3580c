//! What the tap's program makes of the packets that it analyses: sampling, histograms, the flow table. Needs root.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;

use std::num::NonZeroU32;

use packets::{IPV4, IPV6, Ipv4, Ipv6, TCP, UDP, VLAN, ethernet, tcp, udp};
use telegen_sonic::io::tap::{FlowSlots, Program, Switches, TapPlan};
use telegen_sonic::model::sample::{Counter, Flow};
use test_run::{Gso, plan, run, run_repeated};

#[test]
fn packet_sizes_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
    let program = Program::load(&plan()).unwrap();
    let lengths = [14, 64, 65, 128, 129, 1518, 1519, 2048, 2049, 3000];
    for length in lengths {
        run(&program, &ethernet(&[], 0x0806, &vec![0; length - 14]));
    }
    let sizes = program.read(false).packet_size;
    assert_eq!(sizes.counts, [2, 2, 1, 0, 0, 1, 2, 2, 0, 0]);
    assert_eq!((sizes.sum, sizes.count), (lengths.iter().sum::<usize>() as u64, lengths.len() as u64));
}

#[test]
fn one_of_64_interarrival_times_is_measured_or_one_in_as_many_as_the_sample_rate() {
    const RUNS: u32 = 1_000_000;
    let packet = ethernet(&[], 0x0806, &[0; 46]);
    for (sample_rate, gap_rate) in [(1, 64), (1000, 1000)] {
        let program = Program::load(&TapPlan { sample_rate: NonZeroU32::new(sample_rate).unwrap(), ..plan() }).unwrap();
        run_repeated(&program, &packet, Gso::default(), RUNS.cast_signed());
        let gaps = program.read(false).interarrival;
        let (n, rate) = (f64::from(RUNS), f64::from(gap_rate));
        // A renewal process as that of sampling, with the pair's second packet added to each distance.
        let mean = n / (rate + 1.0);
        let sigma = (n * (rate * (rate - 1.0) / 3.0) / rate.powi(3)).sqrt();
        let count = f64::from(u32::try_from(gaps.count).unwrap());
        assert!((count - mean).abs() < 5.0 * sigma + 1.0, "1 of {gap_rate}: {count}, expected {mean}, sigma {sigma}");
        // One call runs on one CPU; the runs follow each other within microseconds, mostly.
        assert_eq!((gaps.counts.len(), gaps.counts.iter().sum()), (26, gaps.count));
        assert!(gaps.counts[..9].iter().sum::<u64>() * 10 > gaps.count * 9, "{gaps:?}");
        assert!(gaps.sum < 1_000_000_000, "{gaps:?}");
    }
}

#[test]
fn one_of_n_packets_is_analysed() {
    const RUNS: i32 = 1_000_000;
    for rate in [2_u32, 7, 100, 1000] {
        let program = Program::load(&TapPlan { sample_rate: NonZeroU32::new(rate).unwrap(), ..plan() }).unwrap();
        run_repeated(&program, &ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(1, 2, b""))), Gso::default(), RUNS);
        let sample = program.read(true);
        assert_eq!(sample.total.packets, u64::from(RUNS.unsigned_abs()));
        let (n, rate) = (f64::from(RUNS), f64::from(rate));
        // A renewal process: distances have mean N and variance N(N-1)/3.
        let sigma = (n * (rate * (rate - 1.0) / 3.0) / rate.powi(3)).sqrt();
        let analysed = f64::from(u32::try_from(sample.analysed.packets).unwrap());
        assert!((analysed - n / rate).abs() < 5.0 * sigma, "1 of {rate}: {analysed}, sigma {sigma}");
        assert_eq!(sample.flows.as_ref().unwrap().flows[0].packets, sample.analysed.packets);
    }
}

#[test]
fn the_first_packet_is_as_likely_to_be_analysed_as_any_other() {
    let rate = NonZeroU32::new(4).unwrap();
    let packet = ethernet(&[], 0x0806, &[0; 46]);
    let mut first = 0_u32;
    for _ in 0..400 {
        // Hundreds of programs are loaded: of the smallest kind.
        let plan = TapPlan { sample_rate: rate, flows: None, ..plan() };
        let program = Program::load_with(&plan, Switches::TOTALS).unwrap();
        run(&program, &packet);
        first += u32::try_from(program.read(false).analysed.packets).unwrap();
    }
    // Binomial(400, 1/4): mean 100, sigma 8.7. With distances from 1 to 7 it would be 57.
    assert!((100 - 5 * 8..=100 + 5 * 8).contains(&first), "{first}");
}

fn flow_packet(flow: u32, payload: usize) -> Vec<u8> {
    let [_, a, b, c] = flow.to_be_bytes();
    let header = Ipv4 { src: [10, a, b, c].into(), ..Ipv4::new(UDP) };
    ethernet(&[], IPV4, &header.around(&udp(1000, 2000, &vec![0; payload])))
}

fn of_flows(flows: &[Flow]) -> Counter {
    flows.iter().map(|flow| Counter { packets: flow.packets, bytes: flow.bytes }).sum()
}

#[test]
fn few_flows_are_counted_exactly() {
    // 16,384 sets of 4: that 5 of these 51 flows share one does not happen, in 256 sets it would once in 2000 runs.
    let program = Program::load(&TapPlan { flows: FlowSlots::per_cpu(65_536), ..plan() }).unwrap();
    for flow in 0..50 {
        for _ in 0..=flow {
            run(&program, &flow_packet(flow, 100));
        }
    }
    run(&program, &ethernet(&[(VLAN, 30)], IPV6, &Ipv6::new(TCP).around(&tcp(7, 8, b""))));
    run(&program, &ethernet(&[], 0x0806, &[0; 46]));
    let sample = program.read(true);
    let table = sample.flows.unwrap();
    assert_eq!((table.seen, table.evicted, table.other), (51, 0, Counter::default()));
    assert_eq!(table.non_ip, Counter { packets: 1, bytes: 60 });
    let mut flows = table.flows;
    flows.sort_by_key(|flow| flow.key);
    for (flow, index) in flows.iter().zip(0_u8..50) {
        assert_eq!(flow.key.src.to_string(), format!("10.0.0.{index}"));
        assert_eq!((flow.key.dst.to_string(), flow.key.ip_proto), ("198.51.100.2".to_owned(), UDP));
        assert_eq!((flow.key.sport, flow.key.dport, flow.key.vlan), (1000, 2000, 0));
        let packets = u64::from(index) + 1;
        assert_eq!((flow.packets, flow.bytes, flow.base), (packets, packets * 142, 0));
        assert!(flow.first_seen_ns <= flow.last_seen_ns && flow.last_seen_ns <= sample.taken_at_ns);
        assert!(sample.taken_at_ns - flow.first_seen_ns < 60_000_000_000);
    }
    let v6 = &flows[50].key;
    assert_eq!((v6.src.to_string(), v6.dst.to_string()), ("2001:db8::1".to_owned(), "2001:db8::2".to_owned()));
    assert_eq!((v6.ip_proto, v6.sport, v6.dport, v6.vlan), (TCP, 7, 8, 30));
}

#[test]
fn packets_that_look_alike_in_other_versions_are_other_flows() {
    let program = Program::load(&plan()).unwrap();
    let v4 = Ipv4::new(UDP);
    run(&program, &ethernet(&[], IPV4, &v4.around(&udp(1, 2, b""))));
    let v6 = Ipv6 { src: v4.src.to_ipv6_mapped(), dst: v4.dst.to_ipv6_mapped(), ..Ipv6::new(UDP) };
    run(&program, &ethernet(&[], IPV6, &v6.around(&udp(1, 2, b""))));
    assert_eq!(program.read(true).flows.unwrap().flows.len(), 2);
}

#[test]
fn flows_with_one_hash_are_told_apart() {
    let program = Program::load_with(&plan(), Switches { zero_hash_keys: true, ..Switches::default() }).unwrap();
    // All products are 12: one set, one tag, and as many flows as the set has room for.
    let pairs = [(1, 12), (12, 1), (2, 6), (6, 2)];
    let packet = |(src, dst): (u8, u8)| {
        let header = Ipv4 { src: [0, 0, 0, src].into(), dst: [0, 0, 0, dst].into(), ..Ipv4::new(UDP) };
        ethernet(&[], IPV4, &header.around(&udp(1000, 1000, &[])))
    };
    for round in 0..10 {
        for pair in pairs.iter().take(1 + round) {
            run(&program, &packet(*pair));
        }
    }
    let table = program.read(true).flows.unwrap();
    assert_eq!((table.seen, table.evicted, table.other), (4, 0, Counter::default()));
    for ((src, dst), packets) in pairs.into_iter().zip([10, 9, 8, 7]) {
        let is_it = |flow: &&Flow| {
            [flow.key.src.to_string(), flow.key.dst.to_string()] == [src, dst].map(|last| format!("0.0.0.{last}"))
        };
        assert_eq!(table.flows.iter().filter(is_it).map(|flow| flow.packets).collect::<Vec<_>>(), [packets], "{src}");
    }
    // A fifth has no room in the set: it is beside the table, or takes the place of one that is.
    run(&program, &packet((3, 4)));
    let table = program.read(true).flows.unwrap();
    let sums: Counter = [of_flows(&table.flows), table.other].into_iter().sum();
    assert_eq!((table.flows.len(), sums.packets), (4, 35));
}

#[test]
fn large_flows_stay_right_under_a_flood_and_the_table_reconciles_to_the_packet() {
    const LARGE: u32 = 16;
    // 256 sets of 4: that 5 large flows share one happens once in a million runs.
    let program = Program::load(&plan()).unwrap();
    let mut expected = Counter::default();
    for round in 0..2000 {
        for flow in (0..LARGE).chain((0..30).map(|small| LARGE + round * 30 + small)) {
            let packet = flow_packet(flow, 10 + flow as usize % 50);
            run(&program, &packet);
            expected += Counter { packets: 1, bytes: packet.len() as u64 };
        }
    }
    let sample = program.read(true);
    let table = sample.flows.clone().unwrap();
    assert_eq!([sample.total, sample.analysed], [expected; 2]);
    let sums: Counter = [of_flows(&table.flows), table.other, table.non_ip].into_iter().sum();
    assert_eq!(sums, expected);
    assert!(table.evicted > 0 && table.seen == table.flows.len() as u64 + table.evicted);
    let mut flows = table.flows;
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.packets));
    for flow in &flows[..LARGE as usize] {
        assert!(flow.key.src < "10.0.0.16".parse::<std::net::IpAddr>().unwrap(), "{flow:?}");
        // A flow that is thrown out while it is small starts anew; never is one packet too many counted.
        assert!(flow.packets > 1500 && flow.packets <= 2000, "{flow:?}");
    }
}

#[test]
fn without_a_flow_table_the_rest_is_the_same() {
    let program = Program::load(&TapPlan { flows: None, ..plan() }).unwrap();
    run_repeated(&program, &flow_packet(1, 10), Gso::default(), 10);
    let sample = program.read(true);
    assert_eq!((&sample.flows, sample.analysed.packets, sample.packet_size.count), (&None, 10, 10));
}
