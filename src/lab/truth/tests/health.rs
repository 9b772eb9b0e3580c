//! Errors, health and services.

use super::*;
use crate::model::traffic::{Cast, Ecn, HealthEvent, Rocev2Op};

/// A frame with an IPv4 packet of this protocol and payload.
fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap();
    frame(&[&[0x08, 0x00], &ipv4_header(protocol, total, 0), payload])
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    frame(&[&[0x86, 0xdd], &ipv6_header(next, u16::try_from(payload.len()).unwrap()), payload])
}

/// 1000 -> 2000, header of 20 bytes.
fn tcp(flags: u8, window: u16) -> Vec<u8> {
    let [hi, lo] = window.to_be_bytes();
    vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, flags, hi, lo, 0, 0, 0, 0]
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&from.to_be_bytes(), &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0][..], payload].concat()
}

/// But for the checksum, which the headers here do not have.
fn errors(frame: &[u8]) -> Vec<ErrorKind> {
    Packet::read(frame).errors.iter().filter(|kind| *kind != ErrorKind::ChecksumIp).collect()
}

fn has_bad_checksum(frame: &[u8]) -> bool {
    Packet::read(frame).errors.iter().any(|kind| kind == ErrorKind::ChecksumIp)
}

/// Without those of the frame's length.
fn events(frame: &[u8]) -> Vec<HealthEvent> {
    let mut truth = Truth::default();
    truth.add(frame);
    let seen = |event: &HealthEvent| truth.health.events[*event as usize] > 0;
    HealthEvent::ALL.iter().copied().filter(seen).filter(|event| *event != HealthEvent::Runt).collect()
}

#[test]
fn what_is_cut_or_contradicts_itself_is_an_error() {
    let cut_options = [&[0x4f_u8], &ipv4_header(6, 60, 0)[1..]].concat();
    let bad_version = [&[0x55_u8], &ipv4_header(6, 20, 0)[1..]].concat();
    let tags = [0x81, 0, 0, 1].repeat(4);
    let options = [60, 0, 0, 0, 0, 0, 0, 0].repeat(9);
    for (frame, expected) in [
        (frame(&[&[0x08]]), vec![ErrorKind::TruncatedEth]),
        (frame(&[&tags, &[0x08, 0]]), vec![ErrorKind::TooDeep]),
        (v4(6, &tcp(16, 1)), vec![]),
        (v4(6, &tcp(16, 1)[..19]), vec![ErrorKind::TruncatedL4]),
        (v4(6, &[&tcp(16, 1)[..12], &[0x60; 8]].concat()), vec![ErrorKind::TruncatedL4]),
        (v4(6, &[&tcp(16, 1)[..12], &[0x40; 8]].concat()), vec![ErrorKind::MalformedL4]),
        (v4(17, &[0, 1, 0, 2, 0, 7, 0, 0]), vec![ErrorKind::MalformedL4]),
        (v4(1, &[8; 7]), vec![ErrorKind::TruncatedL4]),
        (v6(58, &[128; 4]), vec![]),
        (v6(132, &[0; 11]), vec![ErrorKind::TruncatedL4]),
        (frame(&[&[0x08, 0x00], &ipv4_header(17, 29, 0), &UDP_1000_TO_53]), vec![ErrorKind::MalformedIp]),
        (frame(&[&[0x08, 0x00], &ipv4_header(17, 28, 0)[..19]]), vec![ErrorKind::TruncatedIp]),
        (frame(&[&[0x08, 0x00], &cut_options]), vec![ErrorKind::TruncatedIp, ErrorKind::MalformedIp]),
        (frame(&[&[0x08, 0x00], &bad_version]), vec![ErrorKind::MalformedIp]),
        (frame(&[&[0x86, 0xdd], &ipv6_header(59, 1)]), vec![ErrorKind::MalformedIp]),
        (v6(60, &[17, 1, 0, 0, 0, 0, 0, 0]), vec![ErrorKind::TruncatedIp]),
        (v6(60, &options), vec![ErrorKind::TooDeep]),
    ] {
        assert_eq!(errors(&frame), expected, "{frame:x?}");
    }
}

#[test]
fn the_checksum_is_that_of_the_whole_ipv4_header() {
    let mut packet = v4(17, &UDP_1000_TO_53);
    assert!(has_bad_checksum(&packet));
    // The sum of the words without the checksum is 0x4500+0x1c+1+0x4011+0xa00+1+0xa00+2 = 0x9931.
    packet[24..26].copy_from_slice(&(!0x9931_u16).to_be_bytes());
    assert!(!has_bad_checksum(&packet));
    packet[14] = 0x46;
    assert!(has_bad_checksum(&packet));
    // A header that is not all there cannot be judged.
    assert!(!has_bad_checksum(&packet[..14 + 22]));
}

#[test]
fn tcp_is_counted_by_flags_and_only_if_its_header_is_there() {
    assert_eq!(events(&v4(6, &tcp(0x14, 0))), [HealthEvent::TcpReset]);
    assert_eq!(events(&v4(6, &tcp(0x10, 0))), [HealthEvent::TcpZeroWindow]);
    assert_eq!(events(&v4(6, &tcp(0x11, 0))), []);
    assert_eq!(events(&v4(6, &tcp(0x14, 0)[..19])), []);
    let mut truth = Truth::default();
    truth.add(&v6(6, &tcp(0xd2, 1)));
    truth.add(&frame(&[&[0x08, 0x00], &ipv4_header(6, 40, 0x2000), &tcp(0x10, 0)]));
    assert_eq!(truth.health.tcp_flags.iter().sum::<u64>(), 1);
    assert_eq!(truth.health.tcp_flags[0x12], 1);
    assert_eq!((truth.fragments, truth.fragments_later), (1, 0));
}

#[test]
fn icmp_tells_why_a_packet_did_not_arrive() {
    let message = |kind: u8, code: u8| [kind, code, 0, 0, 0, 0, 0, 0];
    for (frame, expected) in [
        (v4(1, &message(3, 1)), vec![HealthEvent::IcmpUnreachable]),
        (v4(1, &message(3, 4)), vec![HealthEvent::IcmpTooBig]),
        (v4(1, &message(11, 0)), vec![HealthEvent::IcmpTimeExceeded]),
        (v4(1, &message(8, 0)), vec![]),
        (v4(1, &message(3, 1)[..7]), vec![]),
        (v6(58, &message(1, 4)), vec![HealthEvent::IcmpUnreachable]),
        (v6(58, &message(2, 0)), vec![HealthEvent::IcmpTooBig]),
        (v6(58, &message(3, 0)[..4]), vec![HealthEvent::IcmpTimeExceeded]),
        (v6(58, &message(11, 0)), vec![]),
    ] {
        assert_eq!(events(&frame), expected, "{frame:x?}");
    }
}

#[test]
fn ttl_dscp_and_ecn_are_read_where_each_version_has_them() {
    let mut packet = v4(59, &[]);
    packet[15] = 46 << 2 | 3;
    packet[22] = 1;
    assert_eq!(events(&packet), [HealthEvent::Ttl1]);
    let mut packet_v6 = v6(59, &[]);
    packet_v6[14..16].copy_from_slice(&[0x6b, 0x90]);
    packet_v6[21] = 0;
    assert_eq!(events(&packet_v6), [HealthEvent::Ttl0]);
    let mut truth = Truth::default();
    truth.add(&packet);
    truth.add(&packet_v6);
    assert_eq!(truth.health.dscp[46], 2);
    assert_eq!((truth.health.ecn[Ecn::Ce as usize], truth.health.ecn[Ecn::Ect1 as usize]), (1, 1));
}

#[test]
fn frames_are_counted_by_destination_and_length() {
    let mut truth = Truth::default();
    for (destination, length) in [([0xff; 6], 59), ([1, 0, 0x5e, 0, 0, 1], 60), ([2; 6], 1518), ([2; 6], 1519)] {
        let mut frame = [destination, [2; 6]].concat();
        frame.resize(length, 0);
        truth.add(&frame);
    }
    truth.add(&[0xff; 5]);
    let events = |event: HealthEvent| truth.health.events[event as usize];
    assert_eq!((events(HealthEvent::Runt), events(HealthEvent::Jumbo)), (2, 1));
    let cast = |cast: Cast| truth.health.cast[cast as usize];
    assert_eq!((cast(Cast::Unicast), cast(Cast::Multicast), cast(Cast::Broadcast)), (2, 1, 1));
    assert_eq!(truth.sizes, [3, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
}

#[test]
fn the_destination_port_names_the_service_before_the_source_port() {
    let service = |frame: &[u8]| {
        let packet = Packet::read(frame);
        packet.header(View::Outer).and_then(|ip| ip.transport.service)
    };
    assert_eq!(service(&v4(17, &udp(123, 53, &[]))), Some(Service::Dns));
    assert_eq!(service(&v4(17, &udp(123, 9, &[]))), Some(Service::Ntp));
    assert_eq!(service(&v4(6, &[0, 179, 0, 9])), Some(Service::Bgp));
    assert_eq!(service(&v4(17, &udp(179, 9, &[]))), None);
    assert_eq!(service(&v4(132, &udp(53, 53, &[]))), None);
}

#[test]
fn rocev2_is_counted_by_what_the_opcode_does() {
    let operation = |payload: &[u8]| {
        let packet = Packet::read(&v4(17, &udp(50_000, 4791, payload)));
        packet.header(View::Outer).and_then(|ip| ip.transport.rocev2)
    };
    for (opcode, expected) in [
        (0x04, Rocev2Op::Send),
        (0x64, Rocev2Op::Send),
        (0x17, Rocev2Op::Send),
        (0x2a, Rocev2Op::Write),
        (0x0c, Rocev2Op::ReadRequest),
        (0xb0, Rocev2Op::ReadResponse),
        (0x11, Rocev2Op::Ack),
        (0x12, Rocev2Op::Atomic),
        (0x54, Rocev2Op::Atomic),
        (0x81, Rocev2Op::Cnp),
        (0x80, Rocev2Op::Other),
        (0x15, Rocev2Op::Other),
        (0xc4, Rocev2Op::Other),
    ] {
        assert_eq!(operation(&[opcode]), Some(expected), "{opcode:#x}");
    }
    assert_eq!(operation(&[]), Some(Rocev2Op::Truncated));
    let answer = Packet::read(&v4(17, &udp(4791, 9, &[4])));
    assert_eq!(answer.header(View::Outer).and_then(|ip| ip.transport.rocev2), None);
}
