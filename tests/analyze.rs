//! `telegen-sonic analyze`: what it prints, its exit codes, how much memory it takes; how many frames it counts of
//! whole, cut and damaged captures, beside tshark. Needs no privileges.
//!
//! That its numbers are those of a job on the switch is in `captures`; what of a file is a frame, in `io::capture`'s
//! own tests.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/packets.rs"]
mod packets;
#[path = "common/random.rs"]
mod random;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use packets::{IPV4, Ipv4, TCP, UDP, VLAN, ethernet, tcp, udp};
use serde_json::{Value, json};
use telegen_sonic::io::capture::{Capture, FRAME_MAX};

fn analyze(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_telegen-sonic")).arg("analyze").args(arguments).args(files).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A pcap file of this link type, a frame each millisecond.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, link]);
    for (number, frame) in (0..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[1_700_000_000 + number / 1000, number % 1000 * 1000, length, length]));
        file.extend(frame);
    }
    file
}

/// 1001 frames: three flows of TCP, one of them in a VLAN, and DNS.
fn frames() -> Vec<Vec<u8>> {
    let frame = |number: u16| match number % 4 {
        0 => ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(5000, 53, b"query"))),
        1 => ethernet(&[(VLAN, 7)], IPV4, &Ipv4::new(TCP).around(&tcp(1000, 443, b"data"))),
        port => ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp(port, 443, b"data"))),
    };
    (0..1001).map(frame).collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_capture_is_told_in_the_words_of_results() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.pcap", &pcap(1, &frames()));
    let output = analyze(&["--sample-rate", "1", "--filter", "ip_proto=tcp"], &[&path]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    let first = format!(
        "{}, 1.0 s: 750 packets (44.5 kB), 750 packets/s and 356.0 kbit/s on average; \
         every Ethernet frame of the capture",
        path.display()
    );
    assert_eq!(text.lines().next(), Some(first.as_str()));
    assert!(text.contains("filter ip_proto tcp: 750 of 1,001 packets that arrived passed it"), "{text}");
    for line in ["packet size, 750 packets, mean 59 B", "3 different flows", "TCP retransmissions      747  99.6 %"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn json_is_that_of_results_with_what_became_of_each_capture() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.pcap", &pcap(1, &frames()));
    let output = analyze(&["--sample-rate", "1", "--vlan", "7", "--json"], &[&path, &path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = json_of(&output);
    assert_eq!(results["packets_total"], 500);
    assert_eq!(results["packets_delivered"], 2002);
    assert_eq!(results["protocols"]["ip"], json!({ "tcp": { "packets": 500, "bytes": 500 * 62 } }));
    assert_eq!(results["top_flows"][0]["5tuple"], "tcp 192.0.2.1:1000 -> 198.51.100.2:443");
    assert_eq!(results["top_flows"][0]["first_seen"], "2023-11-14T22:13:20.000Z");
    assert_eq!(results["services"]["https"]["packets"], 500);
    assert_eq!((&results["job_id"], &results["status"]), (&Value::Null, &json!("done")));
    let capture = json!({
        "file": path.display().to_string(),
        "frames": 1001,
        "frames_cut": 0,
        "records_empty": 0,
        "records_not_ethernet": {},
        "error": null,
    });
    assert_eq!(results["captures"], json!([capture, capture]));
}

#[test]
fn what_was_captured_in_part_counts_with_the_length_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let frame = ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp(1, 2, &[0; 1400])));
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 64, 1]);
    for _ in 0..10 {
        file.extend(words(&[0, 0, 64, u32::try_from(frame.len()).unwrap()]));
        file.extend(&frame[..64]);
    }
    let output = analyze(&["--sample-rate", "1", "--json"], &[&write(folder.path(), "cut.pcap", &file)]);
    let results = json_of(&output);
    assert_eq!((&results["packets_total"], &results["bytes_total"]), (&json!(10), &json!(10 * frame.len())));
    assert_eq!((&results["errors"], &results["captures"][0]["frames_cut"]), (&json!({}), &json!(10)));
    // Nine of ten are the first one again.
    assert_eq!(results["health"]["segments"]["retransmitted"], 9);
}

#[test]
fn standard_input_and_gzip_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let plain = pcap(1, &frames());
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&plain).unwrap();
    let packed = packed.finish().unwrap();
    let expected = json_of(&analyze(&["--sample-rate", "1", "--json"], &[&write(folder.path(), "a.pcap", &plain)]));
    for bytes in [plain, packed] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_telegen-sonic"))
            .args(["analyze", "--sample-rate", "1", "--json", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let mut results = json_of(&child.wait_with_output().unwrap());
        assert_eq!(results["captures"][0]["file"], "-");
        results["captures"] = expected["captures"].clone();
        // Of pairs that are drawn by chance.
        results["histograms"]["interarrival"] = expected["histograms"]["interarrival"].clone();
        assert_eq!(results, expected);
    }
}

#[test]
fn a_cut_capture_gives_what_was_whole_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = pcap(1, &frames());
    file.truncate(file.len() - 1);
    let path = write(folder.path(), "cut.pcap", &file);
    let output = analyze(&["--json"], &[&path]);
    assert_eq!(output.status.code(), Some(1));
    let results = json_of(&output);
    assert_eq!((&results["packets_total"], &results["status"]), (&json!(1000), &json!("failed")));
    let error = results["captures"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("it is cut: it ends inside of a record, at byte "), "{error}");
    assert_eq!(stderr(&output), format!("telegen-sonic: capture: {}: {error}\n", path.display()));
    let text = analyze(&[], &[&path]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(&format!("{}: {error}\n", path.display())), "{text}");
}

#[test]
fn a_link_type_that_cannot_be_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cooked = write(folder.path(), "any.pcap", &pcap(113, &frames()));
    let output = analyze(&["--json"], &[&cooked]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json_of(&output)["captures"][0]["records_not_ethernet"], json!({ "LINUX_SLL (113)": 1001 }));
    let says = "only Ethernet frames are counted; its records of other link types: 1001 of LINUX_SLL (113)";
    assert!(stderr(&output).contains(says), "{}", stderr(&output));
}

#[test]
fn a_file_that_is_no_capture_fails_and_the_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path(), "a.pcap", &pcap(1, &frames()));
    let none = write(folder.path(), "b.pcap", b"#!/bin/sh\n# no capture at all\n");
    let output = analyze(&["--json"], &[&folder.path().join("nothing"), &none, &good]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json_of(&output)["packets_total"], 1001);
    let said = stderr(&output);
    assert!(said.contains("nothing: No such file") && said.contains("neither pcap nor pcapng"), "{said}");
}

#[test]
fn an_argument_that_cannot_be_taken_is_usage() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.pcap", &pcap(1, &frames()));
    for (arguments, says) in [
        (&["--sample-rate", "0"][..], "sample_rate"),
        (&["--filter", "dscp=64"], "dscp"),
        (&["--detail", "all"], "result_detail"),
    ] {
        let output = analyze(arguments, &[&path]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(says) && output.stdout.is_empty(), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(analyze(&[], &[]).status.code(), Some(2));
}

#[test]
fn memory_does_not_grow_with_the_capture() {
    const LIMIT_KB: i64 = 48 << 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pcap");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    file.write_all(&words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1])).unwrap();
    // More flows than the table holds, and now and then the longest frame.
    for flow in 0..400_000_u32 {
        let ports = [flow >> 16, flow & 0xffff].map(|port| u16::try_from(port).unwrap());
        let mut frame = ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(ports[0], ports[1], b"")));
        if flow % 10_000 == 0 {
            frame.resize(FRAME_MAX, 0);
        }
        let length = u32::try_from(frame.len()).unwrap();
        file.write_all(&[words(&[0, 0, length, length]), frame].concat()).unwrap();
    }
    drop(file.into_inner().unwrap());
    let printed = folder.path().join("printed");
    #[expect(clippy::zombie_processes, reason = "resident_at_most waits for it")]
    let child = Command::new(env!("CARGO_BIN_EXE_telegen-sonic"))
        .args(["analyze", "--sample-rate", "1", "--json"])
        .arg(&path)
        .stdout(File::create(&printed).unwrap())
        .spawn()
        .unwrap();
    let largest_kb = resident_at_most(&child);
    let results: Value = serde_json::from_slice(&fs::read(&printed).unwrap()).unwrap();
    assert_eq!(results["packets_total"], 400_000);
    assert!(results["flows_evicted"].as_u64().unwrap() > 0);
    println!("{largest_kb} KiB at the most");
    assert!(largest_kb <= LIMIT_KB, "{largest_kb} KiB");
}

/// Waits for a child that succeeds; the most memory that it had, in KiB.
fn resident_at_most(child: &std::process::Child) -> i64 {
    let pid = i32::try_from(child.id()).unwrap();
    let mut status = 0;
    // SAFETY: all-zero is a value of this struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: status and usage live through the call; nobody else waits for this child.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (pid, 0));
    usage.ru_maxrss
}

/// Frames, and the bytes that they had.
type Amount = (u64, u64);

/// What tshark sees in a file; `None` if there is no tshark. It is told the format: what it does not know for a
/// capture, it takes for a document in one frame.
fn seen_by_tshark(path: &Path) -> Option<Amount> {
    let is_pcapng = fs::read(path).unwrap().starts_with(&[0x0a]);
    let format = if is_pcapng { "Wireshark/... - pcapng" } else { "Wireshark/tcpdump/... - pcap" };
    let output = Command::new("tshark")
        .args([
            "-n",
            "-X",
            &format!("read_format:{format}"),
            "-T",
            "fields",
            "-e",
            "frame.len",
            "-e",
            "frame.cap_len",
            "-r",
        ])
        .arg(path)
        .output()
        .ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    // A frame had at least what was captured of it, also where the file says less.
    let longer = |line: &str| line.split('\t').map(|length| length.parse::<u64>().unwrap()).max().unwrap();
    Some(printed.lines().fold((0, 0), |(frames, bytes), line| (frames + 1, bytes + longer(line))))
}

/// What our reader sees. Of records that are not of Ethernet it says no lengths, and there are none here.
fn seen_by_us(path: &Path) -> Amount {
    let Ok(mut capture) = Capture::open(path) else { return (0, 0) };
    let (mut frames, mut bytes) = (0, 0);
    while let Ok(Some(frame)) = capture.next_frame() {
        frames += 1;
        bytes += u64::from(frame.len);
    }
    (frames + capture.empty() + capture.others().values().sum::<u64>(), bytes)
}

/// The captures of the folder that `TELEGEN_CAPTURES` names.
fn captures(test: &str) -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os("TELEGEN_CAPTURES") else {
        println!("SKIPPED: {test}: TELEGEN_CAPTURES is not set");
        return None;
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng"));
    paths.sort();
    assert!(!paths.is_empty());
    Some(paths)
}

#[test]
fn every_capture_and_what_is_left_of_it_when_it_is_cut_has_the_frames_that_tshark_sees() {
    const TEST: &str = "every_capture_and_what_is_left_of_it_when_it_is_cut_has_the_frames_that_tshark_sees";
    // Some are cut: tshark takes its time.
    const CUT: usize = 5;
    let Some(paths) = captures(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut seeded = random::Seeded::new(0x7e1e_6e11);
    let (mut count, mut wrong) = (0, Vec::new());
    let mut compare = |path: &Path, what: &str| {
        let Some(theirs) = seen_by_tshark(path) else { return false };
        let ours = seen_by_us(path);
        if ours != theirs {
            wrong.push(format!("{what}: {ours:?} frames and bytes, tshark sees {theirs:?}"));
        }
        count += 1;
        true
    };
    for (number, path) in paths.iter().enumerate() {
        let name = path.file_name().unwrap().to_string_lossy();
        if !compare(path, &name) {
            println!("SKIPPED: {TEST}: tshark is not installed");
            return;
        }
        let bytes = fs::read(path).unwrap();
        if number % CUT != 0 && bytes[0] != 0x0a {
            continue;
        }
        let end = seeded.below(u32::try_from(bytes.len()).unwrap()) as usize;
        compare(&write(folder.path(), "cut", &bytes[..end]), &format!("{name}, cut at {end}"));
    }
    println!("{count} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
