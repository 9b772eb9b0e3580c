//! Seven doors, one job: whichever way a row comes in, the same job runs, counts the same frames and leaves the same rows.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use telegen_sonic::lab::profiles::Profile;

use crate::daemon::BINARY;
use crate::fixture::{DEADLINE, Switch, in_future, millis_between, skip};
use crate::redis_db::{Db, Row};

/// A way to start and to stop the job; `source` is what STATE_DB calls it.
struct Door {
    source: &'static str,
    start: fn(&Switch, &str),
    stop: fn(&Switch, &str),
}

/// The job, as it stands in a row of CONFIG_DB.
const FIELDS: [(&str, &str); 7] = [
    ("kind", "traffic"),
    ("port", "Ethernet0"),
    ("duration", "600"),
    ("sample_rate", "1"),
    ("ip_proto@", "tcp,udp"),
    ("l4_dport@", "53,400-8080"),
    ("description", "through a door"),
];

const ONE_HSET: Door = Door {
    source: "config",
    start: |switch, id| {
        let key = format!("TELEGEN_JOB|{id}");
        let pairs = FIELDS.iter().flat_map(|(field, value)| [*field, *value]);
        let words: Vec<&str> = ["redis-cli", "-n", "4", "HSET", &key].into_iter().chain(pairs).collect();
        switch.run_ok(&words);
    },
    stop: |switch, id| drop(switch.run_ok(&["redis-cli", "-n", "4", "DEL", &format!("TELEGEN_JOB|{id}")])),
};

/// Values that depend on when and how fast the job ran; everything else must be the same.
const TIMING: [&str; 12] = [
    "created_at",
    "started_at",
    "expires_at",
    "ended_at",
    "updated_at",
    "first_seen",
    "last_seen",
    "window_sec",
    "pps",
    "bps",
    "source",
    // How often a flow came to a CPU's table: a matter of which CPU took the frame.
    "flows_seen",
];
/// Fields that may or may not be there yet: they need two polls of the port's counter.
const LATE: [&str; 2] = ["port_packets", "coverage"];

/// Every row that STATE_DB has of the job, without what only the clock decides; `ID` stands for its id.
fn rows_of(switch: &Switch, id: &str) -> BTreeMap<String, Row> {
    let mut state = switch.redis(Db::State);
    let keys = ["JOB", "RESULT", "FLOW", "HISTOGRAM"].map(|table| format!("TELEGEN_{table}_TABLE|{id}*"));
    let keys = keys.iter().flat_map(|pattern| state.keys(pattern)).collect::<Vec<_>>();
    keys.into_iter()
        .map(|key| {
            let is_gaps = key.ends_with("|interarrival");
            let row = state.row(&key).into_iter().filter(|(field, _)| !LATE.contains(&field.as_str()));
            let row = row.map(|(field, value)| {
                let timed = TIMING.contains(&field.as_str()) || is_gaps && field != "unit" && field != "bounds@";
                let value = if timed { "(time)".to_owned() } else { value.replace(id, "ID") };
                (field, value)
            });
            (key.replace(id, "ID"), row.collect())
        })
        .collect()
}

/// Starts the job, sends, stops, and returns what it left.
fn walk_through(switch: &Switch, door: &Door, id: &str) -> BTreeMap<String, Row> {
    (door.start)(switch, id);
    switch.await_status(id, "running");
    let sent = switch.send("Ethernet0", Profile::Mixed, 800, 21);
    (door.stop)(switch, id);
    let row = switch.await_status(id, "stopped");
    assert_eq!(row["source"], door.source);
    assert!(
        millis_between(&row, "created_at", "started_at") >= 0 && millis_between(&row, "started_at", "ended_at") >= 0
    );
    let passes = |dport: u16| dport == 53 || (400..=8080).contains(&dport);
    let matching = sent.flows.iter().filter(|flow| [6, 17].contains(&flow.ip_proto) && passes(flow.l4_dport));
    let (packets, bytes) = matching.fold((0, 0), |sum, flow| (sum.0 + flow.packets, sum.1 + flow.bytes));
    let results = switch.results(id);
    let said = ["packets_delivered", "packets_total", "bytes_total"].map(|field| results[field].clone());
    assert_eq!(said, [sent.packets, packets, bytes].map(|number| number.to_string()));
    switch.assert_clean();
    rows_of(switch, id)
}

fn assert_same_as_one_hset(switch: &Switch, door: &Door) {
    let reference = walk_through(switch, &ONE_HSET, "reference");
    assert!(reference.len() > 10, "{:?}", reference.keys());
    assert_eq!(walk_through(switch, door, "through-a-door"), reference);
}

#[test]
fn redis_cli_field_by_field_starts_the_same_job() {
    let Some(switch) = Switch::start() else { return };
    let start = |switch: &Switch, id: &str| {
        // The port last: an impatient reader would refuse the row before it is whole.
        for (field, value) in FIELDS.iter().rev() {
            switch.run_ok(&["redis-cli", "-n", "4", "HSET", &format!("TELEGEN_JOB|{id}"), field, value]);
        }
    };
    assert_same_as_one_hset(&switch, &Door { start, ..ONE_HSET });
}

#[test]
fn rest_starts_the_same_job() {
    let Some(switch) = Switch::start() else { return };
    let start = |switch: &Switch, id: &str| {
        let body = json!({
            "kind": "traffic", "port": "Ethernet0", "duration_sec": 600, "sample_rate": 1, "job_id": id,
            "description": "through a door",
            "filters": {"ip_proto": ["tcp", "udp"], "l4_dport": [53, "400-8080"]},
        });
        let (status, answer) = rest(switch, "POST", "/v1/monitor/jobs", &body.to_string());
        assert_eq!(
            (status, answer["job_id"].as_str(), answer["interface"].as_str()),
            (201, Some(id), Some("Ethernet24"))
        );
    };
    let stop = |switch: &Switch, id: &str| {
        let (status, answer) = rest(switch, "DELETE", &format!("/v1/monitor/jobs/{id}"), "");
        assert_eq!((status, answer), (200, json!({"job_id": id, "status": "stopped"})));
    };
    assert_same_as_one_hset(&switch, &Door { source: "config", start, stop });
}

/// Status code and body, by curl over the socket.
fn rest(switch: &Switch, method: &str, path: &str, body: &str) -> (u16, Value) {
    let url = format!("http://switch{path}");
    let curl = ["curl", "-sS", "--unix-socket", "/var/run/telegen/rest.sock", "-w", "\n%{http_code}", "-X", method];
    let answer = switch.run_ok(&[&curl[..], &["--data", body, &url]].concat());
    let (body, status) = answer.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_appl_db_protocol_starts_the_same_job() {
    let Some(switch) = Switch::start() else { return };
    // By hand, as sonic-swss-common's producerstatetable.cpp does it.
    let start = |switch: &Switch, id: &str| {
        let mut appl = switch.redis(Db::Appl);
        appl.set(&format!("_TELEGEN_JOB_TABLE:{id}"), &FIELDS);
        appl.command(&["SADD", "TELEGEN_JOB_TABLE_KEY_SET", id]);
        appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
    };
    let stop = |switch: &Switch, id: &str| {
        let mut appl = switch.redis(Db::Appl);
        appl.command(&["SADD", "TELEGEN_JOB_TABLE_KEY_SET", id]);
        appl.command(&["SADD", "TELEGEN_JOB_TABLE_DEL_SET", id]);
        appl.command(&["DEL", &format!("_TELEGEN_JOB_TABLE:{id}")]);
        appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
    };
    assert_same_as_one_hset(&switch, &Door { source: "appl", start, stop });
}

#[test]
fn a_configuration_that_is_loaded_starts_the_same_job() {
    let Some(switch) = Switch::start() else { return };
    let start = |switch: &Switch, id: &str| {
        let mut rows = serde_json::Map::new();
        rows.insert(
            id.to_owned(),
            json!({
                "kind": "traffic", "port": "Ethernet0", "duration": "600", "sample_rate": "1",
                "ip_proto": ["tcp", "udp"], "l4_dport": ["53", "400-8080"], "description": "through a door",
            }),
        );
        load(switch, &json!({ "TELEGEN_JOB": rows }));
    };
    assert_same_as_one_hset(&switch, &Door { start, ..ONE_HSET });
}

/// What `config load` does with a file (swsssdk's `mod_config`): one HSET per row, a list as `name@`.
fn load(switch: &Switch, configuration: &Value) {
    let mut config = switch.redis(Db::Config);
    for (table, rows) in configuration.as_object().unwrap() {
        for (key, row) in rows.as_object().unwrap() {
            let fields: Vec<(String, String)> = row.as_object().unwrap().iter().map(raw_field).collect();
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            config.set(&format!("{table}|{key}"), &fields);
        }
    }
}

fn raw_field((name, value): (&String, &Value)) -> (String, String) {
    match value.as_array() {
        Some(items) => {
            let items: Vec<&str> = items.iter().map(|item| item.as_str().unwrap()).collect();
            (format!("{name}@"), items.join(","))
        }
        None => (name.clone(), value.as_str().unwrap().to_owned()),
    }
}

/// The job, as the command line and the plugin both take it.
const OPTIONS: [&str; 12] = [
    "Ethernet0",
    "600",
    "--kind",
    "traffic",
    "--sample-rate",
    "1",
    "--filter",
    "ip_proto=tcp,udp",
    "--filter",
    "l4_dport=53,400-8080",
    "--description",
    "through a door",
];

#[test]
fn the_command_line_starts_the_same_job() {
    let Some(switch) = Switch::start() else { return };
    let start = |switch: &Switch, id: &str| {
        let said = switch.run_ok(&[&[BINARY, "start"], &OPTIONS[..], &["--id", id, "--json"]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["job_id"].as_str(), Some(id), "{said}");
    };
    let stop = |switch: &Switch, id: &str| drop(switch.run_ok(&[BINARY, "stop", id]));
    assert_same_as_one_hset(&switch, &Door { source: "config", start, stop });
}

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
const RUN_PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/run_plugin.py");

#[test]
fn the_sonic_utilities_plugin_starts_the_same_job() {
    if !Path::new(PYTHON).exists() {
        return skip("target/venv is not there; `make setup` makes it");
    }
    let Some(switch) = Switch::start() else { return };
    let start = |switch: &Switch, id: &str| {
        let command = [PYTHON, RUN_PLUGIN, "config", "telegen", "start"];
        switch.run_ok(&[&command, &OPTIONS[..], &["--id", id]].concat());
    };
    let stop = |switch: &Switch, id: &str| {
        switch.run_ok(&[PYTHON, RUN_PLUGIN, "config", "telegen", "stop", id]);
    };
    assert_same_as_one_hset(&switch, &Door { source: "config", start, stop });
}

/// What is said through every door of a job whose kind this version does not have. Its port is not the matter.
const UNAVAILABLE: &str = "kind: \"profile\" is reserved and not built into this version; give traffic";

#[test]
fn a_kind_that_is_not_there_is_refused_by_its_name_through_every_door() {
    let Some(switch) = Switch::start() else { return };
    let expires_at = in_future(600);
    for row in [&[("kind", "profile"), ("port", "Ethernet0")][..], &[("kind", "profile")]] {
        let row = [row, &[("expires_at", expires_at.as_str())]].concat();
        switch.redis(Db::Config).set("TELEGEN_JOB|config", &row);
        let mut appl = switch.redis(Db::Appl);
        appl.set("_TELEGEN_JOB_TABLE:appl", &row);
        appl.command(&["SADD", "TELEGEN_JOB_TABLE_KEY_SET", "appl"]);
        appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
        for id in ["config", "appl"] {
            let said = switch.assert_ended(id, "rejected", "kind_unavailable", DEADLINE);
            assert_eq!((said["source"].as_str(), said["kind"].as_str()), (id, "profile"));
            assert_eq!(said["message"], UNAVAILABLE);
            switch.redis(Db::State).delete(&format!("TELEGEN_JOB_TABLE|{id}"));
        }
    }
    let (status, answer) = rest(&switch, "POST", "/v1/monitor/jobs", &json!({"kind": "profile"}).to_string());
    let said = json!({"error": "kind_unavailable", "field": "kind", "message": UNAVAILABLE});
    assert_eq!((status, answer), (503, said));
    let by_hand = switch.run(&[BINARY, "start", "--kind", "profile", "--duration", "30"]);
    let said = format!("telegen-sonic: kind_unavailable: {UNAVAILABLE}\n");
    assert_eq!((by_hand.status.code(), String::from_utf8_lossy(&by_hand.stderr).as_ref()), (Some(2), said.as_str()));
    if Path::new(PYTHON).exists() {
        let start = ["config", "telegen", "start", "--kind", "profile", "--id", "plugin"];
        let by_plugin = switch.run(&[&[PYTHON, RUN_PLUGIN], &start[..]].concat());
        let said = String::from_utf8_lossy(&by_plugin.stderr).into_owned();
        assert_eq!(by_plugin.status.code(), Some(2), "{said}");
        assert!(said.ends_with(&format!("Job plugin is rejected: kind_unavailable: {UNAVAILABLE}\n")), "{said}");
    }
    assert_eq!(switch.rows_left(), Vec::<String>::new());
    switch.assert_clean();
}
