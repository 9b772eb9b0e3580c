//! Rows as JSON, for REST and for the command line's `--json`: one shape for both. Numbers are numbers; what was not measured is null.
//!
//! Pure; shapes: contract, section 3.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::members::{FILTERS, REST_MEMBERS};
use super::{DaemonRow, HistogramRow, JobReport, JobRow, ResultsRow};
use crate::model::job::rfc3339;
use crate::model::limits::{self, JsonShape};
use crate::model::measure::{self, MEASURES, Measure, Scalar};
use crate::model::report::{ExportState, FlowRow, Results};
use crate::model::schema::{CountFamily, CounterFamily, JobField, StatusField};
use crate::model::value::{ip_protocol_name, items};
use crate::row::base_name;

/// A job's status, with every field of its request.
#[must_use]
pub fn job(row: &JobRow) -> Value {
    let text = |field| row.added(field).map_or(Value::Null, Value::from);
    let mut object = Map::new();
    object.insert("job_id".to_owned(), Value::from(row.id.as_str()));
    object.insert("status".to_owned(), Value::from(row.status.as_str()));
    object.insert("reason".to_owned(), row.reason.map_or(Value::Null, |reason| Value::from(reason.as_str())));
    object.insert("message".to_owned(), Value::from(row.message()));
    object.insert("warning".to_owned(), row.warnings.iter().map(|warning| warning.as_str()).collect());
    let mut filters = Map::new();
    for (member, field) in REST_MEMBERS {
        let text = if field == JobField::Kind { Some(row.kind()) } else { row.job_field(field) };
        let value = text.map_or(Value::Null, |text| field_value(field, text));
        match member.strip_prefix(FILTERS) {
            Some(_) if value.is_null() => {}
            Some(name) => drop(filters.insert(name.to_owned(), value)),
            None => drop(object.insert(member.to_owned(), value)),
        }
    }
    object.insert("filters".to_owned(), Value::Object(filters));
    object.insert("source".to_owned(), text(StatusField::Source));
    object.insert("interface".to_owned(), text(StatusField::Tap));
    object.insert("mirror_session".to_owned(), text(StatusField::MirrorSession));
    for field in [StatusField::CreatedAt, StatusField::StartedAt, StatusField::ExpiresAt, StatusField::EndedAt] {
        object.insert(field.to_string(), text(field));
    }
    Value::Object(object)
}

/// The short answer to a start or a stop.
#[must_use]
pub fn job_brief(row: &JobRow) -> Value {
    json!({ "job_id": row.id, "status": row.status.as_str(), "interface": row.added(StatusField::Tap) })
}

/// A job's results. `export` is `None` where the exporter's state is not known (outside of the daemon).
#[must_use]
pub fn results(report: &JobReport, export: Option<&ExportState>) -> Value {
    let ResultsText { before, flows, after } = ResultsText::new(report, &report.flows, export);
    let mut object = before;
    object.insert(TOP_FLOWS.to_owned(), flows.iter().map(flow).collect());
    object.extend(after);
    Value::Object(object)
}

/// The member whose value may be long.
const TOP_FLOWS: &str = "top_flows";

/// [`results`] to be written: its flows, of which there may be thousands, are never all in memory as values.
#[derive(Debug)]
pub struct ResultsText<'a> {
    before: Map<String, Value>,
    flows: &'a [FlowRow],
    after: Map<String, Value>,
}

impl<'a> ResultsText<'a> {
    /// The results of `report`, with these flows instead of its own.
    #[must_use]
    pub fn new(report: &JobReport, flows: &'a [FlowRow], export: Option<&ExportState>) -> ResultsText<'a> {
        let mut before = Map::new();
        before.insert("job_id".to_owned(), Value::from(report.job.id.as_str()));
        before.insert("status".to_owned(), Value::from(report.job.status.as_str()));
        totals(&mut before, report.results.as_ref());
        let mut after = Map::new();
        let histograms: Map<String, Value> =
            report.histograms.iter().map(|row| (row.name.to_string(), histogram(row))).collect();
        after.insert("histograms".to_owned(), Value::Object(histograms));
        // Null until latency is measured; the older seed's clients read the member.
        after.insert("latency_histogram_ns".to_owned(), Value::Null);
        after.insert("otel_export".to_owned(), export.map_or(Value::Null, |state| otel_export(&report.job.id, state)));
        ResultsText { before, flows, after }
    }
}

impl Serialize for ResultsText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.before.len() + 1 + self.after.len()))?;
        self.before.iter().try_for_each(|(name, value)| members.serialize_entry(name, value))?;
        members.serialize_entry(TOP_FLOWS, &Each(self.flows, flow))?;
        self.after.iter().try_for_each(|(name, value)| members.serialize_entry(name, value))?;
        members.end()
    }
}

/// A list that is written item by item.
struct Each<'a, T>(&'a [T], fn(&T) -> Value);

impl<T> Serialize for Each<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

/// All known jobs, to be written one by one.
#[derive(Debug)]
pub struct JobsText<'a>(pub &'a [JobRow]);

impl Serialize for JobsText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(1))?;
        members.serialize_entry("jobs", &Each(self.0, job))?;
        members.end()
    }
}

/// The totals alone, for events and for `watch`.
#[must_use]
pub fn totals_only(row: &ResultsRow) -> Value {
    let mut object = Map::new();
    totals(&mut object, Some(row));
    Value::Object(object)
}

/// What the daemon says of itself; numbers and lists as such, and whether it is alive.
#[must_use]
pub fn daemon(row: &DaemonRow, is_alive: bool) -> Value {
    let mut object = Map::from_iter([("alive".to_owned(), Value::from(is_alive))]);
    for (name, text) in &row.fields {
        let (name, value) = match base_name(name) {
            (name, true) => (name, items(text).map(Value::from).collect()),
            (name, false) => (name, number(text).unwrap_or_else(|| Value::from(text.as_str()))),
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// Every measure, in its place.
fn totals(object: &mut Map<String, Value>, row: Option<&ResultsRow>) {
    let value = |scalar: &Scalar| row.and_then(|row| scalar.of(&row.results, &row.flows));
    let results = row.map(|row| &row.results);
    for measure in MEASURES {
        let (part, member) = measure.place();
        let Some(object) = part_of(object, part, value) else { continue };
        let value = match measure {
            Measure::One(scalar) => value(scalar).map_or(Value::Null, scalar_value),
            Measure::Counters(family) => counters(results, family.of),
            Measure::Counts(family) => counts(results, family.of),
        };
        object.insert(member.to_owned(), value);
    }
}

/// The object at `path`; `None` if it is null, because the number is absent that stands for the whole.
fn part_of<'a>(
    object: &'a mut Map<String, Value>,
    path: &[&str],
    value: impl Fn(&Scalar) -> Option<measure::Value>,
) -> Option<&'a mut Map<String, Value>> {
    (1..=path.len()).try_fold(object, |object, depth| {
        let is_null = measure::anchor(&path[..depth]).is_some_and(|anchor| value(anchor).is_none());
        let part = object.entry(path[depth - 1]);
        part.or_insert_with(|| if is_null { Value::Null } else { json!({}) }).as_object_mut()
    })
}

fn scalar_value(value: measure::Value) -> Value {
    match value {
        measure::Value::Whole(number) => Value::from(number),
        measure::Value::Decimal(number) => Value::from(number),
        measure::Value::Instant(instant) => Value::from(rfc3339(instant)),
    }
}

/// Zeros are left out, as in the table.
fn counters(results: Option<&Results>, family: CounterFamily) -> Value {
    let seen = results.into_iter().flat_map(|results| family.seen(results));
    let object: Map<String, Value> = seen
        .map(|(name, counter)| (name.to_owned(), json!({ "packets": counter.packets, "bytes": counter.bytes })))
        .collect();
    Value::Object(object)
}

/// The same of counts.
fn counts(results: Option<&Results>, family: CountFamily) -> Value {
    let seen = results.into_iter().flat_map(|results| family.seen(results));
    Value::Object(seen.map(|(name, count)| (name.into_owned(), Value::from(count))).collect())
}

fn flow(flow: &FlowRow) -> Value {
    json!({
        "5tuple": five_tuple(flow),
        "src": flow.src,
        "dst": flow.dst,
        "ip_proto": ip_protocol_name(flow.ip_proto),
        "l4_sport": flow.l4_sport,
        "l4_dport": flow.l4_dport,
        "vlan": flow.vlan,
        "pkts": flow.estimated.packets,
        "bytes": flow.estimated.bytes,
        "pkts_err95": flow.packets_err95,
        "pkts_analysed": flow.analysed.packets,
        "bytes_analysed": flow.analysed.bytes,
        "first_seen": rfc3339(flow.first_seen),
        "last_seen": rfc3339(flow.last_seen),
    })
}

/// `tcp 10.0.0.1:40000 -> 10.0.0.2:443`; IPv6 addresses in brackets, no ports where the flow has none.
#[must_use]
pub fn five_tuple(flow: &FlowRow) -> String {
    let end = |address: &str, port: u16| match (flow.l4_sport, flow.l4_dport) {
        (0, 0) => address.to_owned(),
        _ if address.contains(':') => format!("[{address}]:{port}"),
        _ => format!("{address}:{port}"),
    };
    let (src, dst) = (end(&flow.src, flow.l4_sport), end(&flow.dst, flow.l4_dport));
    format!("{} {src} -> {dst}", ip_protocol_name(flow.ip_proto))
}

fn histogram(row: &HistogramRow) -> Value {
    json!({
        "unit": row.unit,
        "bounds": row.bounds,
        "counts": row.counts,
        "sum": row.sum,
        "count": row.count,
        "sample_rate": row.sample_rate,
    })
}

fn otel_export(id: &str, state: &ExportState) -> Value {
    json!({
        "exported": state.exported_jobs.contains(id),
        "endpoint": state.endpoint,
        "last_error": state.last_error,
    })
}

/// A field's text as the JSON that a request would hold. Text that is not of the field's kind, as in a refused job, stays text.
fn field_value(field: JobField, text: &str) -> Value {
    let rule = limits::job(field);
    let item = |item: &str| match rule.kind.json_shape() {
        JsonShape::Number | JsonShape::NumberOrString => number(item).unwrap_or_else(|| Value::from(item)),
        JsonShape::Boolean => item.parse::<bool>().map_or_else(|_| Value::from(item), Value::from),
        JsonShape::String => Value::from(item),
    };
    if field.is_list() { items(text).map(item).collect() } else { item(text) }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

#[cfg(test)]
mod tests;
