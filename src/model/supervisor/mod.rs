//! The life of every job as a pure state machine: events in, effects out, time as a value.
//!
//! ```text
//!                                         Resolving                Renewing
//!                                          ▲      │                  ▲  │
//!            Settling ──▶ Surveying ──▶ Provisioning ──▶ Opening ──▶ Running
//!               │            │  ▲             │             │            │
//!               │            ▼  │             ▼             ▼            ▼
//!               │          Queued         Releasing ◀──── Closing ◀──────┘
//!               │            │             │  (Running removes its provision first, then closes its feed)
//!               │            │             ▼
//!               │            │          Looking (at ASIC_DB)
//!               ▼            ▼             ▼
//!             (gone)      Publishing ──▶ Removing ──▶ (over)
//! ```
//!
//! What it guarantees, whatever the order of events: at most `max_jobs` jobs hold resources; every provision and feed that it
//! asked for it also asks to be removed; every accepted job gets a final status, and that status is written before the row
//! is deleted; a session that is not ours is never named in an effect. `simulation` tries that.
//!
//! It knows no Redis, no BPF and no clock. `io::executor` carries its effects out, `daemon` feeds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::admission::Plan;
use super::asic::Oid;
use super::job::{Fields, JobSpec};
use super::provision::Provision;
use super::schema::{Source, Status, Warning};
use super::settings::Settings;
use super::status::{Ending, JobStatus};
use super::world::World;
use evidence::{Departed, Look};
use jobs::Jobs;
use members::{Renewal, Renewals};
use missing::Missing;
use remembered::Remembered;
use retry::Retry;
use states::SessionStates;
use stuck::Stuck;
pub use sweep::Orphan;
use sweep::Sweep;

mod doors;
mod effect;
mod ends;
mod event;
mod evidence;
mod jobs;
mod keep;
mod members;
mod missing;
mod phases;
mod remembered;
mod retry;
mod states;
mod stuck;
mod sweep;
mod timers;
mod view;

pub use effect::{About, AsicEffect, Effect, FeedEffect, ProvisionEffect, ResultsEffect, RowKey};
pub use event::{Event, SessionState};
pub use evidence::{DEPARTED_AFTER, LEFT_AFTER};
pub use members::{RENEWAL_INTERVAL, RENEWALS_MAX};
pub use remembered::FINISHED_MAX;
pub use stuck::Freed;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// How long orchagent has to make a session active, and to remove it.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it has to remove it when the daemon is being stopped: SIGTERM allows five seconds for everything.
pub const SESSION_TIMEOUT_SHUTDOWN: Duration = Duration::from_secs(3);
/// How long a live session may be missing from STATE_DB before it counts as lost: after a flush our own rows come back first.
pub const LOST_GRACE: Duration = Duration::from_secs(2);
/// How long an ERSPAN session may wait for a route and a neighbour of its destination: from its writing, and whenever it loses them.
pub const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(60);
/// A row without a port may be one that is still being written, field by field.
pub const MISSING_FIELD_QUIET: Duration = Duration::from_secs(10);
/// Between two attempts at something that Redis refused.
pub const RETRY: Duration = Duration::from_millis(500);
/// How long the world may take to be read before it is asked for again.
pub const SURVEY_TIMEOUT: Duration = Duration::from_secs(5);
/// After a start, how long a job waits for the sessions of an earlier daemon to go before it is refused: they hold ports and pool.
pub const ORPHANS_GRACE: Duration = SESSION_TIMEOUT;
/// Between two looks whether they are gone.
pub const ORPHANS_RETRY: Duration = Duration::from_millis(50);
/// How old a survey may be by which a row is refused that finds every slot taken and the queue full. So the rows of a flood need no survey
/// each: one goes through all keys of CONFIG_DB, of which a flood makes many.
pub const SURVEY_FRESH: Duration = Duration::from_secs(1);
/// Between two looks for sessions that nobody owns.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// An instant on both clocks: deadlines use `mono`, people read `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed point; never goes back, unlike a switch's wall clock before NTP.
    pub mono: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// The turn of one event: its moment, and what it makes the supervisor ask for.
struct Turn {
    now: Now,
    effects: Vec<Effect>,
}

impl Turn {
    fn at(now: Now) -> Turn {
        Turn { now, effects: Vec::new() }
    }
}

/// Where a job is, with what it needs there.
#[derive(Clone, Debug)]
enum Phase {
    /// The row's fields may still be arriving; nothing has been said of the job. It is looked at again at `due`.
    Settling { since: Duration, due: Duration },
    /// The world has been asked for.
    Surveying { spec: Arc<JobSpec>, retry: Duration, waiting: Option<Duration> },
    /// No slot is free.
    Queued { spec: Arc<JobSpec>, since: Duration },
    /// What the job needs in the switch has been written; orchagent has until `deadline`.
    Provisioning { spec: Arc<JobSpec>, plan: Arc<Plan>, provision: Provision, deadline: Duration },
    /// orchagent holds an ERSPAN session inactive until its neighbour is known.
    Resolving { spec: Arc<JobSpec>, plan: Arc<Plan>, provision: Provision, missing: Missing },
    /// The feed is being opened; `then` ends the job as soon as it is.
    Opening { spec: Arc<JobSpec>, plan: Arc<Plan>, then: Option<Ending> },
    /// Packets are counted until `ends`; `missing` while a session is not active.
    Running { spec: Arc<JobSpec>, plan: Arc<Plan>, ends: Duration, missing: Option<Missing> },
    /// As `Running`, but its ports changed: the sessions of `old` make way for those of `new`. No copies come since `since`.
    Renewing { spec: Arc<JobSpec>, old: Arc<Plan>, new: Arc<Plan>, ends: Duration, since: Duration, step: Renewal },
    /// The removal of what it has in the switch has been asked for; orchagent has until `deadline`.
    Releasing { ending: Ending, provision: Provision, feed: FeedOwned, deleted: Deleted, deadline: Duration },
    /// The feed's last reading and its end have been asked for.
    Closing { ending: Ending },
    /// ASIC_DB is asked whether anything of the job is still bound.
    Looking { ending: Ending, look: Look },
    /// The final status is on its way to STATE_DB.
    Publishing { ending: Ending },
    /// The row's deletion has been asked for; again at `retry`, if it was refused. Never twice at once: the second one would
    /// hit the row of the next job under the name.
    Removing { ending: Ending, retry: Option<Duration> },
}

/// Whether a feed is open while the provision is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedOwned {
    Yes,
    No,
}

/// How far the deletion of a session's row has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    /// Asked for, no answer yet.
    Asked,
    /// It was not done, for the reason in `undeleted`; ask again then.
    RetryAt(Duration),
    /// The row is gone from CONFIG_DB.
    Done,
}

impl Deleted {
    /// Who has not done its part of what was asked for; in front of the session's name.
    fn what_is_missing(self) -> &'static str {
        match self {
            Deleted::Asked => "Redis did not confirm the deletion of",
            Deleted::RetryAt(_) => "the daemon did not delete",
            Deleted::Done => "orchagent did not confirm the end of",
        }
    }
}

/// One job.
#[derive(Clone, Debug)]
struct Job {
    door: Source,
    /// As they were when the job was taken up: most settings apply from the next job on.
    settings: Arc<Settings>,
    /// Order of arrival, for the queue.
    sequence: u64,
    /// The row as it was last seen; `None` since its user deleted it.
    row: Option<Fields>,
    /// A row written after its user had deleted the first one: a new job under the same name.
    successor: Option<Fields>,
    phase: Phase,
    /// STATE_DB says something of it from an earlier daemon, which this one has yet to take up.
    said_before: bool,
    /// What was asked for and what was taken, as far as it is known; kept for the final status.
    spec: Option<Arc<JobSpec>>,
    plan: Option<Arc<Plan>>,
    warnings: BTreeSet<Warning>,
    /// What the user should know of a change that was not, or not wholly, followed.
    note: String,
    states: SessionStates,
    /// Why its sessions were not deleted when that was tried last.
    undeleted: Option<String>,
    /// How often in a row Redis did not do what the job needs next.
    failures: u32,
    /// How long a session was not active while the job ran, up to the last time that all were.
    gap: Duration,
    /// How it has followed the members of its port channels.
    renewals: Renewals,
    /// Its sessions stay when it ends, for the sake of somebody else's.
    kept: bool,
    /// The objects of its ports and of its destination, as far as ASIC_DB has been asked.
    oids: BTreeMap<String, Oid>,
    created_at: Timestamp,
    /// The row's `expires_at` on the steady clock.
    expires: Option<Duration>,
    started: Option<Now>,
    ended: Option<Now>,
}

/// A job that is over, remembered until its retention ends.
#[derive(Clone, Debug)]
struct Finished {
    /// `None` for a job of an earlier daemon: its rows are left as they are.
    status: Option<JobStatus>,
    /// Its number among the jobs of this daemon.
    sequence: Option<u64>,
    /// The row it had, to tell a late echo of it from a new one.
    row: Option<Fields>,
    /// When this daemon saw it end, or found it ended.
    ended: Duration,
    /// How long it had been over by then.
    age: Duration,
    /// How it ended.
    ending: Status,
}

impl Finished {
    /// Whether nothing was ever taken for it.
    fn was_refused(&self) -> bool {
        match self.ending {
            Status::Rejected => true,
            Status::Expired => self.status.as_ref().is_none_or(|status| status.started_at.is_none()),
            Status::Queued
            | Status::Starting
            | Status::Running
            | Status::Stopping
            | Status::Done
            | Status::Stopped
            | Status::Failed => false,
        }
    }

    fn forgotten_at(&self, retention: Duration) -> Duration {
        self.ended + retention.saturating_sub(self.age)
    }
}

/// How a row of a door stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being looked at, or it is answered and being removed.
    Passing,
    /// Its job waits for a slot, or holds something: what happens to the row cannot wait.
    Live,
}

/// What an earlier daemon left in STATE_DB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prior {
    /// The status it wrote last.
    pub status: Status,
    /// The door the job had come through.
    pub source: Source,
    /// When it had been taken up.
    pub created_at: Option<Timestamp>,
    /// When it had begun to count.
    pub started_at: Option<Timestamp>,
    /// When it had ended.
    pub ended_at: Option<Timestamp>,
    /// The job's own fields, as that daemon wrote them.
    pub fields: Fields,
}

/// All jobs of one ASIC namespace.
#[derive(Clone, Debug)]
pub struct Supervisor {
    settings: Arc<Settings>,
    jobs: Jobs,
    finished: Remembered,
    /// What an earlier daemon left, until the row's door has been listed once.
    prior: BTreeMap<String, Prior>,
    listed: BTreeSet<Source>,
    next_sequence: u64,
    sweep: Sweep,
    /// Until then a job is not refused while there are sessions of ours that nobody owns: it waits for them to go.
    orphans_until: Duration,
    /// Sessions of ours that no job owns and that stay, by name, each with the session for whose sake.
    kept: BTreeMap<String, String>,
    /// Ports that were removed under a job, by its number: another one may have its name by the time that something is found.
    departed: BTreeMap<u64, Departed>,
    /// Sessions that orchagent does not remove.
    stuck: Stuck,
    /// The latest survey, and when it came.
    seen: Option<(Duration, Arc<World>)>,
    draining: bool,
}

impl Supervisor {
    /// A supervisor that knows no rows yet. `prior` is what STATE_DB says of the jobs of an earlier daemon.
    #[must_use]
    pub fn new(settings: Settings, prior: BTreeMap<String, Prior>, now: Now) -> Supervisor {
        Supervisor {
            settings: Arc::new(settings),
            jobs: Jobs::default(),
            finished: Remembered::default(),
            prior,
            listed: BTreeSet::new(),
            next_sequence: 0,
            sweep: Sweep::new(now.mono),
            orphans_until: now.mono + ORPHANS_GRACE,
            kept: BTreeMap::new(),
            departed: BTreeMap::new(),
            stuck: Stuck::default(),
            seen: None,
            draining: false,
        }
    }

    /// Takes an event in and says what is to be done. Deadlines that have passed by `now` are acted on too.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut turn = Turn::at(now);
        match event {
            Event::Row { door, key, fields } => self.row(door, &key, fields, &mut turn),
            Event::Found { door, key, fields } => self.found(door, &key, fields, &mut turn),
            Event::Rows { door, rows } => self.rows(door, rows, &mut turn),
            Event::Settings(settings) => self.settings_changed(*settings, &mut turn),
            Event::Shutdown => self.shutdown(&mut turn),
            Event::Surveyed { id, world } => self.surveyed(&id, world, &mut turn),
            Event::Provisioned { id, result } => self.provisioned(&id, result, &mut turn),
            Event::Overtaken { session, theirs, port, kept } => {
                self.overtaken(&session, &theirs, &port, kept, &mut turn);
            }
            Event::Withheld { session, why } => self.withheld(&session, &why, &mut turn),
            Event::Released { id, result } => self.released(&id, &result, &mut turn),
            Event::SessionState { session, state } => {
                self.session_word(&session, state, now);
                self.session_state(&session, state, &mut turn);
            }
            Event::Asic { id, view } => self.asic(&id, view, &mut turn),
            Event::Freed { session, result } => self.freed(&session, result, &mut turn),
            Event::Objects { job, held } => self.departed_seen(job, held, &mut turn),
            Event::Sessions { world } => self.sessions(&world, &mut turn),
            Event::SessionsUnlisted { error } => self.sessions_unlisted(&error, &mut turn),
            Event::SessionRow { session, present } => self.session_row(&session, present, now),
            Event::SwitchChanged => self.sweep.want_look(now.mono),
            Event::FeedOpened { id, result } => self.feed_opened(&id, result, &mut turn),
            Event::FeedLost { id, message } => self.feed_lost(&id, message, &mut turn),
            Event::FeedClosed { id, result } => self.feed_closed(&id, result, &mut turn),
            Event::Warned { id, warning } => self.warned(&id, warning),
            Event::Published { key } => self.published(&key, &mut turn),
            Event::RowDeleted { door, key, result } => self.row_deleted(door, &key, &result, &mut turn),
        }
        self.run_timers(&mut turn);
        self.jobs.file();
        turn.effects
    }

    /// Acts on deadlines that have passed by `now`.
    pub fn tick(&mut self, now: Now) -> Vec<Effect> {
        let mut turn = Turn::at(now);
        self.run_timers(&mut turn);
        self.jobs.file();
        turn.effects
    }
}
