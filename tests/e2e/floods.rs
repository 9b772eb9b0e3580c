//! What cannot be mended soon, and more than can be done at once: the daemon stays quiet, small and on time.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use telegen_sonic::lab::control::FaultName;

use crate::fixture::{DEADLINE, Options, Switch, in_future, millis_between, wait_for};
use crate::redis_db::Db;

/// Commands that Redis has carried out for anybody, by name.
fn commands(switch: &Switch) -> BTreeMap<String, u64> {
    let info = switch.redis(Db::State).info("commandstats");
    let stat = |line: &str| {
        let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), stats.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(stat).collect()
}

/// Those since `before`.
fn commands_since(before: &BTreeMap<String, u64>, switch: &Switch) -> BTreeMap<String, u64> {
    let new = |(name, calls): (String, u64)| {
        let calls = calls - before.get(&name).copied().unwrap_or_default();
        (calls > 0).then_some((name, calls))
    };
    commands(switch).into_iter().filter_map(new).collect()
}

/// Clock ticks of CPU time that the daemon has had.
fn ticks(switch: &Switch) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", switch.daemon().pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn sessions_that_orchagent_does_not_remove_cost_next_to_nothing_and_disturb_no_job() {
    /// How long it is watched.
    const WATCHED: Duration = Duration::from_secs(20);
    let Some(switch) = Switch::start() else { return };
    switch.lab.fault(FaultName::Dead, None).unwrap();
    let mut state = switch.redis(Db::State);
    for number in 0..10 {
        state.set(&format!("MIRROR_SESSION_TABLE|telegen_stuck{number}"), &[("status", "active")]);
    }
    let (commands_before, ticks_before, begin) = (commands(&switch), ticks(&switch), Instant::now());
    let stuck = |log: &str| log.lines().filter(|line| line.contains("telegen_stuck")).count();
    wait_for("each is said", DEADLINE, || (stuck(&switch.daemon().log()) == 10).then_some(()));
    thread::sleep(WATCHED.saturating_sub(begin.elapsed()));
    // Five attempts in the first 20 s (after 1 s, then twice as long each time), of six commands each and two to read the echo; and
    // 5 commands a second besides. HSET is left out: the virtual switch's counters are written with it.
    let mut spent = commands_since(&commands_before, &switch);
    spent.remove("hset");
    assert!(spent.values().sum::<u64>() < 10 * 5 * 8 + 5 * WATCHED.as_secs() + 50, "in {WATCHED:?}: {spent:?}");
    let cpu = ticks(&switch) - ticks_before;
    assert!(cpu < 100, "{cpu} clock ticks of CPU in {WATCHED:?}");
    assert_eq!(stuck(&switch.daemon().log()), 10, "{}", switch.daemon().log());

    // A new job is taken up meanwhile.
    let begin = Instant::now();
    switch.start_job("new", "Ethernet0", &[("span_method", "none")]);
    switch.await_status("new", "running");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    switch.stop_job("new");
    switch.lab.fault(FaultName::Clear, None).unwrap();
    let mut state = switch.redis(Db::State);
    for number in 0..10 {
        state.delete(&format!("MIRROR_SESSION_TABLE|telegen_stuck{number}"));
    }
    switch.assert_clean();
}

#[test]
fn two_thousand_rows_at_once_are_answered_while_a_job_ends_on_time() {
    const ROWS: usize = 2_000;
    let Some(switch) = Switch::start() else { return };
    switch.run_job("timed", "Ethernet0", &[("duration", "5")]);
    let mut config = switch.redis(Db::Config);
    let end = in_future(3600);
    for number in 0..ROWS {
        let key = format!("TELEGEN_JOB|flood{number}");
        config.set(&key, &[("port", "Ethernet4"), ("span_method", "psample"), ("expires_at", &end)]);
    }
    wait_for("every row is answered", DEADLINE, || config.keys("TELEGEN_JOB|flood*").is_empty().then_some(()));
    let row = switch.await_status("timed", "done");
    let ran = millis_between(&row, "started_at", "ended_at");
    assert!((4_900..5_900).contains(&ran), "{ran} ms: {row:?}");
    // The newest outcomes are kept, the others counted.
    let kept = switch.redis(Db::State).keys("TELEGEN_JOB_TABLE|flood*").len();
    let mut state = switch.redis(Db::State);
    let count = |state: &mut crate::redis_db::Redis, field: &str| state.field("TELEGEN_DAEMON_TABLE|localhost", field);
    wait_for("the refused are counted", DEADLINE, || {
        (count(&mut state, "refused_total") == Some(ROWS.to_string())).then_some(())
    });
    assert_eq!((kept, count(&mut state, "refused_not_kept")), (256, Some((ROWS - 256).to_string())));
    switch.assert_clean();
}

/// A job that is written while two run starts once one ends.
const QUEUEING: Options = Options { ports: 8, policer: None, arguments: &[], settings: &[("max_queue", "2")] };

/// Rows are written and deleted while Redis drops whoever listens, by `drop_listeners`.
fn nothing_is_lost(switch: &Switch, rows: usize, drop_listeners: impl Fn(&mut Vec<Vec<String>>)) {
    // The lab's and the daemon's.
    let before = switch.redis(Db::Config).listeners();
    switch.run_job("goes_on", "Ethernet0", &[]);
    switch.run_job("ends", "Ethernet4", &[]);
    let end = in_future(3600);
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let mut commands = Vec::new();
    drop_listeners(&mut commands);
    commands.push(words(&["DEL", "TELEGEN_JOB|ends"]));
    commands.push(words(&[
        "HSET",
        "TELEGEN_JOB|begins",
        "port",
        "Ethernet8",
        "span_method",
        "none",
        "expires_at",
        &end,
    ]));
    for number in 0..rows {
        let key = format!("TELEGEN_JOB|burst{number}");
        commands.push(words(&["HSET", &key, "port", "Ethernet4", "span_method", "psample", "expires_at", &end]));
    }
    let commands: Vec<Vec<&str>> = commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    switch.redis(Db::Config).together(&commands.iter().map(Vec::as_slice).collect::<Vec<_>>());
    switch.assert_ended("ends", "stopped", "", DEADLINE);
    switch.await_status("begins", "running");
    wait_for("every row is answered", DEADLINE, || {
        switch.redis(Db::Config).keys("TELEGEN_JOB|burst*").is_empty().then_some(())
    });
    assert!(switch.daemon().log().contains("the connection to CONFIG_DB is lost"), "{}", switch.daemon().log());
    wait_for("everybody listens again", DEADLINE, || (switch.redis(Db::Config).listeners() >= before).then_some(()));
    // What happens from now on is heard, and the job that was not meant went on.
    switch.start_job("late", "Ethernet12", &[("span_method", "psample")]);
    switch.assert_ended("late", "rejected", "mirror_unsupported", DEADLINE);
    assert_eq!(switch.status("goes_on").get("status").map(String::as_str), Some("running"));
    switch.stop_job("begins");
    switch.stop_job("goes_on");
    switch.assert_clean();
}

#[test]
fn a_subscription_that_is_killed_loses_no_start_and_no_end_of_a_job() {
    let Some(switch) = Switch::with(&QUEUEING) else { return };
    nothing_is_lost(&switch, 50, |commands| {
        commands.push(["CLIENT", "KILL", "TYPE", "pubsub"].map(str::to_owned).into());
    });
}

#[test]
fn a_subscription_that_redis_finds_too_slow_loses_no_start_and_no_end_of_a_job() {
    let Some(switch) = Switch::with(&QUEUEING) else { return };
    switch.redis(Db::Config).command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 0 0"]);
    // What one transaction says is written to a listener behind it, and this is twice the limit.
    nothing_is_lost(&switch, 2_000, |_| {});
}
