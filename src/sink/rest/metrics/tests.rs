//! The text as a scraper reads it: checked with a small parser of the exposition format, and exact lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::render;
use crate::model::job::{Fields, JobSpec};
use crate::model::measure::tests::numbered;
use crate::model::measure::{Value, scalars};
use crate::model::report::{DaemonInfo, Detail, Device, ExportState, Flows, Report, Results, Snapshot};
use crate::model::sample::{Counter, Histogram};
use crate::model::schema::{ErrorKind, EthClass, HistogramName, Source, Status};
use crate::model::settings::Settings;
use crate::model::status::{JobStatus, Refused};
use crate::model::traffic::{Copies, DistinctFlows, Ecn, HealthEvent, Inner, Segments, Service, Traffic, Tunnel};

fn status(status: Status) -> JobStatus {
    let fields = Fields::from([("port".to_owned(), "Ethernet16".to_owned())]);
    JobStatus {
        key: "j1".to_owned(),
        spec: JobSpec::parse(&fields, &Settings::default()).ok(),
        raw: fields,
        status,
        reason: None,
        message: String::new(),
        warnings: BTreeSet::new(),
        source: Source::Config,
        tap: Some("a\"b\\c".to_owned()),
        mirror_session: None,
        created_at: "2026-01-31T03:00:00Z".parse().unwrap(),
        started_at: None,
        expires_at: None,
        ended_at: None,
    }
}

fn results() -> Results {
    let mut eth = [Counter::default(); EthClass::COUNT];
    eth[EthClass::Arp as usize] = Counter { packets: 10, bytes: 600 };
    let traffic = Traffic {
        delivered: Counter { packets: 12, bytes: 720 },
        total: Counter { packets: 10, bytes: 600 },
        analysed: Counter { packets: 10, bytes: 600 },
        eth,
        fragments: 3,
        fragments_later: 2,
        inner: Some(Inner::default()),
        segments: Some(Segments { tracked: 9, untracked: 0, retransmitted: 0, out_of_order: 4 }),
        copies: Some(Copies { lost: None, unreadable: 0 }),
        ..Traffic::default()
    };
    let mut results = Results {
        window: Duration::from_secs(2),
        traffic,
        sample_rate: 1,
        packets_per_sec: 5.0,
        bits_per_sec: 2400.0,
        port_packets: Some(24),
        coverage: Some(0.5),
        ..Results::empty("2026-01-31T03:00:02Z".parse().unwrap())
    };
    results.errors[ErrorKind::ChecksumIp as usize] = 6;
    results.services[Service::Bgp as usize] = Counter { packets: 5, bytes: 300 };
    results.health.events[HealthEvent::TcpReset as usize] = 2;
    results.health.ecn[Ecn::Ce as usize] = 7;
    results.health.dscp[46] = 8;
    results.health.tcp_flags[0x12] = 1;
    if let Some(inner) = &mut results.inner {
        inner.tunnels[Tunnel::Vxlan as usize] = Counter { packets: 4, bytes: 400 };
        inner.non_ip = Counter { packets: 4, bytes: 400 };
    }
    results
}

fn snapshot() -> Snapshot {
    let histogram = Histogram { bounds: &[100, 200], counts: vec![3, 0, 1], sum: 700, count: 4 };
    let flows = Flows {
        top: Vec::new(),
        below_top: Counter::default(),
        other: Counter::default(),
        non_ip: Counter::default(),
        seen: 3,
        evicted: 1,
        distinct: DistinctFlows { estimate: 3, err95: 1 },
    };
    let detail = Detail {
        updated_at: "2026-01-31T03:00:02Z".parse().unwrap(),
        sample_rate: 1,
        mirror_sample_rate: 1,
        flows: Some(flows),
        histograms: vec![(HistogramName::PacketSize, histogram.clone()), (HistogramName::Interarrival, histogram)],
    };
    let running =
        Report { status: status(Status::Running), results: Some(Arc::new(results())), detail: Some(Arc::new(detail)) };
    let queued = Report { status: status(Status::Queued), results: None, detail: None };
    let daemon = DaemonInfo {
        version: "0.1.0",
        commit: "abc",
        built_at: "2026-01-01T00:00:00Z",
        pid: 1,
        started_at: "2026-01-31T03:00:00Z".parse().unwrap(),
        instance_id: "i".to_owned(),
        device: Device::default(),
        capabilities: BTreeMap::new(),
        settings_errors: vec!["max_jobs: …".to_owned()],
    };
    Snapshot {
        daemon: Arc::new(daemon),
        settings: Arc::new(Settings::default()),
        refused: Refused { total: 300, not_kept: 44 },
        jobs: BTreeMap::from([("j1".to_owned(), Arc::new(running)), ("j2".to_owned(), Arc::new(queued))]),
    }
}

/// Name and value of each sample; panics at what is not exposition format, or at a family that is announced twice or not at all.
fn parse(text: &str) -> Vec<(String, f64)> {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "{name} twice");
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(_, help)| !help.is_empty()), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_histogram = kinds[&current] == "histogram";
            assert_eq!(if is_histogram { base.unwrap() } else { name }, current, "{line}");
            assert_eq!(kinds[&current] == "counter", !is_histogram && name.ends_with("_total"), "{line}");
            samples.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    samples
}

#[test]
fn the_text_parses_and_has_the_numbers_of_the_snapshot() {
    let text = render(&snapshot(), &ExportState { accepted_requests: 7, ..ExportState::default() });
    let samples: BTreeMap<String, f64> = parse(&text).into_iter().collect();
    let job = "job_id=\"j1\",port=\"Ethernet16\",direction=\"ingress\"";
    let expected = [
        ("telegen_jobs{status=\"running\"}".to_owned(), 1.0),
        ("telegen_jobs{status=\"queued\"}".to_owned(), 1.0),
        ("telegen_jobs{status=\"failed\"}".to_owned(), 0.0),
        ("telegen_start_time_seconds".to_owned(), 1_769_828_400.0),
        ("telegen_settings_errors".to_owned(), 1.0),
        ("telegen_refused_jobs_total".to_owned(), 300.0),
        ("telegen_refused_jobs_not_kept_total".to_owned(), 44.0),
        ("telegen_export_requests_total{result=\"accepted\"}".to_owned(), 7.0),
        (format!("telegen_job_delivered_packets_total{{{job}}}"), 12.0),
        (format!("telegen_job_coverage_ratio{{{job}}}"), 0.5),
        (format!("telegen_job_ethernet_bytes_total{{{job},class=\"arp\"}}"), 600.0),
        (format!("telegen_job_flows_evicted_total{{{job}}}"), 1.0),
        (format!("telegen_job_distinct_flows{{{job}}}"), 3.0),
        (format!("telegen_job_distinct_flows_err95{{{job}}}"), 1.0),
        (format!("telegen_job_packet_errors_total{{{job},class=\"checksum_ip\"}}"), 6.0),
        (format!("telegen_job_fragments_later_total{{{job}}}"), 2.0),
        (format!("telegen_job_service_packets_total{{{job},service=\"bgp\"}}"), 5.0),
        (format!("telegen_job_service_bytes_total{{{job},service=\"bgp\"}}"), 300.0),
        (format!("telegen_job_tunnel_packets_total{{{job},tunnel=\"vxlan\"}}"), 4.0),
        (format!("telegen_job_inner_bytes_total{{{job},class=\"non_ip\"}}"), 400.0),
        (format!("telegen_job_health_events_total{{{job},event=\"tcp_reset\"}}"), 2.0),
        (format!("telegen_job_ecn_packets_total{{{job},ecn=\"ce\"}}"), 7.0),
        (format!("telegen_job_dscp_packets_total{{{job},dscp=\"46\"}}"), 8.0),
        (format!("telegen_job_tcp_flags_packets_total{{{job},flags=\"syn_ack\"}}"), 1.0),
        (format!("telegen_job_tcp_tracked_packets_total{{{job}}}"), 9.0),
        (format!("telegen_job_tcp_retransmitted_segments_total{{{job}}}"), 0.0),
        (format!("telegen_job_tcp_out_of_order_segments_total{{{job}}}"), 4.0),
        (format!("telegen_job_copies_unreadable_total{{{job}}}"), 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(samples.get(&series), Some(&value), "{series}\n{text}");
    }
    assert!(!text.contains("class=\"ipv4\""), "a class that did not occur");
    assert!(!text.contains("event=\"runt\""), "an event that did not occur");
    assert!(!text.contains("telegen_job_copies_lost_total{"), "what was not measured is not 0");
    assert!(!samples.keys().any(|series| series.contains("j2") && series.contains("packets")), "no reading, no number");
}

#[test]
fn buckets_are_cumulative_and_in_seconds_where_they_are_times() {
    let text = render(&snapshot(), &ExportState::default());
    let buckets: Vec<&str> =
        text.lines().filter(|line| line.starts_with("telegen_job_interarrival_seconds_")).collect();
    let job = "job_id=\"j1\",port=\"Ethernet16\",direction=\"ingress\"";
    let expected = [
        format!("telegen_job_interarrival_seconds_bucket{{{job},le=\"0.0000001\"}} 3"),
        format!("telegen_job_interarrival_seconds_bucket{{{job},le=\"0.0000002\"}} 3"),
        format!("telegen_job_interarrival_seconds_bucket{{{job},le=\"+Inf\"}} 4"),
        format!("telegen_job_interarrival_seconds_sum{{{job}}} 0.0000007"),
        format!("telegen_job_interarrival_seconds_count{{{job}}} 4"),
    ];
    assert_eq!(buckets, expected);
}

#[test]
fn labels_are_escaped() {
    let text = render(&snapshot(), &ExportState::default());
    assert!(text.contains(r#"interface="a\"b\\c""#), "{text}");
}

#[test]
fn every_number_that_names_a_metric_is_in_it() {
    let (results, flows) = numbered();
    let mut snapshot = snapshot();
    let mut report = Report::clone(&snapshot.jobs["j1"]);
    let mut detail = Detail::clone(report.detail.as_ref().unwrap());
    if let Some(table) = &mut detail.flows {
        (table.seen, table.evicted) = (flows.seen.unwrap(), flows.evicted.unwrap());
        table.distinct = flows.distinct.unwrap();
    }
    (report.results, report.detail) = (Some(Arc::new(results.clone())), Some(Arc::new(detail)));
    snapshot.jobs = BTreeMap::from([("j1".to_owned(), Arc::new(report))]);
    let text = render(&snapshot, &ExportState::default());
    let job = "job_id=\"j1\",port=\"Ethernet16\",direction=\"ingress\"";
    for (scalar, metric) in scalars().filter_map(|scalar| Some((scalar, scalar.metric?))) {
        let value = match scalar.of(&results, &flows).unwrap() {
            Value::Whole(number) => number.to_string(),
            Value::Decimal(number) => number.to_string(),
            Value::Instant(_) => "0".to_owned(),
        };
        let line = format!("{metric}{{{job}}} {value}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
