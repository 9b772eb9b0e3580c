//! The figures as a table for people and as JSON for programs.

use std::fs;

use comfy_table::{Table as TextTable, presets};
use serde_json::{Value, json};

use crate::measure::Median;
use crate::subjects::Detail;

/// What the verifier said of one configuration.
pub struct Load {
    pub detail: Detail,
    pub millis: Median,
    pub verified: u32,
}

/// One figure beside its goal, in nanoseconds over the empty program.
pub struct Cell {
    pub added: Median,
    pub goal: Option<f64>,
}

/// Rows of cells, one per column.
pub struct Table {
    pub title: &'static str,
    pub columns: Vec<String>,
    /// What the empty program takes, harness and all.
    pub empty: Vec<Median>,
    pub rows: Vec<(&'static str, Vec<Cell>)>,
}

/// For people: `median (least..most) goal`.
pub fn text(loads: &[Load], tables: &[Table]) -> String {
    let mut parts = vec![machine()];
    for table in tables {
        let mut text = TextTable::new();
        text.load_preset(presets::ASCII_MARKDOWN);
        text.set_header([&[table.title.to_owned()], &table.columns[..]].concat());
        let empty = table.empty.iter().map(spread);
        text.add_row(["empty program, absolute".to_owned()].into_iter().chain(empty));
        for (name, cells) in &table.rows {
            text.add_row([(*name).to_owned()].into_iter().chain(cells.iter().map(cell)));
        }
        parts.push(text.to_string());
    }
    let mut text = TextTable::new();
    text.load_preset(presets::ASCII_MARKDOWN);
    text.set_header(["loading", "ms (goal 80)", "verified instructions (goal 100000)"]);
    for load in loads {
        text.add_row([load.detail.name().to_owned(), spread(&load.millis), load.verified.to_string()]);
    }
    parts.push(text.to_string());
    parts.join("\n\n")
}

fn spread(median: &Median) -> String {
    format!("{:.1} ({:.1}..{:.1})", median.middle, median.least, median.most)
}

fn cell(cell: &Cell) -> String {
    let figure = spread(&cell.added);
    match cell.goal {
        Some(goal) if cell.added.middle <= goal => format!("{figure} <= {goal}"),
        Some(goal) => format!("{figure} MISSES {goal}"),
        None => figure,
    }
}

/// For programs: nanoseconds and milliseconds as numbers.
pub fn json(loads: &[Load], tables: &[Table]) -> Value {
    json!({
        "machine": machine(),
        "loads": loads.iter().map(|load| json!({
            "detail": load.detail.name(),
            "ms": numbers(&load.millis),
            "verified_instructions": load.verified,
        })).collect::<Vec<_>>(),
        "added_ns": tables.iter().flat_map(|table| table.rows.iter().flat_map(move |(name, cells)| {
            cells.iter().zip(&table.columns).map(move |(cell, column)| json!({
                "table": table.title,
                "detail": name,
                "packets": column,
                "ns": numbers(&cell.added),
                "goal": cell.goal,
            }))
        })).collect::<Vec<_>>(),
        "empty_ns": tables.iter().flat_map(|table| {
            table.empty.iter().zip(&table.columns).map(move |(empty, column)| json!({
                "table": table.title,
                "packets": column,
                "ns": numbers(empty),
            }))
        }).collect::<Vec<_>>(),
    })
}

fn numbers(median: &Median) -> Value {
    json!({ "median": median.middle, "least": median.least, "most": median.most })
}

/// The CPU and the kernel.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unnamed CPU");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
