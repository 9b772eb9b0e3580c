//! A switch with the daemon on it: a virtual switch in a directory of its own and the real `telegen-sonic daemon` in it.

use std::num::NonZeroU32;
use std::process::Output;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use telegen_sonic::lab::handle::{Lab, LabOptions};
use telegen_sonic::lab::layout::PortCount;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::sent::Sent;
use tempfile::TempDir;

use crate::asic_db::Watch;
use crate::daemon::Daemon;
use crate::kernel::{self, BpfObjects};
use crate::redis_db::{Db, Redis, Row};

/// For what takes milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// For what the contract promises "within 35 s".
pub const RESYNC: Duration = Duration::from_secs(35);
/// For ASIC_DB after the end of a job that warns of nothing: its session's end was confirmed before. It is over before a sweep could mend what was left.
const AFTER_AN_END: Duration = Duration::from_secs(5);
/// Warnings of a job after whose end something may be there until a sweep.
const LEFT_FOR_A_SWEEP: [&str; 2] = ["session_unconfirmed", "left_bound"];
/// Ends of a job: nothing follows them.
pub const FINAL: [&str; 5] = ["done", "stopped", "failed", "rejected", "expired"];

/// How to start.
pub struct Options {
    pub ports: u16,
    pub policer: Option<u32>,
    /// Behind `telegen-sonic daemon`.
    pub arguments: &'static [&'static str],
    /// Of `TELEGEN|global`.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Default for Options {
    fn default() -> Options {
        Options { ports: 8, policer: None, arguments: &[], settings: &[] }
    }
}

/// The switch. Fields end in this order: the daemon, the lab, its directory, the place for another one.
pub struct Switch {
    daemon: Option<Daemon>,
    pub lab: Lab,
    home: TempDir,
    arguments: &'static [&'static str],
    /// ASIC_DB is looked at after every end of a job and at the end of the test, unless the test has said here why not.
    pub asic_db: Watch,
    /// What daemons that were killed held in the kernel.
    orphaned: BpfObjects,
    _place: Place,
}

impl Switch {
    /// A switch of eight ports; `None`, said on stdout, where it cannot be.
    pub fn start() -> Option<Switch> {
        Switch::with(&Options::default())
    }

    pub fn with(options: &Options) -> Option<Switch> {
        if !nix::unistd::geteuid().is_root() {
            skip("the virtual switch needs root");
            return None;
        }
        let place = Place::take();
        let home = tempfile::tempdir().unwrap();
        let lab_options = LabOptions {
            ports: PortCount::try_from(options.ports).unwrap(),
            policer: options.policer.and_then(NonZeroU32::new),
            ..LabOptions::new(env!("CARGO_BIN_EXE_telegen-lab"))
        };
        let lab = Lab::start(home.path().join("lab"), &lab_options).unwrap();
        let orphaned = BpfObjects::default();
        let mut switch = Switch {
            daemon: None,
            lab,
            home,
            arguments: options.arguments,
            asic_db: Watch::default(),
            orphaned,
            _place: place,
        };
        if !options.settings.is_empty() {
            switch.settings(options.settings);
        }
        switch.start_daemon();
        Some(switch)
    }

    /// Starts the daemon and waits until it has said in STATE_DB that it is there.
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "a daemon runs already");
        let mut daemon = Daemon::spawn(&self.lab, self.arguments, &self.home.path().join("daemon.log"));
        let pid = daemon.pid().to_string();
        let mut state = self.redis(Db::State);
        wait_for("the daemon's row in STATE_DB", DEADLINE, || {
            assert!(daemon.is_running(), "the daemon ended at once:\n{}", daemon.log());
            (state.field("TELEGEN_DAEMON_TABLE|localhost", "pid").as_ref() == Some(&pid)).then_some(())
        });
        self.daemon = Some(daemon);
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("no daemon runs")
    }

    /// Gives the daemon away, to end it.
    pub fn take_daemon(&mut self) -> Daemon {
        self.daemon.take().expect("no daemon runs")
    }

    /// SIGKILL; what the daemon held in the kernel is looked for by [`Switch::leftovers`] from now on.
    pub fn kill9(&mut self) -> BpfObjects {
        let held = self.take_daemon().kill();
        self.orphaned.extend(held.clone());
        held
    }

    pub fn redis(&self, db: Db) -> Redis {
        Redis::open(&self.lab.redis_socket(), db).unwrap()
    }

    pub fn settings(&self, fields: &[(&str, &str)]) {
        self.redis(Db::Config).set("TELEGEN|global", fields);
    }

    /// What a command on the switch said, and how it ended.
    pub fn run(&self, command: &[&str]) -> Output {
        self.lab.run_command(command).output().unwrap()
    }

    /// What a command on the switch prints; it must succeed.
    #[track_caller]
    pub fn run_ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Traffic into a port's wire, as fast as it goes.
    #[track_caller]
    pub fn send(&self, port: &str, profile: Profile, count: u64, seed: u64) -> Sent {
        let pace = Pace { count: Some(count), seed, pps: None };
        self.lab.send(port, &Source::Profile(profile), pace).unwrap()
    }

    /// Writes a job's row by one HSET, with an end, so that it is taken up at once.
    pub fn start_job(&self, id: &str, port: &str, more: &[(&str, &str)]) {
        self.asic_db.remember(self);
        let expires_at = in_future(3600);
        let fields = [&[("port", port), ("expires_at", expires_at.as_str())], more].concat();
        self.redis(Db::Config).set(&format!("TELEGEN_JOB|{id}"), &fields);
    }

    /// [`Switch::start_job`], and waits until the job runs.
    #[track_caller]
    pub fn run_job(&self, id: &str, port: &str, more: &[(&str, &str)]) -> Row {
        self.start_job(id, port, more);
        self.await_status(id, "running")
    }

    /// Deletes the row, and waits until the job is over.
    #[track_caller]
    pub fn stop_job(&self, id: &str) -> Row {
        self.redis(Db::Config).delete(&format!("TELEGEN_JOB|{id}"));
        self.await_status(id, "stopped")
    }

    /// The job's row in STATE_DB; empty before it is accepted.
    pub fn status(&self, id: &str) -> Row {
        self.redis(Db::State).row(&format!("TELEGEN_JOB_TABLE|{id}"))
    }

    pub fn results(&self, id: &str) -> Row {
        self.redis(Db::State).row(&format!("TELEGEN_RESULT_TABLE|{id}"))
    }

    /// Waits until the job has this status. Another final one is the end of the test.
    #[track_caller]
    pub fn await_status(&self, id: &str, wanted: &str) -> Row {
        self.await_status_within(id, wanted, DEADLINE)
    }

    #[track_caller]
    pub fn await_status_within(&self, id: &str, wanted: &str, limit: Duration) -> Row {
        let mut state = self.redis(Db::State);
        let key = format!("TELEGEN_JOB_TABLE|{id}");
        let row = wait_for(&format!("job {id} is {wanted}"), limit, || {
            let row = state.row(&key);
            let status = row.get("status").map(String::as_str);
            assert!(
                status == Some(wanted) || !status.is_some_and(|status| FINAL.contains(&status)),
                "job {id} should be {wanted}: {row:?}"
            );
            (status == Some(wanted)).then_some(row)
        });
        if FINAL.contains(&wanted) {
            self.assert_asic_db(std::slice::from_ref(&row));
        }
        row
    }

    /// Waits until the job is over, however.
    #[track_caller]
    pub fn await_final(&self, id: &str, limit: Duration) -> Row {
        let mut state = self.redis(Db::State);
        let key = format!("TELEGEN_JOB_TABLE|{id}");
        let row = wait_for(&format!("job {id} is over"), limit, || {
            let row = state.row(&key);
            row.get("status").is_some_and(|status| FINAL.contains(&status.as_str())).then_some(row)
        });
        self.assert_asic_db(std::slice::from_ref(&row));
        row
    }

    /// Waits until orchagent says this of a mirror session; `None`: it has none of that name.
    #[track_caller]
    pub fn await_session(&self, name: &str, status: Option<&str>) {
        let mut state = self.redis(Db::State);
        let key = format!("MIRROR_SESSION_TABLE|{name}");
        wait_for(&format!("mirror session {name} is {status:?}"), DEADLINE, || {
            let row = state.row(&key);
            let is_so = match status {
                Some(status) => row.get("status").is_some_and(|said| said == status),
                None => row.is_empty(),
            };
            is_so.then_some(())
        });
    }

    /// The job must have ended like this.
    #[track_caller]
    pub fn assert_ended(&self, id: &str, status: &str, reason: &str, limit: Duration) -> Row {
        let row = self.await_final(id, limit);
        let said = |field: &str| row.get(field).map(String::as_str);
        assert_eq!((said("status"), said("reason").unwrap_or_default()), (Some(status), reason), "{row:?}");
        row
    }

    /// ASIC_DB has what the sessions of now ask for and nothing else: nothing of ours is left, and nobody else's is changed. At once, or in the
    /// time of the contract if one of these jobs that are over has a warning that something may be left.
    #[track_caller]
    fn assert_asic_db(&self, jobs: &[Row]) {
        let warns = |row: &Row| {
            let warning = row.get("warning").map(String::as_str).unwrap_or_default();
            warning.split(',').any(|word| LEFT_FOR_A_SWEEP.contains(&word))
        };
        let limit = if jobs.iter().any(warns) { RESYNC } else { AFTER_AN_END };
        assert_none(limit, || self.asic_db.disagreements(self));
    }

    /// Everything of ours that a switch without jobs must not have, in words.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = self.rows_left();
        found.extend(self.bindings());
        found.extend(self.asic_db.disagreements(self));
        found.extend(kernel::tcx_on_switch(&self.lab));
        found.extend(kernel::tc_on_switch(&self.lab));
        found.extend(self.orphaned.alive());
        if let Some(daemon) = &self.daemon {
            let held = daemon.bpf_objects();
            found.extend((!held.is_empty()).then(|| format!("held by the daemon: {held:?}")));
        }
        let notes = std::fs::read_dir(self.lab.path_inside("/run/telegen")).unwrap();
        let notes = notes.map(|note| note.unwrap().file_name().into_string().unwrap());
        found.extend(notes.filter(|name| name.starts_with("clsact-")).map(|name| format!("note {name}")));
        found
    }

    /// Rows of jobs, and of sessions of ours.
    pub fn rows_left(&self) -> Vec<String> {
        let mut found = Vec::new();
        let patterns = [
            (Db::Config, "TELEGEN_JOB|*"),
            (Db::Config, "MIRROR_SESSION|telegen_*"),
            (Db::State, "MIRROR_SESSION_TABLE|telegen_*"),
            (Db::Appl, "*TELEGEN_JOB_TABLE*"),
        ];
        for (db, pattern) in patterns {
            found.extend(self.redis(db).keys(pattern).into_iter().map(|key| format!("{db:?} {key}")));
        }
        found
    }

    /// Where the ASIC copies a port's traffic to.
    pub fn bindings(&self) -> Vec<String> {
        let state = self.lab.state();
        let map = MapHandle::from_map_id(state.asic.bindings).unwrap();
        let mut found = Vec::new();
        for port in state.ports.ports() {
            for (side, name) in ["rx", "tx", "sampled rx", "sampled tx"].into_iter().enumerate() {
                // As in bpf/lab_asic.bpf.c: port and side to the destination's number plus one, 0 for none, and the tunnel.
                let key = u32::try_from(port.index() * 4 + side).unwrap().to_ne_bytes();
                let value = map.lookup(&key, MapFlags::ANY).unwrap().unwrap();
                let destination = u32::from_ne_bytes(value[..4].try_into().unwrap());
                found.extend((destination > 0).then(|| format!("{port} {name} is copied to port {}", destination - 1)));
            }
        }
        found
    }

    /// Nothing of ours is left, soon.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_clean_within(DEADLINE);
    }

    #[track_caller]
    pub fn assert_clean_within(&self, limit: Duration) {
        assert_none(limit, || self.leftovers());
    }
}

/// Waits until there is nothing any more.
#[track_caller]
fn assert_none(limit: Duration, find: impl Fn() -> Vec<String>) {
    let end = Instant::now() + limit;
    loop {
        let left = find();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left after {limit:?}: {left:#?}");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("daemon.log")).unwrap_or_default();
            println!("--- the daemon's log:\n{log}---");
        } else {
            let mut state = self.redis(Db::State);
            let jobs: Vec<Row> = state.keys("TELEGEN_JOB_TABLE|*").iter().map(|key| state.row(key)).collect();
            self.assert_asic_db(&jobs);
        }
    }
}

/// RFC 3339, this many seconds from now.
pub fn in_future(seconds: i64) -> String {
    let instant = Timestamp::now() + SignedDuration::from_secs(seconds);
    format!("{instant:.3}")
}

/// The milliseconds between two instants of a row.
pub fn millis_between(row: &Row, from: &str, to: &str) -> i64 {
    let at = |field: &str| row[field].parse::<Timestamp>().unwrap();
    i64::try_from(at(to).duration_since(at(from)).as_millis()).unwrap()
}

/// Says that the calling test cannot run here.
pub fn skip(reason: &str) {
    println!("SKIPPED: {}: {reason}", thread::current().name().unwrap_or("a test"));
}

/// Waits until `condition` holds, and returns what it found.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// More switches at once only make each other slow.
const MOST_AT_ONCE: usize = 3;
static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// The right to have a switch.
struct Place;

impl Place {
    fn take() -> Place {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= MOST_AT_ONCE {
            taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
