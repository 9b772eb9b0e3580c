//! Rows of any size, and floods through the queue of APPL_DB: what is refused is refused within bounds, and what ends a job comes first.

use std::fs;
use std::time::{Duration, Instant};

use telegen_sonic::model::limits::JOB_ROW_BYTES;
use telegen_sonic::sonic::bounded::ROW_FIELDS;

use crate::fixture::{DEADLINE, Switch, in_future, wait_for};
use crate::redis_db::Db;

/// KiB of memory that the daemon has.
fn rss(switch: &Switch) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", switch.daemon().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn rows_of_megabytes_are_refused_unread_while_a_job_runs() {
    const ROWS: usize = 20;
    let Some(switch) = Switch::start() else { return };
    switch.run_job("normal", "Ethernet0", &[]);
    let (base, half) = (rss(&switch), "x".repeat(3 << 20));
    let (mut config, mut appl) = (switch.redis(Db::Config), switch.redis(Db::Appl));
    let mut highest = base;
    let fields: Vec<String> = (0..=ROW_FIELDS).map(|number| format!("field{number}")).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|field| (field.as_str(), "1")).collect();
    for number in 0..ROWS {
        config.set(&format!("TELEGEN_JOB|giant{number}"), &[("port", &half), ("description", &half)]);
        config.set(&format!("TELEGEN_JOB|many{number}"), &fields);
        appl.set(&format!("_TELEGEN_JOB_TABLE:queued{number}"), &[("port", &half), ("description", &half)]);
        appl.command(&["SADD", "TELEGEN_JOB_TABLE_KEY_SET", &format!("queued{number}")]);
        appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
        highest = highest.max(rss(&switch));
    }
    for number in 0..ROWS {
        for name in ["giant", "many", "queued"] {
            let row = switch.assert_ended(&format!("{name}{number}"), "rejected", "invalid_field", DEADLINE);
            let message = row.get("message").map(String::as_str).unwrap_or_default();
            let wanted = "row: larger than any job and not read; ";
            assert!(message.starts_with(wanted) && message.contains(&JOB_ROW_BYTES.to_string()), "{row:?}");
            highest = highest.max(rss(&switch));
        }
    }
    assert!(highest < base + (16 << 10), "{highest} KiB, and {base} KiB before");
    wait_for("the rows are removed", DEADLINE, || {
        (config.keys("TELEGEN_JOB|*") == ["TELEGEN_JOB|normal"] && appl.keys("*TELEGEN_JOB_TABLE*").is_empty())
            .then_some(())
    });
    assert_eq!(switch.status("normal").get("status").map(String::as_str), Some("running"));
    switch.stop_job("normal");
    switch.assert_clean();
}

#[test]
fn a_row_that_is_no_hash_is_refused_and_removed_while_a_job_runs() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("normal", "Ethernet0", &[]);
    let mut config = switch.redis(Db::Config);
    config.command(&["SET", "TELEGEN_JOB|text", "y"]);
    config.command(&["RPUSH", "TELEGEN_JOB|list", "port", "Ethernet4"]);
    for name in ["text", "list"] {
        let row = switch.assert_ended(name, "rejected", "invalid_field", DEADLINE);
        let wanted = "row: not a hash; write the fields of a job with HSET";
        assert_eq!(row.get("message").map(String::as_str), Some(wanted));
    }
    wait_for("the rows are removed", DEADLINE, || {
        (config.keys("TELEGEN_JOB|*") == ["TELEGEN_JOB|normal"]).then_some(())
    });
    assert_eq!(switch.status("normal").get("status").map(String::as_str), Some("running"));
    switch.stop_job("normal");
    switch.assert_clean();
}

#[test]
fn a_key_of_a_megabyte_is_passed_over_and_said_once() {
    let Some(mut switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    let key = format!("TELEGEN_JOB|{}", "k".repeat(1 << 20));
    config.set(&key, &[("port", "Ethernet0")]);
    // Whether it is notified or listed.
    switch.kill9();
    switch.start_daemon();
    let said = |log: &str| log.lines().filter(|line| line.contains("begins a key of more than")).count();
    wait_for("it is said", DEADLINE, || (said(&switch.daemon().log()) == 1).then_some(()));
    assert!(switch.daemon().log().lines().all(|line| line.len() < 1024));
    switch.run_job("normal", "Ethernet0", &[]);
    switch.stop_job("normal");
    assert!(config.exists(&key));
    config.delete(&key);
    switch.assert_clean();
}

#[test]
fn the_end_of_a_job_of_appl_db_overtakes_a_flood_in_its_queue() {
    const ROWS: usize = 20_000;
    /// A flood is answered in more than four times as long.
    const PROMPT: Duration = Duration::from_secs(2);
    let Some(switch) = Switch::start() else { return };
    let mut appl = switch.redis(Db::Appl);
    let end = in_future(3600);
    let queue = "TELEGEN_JOB_TABLE_KEY_SET";
    appl.set("_TELEGEN_JOB_TABLE:mine", &[("port", "Ethernet0"), ("expires_at", &end)]);
    appl.command(&["SADD", queue, "mine"]);
    appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
    switch.await_status("mine", "running");
    let fields = ["port", "Ethernet4", "span_method", "psample", "expires_at", &end];
    for begin in (0..ROWS).step_by(1_000) {
        let keys: Vec<String> = (begin..begin + 1_000).map(|number| format!("flood{number}")).collect();
        let rows: Vec<String> = keys.iter().map(|key| format!("_TELEGEN_JOB_TABLE:{key}")).collect();
        let hsets: Vec<Vec<&str>> = rows.iter().map(|row| [&["HSET", row][..], &fields].concat()).collect();
        let sadd: Vec<&str> = ["SADD", queue].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let commands: Vec<&[&str]> = hsets.iter().map(Vec::as_slice).chain([sadd.as_slice()]).collect();
        appl.together(&commands);
    }
    appl.command(&["SADD", "TELEGEN_JOB_TABLE_DEL_SET", "mine"]);
    appl.command(&["SADD", queue, "mine"]);
    let begin = Instant::now();
    appl.command(&["PUBLISH", "TELEGEN_JOB_TABLE_CHANNEL@0", "G"]);
    switch.assert_ended("mine", "stopped", "", DEADLINE);
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    assert!(!appl.keys("*TELEGEN_JOB_TABLE:flood*").is_empty(), "the flood was over before");
    wait_for("every row is answered", 2 * DEADLINE, || appl.keys("*TELEGEN_JOB_TABLE*").is_empty().then_some(()));
    let mut state = switch.redis(Db::State);
    wait_for("the refused are counted", DEADLINE, || {
        (state.field("TELEGEN_DAEMON_TABLE|localhost", "refused_total") == Some(ROWS.to_string())).then_some(())
    });
    switch.assert_clean();
}
