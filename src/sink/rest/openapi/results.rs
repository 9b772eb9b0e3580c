//! The schema of a job's results, made of `model::measure`; the names of counters come from `model::families`, so that
//! a client's types know all of them. Pure.

use serde_json::{Map, Value, json};

use crate::model::measure::{Absent, Form, MEASURES, Measure, PARTS, Scalar, anchor};
use crate::model::schema::{CountFamily, CounterFamily, HistogramName};

pub(super) fn results() -> Value {
    let mut properties = Map::new();
    for measure in MEASURES {
        let (part, member) = measure.place();
        let schema = match measure {
            Measure::One(scalar) => number(scalar),
            Measure::Counters(family) => counters(family.of),
            Measure::Counts(family) => counts(family.of),
        };
        if let Some(properties) = properties_of(&mut properties, part) {
            properties.insert(member.to_owned(), schema);
        }
    }
    let besides = json!({
        "top_flows": { "type": "array", "items": { "type": "object", "description": "pkts and bytes are estimates, \
                       pkts_err95 half the width of the 95 % interval around pkts." } },
        "histograms": histograms(),
        "latency_histogram_ns": { "type": "null" },
        "otel_export": { "type": "object" },
    });
    properties.extend(besides.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())));
    json!({
        "type": "object",
        "description": "null: not measured. Counters that are 0 are left out of their objects. Exact, of the packets that passed the filter, \
                        but for pps, bps, coverage, distinct_flows, top_flows and the histogram interarrival.",
        "properties": properties,
    })
}

/// The properties of the object at `path`.
fn properties_of<'a>(properties: &'a mut Map<String, Value>, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    (1..=path.len()).try_fold(properties, |properties, depth| {
        let object = properties.entry(path[depth - 1]).or_insert_with(|| object_schema(&path[..depth]));
        object["properties"].as_object_mut()
    })
}

fn object_schema(path: &[&str]) -> Value {
    let mut object = Map::new();
    let kind = if anchor(path).is_some() { json!(["object", "null"]) } else { json!("object") };
    object.insert("type".to_owned(), kind);
    let help = PARTS.iter().find(|part| part.path == path).map(|part| part.help);
    object.extend(help.map(|help| ("description".to_owned(), Value::from(help))));
    object.insert("properties".to_owned(), json!({}));
    Value::Object(object)
}

/// At the top everything is null before the first reading; within an object, what may be absent beside the number that
/// stands for it.
fn number(scalar: &Scalar) -> Value {
    let kind = match scalar.form {
        Form::Whole => "integer",
        Form::Decimal(_) => "number",
        Form::Instant => "string",
    };
    let may_be_absent = scalar.beside.is_some() && matches!(scalar.absent, Absent::NotMeasured(_));
    if scalar.part.is_empty() || may_be_absent { measured(kind) } else { json!({ "type": kind }) }
}

fn histograms() -> Value {
    let names: Vec<&str> = HistogramName::ALL.iter().map(|name| name.as_str()).collect();
    let integers = json!({ "type": "array", "items": { "type": "integer" } });
    let histogram = json!({
        "type": "object",
        "description": "counts has one item more than bounds: what is above the last. sample_rate: 1 of so many values is in it.",
        "properties": { "unit": { "type": "string" }, "bounds": integers, "counts": integers, "sum": { "type": "integer" },
                        "count": { "type": "integer" }, "sample_rate": measured("integer") },
    });
    json!({ "type": "object", "propertyNames": { "enum": names }, "additionalProperties": histogram })
}

fn measured(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn counters(family: CounterFamily) -> Value {
    let counter =
        json!({ "type": "object", "properties": { "packets": { "type": "integer" }, "bytes": { "type": "integer" } } });
    json!({ "type": "object", "propertyNames": { "enum": family.names() }, "additionalProperties": counter })
}

fn counts(family: CountFamily) -> Value {
    json!({ "type": "object", "propertyNames": { "enum": family.names() }, "additionalProperties": { "type": "integer" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_described_where_it_stands() {
        let schema = results();
        for measure in MEASURES {
            let (part, member) = measure.place();
            let pointer: Vec<String> =
                part.iter().copied().chain([member]).map(|name| format!("/properties/{name}")).collect();
            let described = schema.pointer(&pointer.concat());
            assert!(described.is_some_and(|schema| !schema["type"].is_null()), "{}", pointer.concat());
        }
    }
}
