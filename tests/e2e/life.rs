//! The life of jobs: admission, queue, changes, ends, retention, and the daemon's own end.

use std::time::{Duration, Instant};

use telegen_sonic::lab::profiles::Profile;

use crate::daemon::{BINARY, Daemon};
use crate::fixture::{DEADLINE, Options, Switch, in_future, millis_between, wait_for};
use crate::redis_db::{Db, Redis, Row};

/// Two jobs that hold everything there is.
fn fill(switch: &Switch) {
    switch.run_job("a", "Ethernet0", &[]);
    switch.run_job("b", "Ethernet8", &[]);
}

#[track_caller]
fn assert_said(row: &Row, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(row.get(*field).map(String::as_str), Some(*value), "{field} of {row:?}");
    }
}

/// The check that everything else relies on: what a job has is seen.
#[test]
fn all_that_a_running_job_has_counts_as_left_over_until_it_is_over() {
    for (attach, held) in [("tcx", 1), ("clsact", 0)] {
        let arguments: &[&str] = if attach == "tcx" { &["--attach", "tcx"] } else { &["--attach", "clsact"] };
        let Some(switch) = Switch::with(&Options { arguments, ..Options::default() }) else { return };
        assert_eq!(switch.leftovers(), Vec::<String>::new());
        switch.run_job("here", "Ethernet0", &[("direction", "both")]);
        let left = switch.leftovers();
        let count = |part: &str| left.iter().filter(|line| line.contains(part)).count();
        for row in
            ["Config TELEGEN_JOB|here", "Config MIRROR_SESSION|telegen_here", "State MIRROR_SESSION_TABLE|telegen_here"]
        {
            assert_eq!(count(row), 1, "{row} in {left:#?}");
        }
        assert_eq!((count("Ethernet0 rx is copied to port 6"), count("Ethernet0 tx is copied to port 6")), (1, 1));
        assert_eq!(count("TCX program"), held, "{left:#?}");
        let by_clsact = 1 - held;
        assert_eq!((count("qdisc clsact"), count("note clsact-")), (by_clsact, by_clsact), "{left:#?}");
        assert_eq!(count("telegen_ingress"), by_clsact, "{left:#?}");
        assert_eq!(count("held by the daemon"), 1, "{left:#?}");
        switch.stop_job("here");
        switch.assert_clean();
    }
}

#[test]
fn a_third_job_is_refused_with_what_is_running() {
    let Some(switch) = Switch::start() else { return };
    fill(&switch);
    switch.start_job("c", "Ethernet16", &[]);
    let row = switch.assert_ended("c", "rejected", "concurrency_limit", DEADLINE);
    let message = "2 of 2 jobs are running (a, b) and max_queue is 0; try again when one ends, or stop one";
    assert_said(&row, &[("message", message), ("port", "Ethernet16")]);
    assert!(!row.contains_key("started_at") && row.contains_key("ended_at"), "{row:?}");
    wait_for("the refused row is deleted", DEADLINE, || {
        (!switch.redis(Db::Config).exists("TELEGEN_JOB|c")).then_some(())
    });
    switch.stop_job("a");
    switch.run_job("d", "Ethernet16", &[]);
    switch.stop_job("b");
    switch.stop_job("d");
    switch.assert_clean();
}

#[test]
fn jobs_that_wait_run_in_the_order_in_which_they_came() {
    let Some(switch) = Switch::with(&Options { settings: &[("max_queue", "2")], ..Options::default() }) else { return };
    fill(&switch);
    // By name, d would be first.
    for (id, port) in [("z", "Ethernet16"), ("d", "Ethernet4")] {
        switch.start_job(id, port, &[]);
        switch.await_status(id, "queued");
    }
    switch.start_job("e", "Ethernet12", &[]);
    let refused = switch.assert_ended("e", "rejected", "concurrency_limit", DEADLINE);
    let message = "2 of 2 jobs are running (a, b) and the queue holds 2 of 2; try again when one ends, or stop one";
    assert_said(&refused, &[("message", message)]);
    switch.stop_job("a");
    switch.await_status("z", "running");
    assert_said(&switch.status("d"), &[("status", "queued")]);
    switch.stop_job("b");
    switch.await_status("d", "running");
    switch.stop_job("z");
    switch.stop_job("d");
    switch.assert_clean();
}

#[test]
fn a_job_that_waits_too_long_is_refused_and_one_that_is_deleted_is_stopped() {
    let settings = &[("max_queue", "2"), ("queue_ttl", "1")];
    let Some(switch) = Switch::with(&Options { settings, ..Options::default() }) else { return };
    fill(&switch);
    switch.start_job("late", "Ethernet16", &[]);
    switch.start_job("gone", "Ethernet4", &[]);
    switch.await_status("gone", "queued");
    switch.stop_job("gone");
    let row = switch.assert_ended("late", "rejected", "queue_timeout", DEADLINE);
    assert_said(&row, &[("message", "no slot became free within queue_ttl, 1 s")]);
}

#[test]
fn a_job_ends_done_when_its_duration_is_over_and_its_row_goes() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("short", "Ethernet0", &[("duration", "1"), ("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Udp64, 100, 1);
    let row = switch.await_status("short", "done");
    let lived = millis_between(&row, "started_at", "ended_at");
    // The session's removal belongs to the job; a loaded machine takes its time.
    assert!((1000..4000).contains(&lived), "{lived} ms: {row:?}");
    assert_eq!(millis_between(&row, "started_at", "expires_at"), 1000);
    assert!(!row.contains_key("reason") && !row.contains_key("warning"), "{row:?}");
    assert_eq!(switch.results("short")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn the_duration_may_change_while_the_job_runs_and_nothing_else() {
    let Some(switch) = Switch::start() else { return };
    let begun = switch.run_job("elastic", "Ethernet0", &[("duration", "600")]);
    switch.redis(Db::Config).set("TELEGEN_JOB|elastic", &[("duration", "1200")]);
    let longer = wait_for("the job is longer", DEADLINE, || {
        let row = switch.status("elastic");
        (row["duration"] == "1200").then_some(row)
    });
    assert_eq!(millis_between(&longer, "started_at", "expires_at"), 1_200_000);
    assert_eq!((&longer["started_at"], &*longer["status"]), (&begun["started_at"], "running"));
    assert!(!longer.contains_key("warning"), "{longer:?}");

    switch.redis(Db::Config).set("TELEGEN_JOB|elastic", &[("direction", "both")]);
    let warned = wait_for("a warning", DEADLINE, || {
        let row = switch.status("elastic");
        row.contains_key("warning").then_some(row)
    });
    assert_said(&warned, &[("warning", "change_ignored"), ("direction", "ingress"), ("status", "running")]);

    // Shorter than it has run already: it ends at once.
    switch.redis(Db::Config).set("TELEGEN_JOB|elastic", &[("duration", "1")]);
    switch.await_status("elastic", "done");
    switch.assert_clean();
}

#[test]
fn a_job_never_runs_past_the_rows_expires_at() {
    let Some(switch) = Switch::start() else { return };
    switch.start_job("early", "Ethernet0", &[("expires_at", &in_future(2)), ("duration", "600")]);
    switch.await_status("early", "running");
    let row = switch.await_status("early", "done");
    let lived = millis_between(&row, "created_at", "expires_at");
    assert!((0..=2000).contains(&lived), "{row:?}");
    assert!((0..3000).contains(&millis_between(&row, "expires_at", "ended_at")), "{row:?}");

    switch.start_job("past", "Ethernet0", &[("expires_at", "2026-01-01T00:00:00Z")]);
    let row = switch.assert_ended("past", "expired", "", DEADLINE);
    assert_said(&row, &[("message", "the row's expires_at passed before the job could run")]);
    switch.assert_clean();
}

#[test]
fn what_is_past_retention_is_deleted() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("old", "Ethernet0", &[("sample_rate", "1")]);
    switch.send("Ethernet0", Profile::Mixed, 200, 1);
    switch.stop_job("old");
    let rows = |switch: &Switch| {
        let mut state = switch.redis(Db::State);
        let keys = ["JOB", "RESULT", "FLOW", "HISTOGRAM"].map(|table| format!("TELEGEN_{table}_TABLE|old*"));
        keys.iter().flat_map(|pattern| state.keys(pattern)).collect::<Vec<String>>()
    };
    // 20 flows, 2 histograms.
    assert_eq!(rows(&switch).len(), 24, "{:?}", rows(&switch));
    switch.settings(&[("result_retention", "1")]);
    wait_for("all rows of the job are gone", DEADLINE, || rows(&switch).is_empty().then_some(()));
}

#[test]
fn a_field_that_cannot_be_taken_is_named_with_what_would_be() {
    let Some(switch) = Switch::start() else { return };
    let cases = [
        ("duration", "0", "duration: \"0\" is not accepted; give an integer from 1 to 86400"),
        ("direction", "sideways", "direction: \"sideways\" is not accepted; give ingress, egress or both"),
        ("vlan", "4095", "vlan: \"4095\" is not accepted; give an integer from 1 to 4094"),
    ];
    for (field, value, message) in cases {
        let id = format!("bad-{field}");
        switch.start_job(&id, "Ethernet0", &[(field, value)]);
        let row = switch.assert_ended(&id, "rejected", "invalid_field", DEADLINE);
        assert_said(&row, &[("message", message), (field, value)]);
    }
    switch.start_job("unknown-field", "Ethernet0", &[("colour", "blue")]);
    let row = switch.assert_ended("unknown-field", "rejected", "invalid_field", DEADLINE);
    assert!(row["message"].starts_with("colour: "), "{row:?}");

    switch.redis(Db::Config).set("TELEGEN_JOB|portless", &[("expires_at", &in_future(60))]);
    let row = switch.assert_ended("portless", "rejected", "missing_field", DEADLINE);
    assert!(row["message"].starts_with("port: "), "{row:?}");

    switch.start_job("nowhere", "Ethernet3", &[]);
    let row = switch.assert_ended("nowhere", "rejected", "unknown_port", DEADLINE);
    let message = "port: \"Ethernet3\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB; this switch has Ethernet0, Ethernet4, Ethernet8, Ethernet12 and 4 more";
    assert_said(&row, &[("message", message)]);
    switch.assert_clean();
}

#[test]
fn disabling_ends_every_job_and_enabling_takes_new_ones() {
    let Some(switch) = Switch::start() else { return };
    fill(&switch);
    switch.settings(&[("admin_state", "disabled")]);
    for id in ["a", "b"] {
        switch.assert_ended(id, "stopped", "admin_disabled", DEADLINE);
    }
    switch.start_job("c", "Ethernet0", &[]);
    let row = switch.assert_ended("c", "rejected", "admin_disabled", DEADLINE);
    assert_said(&row, &[("message", "telegen is disabled; set admin_state to enabled in TELEGEN|global")]);
    switch.assert_clean();
    switch.redis(Db::Config).delete_field("TELEGEN|global", "admin_state");
    // The settings and the row are two keys: the daemon may see them in either order.
    wait_for("a job runs again", DEADLINE, || {
        switch.start_job("d", "Ethernet0", &[]);
        let row = wait_for("an answer", DEADLINE, || {
            let row = switch.status("d");
            row.get("status").is_some_and(|status| status == "running" || status == "rejected").then_some(row)
        });
        (row["status"] == "running").then_some(())
    });
    switch.stop_job("d");
    switch.assert_clean();
}

#[test]
fn sigterm_ends_every_job_within_five_seconds_and_leaves_nothing() {
    let Some(mut switch) = Switch::with(&Options { settings: &[("max_queue", "1")], ..Options::default() }) else {
        return;
    };
    fill(&switch);
    switch.start_job("waits", "Ethernet16", &[]);
    switch.await_status("waits", "queued");
    let (status, took) = switch.take_daemon().terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    for id in ["a", "b", "waits"] {
        let row = switch.status(id);
        assert_said(&row, &[("status", "stopped"), ("reason", "daemon_stopped")]);
    }
    assert_eq!(switch.leftovers(), Vec::<String>::new());
    assert!(!switch.redis(Db::State).exists("TELEGEN_DAEMON_TABLE|localhost"));
    println!("SIGTERM to the end with two jobs running: {} ms", took.as_millis());
}

#[test]
fn sigterm_with_a_dead_orchagent_ends_within_five_seconds_too() {
    use telegen_sonic::lab::control::FaultName;
    let Some(mut switch) = Switch::start() else { return };
    fill(&switch);
    switch.lab.fault(FaultName::Dead, None).unwrap();
    let (status, _) = switch.take_daemon().terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    for id in ["a", "b"] {
        let row = switch.status(id);
        assert_said(
            &row,
            &[("status", "stopped"), ("reason", "daemon_stopped"), ("warning", "session_unconfirmed,left_bound")],
        );
    }
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.assert_clean();
}

#[test]
fn a_second_daemon_is_refused_and_told_who_is_there() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("kept", "Ethernet0", &[]);
    let pid = switch.daemon().pid();
    let elsewhere = tempfile::tempdir().unwrap();
    let other_dir = ["--state-dir", elsewhere.path().to_str().unwrap()];
    // With the first one's state directory, with another one, and from another network namespace, as another container may have.
    let seconds: [(&[&str], &[&str], String); 3] = [
        (&[], &[], format!("another telegen-sonic daemon (pid {pid}) has ")),
        (&[], &other_dir, format!("(pid {pid} on ")),
        (&["unshare", "--net"], &other_dir, format!("(pid {pid} on ")),
    ];
    for (wrapper, arguments, expected) in seconds {
        let begin = Instant::now();
        let output = switch.run(&[wrapper, &[BINARY, "daemon"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(said.contains(&expected), "{said}");
        if !arguments.is_empty() {
            let told =
                ["another telegen-sonic daemon serves the switch of ", "state directory /var/run/telegen", ", since 2"];
            assert!(told.iter().all(|part| said.contains(part)), "{said}");
        }
    }
    assert_said(&switch.status("kept"), &[("status", "running")]);
    switch.stop_job("kept");
    switch.assert_clean();
}

/// As one that hung while its connections were closed.
#[test]
fn a_daemon_that_finds_another_one_in_its_place_leaves_it_what_is_there() {
    let Some(mut switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    config.set("FEATURE|telegen", &[("state", "enabled"), ("check_up_status", "true")]);
    switch.run_job("both", "Ethernet0", &[]);
    let first = switch.take_daemon();
    let first_log = first.log.clone();
    first.pause();
    config.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let log = elsewhere.path().join("daemon.log");
    let second = Daemon::spawn(&switch.lab, &["--state-dir", elsewhere.path().to_str().unwrap()], &log);
    let pid = second.pid().to_string();
    let mut state = switch.redis(Db::State);
    let is_said = |state: &mut Redis| state.field("TELEGEN_DAEMON_TABLE|localhost", "pid").as_ref() == Some(&pid);
    wait_for("the second daemon's row", DEADLINE, || is_said(&mut state).then_some(()));
    assert_said(&switch.await_final("both", DEADLINE), &[("reason", "daemon_restarted")]);
    // Of an id that the first one had, and of a new one.
    switch.start_job("both", "Ethernet4", &[]);
    switch.run_job("new", "Ethernet8", &[]);
    let runs = |state: &mut Redis| state.field("TELEGEN_JOB_TABLE|both", "status").as_deref() == Some("running");
    wait_for("the second daemon's job of that id runs", DEADLINE, || runs(&mut state).then_some(()));
    first.resume();
    let (ended, _) = first.ends(DEADLINE);
    assert_eq!(ended.code(), Some(3));
    // Before it learned that it is not alone, the first one may have given a sign of life; the second one's next is at most 5 s away.
    wait_for("the second daemon's row again", DEADLINE, || is_said(&mut state).then_some(()));
    let up = |state: &mut Redis| state.field("FEATURE|telegen", "up_status").as_deref() == Some("true");
    wait_for("the feature is up", DEADLINE, || up(&mut state).then_some(()));
    // It looks once a second.
    assert!(!second.log().contains("is gone from STATE_DB"), "{}", second.log());
    // What it ended at its start was the first one's.
    for (id, ends) in [("both", 1), ("new", 0)] {
        assert_said(&switch.status(id), &[("status", "running")]);
        assert!(!state.row(&format!("MIRROR_SESSION_TABLE|telegen_{id}")).is_empty());
        assert_eq!(second.log().matches(&format!("job {id} ended")).count(), ends, "{}", second.log());
    }
    let said = std::fs::read_to_string(&first_log).unwrap();
    assert!(!said.contains("deleting it"), "{said}");
    assert!(second.terminate(DEADLINE).0.success());
    assert!(state.row("TELEGEN_DAEMON_TABLE|localhost").is_empty());
    assert_eq!(state.field("FEATURE|telegen", "up_status").as_deref(), Some("false"));
}

#[test]
fn a_daemon_starts_at_once_where_another_one_was_killed_whatever_its_state_directory() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("orphan", "Ethernet0", &[]);
    for _ in 0..3 {
        switch.kill9();
        let begin = Instant::now();
        switch.start_daemon();
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
    switch.assert_ended("orphan", "failed", "daemon_restarted", DEADLINE);
    switch.assert_clean();
}

#[test]
fn a_row_from_before_the_daemon_runs_only_if_it_says_until_when() {
    let Some(mut switch) = Switch::start() else { return };
    let (status, _) = switch.take_daemon().terminate(Duration::from_secs(5));
    assert!(status.success(), "{status}");
    switch.start_job("timed", "Ethernet0", &[]);
    switch.redis(Db::Config).set("TELEGEN_JOB|saved", &[("port", "Ethernet8")]);
    switch.start_daemon();
    switch.await_status("timed", "running");
    let row = switch.assert_ended("saved", "expired", "", DEADLINE);
    assert!(row["message"].contains("run_saved_jobs"), "{row:?}");
    switch.stop_job("timed");
    switch.assert_clean();
}

#[test]
fn a_finished_jobs_id_may_be_used_again_and_its_old_results_are_gone() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("again", "Ethernet0", &[("sample_rate", "1")]);
    switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let first = switch.stop_job("again");
    switch.assert_clean();
    // A row that equals the last one within two seconds counts as its echo; this one differs.
    switch.start_job("again", "Ethernet0", &[("sample_rate", "1"), ("result_detail", "summary")]);
    wait_for("the second job runs", DEADLINE, || {
        let row = switch.status("again");
        (row.get("status").is_some_and(|status| status == "running") && row["created_at"] != first["created_at"])
            .then_some(())
    });
    assert_eq!(switch.redis(Db::State).keys("TELEGEN_FLOW_TABLE|again|*"), Vec::<String>::new());
    switch.stop_job("again");
    assert_eq!(switch.results("again")["packets_total"], "0");
    switch.assert_clean();
}
