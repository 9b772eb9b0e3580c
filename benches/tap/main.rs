//! What the tap costs: `make bench`. Needs root; nothing is attached and no traffic is needed (`BPF_PROG_TEST_RUN`).
//!
//! All programs are loaded first and then measured in turn, round by round, so that whatever else the machine does falls on
//! all of them. The result is a table and `target/bench/tap.json`; docs/benchmarks.md says how to read them. This is no test: it
//! never fails because of a figure.

// It reports to a person, who reads the panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod draws;
mod measure;
mod report;
mod subjects;

#[path = "../../tests/common/packets.rs"]
mod packets;

use std::fs;

use measure::{Median, pin_to_this_cpu};
use report::{Cell, Table};
use subjects::{Baselines, Detail, Subject};

const ROUNDS: usize = 9;

fn main() {
    pin_to_this_cpu();
    let baselines = Baselines::load();
    let loads = loads();
    let tables = [packet_table(&baselines), flow_table(&baselines)];
    let text = report::text(&loads, &tables);
    println!("{text}");
    fs::create_dir_all("target/bench").unwrap();
    let json = serde_json::to_string_pretty(&report::json(&loads, &tables)).unwrap();
    fs::write("target/bench/tap.json", json).unwrap();
    println!("the same in target/bench/tap.json");
}

/// How long the verifier takes for each configuration, and over how many instructions.
fn loads() -> Vec<report::Load> {
    let details = Detail::ALL;
    let mut millis = vec![Vec::new(); details.len()];
    let mut verified = vec![0; details.len()];
    for _ in 0..ROUNDS {
        for (index, detail) in details.into_iter().enumerate() {
            let subject = Subject::load(detail);
            millis[index].push(subject.load_millis);
            verified[index] = subject.verified_instructions();
        }
    }
    details
        .into_iter()
        .zip(millis)
        .zip(verified)
        .map(|((detail, millis), verified)| report::Load { detail, millis: Median::of(millis), verified })
        .collect()
}

/// One packet after another of each kind, at each level of detail.
fn packet_table(baselines: &Baselines) -> Table {
    let kinds = subjects::packet_kinds();
    let subjects: Vec<Subject> = Detail::ALL.into_iter().map(Subject::load).collect();
    let mut names = vec!["one per-CPU counter", "reading the clock"];
    names.extend(Detail::ALL.map(Detail::name));
    let programs = || [&baselines.counter, &baselines.clock].into_iter().map(|fd| fd as &dyn measure::Runs);
    let mut empty = vec![Vec::new(); kinds.len()];
    let mut added = vec![vec![Vec::new(); kinds.len()]; names.len()];
    for _ in 0..ROUNDS {
        for (column, (_, packet)) in kinds.iter().enumerate() {
            let base = measure::ns_per_packet(&baselines.empty, packet);
            empty[column].push(base);
            let all = programs().chain(subjects.iter().map(|subject| subject as &dyn measure::Runs));
            for (row, program) in all.enumerate() {
                added[row][column].push(measure::ns_per_packet(program, packet) - base);
            }
        }
    }
    let goals = |row: usize, column: usize| {
        row.checked_sub(2).and_then(|detail| Detail::ALL[detail].goal(subjects::packet_kinds()[column].0))
    };
    Table::new("one flow, by kind of packet", kinds.iter().map(|kind| kind.0), &names, empty, added, goals)
}

/// Packets of many flows, in random order.
fn flow_table(baselines: &Baselines) -> Table {
    let details = [Detail::Sampled, Detail::SampledEverything, Detail::Flows, Detail::FlowsEverything];
    let names = details.map(Detail::name);
    let packet = &subjects::packet_kinds()[0].1;
    let mut empty = vec![Vec::new(); draws::Mix::ALL.len()];
    let mut added = vec![vec![Vec::new(); draws::Mix::ALL.len()]; names.len()];
    for (column, mix) in draws::Mix::ALL.into_iter().enumerate() {
        baselines.draw(&mix.draw());
        let subjects = details.map(Subject::load);
        // The flow table is as full as it gets before the first measurement.
        for subject in &subjects {
            baselines.run_flows(subject, packet, draws::COUNT);
        }
        for _ in 0..ROUNDS {
            let base = baselines.run_flows(&baselines.empty, packet, measure::REPEAT);
            empty[column].push(base);
            for (row, subject) in subjects.iter().enumerate() {
                added[row][column].push(baselines.run_flows(subject, packet, measure::REPEAT) - base);
            }
        }
    }
    let goals = |row: usize, column: usize| details[row].flow_goal(draws::Mix::ALL[column]);
    Table::new("64 B UDP, by number of flows", draws::Mix::ALL.map(draws::Mix::name), &names, empty, added, goals)
}

/// Keeps the type of a table's cells in one place.
type Samples = Vec<Vec<Vec<f64>>>;

impl Table {
    fn new<'a>(
        title: &'static str,
        columns: impl IntoIterator<Item = &'a str>,
        names: &[&'static str],
        empty: Vec<Vec<f64>>,
        added: Samples,
        goal: impl Fn(usize, usize) -> Option<f64>,
    ) -> Table {
        let cells = |row: usize, samples: Vec<Vec<f64>>| -> Vec<Cell> {
            let cell = |(column, samples)| Cell { added: Median::of(samples), goal: goal(row, column) };
            samples.into_iter().enumerate().map(cell).collect()
        };
        Table {
            title,
            columns: columns.into_iter().map(str::to_owned).collect(),
            empty: empty.into_iter().map(Median::of).collect(),
            rows: added.into_iter().enumerate().map(|(row, samples)| (names[row], cells(row, samples))).collect(),
        }
    }
}
