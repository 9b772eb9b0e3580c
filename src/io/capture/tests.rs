mod fuzz;

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Numbers in one byte order.
#[derive(Clone, Copy)]
struct Writer(Order);

impl Writer {
    fn words(self, words: &[u32]) -> Vec<u8> {
        let bytes = |word: &u32| match self.0 {
            Order::Little => word.to_le_bytes(),
            Order::Big => word.to_be_bytes(),
        };
        words.iter().flat_map(bytes).collect()
    }

    fn halves(self, halves: &[u16]) -> Vec<u8> {
        let bytes = |half: &u16| match self.0 {
            Order::Little => half.to_le_bytes(),
            Order::Big => half.to_be_bytes(),
        };
        halves.iter().flat_map(bytes).collect()
    }

    fn pcap_header(self, magic: u32, version: [u16; 2], link: u32) -> Vec<u8> {
        [self.words(&[magic]), self.halves(&version), self.words(&[0, 0, 65_535, link])].concat()
    }

    fn pcap_record(self, time: [u32; 2], frame: &[u8], len: u32) -> Vec<u8> {
        [self.words(&[time[0], time[1], length(frame), len]), frame.to_vec()].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut padded = body.to_vec();
        padded.resize(body.len().next_multiple_of(4), 0);
        let whole = length(&padded) + 12;
        [self.words(&[kind, whole]), padded, self.words(&[whole])].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [self.words(&[0x1a2b_3c4d]), self.halves(&[1, 0]), self.words(&[u32::MAX, u32::MAX])].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
        self.block(1, &[self.halves(&[link, 0]), self.words(&[snaplen]), options.to_vec()].concat())
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut padded = value.to_vec();
        padded.resize(value.len().next_multiple_of(4), 0);
        [self.halves(&[code, u16::try_from(value.len()).unwrap()]), padded].concat()
    }

    fn enhanced(self, interface: u32, time: u64, frame: &[u8], len: u32, options: &[u8]) -> Vec<u8> {
        let [high, low] = [time >> 32, time & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
        let mut padded = frame.to_vec();
        padded.resize(frame.len().next_multiple_of(4), 0);
        self.block(6, &[self.words(&[interface, high, low, length(frame), len]), padded, options.to_vec()].concat())
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

const BOTH: [Writer; 2] = [Writer(Order::Little), Writer(Order::Big)];
const SECOND: u64 = 1_000_000_000;

/// A frame of this length that differs from others.
fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

type Read = (Option<u64>, Vec<u8>, u32);

/// All frames, and what stopped the reading.
fn read(file: &[u8]) -> (Vec<Read>, Option<Flaw>) {
    read_from(Box::new(Cursor::new(file.to_vec())))
}

fn read_from(reader: Box<dyn io::Read>) -> (Vec<Read>, Option<Flaw>) {
    let mut capture = Capture::new(reader).unwrap();
    let mut frames = Vec::new();
    loop {
        match capture.next_frame() {
            Ok(Some(frame)) => frames.push((frame.at_ns, frame.bytes.to_vec(), frame.len)),
            Ok(None) => return (frames, None),
            Err(flaw) => return (frames, Some(flaw)),
        }
    }
}

/// Gives few bytes at once, as a pipe may.
struct Drops(Cursor<Vec<u8>>);

impl io::Read for Drops {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let some = to.len().min(7);
        self.0.read(&mut to[..some])
    }
}

#[track_caller]
fn assert_whole(file: &[u8], expected: &[Read]) {
    let (frames, flaw) = read(file);
    assert!(flaw.is_none(), "{flaw:?}");
    assert_eq!(frames, expected);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(file).unwrap();
    let packed = packed.finish().unwrap();
    let (frames, flaw) = read(&packed);
    assert!(flaw.is_none() && frames == expected, "in gzip: {flaw:?}");
    for bytes in [file.to_vec(), packed] {
        let (frames, flaw) = read_from(Box::new(Drops(Cursor::new(bytes))));
        assert!(flaw.is_none() && frames == expected, "through a pipe: {flaw:?}");
    }
}

#[test]
fn pcap_of_both_orders_and_both_units_of_time_is_read() {
    for writer in BOTH {
        for (magic, unit_ns) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let file = [
                writer.pcap_header(magic, [2, 4], 1),
                writer.pcap_record([7, 8], &frame(60), 1500),
                writer.pcap_record([u32::MAX, 999_999], &frame(14), 14),
                writer.pcap_record([0, 0], &frame(FRAME_MAX), 1),
            ]
            .concat();
            let last = u64::from(u32::MAX) * SECOND + 999_999 * unit_ns;
            let expected = [
                (Some(7 * SECOND + 8 * unit_ns), frame(60), 1500),
                (Some(last), frame(14), 14),
                (Some(0), frame(FRAME_MAX), length(&frame(FRAME_MAX))),
            ];
            assert_whole(&file, &expected);
        }
    }
}

#[test]
fn pcap_of_old_versions_has_its_lengths_swapped() {
    let record = |writer: Writer, first: u32, second: u32| [writer.words(&[1, 2, first, second]), frame(20)].concat();
    for writer in BOTH {
        for (version, first, second) in [([2, 2], 90, 20), ([2, 3], 90, 20), ([2, 3], 20, 90), ([543, 0], 90, 20)] {
            let file = [writer.pcap_header(0xa1b2_c3d4, version, 1), record(writer, first, second)].concat();
            assert_whole(&file, &[(Some(SECOND + 2000), frame(20), 90)]);
        }
    }
}

#[test]
fn pcap_of_the_modified_kinds_is_read() {
    for writer in BOTH {
        for more in [8, 12] {
            let record = |length| {
                let head = writer.words(&[1, 2, u32::try_from(length).unwrap(), 1500]);
                [head, vec![0x86; more], frame(length)].concat()
            };
            let file = [writer.pcap_header(0xa1b2_cd34, [2, 4], 1), record(60), record(30)].concat();
            let at = Some(SECOND + 2000);
            assert_whole(&file, &[(at, frame(60), 1500), (at, frame(30), 1500)]);
        }
        let file = [
            writer.pcap_header(0x1c00_01ac, [2, 4], 1),
            writer.words(&[76]),
            writer.pcap_record([1, 2], &frame(60), 60),
        ];
        assert_whole(&file.concat(), &[(Some(SECOND + 2), frame(60), 60)]);
    }
}

#[test]
fn the_upper_bits_of_a_link_type_are_not_part_of_it() {
    let writer = BOTH[0];
    let file = [writer.pcap_header(0xa1b2_c3d4, [2, 4], 0x2400_0001), writer.pcap_record([0, 0], &frame(60), 60)];
    assert_whole(&file.concat(), &[(Some(0), frame(60), 60)]);
}

#[test]
fn pcapng_has_packets_in_three_kinds_of_blocks() {
    for writer in BOTH {
        let old = [writer.halves(&[0, 3]), writer.words(&[0, 5, 21, 99]), frame(21)].concat();
        let file = [
            writer.section(),
            writer.interface(1, 40, &[]),
            writer.enhanced(0, 9, &frame(33), 33, &writer.option(1, b"a comment")),
            writer.block(2, &old),
            writer.block(3, &[writer.words(&[99]), frame(40)].concat()),
            writer.block(3, &[writer.words(&[13]), frame(13)].concat()),
        ];
        let expected =
            [(Some(9000), frame(33), 33), (Some(5000), frame(21), 99), (None, frame(40), 99), (None, frame(13), 13)];
        assert_whole(&file.concat(), &expected);
    }
}

#[test]
fn each_interface_has_times_and_a_link_type_of_its_own() {
    let (little, big) = (BOTH[0], BOTH[1]);
    let resolution = |writer: Writer, byte: u8| writer.option(9, &[byte]);
    let offset = |seconds: i64| big.option(14, &seconds.to_be_bytes());
    let file = [
        little.section(),
        little.interface(1, 0, &resolution(little, 9)),
        little.interface(113, 0, &[]),
        little.interface(1, 0, &resolution(little, 3)),
        little.enhanced(0, 17, &frame(60), 60, &[]),
        little.enhanced(1, 17, &frame(60), 60, &[]),
        little.enhanced(2, 17, &frame(60), 60, &[]),
        // A section of the other order, with interfaces of its own.
        big.section(),
        big.interface(1, 0, &[resolution(big, 0x8a), offset(5)].concat()),
        big.interface(1, 0, &[resolution(big, 12), offset(-1)].concat()),
        big.enhanced(0, 512, &frame(60), 60, &[]),
        big.enhanced(1, 1_500_000_000_000, &frame(60), 60, &[]),
        big.enhanced(1, 1, &frame(60), 60, &[]),
    ]
    .concat();
    let at = |ns: u64| (Some(ns), frame(60), 60);
    let (frames, flaw) = read(&file);
    assert!(flaw.is_none(), "{flaw:?}");
    assert_eq!(frames, [at(17), at(17_000_000), at(5 * SECOND + SECOND / 2), at(SECOND / 2), at(0)]);
    let mut capture = Capture::new(Box::new(Cursor::new(file))).unwrap();
    while capture.next_frame().unwrap().is_some() {}
    assert_eq!(capture.others(), &BTreeMap::from([(LinkType(113), 1)]));
    assert_eq!(LinkType(113).to_string(), "LINUX_SLL (113)");
}

#[test]
fn what_is_not_of_packets_is_passed_over_whatever_it_holds() {
    for writer in BOTH {
        // Options that end nowhere, of a length that no option may have, and of a block that is longer than anything
        // that is kept.
        let broken = [writer.halves(&[9, 60_000]), vec![1; 4]].concat();
        let short = writer.option(14, &[1, 2]);
        let file = [
            writer.section(),
            writer.block(0x0bad, &vec![0xff; 3_000_001]),
            writer.interface(1, 0, &[short, broken.clone()].concat()),
            writer.block(4, &[0xee; 30]),
            writer.block(0x8000_0001, &[]),
            writer.enhanced(0, 1, &frame(60), 60, &broken),
            writer.enhanced(0, 2, &frame(60), 60, &vec![1; 500_000]),
            writer.enhanced(0, 3, &frame(60), 60, &[]),
        ];
        let at = |ns: u64| (Some(ns), frame(60), 60);
        assert_whole(&file.concat(), &[at(1000), at(2000), at(3000)]);
    }
}

#[test]
fn a_file_that_ends_anywhere_gives_what_was_whole() {
    let writer = BOTH[0];
    let record = |time| writer.pcap_record([time, 0], &frame(60), 60);
    let pcap = [writer.pcap_header(0xa1b2_c3d4, [2, 4], 1), record(1), record(2)].concat();
    let block = |time| writer.enhanced(0, time, &frame(60), 60, &[]);
    let pcapng = [writer.section(), writer.interface(1, 0, &[]), block(1), block(2)].concat();
    for (file, first, piece) in [(pcap, 24, 76), (pcapng, 28 + 20, 92)] {
        for end in first..=file.len() {
            let (frames, flaw) = read(&file[..end]);
            assert_eq!(frames.len(), (end - first) / piece, "{end}");
            let is_cut = matches!(flaw, Some(Flaw::Cut { at }) if at == (first + frames.len() * piece) as u64);
            assert_eq!(is_cut, (end - first) % piece != 0, "{end}: {flaw:?}");
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&file).unwrap();
        let packed = packed.finish().unwrap();
        let (frames, flaw) = read(&packed[..packed.len() - 1]);
        assert_eq!(frames.len(), 2);
        assert!(matches!(flaw, Some(Flaw::Cut { .. })), "{flaw:?}");
        let (frames, flaw) = read(&[packed, b"this is not of gzip".to_vec()].concat());
        assert_eq!(frames.len(), 2);
        assert!(matches!(flaw, Some(Flaw::Damaged { .. })), "{flaw:?}");
    }
}

#[test]
fn a_file_that_contradicts_itself_gives_what_came_before_and_says_where() {
    let writer = BOTH[1];
    let good = writer.enhanced(0, 1, &frame(60), 60, &[]);
    let start = [writer.section(), writer.interface(1, 0, &[]), good.clone()].concat();
    let mut other_length = good.clone();
    *other_length.last_mut().unwrap() = 1;
    let long = writer.words(&[0, 0, 0, 262_145, 262_145]);
    for (bad, what) in [
        (writer.words(&[6, 8, 8]), "a block says that it has 8 bytes; none has fewer than 12"),
        (other_length, "a block says that it has 92 bytes and, at its end, 1"),
        (writer.enhanced(1, 1, &frame(60), 60, &[]), "a packet of interface 1, of which there are 1 so far"),
        (
            writer.block(6, &[long, frame(60)].concat()),
            "a packet says that it holds 262145 bytes; no frame has more than 262144",
        ),
        (writer.block(6, &writer.words(&[0, 0, 0, 5, 5])), "a packet of 5 bytes in a block of 32"),
        (writer.block(6, &[0; 4]), "a block of a packet has 16 bytes"),
        (writer.block(0x0a0d_0d0a, &[0; 16]), "a section that says no byte order"),
    ] {
        let (frames, flaw) = read(&[start.clone(), bad, good.clone()].concat());
        assert_eq!(frames.len(), 1, "{what}");
        let expected = format!("it is damaged at byte {}: {what}", start.len());
        assert_eq!(flaw.map(|flaw| flaw.to_string()), Some(expected));
    }
    let header = writer.pcap_header(0xa1b2_c3d4, [2, 4], 1);
    let (_, flaw) = read(&[header, writer.words(&[0, 0, u32::MAX, 0])].concat());
    let expected =
        "it is damaged at byte 24: a record says that it holds 4294967295 bytes; no frame has more than 262144";
    assert_eq!(flaw.map(|flaw| flaw.to_string()).as_deref(), Some(expected));
}

#[test]
fn what_is_no_capture_is_said_to_begin_otherwise() {
    let message = |file: &[u8]| match Capture::new(Box::new(Cursor::new(file.to_vec()))) {
        Ok(_) => panic!("{file:?} is taken for a capture"),
        Err(error) => error.to_string(),
    };
    let neither = "this is neither pcap nor pcapng, plain or in gzip: it begins with";
    assert_eq!(message(b""), format!("{neither} nothing, it is empty"));
    assert_eq!(message(b"#!/bin/sh"), format!("{neither} the bytes 23 21 2f 62 69 6e 2f 73"));
    assert_eq!(message(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0]), format!("{neither} the bytes 0a 0d 0d 0a 00 00"));
}
