//! How well the flow table finds the largest flows, and what it says of the rest.

use std::num::NonZeroU32;

use serde_json::json;
use telegen_sonic::io::tap::{FlowSlots, Hooks, Program, TapPlan};
use telegen_sonic::model::filter::Filter;

use crate::bench_programs::DRAWS;
use crate::frames;
use crate::heavy_flows::{self, Accuracy, Traffic, reconciled};
use crate::report::{Goal, Section, table};

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

pub fn accuracy() -> Section {
    let mut text =
        table(["16,384 entries", "recall 100", "recall 1000", "error 100", "error 1000", "unaccounted", "flows"]);
    let mut goals = Vec::new();
    let mut json = json!({ "entries": ENTRIES, "packets": DRAWN * DRAWS });
    for traffic in Traffic::ALL {
        let program = Program::load(&plan(FlowSlots::per_cpu(ENTRIES).unwrap())).unwrap();
        let truth = heavy_flows::run(&program, traffic, DRAWN, &frames::all()[0].bytes);
        let sample = program.read(true);
        let table = sample.flows.unwrap();
        let [top100, top1000] = [100, 1000].map(|top| Accuracy::of(&table, &truth, top));
        let counted = reconciled(&table).packets;
        let unaccounted = ((DRAWN * DRAWS) as u64).abs_diff(counted);
        let (flows, distinct) = (truth.flows() as u64, table.distinct);
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let worst =
            |accuracy: Accuracy| format!("{}, worst {}", percent(accuracy.mean_error), percent(accuracy.worst_error));
        text.add_row([
            traffic.name().to_owned(),
            percent(top100.recall),
            percent(top1000.recall),
            worst(top100),
            worst(top1000),
            unaccounted.to_string(),
            format!("{flows}, estimated {} +- {}", distinct.estimate, distinct.err95),
        ]);
        let name = |what: &str| format!("{}: {what}", traffic.name());
        goals.extend([
            Goal::at_least(name("recall of the top 100"), top100.recall * 100.0, 100.0, "%"),
            Goal::at_least(name("recall of the top 1000"), top1000.recall * 100.0, 99.0, "%"),
            Goal::at_most(name("error of the top 100"), top100.mean_error * 100.0, 1.0, "%"),
            Goal::at_most(name("error of the top 1000"), top1000.mean_error * 100.0, 1.0, "%"),
            Goal::at_most(name("packets unaccounted for"), float(unaccounted), 0.0, "packets"),
        ]);
        let of = |accuracy: Accuracy| json!({ "recall": accuracy.recall, "mean_error": accuracy.mean_error, "worst_error": accuracy.worst_error });
        json[traffic.name()] = json!({
            "top_100": of(top100),
            "top_1000": of(top1000),
            "unaccounted": unaccounted,
            "flows": flows,
            "flows_estimate": distinct.estimate,
            "flows_err95": distinct.err95,
        });
    }
    Section { key: "top_flows", table: text, json, goals }
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn float(number: u64) -> f64 {
    number as f64
}
