//! What a whole tap takes: to start and to stop, to read, to verify, and in memory.

use std::fs;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telegen_sonic::io::tap::{Attach, DEFAULT_MEMORY, FlowSlots, Hook, Program, Tap, possible_cpus};

use crate::ROUNDS;
use crate::bench_programs::{BenchPrograms, DRAWS, pin_to};
use crate::details::{Detail, Subject};
use crate::frames::{self, Form};
use crate::kernel_info::{maps_bytes, verified_instructions};
use crate::measure::{Median, p95};
use crate::random::Seeded;
use crate::report::{Goal, Section, judged, numbers, spread, table};
use crate::topk::{ENTRIES, plan};
use crate::veth::{host, run, with_veth};
use crate::way::thread_cpu_ns;

const STARTS: usize = 50;

/// Tens of starts and stops on a quiet netdev.
pub fn start_and_stop() -> Section {
    let mut text = table(["a tap's life, ms", "start, median", "p95", "CPU time of it", "stop, median", "p95"]);
    let (mut goals, mut json) = (Vec::new(), json!({}));
    for (attach, by) in [(Attach::Tcx, "TCX"), (Attach::Clsact, "clsact")] {
        for detail in [Detail::Everything, Detail::SampledEverything, Detail::FlowsEverything] {
            let [starts, stops, cpu] = lives(attach, detail);
            let name = format!("{}, {by}", detail.name());
            let (start_p95, stop_p95) = (p95(starts.clone()), p95(stops.clone()));
            let [starts, stops, cpu] = [starts, stops, cpu].map(Median::of);
            let [start, stop] = [start_p95, stop_p95].map(|p95| format!("{p95:.1}"));
            text.add_row([name.clone(), spread(&starts), start, spread(&cpu), spread(&stops), stop]);
            goals.push(Goal::at_most(format!("start of {name}, p95"), start_p95, 80.0, "ms"));
            goals.push(Goal::at_most(format!("stop of {name}, p95"), stop_p95, 80.0, "ms"));
            json[name] = json!({
                "start_ms": numbers(&starts), "start_p95": start_p95, "start_cpu_ms": numbers(&cpu), "stop_ms": numbers(&stops), "stop_p95": stop_p95,
            });
        }
    }
    Section { key: "start_and_stop", table: text, json, goals }
}

/// Milliseconds of each start and of each stop, and of CPU time of each start: what it would take if nobody else ran.
fn lives(attach: Attach, detail: Detail) -> [Vec<f64>; 3] {
    with_veth(move || {
        let dir = tempfile::tempdir().unwrap();
        let (plan, host) = (detail.plan(Form::Plain, "tap"), host(attach, dir.path()));
        let life = || {
            let (begin, cpu) = (Instant::now(), thread_cpu_ns());
            let tap = Tap::open(&plan, &host).unwrap();
            let (open, cpu) = (Instant::now(), Duration::from_nanos(thread_cpu_ns() - cpu));
            tap.close().unwrap();
            [open - begin, open.elapsed(), cpu].map(|time| time.as_secs_f64() * 1e3)
        };
        let lives: Vec<_> = (0..STARTS).map(|_| life()).collect();
        [0, 1, 2].map(|part| lives.iter().map(|life| life[part]).collect())
    })
}

/// How long the verifier takes for each configuration, and over how many instructions.
pub fn loads() -> Section {
    const FORMS: [&str; 3] = ["plain frames", "mirror copies", "inner=true"];
    let mut text = table(["loading: ms and verified instructions"].into_iter().chain(FORMS));
    let (mut most, mut json) = ([0; FORMS.len()], json!({}));
    for detail in Detail::ALL {
        let mut row = vec![detail.name().to_owned()];
        for ((form, name), most) in Form::ALL.into_iter().zip(FORMS).zip(&mut most) {
            let loads: Vec<Subject> = (0..ROUNDS).map(|_| Subject::load(detail, form)).collect();
            let millis = Median::of(loads.iter().map(|subject| subject.load_millis).collect());
            let verified = verified_instructions(loads[0].fd());
            row.push(format!("{}; {verified}", spread(&millis)));
            *most = verified.max(*most);
            json[detail.name()][name] = json!({ "ms": numbers(&millis), "verified_instructions": verified });
        }
        text.add_row(row);
    }
    let goal = |(name, most): (&str, u32)| {
        Goal::at_most(format!("verified instructions, {name}, the most"), f64::from(most), 100_000.0, "")
    };
    Section { key: "loads", table: text, json, goals: FORMS.into_iter().zip(most).map(goal).collect() }
}

/// Reading full tables.
pub fn reads() -> Section {
    const TIMES: usize = 50;
    let cpus = possible_cpus().unwrap();
    let default = FlowSlots::within(DEFAULT_MEMORY, cpus).unwrap();
    let one_cpu = NonZeroU32::MIN;
    let mut text = table(["one read", "flows in it", "ms"]);
    let (mut goals, mut json) = (Vec::new(), json!({}));
    let sizes = [
        ("16,384 entries of one CPU", FlowSlots::per_cpu(ENTRIES).unwrap(), one_cpu),
        ("a job's default table, every CPU's part full", default, cpus),
    ];
    for (name, slots, full) in sizes {
        let program = Program::load(&plan(slots)).unwrap();
        fill(&program, full);
        let flows = program.read(true).flows.unwrap().flows.len();
        let read = || {
            let begin = Instant::now();
            let sample = program.read(true);
            let millis = begin.elapsed().as_secs_f64() * 1e3;
            drop(sample);
            millis
        };
        let millis = Median::of((0..TIMES).map(|_| read()).collect());
        text.add_row([name.to_owned(), flows.to_string(), judged(&millis, Some(1.0))]);
        goals.push(Goal::at_most(format!("one read: {name}"), millis.middle, 1.0, "ms"));
        json[name] = json!({ "flows": flows, "ms": numbers(&millis) });
    }
    Section { key: "reads", table: text, json, goals }
}

/// A look after a running tap: does it still hang where it was hung? Once a second, so a millisecond of it is 0.1 % of a core.
pub fn looks() -> Section {
    let mut text = table(["one look after a tap, both hooks", "CPU time, µs"]);
    let (mut goals, mut json) = (Vec::new(), json!({}));
    let cases = [
        ("TCX", Attach::Tcx, 0),
        ("clsact", Attach::Clsact, 0),
        ("clsact, beside 1,000 filters of others", Attach::Clsact, 1000),
    ];
    for (name, attach, others) in cases {
        let micros = Median::of(looks_micros(attach, others));
        text.add_row([name.to_owned(), judged(&micros, Some(50.0))]);
        goals.push(Goal::at_most(format!("one look: {name}"), micros.middle, 50.0, "µs"));
        json[name] = json!({ "us": numbers(&micros) });
    }
    Section { key: "looks", table: text, json, goals }
}

fn looks_micros(attach: Attach, others: u32) -> Vec<f64> {
    const TIMES: usize = 1000;
    with_veth(move || {
        let dir = tempfile::tempdir().unwrap();
        let tap = Tap::open(&Detail::Everything.plan(Form::Plain, "tap"), &host(attach, dir.path())).unwrap();
        let add = "filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1\n";
        let batch = dir.path().join("batch");
        fs::write(&batch, add.repeat(others as usize)).unwrap();
        run(&format!("tc -batch {}", batch.display()));
        let look = || {
            let begin = thread_cpu_ns();
            assert_eq!(tap.loss().unwrap(), None);
            Duration::from_nanos(thread_cpu_ns() - begin).as_secs_f64() * 1e6
        };
        (0..TIMES).map(|_| look()).collect()
    })
}

/// Fills the parts of the first CPUs with other flows each. This thread stays on the last.
fn fill(program: &Program, cpus: NonZeroU32) {
    let programs = BenchPrograms::load(0);
    let mut random = Seeded::new(3);
    for cpu in 0..cpus.get() as usize {
        pin_to(cpu);
        programs.draw(&(0..DRAWS).map(|_| random.next()).collect::<Vec<_>>());
        programs.run_flows(program.fd(Hook::Ingress).unwrap(), &frames::all()[0].bytes, DRAWS);
    }
}

/// What a job's maps take, here and elsewhere, and what ten million flows add to it.
pub fn memory() -> Section {
    let mut text = table(["memory of a job with the default table", "KiB"]);
    let job = |cpus: u32| {
        let cpus = NonZeroU32::new(cpus).unwrap();
        let plan = plan(FlowSlots::within(DEFAULT_MEMORY, cpus).unwrap());
        plan.memory_bytes(cpus) / 1024
    };
    let most = (1..=128).map(job).max().unwrap();
    let program = Program::load(&plan(FlowSlots::within(DEFAULT_MEMORY, possible_cpus().unwrap()).unwrap())).unwrap();
    drop(program.read(true));
    let before = (maps_bytes(program.fd(Hook::Ingress).unwrap()) / 1024, rss_kib());
    let (mut random, programs) = (Seeded::new(5), BenchPrograms::load(0));
    let mut highest = before.1;
    let mut flows = vec![0; DRAWS];
    let begun = rss_kib();
    for _ in 0..10 {
        flows.fill_with(|| random.next());
        programs.draw(&flows);
        programs.run_flows(program.fd(Hook::Ingress).unwrap(), &frames::all()[0].bytes, DRAWS);
        drop(program.read(true));
        highest = highest.max(rss_kib());
    }
    let after = (maps_bytes(program.fd(Hook::Ingress).unwrap()) / 1024, rss_kib());
    text.add_row(["planned, the most of 1 to 128 CPUs".to_owned(), most.to_string()]);
    text.add_row(["maps here, as the kernel counts them".to_owned(), before.0.to_string()]);
    text.add_row(["the same after 10 M random flows".to_owned(), after.0.to_string()]);
    text.add_row(["this process before".to_owned(), begun.to_string()]);
    text.add_row(["this process after".to_owned(), after.1.to_string()]);
    let goals = vec![
        Goal::at_most("memory of a job, on 1 to 128 CPUs", float(most), 4096.0, "KiB"),
        Goal::at_most("memory that 10 M random flows add to the maps", float(after.0) - float(before.0), 0.0, "KiB"),
    ];
    let json: Value = json!({
        "planned_most_kib": most, "maps_kib": before.0, "maps_after_kib": after.0,
        "rss_before_kib": begun, "rss_after_kib": after.1, "rss_highest_kib": highest,
    });
    Section { key: "memory", table: text, json, goals }
}

/// Resident memory of this process.
fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    rss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn float(number: u64) -> f64 {
    number as f64
}
