//! How long a job takes to start and to go, measured on this build and this machine. Prints; asserts only what would be broken.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Switch, in_future};
use crate::redis_db::Db;

const JOBS: usize = 120;
/// Between two looks: short beside what is measured, long enough to leave Redis to the daemon.
const LOOK: Duration = Duration::from_micros(300);

fn until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "a job hangs");
        thread::sleep(LOOK);
    }
}

/// Median and 99th percentile, in milliseconds.
fn figures(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    (at(50), at(99))
}

#[test]
fn a_hundred_jobs_start_and_go_without_delay() {
    let Some(switch) = Switch::start() else { return };
    let (mut config, mut state) = (switch.redis(Db::Config), switch.redis(Db::State));
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for index in 0..JOBS {
        let id = format!("timed-{index}");
        let (row, said) = (format!("TELEGEN_JOB|{id}"), format!("TELEGEN_JOB_TABLE|{id}"));
        let (session, word) = (format!("MIRROR_SESSION|telegen_{id}"), format!("MIRROR_SESSION_TABLE|telegen_{id}"));
        let expires_at = in_future(3600);
        let begin = Instant::now();
        config.set(&row, &[("port", "Ethernet0"), ("expires_at", &expires_at)]);
        until(|| state.field(&said, "status").as_deref() == Some("running"));
        starts.push(begin.elapsed());
        let begin = Instant::now();
        config.delete(&row);
        until(|| state.field(&said, "status").as_deref() == Some("stopped"));
        until(|| !config.exists(&session) && !state.exists(&word));
        until(|| switch.daemon().bpf_objects().is_empty());
        stops.push(begin.elapsed());
    }
    switch.assert_clean();
    let ((start_median, start_p99), (stop_median, stop_p99)) = (figures(starts), figures(stops));
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!(
        "LATENCY ({JOBS} jobs, {build} build): row to running median {start_median:.1} ms, p99 {start_p99:.1} ms; \
         row deleted to all gone median {stop_median:.1} ms, p99 {stop_p99:.1} ms; {}",
        memory(switch.daemon().pid())
    );
    // Far from what is normal; a timer where an event should be would show.
    assert!(start_median < 500.0 && stop_median < 500.0, "{start_median} ms, {stop_median} ms");
}

/// The daemon's resident memory, after all that.
fn memory(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect::<Vec<_>>().join(", ")
}
