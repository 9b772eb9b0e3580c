//! Damage: one packet of every kind, bare, in every tunnel and in every mirror encapsulation, cut at every length and with every byte of its first
//! 256 changed. The tap counts what `lab::truth` says of what is left, and hands every packet on as it was. Needs root.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
#[path = "common/mirrors.rs"]
mod mirrors;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;
#[path = "common/truths.rs"]
mod truths;

use cases::{cases, tagged, tunnel_and_health_cases};
use mirrors::{Carrier, Wrapping};
use packets::{IPV4, Ipv4, TCP, VLAN, ethernet, tcp};
use telegen_sonic::io::tap::{Encapsulation, FlowSlots, Program, TapPlan};
use telegen_sonic::lab::truth::mirror::{Arrival, arrival};
use telegen_sonic::lab::truth::{Truth, View};
use test_run::{can_run, plan, run};
use truths::{differences, has_evicted, stay_on_this_cpu, with_room};

/// A tap, and the truth about what it was given.
struct Tap {
    program: Program,
    encapsulation: Option<Encapsulation>,
    view: View,
    truth: Truth,
    unreadable: u64,
}

impl Tap {
    fn load(encapsulation: Option<Encapsulation>, view: View) -> Tap {
        stay_on_this_cpu();
        // A changed packet is often a flow of its own.
        let flows = FlowSlots::per_cpu(65_536);
        let program = Program::load(&TapPlan { encapsulation, inner: view == View::Inner, flows, ..plan() }).unwrap();
        Tap { program, encapsulation, view, truth: Truth::default(), unreadable: 0 }
    }

    fn add(&mut self, packet: &[u8]) {
        if !can_run(packet) {
            return;
        }
        run(&self.program, packet);
        match self.encapsulation {
            None => self.truth.add(packet),
            Some(Encapsulation { src, dst }) => match arrival(packet, src, dst) {
                Arrival::Foreign => {}
                Arrival::Unreadable => self.unreadable += 1,
                Arrival::Copy { frame, sequence: _ } => self.truth.add(frame),
            },
        }
    }

    /// What became of changed sequence numbers is not judged.
    fn differences(&self) -> Vec<String> {
        let sample = self.program.read(true);
        let mut wrong = differences(&sample, &self.truth, self.view);
        let unreadable = sample.copies.map(|copies| copies.unreadable);
        let expected = self.encapsulation.map(|_| self.unreadable);
        if unreadable != expected {
            wrong.push(format!("unreadable: counted {unreadable:?}, but it is {expected:?}"));
        }
        wrong
    }
}

/// A kind of packet.
struct Kind {
    name: String,
    packet: Vec<u8>,
    encapsulation: Option<Encapsulation>,
}

/// Every kind of packet as it is and, if that cannot be cut in front of its IP header ends, with a tag.
fn bare_kinds() -> Vec<Kind> {
    let classes = cases().into_iter().map(|(name, packet, _)| (name, packet));
    let kind = |(name, packet): (&str, Vec<u8>)| {
        let tagged = Kind { name: format!("{name}, tagged"), packet: tagged(&packet), encapsulation: None };
        [Kind { name: name.to_owned(), packet, encapsulation: None }, tagged]
    };
    classes.chain(tunnel_and_health_cases()).flat_map(kind).collect()
}

/// A packet in every encapsulation, with a tag in front so that it can be cut anywhere; by IPv4 without options, also without that tag, and one
/// in another tunnel.
fn mirrored_kinds() -> Vec<Kind> {
    let copied = ethernet(&[(VLAN, 4)], IPV4, &Ipv4 { dscp: 9, ..Ipv4::new(TCP) }.around(&tcp(1000, 22, b"ssh")));
    let kind = |wrapping: Wrapping, copied: &[u8]| Kind {
        name: format!("{wrapping:?}"),
        packet: tagged(&wrapping.wrap(copied, 7)),
        encapsulation: Some(wrapping.addresses()),
    };
    // What the fast parsers take, and the same without a frame in it.
    let untagged = |wrapping: Wrapping| {
        let [whole, empty] = [&copied[..], &[]].map(|copied| Kind {
            name: format!("{wrapping:?}, untagged, {} bytes", copied.len()),
            packet: wrapping.wrap(copied, 7),
            encapsulation: Some(wrapping.addresses()),
        });
        [whole, empty]
    };
    let tunnels = tunnel_and_health_cases();
    let plain = || Wrapping::all().into_iter().filter(|wrapping| wrapping.carrier == Carrier::V4);
    let in_tunnels = plain().zip(tunnels.iter().cycle()).map(|(wrapping, (_, copied))| kind(wrapping, copied));
    let all = Wrapping::all().into_iter().map(|wrapping| kind(wrapping, &copied));
    all.chain(plain().flat_map(untagged)).chain(in_tunnels).collect()
}

/// So many kinds have a few thousand flows together, once they are changed.
const KINDS_PER_TAP: usize = 8;

/// Gives taps all changed packets of each kind, and tells of the first wrong one of each.
fn judge(kinds: &[Kind], view: View, changed: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<String> {
    let of_one_job = kinds.chunk_by(|one, next| one.encapsulation == next.encapsulation);
    let few = of_one_job.flat_map(|kinds| kinds.chunks(KINDS_PER_TAP));
    few.flat_map(|kinds| with_room(|| judge_some(kinds, view, &changed))).collect()
}

fn judge_some(kinds: &[Kind], view: View, changed: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> (Program, Vec<String>) {
    let mut wrong = Vec::new();
    let mut tap = Tap::load(kinds[0].encapsulation, view);
    for kind in kinds {
        let packets = changed(&kind.packet);
        for packet in &packets {
            tap.add(packet);
        }
        let differences = tap.differences();
        if has_evicted(&tap.program) {
            break;
        }
        if !differences.is_empty() {
            let first = first_wrong_packet(kind, view, &packets).unwrap_or_else(|| differences.join("; "));
            wrong.push(format!("{}, {view:?}: {first}", kind.name));
            tap = Tap::load(kind.encapsulation, view);
        }
    }
    (tap.program, wrong)
}

fn first_wrong_packet(kind: &Kind, view: View, packets: &[Vec<u8>]) -> Option<String> {
    let mut tap = Tap::load(kind.encapsulation, view);
    packets.iter().find_map(|packet| {
        tap.add(packet);
        let differences = tap.differences();
        (!differences.is_empty()).then(|| format!("{} in {packet:02x?}", differences.join("; ")))
    })
}

fn judge_all(kinds: &[Kind], changed: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let wrong: Vec<String> = [View::Outer, View::Inner].iter().flat_map(|view| judge(kinds, *view, &changed)).collect();
    assert!(wrong.is_empty(), "{} of {} kinds:\n{}", wrong.len(), kinds.len(), wrong.join("\n"));
}

fn cut_at_every_length(packet: &[u8]) -> Vec<Vec<u8>> {
    (0..=packet.len()).map(|length| packet[..length].to_vec()).collect()
}

/// Every byte in turn gets values at the edges, values next to its own, and two by chance.
fn with_every_byte_changed(packet: &[u8]) -> Vec<Vec<u8>> {
    const CHANGED: usize = 256;
    let mut seeded = Seeded(0x7e1e_6e11);
    let mut all = Vec::new();
    for at in 0..packet.len().min(CHANGED) {
        let own = packet[at];
        for value in [0, 1, 0x7f, 0xff, own ^ 0x10, own.wrapping_add(1), seeded.byte(), seeded.byte()] {
            let mut changed = packet.to_vec();
            changed[at] = value;
            all.push(changed);
        }
    }
    all
}

/// A small generator (xorshift64*, Vigna 2016): the same packets on every run.
struct Seeded(u64);

impl Seeded {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
    }
}

#[test]
fn a_packet_cut_at_any_length_is_counted_as_what_is_left() {
    judge_all(&bare_kinds(), cut_at_every_length);
}

#[test]
fn a_packet_with_any_byte_changed_is_counted_as_what_it_became() {
    judge_all(&bare_kinds(), with_every_byte_changed);
}

#[test]
fn a_mirror_copy_cut_at_any_length_is_counted_as_what_is_left() {
    judge_all(&mirrored_kinds(), cut_at_every_length);
}

#[test]
fn a_mirror_copy_with_any_byte_changed_is_counted_as_what_it_became() {
    judge_all(&mirrored_kinds(), with_every_byte_changed);
}
