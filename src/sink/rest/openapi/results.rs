//! The schema of a job's results. The names of counters come from `model::families`, so that a client's types know all of them. Pure.

use serde_json::{Value, json};

use crate::model::schema::{CountFamily, CounterFamily, HistogramName};

pub(super) fn results() -> Value {
    json!({
        "type": "object",
        "description": "null: not measured. Counters that are 0 are left out of their objects. Exact, of the packets that passed the filter, \
                        but for pps, bps, coverage, distinct_flows, top_flows and the histogram interarrival.",
        "properties": {
            "window_sec": measured("number"),
            "packets_total": measured("integer"), "bytes_total": measured("integer"),
            "packets_delivered": measured("integer"), "bytes_delivered": measured("integer"),
            "packets_analysed": measured("integer"), "sample_rate": measured("integer"),
            "pps": measured("number"), "bps": measured("number"),
            "port_packets": measured("integer"), "coverage": measured("number"),
            "mirror_sample_rate": measured("integer"), "mirror_truncate": measured("integer"),
            "estimate": {
                "type": ["object", "null"],
                "description": "The port's packets where the ASIC copies 1 of mirror_sample_rate; all other counters are then of copies. bytes is null \
                                where the copies are cut. packets_err95 is half the width of the 95 % interval.",
                "properties": { "packets": { "type": "integer" }, "bytes": measured("integer"), "packets_err95": { "type": "integer" } },
            },
            "protocols": { "type": "object",
                           "properties": { "ethernet": counters(CounterFamily::Eth), "ip": counters(CounterFamily::Ip) } },
            "services": counters(CounterFamily::Service),
            "tunnels": counters(CounterFamily::Tunnel),
            "inner": counters(CounterFamily::Inner),
            "errors": counts(CountFamily::Error),
            "fragments": measured("integer"), "fragments_later": measured("integer"),
            "health": health(),
            "copies": {
                "type": ["object", "null"],
                "description": "Mirror copies that came encapsulated. lost: sent and not arrived, by gaps in their sequence numbers; null if they \
                                have none. unreadable: without a frame to read.",
                "properties": { "lost": measured("integer"), "unreadable": { "type": "integer" } },
            },
            "flows_seen": measured("integer"), "flows_evicted": measured("integer"),
            "distinct_flows": {
                "type": ["object", "null"],
                "description": "How many different flows the analysed packets were of; err95 is half the width of the 95 % interval.",
                "properties": { "estimate": { "type": "integer" }, "err95": { "type": "integer" } },
            },
            "top_flows": { "type": "array", "items": { "type": "object", "description": "pkts and bytes are estimates, pkts_err95 half the \
                           width of the 95 % interval around pkts." } },
            "histograms": histograms(),
            "latency_histogram_ns": { "type": "null" },
            "otel_export": { "type": "object" },
        },
    })
}

fn health() -> Value {
    json!({
        "type": "object",
        "description": "Counts of packets.",
        "properties": {
            "events": counts(CountFamily::Health),
            "cast": counts(CountFamily::Cast),
            "ecn": counts(CountFamily::Ecn),
            "dscp": counts(CountFamily::Dscp),
            "tcp_flags": counts(CountFamily::TcpFlags),
            "segments": {
                "type": ["object", "null"],
                "description": "TCP segments as their flows saw them; null unless sample_rate is 1, result_detail is flows, and the ASIC copies every packet whole.",
                "properties": {
                    "tracked": { "type": "integer" }, "untracked": { "type": "integer" },
                    "retransmitted": { "type": "integer" }, "out_of_order": { "type": "integer" },
                },
            },
            "rocev2": { "type": "object",
                        "properties": { "ops": counts(CountFamily::Rocev2), "ecn": counts(CountFamily::Rocev2Ecn) } },
        },
    })
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
