//! The supervisor against a switch made of maps, on a virtual clock: random users, delays, failures and restarts. After every
//! step the invariants are checked; at the end the world calms down and nothing of ours may be left.
//!
//! `switch` is the world and carries effects out; this file is the user, the clock and the judge. A history is its seed: a
//! failure names it, and `TELEGEN_SIM_SEED=<seed>` runs that one alone.

mod random;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use random::Random;
use switch::{COLLECTOR, POOL, Pending, Switch};

use super::{Event, Now, SWEEP_INTERVAL, Supervisor};
use crate::model::erspan::Outer;
use crate::model::job::Fields;
use crate::model::limits::JOBS_MAX;
use crate::model::schema::{Reason, Source, Status};
use crate::model::settings::Settings;
use crate::model::status::JobStatus;

/// Histories that `make test` tries.
const HISTORIES: u64 = 10_000;
/// What happens from outside in one history.
const ACTIONS: usize = 40;
/// Longer than every duration, queue and time-out of the simulated jobs together.
const CALM: Duration = Duration::from_secs(400);

/// One history.
struct Simulation {
    seed: u64,
    random: Random,
    switch: Switch,
    supervisor: Supervisor,
    /// Final statuses that were written, to see that none changes.
    finals: BTreeMap<String, Status>,
    /// Keys of which STATE_DB has ever said something since their row was last written.
    accepted: BTreeSet<String>,
    names_used: u64,
    /// Something happened since the sink last looked.
    unpublished: bool,
    /// What is said of each job, kept by the changes that the supervisor names alone.
    told: BTreeMap<String, JobStatus>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let switch = Switch::new();
        let settings = Settings { max_queue: 2, ..settings(&[]) };
        let supervisor = Supervisor::new(settings, BTreeMap::new(), switch.now());
        let mut simulation = Simulation {
            seed,
            random: Random::new(seed),
            switch,
            supervisor,
            finals: BTreeMap::new(),
            accepted: BTreeSet::new(),
            names_used: 0,
            unpublished: false,
            told: BTreeMap::new(),
        };
        simulation.list_rows();
        simulation
    }

    /// Random actions with random time between them, then calm, then the reckoning.
    fn run(&mut self) {
        for _ in 0..ACTIONS {
            self.act();
            let pause = Duration::from_millis(self.random.below(6_000));
            self.run_until(self.switch.mono + pause);
        }
        self.switch.heal(&mut self.random);
        self.calm();
        // What is left of ours lies under a session of somebody else, and goes when that one goes.
        for name in self.switch.our_sessions() {
            let kept = self.supervisor.kept().get(&name).and_then(|theirs| self.switch.foreign.get(theirs));
            assert!(kept.is_some(), "seed {}: {name} is left in CONFIG_DB", self.seed);
        }
        self.switch.remove_foreign_sessions();
        self.calm();
        self.reckon();
    }

    /// Nothing happens from outside, for long.
    fn calm(&mut self) {
        let end = self.switch.mono + CALM;
        while self.switch.mono < end {
            self.list_rows();
            let step = (self.switch.mono + SWEEP_INTERVAL).min(end);
            self.run_until(step);
        }
    }

    /// One thing from outside.
    fn act(&mut self) {
        match self.random.below(19) {
            0..=5 => self.write_a_row(),
            6 | 7 => self.delete_a_row(),
            8 => self.change_a_row(),
            9 => self.switch.redis_up = !self.switch.redis_up,
            10 => self.switch.break_orchagent(&mut self.random),
            11 => self.switch.heal(&mut self.random),
            12 | 13 => self.switch.toggle_foreign_session(&mut self.random),
            14 => self.restart(),
            15 => self.change_settings(),
            16 => self.switch.lose_neighbour(),
            17 => {
                let event = self.switch.change_ports(&mut self.random);
                self.feed(event);
            }
            _ => {
                self.switch.rows.clear();
                self.switch.config_flushed();
            }
        }
        if self.random.chance(30) {
            self.list_rows();
        }
    }

    fn write_a_row(&mut self) {
        let key = if self.random.chance(20) && self.names_used > 0 {
            format!("job{}", self.random.below(self.names_used))
        } else {
            self.names_used += 1;
            format!("job{}", self.names_used - 1)
        };
        let door = if self.random.chance(20) { Source::Appl } else { Source::Config };
        let mut fields = Fields::new();
        let port = self.random.pick(&["Ethernet0", "Ethernet4", "Ethernet8", "PortChannel1", "Ethernet99"]);
        fields.insert("port".to_owned(), port.to_owned());
        fields.insert("duration".to_owned(), (1 + self.random.below(40)).to_string());
        fields.insert("direction".to_owned(), self.random.pick(&["ingress", "egress", "both", "up"]).to_owned());
        if self.random.chance(20) {
            fields.insert("span_method".to_owned(), self.random.pick(&["none", "psample"]).to_owned());
        } else if self.random.chance(40) {
            fields.insert("span_method".to_owned(), "erspan".to_owned());
            if self.random.chance(15) {
                fields.insert("mirror_sample_rate".to_owned(), "64".to_owned());
            }
        }
        if self.random.chance(60) {
            let seconds = i64::try_from(self.random.below(90)).expect("small");
            let expires = self.switch.now().wall + jiff::SignedDuration::from_secs(seconds);
            fields.insert("expires_at".to_owned(), expires.to_string());
        }
        if self.random.chance(10) {
            fields.remove("port");
        }
        self.switch.write_row(door, &key, fields, &mut self.random);
    }

    fn delete_a_row(&mut self) {
        let keys: Vec<(Source, String)> = self.switch.rows.keys().cloned().collect();
        if let Some((door, key)) = self.random.pick_from(&keys) {
            self.switch.delete_row(door, &key, &mut self.random);
        }
    }

    fn change_a_row(&mut self) {
        let keys: Vec<(Source, String)> = self.switch.rows.keys().cloned().collect();
        let Some((door, key)) = self.random.pick_from(&keys) else { return };
        let Some(mut fields) = self.switch.rows.get(&(door, key.clone())).cloned() else { return };
        let (field, value) =
            self.random.pick(&[("duration", "3"), ("duration", "x"), ("sample_rate", "7"), ("zzz", "1")]);
        fields.insert(field.to_owned(), value.to_owned());
        self.switch.write_row(door, &key, fields, &mut self.random);
    }

    fn change_settings(&mut self) {
        let admin = if self.random.chance(40) { "disabled" } else { "enabled" };
        let row = [("admin_state", admin.to_owned()), ("max_queue", self.random.below(3).to_string())];
        self.feed(Event::Settings(Box::new(settings(&row))));
    }

    /// SIGKILL and a new daemon: feeds die with the process, rows, sessions and statuses stay.
    fn restart(&mut self) {
        self.switch.daemon_died();
        let settings = Settings { max_queue: 2, run_saved_jobs: self.random.chance(30), ..settings(&[]) };
        self.supervisor = Supervisor::new(settings, self.switch.prior(), self.switch.now());
        self.told.clear();
        self.list_rows();
    }

    fn list_rows(&mut self) {
        if !self.switch.redis_up {
            return;
        }
        for door in [Source::Config, Source::Appl] {
            let rows = self.switch.rows_of(door);
            self.feed(Event::Rows { door, rows });
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            let deadline = self.supervisor.next_deadline();
            let wake = deadline.min(self.switch.next_pending()).min(end);
            self.switch.mono = self.switch.mono.max(wake);
            if deadline <= self.switch.mono {
                let effects = self.supervisor.tick(self.switch.now());
                self.switch.submit(effects, &mut self.random);
                self.check();
            }
            // The sink is woken by whatever happened, and by Redis coming back.
            if self.switch.redis_up && (self.unpublished || !self.switch.clears.is_empty()) {
                self.switch.wake_sink(&mut self.random);
            }
            while let Some(pending) = self.switch.take_due() {
                self.carry_out(pending);
            }
            let now = self.switch.mono;
            assert!(self.supervisor.next_deadline() > now, "seed {}: a deadline that is never met", self.seed);
            if now >= end {
                return;
            }
        }
    }

    fn carry_out(&mut self, pending: Pending) {
        if let Pending::Publish = pending {
            for key in self.publish() {
                self.feed(Event::Published { key });
            }
            return;
        }
        for event in self.switch.carry_out(pending, &mut self.random) {
            self.feed(event);
        }
    }

    /// The STATE_DB sink: writes what is said, tells which final statuses stand.
    fn publish(&mut self) -> Vec<String> {
        if !self.switch.redis_up {
            return Vec::new();
        }
        for key in std::mem::take(&mut self.switch.clears) {
            self.switch.state.remove(&key);
        }
        let mut published = Vec::new();
        self.unpublished = false;
        let news: Vec<JobStatus> = self.supervisor.statuses().filter(|status| self.is_news(status)).collect();
        for status in news {
            self.accepted.insert(status.key.clone());
            if status.status.is_final() {
                published.push(status.key.clone());
            }
            self.switch.state.insert(status.key.clone(), status);
        }
        published
    }

    fn is_news(&self, status: &JobStatus) -> bool {
        self.switch.state.get(&status.key) != Some(status)
    }

    fn feed(&mut self, event: Event) {
        let effects = self.supervisor.on(event, self.switch.now());
        self.switch.submit(effects, &mut self.random);
        self.check();
    }

    /// What holds at every moment.
    fn check(&mut self) {
        let seed = self.seed;
        self.unpublished = true;
        assert!(self.supervisor.active_jobs() <= JOBS_MAX, "seed {seed}: too many jobs hold resources");
        assert!(self.switch.taps.len() <= JOBS_MAX, "seed {seed}: too many taps: {:?}", self.switch.taps);
        assert_eq!(self.switch.foreign_seen(), self.switch.foreign, "seed {seed}: a session of others was touched");
        assert_eq!(self.switch.bereft(), Vec::<String>::new(), "seed {seed}");
        let tunnels: Vec<Outer> = self.switch.taps.values().copied().flatten().collect();
        let distinct = tunnels.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct, tunnels.len(), "seed {seed}: two taps count the same copies: {tunnels:?}");
        self.check_what_is_filed();
        for status in self.supervisor.statuses() {
            let known = self.finals.get(&status.key).copied();
            let same_job = self.switch.state.get(&status.key).is_some_and(|old| old.created_at == status.created_at);
            if let (Some(old), true) = (known, same_job) {
                assert_eq!(status.status, old, "seed {seed}: the final status of {} changed", status.key);
            }
            if status.status.is_final() && self.switch.state.get(&status.key) == Some(&status) {
                self.finals.insert(status.key.clone(), status.status);
            } else {
                self.finals.remove(&status.key);
            }
            assert_eq!(status.status.is_final(), status.ended_at.is_some(), "seed {seed}: {}", status.key);
            if status.status == Status::Rejected {
                assert!(status.started_at.is_none(), "seed {seed}: {} was rejected after it ran", status.key);
            }
        }
    }

    /// What the supervisor keeps at hand is what a look through everything finds.
    fn check_what_is_filed(&mut self) {
        self.supervisor.jobs.assert_filed();
        for key in self.supervisor.take_changed() {
            match self.supervisor.status(&key) {
                Some(status) => self.told.insert(key, status),
                None => self.told.remove(&key),
            };
        }
        let all: BTreeMap<String, JobStatus> =
            self.supervisor.statuses().map(|status| (status.key.clone(), status)).collect();
        assert_eq!(self.told, all, "seed {}: a change of what is said was not named", self.seed);
    }

    /// What holds when everything has calmed down.
    fn reckon(&self) {
        let seed = self.seed;
        assert!(self.supervisor.is_idle(), "seed {seed}: jobs never ended: {:?}", self.supervisor);
        assert_eq!(self.switch.taps, BTreeMap::new(), "seed {seed}: taps left");
        assert_eq!(self.switch.our_sessions(), BTreeSet::new(), "seed {seed}: sessions left in CONFIG_DB");
        assert_eq!(self.switch.our_states(), BTreeSet::new(), "seed {seed}: sessions left in the ASIC");
        assert_eq!(self.switch.rows.len(), 0, "seed {seed}: rows left: {:?}", self.switch.rows);
        for key in &self.accepted {
            let status = self.switch.state.get(key).map(|status| status.status);
            let forgotten = status.is_none();
            assert!(forgotten || status.is_some_and(Status::is_final), "seed {seed}: {key} has no outcome: {status:?}");
        }
        assert_eq!(self.switch.rows_deleted_without_outcome, Vec::<String>::new(), "seed {seed}");
    }
}

impl Now {
    pub(super) fn at(mono: Duration) -> Now {
        let wall = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(mono).expect("a short history");
        Now { mono, wall: wall + jiff::SignedDuration::from_hours(480_000) }
    }
}

/// A switch with two source addresses for ERSPAN, and these settings besides.
fn settings(more: &[(&str, String)]) -> Settings {
    let erspan = [("erspan_src_ip", POOL), ("erspan_dst_ip", COLLECTOR), ("erspan_netdev", "Ethernet16")];
    let erspan = erspan.into_iter().map(|(name, value)| (name, value.to_owned()));
    let row = erspan.chain(more.iter().cloned()).map(|(name, value)| (name.to_owned(), value)).collect();
    Settings::parse(&row).0
}

#[test]
fn ten_thousand_random_histories_keep_every_invariant() {
    let only = std::env::var("TELEGEN_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..HISTORIES, |seed: u64| seed..seed + 1);
    let (mut outcomes, mut rare) = (BTreeMap::new(), BTreeMap::new());
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        for status in simulation.switch.state.values() {
            *outcomes.entry((status.status, status.reason)).or_insert(0_u64) += 1;
        }
        for (what, times) in simulation.switch.tally {
            *rare.entry(what).or_insert(0_u64) += times;
        }
    }
    println!("{outcomes:?} {rare:?}");
    if only.is_none() {
        // A simulation that never gets anywhere would keep every invariant too.
        for needed in [Status::Done, Status::Stopped, Status::Failed, Status::Rejected, Status::Expired] {
            let count: u64 = outcomes.iter().filter(|((status, _), _)| *status == needed).map(|(_, n)| n).sum();
            assert!(count > HISTORIES / 20, "only {count} jobs ended {needed}");
        }
        for (needed, in_histories) in
            [("kept", 100), ("renewed", 100), ("of two sessions", 100), ("alone", 200), ("taken", 200)]
        {
            let count = rare.get(needed).copied().unwrap_or_default();
            assert!(count > HISTORIES / in_histories, "only {count} times {needed}");
        }
        let unresolved = outcomes.get(&(Status::Failed, Some(Reason::MirrorInactive))).copied().unwrap_or_default();
        assert!(unresolved > HISTORIES / 100, "only {unresolved} jobs waited in vain for a neighbour");
    }
}
