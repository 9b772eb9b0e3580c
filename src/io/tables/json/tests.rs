//! The shapes of the contract, with exact values.

use std::collections::BTreeSet;

use serde_json::json;

use super::{daemon, job, job_brief, results, totals_only};
use crate::io::tables::{DaemonRow, HistogramRow, JobReport, JobRow, ResultsRow};
use crate::model::job::Fields;
use crate::model::measure::tests::numbered;
use crate::model::measure::{MEASURES, Measure};
use crate::model::report::{ExportState, FlowRow};
use crate::model::sample::Counter;
use crate::model::schema::HistogramName;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn running() -> JobRow {
    let pairs = [
        ("port", "Ethernet16"),
        ("direction", "ingress"),
        ("duration", "120"),
        ("vlan", "10"),
        ("ip_proto@", "tcp,254"),
        ("l4_dport@", "443,1024-2048"),
        ("dscp@", "46"),
        ("otlp_export", "true"),
        ("status", "running"),
        ("warning", "port_down"),
        ("source", "config"),
        ("tap", "Ethernet120"),
        ("started_at", "2026-01-31T03:00:00.000Z"),
    ];
    JobRow::parse("j1", fields(&pairs)).unwrap()
}

#[test]
fn a_job_shows_its_request_with_numbers_as_numbers_and_absence_as_null() {
    let expected = json!({
        "job_id": "j1", "status": "running", "reason": null, "message": "", "warning": ["port_down"],
        "kind": "traffic",
        "port": "Ethernet16", "direction": "ingress", "span_method": null, "duration_sec": 120, "sample_rate": null,
        "mirror_sample_rate": null, "mirror_truncate": null, "vlan": 10, "inner": null, "result_detail": null, "otlp_export": true, "anonymize": null, "description": null, "owner": null,
        "filters": { "ip_proto": ["tcp", 254], "l4_dport": [443, "1024-2048"], "dscp": [46] },
        "source": "config", "interface": "Ethernet120", "mirror_session": null,
        "created_at": null, "started_at": "2026-01-31T03:00:00.000Z", "expires_at": null, "ended_at": null,
    });
    assert_eq!(job(&running()), expected);
    assert_eq!(job_brief(&running()), json!({ "job_id": "j1", "status": "running", "interface": "Ethernet120" }));
}

#[test]
fn a_refused_value_is_shown_as_it_was_written() {
    let row = JobRow::parse("j1", fields(&[("duration", "1h"), ("status", "rejected")])).unwrap();
    assert_eq!(job(&row)["duration_sec"], json!("1h"));
}

#[test]
fn a_job_without_a_reading_has_nulls_and_no_invented_zeros() {
    let report = JobReport { job: running(), results: None, flows: Vec::new(), histograms: Vec::new() };
    let value = results(&report, None);
    for member in ["packets_total", "window_sec", "coverage", "latency_histogram_ns", "otel_export", "fragments"] {
        assert_eq!(value.get(member), Some(&json!(null)), "{member}");
    }
    assert_eq!(value["protocols"], json!({ "ethernet": {}, "ip": {} }));
    assert_eq!(
        (&value["services"], &value["copies"], &value["distinct_flows"]),
        (&json!({}), &json!(null), &json!(null))
    );
    assert_eq!((&value["health"]["events"], &value["health"]["segments"]), (&json!({}), &json!(null)));
    assert_eq!(value["top_flows"], json!([]));
}

#[test]
fn results_have_the_contracts_shape() {
    let row = fields(&[
        ("updated_at", "2026-01-31T03:00:02.000Z"),
        ("window_sec", "2.5"),
        ("packets_total", "10"),
        ("bytes_total", "640"),
        ("packets_delivered", "12"),
        ("coverage", "0.5"),
        ("eth_ipv6_packets", "10"),
        ("eth_ipv6_bytes", "640"),
        ("ip_udp_packets", "10"),
        ("ip_udp_bytes", "640"),
        ("error_truncated_l4", "1"),
    ]);
    let at = "2026-01-31T03:00:01Z".parse().unwrap();
    let flow = FlowRow {
        src: "2001:db8::1".to_owned(),
        dst: "2001:db8::2".to_owned(),
        is_ipv6: true,
        l4_sport: 4000,
        l4_dport: 53,
        ip_proto: 17,
        vlan: 10,
        analysed: Counter { packets: 1, bytes: 64 },
        estimated: Counter { packets: 10, bytes: 640 },
        packets_err95: 3,
        first_seen: at,
        last_seen: at,
    };
    let histogram = HistogramRow {
        name: HistogramName::PacketSize,
        unit: "By".to_owned(),
        bounds: vec![64],
        counts: vec![1, 0],
        sum: 64,
        count: 1,
        sample_rate: Some(1),
    };
    let report = JobReport {
        job: running(),
        results: Some(ResultsRow::parse("j1", &row).unwrap()),
        flows: vec![flow],
        histograms: vec![histogram],
    };
    let export = ExportState {
        endpoint: "localhost:4317".to_owned(),
        exported_jobs: BTreeSet::from(["j1".to_owned()]),
        ..ExportState::default()
    };
    let value = results(&report, Some(&export));
    assert_eq!(value["protocols"]["ethernet"], json!({ "ipv6": { "packets": 10, "bytes": 640 } }));
    assert_eq!(value["errors"], json!({ "truncated_l4": 1 }));
    assert_eq!((&value["window_sec"], &value["coverage"]), (&json!(2.5), &json!(0.5)));
    let shown = &value["top_flows"][0];
    assert_eq!(shown["5tuple"], json!("udp [2001:db8::1]:4000 -> [2001:db8::2]:53"));
    assert_eq!((&shown["pkts"], &shown["pkts_err95"], &shown["vlan"]), (&json!(10), &json!(3), &json!(10)));
    assert_eq!(
        value["histograms"],
        json!({ "packet_size": { "unit": "By", "bounds": [64], "counts": [1, 0], "sum": 64, "count": 1, "sample_rate": 1 } })
    );
    assert_eq!(value["otel_export"], json!({ "exported": true, "endpoint": "localhost:4317", "last_error": null }));
}

#[test]
fn every_counter_stands_in_its_object_and_what_was_not_measured_is_null() {
    let mut row = fields(&[
        ("updated_at", "2026-01-31T03:00:02.000Z"),
        ("packets_total", "100"),
        ("service_bgp_packets", "9"),
        ("service_bgp_bytes", "900"),
        ("tunnel_vxlan_packets", "3"),
        ("tunnel_vxlan_bytes", "300"),
        ("inner_tcp_packets", "2"),
        ("inner_tcp_bytes", "200"),
        ("inner_non_ip_packets", "1"),
        ("inner_non_ip_bytes", "100"),
        ("error_checksum_ip", "4"),
        ("fragments", "6"),
        ("fragments_later", "5"),
        ("health_tcp_reset", "7"),
        ("cast_multicast", "8"),
        ("ecn_ce", "11"),
        ("dscp_46", "12"),
        ("tcp_flags_syn_ack", "13"),
        ("rocev2_cnp", "14"),
        ("rocev2_ecn_ect0", "15"),
    ]);
    let said = |row: &Fields| {
        let results = Some(ResultsRow::parse("j1", row).unwrap());
        super::results(&JobReport { job: running(), results, flows: Vec::new(), histograms: Vec::new() }, None)
    };
    let value = said(&row);
    assert_eq!(value["services"], json!({ "bgp": { "packets": 9, "bytes": 900 } }));
    assert_eq!(value["tunnels"], json!({ "vxlan": { "packets": 3, "bytes": 300 } }));
    let inner = json!({ "tcp": { "packets": 2, "bytes": 200 }, "non_ip": { "packets": 1, "bytes": 100 } });
    assert_eq!(value["inner"], inner);
    assert_eq!((&value["fragments"], &value["fragments_later"]), (&json!(6), &json!(5)));
    assert_eq!(value["errors"], json!({ "checksum_ip": 4 }));
    let health = json!({
        "events": { "tcp_reset": 7 }, "cast": { "multicast": 8 }, "ecn": { "ce": 11 }, "dscp": { "46": 12 },
        "tcp_flags": { "syn_ack": 13 }, "segments": null, "rocev2": { "ops": { "cnp": 14 }, "ecn": { "ect0": 15 } },
    });
    assert_eq!(value["health"], health);
    assert_eq!((&value["copies"], &value["distinct_flows"]), (&json!(null), &json!(null)));
    row.extend(fields(&[
        ("tcp_tracked", "20"),
        ("tcp_untracked", "0"),
        ("tcp_retransmitted", "0"),
        ("tcp_out_of_order", "1"),
        ("copies_unreadable", "0"),
        ("flows_distinct_est", "21"),
        ("flows_distinct_err95", "2"),
    ]));
    let value = said(&row);
    let segments = json!({ "tracked": 20, "untracked": 0, "retransmitted": 0, "out_of_order": 1 });
    assert_eq!(value["health"]["segments"], segments);
    assert_eq!(value["copies"], json!({ "lost": null, "unreadable": 0 }));
    assert_eq!(value["distinct_flows"], json!({ "estimate": 21, "err95": 2 }));
}

#[test]
fn the_daemons_numbers_are_numbers() {
    let row = DaemonRow { fields: fields(&[("pid", "42"), ("version", "0.1.0"), ("settings_errors@", "a,b")]) };
    let expected = json!({ "alive": true, "pid": 42, "settings_errors": ["a", "b"], "version": "0.1.0" });
    assert_eq!(daemon(&row, true), expected);
}

#[test]
fn every_measure_is_in_its_place_and_null_or_empty_before_the_first_reading() {
    let (results, flows) = numbered();
    let row = ResultsRow { results, flows };
    let counted = totals_only(&row);
    let said =
        super::results(&JobReport { job: running(), results: None, flows: Vec::new(), histograms: Vec::new() }, None);
    for measure in MEASURES {
        let (part, member) = measure.place();
        let pointer = format!("/{}", part.iter().copied().chain([member]).collect::<Vec<_>>().join("/"));
        match measure {
            Measure::One(scalar) => {
                let value = scalar.of(&row.results, &row.flows).map(super::scalar_value);
                assert_eq!(counted.pointer(&pointer), value.as_ref(), "{pointer}");
                assert!(said.pointer(&pointer).is_none_or(serde_json::Value::is_null), "{pointer}");
            }
            Measure::Counters(_) | Measure::Counts(_) => {
                assert_eq!(said.pointer(&pointer), Some(&json!({})), "{pointer}");
            }
        }
    }
}
