//! The tap's program on single packets, through `BPF_PROG_TEST_RUN`: nothing is attached, no traffic is needed.
//!
//! Needs root. What only real traffic can show (tags in `vlan_tci`, non-linear buffers, hooks) is in `tap_live.rs`.

#[path = "common/packets.rs"]
mod packets;

use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use packets::{
    DESTINATION, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, IPV4, IPV6, Ipv4, Ipv6, QINQ, SCTP, TCP, UDP, VLAN, ethernet,
    extension, ipv6_fragment, ports, tcp, tcp_with, udp,
};
use proptest::prelude::*;
use telegen_sonic::io::tap::{FlowSlots, Hook, Hooks, Program, TapPlan};
use telegen_sonic::model::filter::{Dscp, Filter, IpFacts, PacketFacts, PortRange, PortRanges, VlanId};
use telegen_sonic::model::sample::{Counter, Flow, Sample};
use telegen_sonic::model::schema::{ErrorKind, EthClass, IpClass};

const TCX_NEXT: u32 = u32::MAX;

fn plan() -> TapPlan {
    TapPlan {
        netdev: "none".to_owned(),
        hooks: Hooks::Ingress,
        filter: Filter::default(),
        sample_rate: NonZeroU32::MIN,
        flows: FlowSlots::per_cpu(1024),
    }
}

/// What the kernel is told of a buffer besides its bytes.
#[derive(Clone, Copy, Default)]
struct Gso {
    segments: u32,
    size: u32,
}

/// Runs the ingress program `repeat` times on one packet. Panics unless every run lets the packet go on.
fn run_repeated(program: &Program, packet: &[u8], gso: Gso, repeat: i32) {
    // struct __sk_buff has 192 bytes; these two fields of it may be set (linux/bpf.h).
    let mut context = [0_u32; 48];
    context[41] = gso.segments;
    context[44] = gso.size;
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        ctx_in: context.as_ptr().cast(),
        ctx_size_in: u32::try_from(size_of_val(&context)).unwrap(),
        repeat,
        ..Default::default()
    };
    let fd = program.fd(Hook::Ingress).unwrap().as_raw_fd();
    // SAFETY: all pointers are to locals that live through the call, with their lengths.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(fd, &raw mut options) };
    assert_eq!((result, options.retval), (0, TCX_NEXT), "{} bytes: {packet:02x?}", packet.len());
}

/// The packet with a VLAN tag in front, if it is IP: `BPF_PROG_TEST_RUN` refuses IP packets (and frames of 14 bytes) that are cut
/// in the fixed header, as long as it sees that they are IP. `tap_live.rs` sends such frames without a tag.
fn tagged(packet: &[u8]) -> Vec<u8> {
    if matches!(packet[12..14], [0x08, 0x00] | [0x86, 0xdd]) {
        return [&packet[..12], &[0x81, 0, 0, 1], &packet[12..]].concat();
    }
    packet.to_vec()
}

fn run(program: &Program, packet: &[u8]) {
    run_repeated(program, packet, Gso::default(), 1);
}

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

/// Frames by name, and the classes, errors and "fragment" that they count as.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
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
            let flows = sample.flows.unwrap();
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
fn an_interarrival_time_is_counted_for_each_analysed_packet_but_a_cpus_first() {
    let program = Program::load(&plan()).unwrap();
    let packet = ethernet(&[], 0x0806, &[0; 46]);
    run_repeated(&program, &packet, Gso::default(), 1000);
    let gaps = program.read(false).interarrival;
    // One call runs on one CPU; the runs follow each other within microseconds, mostly.
    assert_eq!((gaps.count, gaps.counts.len()), (999, 26));
    assert!(gaps.counts[..9].iter().sum::<u64>() > 900, "{gaps:?}");
    assert!(gaps.sum < 1_000_000_000, "{gaps:?}");
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
        assert_eq!(sample.flows.unwrap().flows[0].packets, sample.analysed.packets);
        // Every analysed packet knows when the one before it came.
        assert!(sample.analysed.packets - sample.interarrival.count <= 1);
    }
}

#[test]
fn the_first_packet_is_as_likely_to_be_analysed_as_any_other() {
    let rate = NonZeroU32::new(4).unwrap();
    let packet = ethernet(&[], 0x0806, &[0; 46]);
    let mut first = 0_u32;
    for _ in 0..400 {
        let program = Program::load(&TapPlan { sample_rate: rate, flows: None, ..plan() }).unwrap();
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
    let program = Program::load(&plan()).unwrap();
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
    let table = sample.flows.unwrap();
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
    assert_eq!((sample.flows, sample.analysed.packets, sample.packet_size.count), (None, 10, 10));
}

fn ranges(ranges: &[(u16, u16)]) -> PortRanges {
    let ranges: Vec<_> = ranges.iter().map(|(lo, hi)| PortRange::new(*lo, *hi).unwrap()).collect();
    ranges.try_into().unwrap()
}

/// Every option of a tap, alone.
fn options() -> Vec<(&'static str, fn(&mut TapPlan))> {
    vec![
        ("vlan", |plan| plan.filter.vlan = VlanId::new(4094)),
        ("ip_proto", |plan| plan.filter.ip_protos = vec![0, 6, 17, 255]),
        ("one l4_sport", |plan| plan.filter.l4_sports = ranges(&[(0, 0)])),
        ("16 l4_sports", |plan| plan.filter.l4_sports = ranges(&[(1, 65535); 16])),
        ("16 l4_dports", |plan| plan.filter.l4_dports = ranges(&[(1, 65535); 16])),
        ("src_cidr v4", |plan| plan.filter.src_cidr = "10.0.0.0/8".parse().ok()),
        ("src_cidr v6", |plan| plan.filter.src_cidr = "2001:db8::/127".parse().ok()),
        ("dst_cidr v4", |plan| plan.filter.dst_cidr = "0.0.0.0/0".parse().ok()),
        ("dst_cidr v6", |plan| plan.filter.dst_cidr = "::1/128".parse().ok()),
        ("dscp", |plan| plan.filter.dscps = (0..64).filter_map(Dscp::new).collect()),
        ("sample_rate 100", |plan| plan.sample_rate = NonZeroU32::new(100).unwrap()),
        ("sample_rate 1000000", |plan| plan.sample_rate = NonZeroU32::new(1_000_000).unwrap()),
        ("no flows", |plan| plan.flows = None),
        ("4 flows", |plan| plan.flows = FlowSlots::per_cpu(4)),
        ("egress", |plan| plan.hooks = Hooks::Egress),
        ("both hooks", |plan| plan.hooks = Hooks::Both),
    ]
}

#[test]
fn the_verifier_accepts_every_option_every_pair_and_all_together() {
    let options = options();
    let mut all = plan();
    for (first, (name, set)) in options.iter().enumerate() {
        set(&mut all);
        for (other_name, other) in &options[first..] {
            let mut plan = plan();
            set(&mut plan);
            other(&mut plan);
            let loaded = Program::load(&plan);
            assert!(loaded.is_ok(), "{name} with {other_name}: {:?}", loaded.err());
        }
    }
    Program::load(&TapPlan { flows: FlowSlots::per_cpu(1024), ..all }).unwrap();
}

/// A packet and what a filter has to know of it.
#[derive(Clone, Debug)]
struct Known {
    bytes: Vec<u8>,
    facts: PacketFacts,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Whole,
    LaterFragment,
    /// Cut behind the fixed IP header.
    WithoutL4,
    /// Cut in the fixed IP header.
    HalfIp,
    NotIp,
}

fn known(tags: &[u16], shape: Shape, v6: bool, [src, dst, dscp, proto]: [u8; 4], [sport, dport]: [u16; 2]) -> Known {
    let mut tags: Vec<_> = tags.iter().map(|id| (VLAN, *id)).collect();
    if matches!(shape, Shape::HalfIp) && tags.is_empty() {
        tags.push((VLAN, 0)); // for the reason given at `tagged`
    }
    let vlan = tags.first().map(|(_, id)| *id);
    let has_ports = matches!(proto, TCP | UDP | SCTP | 33 | 136);
    let l4 = match proto {
        TCP => tcp(sport, dport, b"x"),
        UDP => udp(sport, dport, b"x"),
        _ => [ports(sport, dport), vec![0; 20]].concat(),
    };
    let later = matches!(shape, Shape::LaterFragment);
    let (ip, header, ethertype, addresses) = if v6 {
        let (inner, next) = if later { (ipv6_fragment(proto, 3, false, &l4), FRAGMENT) } else { (l4, proto) };
        let mut ip = Ipv6 { dscp, ..Ipv6::new(next) };
        ip.src = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, src.into());
        ip.dst = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, dst.into());
        (ip.around(&inner), 40, IPV6, [ip.src.into(), ip.dst.into()])
    } else {
        let fragment = if later { 3 } else { 0 };
        let ip = Ipv4 { dscp, fragment, src: [10, 0, 0, src].into(), dst: [10, 0, 0, dst].into(), ..Ipv4::new(proto) };
        (ip.around(&l4), 20, IPV4, [ip.src.into(), ip.dst.into()])
    };
    let (ip, facts) = match shape {
        Shape::NotIp => (vec![0; 46], None),
        Shape::HalfIp => (ip[..header - 1].to_vec(), None),
        Shape::WithoutL4 => (ip[..header].to_vec(), Some(None)),
        Shape::LaterFragment => (ip, Some(None)),
        Shape::Whole => (ip, Some(has_ports.then_some((sport, dport)))),
    };
    let ethertype = if matches!(shape, Shape::NotIp) { 0x0806 } else { ethertype };
    let ip_facts = facts.map(|ports| IpFacts { src: addresses[0], dst: addresses[1], dscp, proto: Some(proto), ports });
    Known { bytes: ethernet(&tags, ethertype, &ip), facts: PacketFacts { vlan, ip: ip_facts } }
}

fn known_packets() -> impl Strategy<Value = Vec<Known>> {
    let shape = prop_oneof![
        6 => Just(Shape::Whole), 1 => Just(Shape::LaterFragment), 1 => Just(Shape::WithoutL4),
        1 => Just(Shape::HalfIp), 1 => Just(Shape::NotIp),
    ];
    let tags = prop::collection::vec(0_u16..4, 0..3);
    let proto = prop::sample::select(vec![ICMP, TCP, UDP, SCTP, 33, 136, 47, 255]);
    let packet = (tags, shape, any::<bool>(), 0_u8..8, 0_u8..8, 0_u8..4, proto, 0_u16..8, 0_u16..8).prop_map(
        |(tags, shape, v6, src, dst, dscp, proto, sport, dport)| {
            known(&tags, shape, v6, [src, dst, dscp, proto], [sport, dport])
        },
    );
    prop::collection::vec(packet, 40)
}

fn filters() -> impl Strategy<Value = Filter> {
    let range = (0_u16..8, 0_u16..4).prop_map(|(lo, more)| PortRange::new(lo, lo + more).unwrap());
    let port_ranges = || {
        let some = prop::collection::vec(range.clone(), 1..=16).prop_map(|ranges| ranges.try_into().unwrap());
        prop_oneof![3 => Just(PortRanges::default()), 1 => some]
    };
    let net = (0_u8..8, 0_u8..=4, any::<bool>()).prop_map(|(host, wild, v6)| {
        let text = if v6 { format!("2001:db8::{host}/{}", 128 - wild) } else { format!("10.0.0.{host}/{}", 32 - wild) };
        text.parse::<ipnet::IpNet>().unwrap()
    });
    let any_net = prop_oneof![Just("0.0.0.0/0".parse().unwrap()), Just("::/0".parse().unwrap())];
    let cidr = prop_oneof![6 => Just(None), 3 => net.prop_map(Some), 1 => any_net.prop_map(Some)];
    let vlan = prop_oneof![2 => Just(None), 1 => (1_u16..4).prop_map(VlanId::new)];
    let protos = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(prop::sample::select(vec![1_u8, 6, 17, 47, 255]), 1..4)];
    let dscps = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec((0_u8..4).prop_map(|dscp| Dscp::new(dscp).unwrap()), 1..3)];
    (vlan, protos, port_ranges(), port_ranges(), cidr.clone(), cidr, dscps).prop_map(
        |(vlan, ip_protos, l4_sports, l4_dports, src_cidr, dst_cidr, dscps)| Filter {
            vlan,
            ip_protos,
            l4_sports,
            l4_dports,
            src_cidr,
            dst_cidr,
            dscps,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_filters_as_the_model_says(filter in filters(), packets in known_packets()) {
        let program = Program::load(&TapPlan { filter: filter.clone(), flows: None, ..plan() }).unwrap();
        let mut total = Counter::default();
        let mut delivered = Counter::default();
        for Known { bytes, facts } in packets {
            run(&program, &bytes);
            let counter = Counter { packets: 1, bytes: bytes.len() as u64 };
            delivered += counter;
            if filter.matches(&facts) {
                total += counter;
            }
            let sample = program.read(false);
            prop_assert_eq!((sample.delivered, sample.total), (delivered, total), "{:?}", facts);
        }
    }
}
