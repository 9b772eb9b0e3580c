//! Which rows of STATE_DB a job has, and the writes that make them so. What is in a row, `model::rows` says. Pure.

use crate::model::limits::STATE_FLOWS_MAX;
use crate::model::report::{Detail, FlowRow};
use crate::model::rows::{HistogramRow, flow};
use crate::model::sample::Histogram;
use crate::model::schema::{HistogramName, state_db};
use crate::sonic::Database;
use crate::sonic::connection::Write;

/// The writes that make the flow table's rows be `detail`'s, and how many rows there are then.
pub struct FlowWrites {
    /// In the order of the ranks.
    pub writes: Vec<Write>,
    /// Rows that are left.
    pub count: usize,
}

/// The first `state_flows` flows; rows of `before` ranks that have no flow any more are deleted.
pub fn flows(database: &Database, key: &str, detail: &Detail, state_flows: usize, before: usize) -> FlowWrites {
    let top = detail.flows.as_ref().map_or(&[][..], |flows| &flows.top);
    let shown = &top[..top.len().min(state_flows)];
    let row_key = |rank: usize| flow_key(database, key, &rank.to_string());
    let set = |(index, row): (usize, &FlowRow)| Write::Replace { key: row_key(index + 1), fields: flow::write(row) };
    let mut writes: Vec<Write> = shown.iter().enumerate().map(set).collect();
    writes.extend((shown.len() + 1..=before).map(|rank| Write::Delete { key: row_key(rank) }));
    FlowWrites { writes, count: shown.len() }
}

fn flow_key(database: &Database, key: &str, rank: &str) -> String {
    database.key(&database.key(state_db::FLOW, key), rank)
}

/// The writes of a job's histograms.
pub fn histograms(database: &Database, key: &str, detail: &Detail) -> Vec<Write> {
    let row_key = |name: HistogramName| histogram_key(database, key, name);
    let set = |(name, histogram): &(HistogramName, Histogram)| Write::Replace {
        key: row_key(*name),
        fields: HistogramRow::of(*name, histogram, detail.rate_of(*name)).to_fields(),
    };
    detail.histograms.iter().map(set).collect()
}

fn histogram_key(database: &Database, key: &str, name: HistogramName) -> String {
    database.key(&database.key(state_db::HISTOGRAM, key), name.as_str())
}

/// The keys of everything that is said of a job: of its status alone, or of all that there may be of its numbers.
pub fn keys_of(database: &Database, key: &str, with_numbers: bool) -> Vec<String> {
    let mut keys = vec![database.key(state_db::JOB, key)];
    if with_numbers {
        keys.push(database.key(state_db::RESULT, key));
        // As many as there may be: deleting them costs less than looking for them.
        keys.extend((1..=STATE_FLOWS_MAX).map(|rank| flow_key(database, key, &rank.to_string())));
        keys.extend(HistogramName::ALL.iter().map(|name| histogram_key(database, key, *name)));
    }
    keys
}
