//! Databases that are flushed, Redis that dies or hangs: jobs end in time, and nothing is left.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telegen_sonic::lab::profiles::Profile;

use crate::fixture::{DEADLINE, RESYNC, Switch, wait_for};
use crate::redis_db::{Db, Redis};

/// Our own rows are written again within this time (contract).
const REWRITTEN: Duration = Duration::from_secs(2);

#[test]
fn a_flush_of_config_db_and_appl_db_stops_their_jobs_within_35_s() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("config-job", "Ethernet0", &[("sample_rate", "1")]);
    let mut appl = switch.redis(Db::Appl);
    appl.set("_TELEGEN_JOB_TABLE:appl-job", &[("port", "Ethernet8")]);
    appl.command(&["SADD", "TELEGEN_JOB_TABLE_KEY_SET", "appl-job"]);
    appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
    switch.await_status("appl-job", "running");
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let flushed = Instant::now();
    appl.command(&["FLUSHDB"]);
    switch.redis(Db::Config).command(&["FLUSHDB"]);
    for id in ["config-job", "appl-job"] {
        switch.assert_ended(id, "stopped", "", RESYNC.saturating_sub(flushed.elapsed()));
    }
    assert_eq!(switch.results("config-job")["packets_total"], sent.packets.to_string());
    // orchagent got no event for its sessions' rows; they are gone from it all the same.
    switch.assert_clean();
}

#[test]
fn a_flush_of_state_db_brings_our_rows_back_and_loses_the_session() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("over", "Ethernet8", &[("sample_rate", "1")]);
    let over = switch.stop_job("over");
    let before = switch.run_job("flushed", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let mut state = switch.redis(Db::State);
    state.command(&["FLUSHDB"]);
    wait_for("our rows are back", REWRITTEN, || {
        let rows = ["TELEGEN_DAEMON_TABLE|localhost", "TELEGEN_JOB_TABLE|flushed", "TELEGEN_JOB_TABLE|over"];
        rows.iter().all(|key| state.exists(key)).then_some(())
    });
    assert_eq!(switch.status("over"), over);
    // A flush makes no events: the session is missed by the next listing.
    let row = switch.assert_ended("flushed", "failed", "mirror_lost", RESYNC);
    assert_eq!(row["started_at"], before["started_at"]);
    assert!(row["message"].contains("telegen_flushed disappeared from STATE_DB"), "{row:?}");
    assert_eq!(switch.results("flushed")["packets_total"], sent.packets.to_string());
    switch.assert_clean_within(RESYNC);
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn a_redis_that_dies_and_comes_back_empty_ends_the_job_and_leaves_nothing() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("cut", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let pid = switch.redis(Db::Config).server_pid();
    signal(pid, Signal::SIGKILL);
    // The lab starts it again, as the database container's supervisor does.
    wait_for("another Redis answers", DEADLINE, || {
        let mut config = Redis::open(&switch.lab.redis_socket(), Db::Config).ok()?;
        config.exists("CONFIG_DB_INITIALIZED").then_some(())
    });
    let row = switch.await_final("cut", RESYNC);
    // The row is gone, and so is the session: whichever is noticed first is the reason.
    let said = (row["status"].as_str(), row.get("reason").map(String::as_str));
    assert!([("stopped", None), ("failed", Some("mirror_lost"))].contains(&said), "{row:?}");
    assert_eq!(switch.results("cut")["packets_total"], sent.packets.to_string());
    switch.assert_clean_within(RESYNC);
    switch.run_job("next", "Ethernet0", &[]);
    switch.stop_job("next");
    switch.assert_clean();
}

#[test]
fn a_redis_that_dies_and_keeps_its_data_keeps_the_job() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("kept", "Ethernet0", &[("sample_rate", "1")]);
    let before = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    // What is saved says `active`, too: a mark that only a fresh orchagent overwrites tells its word from the old one.
    switch.redis(Db::State).set("MIRROR_SESSION_TABLE|telegen_kept", &[("vlan_id", "999")]);
    let mut config = switch.redis(Db::Config);
    config.command(&["SAVE"]);
    let pid = config.server_pid();
    signal(pid, Signal::SIGKILL);
    wait_for("the same rows again", DEADLINE, || {
        let mut config = Redis::open(&switch.lab.redis_socket(), Db::Config).ok()?;
        config.exists("TELEGEN_JOB|kept").then_some(())
    });
    // orchagent starts afresh with its Redis, and binds the session anew.
    wait_for("the ASIC copies again", DEADLINE, || (!switch.bindings().is_empty()).then_some(()));
    wait_for("the session is active", DEADLINE, || {
        let row = switch.redis(Db::State).row("MIRROR_SESSION_TABLE|telegen_kept");
        let says = |field: &str, word: &str| row.get(field).is_some_and(|value| value == word);
        (says("status", "active") && says("vlan_id", "0")).then_some(())
    });
    let after = switch.send("Ethernet0", Profile::Mixed, 500, 2);
    let total = (before.packets + after.packets).to_string();
    wait_for("both are counted", DEADLINE, || {
        (switch.results("kept").get("packets_total") == Some(&total)).then_some(())
    });
    let row = switch.stop_job("kept");
    assert!(!row.contains_key("reason"), "{row:?}");
    switch.assert_clean();
}

#[test]
fn a_tap_ends_on_time_while_redis_hangs_and_the_session_goes_when_it_is_back() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("hung", "Ethernet0", &[("duration", "2"), ("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let pid = switch.redis(Db::Config).server_pid();
    signal(pid, Signal::SIGSTOP);
    // The job's two seconds, and five for a removal of the session that nobody can confirm.
    wait_for("the tap is gone", Duration::from_secs(12), || switch.daemon().bpf_objects().is_empty().then_some(()));
    assert!(!switch.bindings().is_empty(), "nobody could have removed the session");
    signal(pid, Signal::SIGCONT);
    let row = switch.assert_ended("hung", "done", "", RESYNC);
    assert_eq!(row.get("warning").map(String::as_str), Some("session_unconfirmed"), "{row:?}");
    assert_eq!(switch.results("hung")["packets_total"], sent.packets.to_string());
    switch.assert_clean_within(RESYNC);
}
