//! What cannot be mended soon, and more than can be done at once: the daemon stays quiet, small and on time.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use telegen_sonic::lab::control::FaultName;

use crate::fixture::{DEADLINE, Switch, in_future, millis_between, wait_for};
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

    // A new job is taken up meanwhile, and a session that went takes its back-off with it.
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
