//! The whole daemon beside other collectors, on the same traffic: `make bench-peers`. Needs root, the release binaries, and what is to be
//! compared: softflowd and pmacct (`scripts/bench_peers.sh` sees to both).
//!
//! The traffic is live frames on the netdev of a port of a virtual switch, sent and received on one CPU; the collectors run on another. What a collector costs is
//! its processes' CPU time and what the frames' way takes longer because of it: a collector that works in the kernel
//! would else seem to cost nothing. The result is a table and `target/bench/peers.json`.

// It reports to a person, who reads the panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod collectors;
mod paced;
mod switch;

#[path = "../../tests/common/bench_programs.rs"]
mod bench_programs;
#[path = "../tap/frames.rs"]
mod frames;
#[path = "../tap/measure.rs"]
mod measure;
#[path = "../../tests/common/packets.rs"]
mod packets;
#[path = "../../tests/common/random.rs"]
mod random;
#[path = "../tap/report.rs"]
mod report;
#[path = "../../tests/common/live.rs"]
mod way;

use std::fs;
use std::os::fd::AsFd;

use bench_programs::{BenchPrograms, DRAWS, pin_to};
use collectors::Collector;
use measure::Median;
use nix::net::if_::if_nametoindex;
use paced::Paced;
use random::Seeded;
use serde_json::{Value, json};
use switch::{NETDEV, PEER, Switch};
use way::{Road, turn_gro_on};

const ROUNDS: usize = 3;
const FLOWS: u32 = 70_000;

/// Sends and receives.
const TRAFFIC_CPU: usize = 0;

/// How fast frames are sent, and how many.
#[derive(Clone, Copy)]
struct Pace {
    name: &'static str,
    per_second: Option<usize>,
    frames: usize,
}

const PACES: [Pace; 3] = [
    Pace { name: "100,000/s", per_second: Some(100_000), frames: 500_000 },
    Pace { name: "500,000/s", per_second: Some(500_000), frames: 2_000_000 },
    Pace { name: "as fast as one CPU can", per_second: None, frames: 5_000_000 },
];

/// Of one collector at one pace, by round.
#[derive(Default)]
struct Samples {
    /// CPU seconds of the collector's processes, per million frames.
    processes: Vec<f64>,
    /// CPU seconds of the frames' way, per million frames.
    way: Vec<f64>,
    /// Percent of the frames.
    seen: Vec<f64>,
    /// The most resident memory, MiB.
    memory: Vec<f64>,
}

fn main() {
    let switch = Switch::up();
    switch.in_namespace(|| turn_gro_on(NETDEV));
    let samples = switch.behind_the_port(|| measure(&switch));
    let (text, json) = report(&samples);
    println!("{text}");
    fs::create_dir_all("target/bench").unwrap();
    fs::write("target/bench/peers.json", serde_json::to_string_pretty(&json).unwrap()).unwrap();
    println!("\nthe same in target/bench/peers.json");
}

/// For each pace, one row per collector.
type ByPace = Vec<(Pace, Vec<(Collector, Samples)>)>;

/// In the namespace that the port's netdev is connected to.
fn measure(switch: &Switch) -> ByPace {
    pin_to(TRAFFIC_CPU);
    let programs = BenchPrograms::load(if_nametoindex(PEER).unwrap());
    programs.set_kinds(&frames::untagged_kinds());
    let mut random = Seeded::new(13);
    programs.draw(&(0..DRAWS).map(|_| 10 << 24 | random.below(FLOWS)).collect::<Vec<_>>());
    let road = Road::of(NETDEV, TRAFFIC_CPU, switch.pid);
    let collectors = Collector::available();
    let row = |pace| (pace, collectors.iter().map(|collector| (*collector, Samples::default())).collect());
    let mut samples: ByPace = PACES.into_iter().map(row).collect();
    for _ in 0..ROUNDS {
        for (pace, rows) in &mut samples {
            for (collector, samples) in rows {
                eprintln!("{} at {}", collector.name(), pace.name);
                let running = collector.start(switch);
                let way = send(&programs, &road, *pace);
                let used = running.finish(switch);
                let millions = float(pace.frames) / 1e6;
                samples.processes.push(used.cpu_seconds / millions);
                samples.way.push(way / 1e9 / millions);
                samples.memory.push(float(used.memory_kib) / 1024.0);
                samples.seen.push(float(used.packets) / float(pace.frames) * 100.0);
            }
        }
    }
    samples
}

/// CPU nanoseconds of the frames' way.
fn send(programs: &BenchPrograms, road: &Road, pace: Pace) -> f64 {
    let passage = match pace.per_second {
        None => road.send(programs.send_mixed.as_fd(), &frames::live(), pace.frames),
        Some(per_second) => {
            let paced = Paced::new(PEER, per_second);
            road.watch(pace.frames, || paced.send(pace.frames))
        }
    };
    // Somebody on the switch may send by itself.
    assert!(passage.received >= pace.frames as u64, "frames are lost: {} of {}", passage.received, pace.frames);
    float(passage.cpu_ns)
}

fn report(samples: &ByPace) -> (String, Value) {
    let header =
        ["CPU seconds per million packets", "processes", "receive path", "together", "packets seen", "memory, MiB"];
    let mut text = report::table(header);
    let mut json = json!({});
    for (pace, rows) in samples {
        let base = rows.iter().find(|(collector, _)| *collector == Collector::None).map(|(_, samples)| &samples.way);
        for (collector, samples) in rows.iter().filter(|(collector, _)| *collector != Collector::None) {
            let added = |round: usize| samples.way[round] - base.unwrap()[round];
            let together = |round: usize| samples.processes[round] + added(round);
            let rounds = || 0..samples.way.len();
            let [processes, way, together, seen, memory] = [
                samples.processes.clone(),
                rounds().map(added).collect(),
                rounds().map(together).collect(),
                samples.seen.clone(),
                samples.memory.clone(),
            ]
            .map(Median::of);
            let seconds = |median: &Median| format!("{:.3} ({:.3}..{:.3})", median.middle, median.least, median.most);
            text.add_row([
                format!("{}, {}", collector.name(), pace.name),
                seconds(&processes),
                seconds(&way),
                seconds(&together),
                format!("{:.1} % ({:.1}..{:.1})", seen.middle, seen.least, seen.most),
                report::spread(&memory),
            ]);
            json[pace.name][collector.name()] = json!({
                "processes_s": report::numbers(&processes),
                "receive_path_s": report::numbers(&way),
                "together_s": report::numbers(&together),
                "seen_percent": report::numbers(&seen),
                "memory_mib": report::numbers(&memory),
            });
        }
    }
    (format!("{}\n\n{text}", report::machine()), json)
}

#[allow(clippy::cast_precision_loss)] // some millions
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().ok().unwrap() as f64
}
