//! An orchagent that misbehaves, somebody else's session, a netdev that goes: every trouble ends in a stated outcome.

use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};

use crate::bpf_link;
use crate::fixture::{DEADLINE, Options, RESYNC, Switch, millis_between, wait_for};
use crate::redis_db::{Db, Row};

/// How long orchagent has to make a session active, and to remove it (contract).
const ORCHAGENT_MS: i64 = 5000;
/// Somebody's session on Ethernet0, ingress.
const MINE: [(&str, &str); 4] =
    [("type", "SPAN"), ("src_port", "Ethernet0"), ("dst_port", "Ethernet20"), ("direction", "RX")];

#[track_caller]
fn assert_message(row: &Row, parts: &[&str]) {
    for part in parts {
        assert!(row["message"].contains(part), "{part} is not in the message of {row:?}");
    }
}

/// The switch does as it should again.
#[track_caller]
fn assert_next_job_works(switch: &Switch) {
    switch.run_job("next", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 300, 9);
    switch.stop_job("next");
    assert_eq!(switch.results("next")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn a_session_that_orchagent_refuses_ends_in_mirror_rejected() {
    let Some(switch) = Switch::start() else { return };
    switch.lab.fault(FaultName::Reject, None).unwrap();
    switch.start_job("refused", "Ethernet0", &[]);
    switch.await_status("refused", "starting");
    let row = switch.assert_ended("refused", "failed", "mirror_rejected", DEADLINE);
    assert_message(&row, &["telegen_refused", "orchagent"]);
    let waited = millis_between(&row, "created_at", "ended_at");
    assert!((ORCHAGENT_MS..ORCHAGENT_MS + 3000).contains(&waited), "{waited} ms: {row:?}");
    assert!(!row.contains_key("started_at"), "{row:?}");
    switch.assert_clean();
    switch.lab.fault(FaultName::Clear, None).unwrap();
    assert_next_job_works(&switch);
}

#[test]
fn a_session_that_stays_inactive_ends_in_mirror_inactive() {
    let Some(switch) = Switch::start() else { return };
    switch.lab.fault(FaultName::Inactive, None).unwrap();
    switch.start_job("idle", "Ethernet0", &[]);
    let row = switch.assert_ended("idle", "failed", "mirror_inactive", DEADLINE);
    assert_message(&row, &["telegen_idle", "inactive"]);
    switch.assert_clean();
    switch.lab.fault(FaultName::Clear, None).unwrap();
    assert_next_job_works(&switch);
}

#[test]
fn a_session_that_goes_inactive_ends_the_job_in_mirror_lost_with_its_numbers() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("lost", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    switch.lab.fault(FaultName::Lose, Some("telegen_lost")).unwrap();
    switch.send("Ethernet0", Profile::Mixed, 500, 2);
    let row = switch.assert_ended("lost", "failed", "mirror_lost", DEADLINE);
    assert_message(&row, &["telegen_lost", "inactive"]);
    assert_eq!(switch.results("lost")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
    assert_next_job_works(&switch);
}

#[test]
fn a_slow_orchagent_only_takes_longer() {
    let Some(switch) = Switch::start() else { return };
    switch.lab.fault(FaultName::Slow(700), None).unwrap();
    let row = switch.run_job("slow", "Ethernet0", &[("sample_rate", "1")]);
    assert!(millis_between(&row, "created_at", "started_at") >= 700, "{row:?}");
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let row = switch.stop_job("slow");
    assert!(!row.contains_key("warning"), "{row:?}");
    assert_eq!(switch.results("slow")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn a_dead_orchagent_is_said_at_the_start_and_at_the_end_of_a_job() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("live", "Ethernet0", &[("sample_rate", "1")]);
    switch.lab.fault(FaultName::Dead, None).unwrap();
    switch.asic_db.suspend("a dead orchagent removes nothing");
    switch.start_job("never", "Ethernet8", &[]);
    switch.redis(Db::Config).delete("TELEGEN_JOB|live");
    let live = switch.assert_ended("live", "stopped", "", DEADLINE);
    let warned = live.get("warning").map(String::as_str);
    assert_eq!(warned, Some("session_unconfirmed,left_bound"), "ASIC_DB shows that the port is still copied: {live:?}");
    let never = switch.assert_ended("never", "failed", "mirror_rejected", DEADLINE);
    assert_message(&never, &["not running"]);
    // Its word on the first session stands until it lives again.
    assert!(switch.redis(Db::State).exists("MIRROR_SESSION_TABLE|telegen_live"));
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.asic_db.resume();
    switch.assert_clean_within(RESYNC);
    assert_next_job_works(&switch);
}

#[test]
fn a_foreign_session_over_ours_ends_the_job_and_goes_on_working_because_ours_stays_under_it() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("ours", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    config.set("MIRROR_SESSION|mine", &MINE);
    switch.asic_db.excuse_kept("telegen_ours");
    let row = switch.assert_ended("ours", "failed", "mirror_conflict", DEADLINE);
    assert_message(&row, &["mirror session mine", "Ethernet0", "telegen_ours stays until mine is removed"]);
    let theirs: Row = MINE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(config.row("MIRROR_SESSION|mine"), theirs);
    let to_theirs = ["Ethernet0 rx is copied to port 5"];
    assert_eq!(switch.bindings(), to_theirs);
    assert!(switch.daemon().bpf_objects().is_empty(), "the job is over");

    let mut state = switch.redis(Db::State);
    wait_for("the daemon says what it keeps", DEADLINE, || {
        let held = state.field("TELEGEN_DAEMON_TABLE|localhost", "sessions_held").unwrap_or_default();
        held.starts_with("telegen_ours stays until mine is removed").then_some(())
    });

    // And one that was there before is not started over.
    switch.start_job("late", "Ethernet0", &[]);
    let row = switch.assert_ended("late", "rejected", "mirror_conflict", DEADLINE);
    assert_message(&row, &["Ethernet0", "mirror session mine"]);
    assert_eq!(config.row("MIRROR_SESSION|mine"), theirs);

    // The next daemon keeps it, too.
    switch.kill9();
    switch.start_daemon();
    switch.run_job("elsewhere", "Ethernet8", &[]);
    switch.stop_job("elsewhere");
    assert_eq!(switch.bindings(), to_theirs);
    switch.asic_db.forget("mine");
    config.delete("MIRROR_SESSION|mine");
    switch.assert_clean();
}

#[test]
fn a_foreign_session_that_comes_in_the_moment_of_our_jobs_end_keeps_its_port() {
    let Some(switch) = Switch::start() else { return };
    switch.asic_db.excuse_kept("telegen_ours");
    switch.run_job("ours", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    let mut write = vec!["HSET", "MIRROR_SESSION|mine"];
    write.extend(MINE.iter().flat_map(|(field, value)| [*field, *value]));
    config.together(&[&write, &["DEL", "TELEGEN_JOB|ours"]]);
    let row = switch.await_final("ours", DEADLINE);
    assert_message(&row, &["telegen_ours stays until mine is removed", "ASIC_DB shows Ethernet0 bound to mine"]);
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5"]);
    config.delete("MIRROR_SESSION|mine");
    switch.assert_clean();
}

#[test]
fn a_session_of_ours_that_has_no_port_is_not_kept_under_a_foreign_one() {
    let Some(switch) = Switch::start() else { return };
    switch.lab.fault(FaultName::Unresolved, None).unwrap();
    switch.start_job("waits", "Ethernet0", &[("span_method", "erspan")]);
    switch.await_session("telegen_waits", Some("inactive"));
    switch.redis(Db::Config).set("MIRROR_SESSION|mine", &MINE);
    switch.assert_ended("waits", "failed", "mirror_conflict", DEADLINE);
    switch.await_session("telegen_waits", None);
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5"]);
}

#[test]
fn a_sampled_foreign_session_and_a_plain_one_of_ours_leave_each_other_alone() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("ours", "Ethernet0", &[]);
    let theirs = [&MINE[..], &[("sample_rate", "50")]].concat();
    switch.redis(Db::Config).set("MIRROR_SESSION|mine", &theirs);
    switch.await_session("mine", Some("active"));
    let both = ["Ethernet0 rx is copied to port 6", "Ethernet0 sampled rx is copied to port 5"];
    assert_eq!(switch.bindings(), both);
    let sent = switch.send("Ethernet0", Profile::Mixed, 1_000, 7);
    wait_for("the copies are counted", DEADLINE, || {
        (switch.results("ours").get("packets_total") == Some(&sent.packets.to_string())).then_some(())
    });
    switch.stop_job("ours");
    assert_eq!(switch.bindings(), both[1..]);
    switch.redis(Db::Config).delete("MIRROR_SESSION|mine");
    switch.assert_clean();
}

#[test]
fn ours_stays_as_long_as_nobody_can_say_whose_the_port_is() {
    let Some(switch) = Switch::start() else { return };
    switch.asic_db.suspend("ours stays under theirs");
    switch.run_job("ours", "Ethernet0", &[]);
    let (mut config, mut counters) = (switch.redis(Db::Config), switch.redis(Db::Counters));
    let names = counters.row("COUNTERS_PORT_NAME_MAP");
    counters.delete("COUNTERS_PORT_NAME_MAP");
    config.set("MIRROR_SESSION|mine", &MINE);
    let row = switch.await_final("ours", DEADLINE);
    assert_eq!(row.get("reason").map(String::as_str), Some("mirror_conflict"), "{row:?}");
    assert_message(
        &row,
        &["the daemon did not delete mirror session telegen_ours: COUNTERS_DB names no object of Ethernet0"],
    );
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5"], "theirs");
    let names: Vec<(&str, &str)> = names.iter().map(|(port, oid)| (port.as_str(), oid.as_str())).collect();
    counters.set("COUNTERS_PORT_NAME_MAP", &names);
    wait_for("ours is kept for their sake", Duration::from_secs(70), || {
        switch.daemon().log().contains("stays until mine is removed").then_some(())
    });
    config.delete("MIRROR_SESSION|mine");
    switch.assert_clean_within(Duration::from_secs(70));
    switch.asic_db.resume();
}

#[test]
fn a_foreign_session_that_orchagent_has_yet_to_take_up_keeps_the_port_that_it_will_get() {
    let Some(switch) = Switch::start() else { return };
    switch.asic_db.suspend("ours stays under theirs");
    switch.run_job("ours", "Ethernet0", &[]);
    switch.lab.fault(FaultName::Dead, None).unwrap();
    let mut config = switch.redis(Db::Config);
    config.set("MIRROR_SESSION|mine", &MINE);
    let row = switch.await_final("ours", DEADLINE);
    assert_message(
        &row,
        &["the daemon did not delete mirror session telegen_ours: orchagent has said nothing of mine yet"],
    );
    let held = || switch.redis(Db::State).row("TELEGEN_DAEMON_TABLE|localhost").get("sessions_held").cloned();
    wait_for("why it is not deleted is in sessions_held", Duration::from_secs(10), || {
        held()?.contains("telegen_ours is not deleted yet: orchagent has said nothing of mine yet").then_some(())
    });
    switch.lab.fault(FaultName::Clear, None).unwrap();
    wait_for("theirs has the port", DEADLINE, || {
        (switch.bindings() == ["Ethernet0 rx is copied to port 5"]).then_some(())
    });
    wait_for("ours is kept for their sake", Duration::from_secs(70), || {
        switch.daemon().log().contains("stays until mine is removed").then_some(())
    });
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5"], "theirs");
    config.delete("MIRROR_SESSION|mine");
    switch.assert_clean_within(Duration::from_secs(70));
    switch.asic_db.resume();
}

#[test]
fn a_foreign_session_without_a_port_keeps_no_session_of_ours() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("ours", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    // An address that no route leads to: inactive.
    let theirs = [
        ("type", "ERSPAN"),
        ("src_ip", "10.9.9.9"),
        ("dst_ip", "10.9.9.1"),
        ("src_port", "Ethernet0"),
        ("direction", "RX"),
    ];
    config.set("MIRROR_SESSION|mine", &theirs);
    let row = switch.assert_ended("ours", "failed", "mirror_conflict", DEADLINE);
    assert_message(&row, &["telegen_ours was deleted", "ASIC_DB showed Ethernet0 not bound to mine"]);
    switch.assert_clean();
}

#[test]
fn a_kept_session_that_has_the_port_after_a_restart_of_swss_is_deleted_and_its_owner_is_told() {
    let Some(mut switch) = Switch::start() else { return };
    switch.asic_db.suspend("a restart of swss activates both sessions anew");
    switch.run_job("ours", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    config.set("MIRROR_SESSION|mine", &MINE);
    switch.assert_ended("ours", "failed", "mirror_conflict", DEADLINE);
    switch.kill9();
    switch.lab.fault(FaultName::Restart, None).unwrap();
    // Rows are read in the order of their names, so ours comes last and has the port.
    wait_for("ours has the port", DEADLINE, || {
        (switch.bindings() == ["Ethernet0 rx is copied to port 6"]).then_some(())
    });
    switch.start_daemon();
    switch.await_session("telegen_ours", None);
    let told = "telegen_ours was deleted, and ASIC_DB showed Ethernet0 not bound to mine";
    wait_for("its owner is told", DEADLINE, || switch.daemon().log().contains(told).then_some(()));
    config.delete("MIRROR_SESSION|mine");
    switch.await_session("mine", None);
    config.set("MIRROR_SESSION|mine", &MINE);
    wait_for("theirs works again", DEADLINE, || {
        (switch.bindings() == ["Ethernet0 rx is copied to port 5"]).then_some(())
    });
    switch.asic_db.resume();
}

#[test]
fn deleting_ours_under_a_foreign_session_is_what_unbinds_theirs() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("ours", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    config.set("MIRROR_SESSION|mine", &MINE);
    switch.asic_db.excuse_kept("telegen_ours");
    switch.assert_ended("ours", "failed", "mirror_conflict", DEADLINE);
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5"]);
    config.delete("MIRROR_SESSION|telegen_ours");
    switch.await_session("telegen_ours", None);
    assert_eq!(switch.bindings(), Vec::<String>::new(), "this is why it is kept");
    assert_eq!(switch.redis(Db::State).field("MIRROR_SESSION_TABLE|mine", "status").as_deref(), Some("active"));
    // As the job's message says: its owner removes it and adds it again.
    config.delete("MIRROR_SESSION|mine");
    switch.await_session("mine", None);
    config.set("MIRROR_SESSION|mine", &MINE);
    wait_for("theirs works again", DEADLINE, || {
        (switch.bindings() == ["Ethernet0 rx is copied to port 5"]).then_some(())
    });
}

#[test]
fn a_tapped_netdev_that_goes_ends_the_job_in_tap_missing_with_its_numbers() {
    let Some(switch) = Switch::start() else { return };
    let row = switch.run_job("tapped", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    switch.run_ok(&["ip", "link", "del", &row["tap"]]);
    let row = switch.assert_ended("tapped", "failed", "tap_missing", DEADLINE);
    assert_message(&row, &["Ethernet24"]);
    assert_eq!(switch.results("tapped")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
    // Of the pool's two netdevs one is left, and the next job gets it; after that, one is told of both. The status says so without a job.
    let row = switch.run_job("next", "Ethernet0", &[]);
    assert_eq!(row["tap"], "Ethernet28");
    switch.start_job("late", "Ethernet8", &[]);
    let row = switch.assert_ended("late", "rejected", "no_mirror_port", DEADLINE);
    let fault = "Ethernet24 has the netdev Ethernet24, which is not on this host";
    assert_message(&row, &[fault, "Ethernet28 is in mirror session telegen_next"]);
    let daemon = |switch: &Switch| switch.redis(Db::State).row("TELEGEN_DAEMON_TABLE|localhost");
    wait_for("the status says what is wrong with the pool", RESYNC, || {
        daemon(&switch)["span_why"].contains(fault).then_some(())
    });
    switch.stop_job("next");
    switch.run_ok(&["ip", "link", "del", "Ethernet28"]);
    switch.start_job("blind", "Ethernet0", &[]);
    let row = switch.assert_ended("blind", "rejected", "tap_missing", DEADLINE);
    assert_message(&row, &[fault, "Ethernet28 has the netdev Ethernet28, which is not on this host"]);
}

/// What somebody does to the tap of a running job ends it with the numbers from before, and it is said what was seen.
fn assert_loss_is_noticed(arguments: &'static [&'static str], harm: impl FnOnce(&Switch, &str), message: &str) {
    // Read seldom: whether the tap is still there does not wait for that.
    let settings = &[("result_interval", "60"), ("flow_interval", "60")];
    let Some(switch) = Switch::with(&Options { arguments, settings, ..Options::default() }) else { return };
    let row = switch.run_job("tapped", "Ethernet0", &[("sample_rate", "1")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    let harmed = Instant::now();
    harm(&switch, &row["tap"]);
    let row = switch.assert_ended("tapped", "failed", "tap_missing", DEADLINE);
    assert!(harmed.elapsed() < Duration::from_secs(5), "noticed after {:?}", harmed.elapsed());
    assert_eq!(row["message"], format!("{message} while the job ran; the counts stop there"));
    assert_eq!(switch.results("tapped")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
    assert_next_job_works(&switch);
}

#[test]
fn a_tc_filter_that_somebody_removes_ends_the_job_and_is_named() {
    let harm = |switch: &Switch, tap: &str| {
        switch.run_ok(&["tc", "filter", "del", "dev", tap, "ingress"]);
    };
    let message = "the tc filter of this job on Ethernet24 (ingress) was removed";
    assert_loss_is_noticed(&["--attach", "clsact"], harm, message);
}

#[test]
fn a_qdisc_that_somebody_removes_ends_the_job_and_is_named() {
    let harm = |switch: &Switch, tap: &str| {
        switch.run_ok(&["tc", "qdisc", "del", "dev", tap, "clsact"]);
    };
    let message = "the clsact qdisc of Ethernet24, with the filter of this job, was removed";
    assert_loss_is_noticed(&["--attach", "clsact"], harm, message);
}

#[test]
fn a_tcx_link_that_somebody_detaches_ends_the_job_and_is_named() {
    let harm = |switch: &Switch, _: &str| {
        let links = switch.daemon().bpf_objects().links;
        assert_eq!(links.len(), 1);
        links.into_iter().for_each(bpf_link::detach);
    };
    let message = "the TCX link of this job on Ethernet24 (ingress) was detached";
    assert_loss_is_noticed(&["--attach", "tcx"], harm, message);
}

/// How many descriptors the daemon may have from now on; those that it has it keeps.
fn limit_descriptors(switch: &Switch, soft: libc::rlim_t) -> libc::rlim_t {
    let pid = libc::pid_t::try_from(switch.daemon().pid()).unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit lives through the call.
    let got = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    let new = libc::rlimit { rlim_cur: soft, ..limit };
    // SAFETY: the new limit lives through the call.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut()) };
    assert_eq!((got, set), (0, 0), "{}", std::io::Error::last_os_error());
    limit.rlim_cur
}

/// That the kernel could not be asked is no news of the netdev.
fn assert_no_descriptor_is_no_loss(arguments: &'static [&'static str]) {
    let Some(switch) = Switch::with(&Options { arguments, ..Options::default() }) else { return };
    switch.run_job("starved", "Ethernet0", &[("sample_rate", "1")]);
    let before = limit_descriptors(&switch, 0);
    let said = "not known whether the tap still counts";
    wait_for("the daemon says so", DEADLINE, || switch.daemon().log().contains(said).then_some(()));
    let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
    wait_for("the tap is read all the same", DEADLINE, || {
        let results = switch.results("starved");
        (results.get("packets_total") == Some(&sent.packets.to_string())).then_some(())
    });
    // A job that would have to be refused for want of a list of netdevs is not refused as if there were none.
    switch.start_job("waits", "Ethernet8", &[]);
    wait_for("the daemon says so", DEADLINE, || switch.daemon().log().contains("cannot be listed").then_some(()));
    assert_eq!(switch.status("waits"), Row::new());
    limit_descriptors(&switch, before);
    switch.await_status("waits", "running");
    assert_eq!(switch.daemon().log().matches(said).count(), 1, "said once");
    switch.stop_job("waits");
    switch.stop_job("starved");
    assert_eq!(switch.results("starved")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn a_daemon_without_a_descriptor_loses_no_job_on_tcx() {
    assert_no_descriptor_is_no_loss(&["--attach", "tcx"]);
}

#[test]
fn a_daemon_without_a_descriptor_loses_no_job_on_clsact() {
    assert_no_descriptor_is_no_loss(&["--attach", "clsact"]);
}

#[test]
fn what_is_taken_off_in_the_last_moment_of_a_job_is_not_called_done() {
    let Some(switch) = Switch::with(&Options { arguments: &["--attach", "clsact"], ..Options::default() }) else {
        return;
    };
    let row = switch.run_job("short", "Ethernet0", &[("duration", "1"), ("sample_rate", "1")]);
    // Then the session's end takes its time.
    switch.lab.fault(FaultName::Dead, None).unwrap();
    switch.asic_db.suspend("a dead orchagent removes nothing");
    switch.await_status("short", "stopping");
    switch.run_ok(&["tc", "filter", "del", "dev", &row["tap"], "ingress"]);
    switch.assert_ended("short", "failed", "tap_missing", DEADLINE);
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.asic_db.resume();
    switch.assert_clean();
}

#[test]
fn copies_that_come_back_on_another_netdev_are_missed_within_seconds() {
    let Some(switch) = Switch::start() else { return };
    switch.redis(Db::Config).set("TELEGEN_MIRROR_PORT|Ethernet24", &[("netdev", "Ethernet28")]);
    let begin = Instant::now();
    switch.run_job("deaf", "Ethernet0", &[]);
    let row = thread::scope(|scope| {
        let lab = &switch.lab;
        let pace = Pace { count: Some(2400), pps: NonZeroU32::new(200), seed: 1 };
        let traffic = scope.spawn(move || lab.send("Ethernet0", &Source::Profile(Profile::Udp64), pace).unwrap());
        let row = wait_for("a warning", DEADLINE, || {
            let row = switch.status("deaf");
            row.contains_key("warning").then_some(row)
        });
        traffic.join().unwrap();
        row
    });
    assert_eq!((&*row["warning"], &*row["status"]), ("no_copies", "running"));
    assert!(begin.elapsed() < DEADLINE + Duration::from_secs(5));
    let row = switch.stop_job("deaf");
    assert_eq!(row["warning"], "no_copies");
    assert_eq!(switch.results("deaf")["packets_delivered"], "0");
    switch.assert_clean();
}
