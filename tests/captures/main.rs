//! Captures, replayed through the virtual switch under the eyes of the real daemon, with three witnesses: what `telegen-lab send` says
//! it sent (`lab::truth`, Rust), what the job's rows in STATE_DB say (BPF), and what tshark says of the file. Packets and bytes must be
//! the same in total, for each class and for each flow. What `telegen-sonic analyze` says of the file is what the job's
//! results say (`analysis`).
//!
//! The rules by which tshark's dissection becomes our classes are in `tshark`, with their reasons: that is where a difference between the
//! two is explained. There is no exception for a single capture.
//!
//! The captures are those of the folder `TELEGEN_CAPTURES`, and the lab's own profiles as files. Each test has one lab and one daemon for
//! all of its captures, and two jobs at a time: as many as there may be.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

mod analysis;
mod numbers;
mod rules;
mod switch;
mod tshark;
mod tunnels;
mod view;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs, thread};

use rules::Dissection;
use switch::{Client, Observed, STATE_FLOWS, Switch};
use telegen_sonic::lab::frames::{Frames, Skip, read_capture};
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::truth::Packet;
use view::{Difference, View};

/// Where the frames enter: one port per job that may run.
const PORTS: [&str; 2] = ["Ethernet0", "Ethernet8"];

/// More than rows can say: DSCP, ECN, TTL, fragments, checksums, TCP and ICMP, and what is in tunnels, of each frame by itself. It needs no switch.
#[test]
fn every_frame_of_every_capture_is_what_tshark_says() {
    let Some(folder) = env::var_os("TELEGEN_CAPTURES") else {
        println!("SKIPPED: every_frame_of_every_capture_is_what_tshark_says: TELEGEN_CAPTURES is not set");
        return;
    };
    let captures = captures_in(Path::new(&folder));
    assert!(!captures.is_empty(), "there is no capture in {}", folder.display());
    judge_frames(&captures);
}

#[test]
fn every_frame_of_every_profile_is_what_tshark_says() {
    const SEEDS: u64 = 3;
    const FRAMES: usize = 2000;
    let folder = tempfile::tempdir().unwrap();
    for (profile, seed) in Profile::ALL.iter().flat_map(|profile| (0..SEEDS).map(move |seed| (profile, seed))) {
        write_capture(&folder.path().join(format!("{profile}-{seed}.pcap")), &profile.frames(seed, FRAMES));
    }
    judge_frames(&captures_in(folder.path()));
}

#[test]
fn every_capture_is_counted_as_it_was_sent_and_as_tshark_sees_it() {
    const TEST: &str = "every_capture_is_counted_as_it_was_sent_and_as_tshark_sees_it";
    let Some(folder) = env::var_os("TELEGEN_CAPTURES") else {
        println!("SKIPPED: {TEST}: TELEGEN_CAPTURES is not set");
        return;
    };
    if !is_root(TEST) {
        return;
    }
    let captures = captures_in(Path::new(&folder));
    assert!(!captures.is_empty(), "there is no capture in {}", folder.display());
    replay(&captures);
}

/// What the captures lack: fragments and extension headers of IPv6, three tags, damage in every header.
///
/// Seed 16 has what tshark alone cannot read: it gives up on a broken option inside of a whole hop-by-hop header and does not look for the
/// ports behind it.
#[test]
fn every_profile_is_counted_as_it_was_sent_and_as_tshark_sees_it() {
    const SEEDS: u64 = 5;
    if !is_root("every_profile_is_counted_as_it_was_sent_and_as_tshark_sees_it") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let profiles = Profile::ALL.iter().flat_map(|profile| (0..SEEDS).map(move |seed| (profile, seed)));
    for (profile, seed) in profiles {
        // No more than a hundred: each can be a flow, and so many a job can be told to write.
        write_capture(&folder.path().join(format!("{profile}-{seed}.pcap")), &profile.frames(seed, STATE_FLOWS));
    }
    replay(&captures_in(folder.path()));
}

fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("SKIPPED: {test}: the lab needs root");
    }
    is_root
}

/// Replays all captures and panics with all that was not as it should be.
fn replay(captures: &[PathBuf]) {
    let started = Instant::now();
    let switch = Switch::start();
    let (next, sums) = (AtomicUsize::new(0), Mutex::new(Sums::default()));
    thread::scope(|scope| {
        for port in PORTS {
            scope.spawn(|| {
                let mut client = switch.client(port);
                while let Some(path) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = judge(&mut client, path);
                    sums.lock().unwrap().add(&name_of(path), outcome);
                }
            });
        }
    });
    let Sums { frames, bytes, flows, failures } = sums.into_inner().unwrap();
    let (count, seconds) = (captures.len(), started.elapsed().as_secs_f64());
    println!("{count} captures, {frames} frames, {bytes} bytes, {flows} flows; {seconds:.1} s");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    switch.end();
}

/// Compares the truth with tshark and panics with all frames of which they do not say the same.
fn judge_frames(captures: &[PathBuf]) {
    let (mut failures, mut count) = (Vec::new(), 0);
    for path in captures {
        match wrong_frames(path) {
            Ok((frames, wrong)) => {
                count += frames;
                failures.extend(wrong.into_iter().map(|wrong| format!("{}, {wrong}", name_of(path))));
            }
            Err(error) => failures.push(format!("{}: {error}", name_of(path))),
        }
    }
    println!("{} captures, {count} frames", captures.len());
    assert!(failures.is_empty(), "{} of {count} frames:\n{}", failures.len(), failures.join("\n"));
}

/// How many frames there are, and those that tshark sees otherwise than the truth.
fn wrong_frames(path: &Path) -> Result<(usize, Vec<String>), String> {
    let tshark = tshark::Reading::start(path)?;
    let (frames, _) = read_capture(path).map_err(|error| error.to_string())?;
    let dissected = tshark.end()?.frames;
    if dissected.len() != frames.len() {
        return Err(format!("tshark sees {} frames, and {} can be sent", dissected.len(), frames.len()));
    }
    let wrong = (1..).zip(frames.iter()).zip(&dissected).filter_map(|((number, frame), dissection)| {
        let truth = Dissection::from(&Packet::read(frame));
        (!truth.agrees_with(dissection))
            .then(|| format!("frame {number}:\n  truth  {truth:?}\n  tshark {dissection:?}"))
    });
    Ok((frames.len(), wrong.collect::<Vec<String>>()))
}

/// The capture files of a folder, by name.
fn captures_in(folder: &Path) -> Vec<PathBuf> {
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng");
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut captures: Vec<PathBuf> = files.map(|file| file.unwrap().path()).filter(is_capture).collect();
    captures.sort();
    captures
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write_capture(path: &Path, frames: &Frames) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    // Magic number, version 2.4, times, the longest frame, Ethernet (draft-ietf-opsawg-pcap, section 4).
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]);
    for frame in frames.iter() {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[0, 0, length, length]));
        file.extend(frame);
    }
    fs::write(path, file).unwrap();
}

/// What all captures came to.
#[derive(Default)]
struct Sums {
    frames: u64,
    bytes: u64,
    flows: usize,
    failures: Vec<String>,
}

impl Sums {
    fn add(&mut self, capture: &str, outcome: Result<Judged, String>) {
        match outcome {
            Ok(Judged { seen, failures }) => {
                self.frames += seen.total.packets;
                self.bytes += seen.total.bytes;
                self.flows += seen.flows.len();
                self.failures.extend(failures.into_iter().map(|failure| format!("{capture}: {failure}")));
            }
            Err(error) => self.failures.push(format!("{capture}: {error}")),
        }
    }
}

/// One capture's outcome.
struct Judged {
    seen: View,
    failures: Vec<String>,
}

fn judge(client: &mut Client<'_>, path: &Path) -> Result<Judged, String> {
    // tshark's start takes about as long as a job's.
    let tshark = tshark::Reading::start(path)?;
    let Observed { sent, seen, results } = client.replay(path)?;
    let dissected = tshark.end()?;
    if dissected.is_cut != sent.skipped.contains_key(&Skip::CutRecord) {
        return Err(format!("send skipped {:?}, but tshark says cut: {}", sent.skipped, dissected.is_cut));
    }
    let against = |witness: &str, view: &View| -> Vec<String> {
        let say = |Difference { what, here, there }| format!("{what}: {witness} {there:?}, the job says {here:?}");
        seen.differences(view).into_iter().map(say).collect()
    };
    let failures = [
        against("sent", &View::from(&sent)),
        against("tshark sees", &View::from(dissected.frames.as_slice())),
        analysis::differences(path, &results)?,
    ]
    .concat();
    Ok(Judged { seen, failures })
}
