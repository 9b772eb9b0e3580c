//! A daemon's manners at the tables, without a daemon: what it says of each job is decided by the job's port.

#![allow(dead_code)] // each test program uses its part

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use telegen_sonic::model::job::rfc3339;
use telegen_sonic::model::schema::{DAEMON_HOLD, config_db, state_db};
use telegen_sonic::sonic::hold::Hold;
use telegen_sonic::sonic::{DatabaseConfig, Fields, RedisConnection, TableWatch, WatchEvent, Watched, connect};
use tokio::task::JoinHandle;

pub use super::redis_common::fields as row;

/// What the daemon says of a job on `port`; nothing for `Silent0`.
fn said_of(port: &str) -> Vec<(&'static str, String)> {
    let plain = |status: &str| vec![("status", status.to_owned())];
    let refused = |reason: &str, message: &str| {
        vec![
            ("status", "rejected".to_owned()),
            ("reason", reason.to_owned()),
            ("message", message.to_owned()),
            ("ended_at", rfc3339(Timestamp::now())),
        ]
    };
    match port {
        "Silent0" => Vec::new(),
        "Starting0" => plain("starting"),
        "Queued0" => plain("queued"),
        "Full0" => {
            refused("concurrency_limit", "2 of 2 jobs are running (a, b) and max_queue is 0; try again when one ends")
        }
        "Conflict0" => refused("mirror_conflict", "session mine mirrors Conflict0 already"),
        "Unknown0" => refused("unknown_port", "Unknown0 is no port and no port channel of this switch"),
        "Invalid0" => refused("invalid_field", "duration: \"5\" is not accepted; give more"),
        "Missing0" => refused("missing_field", "port: the job names no port"),
        "NoPool0" => refused("no_mirror_port", "TELEGEN_MIRROR_PORT has no free port"),
        "Brief0" => vec![("status", "done".to_owned()), ("ended_at", rfc3339(Timestamp::now()))],
        _ => vec![
            ("status", "running".to_owned()),
            ("tap", "Ethernet120".to_owned()),
            ("started_at", rfc3339(Timestamp::now())),
        ],
    }
}

/// Answers rows until it is dropped. Its heartbeat is written once, which is enough for 15 s.
pub struct FakeDaemon {
    task: JoinHandle<()>,
    _hold: Hold,
}

impl FakeDaemon {
    pub async fn start(config: &DatabaseConfig) -> FakeDaemon {
        let config_db = connect(config, "CONFIG_DB").await.unwrap();
        let state = connect(config, "STATE_DB").await.unwrap();
        let hold = Hold::take(config_db.database(), DAEMON_HOLD, "a test").await.unwrap();
        heartbeat(&state).await;
        let mut watch =
            TableWatch::new(config, "CONFIG_DB", &[Watched::Rows(config_db::JOB)], Duration::from_secs(30)).unwrap();
        // The first event is the listing: from then on no row is missed.
        assert!(matches!(watch.next().await, WatchEvent::Resynchronised { .. }));
        let task = tokio::spawn(async move {
            let mut live: BTreeMap<String, Fields> = BTreeMap::new();
            loop {
                match watch.next().await {
                    WatchEvent::Set { key, fields, .. } if !live.contains_key(&key) => {
                        if let Some(said) = answer(&config_db, &state, &key, fields).await {
                            live.insert(key, said);
                        }
                    }
                    WatchEvent::Del { key, .. } => {
                        if let Some(mut said) = live.remove(&key) {
                            said.insert("status".to_owned(), "stopped".to_owned());
                            said.insert("ended_at".to_owned(), rfc3339(Timestamp::now()));
                            let sessions = format!("MIRROR_SESSION|telegen_{key}");
                            config_db.del(&sessions).await.unwrap();
                            state.hset_whole(&format!("{}|{key}", state_db::JOB), &said).await.unwrap();
                        }
                    }
                    WatchEvent::Set { .. } | WatchEvent::Resynchronised { .. } | WatchEvent::Disconnected { .. } => {}
                }
            }
        });
        FakeDaemon { task, _hold: hold }
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn heartbeat(state: &RedisConnection) {
    let row = row([("heartbeat", &rfc3339(Timestamp::now())), ("version", "0.1.0"), ("commit", "abc"), ("pid", "42")]);
    state.hset_whole(&format!("{}|localhost", state_db::DAEMON), &row).await.unwrap();
}

/// Writes the status; returns it if the job lives.
async fn answer(config_db: &RedisConnection, state: &RedisConnection, key: &str, mut fields: Fields) -> Option<Fields> {
    let said = said_of(&fields["port"]);
    if said.is_empty() {
        return None;
    }
    fields.insert("source".to_owned(), "config".to_owned());
    fields.insert("created_at".to_owned(), rfc3339(Timestamp::now()));
    fields.extend(said.into_iter().map(|(name, value)| (name.to_owned(), value)));
    state.replace(&format!("{}|{key}", state_db::JOB), &fields).await.unwrap();
    if matches!(&*fields["status"], "rejected" | "done") {
        config_db.del(&format!("{}|{key}", config_db::JOB)).await.unwrap();
        return None;
    }
    Some(fields)
}

/// The rows of a finished job of an earlier daemon, with results, two flows and a histogram.
pub async fn write_finished_job(state: &RedisConnection, id: &str) {
    let key = |table: &str, rest: &str| format!("{table}|{id}{rest}");
    let status = row([
        ("port", "Ethernet16"),
        ("direction", "ingress"),
        ("span_method", "span"),
        ("status", "done"),
        ("created_at", "2026-01-31T03:00:00.000Z"),
        ("started_at", "2026-01-31T03:00:00.500Z"),
        ("expires_at", "2026-01-31T03:02:00.500Z"),
        ("ended_at", "2026-01-31T03:02:00.500Z"),
        ("tap", "Ethernet120"),
    ]);
    state.hset_whole(&key(state_db::JOB, ""), &status).await.unwrap();
    let results = row([
        ("updated_at", "2026-01-31T03:02:00.500Z"),
        ("window_sec", "120"),
        ("packets_delivered", "1200"),
        ("bytes_delivered", "76800"),
        ("packets_total", "1200"),
        ("bytes_total", "76800"),
        ("packets_analysed", "12"),
        ("sample_rate", "100"),
        ("coverage", "1"),
        ("eth_ipv4_packets", "1200"),
        ("eth_ipv4_bytes", "76800"),
        ("ip_udp_packets", "1200"),
        ("ip_udp_bytes", "76800"),
        ("service_dns_packets", "600"),
        ("service_dns_bytes", "38400"),
        ("cast_unicast", "1200"),
        ("ecn_ect0", "1100"),
        ("ecn_ce", "100"),
        ("flows_seen", "2"),
        ("flows_evicted", "0"),
        ("flows_distinct_est", "2"),
        ("flows_distinct_err95", "0"),
    ]);
    state.hset_whole(&key(state_db::RESULT, ""), &results).await.unwrap();
    // Written out of order: rank 10 is behind rank 2 although its name sorts before it.
    for (rank, port) in [("10", "53"), ("2", "443")] {
        let flow = row([
            ("src", "10.0.0.1"),
            ("dst", "10.0.0.2"),
            ("ip_proto", "udp"),
            ("l4_sport", "4000"),
            ("l4_dport", port),
            ("packets", "6"),
            ("bytes", "384"),
            ("packets_est", "600"),
            ("bytes_est", "38400"),
            ("packets_err95", "40"),
            ("first_seen", "2026-01-31T03:00:01.000Z"),
            ("last_seen", "2026-01-31T03:01:59.000Z"),
        ]);
        state.hset_whole(&key(state_db::FLOW, &format!("|{rank}")), &flow).await.unwrap();
    }
    let sizes = row([("unit", "By"), ("bounds@", "64,128"), ("counts@", "12,0,0"), ("sum", "768"), ("count", "12")]);
    state.hset_whole(&key(state_db::HISTOGRAM, "|packet_size"), &sizes).await.unwrap();
}
