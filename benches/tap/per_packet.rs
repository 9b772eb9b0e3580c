//! What one packet costs, by `BPF_PROG_TEST_RUN`.
//!
//! All programs are loaded first and then measured in turn, round by round, so that whatever else the machine does falls on
//! all of them.

use std::os::fd::{AsFd, BorrowedFd};

use serde_json::json;

use crate::ROUNDS;
use crate::bench_programs::{BenchPrograms, DRAWS};
use crate::details::{Detail, Subject};
use crate::draws::Mix;
use crate::frames::{self, Form};
use crate::measure::{Median, ns_per_flow_packet, ns_per_packet};
use crate::report::{Goal, Section, judged, numbers, spread, table};

/// The columns of a table: for each a sample of the empty program per round.
struct Columns {
    names: Vec<&'static str>,
    empty: Vec<Vec<f64>>,
}

/// A program and what it takes more than the empty one, per column and round.
struct Row {
    name: &'static str,
    added: Vec<Vec<f64>>,
    goal: Box<dyn Fn(usize) -> Option<f64>>,
}

/// One packet after another of each kind, at each level of detail.
pub fn by_frame(programs: &BenchPrograms) -> Section {
    let frames = frames::all();
    let subjects: Vec<(Detail, Vec<Subject>)> = Detail::ALL
        .into_iter()
        .map(|detail| (detail, Form::ALL.map(|form| Subject::load(detail, form)).into()))
        .collect();
    let names: Vec<_> = frames.iter().map(|frame| frame.name).collect();
    let baselines = [("one per-CPU counter", &programs.counter), ("reading the clock", &programs.clock)];
    let mut columns = Columns { empty: vec![Vec::new(); names.len()], names: names.clone() };
    let row = |name, goal| Row { name, added: vec![Vec::new(); names.len()], goal };
    let mut rows: Vec<Row> = baselines.iter().map(|(name, _)| row(*name, Box::new(|_| None) as _)).collect();
    for (detail, _) in &subjects {
        let (detail, names) = (*detail, names.clone());
        rows.push(row(detail.name(), Box::new(move |column: usize| detail.goal(names[column]))));
    }
    for _ in 0..ROUNDS {
        for (column, frame) in frames.iter().enumerate() {
            let base = ns_per_packet(programs.empty.as_fd(), &frame.bytes);
            columns.empty[column].push(base);
            let taps = subjects.iter().map(|(_, forms)| forms[frame.form as usize].fd());
            let all = baselines.iter().map(|(_, fd)| fd.as_fd()).chain(taps);
            for (row, program) in rows.iter_mut().zip(all.collect::<Vec<BorrowedFd<'_>>>()) {
                row.added[column].push(ns_per_packet(program, &frame.bytes) - base);
            }
        }
    }
    section("added_ns_by_frame", "one flow, by kind of frame", columns, rows)
}

/// Packets of many flows, in random order.
pub fn by_flows(programs: &BenchPrograms) -> Section {
    let details = [Detail::Sampled, Detail::SampledEverything, Detail::Flows, Detail::FlowsEverything];
    let packet = &frames::all()[0].bytes;
    let mut columns = Columns { names: Mix::ALL.map(Mix::name).into(), empty: vec![Vec::new(); Mix::ALL.len()] };
    let mut rows: Vec<Row> = details
        .into_iter()
        .map(|detail| Row {
            name: detail.name(),
            added: vec![Vec::new(); Mix::ALL.len()],
            goal: Box::new(move |column| detail.flow_goal(Mix::ALL[column])),
        })
        .collect();
    for (column, mix) in Mix::ALL.into_iter().enumerate() {
        programs.draw(&mix.draw());
        let subjects = details.map(|detail| Subject::load(detail, Form::Plain));
        // The flow table is as full as it gets before the first measurement.
        for subject in &subjects {
            programs.run_flows(subject.fd(), packet, DRAWS);
        }
        for _ in 0..ROUNDS {
            let base = ns_per_flow_packet(programs, programs.empty.as_fd(), packet);
            columns.empty[column].push(base);
            for (row, subject) in rows.iter_mut().zip(&subjects) {
                row.added[column].push(ns_per_flow_packet(programs, subject.fd(), packet) - base);
            }
        }
    }
    section("added_ns_by_flows", "64 B UDP, by number of flows", columns, rows)
}

fn section(key: &'static str, title: &'static str, columns: Columns, rows: Vec<Row>) -> Section {
    let mut text = table([title].into_iter().chain(columns.names.iter().copied()));
    let empty: Vec<Median> = columns.empty.into_iter().map(Median::of).collect();
    text.add_row(["empty program, absolute".to_owned()].into_iter().chain(empty.iter().map(spread)));
    let mut goals = Vec::new();
    let mut json = json!({ "empty program, absolute": by_column(&columns.names, &empty) });
    for Row { name, added, goal } in rows {
        let added: Vec<Median> = added.into_iter().map(Median::of).collect();
        let cells = added.iter().enumerate().map(|(column, median)| judged(median, goal(column)));
        text.add_row([name.to_owned()].into_iter().chain(cells));
        for (column, median) in added.iter().enumerate() {
            let what = || format!("{name}: {}", columns.names[column]);
            goals.extend(goal(column).map(|most| Goal::at_most(what(), median.middle, most, "ns")));
        }
        json[name] = by_column(&columns.names, &added);
    }
    Section { key, table: text, json, goals }
}

fn by_column(names: &[&str], medians: &[Median]) -> serde_json::Value {
    names.iter().zip(medians).map(|(name, median)| ((*name).to_owned(), numbers(median))).collect()
}
