//! Every frame of every capture, bare, in VLANs and in every mirror encapsulation: the tap counts what `lab::truth` says, of the frames together
//! and of each flow, with and without a look into tunnels. Needs root, and the folder of captures that `TELEGEN_CAPTURES` names.
//!
//! That the truth is true is shown by tshark, in `captures`.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/mirrors.rs"]
mod mirrors;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;
#[path = "common/truths.rs"]
mod truths;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use mirrors::{Carrier, Fields, Header, Wrapping};
use packets::{QINQ, VLAN};
use telegen_sonic::io::tap::{FlowSlots, Program, TapPlan};
use telegen_sonic::lab::frames::{Frames, read_capture};
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::truth::{Packet, Truth, View};
use telegen_sonic::model::traffic::Copies;
use test_run::{LONGEST, can_run, plan, run};
use truths::{differences, stay_on_this_cpu, with_room};

/// A capture by its name.
struct Capture {
    name: String,
    frames: Frames,
}

/// All captures; `None`, with a word about it, if they cannot be had.
fn captures(test: &str) -> Option<Vec<Capture>> {
    let Some(folder) = env::var_os("TELEGEN_CAPTURES") else {
        println!("SKIPPED: {test}: TELEGEN_CAPTURES is not set");
        return None;
    };
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).filter(is_capture).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there is no capture in {}", Path::new(&folder).display());
    let capture = |path: &PathBuf| Capture {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        frames: read_capture(path).unwrap().0,
    };
    Some(paths.iter().map(capture).collect())
}

/// How frames come to the tap.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With these tags in front of their own.
    Tagged(&'static [u16]),
    Mirrored(Wrapping),
}

impl Way {
    /// What the tap is given, and what it is to see in that.
    fn carry(self, frame: &[u8], sequence: u32) -> Carried {
        match self {
            Way::Tagged(tags) => {
                let tags: Vec<u8> =
                    (5..).zip(tags).flat_map(|(id, tag): (u16, _)| [*tag, id]).flat_map(u16::to_be_bytes).collect();
                let mut frame = [&frame[..12], &tags, &frame[12..]].concat();
                frame.truncate(LONGEST);
                Carried { given: frame.clone(), seen: frame }
            }
            Way::Mirrored(wrapping) => {
                // Longer than any of the headers around it together.
                const HEADERS: usize = 200;
                let frame = &frame[..frame.len().min(LONGEST - HEADERS)];
                Carried { given: wrapping.wrap(frame, sequence), seen: frame.to_vec() }
            }
        }
    }

    fn plan(self, view: View) -> TapPlan {
        let encapsulation = match self {
            Way::Tagged(_) => None,
            Way::Mirrored(wrapping) => Some(wrapping.addresses()),
        };
        TapPlan { encapsulation, inner: view == View::Inner, flows: FlowSlots::per_cpu(262_144), ..plan() }
    }
}

struct Carried {
    given: Vec<u8>,
    seen: Vec<u8>,
}

/// A tap, and the truth about what it was given.
struct Tap {
    program: Program,
    way: Way,
    view: View,
    truth: Truth,
    numbers: Numbers,
}

/// The numbers of copies; they wrap around under way, and some are left out.
struct Numbers {
    next: u32,
    count: u64,
    left_out: u64,
    /// Left out behind the latest one: no gap until another one comes.
    pending: u64,
}

impl Numbers {
    fn take(&mut self) -> u32 {
        let taken = self.next;
        let skip = [0, 0, 0, 1, 0, 0, 2][taken as usize % 7];
        self.next = taken.wrapping_add(1 + skip);
        self.count += 1;
        self.left_out += self.pending;
        self.pending = u64::from(skip);
        taken
    }
}

impl Tap {
    fn load(way: Way, view: View) -> Tap {
        stay_on_this_cpu();
        let program = Program::load(&way.plan(view)).unwrap();
        let numbers = Numbers { next: u32::MAX - 500, count: 0, left_out: 0, pending: 0 };
        Tap { program, way, view, truth: Truth::default(), numbers }
    }

    fn add(&mut self, frame: &[u8]) {
        let Carried { given, seen } = self.way.carry(frame, self.numbers.next);
        if can_run(&given) {
            self.numbers.take();
            run(&self.program, &given);
            self.truth.add_packet(&Packet::read(&seen));
        }
    }

    fn differences(&self) -> Vec<String> {
        let sample = self.program.read(true);
        let mut wrong = differences(&sample, &self.truth, self.view);
        let is_numbered = matches!(self.way, Way::Mirrored(wrapping) if wrapping.fields.sequence);
        let copies = match self.way {
            Way::Tagged(_) => None,
            Way::Mirrored(_) => {
                let lost = (is_numbered && self.numbers.count > 0).then_some(self.numbers.left_out);
                Some(Copies { lost, unreadable: 0 })
            }
        };
        if sample.copies != copies {
            wrong.push(format!("copies: counted {:?}, but they are {copies:?}", sample.copies));
        }
        wrong
    }
}

/// Gives all captures to one tap and, if it is wrong, each of them to one of its own: tells what the first wrong frame of each is.
fn judge(captures: &[Capture], way: Way, view: View) -> Vec<String> {
    let wrong = with_room(|| {
        let mut tap = Tap::load(way, view);
        for frame in captures.iter().flat_map(|capture| capture.frames.iter()) {
            tap.add(frame);
        }
        let wrong = tap.differences();
        (tap.program, wrong)
    });
    if wrong.is_empty() {
        return wrong;
    }
    let of_captures: Vec<String> =
        captures.iter().filter_map(|capture| first_wrong_frame(capture, way, view)).collect();
    if of_captures.is_empty() {
        vec![format!("{way:?} {view:?}, only together: {}", wrong.join("; "))]
    } else {
        of_captures
    }
}

fn first_wrong_frame(capture: &Capture, way: Way, view: View) -> Option<String> {
    let mut tap = Tap::load(way, view);
    (1..).zip(capture.frames.iter()).find_map(|(number, frame): (u32, _)| {
        tap.add(frame);
        let wrong = tap.differences();
        (!wrong.is_empty()).then(|| {
            let (name, head) = (&capture.name, &frame[..frame.len().min(150)]);
            format!("{way:?} {view:?} {name}, frame {number}: {} in {head:02x?}", wrong.join("; "))
        })
    })
}

/// All captures on all ways in both views.
fn judge_all(captures: &[Capture], ways: &[Way]) {
    let frames: usize = captures.iter().map(|capture| capture.frames.len()).sum();
    assert!(frames > 1000, "{frames} frames");
    let mut wrong = Vec::new();
    for way in ways {
        for view in [View::Outer, View::Inner] {
            wrong.extend(judge(captures, *way, view));
        }
    }
    println!("{} captures, {frames} frames, {} ways", captures.len(), 2 * ways.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What captures lack: connections with all that can happen to a segment, RoCEv2, every tunnel, every sign of bad health. But not a flood, whose flows
/// do not fit together.
#[test]
fn profiles_are_counted_as_they_are() {
    const FRAMES: usize = 3000;
    let profiles = Profile::ALL.iter().filter(|profile| **profile != Profile::Flood);
    let captures: Vec<Capture> =
        profiles.map(|profile| Capture { name: profile.to_string(), frames: profile.frames(5, FRAMES) }).collect();
    let numbered = Fields { checksum: false, key: true, sequence: true };
    let mirrored = Wrapping { carrier: Carrier::V4, fields: numbered, header: Header::Erspan };
    judge_all(&captures, &[Way::Tagged(&[]), Way::Mirrored(mirrored)]);
}

#[test]
fn captures_are_counted_as_they_are_bare_and_in_vlans() {
    const TAGS: [&[u16]; 4] = [&[], &[VLAN], &[QINQ, VLAN], &[QINQ, VLAN, VLAN]];
    if let Some(captures) = captures("captures_are_counted_as_they_are_bare_and_in_vlans") {
        judge_all(&captures, &TAGS.map(Way::Tagged));
    }
}

/// Four tests, because each takes a while.
fn judge_carrier(test: &str, carrier: Carrier) {
    let all = Wrapping::all().into_iter().filter(|wrapping| wrapping.carrier == carrier);
    if let Some(captures) = captures(test) {
        judge_all(&captures, &all.map(Way::Mirrored).collect::<Vec<Way>>());
    }
}

#[test]
fn captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv4() {
    judge_carrier("captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv4", Carrier::V4);
}

#[test]
fn captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv4_with_options() {
    let test = "captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv4_with_options";
    judge_carrier(test, Carrier::V4Options);
}

#[test]
fn captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv6() {
    judge_carrier("captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv6", Carrier::V6);
}

#[test]
fn captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv6_with_options() {
    let test = "captures_are_counted_as_they_are_in_every_mirror_encapsulation_over_ipv6_with_options";
    judge_carrier(test, Carrier::V6Options);
}
