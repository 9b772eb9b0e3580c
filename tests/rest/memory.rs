//! What a daemon holds in memory, as far as the shim reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use telegen_sonic::model::job::Fields;
use telegen_sonic::model::report::{DaemonInfo, Detail, Device, FlowRow, Flows, Report, Snapshot};
use telegen_sonic::model::sample::{Counter, Histogram};
use telegen_sonic::model::schema::{HistogramName, Source, Status};
use telegen_sonic::model::settings::Settings;
use telegen_sonic::model::status::{JobStatus, Refused};
use telegen_sonic::model::traffic::DistinctFlows;

/// A snapshot with these jobs.
pub fn snapshot(jobs: BTreeMap<String, Arc<Report>>) -> Arc<Snapshot> {
    let daemon = DaemonInfo {
        version: "0.1.0",
        commit: "abc",
        built_at: "2026-01-01T00:00:00Z",
        pid: 42,
        started_at: "2026-01-31T03:00:00Z".parse().unwrap(),
        instance_id: "i".to_owned(),
        device: Device::default(),
        capabilities: BTreeMap::new(),
        settings_errors: Vec::new(),
    };
    Arc::new(Snapshot {
        daemon: Arc::new(daemon),
        settings: Arc::new(Settings::default()),
        refused: Refused::default(),
        jobs,
    })
}

/// A job with so many flows.
pub fn in_memory(id: &str, flows: u16) -> Report {
    let at = "2026-01-31T03:00:01Z".parse().unwrap();
    let flow = |sport| FlowRow {
        src: "10.0.0.1".to_owned(),
        dst: "10.0.0.2".to_owned(),
        is_ipv6: false,
        l4_sport: sport,
        l4_dport: 80,
        ip_proto: 6,
        vlan: 0,
        analysed: Counter { packets: 1, bytes: 64 },
        estimated: Counter { packets: 1, bytes: 64 },
        packets_err95: 0,
        first_seen: at,
        last_seen: at,
    };
    let none = Counter::default();
    let top = (1..=flows).map(flow).collect();
    let histogram = Histogram { bounds: &[64], counts: vec![3, 0], sum: 192, count: 3 };
    let detail = Detail {
        updated_at: at,
        sample_rate: 1,
        mirror_sample_rate: 1,
        flows: Some(Flows {
            top,
            below_top: none,
            other: none,
            non_ip: none,
            seen: 3,
            evicted: 0,
            distinct: DistinctFlows::default(),
        }),
        histograms: vec![(HistogramName::PacketSize, histogram)],
    };
    let status = JobStatus {
        key: id.to_owned(),
        spec: None,
        raw: Fields::new(),
        status: Status::Running,
        reason: None,
        message: String::new(),
        warnings: BTreeSet::new(),
        source: Source::Config,
        tap: None,
        mirror_session: None,
        created_at: at,
        started_at: None,
        expires_at: None,
        ended_at: None,
    };
    Report { status, results: None, detail: Some(Arc::new(detail)) }
}
