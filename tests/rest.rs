//! The REST shim on a real Redis, over a real unix socket, with a fake daemon at the tables.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

#[path = "rest/bodies.rs"]
mod bodies;
mod doors_common;
#[path = "rest/http.rs"]
mod http;
#[path = "rest/limits.rs"]
mod limits;
#[path = "rest/listening.rs"]
mod listening;
#[path = "rest/memory.rs"]
mod memory;
mod redis_common;
#[path = "rest/sharing.rs"]
mod sharing;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use doors_common::{FakeDaemon, heartbeat, row, write_finished_job};
use http::{Response, Stream, request};
use memory::{in_memory, snapshot};
use redis_common::{Redis, within};
use serde_json::{Value, json};
use telegen_sonic::io::tables::JobTables;
use telegen_sonic::model::report::{ExportState, Snapshot};
use telegen_sonic::sink::rest::routes::ROUTES;
use telegen_sonic::sink::rest::{bind, serve_on};
use tokio::sync::{oneshot, watch};

const JOBS: &str = "/v1/monitor/jobs";

/// A shim that serves until it is dropped or closed.
struct Shim {
    socket: PathBuf,
    snapshot: watch::Sender<Arc<Snapshot>>,
    _export: watch::Sender<ExportState>,
    close: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Shim {
    async fn start(redis: &Redis) -> Shim {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("telegen/rest.sock");
        let tables = Arc::new(JobTables::new(&redis.config).unwrap());
        let (snapshot, snapshots) = watch::channel(snapshot(BTreeMap::new()));
        let export = ExportState { endpoint: "localhost:4317".to_owned(), ..ExportState::default() };
        let (export, exports) = watch::channel(export);
        let (close, closed) = oneshot::channel();
        let bound = bind(socket.to_str().unwrap()).await.unwrap();
        let served = tokio::spawn(serve_on(bound, tables, snapshots, exports, async {
            let _ = closed.await;
        }));
        Shim { socket, snapshot, _export: export, close, served, _dir: dir }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Response {
        within(path, request(&self.socket, method, path, &[], body)).await
    }

    async fn get(&self, path: &str) -> Response {
        self.call("GET", path, "").await
    }

    async fn post(&self, body: &Value) -> Response {
        self.call("POST", JOBS, &body.to_string()).await
    }
}

#[tokio::test]
async fn every_answer_of_the_daemon_has_its_status_code() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let cases = [
        ("Ethernet0", 201, "running"),
        ("Starting0", 201, "starting"),
        ("Brief0", 201, "done"),
        ("Queued0", 202, "queued"),
        ("Full0", 429, "concurrency_limit"),
        ("Conflict0", 409, "mirror_conflict"),
        ("Unknown0", 400, "unknown_port"),
        ("Invalid0", 400, "invalid_field"),
        ("Missing0", 400, "missing_field"),
        ("NoPool0", 503, "no_mirror_port"),
    ];
    for (port, status, word) in cases {
        let response = shim.post(&json!({ "port": port })).await;
        assert_eq!(response.status, status, "{port}: {}", response.text);
        let body = response.json();
        if status < 300 {
            let id = body["job_id"].as_str().unwrap();
            assert_eq!(body["status"], word, "{port}");
            assert_eq!(response.header("location"), Some(&*format!("{JOBS}/{id}")));
            assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        } else {
            assert_eq!(body["error"], word, "{port}");
            assert!(!body["message"].as_str().unwrap().is_empty());
            assert_eq!(response.header("location"), None);
        }
    }
}

#[tokio::test]
async fn a_job_that_runs_is_answered_with_its_interface() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let response = shim.post(&json!({ "port": "Ethernet0", "job_id": "j1" })).await;
    assert_eq!(response.json(), json!({ "job_id": "j1", "status": "running", "interface": "Ethernet120" }));
}

#[tokio::test]
async fn a_refusal_for_want_of_a_slot_says_when_the_first_job_ends() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    shim.post(&json!({ "port": "Ethernet0", "duration_sec": 40, "job_id": "a" })).await;
    let response = shim.post(&json!({ "port": "Full0" })).await;
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    // The running job's row ends 60 s of queue_ttl and 40 s of duration after it was written.
    assert!((90..=101).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn errors_of_the_daemon_name_the_member() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let body = shim.post(&json!({ "port": "Invalid0" })).await.json();
    assert_eq!(
        body,
        json!({ "error": "invalid_field", "field": "duration_sec",
                "message": "duration_sec: \"5\" is not accepted; give more" })
    );
    assert_eq!(shim.post(&json!({ "port": "Unknown0" })).await.json()["field"], "port");
}

#[tokio::test]
async fn a_job_is_one_hset_with_its_end_and_lists_as_sonic_writes_them() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let config = redis.connect("CONFIG_DB").await;
    heartbeat(&redis.connect("STATE_DB").await).await;
    let database = config.database().clone();
    let channel = format!("__keyspace@{}__:TELEGEN_JOB|j1", database.id);
    let mut events =
        telegen_sonic::sonic::pubsub::Subscription::open(&database, &[], &[channel], std::time::Duration::from_secs(2))
            .await
            .unwrap();
    let body = json!({ "port": "Silent0", "job_id": "j1", "duration_sec": 30,
                       "filters": { "ip_proto": ["tcp", 17], "l4_dport": ["80-90", 443] } });
    let response = shim.post(&body).await;
    // A living daemon that says nothing: the row stays, and the answer does not pretend to know.
    assert_eq!(response.status, 202);
    assert_eq!(response.json()["status"], Value::Null);
    assert_eq!(within("an event", events.next()).await.unwrap().payload, "hset");
    assert_eq!(events.next_if_here().unwrap(), None);
    let mut fields = config.hgetall("TELEGEN_JOB|j1").await.unwrap();
    let expires = fields.remove("expires_at").unwrap();
    let left = expires.parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now()).as_secs();
    assert!((80..=90).contains(&left), "{left}");
    let expected = row([("port", "Silent0"), ("duration", "30"), ("ip_proto@", "tcp,udp"), ("l4_dport@", "80-90,443")]);
    assert_eq!(fields, expected);
    let status = shim.get(&format!("{JOBS}/j1")).await;
    assert_eq!((status.status, &status.json()["status"]), (200, &Value::Null));
}

#[tokio::test]
async fn without_a_daemon_the_row_is_withdrawn_and_that_is_said() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let response = shim.post(&json!({ "port": "Ethernet0", "job_id": "j1" })).await;
    assert_eq!((response.status, &response.json()["error"]), (503, &json!("no_daemon")));
    let config = redis.connect("CONFIG_DB").await;
    assert_eq!(config.keys("TELEGEN_JOB").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_the_members_name_and_nothing_is_written() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let cases = [
        (json!({}), 400, "missing_field", "port"),
        (json!({ "port": "Ethernet0", "colour": 1 }), 400, "invalid_field", "colour"),
        (json!({ "port": "Ethernet0", "duration_sec": 0 }), 400, "invalid_field", "duration_sec"),
        (json!({ "port": "Ethernet0", "duration_sec": "60" }), 400, "invalid_field", "duration_sec"),
        (json!({ "port": "Ethernet0", "filters": { "dscp": [64] } }), 400, "invalid_field", "filters.dscp"),
        (json!({ "port": "Ethernet0", "filters": { "src_cidr": "x" } }), 400, "invalid_field", "filters.src_cidr"),
        (json!({ "port": "Ethernet0", "result_detail": "packets" }), 400, "invalid_field", "result_detail"),
        (json!({ "port": "Ethernet0", "job_id": "a|b" }), 400, "invalid_field", "job_id"),
        (json!({ "kind": "traffic" }), 400, "missing_field", "port"),
        (json!({ "kind": "packets", "port": "Ethernet0" }), 400, "invalid_field", "kind"),
        // Reserved: the switch cannot do it, which is not the request's fault.
        (json!({ "kind": "profile", "duration_sec": 30 }), 503, "kind_unavailable", "kind"),
        (json!({ "port": "Ethernet0", "span_method": "psample" }), 503, "mirror_unsupported", "span_method"),
    ];
    for (body, status, error, field) in cases {
        let response = shim.post(&body).await;
        let said = response.json();
        assert_eq!((response.status, &said["error"], &said["field"]), (status, &json!(error), &json!(field)), "{body}");
        assert!(said["message"].as_str().unwrap().starts_with(&format!("{field}: ")), "{said}");
    }
    for body in ["", "{", "[]", "null"] {
        let response = shim.call("POST", JOBS, body).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_field")), "{body}");
    }
    let large = format!("{{\"port\": \"{}\"}}", "x".repeat(65 * 1024));
    assert_eq!(shim.call("POST", JOBS, &large).await.status, 413);
    assert_eq!(redis.connect("STATE_DB").await.keys("TELEGEN_JOB_TABLE").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn null_and_empty_lists_mean_absent() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let body =
        json!({ "port": "Ethernet0", "job_id": "j1", "vlan": null, "filters": { "dscp": [] }, "description": null });
    assert_eq!(shim.post(&body).await.status, 201);
    let fields = redis.connect("CONFIG_DB").await.hgetall("TELEGEN_JOB|j1").await.unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["expires_at", "port"]);
}

#[tokio::test]
async fn an_id_in_use_is_a_conflict_and_a_finished_jobs_id_may_be_used_again() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let body = json!({ "port": "Ethernet0", "job_id": "j1" });
    assert_eq!(shim.post(&body).await.status, 201);
    let response = shim.post(&body).await;
    assert_eq!((response.status, &response.json()["error"]), (409, &json!("id_in_use")));
    assert_eq!(shim.call("DELETE", &format!("{JOBS}/j1"), "").await.status, 200);
    // The old row still says stopped when the new one is written: it must not be taken for the answer.
    let response = shim.post(&body).await;
    assert_eq!((response.status, &response.json()["status"]), (201, &json!("running")));
}

#[tokio::test]
async fn stopping_waits_until_the_job_is_over_and_may_be_repeated() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    shim.post(&json!({ "port": "Ethernet0", "job_id": "j1" })).await;
    let path = format!("{JOBS}/j1");
    for _ in 0..2 {
        let response = shim.call("DELETE", &path, "").await;
        assert_eq!((response.status, response.json()), (200, json!({ "job_id": "j1", "status": "stopped" })));
    }
    assert_eq!(shim.get(&path).await.json()["status"], "stopped");
    let unknown = shim.call("DELETE", &format!("{JOBS}/nobody"), "").await;
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("unknown_job")));
}

#[tokio::test]
async fn a_job_that_came_by_appl_db_is_stopped_through_its_queue() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let (appl, state) = (redis.connect("APPL_DB").await, redis.connect("STATE_DB").await);
    appl.hset_whole("TELEGEN_JOB_TABLE:j1", &row([("port", "Ethernet0")])).await.unwrap();
    state
        .hset_whole("TELEGEN_JOB_TABLE|j1", &row([("status", "running"), ("source", "appl"), ("port", "Ethernet0")]))
        .await
        .unwrap();
    // Without a daemon nobody takes the deletion up, and that is said.
    let response = shim.call("DELETE", &format!("{JOBS}/j1"), "").await;
    assert_eq!((response.status, &response.json()["error"]), (503, &json!("no_daemon")));
    let mut members = redis::cmd("SMEMBERS");
    let queued: Vec<String> = appl.query("SMEMBERS", members.arg("TELEGEN_JOB_TABLE_DEL_SET")).await.unwrap();
    assert_eq!(queued, ["j1"]);
}

#[tokio::test]
async fn the_older_seeds_routes_do_the_same() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    let body = json!({ "port": "Ethernet0", "direction": "ingress", "job_id": "j1", "inner": true }).to_string();
    let started = shim.call("POST", "/jobs/start", &body).await;
    assert_eq!(started.json(), json!({ "job_id": "j1", "status": "running", "interface": "Ethernet120" }));
    assert_eq!(shim.get("/jobs/j1").await.json()["inner"], true);
    assert_eq!(shim.get("/jobs/j1").await.json(), shim.get(&format!("{JOBS}/j1")).await.json());
    let stopped = shim.call("POST", "/jobs/j1/stop", "").await;
    assert_eq!((stopped.status, stopped.json()), (200, json!({ "job_id": "j1", "status": "stopped" })));
}

#[tokio::test]
async fn jobs_of_an_earlier_daemon_are_answered_from_their_rows() {
    let redis = Redis::start();
    write_finished_job(&redis.connect("STATE_DB").await, "old").await;
    let shim = Shim::start(&redis).await;
    let jobs = shim.get(JOBS).await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    assert_eq!((&jobs["jobs"][0]["job_id"], &jobs["jobs"][0]["status"]), (&json!("old"), &json!("done")));
    let results = shim.get(&format!("{JOBS}/old/results")).await.json();
    assert_eq!((&results["packets_total"], &results["window_sec"]), (&json!(1200), &json!(120.0)));
    assert_eq!(results["protocols"]["ip"], json!({ "udp": { "packets": 1200, "bytes": 76800 } }));
    assert_eq!(results["services"], json!({ "dns": { "packets": 600, "bytes": 38400 } }));
    let health = json!({
        "events": {}, "cast": { "unicast": 1200 }, "ecn": { "ect0": 1100, "ce": 100 }, "dscp": {}, "tcp_flags": {},
        "segments": null, "rocev2": { "ops": {}, "ecn": {} },
    });
    assert_eq!(results["health"], health);
    assert_eq!((&results["copies"], &results["distinct_flows"]), (&Value::Null, &json!({ "estimate": 2, "err95": 0 })));
    let tuples: Vec<&Value> = results["top_flows"].as_array().unwrap().iter().map(|flow| &flow["5tuple"]).collect();
    assert_eq!(tuples, ["udp 10.0.0.1:4000 -> 10.0.0.2:443", "udp 10.0.0.1:4000 -> 10.0.0.2:53"]);
    assert_eq!((&results["top_flows"][0]["pkts"], &results["top_flows"][0]["pkts_err95"]), (&json!(600), &json!(40)));
    assert_eq!(results["histograms"]["packet_size"]["counts"], json!([12, 0, 0]));
    assert_eq!(results["latency_histogram_ns"], Value::Null);
    assert_eq!(results["otel_export"], json!({ "exported": false, "endpoint": "localhost:4317", "last_error": null }));
    for path in ["nobody", "nobody/results", "nobody/events"] {
        let response = shim.get(&format!("{JOBS}/{path}")).await;
        assert_eq!((response.status, &response.json()["error"]), (404, &json!("unknown_job")), "{path}");
    }
}

#[tokio::test]
async fn all_of_top_k_comes_from_memory_where_the_table_holds_only_its_beginning() {
    let redis = Redis::start();
    write_finished_job(&redis.connect("STATE_DB").await, "j1").await;
    let shim = Shim::start(&redis).await;
    shim.snapshot.send_replace(snapshot(BTreeMap::from([("j1".to_owned(), Arc::new(in_memory("j1", 150)))])));
    let results = shim.get(&format!("{JOBS}/j1/results")).await.json();
    assert_eq!(results["top_flows"].as_array().unwrap().len(), 150);
    assert_eq!(
        results["histograms"],
        json!({ "packet_size": { "unit": "By", "bounds": [64], "counts": [3, 0], "sum": 192, "count": 3, "sample_rate": 1 } })
    );
    assert_eq!(results["packets_total"], 1200);
}

#[tokio::test]
async fn events_tell_status_and_results_as_they_change_and_end_with_the_job() {
    let redis = Redis::start();
    let _daemon = FakeDaemon::start(&redis.config).await;
    let shim = Shim::start(&redis).await;
    shim.post(&json!({ "port": "Ethernet0", "job_id": "j1" })).await;
    let mut events = within("the events", Stream::open(&shim.socket, &format!("{JOBS}/j1/events"))).await;
    let (name, status) = within("a status", events.next()).await.unwrap();
    assert_eq!((name.as_str(), &status["status"]), ("status", &json!("running")));
    let state = redis.connect("STATE_DB").await;
    let results = row([("updated_at", "2026-01-31T03:00:01Z"), ("window_sec", "1"), ("packets_total", "7")]);
    state.hset_whole("TELEGEN_RESULT_TABLE|j1", &results).await.unwrap();
    let (name, results) = within("results", events.next()).await.unwrap();
    assert_eq!((name.as_str(), &results["packets_total"]), ("results", &json!(7)));
    shim.call("DELETE", &format!("{JOBS}/j1"), "").await;
    let (name, status) = within("the end", events.next()).await.unwrap();
    assert_eq!((name.as_str(), &status["status"]), ("status", &json!("stopped")));
    assert_eq!(within("the end of the stream", events.next()).await, None);
}

#[tokio::test]
async fn every_route_that_is_described_exists_and_every_other_is_said_to_be_unknown() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let document = shim.get("/openapi.json").await.json();
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(described, ROUTES.len());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let body = if method == "post" { "{}" } else { "" };
            let response = shim.call(&method.to_uppercase(), &path.replace("{id}", "nobody"), body).await;
            let is_known = response.status != 405 && !response.text.contains("unknown_route");
            assert!(is_known, "{method} {path}: {}", response.text);
        }
    }
    let unknown = shim.get("/v1/monitor/job").await;
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("unknown_route")));
    let wrong = shim.call("PUT", JOBS, "").await;
    assert_eq!((wrong.status, &wrong.json()["error"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn metrics_health_and_readiness_are_said() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let metrics = shim.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.text.contains("\ntelegen_jobs{status=\"running\"} 0\n"), "{}", metrics.text);
    assert_eq!(shim.get("/healthz").await.json(), json!({ "status": "ok", "version": "0.1.0", "commit": "abc" }));
    let before = shim.get("/readyz").await;
    assert_eq!((before.status, &before.json()["error"]), (503, &json!("not_ready")));
    heartbeat(&redis.connect("STATE_DB").await).await;
    assert_eq!(shim.get("/readyz").await.json(), json!({ "status": "ready" }));
}

#[tokio::test]
async fn a_redis_that_goes_away_is_said_and_one_that_comes_back_is_used() {
    let mut redis = Redis::start();
    let shim = Shim::start(&redis).await;
    assert_eq!(shim.get(JOBS).await.status, 200);
    redis.server.stop(false).unwrap();
    let away = shim.get(JOBS).await;
    assert_eq!((away.status, &away.json()["error"]), (503, &json!("database_unavailable")));
    assert_eq!(shim.get("/healthz").await.status, 200);
    redis.server.start_again().unwrap();
    within("an answer", async {
        while shim.get(JOBS).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_web_page_cannot_start_or_stop_jobs() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let origin = [("Origin", "http://evil.example")];
    for (method, path) in [("POST", "/jobs/start"), ("DELETE", "/v1/monitor/jobs/a")] {
        let response = request(&shim.socket, method, path, &origin, "{\"port\":\"Ethernet0\"}").await;
        assert_eq!((response.status, &response.json()["error"]), (403, &json!("forbidden")));
    }
    assert_eq!(request(&shim.socket, "GET", "/healthz", &origin, "").await.status, 200);
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_gone_at_the_end() {
    let redis = Redis::start();
    let shim = Shim::start(&redis).await;
    let mode = std::fs::metadata(&shim.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // A stream of events that nobody ends does not hold the shutdown up.
    write_finished_job(&redis.connect("STATE_DB").await, "j1").await;
    let state = redis.connect("STATE_DB").await;
    state.hset_whole("TELEGEN_JOB_TABLE|j1", &row([("status", "running")])).await.unwrap();
    let _events = within("the events", Stream::open(&shim.socket, &format!("{JOBS}/j1/events"))).await;
    shim.close.send(()).unwrap();
    within("the end", shim.served).await.unwrap();
    assert!(!shim.socket.exists());
}
