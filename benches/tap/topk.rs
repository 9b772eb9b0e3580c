//! How well the flow table finds the largest flows, and what it says of the rest.

use std::num::NonZeroU32;

use serde_json::json;
use telegen_sonic::io::tap::{FlowSlots, Hooks, Program, TapPlan};
use telegen_sonic::model::filter::Filter;
use telegen_sonic::model::traffic::DistinctFlows;

use crate::ROUNDS;
use crate::bench_programs::DRAWS;
use crate::frames;
use crate::heavy_flows::{self, Accuracy, Traffic, reconciled};
use crate::measure::Median;
use crate::report::{Goal, Section, numbers, table};

/// Times [`DRAWS`] packets: 8.4 million.
const DRAWN: usize = 8;

/// As many as the goals speak of.
pub const ENTRIES: u32 = 16_384;

/// Every packet is analysed, and the table has this many entries on each CPU.
pub fn plan(entries: FlowSlots) -> TapPlan {
    TapPlan {
        netdev: "none".to_owned(),
        hooks: Hooks::Ingress,
        filter: Filter::default(),
        sample_rate: NonZeroU32::MIN,
        flows: Some(entries),
        inner: false,
        encapsulation: None,
    }
}

/// What one table made of some traffic.
struct Outcome {
    recall: [f64; 2],
    error: [f64; 2],
    unaccounted: f64,
    flows: usize,
    distinct: DistinctFlows,
}

/// The hash of each table has other keys, so each round is another outcome for the same traffic.
pub fn accuracy() -> Section {
    let header =
        ["16,384 entries", "recall 100, %", "recall 1000, %", "error 100, %", "error 1000, %", "unaccounted", "flows"];
    let mut text = table(header);
    let (mut goals, mut json) = (Vec::new(), json!({ "entries": ENTRIES, "packets": DRAWN * DRAWS }));
    for traffic in Traffic::ALL {
        let outcomes: Vec<Outcome> = (0..ROUNDS).map(|_| outcome(traffic)).collect();
        let median = |of: &dyn Fn(&Outcome) -> f64| Median::of(outcomes.iter().map(of).collect());
        let recall = [0, 1].map(|top| median(&|outcome: &Outcome| outcome.recall[top]));
        let error = [0, 1].map(|top| median(&|outcome: &Outcome| outcome.error[top]));
        let unaccounted = outcomes.iter().map(|outcome| outcome.unaccounted).fold(0.0, f64::max);
        let Outcome { flows, distinct, .. } = outcomes[0];
        let right =
            outcomes.iter().filter(|one| one.distinct.estimate.abs_diff(one.flows as u64) <= one.distinct.err95);
        let right = right.count();
        let percent = |median: &Median| format!("{:.2} ({:.2}..{:.2})", median.middle, median.least, median.most);
        let estimate =
            format!("{flows}, first estimate {} +- {}, {right} of {ROUNDS} right", distinct.estimate, distinct.err95);
        let shares = recall.iter().chain(&error).map(percent);
        text.add_row([traffic.name().to_owned()].into_iter().chain(shares).chain([unaccounted.to_string(), estimate]));
        let name = |what: &str| format!("{}: {what}", traffic.name());
        goals.extend([
            Goal::at_least(name("recall of the top 100"), recall[0].middle, 100.0, "%"),
            Goal::at_least(name("recall of the top 1000"), recall[1].middle, 99.0, "%"),
            Goal::at_most(name("error of the top 100"), error[0].middle, 1.0, "%"),
            Goal::at_most(name("error of the top 1000"), error[1].middle, 1.0, "%"),
            Goal::at_most(name("packets unaccounted for, at most"), unaccounted, 0.0, "packets"),
        ]);
        json[traffic.name()] = json!({
            "recall_100": numbers(&recall[0]),
            "recall_1000": numbers(&recall[1]),
            "error_100": numbers(&error[0]),
            "error_1000": numbers(&error[1]),
            "unaccounted": unaccounted,
            "flows": flows,
            "flows_estimate": distinct.estimate,
            "flows_err95": distinct.err95,
            "flows_inside_err95": right,
            "rounds": ROUNDS,
        });
    }
    Section { key: "top_flows", table: text, json, goals }
}

fn outcome(traffic: Traffic) -> Outcome {
    let program = Program::load(&plan(FlowSlots::per_cpu(ENTRIES).unwrap())).unwrap();
    let truth = heavy_flows::run(&program, traffic, DRAWN, &frames::all()[0].bytes);
    let table = program.read(true).flows.unwrap();
    let tops = [100, 1000].map(|top| Accuracy::of(&table, &truth, top));
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let unaccounted = ((DRAWN * DRAWS) as u64).abs_diff(reconciled(&table).packets) as f64;
    Outcome {
        recall: tops.map(|top| top.recall * 100.0),
        error: tops.map(|top| top.mean_error * 100.0),
        unaccounted,
        flows: truth.flows(),
        distinct: table.distinct,
    }
}
