//! The figures as tables for people and as JSON for programs.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::fs;

use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

use crate::measure::Median;

/// One part of the report.
pub struct Section {
    /// Its name in the JSON.
    pub key: &'static str,
    pub table: Table,
    pub json: Value,
    pub goals: Vec<Goal>,
}

/// A goal of the product beside its figure.
pub struct Goal {
    pub what: String,
    pub figure: f64,
    pub bound: Bound,
    pub unit: &'static str,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub fn at_most(what: impl Into<String>, figure: f64, most: f64, unit: &'static str) -> Goal {
        Goal { what: what.into(), figure, bound: Bound::AtMost(most), unit }
    }

    pub fn at_least(what: impl Into<String>, figure: f64, least: f64, unit: &'static str) -> Goal {
        Goal { what: what.into(), figure, bound: Bound::AtLeast(least), unit }
    }

    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.figure <= most,
            Bound::AtLeast(least) => self.figure >= least,
        }
    }
}

/// A table with its header, of which nothing else is set.
pub fn table(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<String>>());
    table
}

/// `median (least..most)`
pub fn spread(median: &Median) -> String {
    format!("{:.1} ({:.1}..{:.1})", median.middle, median.least, median.most)
}

/// The same, and whether it is at most what it should be.
pub fn judged(median: &Median, goal: Option<f64>) -> String {
    let figure = spread(median);
    match goal {
        Some(goal) if median.middle <= goal => format!("{figure} <= {goal}"),
        Some(goal) => format!("{figure} MISSES {goal}"),
        None => figure,
    }
}

pub fn numbers(median: &Median) -> Value {
    json!({ "median": median.middle, "least": median.least, "most": median.most })
}

/// For people.
pub fn text(sections: &[Section]) -> String {
    let tables = sections.iter().map(|section| section.table.to_string());
    [machine()].into_iter().chain(tables).chain([goals_table(sections)]).collect::<Vec<_>>().join("\n\n")
}

fn goals_table(sections: &[Section]) -> String {
    let mut table = table(["goal", "at", "figure", ""]);
    for goal in goals(sections) {
        let (sign, bound) = match goal.bound {
            Bound::AtMost(most) => ("<=", most),
            Bound::AtLeast(least) => (">=", least),
        };
        let number = |figure: f64| if figure.fract() == 0.0 { format!("{figure}") } else { format!("{figure:.1}") };
        let [bound, figure] = [bound, goal.figure].map(|figure| format!("{} {}", number(figure), goal.unit));
        let bound = format!("{sign} {bound}");
        table.add_row([goal.what.clone(), bound, figure, if goal.is_met() { "met" } else { "MISSED" }.to_owned()]);
    }
    let (all, met) = (goals(sections).count(), goals(sections).filter(|goal| goal.is_met()).count());
    format!("{table}\n\n{met} of {all} goals are met")
}

fn goals(sections: &[Section]) -> impl Iterator<Item = &Goal> {
    sections.iter().flat_map(|section| &section.goals)
}

/// For programs: every section under its key, and all goals.
pub fn json(sections: &[Section]) -> Value {
    let mut all = Map::new();
    all.insert("machine".to_owned(), machine().into());
    all.extend(sections.iter().map(|section| (section.key.to_owned(), section.json.clone())));
    let goals = goals(sections).map(|goal| {
        let (name, bound) = match goal.bound {
            Bound::AtMost(most) => ("at_most", most),
            Bound::AtLeast(least) => ("at_least", least),
        };
        json!({ "goal": goal.what, name: bound, "figure": goal.figure, "unit": goal.unit, "met": goal.is_met() })
    });
    all.insert("goals".to_owned(), goals.collect());
    all.into()
}

/// The CPU and the kernel.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unnamed CPU");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} x {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
