//! The composition root: builds the parts, runs the one `select!` loop, and ends everything in order.
//!
//! ```text
//! sources ─▶ Event ─▶ supervisor ─▶ Effect ─▶ executor, feeds
//!               ▲                                   │
//!               └──────────── outcomes ◀────────────┤
//! feeds ─▶ Sample ─▶ aggregator ─▶ Snapshot ─▶ sinks ┘
//! ```
//!
//! No decision about a job is made here: the supervisor is asked, its effects are passed on.

mod feature;
mod host;
mod journal;
pub mod log;
mod numbers;
mod repeats;
mod sinks;
mod stop;
mod unsaid;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::io::counters::Counters;
use crate::io::executor::{self, Executor, Outcomes};
use crate::io::feeds::{self, FeedEvent, Feeds, Intervals};
use crate::io::known::Known;
use crate::io::probe;
use crate::io::source::{Input, Lanes, Sources, Windows};
use crate::io::survey::Surveyor;
use crate::io::tap::{Attach, TapHost};
use crate::model::ability::Trials;
use crate::model::job::JobId;
use crate::model::report::Snapshot;
use crate::model::schema::config_db;
use crate::model::seed_variables::Variables;
use crate::model::settings::Settings;
use crate::model::supervisor::{Effect, Event, Now, ResultsEffect, Supervisor};
use crate::sink::state_db::{self, Clears, StateDb};
use crate::sink::{Closing, allocator, rest};
use crate::sonic::{DatabaseConfig, Fields, connect, wait_for_config_db};
use feature::Feature;
pub use host::AnotherDaemon;
use log::Log;
use numbers::{Numbers, PollAnswer};
use sinks::Sinks;
use stop::Stop;
use unsaid::Unsaid;

/// SIGTERM allows five seconds for everything; what is not over then is left to the next daemon's sweep.
const SHUTDOWN: Duration = Duration::from_millis(4_200);
/// Messages that wait for the loop at the most; a source that is faster waits.
const QUEUE: usize = 256;
/// Batches of what can wait that wait for the loop at the most.
const BATCHES: usize = 64;

/// How the daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// SONiC's `database_config.json`.
    pub database_config: PathBuf,
    /// For the lock and the notes about qdiscs: a directory that does not outlive a reboot.
    pub state_dir: PathBuf,
    /// How taps attach.
    pub attach: Attach,
    /// The process's log, to be set by the switch's table; `None`: it is a developer's and stays as it is.
    pub log: Option<Arc<Log>>,
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: no configuration, another daemon, no kernel support.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    host::warn_of_old_variables();
    let _lock = host::lock(&options.state_dir)?;
    let databases = DatabaseConfig::load(&options.database_config)?;
    let mut stop = Stop::new()?;
    tokio::select! {
        loaded = wait_for_config_db(&databases) => loaded?,
        () = stop.asked() => return Ok(()),
    }
    let hold = host::hold(&databases, &options.state_dir).await?;
    let databases = databases.only_with(hold.right());
    stop.hold = Some(hold);
    let host = TapHost { attach: options.attach, state_dir: options.state_dir.clone() };
    let _follower = match &options.log {
        Some(log) => Some(AbortOnDrop(Arc::clone(log).follow(&databases).await?)),
        None => None,
    };
    let swept = host.sweep().context("remove what an earlier daemon left on network devices")?;
    if swept.filters + swept.qdiscs > 0 {
        tracing::warn!(filters = swept.filters, qdiscs = swept.qdiscs, "removed what an earlier daemon left");
    }
    let mut daemon = Daemon::start(&databases, host).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), commit = env!("TELEGEN_COMMIT"), "ready");
    daemon.run(&mut stop).await;
    daemon.end(if stop.ousted.is_some() { Closing::Ousted } else { Closing::Stopped }).await;
    stop.ousted.map_or(Ok(()), |by| Err(host::another_daemon(databases.database("CONFIG_DB")?, &by).into()))
}

/// A task that ends with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The parts, and the ends of their channels.
struct Daemon {
    started: Instant,
    supervisor: Supervisor,
    numbers: Numbers,
    feeds: Feeds,
    executor: Executor,
    _sources: Sources,
    windows: Windows,
    inputs: mpsc::Receiver<Input>,
    outcomes: mpsc::Receiver<Event>,
    feed_events: mpsc::Receiver<FeedEvent>,
    polls: mpsc::Receiver<PollAnswer>,
    /// Keys of jobs whose final status stands in STATE_DB.
    published: mpsc::Receiver<Vec<String>>,
    /// Rows of surveys and rows, in batches: whatever else happens comes first.
    bulk: mpsc::Receiver<Vec<Event>>,
    /// What found its queue full.
    refused: Vec<Event>,
    clears: Clears,
    /// What the next snapshot says anew, and what is cleared with it.
    unsaid: Unsaid,
    snapshots: watch::Sender<Arc<Snapshot>>,
    sinks: Sinks,
    /// What was found out of the switch by trying.
    trials: Trials,
    /// What is wrong until the daemon is started again, whatever the settings say next.
    lasting_errors: Vec<String>,
}

impl Daemon {
    async fn start(databases: &DatabaseConfig, host: TapHost) -> anyhow::Result<Daemon> {
        let started = Instant::now();
        let config = connect(databases, "CONFIG_DB").await?;
        let row = config.hgetall(&config.database().key(config_db::SETTINGS, config_db::SETTINGS_KEY)).await?;
        let variables = host::seed_variables();
        let (settings, mut errors) = parse_settings(&row, &variables);
        let mut lasting_errors = Vec::new();
        let rest = match rest::bind(&settings.rest_listen).await {
            Ok(bound) => {
                if let Some(complaint) = bound.complaint() {
                    tracing::warn!("{complaint}");
                    lasting_errors.push(format!("rest_listen: {complaint}"));
                }
                Some(bound)
            }
            Err(error) => {
                tracing::error!(%error, "no REST");
                lasting_errors.push(format!("rest_listen: {error}"));
                None
            }
        };
        errors.extend(lasting_errors.iter().cloned());
        let tap_cost = feeds::cost().context("find out how much memory a tap takes")?;
        let mut surveyor = Surveyor::new(databases, tap_cost, host::release())?;
        let world = surveyor.survey().await.context("read the switch's tables")?;
        let trials = probe::trials(databases, &world, &settings, &host.state_dir).await;
        let info = host::daemon_info(&config, host::capabilities(&world, &settings, &trials), errors).await?;
        let state = connect(databases, "STATE_DB").await?;
        let prior = state_db::read_prior(&state).await?;

        let (input_sender, inputs) = mpsc::channel(QUEUE);
        let (outcome_sender, outcomes) = mpsc::channel(QUEUE);
        let (feed_sender, feed_events) = mpsc::channel(QUEUE);
        let (poll_sender, polls) = mpsc::channel(QUEUE);
        let (published_sender, published) = mpsc::channel(BATCHES);
        let (bulk_sender, bulk) = mpsc::channel(BATCHES);
        let clears = Clears::default();
        let numbers = Numbers::new(info, settings.clone(), Counters::new(databases)?, poll_sender)?;
        let (snapshots, snapshot) = watch::channel(numbers.first_snapshot());
        let mut sinks = Sinks::default();
        let sink = StateDb::new(databases, snapshot.clone(), sinks.closing(), clears.clone(), published_sender)?;
        sinks.add(sink.run());
        sinks.start_doors(databases, rest, snapshot)?;
        sinks.add(Feature::new(databases)?.run(sinks.closing()));
        let known = Known::default();
        let executor = Executor::start(
            databases,
            surveyor,
            &known,
            Outcomes { urgent: outcome_sender, bulk: bulk_sender.clone() },
        )?;
        let feeds = Feeds::new(host, feed_sender, intervals(&settings));
        let now = Now { mono: started.elapsed(), wall: Timestamp::now() };
        let windows = Windows::with(&prior);
        let lanes = Lanes { urgent: input_sender, bulk: bulk_sender };
        Ok(Daemon {
            started,
            supervisor: Supervisor::new(settings, prior, now),
            numbers,
            feeds,
            executor,
            _sources: Sources::start(databases, &variables, &windows, known, &lanes)?,
            windows,
            inputs,
            outcomes,
            feed_events,
            polls,
            published,
            bulk,
            refused: Vec::new(),
            clears,
            unsaid: Unsaid::default(),
            snapshots,
            sinks,
            trials,
            lasting_errors,
        })
    }

    /// Until SIGTERM and then until every job is over, or its time is.
    async fn run(&mut self, stop: &mut Stop) {
        let mut ends: Option<Instant> = None;
        loop {
            let wake = self.wake(ends);
            // In this order: what ends a job overtakes whatever there may be thousands of.
            let events = tokio::select! {
                biased;
                () = stop.asked(), if ends.is_none() => {
                    if stop.ousted.is_some() {
                        // What its jobs had on the switch is the other one's to remove.
                        return;
                    }
                    tracing::info!("stopping: ending all jobs");
                    ends = Some(Instant::now() + SHUTDOWN);
                    vec![Event::Shutdown]
                }
                Some(event) = self.feed_events.recv() => self.feed_event(event).into_iter().collect(),
                Some(event) = self.outcomes.recv() => vec![self.outcome(event)],
                Some(input) = self.inputs.recv() => vec![self.input(input)],
                () = tokio::time::sleep_until(wake.into()) => Vec::new(),
                Some(answer) = self.polls.recv() => {
                    self.numbers.polled(answer, self.started.elapsed()).into_iter().collect()
                }
                Some(keys) = self.published.recv() => {
                    keys.into_iter().map(|key| Event::Published { key }).collect()
                }
                Some(events) = self.bulk.recv() => events,
            };
            self.step(events);
            // The channels never make the loop wait while there is work, so the tasks that fill and empty them get their turn here.
            tokio::task::yield_now().await;
            match ends {
                Some(_) if self.supervisor.is_idle() => return,
                Some(at) if at <= Instant::now() => {
                    tracing::error!("not every job could be ended in time; the next start cleans up");
                    return;
                }
                Some(_) | None => {}
            }
        }
    }

    fn wake(&self, ends: Option<Instant>) -> Instant {
        // `next_deadline` may be far away; the sweep bounds it to 30 s.
        let deadline = self.started + self.supervisor.next_deadline();
        [ends, self.unsaid.due()].into_iter().flatten().fold(deadline, Instant::min)
    }

    fn step(&mut self, events: Vec<Event>) {
        let mut rows = Vec::new();
        let (mut queue, mut listed) = (events, None);
        loop {
            if queue.is_empty() {
                let effects = self.supervisor.tick(self.now());
                self.begin_all(effects);
            }
            for event in queue {
                match &event {
                    Event::Row { key, .. } | Event::Found { key, .. } => rows.push(key.clone()),
                    Event::Rows { door, .. } => listed = Some(*door),
                    _ => {}
                }
                let effects = self.supervisor.on(event, self.now());
                self.begin_all(effects);
            }
            queue = std::mem::take(&mut self.refused);
            if queue.is_empty() {
                break;
            }
        }
        let changed = self.supervisor.take_changed();
        if let Some(door) = listed {
            rows.extend(self.windows.of(door).keys());
        }
        for key in changed.iter().chain(&rows) {
            self.windows.put(key, &self.supervisor);
        }
        self.unsaid.add(changed);
        if self.unsaid.due().is_some_and(|due| due <= Instant::now()) {
            self.say();
        }
    }

    /// The sinks are told what is new.
    fn say(&mut self) {
        let (changed, cleared) = self.unsaid.take();
        for key in cleared {
            self.clears.add(key);
        }
        if let Some(snapshot) = self.numbers.snapshot(&self.supervisor, changed) {
            self.snapshots.send_replace(snapshot);
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), wall: Timestamp::now() }
    }

    fn begin_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let refused = match effect {
                Effect::Provision(effect) => self.executor.provision(effect),
                Effect::ReadSwitch { job } => self.executor.read_switch(job),
                Effect::DeleteRow(row) => self.executor.delete_row(row),
                Effect::Asic(effect) => {
                    self.executor.asic(effect);
                    None
                }
                Effect::Feed(effect) => {
                    self.feeds.begin(effect);
                    None
                }
                Effect::Results(effect) => {
                    self.results(effect);
                    None
                }
                Effect::Log { about, line } => {
                    executor::say(about, &line);
                    None
                }
            };
            self.refused.extend(refused);
        }
    }

    fn results(&mut self, effect: ResultsEffect) {
        match effect {
            ResultsEffect::Begin { id, spec } => self.numbers.expect(&id, &spec, self.supervisor.settings()),
            ResultsEffect::Clear { key } => {
                self.numbers.forget(&key);
                self.unsaid.clear(key);
            }
        }
    }

    fn input(&mut self, input: Input) -> Event {
        match input {
            Input::Event(event) => event,
            Input::Settings(settings, mut errors) => {
                for error in &errors {
                    tracing::error!("TELEGEN|global: {error}");
                }
                self.feeds.set_intervals(intervals(&settings));
                errors.extend(self.lasting_errors.iter().cloned());
                self.numbers.settings_changed(&settings, errors);
                Event::Settings(settings)
            }
        }
    }

    /// A snapshot of the switch says, besides, what it can do now.
    fn outcome(&mut self, event: Event) -> Event {
        if let Event::Sessions { world } = &event {
            let capabilities = host::capabilities(world, self.supervisor.settings(), &self.trials);
            self.numbers.switch_seen(capabilities);
        }
        event
    }

    fn feed_event(&mut self, event: FeedEvent) -> Option<Event> {
        match event {
            FeedEvent::Opened { id, result } => {
                if result.is_err() {
                    self.feeds.forget(&id);
                }
                let result = result.map(|sample| self.read(&id, sample));
                Some(Event::FeedOpened { id, result })
            }
            FeedEvent::Read { id, sample } => {
                self.read(&id, sample);
                None
            }
            FeedEvent::Lost { id, message } => Some(Event::FeedLost { id, message }),
            FeedEvent::Closed { id, result } => {
                let result = result.map(|sample| self.numbers.read_last(&id, sample));
                // A job's table of flows may have been megabytes.
                allocator::give_memory_back();
                Some(Event::FeedClosed { id, result })
            }
        }
    }

    fn read(&mut self, id: &JobId, sample: crate::model::sample::Sample) {
        let ports = self.supervisor.source_ports(id);
        self.numbers.read(id, sample, ports);
    }

    /// The sinks see the last snapshot, then why it was the last.
    async fn end(mut self, why: Closing) {
        self.say();
        let Daemon { snapshots, sinks, .. } = self;
        sinks.end(snapshots, why).await;
    }
}

fn intervals(settings: &Settings) -> Intervals {
    Intervals { results: settings.result_interval, flows: settings.flow_interval }
}

fn parse_settings(row: &Fields, variables: &Variables) -> (Settings, Vec<String>) {
    let (settings, errors) = variables.settings(row);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for error in &errors {
        tracing::error!("TELEGEN|global: {error}");
    }
    (settings, errors)
}
