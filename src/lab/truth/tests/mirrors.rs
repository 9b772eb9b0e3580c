//! Copies in GRE.

use super::mirror::{Arrival, arrival};
use super::*;

const COPY: [u8; 3] = [7, 8, 9];

/// A GRE header, fields behind it and a copy, between the addresses of [`ipv4_header`].
fn gre(flags: u16, protocol: u16, fields: &[u8]) -> Vec<u8> {
    let total = u16::try_from(24 + fields.len() + COPY.len()).unwrap();
    frame(&[&[0x08, 0x00], &ipv4_header(47, total, 0), &flags.to_be_bytes(), &protocol.to_be_bytes(), fields, &COPY])
}

fn read(frame: &[u8]) -> Arrival<'_> {
    arrival(frame, IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]))
}

#[test]
fn every_encapsulation_is_taken_off() {
    let three = [&[0x20_u8; 10][..], &[0x83, 0xfe]].concat();
    let three_and_more = [&[0x20_u8; 10][..], &[0x83, 0xff], &[0; 8]].concat();
    for (frame, sequence) in [
        (gre(0, 0x88be, &[]), None),
        (gre(0x2000, 0x88be, &[0; 4]), None),
        (gre(0x1000, 0x88be, &[0, 0, 0, 5, 0x10, 0, 0, 0, 0, 0, 0, 0]), Some(5)),
        // No type II header, but a frame.
        (gre(0x1000, 0x88be, &[0, 0, 0, 5]), Some(5)),
        (gre(0xb000, 0x6558, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256)),
        (gre(0, 0x22eb, &three), None),
        (gre(0, 0x22eb, &three_and_more), None),
        (gre(0, 0x8949, &[0; 22]), None),
    ] {
        assert_eq!(read(&frame), Arrival::Copy { frame: &COPY, sequence }, "{frame:x?}");
    }
}

#[test]
fn over_ipv6_options_may_precede_gre() {
    let gre = [0, 0, 0x65, 0x58, 7, 8, 9];
    let v6 = |next, payload: &[u8]| {
        frame(&[&[0x86, 0xdd], &ipv6_header(next, u16::try_from(payload.len()).unwrap()), payload])
    };
    let (plain, options) = (v6(47, &gre), v6(60, &[&[47, 0, 4, 1, 4, 1, 0, 0], &gre[..]].concat()));
    let fragment = v6(44, &[&[47, 0, 0, 1, 0, 0, 0, 1], &gre[..]].concat());
    let FlowKey { src, dst, .. } = v6_flow(0, (0, 0));
    let copy = Arrival::Copy { frame: &COPY, sequence: None };
    assert_eq!([&plain, &options, &fragment].map(|frame| arrival(frame, src, dst)), [copy, copy, Arrival::Unreadable]);
    assert_eq!(arrival(&v6(43, &[&[47, 0, 0, 0, 0, 0, 0, 0], &gre[..]].concat()), src, dst), Arrival::Foreign);
}

#[test]
fn a_copy_without_a_frame_that_can_be_read_is_unreadable() {
    let mut fragment = gre(0, 0x88be, &[]);
    fragment[20] = 0x20;
    let mut empty = gre(0, 0x88be, &[]);
    empty[17] = 24;
    let mut too_long = gre(0, 0x88be, &[]);
    too_long[17] += 1;
    let raw_ip = [&[0x20_u8; 10][..], &[0x08, 0]].concat();
    for frame in [
        fragment,
        empty,
        too_long,
        gre(0, 0x8949, &[0; 19]),
        gre(0, 0x22eb, &raw_ip),
        gre(0, 0x22eb, &[0x10; 12]),
        gre(0, 0x0800, &[]),
        gre(0x4000, 0x88be, &[0; 4]),
        gre(1, 0x88be, &[0; 4]),
    ] {
        assert_eq!(read(&frame), Arrival::Unreadable, "{frame:x?}");
    }
}

#[test]
fn what_is_not_gre_between_the_addresses_is_not_the_jobs() {
    let mut from_elsewhere = gre(0, 0x88be, &[]);
    from_elsewhere[29] = 3;
    assert_eq!(read(&from_elsewhere), Arrival::Foreign);
    let mut udp = gre(0, 0x88be, &[]);
    udp[23] = 17;
    assert_eq!(read(&udp), Arrival::Foreign);
    assert_eq!(read(&frame(&[&[0x08, 0x06], &[0; 28]])), Arrival::Foreign);
}
