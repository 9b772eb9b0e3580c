//! What the tap adds to the way of live frames over a veth pair.
//!
//! The frames are sent and received on one CPU, so the CPU time of one thread is all that they cost. What hangs on the netdev
//! changes from measurement to measurement, round by round.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use serde_json::json;
use telegen_sonic::io::tap::Attach;

use crate::ROUNDS;
use crate::bench_programs::{BenchPrograms, DRAWS, pin_to};
use crate::details::{Detail, Subject};
use crate::frames::{self, Form};
use crate::measure::Median;
use crate::random::Seeded;
use crate::report::{Goal, Section, numbers, spread, table};
use crate::veth::with_veth;
use crate::way::{Road, turn_gro_on};

/// Per measurement.
const FRAMES: usize = 200_000;

/// Of mixed traffic.
const FLOWS: u32 = 70_000;

/// What hangs on the netdev.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hanging {
    Nothing,
    Empty(Attach),
    Tap(Detail, Attach),
}

const DETAILS: [Detail; 4] = [Detail::Totals, Detail::Sampled, Detail::SampledEverything, Detail::FlowsEverything];

impl Hanging {
    fn all() -> Vec<Hanging> {
        let by =
            |attach| [Hanging::Empty(attach)].into_iter().chain(DETAILS.map(|detail| Hanging::Tap(detail, attach)));
        [Hanging::Nothing].into_iter().chain(by(Attach::Tcx)).chain(by(Attach::Clsact)).collect()
    }

    fn name(self) -> String {
        let by = |attach| if attach == Attach::Clsact { "clsact" } else { "TCX" };
        match self {
            Hanging::Nothing => "nothing attached, absolute".to_owned(),
            Hanging::Empty(attach) => format!("empty program, {}", by(attach)),
            Hanging::Tap(detail, attach) => format!("{}, {}", detail.name(), by(attach)),
        }
    }

    /// The place of the empty program that is attached in the same way.
    fn empty_in(self, all: &[Hanging]) -> Option<usize> {
        let Hanging::Tap(_, attach) = self else { return None };
        all.iter().position(|other| *other == Hanging::Empty(attach))
    }
}

/// Samples in nanoseconds per frame: for each that can hang there, one per round.
type Samples = Vec<Vec<f64>>;

pub fn live(cpu: usize) -> Section {
    let all = Hanging::all();
    let [uniform, mixed] = with_veth(move || {
        pin_to(cpu);
        measure(cpu)
    });
    let header = [
        "live frames",
        "uniform: over nothing",
        "over the empty program",
        "mixed: over nothing",
        "over the empty program",
    ];
    let mut text = table(header);
    let (mut goals, mut json) = (Vec::new(), json!({}));
    for (index, hanging) in all.iter().enumerate() {
        let mut row = vec![hanging.name()];
        for (traffic, samples) in [("uniform", &uniform), ("mixed", &mixed)] {
            let over = |base: Option<usize>| {
                let pairs =
                    |base: usize| samples[index].iter().zip(&samples[base]).map(|(one, base)| one - base).collect();
                Median::of(base.map_or_else(|| samples[index].clone(), pairs))
            };
            let over_nothing = over((*hanging != Hanging::Nothing).then_some(0));
            let over_empty = hanging.empty_in(&all).map(|base| over(Some(base)));
            row.extend([spread(&over_nothing), over_empty.map_or_else(String::new, |median| spread(&median))]);
            json[hanging.name()][traffic] =
                json!({ "over_nothing_ns": numbers(&over_nothing), "over_empty_ns": over_empty.as_ref().map(numbers) });
            goals.extend(goals_of(*hanging, traffic, &over_nothing, over_empty.as_ref()));
        }
        text.add_row(row);
    }
    Section { key: "live", table: text, json, goals }
}

fn goals_of(hanging: Hanging, traffic: &str, over_nothing: &Median, over_empty: Option<&Median>) -> Vec<Goal> {
    let Hanging::Tap(Detail::Totals, attach) = hanging else { return Vec::new() };
    let name = format!("live {traffic} frames, {}", hanging.name());
    let most = if attach == Attach::Clsact { 65.0 } else { 45.0 };
    let mut goals = vec![Goal::at_most(format!("{name}, over nothing"), over_nothing.middle, most, "ns")];
    if let (Attach::Tcx, Some(over_empty)) = (attach, over_empty) {
        let most = if traffic == "uniform" { 10.0 } else { 25.0 };
        goals.push(Goal::at_most(format!("{name}, over empty"), over_empty.middle, most, "ns"));
    }
    goals
}

/// Uniform and mixed traffic, over the pair of this thread's namespace.
fn measure(cpu: usize) -> [Samples; 2] {
    let ifindex = |netdev: &str| nix::net::if_::if_nametoindex(netdev).unwrap();
    let programs = BenchPrograms::load(ifindex("wire"));
    programs.set_kinds(&frames::live_kinds());
    let mut random = Seeded::new(11);
    programs.draw(&(0..DRAWS).map(|_| 10 << 24 | random.below(FLOWS)).collect::<Vec<_>>());
    turn_gro_on("tap");
    let road = Road::new("tap", cpu);
    let (tap, frame) = (i32::try_from(ifindex("tap")).unwrap(), frames::live());
    let subjects = DETAILS.map(|detail| (detail, Subject::load(detail, Form::Plain)));
    let send = |sender: &OwnedFd| {
        let passage = road.send(sender.as_fd(), &frame, FRAMES);
        assert_eq!(passage.received, FRAMES as u64, "live frames are lost");
        #[allow(clippy::cast_precision_loss)] // seconds, in nanoseconds
        let ns = passage.cpu_ns as f64;
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let frames = FRAMES as f64;
        ns / frames
    };
    [&programs.send, &programs.send_mixed].map(|sender| {
        let all = Hanging::all();
        let mut samples = vec![Vec::new(); all.len()];
        send(sender);
        for _ in 0..ROUNDS {
            for (index, hanging) in all.iter().enumerate() {
                let program = match hanging {
                    Hanging::Nothing => None,
                    Hanging::Empty(attach) => Some((programs.empty.as_fd(), *attach)),
                    Hanging::Tap(detail, attach) => {
                        subjects.iter().find(|(of, _)| of == detail).map(|(_, subject)| (subject.fd(), *attach))
                    }
                };
                let hook = program.map(|(program, attach)| Hook::new(program, attach, tap));
                samples[index].push(send(sender));
                drop(hook);
            }
        }
        samples
    })
}

/// A program on the ingress of a netdev, until dropped.
enum Hook {
    Tcx { _link: OwnedFd },
    Clsact { ifindex: i32 },
}

impl Hook {
    fn new(program: BorrowedFd<'_>, attach: Attach, ifindex: i32) -> Hook {
        let program = program.as_raw_fd();
        if attach == Attach::Clsact {
            let mut hook = clsact(ifindex, libbpf_sys::BPF_TC_INGRESS);
            let mut options = libbpf_sys::bpf_tc_opts {
                sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
                prog_fd: program,
                ..Default::default()
            };
            // SAFETY: both structs live through the calls, and their sz is right.
            let results = unsafe {
                [
                    libbpf_sys::bpf_tc_hook_create(&raw mut hook),
                    libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut options),
                ]
            };
            assert_eq!(results, [0; 2], "no clsact filter");
            return Hook::Clsact { ifindex };
        }
        // SAFETY: no options.
        let fd =
            unsafe { libbpf_sys::bpf_link_create(program, ifindex, libbpf_sys::BPF_TCX_INGRESS, std::ptr::null()) };
        assert!(fd >= 0, "no TCX link: {fd}");
        // SAFETY: a new descriptor.
        Hook::Tcx { _link: unsafe { OwnedFd::from_raw_fd(fd) } }
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Hook::Clsact { ifindex } = self {
            let mut hook = clsact(*ifindex, libbpf_sys::BPF_TC_INGRESS | libbpf_sys::BPF_TC_EGRESS);
            // SAFETY: the struct lives through the call, and its sz is right.
            assert_eq!(unsafe { libbpf_sys::bpf_tc_hook_destroy(&raw mut hook) }, 0);
        }
    }
}

fn clsact(ifindex: i32, attach_point: libbpf_sys::bpf_tc_attach_point) -> libbpf_sys::bpf_tc_hook {
    libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex,
        attach_point,
        ..Default::default()
    }
}
