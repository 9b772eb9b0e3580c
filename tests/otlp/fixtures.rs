//! Hand-made snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use telegen_sonic::model::job::{Fields, JobSpec};
use telegen_sonic::model::report::{DaemonInfo, Detail, Device, FlowRow, Flows, Report, Results, Snapshot};
use telegen_sonic::model::sample::{Counter, Histogram, INTERARRIVAL_BOUNDS, PACKET_SIZE_BOUNDS};
use telegen_sonic::model::schema::{ErrorKind, EthClass, HistogramName, IpClass, Source, Status};
use telegen_sonic::model::settings::Settings;
use telegen_sonic::model::status::{JobStatus, Refused};
use telegen_sonic::model::traffic::{DistinctFlows, Traffic};

/// 2026-03-01T12:00:00Z and `seconds`.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_772_366_400 + seconds).unwrap()
}

/// `at`, as OTLP says it.
pub fn nanos(seconds: i64) -> u64 {
    u64::try_from(at(seconds).as_nanosecond()).unwrap()
}

pub fn daemon() -> DaemonInfo {
    DaemonInfo {
        version: "0.1.0",
        commit: "abc",
        built_at: "2026-03-01T00:00:00Z",
        pid: 7,
        started_at: at(-3_600),
        instance_id: "run-1".to_owned(),
        device: Device {
            hostname: "leaf-1".to_owned(),
            machine_id: "0123456789abcdef".to_owned(),
            arch: "amd64".to_owned(),
            os_version: "202505".to_owned(),
            platform: "x86_64-accton_as7712_32x-r0".to_owned(),
            hwsku: "Accton-AS7712-32X".to_owned(),
            manufacturer: "accton".to_owned(),
            namespace: String::new(),
        },
        capabilities: BTreeMap::new(),
        settings_errors: Vec::new(),
    }
}

pub fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

pub fn snapshot(settings: Settings, reports: impl IntoIterator<Item = Report>) -> Snapshot {
    let jobs: BTreeMap<String, Arc<Report>> =
        reports.into_iter().map(|report| (report.status.key.clone(), Arc::new(report))).collect();
    Snapshot { daemon: Arc::new(daemon()), settings: Arc::new(settings), refused: Refused::default(), jobs }
}

pub fn spec(fields: &[(&str, &str)]) -> JobSpec {
    let fields: Fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    JobSpec::parse(&fields, &Settings::default()).unwrap()
}

/// A job on Ethernet16, created at 0, running since 1, without numbers.
pub fn running(key: &str) -> Report {
    let status = JobStatus {
        key: key.to_owned(),
        spec: Some(spec(&[("port", "Ethernet16")])),
        raw: Fields::new(),
        status: Status::Running,
        reason: None,
        message: String::new(),
        warnings: std::collections::BTreeSet::new(),
        source: Source::Config,
        tap: None,
        mirror_session: None,
        created_at: at(0),
        started_at: Some(at(1)),
        expires_at: None,
        ended_at: None,
    };
    Report { status, results: None, detail: None }
}

impl Build for Report {}

/// Builders of reports.
pub trait Build: Into<Report> + Sized {
    /// With these fields in its row.
    fn spec(self, fields: &[(&str, &str)]) -> Report {
        let mut report = self.into();
        report.status.spec = Some(spec(fields));
        report
    }

    /// With totals read at `seconds`.
    fn totals(self, seconds: i64, tcp_packets: u64) -> Report {
        let mut report = self.into();
        report.results = Some(Arc::new(results(seconds, tcp_packets)));
        report
    }

    /// With these flows and `analysed` packets in the histograms, read at `seconds`.
    fn detail(self, seconds: i64, flows: Vec<FlowRow>) -> Report {
        let mut report = self.into();
        report.detail = Some(Arc::new(detail(seconds, flows)));
        report
    }

    /// Over, done, at `seconds`.
    fn done(self, seconds: i64) -> Report {
        let mut report = self.into();
        report.status.status = Status::Done;
        report.status.ended_at = Some(at(seconds));
        report
    }
}

pub fn counter(packets: u64, bytes: u64) -> Counter {
    Counter { packets, bytes }
}

/// `tcp_packets` of 1,000 bytes, 3 UDP of 100 over IPv6, 2 ARP of 60; one malformed.
pub fn results(seconds: i64, tcp_packets: u64) -> Results {
    let mut eth = [Counter::default(); EthClass::COUNT];
    let mut ip = [Counter::default(); IpClass::COUNT];
    let mut errors = [0; ErrorKind::COUNT];
    eth[EthClass::Ipv4 as usize] = counter(tcp_packets, tcp_packets * 1_000);
    eth[EthClass::Ipv6 as usize] = counter(3, 300);
    eth[EthClass::Arp as usize] = counter(2, 120);
    ip[IpClass::Tcp as usize] = counter(tcp_packets, tcp_packets * 1_000);
    ip[IpClass::Udp as usize] = counter(3, 300);
    errors[ErrorKind::MalformedL4 as usize] = 1;
    let traffic = Traffic {
        delivered: counter(tcp_packets + 9, tcp_packets * 1_000 + 900),
        total: counter(tcp_packets + 5, tcp_packets * 1_000 + 420),
        analysed: counter(1, 1_000),
        eth,
        ip,
        errors,
        ..Traffic::default()
    };
    Results {
        window: Duration::from_secs(10),
        traffic,
        sample_rate: 100,
        packets_per_sec: 0.0,
        bits_per_sec: 0.0,
        port_packets: None,
        coverage: None,
        ..Results::empty(at(seconds))
    }
}

pub fn detail(seconds: i64, top: Vec<FlowRow>) -> Detail {
    let mut packet_size = Histogram::empty(PACKET_SIZE_BOUNDS);
    packet_size.counts[0] = 2;
    packet_size.counts[9] = 1;
    packet_size.count = 3;
    packet_size.sum = 64 + 60 + 9_300;
    let flows = Flows {
        top,
        below_top: Counter::default(),
        other: Counter::default(),
        non_ip: Counter::default(),
        seen: 0,
        evicted: 0,
        distinct: DistinctFlows::default(),
    };
    Detail {
        updated_at: at(seconds),
        sample_rate: 100,
        mirror_sample_rate: 1,
        flows: Some(flows),
        histograms: vec![
            (HistogramName::PacketSize, packet_size),
            (HistogramName::Interarrival, Histogram::empty(INTERARRIVAL_BOUNDS)),
        ],
    }
}

pub fn flow(src: &str, l4_sport: u16, packets: u64) -> FlowRow {
    FlowRow {
        src: src.to_owned(),
        dst: "10.0.0.2".to_owned(),
        is_ipv6: false,
        l4_sport,
        l4_dport: 443,
        ip_proto: 6,
        vlan: 0,
        analysed: counter(packets / 100, packets),
        estimated: counter(packets, packets * 100),
        packets_err95: 10,
        first_seen: at(1),
        last_seen: at(1).checked_add(SignedDuration::from_millis(5)).unwrap(),
    }
}
