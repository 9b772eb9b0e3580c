//! What operators do to every feature of a switch: log levels, health, techsupport, configuration reload, warm and cold reboot.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::profiles::Profile;

use crate::daemon::BINARY;
use crate::fixture::{DEADLINE, Options, RESYNC, Switch, in_future, wait_for};
use crate::redis_db::{Db, Row};

const LOGGER: &str = "LOGGER|telegen-sonic";

/// A system log on the switch.
struct SystemLog(UnixDatagram);

impl SystemLog {
    fn listen(switch: &Switch) -> SystemLog {
        let socket = UnixDatagram::bind(switch.lab.path_inside("/run/log.test")).unwrap();
        socket.set_nonblocking(true).unwrap();
        SystemLog(socket)
    }

    /// The lines that have come, without the daemon's pid.
    fn lines(&self, pid: u32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => lines.push(String::from_utf8_lossy(&buffer[..length]).replace(&format!("[{pid}]"), "")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return lines,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn every_job_has_one_line_at_its_start_its_end_and_its_refusal() {
    let arguments = &["--syslog", "/run/log.test"];
    let Some(switch) = Switch::with(&Options { arguments, ..Options::default() }) else { return };
    let log = SystemLog::listen(&switch);
    let pid = switch.daemon().pid();
    switch.run_job("first", "Ethernet0", &[("sample_rate", "1"), ("owner", "ann")]);
    let sent = switch.send("Ethernet0", Profile::Udp64, 100, 1);
    switch.start_job("bad", "Ethernet99", &[]);
    switch.assert_ended("bad", "rejected", "unknown_port", DEADLINE);
    let ended = switch.stop_job("first");
    let jobs: Vec<String> = log.lines(pid).into_iter().filter(|line| line.contains(": job ")).collect();
    let seconds = crate::fixture::millis_between(&ended, "started_at", "ended_at");
    let [started, refused, over] = &jobs[..] else { panic!("{jobs:#?}") };
    assert_eq!(
        started,
        "<29>telegen-sonic: job first started: port=Ethernet0 direction=ingress span_method=span duration=120 source=config tap=Ethernet24 owner=\"ann\""
    );
    assert_eq!(
        refused,
        "<28>telegen-sonic: job bad refused: reason=unknown_port port=Ethernet99 source=config message=\"port: 'Ethernet99' is neither in PORT nor in PORTCHANNEL of CONFIG_DB; this switch has Ethernet0, Ethernet4, Ethernet8, Ethernet12 and 4 more\""
    );
    let bytes = sent.bytes;
    let begin = "<29>telegen-sonic: job first ended: status=stopped port=Ethernet0 seconds=";
    let numbers = over.strip_prefix(begin).unwrap_or_else(|| panic!("{over}"));
    let (said, counts) = numbers.split_once(' ').unwrap();
    assert!(
        (said.parse::<f64>().unwrap() * 1000.0 - f64::from(i32::try_from(seconds).unwrap())).abs() <= 51.0,
        "{over}"
    );
    assert!(counts.starts_with(&format!("packets=100 bytes={bytes}")), "{over}");
}

#[test]
fn the_log_level_is_that_of_the_logger_table_at_any_moment() {
    let arguments = &["--syslog", "/run/log.test"];
    let Some(switch) = Switch::with(&Options { arguments, ..Options::default() }) else { return };
    let log = SystemLog::listen(&switch);
    let pid = switch.daemon().pid();
    let mut config = switch.redis(Db::Config);
    let expected =
        [("LOGLEVEL", "NOTICE"), ("LOGOUTPUT", "SYSLOG")].map(|(name, word)| (name.to_owned(), word.to_owned()));
    assert_eq!(config.row(LOGGER), Row::from(expected), "swssloglevel knows components that have a row");
    let refuse = |id: &str| {
        switch.start_job(id, "Ethernet99", &[]);
        switch.assert_ended(id, "rejected", "unknown_port", DEADLINE);
    };
    // What swssloglevel -l ERROR -c telegen-sonic writes. It is heard at some moment soon: each refusal has its line before that.
    config.set(LOGGER, &[("LOGLEVEL", "ERROR")]);
    let mut number = 0;
    wait_for("refusals are not said any more", DEADLINE, || {
        number += 1;
        refuse(&format!("quiet{number}"));
        log.lines(pid).is_empty().then_some(())
    });
    config.set(LOGGER, &[("LOGLEVEL", "DEBUG")]);
    wait_for("and are again", DEADLINE, || {
        number += 1;
        refuse(&format!("loud{number}"));
        log.lines(pid).iter().any(|line| line.starts_with("<28>telegen-sonic: job loud")).then_some(())
    });
    config.set(LOGGER, &[("LOGOUTPUT", "STDERR")]);
    wait_for("they are on stderr", DEADLINE, || {
        number += 1;
        refuse(&format!("elsewhere{number}"));
        switch
            .daemon()
            .log()
            .contains(&format!("WARN job elsewhere{number} refused: reason=unknown_port"))
            .then_some(())
    });
}

#[test]
fn system_health_is_told_that_the_feature_is_up_if_it_asks_and_until_it_ends() {
    let Some(mut switch) = Switch::start() else { return };
    let mut state = switch.redis(Db::State);
    let up = |state: &mut crate::redis_db::Redis| state.field("FEATURE|telegen", "up_status");
    assert_eq!(up(&mut state), None, "no feature was registered");
    switch.redis(Db::Config).set("FEATURE|telegen", &[("state", "enabled"), ("check_up_status", "True")]);
    wait_for("it is up", DEADLINE, || (up(&mut state).as_deref() == Some("true")).then_some(()));
    state.command(&["FLUSHDB"]);
    wait_for("it is said again", DEADLINE, || (up(&mut state).as_deref() == Some("true")).then_some(()));
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    let row = state.row("FEATURE|telegen");
    assert_eq!((row["up_status"].as_str(), row["fail_reason"].as_str()), ("false", "the daemon was stopped"));
    switch.start_daemon();
    wait_for("it is up again", DEADLINE, || (up(&mut state).as_deref() == Some("true")).then_some(()));
}

/// CONFIG_DB as `config save` stores it.
fn save(switch: &Switch) -> Vec<(String, Row)> {
    let mut config = switch.redis(Db::Config);
    let keys = config.keys("*|*");
    keys.into_iter().map(|key| (key.clone(), config.row(&key))).collect()
}

/// `config reload` without its services: CONFIG_DB is flushed, which nobody is told of, and loaded.
fn load(switch: &Switch, saved: &[(String, Row)]) {
    let mut config = switch.redis(Db::Config);
    config.command(&["FLUSHDB"]);
    for (key, row) in saved {
        let fields: Vec<(&str, &str)> = row.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        config.set(key, &fields);
    }
    config.command(&["SET", "CONFIG_DB_INITIALIZED", "1"]);
}

#[test]
fn a_configuration_saved_in_the_middle_of_a_job_and_reloaded_does_not_bring_it_back() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("saved", "Ethernet0", &[]);
    let saved = save(&switch);
    assert!(saved.iter().any(|(key, _)| key == "TELEGEN_JOB|saved"));
    assert!(saved.iter().any(|(key, _)| key == "MIRROR_SESSION|telegen_saved"));
    // sonic.target ends the services first.
    let (status, _) = switch.take_daemon().terminate(Duration::from_secs(5));
    assert!(status.success());
    assert_eq!(switch.status("saved")["reason"], "daemon_stopped");
    assert_eq!(switch.rows_left(), Vec::<String>::new());
    load(&switch, &saved);
    switch.start_daemon();
    switch.assert_clean();
    assert_eq!(switch.status("saved")["status"], "stopped");
    switch.run_job("next", "Ethernet0", &[]);
    switch.stop_job("next");
    switch.assert_clean();
}

#[test]
fn a_warm_reboot_after_a_drain_leaves_nothing_to_restore() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("drained", "Ethernet0", &[]);
    let said = switch.run_ok(&[BINARY, "drain", "--json"]);
    assert!(said.contains("drained"), "{said}");
    assert_eq!(switch.status("drained")["status"], "stopped");
    assert_eq!(switch.rows_left(), Vec::<String>::new());
    switch.kill9();
    forget_as_a_warm_reboot_does(&switch);
    switch.start_daemon();
    switch.assert_clean();
    assert_eq!(switch.redis(Db::State).keys("TELEGEN_*_TABLE|drained*"), Vec::<String>::new());
}

#[test]
fn a_drain_right_after_a_crash_removes_everything_by_itself() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("crashed", "Ethernet0", &[]);
    switch.run_job("too", "Ethernet8", &[("direction", "both")]);
    switch.kill9();
    let said = switch.run_ok(&[BINARY, "drain"]);
    assert!(said.contains("drained: no job runs, and no session of telegen's is left"), "{said}");
    assert_eq!(switch.bindings(), Vec::<String>::new());
    assert_eq!(switch.rows_left(), Vec::<String>::new());
    switch.start_daemon();
    switch.assert_clean();
}

#[test]
fn a_drain_after_a_crash_removes_filters_too_which_outlive_their_daemon_in_clsact_mode() {
    let Some(mut switch) = Switch::with(&Options { arguments: &["--attach", "clsact"], ..Options::default() }) else {
        return;
    };
    switch.run_job("crashed", "Ethernet0", &[]);
    switch.kill9();
    let said = switch.run_ok(&[BINARY, "drain"]);
    assert!(
        said.contains("removed from network devices what a daemon had left there; tc filters: 1, qdiscs: 1"),
        "{said}"
    );
    assert!(said.contains("drained: no job runs, and no session of telegen's is left"), "{said}");
    assert_eq!(switch.run_ok(&["tc", "filter", "show", "dev", "Ethernet24", "ingress"]), "");
    switch.start_daemon();
    switch.assert_clean();
}

#[test]
fn a_drain_of_a_port_that_is_gone_finds_the_session_that_orchagent_still_has() {
    let Some(mut switch) = Switch::start() else { return };
    switch.asic_db.suspend("orchagent is dead");
    switch.run_job("stays", "Ethernet12", &[]);
    switch.lab.fault(FaultName::Dead, None).unwrap();
    switch.kill9();
    let mut config = switch.redis(Db::Config);
    config.delete("MIRROR_SESSION|telegen_stays");
    config.delete("TELEGEN_JOB|stays");
    config.delete("PORT|Ethernet12");
    let output = switch.run(&[BINARY, "drain", "Ethernet12"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("mirror session telegen_stays: deleted, and not confirmed by orchagent"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.start_daemon();
    wait_for("nothing is left", RESYNC, || switch.rows_left().is_empty().then_some(()));
}

#[test]
fn a_drain_of_one_port_leaves_jobs_on_others_alone() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("broken-out", "Ethernet0", &[]);
    switch.run_job("elsewhere", "Ethernet8", &[]);
    let said = switch.run_ok(&[BINARY, "drain", "Ethernet0"]);
    assert!(said.contains("job broken-out: is over, stopped"), "{said}");
    assert_eq!(switch.bindings().len(), 1, "{:?}", switch.bindings());
    assert_eq!(switch.status("elsewhere")["status"], "running");
    switch.stop_job("elsewhere");
    switch.assert_clean();
}

#[test]
fn a_warm_reboot_in_the_middle_of_a_job_starts_it_anew_within_its_time_and_removes_the_old_session_first() {
    let Some(mut switch) = Switch::start() else { return };
    switch.start_job("long", "Ethernet0", &[("duration", "600"), ("expires_at", &in_future(3600))]);
    switch.await_status("long", "running");
    switch.start_job("short", "Ethernet8", &[("duration", "600"), ("expires_at", &in_future(600))]);
    switch.await_status("short", "running");
    switch.kill9();
    forget_as_a_warm_reboot_does(&switch);
    // The reboot takes longer than that job had time.
    switch.redis(Db::Config).set("TELEGEN_JOB|short", &[("expires_at", &in_future(-1))]);
    assert!(
        switch.redis(Db::State).exists("MIRROR_SESSION_TABLE|telegen_long"),
        "a warm reboot keeps orchagent's sessions"
    );
    switch.start_daemon();
    // Its totals begin at 0 and its time at 600 s: nobody knows any more when it had started, but never past expires_at.
    let row = switch.await_status("long", "running");
    assert!(!row.contains_key("warning"), "{row:?}");
    let sent = switch.send("Ethernet0", Profile::Udp64, 100, 1);
    switch.assert_ended("short", "expired", "", DEADLINE);
    switch.stop_job("long");
    assert_eq!(switch.results("long")["packets_total"], sent.packets.to_string());
    switch.assert_clean();
}

#[test]
fn after_a_cold_reboot_a_saved_job_without_an_end_is_not_run() {
    let Some(mut switch) = Switch::start() else { return };
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    let mut saved = save(&switch);
    saved.push(("TELEGEN_JOB|forever".to_owned(), Row::from([("port".to_owned(), "Ethernet0".to_owned())])));
    switch.redis(Db::State).delete("TELEGEN_DAEMON_TABLE|localhost");
    load(&switch, &saved);
    switch.start_daemon();
    let row = switch.assert_ended("forever", "expired", "", DEADLINE);
    assert!(row["message"].contains("run_saved_jobs"), "{row:?}");
    switch.assert_clean();
}

/// fast-reboot's `backup_database` keeps of STATE_DB what other features need, MIRROR_SESSION_TABLE among it, and nothing of ours.
fn forget_as_a_warm_reboot_does(switch: &Switch) {
    let mut state = switch.redis(Db::State);
    for key in state.keys("TELEGEN_*") {
        state.delete(&key);
    }
}

#[test]
fn techsupport_gets_everything_with_and_without_a_daemon() {
    let Some(mut switch) = Switch::start() else { return };
    switch.run_job("seen", "Ethernet0", &[("description", "why")]);
    let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/sonic/debug-dump/telegen");
    let dump = |switch: &Switch| -> serde_json::Value {
        let said = switch.run_ok(&["env", &format!("TELEGEN_SONIC={BINARY}"), "sh", hook]);
        serde_json::from_str(&said).unwrap()
    };
    let alive = dump(&switch);
    assert_eq!(alive["daemon_alive"], true);
    let databases = &alive["databases"];
    assert_eq!(databases["STATE_DB"]["TELEGEN_JOB_TABLE"]["seen"]["status"], "running");
    assert_eq!(databases["STATE_DB"]["TELEGEN_DAEMON_TABLE"]["localhost"]["span_to_cpu"], "false");
    assert_eq!(databases["CONFIG_DB"]["MIRROR_SESSION"]["telegen_seen"]["src_port"], "Ethernet0");
    assert_eq!(databases["CONFIG_DB"]["LOGGER"]["telegen-sonic"]["LOGLEVEL"], "NOTICE");
    switch.kill9();
    assert_eq!(dump(&switch)["databases"]["CONFIG_DB"]["TELEGEN_JOB"]["seen"]["description"], "why");
    switch.start_daemon();
    switch.assert_ended("seen", "failed", "daemon_restarted", DEADLINE);
    switch.assert_clean();
}
