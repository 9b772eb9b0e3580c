//! SIGKILL of the daemon at any moment of a job: after a restart nothing is left, and every accepted job has an outcome.

use std::thread;
use std::time::Duration;

use telegen_sonic::lab::profiles::Profile;

use crate::fixture::{DEADLINE, FINAL, Options, RESYNC, Switch, wait_for};
use crate::redis_db::{Db, Row};

/// When the daemon is killed. Milliseconds are no waiting for something: they choose the moment.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AfterStart(u64),
    WhileRunning(u64),
    AfterStop(u64),
}

use Moment::{AfterStart, AfterStop, WhileRunning};

/// A job starts within 20 to 40 ms, and ends within as many.
const MOMENTS: [Moment; 27] = [
    AfterStart(0),
    AfterStart(1),
    AfterStart(2),
    AfterStart(3),
    AfterStart(5),
    AfterStart(8),
    AfterStart(12),
    AfterStart(16),
    AfterStart(20),
    AfterStart(25),
    AfterStart(30),
    AfterStart(40),
    AfterStart(60),
    WhileRunning(0),
    WhileRunning(10),
    AfterStop(0),
    AfterStop(1),
    AfterStop(2),
    AfterStop(3),
    AfterStop(5),
    AfterStop(8),
    AfterStop(12),
    AfterStop(16),
    AfterStop(20),
    AfterStop(25),
    AfterStop(40),
    AfterStop(80),
];

/// One job, killed at the moment; returns what STATE_DB said of it then.
fn kill_at(switch: &mut Switch, id: &str, moment: Moment) -> Row {
    let delay = match moment {
        AfterStart(delay) => {
            switch.start_job(id, "Ethernet0", &[]);
            delay
        }
        WhileRunning(delay) => {
            switch.run_job(id, "Ethernet0", &[]);
            delay
        }
        AfterStop(delay) => {
            switch.run_job(id, "Ethernet0", &[]);
            switch.redis(Db::Config).delete(&format!("TELEGEN_JOB|{id}"));
            delay
        }
    };
    thread::sleep(Duration::from_millis(delay));
    let held = switch.kill9();
    let (programs, maps) = (held.programs.len(), held.maps.len());
    // Otherwise nothing would be looked for afterwards. Maps: counters, flows and constants.
    assert!(!matches!(moment, WhileRunning(_)) || (programs, maps) == (1, 3), "{moment:?}: {held:?}");
    switch.status(id)
}

/// What the restarted daemon must make of a job that was last said to be `said`.
fn assert_outcome(switch: &Switch, id: &str, moment: Moment, said: &Row) {
    let field = |row: &Row, name: &str| row.get(name).cloned().unwrap_or_default();
    match said.get("status").map(String::as_str) {
        Some("starting" | "running" | "stopping") => {
            let row = switch.await_final(id, DEADLINE);
            let outcome = (field(&row, "status"), field(&row, "reason"));
            assert_eq!(outcome, ("failed".to_owned(), "daemon_restarted".to_owned()), "{moment:?}: {said:?}, {row:?}");
            assert_eq!(field(&row, "port"), "Ethernet0", "{moment:?}: {row:?}");
        }
        Some(status) => {
            assert!(FINAL.contains(&status), "{moment:?}: {said:?}");
            assert_eq!(&switch.status(id), said, "{moment:?}: what is final stays as it is");
        }
        // Nobody had accepted it, and its row says until when it is wanted: it runs now.
        None => {
            assert!(matches!(moment, AfterStart(_)), "{moment:?}");
            let row = wait_for("the row is taken up", DEADLINE, || {
                let row = switch.status(id);
                let status = field(&row, "status");
                (status == "running" || FINAL.contains(&status.as_str())).then_some(row)
            });
            assert_eq!(field(&row, "status"), "running", "{moment:?}: {row:?}");
            switch.stop_job(id);
        }
    }
}

fn survive_all(switch: &mut Switch, rounds: usize) {
    let mut accepted = 0;
    for round in 0..rounds {
        for (index, moment) in MOMENTS.into_iter().enumerate() {
            let id = format!("killed-{round}-{index}");
            let said = kill_at(switch, &id, moment);
            accepted += usize::from(!said.is_empty());
            switch.start_daemon();
            assert_outcome(switch, &id, moment, &said);
            switch.assert_clean_within(RESYNC);
        }
    }
    let kills = rounds * MOMENTS.len();
    println!("{kills} kills, {accepted} of them after the job was accepted");
    assert!(accepted > kills / 2, "{accepted} of {kills}: the moments miss the life of a job");
    switch.run_job("last", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    switch.stop_job("last");
    assert_eq!(switch.results("last")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn a_daemon_may_be_killed_at_any_moment_of_a_job() {
    let Some(mut switch) = Switch::start() else { return };
    survive_all(&mut switch, 2);
}

#[test]
fn a_daemon_with_clsact_filters_may_be_killed_at_any_moment_of_a_job() {
    let options = Options { arguments: &["--attach", "clsact"], ..Options::default() };
    let Some(mut switch) = Switch::with(&options) else { return };
    survive_all(&mut switch, 1);
}

#[test]
fn a_job_that_waited_when_the_daemon_was_killed_is_admitted_anew() {
    let Some(mut switch) = Switch::with(&Options { settings: &[("max_queue", "2")], ..Options::default() }) else {
        return;
    };
    for (id, port) in [("first", "Ethernet0"), ("second", "Ethernet8")] {
        switch.run_job(id, port, &[]);
    }
    switch.start_job("waits", "Ethernet16", &[]);
    let before = switch.await_status("waits", "queued");
    switch.start_job("withdrawn", "Ethernet4", &[]);
    switch.await_status("withdrawn", "queued");
    switch.kill9();
    switch.redis(Db::Config).delete("TELEGEN_JOB|withdrawn");
    switch.start_daemon();
    for id in ["first", "second"] {
        switch.assert_ended(id, "failed", "daemon_restarted", DEADLINE);
    }
    let row = switch.await_status("waits", "running");
    assert!(row["created_at"] >= before["created_at"], "{row:?}");
    switch.assert_ended("withdrawn", "stopped", "", DEADLINE);
    switch.stop_job("waits");
    switch.assert_clean();
}

#[test]
fn a_daemon_killed_while_orchagent_is_dead_leaves_nothing_once_both_are_back() {
    use telegen_sonic::lab::control::FaultName;
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("twice-unlucky", "Ethernet0", &[]);
    switch.lab.fault(FaultName::Dead, None).unwrap();
    switch.asic_db.suspend("a dead orchagent removes nothing");
    switch.kill9();
    switch.start_daemon();
    switch.assert_ended("twice-unlucky", "failed", "daemon_restarted", DEADLINE);
    assert!(!switch.bindings().is_empty(), "nobody could have removed the session");
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.asic_db.resume();
    switch.assert_clean_within(RESYNC);
}
