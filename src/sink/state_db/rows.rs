//! Rows of STATE_DB, rendered from a snapshot's values and, once, read back. Pure.

use jiff::Timestamp;

use crate::model::job::{Fields, rfc3339};
use crate::model::report::{Detail, FlowRow, Snapshot};
use crate::model::sample::Histogram;
use crate::model::schema::{FlowField, HistogramField, HistogramName, JobField, Source, Status, StatusField, state_db};
use crate::model::supervisor::Prior;
use crate::sonic::Database;
use crate::sonic::connection::Write;

/// The largest rank that `state_flows` allows; clearing a job deletes that many keys without looking for them.
const FLOW_RANKS_MAX: usize = 100;

/// The row of the daemon.
pub fn daemon(snapshot: &Snapshot, now: Timestamp) -> Fields {
    let info = &snapshot.daemon;
    let active = snapshot
        .jobs
        .values()
        .filter(|report| matches!(report.status.status, Status::Starting | Status::Running | Status::Stopping));
    let mut row = vec![
        ("version", info.version.to_owned()),
        ("commit", info.commit.to_owned()),
        ("built_at", info.built_at.to_owned()),
        ("pid", info.pid.to_string()),
        ("started_at", rfc3339(info.started_at)),
        ("heartbeat", rfc3339(now)),
        ("active_jobs", active.count().to_string()),
        ("refused_total", snapshot.refused.total.to_string()),
        ("refused_not_kept", snapshot.refused.not_kept.to_string()),
    ];
    row.extend(info.capabilities.iter().map(|(name, value)| (name.as_str(), value.clone())));
    if !info.settings_errors.is_empty() {
        row.push(("settings_errors", info.settings_errors.join("; ")));
    }
    row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

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
    let row_key = |rank: usize| flow_key(database, key, rank);
    let set = |(index, row): (usize, &FlowRow)| Write::Replace { key: row_key(index + 1), fields: flow(row) };
    let mut writes: Vec<Write> = shown.iter().enumerate().map(set).collect();
    writes.extend((shown.len() + 1..=before).map(|rank| Write::Delete { key: row_key(rank) }));
    FlowWrites { writes, count: shown.len() }
}

fn flow_key(database: &Database, key: &str, rank: usize) -> String {
    database.key(&database.key(state_db::FLOW, key), &rank.to_string())
}

fn flow(row: &FlowRow) -> Fields {
    let value = |field: &FlowField| match field {
        FlowField::Src => row.src.clone(),
        FlowField::Dst => row.dst.clone(),
        FlowField::L4Sport => row.l4_sport.to_string(),
        FlowField::L4Dport => row.l4_dport.to_string(),
        FlowField::IpProto => row.ip_proto.to_string(),
        FlowField::Vlan => row.vlan.to_string(),
        FlowField::Packets => row.analysed.packets.to_string(),
        FlowField::Bytes => row.analysed.bytes.to_string(),
        FlowField::PacketsEst => row.estimated.packets.to_string(),
        FlowField::BytesEst => row.estimated.bytes.to_string(),
        FlowField::PacketsErr95 => row.packets_err95.to_string(),
        FlowField::FirstSeen => rfc3339(row.first_seen),
        FlowField::LastSeen => rfc3339(row.last_seen),
    };
    FlowField::ALL.iter().map(|field| (field.to_string(), value(field))).collect()
}

/// The writes of a job's histograms.
pub fn histograms(database: &Database, key: &str, detail: &Detail) -> Vec<Write> {
    let row_key = |name: HistogramName| histogram_key(database, key, name);
    let set = |(name, histogram): &(HistogramName, Histogram)| Write::Replace {
        key: row_key(*name),
        fields: histogram_row(*name, histogram, detail.rate_of(*name)),
    };
    detail.histograms.iter().map(set).collect()
}

fn histogram_key(database: &Database, key: &str, name: HistogramName) -> String {
    database.key(&database.key(state_db::HISTOGRAM, key), name.as_str())
}

fn histogram_row(name: HistogramName, histogram: &Histogram, sample_rate: u32) -> Fields {
    let joined = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let value = |field: &HistogramField| match field {
        HistogramField::Unit => name.unit().to_owned(),
        HistogramField::Bounds => joined(histogram.bounds),
        HistogramField::Counts => joined(&histogram.counts),
        HistogramField::Sum => histogram.sum.to_string(),
        HistogramField::Count => histogram.count.to_string(),
        HistogramField::SampleRate => sample_rate.to_string(),
    };
    HistogramField::ALL.iter().map(|field| (field.to_string(), value(field))).collect()
}

/// The keys of everything that is said of a job: of its status alone, or of all that there may be of its numbers.
pub fn keys_of(database: &Database, key: &str, with_numbers: bool) -> Vec<String> {
    let mut keys = vec![database.key(state_db::JOB, key)];
    if with_numbers {
        keys.push(database.key(state_db::RESULT, key));
        keys.extend((1..=FLOW_RANKS_MAX).map(|rank| flow_key(database, key, rank)));
        keys.extend(HistogramName::ALL.iter().map(|name| histogram_key(database, key, *name)));
    }
    keys
}

/// What an earlier daemon said of a job; `None` for a row that no daemon wrote.
pub fn prior(row: &Fields) -> Option<Prior> {
    let instant = |field: StatusField| row.get(field.as_str()).and_then(|text| text.parse::<Timestamp>().ok());
    let is_own = |name: &str| JobField::from_word(name.strip_suffix('@').unwrap_or(name)).is_some();
    Some(Prior {
        status: Status::from_word(row.get(StatusField::Status.as_str())?)?,
        source: row
            .get(StatusField::Source.as_str())
            .and_then(|word| Source::from_word(word))
            .unwrap_or(Source::Config),
        created_at: instant(StatusField::CreatedAt),
        started_at: instant(StatusField::StartedAt),
        ended_at: instant(StatusField::EndedAt),
        fields: row
            .iter()
            .filter(|(name, _)| is_own(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
