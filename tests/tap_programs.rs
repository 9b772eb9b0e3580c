//! What the tap's program says of single packets: classes, errors, lengths.
//!
//! Needs root. What only real traffic can show (tags in `vlan_tci`, non-linear buffers, hooks) is in `tap_live.rs`.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;

use cases::{cases, tagged};
use packets::{IPV4, IPV6, Ipv4, Ipv6, TCP, UDP, VLAN, ethernet, tcp, tcp_with, udp};
use telegen_sonic::io::tap::Program;
use telegen_sonic::model::sample::{Counter, Sample};
use telegen_sonic::model::schema::{ErrorKind, EthClass, IpClass};
use test_run::{Gso, plan, run, run_repeated};

/// What a tap of its own says of one packet.
fn sample_of(packet: &[u8], gso: Gso) -> Sample {
    let program = Program::load(&plan()).unwrap();
    run_repeated(&program, packet, gso, 1);
    program.read(true)
}

/// What a sample says of the classes of its packets, in words.
fn classes(sample: &Sample) -> String {
    let mut words = Vec::new();
    words.extend(
        EthClass::ALL.iter().filter(|class| sample.eth[**class as usize].packets > 0).map(|class| class.as_str()),
    );
    words.extend(
        IpClass::ALL.iter().filter(|class| sample.ip[**class as usize].packets > 0).map(|class| class.as_str()),
    );
    words.extend(ErrorKind::ALL.iter().filter(|kind| sample.errors[**kind as usize] > 0).map(|kind| kind.as_str()));
    if sample.fragments > 0 {
        words.push("fragment");
    }
    words.join(" ")
}

#[test]
fn every_packet_is_counted_as_what_it_is() {
    let mut wrong = Vec::new();
    for (name, packet, expected) in cases() {
        let packet = if expected.contains("truncated_ip") { tagged(&packet) } else { packet };
        let sample = sample_of(&packet, Gso::default());
        let one = Counter { packets: 1, bytes: packet.len() as u64 };
        let sums = [sample.delivered, sample.total, sample.analysed, sample.eth.into_iter().sum()];
        assert_eq!(sums, [one; 4], "{name}");
        let is_ip = sample.eth[EthClass::Ipv4 as usize].packets + sample.eth[EthClass::Ipv6 as usize].packets > 0;
        assert_eq!(sample.ip.into_iter().sum::<Counter>(), if is_ip { one } else { Counter::default() }, "{name}");
        let counted = classes(&sample);
        if counted != expected {
            wrong.push(format!("{name}: counted as {counted:?}, expected {expected:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_classes_in_c_are_those_of_the_schema_in_its_order() {
    let header = include_str!("../bpf/types.h");
    let members = |name: &str| -> Vec<String> {
        let body = header.split(&format!("enum {name} {{")).nth(1).unwrap().split('}').next().unwrap();
        body.split(',').map(|member| member.trim().to_lowercase()).filter(|member| !member.is_empty()).collect()
    };
    let words =
        |prefix: &str, words: Vec<&str>| words.iter().map(|word| format!("{prefix}_{word}")).collect::<Vec<_>>();
    assert_eq!(members("eth_class"), words("eth", EthClass::ALL.iter().map(|class| class.as_str()).collect()));
    assert_eq!(members("ip_class"), words("ip", IpClass::ALL.iter().map(|class| class.as_str()).collect()));
    let mut errors = words("error", ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect());
    errors.push("error_count".to_owned());
    assert_eq!(members("error_kind"), errors);
}

#[test]
fn a_packet_cut_at_any_length_is_counted_once_with_the_length_that_it_has() {
    for (name, packet, _) in cases() {
        let program = Program::load(&plan()).unwrap();
        let mut expected = Counter::default();
        let packet = tagged(&packet);
        for length in 15..=packet.len() {
            run(&program, &packet[..length]);
            expected += Counter { packets: 1, bytes: length as u64 };
            let sample = program.read(true);
            let flows = sample.flows.as_ref().unwrap();
            let of_flows = flows.flows.iter().map(|flow| Counter { packets: flow.packets, bytes: flow.bytes });
            let sums = [
                sample.delivered,
                sample.total,
                sample.eth.into_iter().sum(),
                of_flows.chain([flows.other, flows.non_ip]).sum(),
            ];
            assert_eq!(sums, [expected; 4], "{name}, cut to {length} bytes");
        }
    }
}

#[test]
fn options_of_ipv4_are_counted_where_all_of_the_header_is_there() {
    let options = |options| {
        let packet = Ipv4 { options, ..Ipv4::new(UDP) }.around(&udp(1, 2, &[0; 10]));
        ethernet(&[], IPV4, &packet)
    };
    let counted = |packet: &[u8]| sample_of(packet, Gso::default()).ipv4_options;
    assert_eq!([0, 1, 10].map(|words| counted(&options(words))), [0, 1, 1]);
    assert_eq!(counted(&options(10)[..14 + 59]), 0, "one byte of the header is missing");
}

#[test]
fn a_packet_cut_before_the_end_of_its_headers_is_an_error() {
    for (name, packet, headers) in [
        ("TCP", ethernet(&[(VLAN, 7)], IPV4, &Ipv4::new(TCP).around(&tcp(1, 2, &[0; 10]))), 18 + 20 + 20),
        ("UDP", ethernet(&[(VLAN, 7)], IPV6, &Ipv6::new(UDP).around(&udp(1, 2, &[0; 10]))), 18 + 40 + 8),
    ] {
        for length in 15..packet.len() {
            let sample = sample_of(&packet[..length], Gso::default());
            let kind = |kind: ErrorKind| sample.errors[kind as usize];
            let truncated = kind(ErrorKind::TruncatedEth) + kind(ErrorKind::TruncatedIp) + kind(ErrorKind::TruncatedL4);
            assert_eq!(truncated, u64::from(length < headers), "{name}, cut to {length} bytes");
            // The rest is there; what is missing are bytes that the IP header promised.
            assert_eq!(
                kind(ErrorKind::MalformedIp) > 0,
                truncated == 0 || kind(ErrorKind::TruncatedL4) > 0,
                "{name} {length}"
            );
        }
    }
}

#[test]
fn a_packet_with_any_byte_changed_is_counted_once() {
    let program = Program::load(&plan()).unwrap();
    let mut expected = Counter::default();
    for (_, packet, _) in cases() {
        let packet = tagged(&packet);
        for at in 12..packet.len() {
            for value in [0, 1, 0x7f, 0xff, packet[at] ^ 0x10] {
                let mut changed = packet.clone();
                changed[at] = value;
                run(&program, &changed);
                expected += Counter { packets: 1, bytes: changed.len() as u64 };
            }
        }
    }
    let sample = program.read(false);
    assert_eq!([sample.delivered, sample.total, sample.eth.into_iter().sum()], [expected; 3]);
}

#[test]
fn a_gso_buffer_counts_as_the_packets_on_the_wire() {
    // 3 segments of 1000 bytes and one of 10, each with 14 + 20 + 32 bytes of headers.
    let packet = ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp_with(3, 1, 2, &[0; 3010])));
    let sample = sample_of(&packet, Gso { segments: 4, size: 1000 });
    let wire = Counter { packets: 4, bytes: 3010 + 4 * 66 };
    assert_eq!([sample.delivered, sample.total, sample.analysed, sample.ip[IpClass::Tcp as usize]], [wire; 4]);
    // 3 of 1066 bytes, and 1 of 76.
    assert_eq!(sample.packet_size.counts, [0, 1, 0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!((sample.packet_size.sum, sample.packet_size.count), (wire.bytes, wire.packets));
    let flow = &sample.flows.unwrap().flows[0];
    assert_eq!((flow.packets, flow.bytes), (wire.packets, wire.bytes));
}

#[test]
fn a_gso_buffer_without_a_total_length_is_not_malformed() {
    let header = Ipv4 { total_length: Some(0), ..Ipv4::new(TCP) };
    let packet = ethernet(&[], IPV4, &header.around(&tcp(1, 2, &[0; 2000])));
    let sample = sample_of(&packet, Gso { segments: 2, size: 1000 });
    assert_eq!(classes(&sample), "ipv4 tcp");
    assert_eq!(sample.total, Counter { packets: 2, bytes: 2 * 1054 });
}

#[test]
fn a_gso_buffer_that_does_not_say_its_segments_counts_those_that_its_size_makes() {
    let packet = ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(1, 2, &[0; 2500])));
    let sample = sample_of(&packet, Gso { segments: 0, size: 1000 });
    assert_eq!(sample.total, Counter { packets: 3, bytes: 2500 + 3 * 42 });
}
