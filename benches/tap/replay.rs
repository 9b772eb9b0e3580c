//! Captures through the tap's program in this process: frames per second of a file in the page cache, beside a loop
//! that only parses.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::json;
use telegen_sonic::io::capture::Capture;
use telegen_sonic::io::replay::Replay;
use telegen_sonic::model::job::{Fields, JobSpec};
use telegen_sonic::model::settings::Settings;

use crate::ROUNDS;
use crate::measure::{Median, per_packet};
use crate::packets::{IPV4, IPV6, Ipv4, Ipv6, TCP, UDP, ethernet, tcp, udp};
use crate::random::Seeded;
use crate::report::{Goal, Section, numbers, spread, table};

/// Frames of the capture, and bytes of each that were captured.
const FRAMES: u32 = 500_000;
const SNAPLEN: usize = 128;
const FLOWS: u32 = 10_000;

/// Ways to go through the capture.
const WAYS: [&str; 4] =
    ["a loop that parses to the ports, from memory", "the reader alone", "analyze", "analyze --sample-rate 1 --inner"];

/// By way, the goal in frames per second.
const GOALS: [Option<f64>; 4] = [None, None, Some(5e6), Some(2.5e6)];

/// What a frame of 128 bytes takes, by way.
pub fn replay() -> Section {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    let frames = write_capture(&path);
    let mut taken = WAYS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let closely = [("sample_rate", "1"), ("inner", "true")];
        let ways: [&dyn Fn(); 4] =
            [&|| parse(&frames), &|| read(&path), &|| analyze(&path, &[]), &|| analyze(&path, &closely)];
        for (taken, way) in taken.iter_mut().zip(ways) {
            taken.push(per_packet(FRAMES as usize, way));
        }
    }
    let taken = taken.map(Median::of);
    let mut text =
        table(["a capture, 128 B of each frame, 10,000 flows", "ns per frame", "frames/s", "times the loop"]);
    let mut goals = Vec::new();
    let mut json = json!({});
    for ((name, median), goal) in WAYS.iter().zip(&taken).zip(GOALS) {
        let (per_second, ratio) = (1e9 / median.middle, median.middle / taken[0].middle);
        text.add_row([(*name).to_owned(), spread(median), format!("{:.1} M", per_second / 1e6), format!("{ratio:.1}")]);
        goals.extend(goal.map(|least| Goal::at_least(*name, per_second / 1e6, least / 1e6, "M frames/s")));
        json[*name] = json!({ "ns": numbers(median), "frames_per_s": per_second, "times_the_loop": ratio });
    }
    Section { key: "replay", table: text, json, goals }
}

/// 60 % TCP and 30 % UDP, a tenth of which may be VXLAN (by its port), of IPv4, and 10 % TCP of IPv6; uniform. Returns
/// what was captured.
fn write_capture(path: &Path) -> Vec<Vec<u8>> {
    let mut random = Seeded::new(7);
    let payload = [8; 1400];
    let kinds: Vec<Vec<u8>> = (0..FLOWS)
        .map(|flow| {
            let port = u16::try_from(1024 + flow).unwrap();
            let v4 = |proto| Ipv4 { src: (0x0a00_0000 + flow).into(), ..Ipv4::new(proto) };
            match flow % 10 {
                0..6 => ethernet(&[], IPV4, &v4(TCP).around(&tcp(port, 443, &payload))),
                6 => ethernet(&[], IPV4, &v4(UDP).around(&udp(port, 4789, &payload))),
                7 | 8 => ethernet(&[], IPV4, &v4(UDP).around(&udp(port, 53, &payload))),
                _ => ethernet(&[], IPV6, &Ipv6::new(TCP).around(&tcp(port, 443, &payload))),
            }
        })
        .collect();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = BufWriter::new(File::create(path).unwrap());
    let snaplen = u32::try_from(SNAPLEN).unwrap();
    file.write_all(&words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, snaplen, 1])).unwrap();
    let mut frames = Vec::new();
    for number in 0..FRAMES {
        let frame = &kinds[usize::try_from(random.below(FLOWS)).unwrap()];
        let len = u32::try_from(frame.len()).unwrap();
        file.write_all(&words(&[number / 1_000_000, number % 1_000_000, snaplen, len])).unwrap();
        file.write_all(&frame[..SNAPLEN]).unwrap();
        frames.push(frame[..SNAPLEN].to_vec());
    }
    file.flush().unwrap();
    frames
}

/// The addresses' last words and the ports of a frame, as a parser that does nothing else finds them.
fn ports(frame: &[u8]) -> Option<(u32, u32)> {
    let (mut at, mut ethertype) = (14, u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]));
    while ethertype == 0x8100 || ethertype == 0x88a8 {
        ethertype = u16::from_be_bytes([*frame.get(at + 2)?, *frame.get(at + 3)?]);
        at += 4;
    }
    let (header, addresses, proto) = match ethertype {
        0x0800 => (usize::from(*frame.get(at)? & 0xf) * 4, 12, *frame.get(at + 9)?),
        0x86dd => (40, 20, *frame.get(at + 6)?),
        _ => return None,
    };
    if proto != TCP && proto != UDP {
        return None;
    }
    let word = |at: usize| Some(u32::from_ne_bytes(frame.get(at..at + 4)?.try_into().ok()?));
    Some((word(at + addresses)?, word(at + header)?))
}

fn parse(frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(ports(black_box(frame)));
    }
}

fn read(path: &Path) {
    let mut capture = Capture::open(path).unwrap();
    while let Some(frame) = capture.next_frame().unwrap() {
        black_box(frame.bytes[0]);
    }
}

fn analyze(path: &Path, fields: &[(&str, &str)]) {
    let given = fields.iter().copied().chain([("port", "Ethernet0")]);
    let row: Fields = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut replay = Replay::new(&JobSpec::parse(&row, &Settings::default()).unwrap(), 7);
    let passed = replay.pass(&mut Capture::open(path).unwrap()).unwrap();
    assert_eq!((passed.frames, passed.flaw.is_none()), (FRAMES.into(), true));
    black_box(replay.sample().unwrap());
}
