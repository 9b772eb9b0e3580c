//! What f1b4f54 left on a switch, as `scripts/compat --record` recorded it, and what the daemon of now
//! makes of it: rows, notes and numbers.
//! `make test-compat` does upgrades and downgrades with both daemons.

use std::collections::BTreeMap;
use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use telegen_sonic::lab::profiles::Profile;

use crate::fixture::{DEADLINE, FINAL, RESYNC, Switch, wait_for};
use crate::kernel::in_network;
use crate::redis_db::{Db, Row};

/// The names of jobs in the record.
const LONG_ID: &str = "an-id-of-24-characters--";
const LONG_ID_QUEUED: &str = "no-longer-an-id-of-now";

/// Fields that are of the moment, whoever writes them.
const OF_THE_MOMENT: [&str; 6] = ["updated_at", "window_sec", "pps", "bps", "first_seen", "last_seen"];

struct Recorded(Value);

impl Recorded {
    fn read() -> Recorded {
        Recorded(serde_json::from_str(include_str!("../compat/f1b4f54.json")).unwrap())
    }

    /// The rows of a database, as if they had been recorded now.
    fn rows(&self, database: &str) -> BTreeMap<String, Row> {
        let recorded_at: Timestamp = self.0["recorded_at"].as_str().unwrap().parse().unwrap();
        let age = Timestamp::now().duration_since(recorded_at);
        rows_of(&self.0["rows"][database], |text| shifted(text, age))
    }

    fn notes(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.0["notes"].clone()).unwrap()
    }
}

fn rows_of(rows: &Value, value: impl Fn(&str) -> String) -> BTreeMap<String, Row> {
    let row = |fields: &Value| -> Row {
        fields.as_object().unwrap().iter().map(|(name, text)| (name.clone(), value(text.as_str().unwrap()))).collect()
    };
    rows.as_object().unwrap().iter().map(|(key, fields)| (key.clone(), row(fields))).collect()
}

/// An instant that much later; any other text as it is.
fn shifted(text: &str, by: SignedDuration) -> String {
    match text.parse::<Timestamp>() {
        // Far away is written for "never".
        Ok(instant) if instant.duration_since(Timestamp::now()) < SignedDuration::from_hours(24 * 365) => {
            format!("{:.3}", instant + by)
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// A switch whose daemon has ended, with these rows in it.
fn switch_with(rows: &[(Db, &BTreeMap<String, Row>)]) -> Option<Switch> {
    let mut switch = Switch::start()?;
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    for (db, rows) in rows {
        let mut redis = switch.redis(*db);
        for (key, row) in *rows {
            let fields: Vec<(&str, &str)> = row.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            redis.set(key, &fields);
        }
    }
    Some(switch)
}

/// Writes the notes, with the qdiscs that they are about; and one about a netdev that is gone.
fn write_notes(switch: &Switch, notes: &BTreeMap<String, String>) {
    let folder = switch.lab.path_inside("/run/telegen");
    for (name, text) in notes {
        if !name.starts_with("clsact-") {
            fs::write(folder.join(name), text).unwrap();
            continue;
        }
        switch.run_ok(&["tc", "qdisc", "add", "dev", text, "clsact"]);
        let index = in_network(&switch.lab, || nix::net::if_::if_nametoindex(text.as_str()).unwrap());
        fs::write(folder.join(format!("clsact-{index}")), text).unwrap();
    }
    fs::write(folder.join("clsact-4242"), "gone0").unwrap();
}

/// Rows of STATE_DB that orchagent writes come from it.
fn without_orchagents(mut rows: BTreeMap<String, Row>) -> BTreeMap<String, Row> {
    rows.retain(|key, _| key.starts_with("TELEGEN_"));
    rows
}

#[test]
fn what_f1b4f54_left_when_it_was_killed_gets_an_outcome_and_goes() {
    let recorded = Recorded::read();
    let (config, appl) = (recorded.rows("CONFIG_DB"), recorded.rows("APPL_DB"));
    let state = without_orchagents(recorded.rows("STATE_DB"));
    let rows = [(Db::Config, &config), (Db::State, &state), (Db::Appl, &appl)];
    let Some(mut switch) = switch_with(&rows) else { return };
    write_notes(&switch, &recorded.notes());
    let sessions = [format!("telegen_{LONG_ID}"), "telegen_thin".to_owned()];
    for session in &sessions {
        assert!(config.contains_key(&format!("MIRROR_SESSION|{session}")), "{session}");
        switch.await_session(session, Some("active"));
    }
    switch.start_daemon();
    for (id, port) in [("thin", "Ethernet0,Ethernet8"), (LONG_ID, "Ethernet4")] {
        let row = switch.assert_ended(id, "failed", "daemon_restarted", DEADLINE);
        let before = &state[&format!("TELEGEN_JOB_TABLE|{id}")];
        for field in ["created_at", "started_at", "sample_rate", "direction", "duration", "source"] {
            assert_eq!(row[field], before[field], "{id}: {field}");
        }
        assert_eq!(row["port"], port);
        assert_eq!(switch.results(id), state[&format!("TELEGEN_RESULT_TABLE|{id}")], "{id}");
    }
    let row = switch.assert_ended(LONG_ID_QUEUED, "rejected", "invalid_field", DEADLINE);
    assert!(row["message"].starts_with(&format!("job_id: \"{LONG_ID_QUEUED}\"")), "{row:?}");
    switch.await_status("waits", "running");
    switch.stop_job("waits");
    for id in ["over", "filtered", "refused"] {
        assert_eq!(switch.status(id), state[&format!("TELEGEN_JOB_TABLE|{id}")], "{id}");
    }
    for (key, row) in state.iter().filter(|(key, _)| key.contains("|over")) {
        assert_eq!(&switch.redis(Db::State).row(key), row, "{key}");
    }
    let now = switch.redis(Db::State).row("TELEGEN_DAEMON_TABLE|localhost");
    let missing: Vec<&String> =
        state["TELEGEN_DAEMON_TABLE|localhost"].keys().filter(|name| !now.contains_key(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "fields of the daemon's row");
    // The switch was tried out by the earlier daemon, and is not again.
    assert_eq!((now["span_to_cpu"].as_str(), now["mirror_policer"].as_str()), ("false", "true"));
    switch.assert_clean_within(RESYNC);
    switch.settings(&[("result_retention", "0")]);
    wait_for("the rows of jobs are forgotten", DEADLINE, || {
        (switch.redis(Db::State).keys("TELEGEN_*") == ["TELEGEN_DAEMON_TABLE|localhost"]).then_some(())
    });
}

/// Numbers are written before the status that says that a job runs: between the two a daemon may have ended.
#[test]
fn numbers_of_a_job_that_was_not_yet_said_to_run_are_forgotten_with_it() {
    let recorded = Recorded::read();
    let mut config = recorded.rows("CONFIG_DB");
    config.retain(|key, _| key == "TELEGEN_JOB|thin" || key.starts_with("TELEGEN_MIRROR_PORT|"));
    let mut state = without_orchagents(recorded.rows("STATE_DB"));
    state.retain(|key, _| key.contains("|thin"));
    assert!(state.contains_key("TELEGEN_RESULT_TABLE|thin"));
    let status = state.get_mut("TELEGEN_JOB_TABLE|thin").unwrap();
    status.insert("status".to_owned(), "starting".to_owned());
    status.remove("started_at");
    let Some(mut switch) = switch_with(&[(Db::Config, &config), (Db::State, &state)]) else { return };
    switch.start_daemon();
    switch.assert_ended("thin", "failed", "daemon_restarted", DEADLINE);
    switch.settings(&[("result_retention", "0")]);
    wait_for("the rows of jobs are forgotten", DEADLINE, || {
        (switch.redis(Db::State).keys("TELEGEN_*") == ["TELEGEN_DAEMON_TABLE|localhost"]).then_some(())
    });
}

#[test]
fn settings_of_f1b4f54_mean_what_they_meant() {
    let recorded = Recorded::read();
    let mut config = recorded.rows("CONFIG_DB");
    config.retain(|key, _| key.starts_with("TELEGEN|") || key.starts_with("TELEGEN_MIRROR_PORT|"));
    let Some(mut switch) = switch_with(&[(Db::Config, &config)]) else { return };
    switch.start_daemon();
    assert_eq!(switch.redis(Db::State).field("TELEGEN_DAEMON_TABLE|localhost", "settings_errors"), None);
    let row = switch.run_job("plain", "Ethernet0", &[("span_method", "erspan")]);
    assert_eq!((row["duration"].as_str(), row["sample_rate"].as_str()), ("300", "10"));
    let session = switch.redis(Db::Config).row("MIRROR_SESSION|telegen_plain");
    let said = ["gre_type", "dscp", "ttl"].map(|field| session[field].as_str());
    assert_eq!(said, ["0x22eb", "10", "64"]);
    switch.run_job("second", "Ethernet4", &[]);
    switch.start_job("waits", "Ethernet8", &[]);
    switch.await_status("waits", "queued");
    switch.send("Ethernet0", Profile::Mixed, 300, 1);
    switch.stop_job("plain");
    assert_eq!(switch.redis(Db::State).keys("TELEGEN_FLOW_TABLE|plain|*").len(), 3);
    for id in ["waits", "second"] {
        switch.await_status(id, "running");
        switch.stop_job(id);
    }
    switch.assert_clean();
}

#[test]
fn after_a_cold_reboot_jobs_that_f1b4f54_had_and_somebody_saved_are_run_or_refused_by_name() {
    let recorded = Recorded::read();
    let mut config = recorded.rows("CONFIG_DB");
    let long = config[&format!("TELEGEN_JOB|{LONG_ID_QUEUED}")].clone();
    config.insert(format!("TELEGEN_JOB|{LONG_ID}"), long);
    let Some(mut switch) = switch_with(&[(Db::Config, &config)]) else { return };
    switch.await_session("telegen_thin", Some("active"));
    switch.start_daemon();
    for id in [LONG_ID, LONG_ID_QUEUED] {
        switch.assert_ended(id, "rejected", "invalid_field", DEADLINE);
    }
    // f1b4f54 made one session for all ports of a sampled job; now each port and direction needs its own.
    let row = switch.assert_ended("thin", "rejected", "mirror_unsupported", DEADLINE);
    assert!(row["message"].contains("max_sessions in TELEGEN|global is 2"), "{row:?}");
    switch.await_status("waits", "running");
    switch.stop_job("waits");
    switch.assert_clean_within(RESYNC);
}

#[test]
fn the_same_traffic_gives_the_numbers_that_it_gave_f1b4f54() {
    let recorded = Recorded::read();
    let Some(switch) = Switch::start() else { return };
    switch.settings(&[("state_flows", "3"), ("topk_flows", "4096")]);
    for (profile, said) in recorded.0["traffic"].as_object().unwrap() {
        let id = format!("counts-{profile}");
        let fields = rows_of(&serde_json::json!({ "job": said["job"] }), str::to_owned).remove("job").unwrap();
        let mut job: Vec<(&str, &str)> = vec![("sample_rate", "1")];
        job.extend(fields.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        switch.run_job(&id, "Ethernet0", &job);
        switch.send("Ethernet0", profile_named(profile), said["frames"].as_u64().unwrap(), 1);
        switch.stop_job(&id);
        for (key, before) in rows_of(&said["rows"], str::to_owned) {
            let mut now = switch.redis(Db::State).row(&key);
            // What was not said then may be said now; what was said means the same.
            now.retain(|name, _| before.contains_key(name));
            assert_eq!(lasting(&key, now), lasting(&key, before), "{key}");
        }
    }
    switch.assert_clean();
}

/// The fields that do not depend on when the packets came.
fn lasting(key: &str, mut row: Row) -> Row {
    row.retain(|name, _| !OF_THE_MOMENT.contains(&name.as_str()));
    if key.ends_with("|interarrival") {
        row.retain(|name, _| ["bounds@", "unit", "sample_rate"].contains(&name.as_str()));
    }
    row
}

fn profile_named(name: &str) -> Profile {
    let all: BTreeMap<String, Profile> = Profile::ALL.iter().map(|profile| (profile.to_string(), *profile)).collect();
    all[name]
}

#[test]
fn the_record_has_a_job_at_every_point_of_its_life() {
    let state = Recorded::read().rows("STATE_DB");
    let of = |key: &str| key.starts_with("TELEGEN_JOB_TABLE|");
    let statuses: Vec<&str> = state.iter().filter(|(key, _)| of(key)).map(|(_, row)| row["status"].as_str()).collect();
    for status in ["running", "queued", "done", "stopped", "rejected"] {
        assert!(statuses.contains(&status), "{status}: {statuses:?}");
    }
    assert!(statuses.iter().any(|status| !FINAL.contains(status)));
}
