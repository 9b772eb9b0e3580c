//! The tap's options: the verifier accepts each of them, and the filter in the kernel is the filter of the model. Needs root.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/kernel_info.rs"]
mod kernel_info;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;

use std::num::NonZeroU32;

use kernel_info::{maps_bytes, verified_instructions};
use packets::{FRAGMENT, ICMP, IPV4, IPV6, Ipv4, Ipv6, SCTP, TCP, UDP, VLAN, ethernet, ipv6_fragment, ports, tcp, udp};
use proptest::prelude::*;
use telegen_sonic::io::tap::{Encapsulation, FlowSlots, Hook, Hooks, Program, Switches, TapPlan, possible_cpus};
use telegen_sonic::model::filter::{Dscp, Filter, IpFacts, PacketFacts, PortRange, PortRanges, VlanId};
use telegen_sonic::model::sample::Counter;
use test_run::{plan, run};

fn ranges(ranges: &[(u16, u16)]) -> PortRanges {
    let ranges: Vec<_> = ranges.iter().map(|(lo, hi)| PortRange::new(*lo, *hi).unwrap()).collect();
    ranges.try_into().unwrap()
}

/// A plan and the switches that no job has.
#[derive(Clone)]
struct Options {
    plan: TapPlan,
    switches: Switches,
}

/// A name, and what it changes.
type TapOption = (&'static str, fn(&mut Options));

/// Every option of a tap, alone.
fn options() -> Vec<TapOption> {
    vec![
        ("vlan", |all| all.plan.filter.vlan = VlanId::new(4094)),
        ("ip_proto", |all| all.plan.filter.ip_protos = vec![0, 6, 17, 255]),
        ("one l4_sport", |all| all.plan.filter.l4_sports = ranges(&[(0, 0)])),
        ("16 l4_sports", |all| all.plan.filter.l4_sports = ranges(&[(1, 65535); 16])),
        ("16 l4_dports", |all| all.plan.filter.l4_dports = ranges(&[(1, 65535); 16])),
        ("src_cidr v4", |all| all.plan.filter.src_cidr = "10.0.0.0/8".parse().ok()),
        ("src_cidr v6", |all| all.plan.filter.src_cidr = "2001:db8::/127".parse().ok()),
        ("dst_cidr v4", |all| all.plan.filter.dst_cidr = "0.0.0.0/0".parse().ok()),
        ("dst_cidr v6", |all| all.plan.filter.dst_cidr = "::1/128".parse().ok()),
        ("dscp", |all| all.plan.filter.dscps = (0..64).filter_map(Dscp::new).collect()),
        ("sample_rate 100", |all| all.plan.sample_rate = NonZeroU32::new(100).unwrap()),
        ("sample_rate 1000000", |all| all.plan.sample_rate = NonZeroU32::new(1_000_000).unwrap()),
        ("no flows", |all| all.plan.flows = None),
        ("4 flows", |all| all.plan.flows = FlowSlots::per_cpu(4)),
        ("inner", |all| all.plan.inner = true),
        ("copies over IPv4", |all| all.plan.encapsulation = copies("192.0.2.1", "192.0.2.2")),
        ("copies over IPv6", |all| all.plan.encapsulation = copies("2001:db8::1", "2001:db8::2")),
        ("egress", |all| all.plan.hooks = Hooks::Egress),
        ("both hooks", |all| all.plan.hooks = Hooks::Both),
        ("layers only", |all| all.switches.layers_only = true),
        ("untimed", |all| all.switches.untimed = true),
        ("without health", |all| all.switches.without_health = true),
        ("without checksum", |all| all.switches.without_checksum = true),
        ("without sizes", |all| all.switches.without_sizes = true),
        ("without services", |all| all.switches.without_services = true),
        ("bare flows", |all| all.switches.bare_flows = true),
        ("zero hash keys", |all| all.switches.zero_hash_keys = true),
    ]
}

fn copies(src: &str, dst: &str) -> Option<Encapsulation> {
    Some(Encapsulation { src: src.parse().ok()?, dst: dst.parse().ok()? })
}

#[test]
fn the_verifier_accepts_every_option_every_pair_and_all_together() {
    let options = options();
    let none = Options { plan: TapPlan { flows: FlowSlots::per_cpu(64), ..plan() }, switches: Switches::default() };
    let mut all = none.clone();
    let (mut most, mut refused) = ((0, String::new()), Vec::new());
    let mut load = |options: &Options, name: String| match Program::load_with(&options.plan, options.switches) {
        Ok(program) => {
            let verified = most_verified(&program);
            most = most.clone().max((verified, name));
        }
        Err(error) => refused.push(format!("{name}: {error}")),
    };
    load(&none, "no option".to_owned());
    for (first, (name, set)) in options.iter().enumerate() {
        set(&mut all);
        for (other_name, other) in &options[first..] {
            let mut pair = none.clone();
            set(&mut pair);
            other(&mut pair);
            load(&pair, format!("{name} with {other_name}"));
        }
    }
    load(&all, "all together".to_owned());
    all.plan.flows = FlowSlots::per_cpu(1024);
    all.plan.sample_rate = NonZeroU32::MIN;
    all.switches = Switches::default();
    load(&all, "all that a job can have".to_owned());
    println!("the most instructions are verified for {}: {}", most.1, most.0);
    assert!(refused.is_empty(), "{} of them:\n{}", refused.len(), refused.join("\n"));
}

/// Of the program that takes the verifier longest.
fn most_verified(program: &Program) -> u32 {
    let hooks = [Hook::Ingress, Hook::Egress].into_iter();
    hooks.filter_map(|hook| program.fd(hook)).map(verified_instructions).max().unwrap()
}

#[test]
fn the_kernel_takes_no_more_memory_than_planned() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    // Kernels before 6.4 do not count, they guess, from the sizes of keys and values.
    if (numbers.next(), numbers.next()) < (Some(6), Some(4)) {
        println!("SKIPPED: the_kernel_takes_no_more_memory_than_planned: Linux {release} does not say it");
        return;
    }
    for (cpu_flows, sample_rate) in [(None, 1), (Some(4), 1), (Some(10_000), 1), (Some(10_000), 100)] {
        let flows = cpu_flows.and_then(FlowSlots::per_cpu);
        let plan = TapPlan { flows, sample_rate: NonZeroU32::new(sample_rate).unwrap(), ..plan() };
        let program = Program::load(&plan).unwrap();
        let (taken, planned) =
            (maps_bytes(program.fd(Hook::Ingress).unwrap()), plan.memory_bytes(possible_cpus().unwrap()));
        // No more, and not so much less that jobs are refused without need.
        assert!(
            (planned - 32 * 1024..=planned).contains(&taken),
            "{cpu_flows:?}, 1:{sample_rate}: {taken} of {planned}"
        );
    }
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
        tags.push((VLAN, 0)); // `BPF_PROG_TEST_RUN` refuses an IP packet that is cut in the fixed header, if it sees that it is IP
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
