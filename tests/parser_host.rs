//! The tap's parsers, and the whole tap, compiled for user space under the address and undefined-behaviour sanitizers:
//! they read no byte that a frame does not have, say the same wherever a buffer's linear part ends, and what they say
//! is the truth (`lab::truth`). Needs neither root nor a kernel with BPF.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
#[path = "common/mirrors.rs"]
mod mirrors;
#[path = "common/packets.rs"]
mod packets;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use cases::{cases, tagged, tunnel_and_health_cases};
use mirrors::{Carrier, Fields, Header, Wrapping};
use telegen_sonic::lab::truth::{Content, Fragment, Packet};
use telegen_sonic::model::schema::{ErrorKind, EthClass, IpClass};
use telegen_sonic::model::traffic::Tunnel;
use tempfile::TempDir;

/// Compiles tests/host/parse.c, see [`compiled`].
fn parsers(test: &str, directory: &Path) -> Option<PathBuf> {
    compiled(test, directory, "parse")
}

/// Compiles a program of tests/host; `None`, with the reason said, where clang lacks its sanitizers.
fn compiled(test: &str, directory: &Path, name: &str) -> Option<PathBuf> {
    let program = directory.join(name);
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-sanitize=alignment"];
    let output = Command::new("clang")
        .args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-address-of-packed-member", "-Ibpf"])
        .args(sanitizers)
        .arg(format!("tests/host/{name}.c"))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if error.contains("libclang_rt") {
        println!("SKIPPED: {test}: clang's sanitizers are not installed");
        return None;
    }
    assert!(output.status.success(), "{error}");
    Some(program)
}

/// A frame as the program gets it.
struct Input {
    bytes: Vec<u8>,
    linear: usize,
    in_vlan_tci: bool,
}

/// What the program says of a frame, word by word.
#[derive(Debug)]
struct Parsed {
    /// Classes, fragment, errors, tunnel, inner classes.
    packet: Vec<u64>,
    /// The facts of the parsers of the layers.
    facts: Vec<u64>,
    /// Those of the fast parser, if it took the frame.
    fast: Option<Vec<u64>>,
}

fn parse_all(program: &Path, inputs: &[Input]) -> Vec<Parsed> {
    let parsed: Vec<Parsed> = run_all(program, inputs).iter().map(|line| parsed(line)).collect();
    assert_eq!(parsed.len(), inputs.len());
    parsed
}

/// The lines that a program prints of these frames. Panics if a sanitizer ended it.
fn run_all(program: &Path, inputs: &[Input]) -> Vec<String> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines = thread::scope(|scope| {
        scope.spawn(move || {
            for input in inputs {
                let length = |length: usize| u32::try_from(length).unwrap().to_ne_bytes();
                let head = [length(input.bytes.len()), length(input.linear)].concat();
                // A program that a sanitizer ended reads no more; its status says so.
                let _ = stdin.write_all(&[head.as_slice(), &[u8::from(input.in_vlan_tci)], &input.bytes].concat());
            }
        });
        stdout.lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    assert!(child.wait().unwrap().success(), "the program ended after line {}", lines.len());
    lines
}

fn parsed(line: &str) -> Parsed {
    let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
    let is_fast = words[7] == 1;
    Parsed { packet: words[..7].to_vec(), facts: words[8..13].to_vec(), fast: is_fast.then(|| words[13..].to_vec()) }
}

/// The first words of [`Parsed::packet`], as the truth has them. Inner classes only where there is a tunnel.
fn expected(packet: &Packet) -> Vec<u64> {
    let errors = packet.errors.iter().filter(|kind| *kind != ErrorKind::ChecksumIp);
    let fragment = packet.ip.and_then(Result::ok).and_then(|ip| ip.fragment);
    let mut words = vec![
        packet.class as u64,
        packet.ip_class().map_or(0, |class| class as u64),
        match fragment {
            None => 0,
            Some(Fragment::First) => 1,
            Some(Fragment::Later) => 2,
        },
        errors.map(|kind| 1 << kind as u64).sum(),
        packet.inside.as_ref().map_or(Tunnel::COUNT as u64, |inside| inside.tunnel as u64),
    ];
    match packet.inside.as_ref().map(|inside| &inside.content) {
        Some(Content::Ip(ip)) => words.push(ip.class as u64),
        Some(Content::BrokenIp) => words.push(IpClass::Truncated as u64),
        Some(Content::NotIp) | None => {}
    }
    words
}

/// The same words of what the program said.
fn said(parsed: &Parsed) -> Vec<u64> {
    let [eth, ip, fragment, errors, tunnel, inner_eth, inner_ip] = parsed.packet[..] else { unreachable!() };
    let is_ip = |class: u64| class == EthClass::Ipv4 as u64 || class == EthClass::Ipv6 as u64;
    let mut words = vec![eth, if is_ip(eth) { ip } else { 0 }, fragment, errors, tunnel];
    if tunnel < Tunnel::COUNT as u64 && is_ip(inner_eth) {
        words.push(inner_ip);
    }
    words
}

/// A small generator (xorshift64*, Vigna 2016): the same inputs on every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40).unwrap();
        random % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn frames() -> Vec<Vec<u8>> {
    let named = cases().into_iter().map(|(_, packet, _)| packet);
    let all = named.chain(tunnel_and_health_cases().into_iter().map(|(_, packet)| packet));
    all.flat_map(|packet| [tagged(&packet), packet]).collect()
}

/// Every frame, cut at every length and with every byte of its first 256 changed a few times.
fn damaged() -> Vec<Vec<u8>> {
    let mut seeded = Seeded(0x7e1e_6e11);
    let mut all = Vec::new();
    for frame in frames() {
        all.extend((14..=frame.len()).map(|length| frame[..length].to_vec()));
        for at in 0..frame.len().min(256) {
            for value in [0, 0xff, frame[at] ^ 0x10, seeded.byte(), seeded.byte()] {
                let mut changed = frame.clone();
                changed[at] = value;
                all.push(changed);
            }
        }
    }
    all
}

#[test]
fn what_the_parsers_say_of_every_damaged_frame_is_the_truth() {
    let directory = TempDir::new().unwrap();
    let Some(program) = parsers("what_the_parsers_say_of_every_damaged_frame_is_the_truth", directory.path()) else {
        return;
    };
    let frames = damaged();
    assert!(frames.len() > 50_000, "{}", frames.len());
    let whole = |bytes: &Vec<u8>| Input { linear: bytes.len(), bytes: bytes.clone(), in_vlan_tci: false };
    let inputs: Vec<Input> = frames.iter().map(whole).collect();
    for (frame, parsed) in frames.iter().zip(parse_all(&program, &inputs)) {
        assert_eq!(said(&parsed), expected(&Packet::read(frame)), "{parsed:?} of {frame:02x?}");
        assert!(parsed.fast.as_ref().is_none_or(|fast| *fast == parsed.facts), "{parsed:?} of {frame:02x?}");
    }
}

#[test]
fn wherever_the_linear_part_of_a_buffer_ends_the_parsers_say_the_same() {
    let directory = TempDir::new().unwrap();
    let test = "wherever_the_linear_part_of_a_buffer_ends_the_parsers_say_the_same";
    let Some(program) = parsers(test, directory.path()) else { return };
    for in_vlan_tci in [false, true] {
        for frame in frames() {
            let input = |linear| Input { bytes: frame.clone(), linear, in_vlan_tci };
            let inputs: Vec<Input> = (0..=frame.len()).map(input).collect();
            let parsed = parse_all(&program, &inputs);
            let whole = parsed.last().unwrap();
            for (linear, part) in parsed.iter().enumerate() {
                assert_eq!((&part.packet, &part.facts), (&whole.packet, &whole.facts), "{linear} of {frame:02x?}");
                assert!(part.fast.as_ref().is_none_or(|fast| *fast == part.facts), "{linear} of {frame:02x?}");
            }
        }
    }
}

#[test]
fn random_bytes_behind_every_ethertype_are_read_within_their_bounds() {
    const FRAMES: usize = 100_000;
    let directory = TempDir::new().unwrap();
    let test = "random_bytes_behind_every_ethertype_are_read_within_their_bounds";
    let Some(program) = parsers(test, directory.path()) else { return };
    let mut seeded = Seeded(0xf00d);
    let ethertypes = [0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8848, 0x0806, 0x0026];
    let inputs: Vec<Input> = (0..FRAMES)
        .map(|_| {
            let length = 14 + seeded.below(140);
            let mut bytes: Vec<u8> = (0..length).map(|_| seeded.byte()).collect();
            bytes[12..14].copy_from_slice(&ethertypes[seeded.below(ethertypes.len())].to_be_bytes());
            // Half of them with a header that is believed, so that what is behind it is read too.
            if length > 34 && seeded.below(2) == 0 {
                let first = if bytes[12] == 0x08 { 0x45 } else { 0x60 };
                bytes[14] = first;
                bytes[16..18].copy_from_slice(&u16::try_from(length - 14).unwrap().to_be_bytes());
                bytes[18..20].copy_from_slice(&[0, 0]);
                bytes[20..22].copy_from_slice(&[0, 0]);
                bytes[23] = [6, 17, 47, 4, 41, 132, 1, 58][seeded.below(8)];
            }
            Input { linear: seeded.below(length + 1), bytes, in_vlan_tci: seeded.below(2) == 0 }
        })
        .collect();
    for (input, parsed) in inputs.iter().zip(parse_all(&program, &inputs)) {
        if !input.in_vlan_tci {
            let frame = &input.bytes;
            assert_eq!(said(&parsed), expected(&Packet::read(frame)), "{parsed:?} of {frame:02x?}");
        }
    }
}

/// Every damaged frame as it is, and as a mirror copy; each through four taps, whole and as if more of it had not been
/// captured.
#[test]
fn whatever_a_frame_holds_the_tap_stays_within_its_memory() {
    let directory = TempDir::new().unwrap();
    let test = "whatever_a_frame_holds_the_tap_stays_within_its_memory";
    let Some(program) = compiled(test, directory.path(), "count") else { return };
    let fields = Fields { checksum: false, key: false, sequence: true };
    let wrapping = Wrapping { carrier: Carrier::V4, fields, header: Header::Erspan };
    let mut seeded = Seeded(0xc0de);
    let inputs: Vec<Input> = damaged()
        .into_iter()
        .flat_map(|frame| [wrapping.wrap(&frame, 7), frame])
        .map(|mut bytes| {
            // The copies' own headers are damaged now and then, too.
            let at = seeded.below(8 * bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = seeded.byte();
            }
            Input { linear: seeded.below(bytes.len() + 1), bytes, in_vlan_tci: seeded.below(8) == 0 }
        })
        .collect();
    let counted = run_all(&program, &inputs);
    println!("{} frames; analysed and evicted by each tap: {}", inputs.len(), counted.join(", "));
    let is_busy = |line: &String| line.split(' ').all(|count| count.parse::<u64>().unwrap() > 0);
    assert!(counted.len() == 4 && counted.iter().all(is_busy), "{counted:?}");
}
