//! Copies of ERSPAN sessions arrive at the collector's netdev in GRE, each byte of which is judged by a parser of this test's
//! own and, where it is installed, by tshark.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::process::Command;

use telegen_sonic::lab::asic_maps::CopyCounts;
use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::gre::{GreOptions, Header};
use telegen_sonic::lab::layout::{COLLECTOR_ADDRESSES, COLLECTOR_MAC, SWITCH_MAC, TUNNEL_DEVICES};
use telegen_sonic::lab::orchagent::hardware::{CopyDestination, MirrorHardware, MirrorTarget, PortSide, Tunnel};
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};

use super::control_plane::{CONFIG_DB, redis, status};
use super::mirroring::all_lengths;
use super::{TestLab, assert_nothing_more, is_root, receive, small, wait_for};

pub(super) const COLLECTOR: &str = TUNNEL_DEVICES.1;

/// What a GRE packet says outside of the copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outer {
    src: IpAddr,
    dst: IpAddr,
    dscp: u8,
    ttl: u8,
    gre_type: u16,
    key: Option<u32>,
    sequence: Option<u32>,
    has_checksum: bool,
    /// Version, VLAN, COS, En, session id of an ERSPAN header.
    erspan: Option<[u16; 5]>,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// RFC 1071: all ones where the checksum is right.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Takes a packet apart; every length and checksum in it must be right.
#[track_caller]
pub(super) fn unwrap(frame: &[u8], header: Header) -> (Outer, &[u8]) {
    assert_eq!((&frame[..6], &frame[6..12]), (COLLECTOR_MAC.as_slice(), SWITCH_MAC.as_slice()));
    let (src, dst, traffic_class, ttl, gre) = match (be16(frame, 12), &frame[14..]) {
        (0x0800, ip) => {
            assert_eq!((ip[0], usize::from(be16(ip, 2)), ip[9], sum(&ip[..20])), (0x45, ip.len(), 47, 0xffff));
            let address = |at: usize| Ipv4Addr::from_bits(be32(ip, at)).into();
            (address(12), address(16), ip[1], ip[8], &ip[20..])
        }
        (0x86dd, ip) => {
            assert_eq!((ip[0] >> 4, usize::from(be16(ip, 4)), ip[6]), (6, ip.len() - 40, 47));
            let address = |at: usize| IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap()));
            (address(8), address(24), (be16(ip, 0) >> 4).to_be_bytes()[1], ip[7], &ip[40..])
        }
        (other, _) => panic!("EtherType {other:#x}"),
    };
    let flags = be16(gre, 0);
    assert_eq!((flags & !0xb000, traffic_class & 3), (0, 0), "flags {flags:#x}, traffic class {traffic_class:#x}");
    let mut at = 4;
    let mut option = |flag: u16| {
        (flags & flag > 0).then(|| {
            at += 4;
            be32(gre, at - 4)
        })
    };
    let (checksum, key, sequence) = (option(0x8000), option(0x2000), option(0x1000));
    assert!(checksum.is_none_or(|word| word % 0x1_0000 == 0 && sum(gre) == 0xffff), "checksum {checksum:x?}");
    let (skip, is_erspan) = match header {
        Header::Plain | Header::Bridging => (0, false),
        Header::TypeIi => (8, true),
        Header::TypeIii => (12, true),
        Header::TypeIiiLong => (20, true),
        Header::Vendor => (22, false),
    };
    let (first, second) = (be16(gre, at), be16(gre, at + 2));
    let erspan = is_erspan.then_some([first >> 12, first & 0xfff, second >> 13, second >> 11 & 3, second & 0x3ff]);
    let gre_type = be16(gre, 2);
    let has_checksum = checksum.is_some();
    let outer = Outer { src, dst, dscp: traffic_class >> 2, ttl, gre_type, key, sequence, has_checksum, erspan };
    (outer, &gre[at + skip..])
}

pub(super) fn to(addresses: [&str; 2], gre_type: u16, options: GreOptions) -> MirrorTarget {
    let [src, dst] = addresses.map(|address| address.parse().unwrap());
    let (interface, neighbour_mac) = (COLLECTOR.to_owned(), "02:54:45:4c:00:02".to_owned());
    let monitor_port = interface.clone();
    let tunnel = Tunnel { src, dst, gre_type, dscp: 46, ttl: 63, interface, monitor_port, neighbour_mac, options };
    MirrorTarget { session: "test".to_owned(), destination: CopyDestination::Tunnel(tunnel), sampling: None }
}

/// The tag that stands first in a frame, as an ERSPAN header repeats it: VLAN, COS, En of type II.
fn outermost_tag(frame: &[u8]) -> [u16; 3] {
    match be16(frame, 12) {
        0x8100 | 0x88a8 => [be16(frame, 14) & 0xfff, be16(frame, 14) >> 13, 3],
        _ => [0; 3],
    }
}

/// Every header over both IP versions, with the options that can go with it.
fn wrappings() -> Vec<(Header, u16, GreOptions)> {
    let plain = GreOptions::default();
    let all = GreOptions { key: Some(0xdead_beef), sequence: true, checksum: true, ..plain };
    let of = |header: Header, options: GreOptions| GreOptions { header: Some(header), ..options };
    vec![
        (Header::Plain, 0x88be, plain),
        (Header::Plain, 0x88be, GreOptions { key: Some(7), checksum: true, ..plain }),
        (Header::TypeIi, 0x88be, of(Header::TypeIi, plain)),
        (Header::TypeIi, 0x88be, of(Header::TypeIi, all)),
        (Header::TypeIii, 0x22eb, plain),
        (Header::TypeIii, 0x22eb, all),
        (Header::TypeIiiLong, 0x22eb, of(Header::TypeIiiLong, all)),
        (Header::Bridging, 0x6558, plain),
        (Header::Bridging, 0x6558, GreOptions { sequence: true, ..plain }),
        (Header::Bridging, 0x6558, GreOptions { checksum: true, ..plain }),
        (Header::Vendor, 0x8949, plain),
        (Header::Vendor, 0x8949, all),
    ]
}

#[test]
fn frames_of_every_length_with_and_without_tags_arrive_bit_by_bit_in_every_header() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let tap = test.tap(COLLECTOR);
    let frames = all_lengths();
    let capture = test.capture(&frames);
    let addresses = [["192.0.2.1", "198.51.100.1"], ["2001:db8::1", "2001:db8:1::1"]];
    let mut delivered = 0;
    for (header, gre_type, options) in wrappings() {
        for pair in addresses {
            asic.bind("Ethernet0", PortSide::Rx, &to(pair, gre_type, options)).unwrap();
            let sent = test.lab().send("Ethernet0", &Source::Capture(capture.clone()), Pace::default()).unwrap();
            assert_eq!((sent.copies.delivered, sent.copies.refused), (frames.len() as u64, 0), "{header} {pair:?}");
            delivered += sent.copies.delivered;
            for (number, (copy, frame)) in receive(&tap, frames.len()).iter().zip(&frames).enumerate() {
                let (outer, inner) = unwrap(copy, header);
                assert_eq!(inner, frame, "{header} {pair:?}");
                let is_erspan = !matches!(header, Header::Plain | Header::Bridging | Header::Vendor);
                let [vlan, cos, en] = outermost_tag(frame);
                let session = outer.erspan.map_or(0, |erspan| erspan[4]);
                let en = if header == Header::TypeIi { en } else { 0 };
                let version = if header == Header::TypeIi { 1 } else { 2 };
                let expected = Outer {
                    src: pair[0].parse().unwrap(),
                    dst: pair[1].parse().unwrap(),
                    dscp: 46,
                    ttl: 63,
                    gre_type,
                    key: options.key,
                    sequence: (is_erspan || options.sequence).then(|| u32::try_from(number).unwrap()),
                    has_checksum: options.checksum,
                    erspan: is_erspan.then_some([version, vlan, cos, en, session]),
                };
                assert_eq!(outer, expected, "{header}, frame {number}");
            }
            asic.unbind("Ethernet0", PortSide::Rx).unwrap();
        }
    }
    assert_nothing_more(&tap);
    let fate = asic.copies_for_collector();
    assert_eq!((fate.delivered, fate.refused, fate.policed, fate.lost), (delivered, 0, 0, 0));
    assert_eq!(test.received_by_cpu().iter().map(|(_, packets)| packets).sum::<u64>(), 0);
}

#[test]
fn tshark_reads_the_same() {
    if !is_root() {
        return;
    }
    let tshark = |arguments: &[&str]| Command::new("tshark").args(arguments).output();
    if tshark(&["--version"]).is_err() {
        println!("SKIPPED: tshark_reads_the_same: tshark is not installed");
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let tap = test.tap(COLLECTOR);
    let udp = Source::Profile(Profile::Udp64);
    let mut copies = Vec::new();
    let mut expected = Vec::new();
    for (header, gre_type, options) in wrappings().into_iter().filter(|(header, ..)| *header != Header::Vendor) {
        for pair in [["192.0.2.1", "198.51.100.1"], ["2001:db8::1", "2001:db8:1::1"]] {
            asic.bind("Ethernet0", PortSide::Rx, &to(pair, gre_type, options)).unwrap();
            test.lab().send("Ethernet0", &udp, Pace { count: Some(1), ..Pace::default() }).unwrap();
            copies.extend(receive(&tap, 1));
            asic.unbind("Ethernet0", PortSide::Rx).unwrap();
            let ip = if pair[0].contains(':') { "ipv6" } else { "ip" };
            let between = match header {
                Header::Plain | Header::TypeIi | Header::TypeIii | Header::TypeIiiLong => "gre:erspan:eth",
                Header::Bridging | Header::Vendor => "gre:eth",
            };
            let key = options.key.map(|key| format!("{key:#010x}")).unwrap_or_default();
            expected.push(format!("eth:ethertype:{ip}:{between}:ethertype:ip:udp:data|{gre_type:#06x}|{key}||"));
        }
    }
    let file = test.capture(&copies);
    let fields = ["frame.protocols", "gre.proto", "gre.key", "_ws.malformed", "_ws.expert.message"];
    let mut arguments =
        vec!["-r", file.to_str().unwrap(), "-T", "fields", "-E", "separator=|", "-o", "ip.check_checksum:TRUE"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark(&arguments).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(read, expected);
}

fn set_session(test: &TestLab, name: &str, port: &str, direction: &str, src: &str) {
    let dst = COLLECTOR_ADDRESSES[0].to_string();
    let key = format!("MIRROR_SESSION|{name}");
    let fields = ["type", "ERSPAN", "src_ip", src, "dst_ip", &dst, "gre_type", "0x88be", "dscp", "8", "ttl", "255"];
    let port = ["src_port", port, "direction", direction];
    redis(test, CONFIG_DB, &[["HSET", &key].as_slice(), &fields, &port].concat());
}

fn until_active(test: &TestLab, session: &str) {
    wait_for("the session is active", || status(test, session) == "active");
}

fn send(test: &TestLab, port: &str, count: u64) {
    let pace = Pace { count: Some(count), ..Pace::default() };
    test.lab().send(port, &Source::Profile(Profile::Mixed), pace).unwrap();
}

/// The sequence numbers that arrived, by source address.
fn numbers(tap: &telegen_sonic::lab::packet_socket::PacketSocket, count: usize, src: &str) -> Vec<u32> {
    let src: IpAddr = src.parse().unwrap();
    let copies = receive(tap, count);
    let outers = copies.iter().map(|copy| unwrap(copy, Header::TypeIi).0);
    outers.filter(|outer| outer.src == src).map(|outer| outer.sequence.unwrap()).collect()
}

#[test]
fn sessions_in_config_db_number_their_copies_each_for_itself_whatever_the_side() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let tap = test.tap(COLLECTOR);
    let options = GreOptions { header: Some(Header::TypeIi), ..GreOptions::default() };
    test.lab().fault(FaultName::Erspan(options), None).unwrap();
    set_session(&test, "one", "Ethernet0", "BOTH", "192.0.2.1");
    set_session(&test, "two", "Ethernet8", "RX", "192.0.2.2");
    until_active(&test, "one");
    until_active(&test, "two");
    // Into port 0 and, through port 4, out of it: one session, one sequence.
    send(&test, "Ethernet0", 30);
    send(&test, "Ethernet4", 20);
    assert_eq!(numbers(&tap, 50, "192.0.2.1"), (0..50).collect::<Vec<u32>>());
    send(&test, "Ethernet8", 10);
    assert_eq!(numbers(&tap, 10, "192.0.2.2"), (0..10).collect::<Vec<u32>>());
    assert_nothing_more(&tap);
}

#[test]
fn a_copy_that_is_lost_on_purpose_leaves_a_gap_and_is_counted() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let tap = test.tap(COLLECTOR);
    let options = GreOptions { header: Some(Header::TypeIi), drop_every: NonZeroU32::new(10), ..GreOptions::default() };
    test.lab().fault(FaultName::Erspan(options), Some("lossy")).unwrap();
    set_session(&test, "lossy", "Ethernet0", "RX", "192.0.2.1");
    until_active(&test, "lossy");
    send(&test, "Ethernet0", 100);
    let expected: Vec<u32> = (0..100).filter(|number| number % 10 != 9).collect();
    assert_eq!(numbers(&tap, 90, "192.0.2.1"), expected);
    assert_nothing_more(&tap);
    let CopyCounts { delivered, refused, lost, .. } = test.lab().asic().unwrap().copies_for_collector();
    assert_eq!((delivered, refused, lost), (90, 0, 10));
}

#[test]
fn without_a_neighbour_a_session_copies_nothing_and_with_it_again_everything() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let delivered = || test.lab().asic().unwrap().copies_for_collector().delivered;
    test.lab().fault(FaultName::Unresolved, None).unwrap();
    set_session(&test, "one", "Ethernet0", "RX", "192.0.2.1");
    wait_for("the session is known", || status(&test, "one") == "inactive");
    send(&test, "Ethernet0", 10);
    assert_eq!(delivered(), 0);
    test.lab().fault(FaultName::Clear, None).unwrap();
    until_active(&test, "one");
    send(&test, "Ethernet0", 10);
    assert_eq!(delivered(), 10);
    test.lab().fault(FaultName::Unresolved, Some("one")).unwrap();
    wait_for("the session is inactive", || status(&test, "one") == "inactive");
    send(&test, "Ethernet0", 10);
    assert_eq!(delivered(), 10);
}

#[test]
fn what_the_asic_cannot_wrap_is_refused_in_words() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let addresses = ["192.0.2.1", "198.51.100.1"];
    let numbered = to(addresses, 0x88be, GreOptions { sequence: true, ..GreOptions::default() });
    let refusal = asic.bind("Ethernet0", PortSide::Rx, &numbered).unwrap_err();
    assert_eq!(refusal, "a sequence number says that a header of type II follows 0x88be: choose type2");
    let mut elsewhere = to(addresses, 0x88be, GreOptions::default());
    if let CopyDestination::Tunnel(tunnel) = &mut elsewhere.destination {
        tunnel.interface = "Ethernet8".to_owned();
    }
    let refusal = asic.bind("Ethernet0", PortSide::Rx, &elsewhere).unwrap_err();
    assert_eq!(refusal, "198.51.100.1 is reached through Ethernet8; this ASIC sends GRE through collector0 only");
    // Nothing of it is bound.
    send(&test, "Ethernet0", 5);
    assert_eq!(asic.all_copies(), CopyCounts::default());
}
