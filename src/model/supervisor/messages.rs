//! What the supervisor is told and what it asks for: events and effects, as values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stuck::Freed;
use crate::model::admission::{MirrorPlan, MirrorTarget};
use crate::model::asic::{Oid, Question, View};
use crate::model::erspan::Outer;
use crate::model::job::{Direction, Fields, JobId, JobSpec};
use crate::model::overtaken::Taken;
use crate::model::schema::{Reason, Source, Warning};
use crate::model::settings::Settings;
use crate::model::world::{Session, World};

/// What orchagent says of a session in STATE_DB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// No row: refused, not yet processed, or removed.
    Absent,
    /// A row that says `inactive`, or nothing.
    Inactive,
    /// A row that says `active`.
    Active,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A row is there with these fields, or is not there. Only a hint to compare: saying it twice changes nothing.
    Row {
        /// The door.
        door: Source,
        /// The row's key.
        key: String,
        /// Its fields; `None` when it is gone.
        fields: Option<Fields>,
    },
    /// All rows of a door that anybody knows: the supervisor, or an earlier daemon. There may be others, which come as [`Event::Row`] and
    /// [`Event::Found`].
    Rows {
        /// The door.
        door: Source,
        /// Every row by key.
        rows: BTreeMap<String, Fields>,
    },
    /// A row that the door's first listing found: it was there before anybody watched.
    Found {
        /// The door.
        door: Source,
        /// The row's key.
        key: String,
        /// Its fields.
        fields: Fields,
    },
    /// The settings changed.
    Settings(Box<Settings>),
    /// The snapshot that was asked for.
    Surveyed {
        /// For which job.
        id: JobId,
        /// The snapshot, or why it could not be taken.
        world: Result<Arc<World>, String>,
    },
    /// `SetMirror` was carried out, or not.
    MirrorSet {
        /// For which job.
        id: JobId,
        /// What was in the way, so that nothing was written: somebody else's session, which came after the survey. Or why it failed.
        result: Result<Option<Taken>, String>,
    },
    /// `DeleteMirror` was carried out, or not.
    MirrorDeleted {
        /// For which job.
        id: JobId,
        /// Why not.
        result: Result<(), String>,
    },
    /// A session of ours that was to be deleted lies under one of somebody else's.
    Overtaken {
        /// Ours.
        session: String,
        /// Theirs.
        theirs: String,
        /// The port.
        port: String,
        /// ASIC_DB shows the port bound to theirs, so ours was not deleted; no other answer follows. Otherwise it is not, and ours was.
        kept: bool,
    },
    /// orchagent's word on a session of ours, also on one that no job can have.
    SessionState {
        /// Its name.
        session: String,
        /// The word.
        state: SessionState,
    },
    /// A snapshot taken because mirror sessions changed, or because it was time to look.
    Sessions {
        /// The snapshot.
        world: Box<World>,
    },
    /// `AskAsic` was answered, or could not be.
    Asic {
        /// For which job.
        id: JobId,
        /// What ASIC_DB shows.
        view: Result<View, String>,
    },
    /// `AskObjects` was answered, or could not be.
    Objects {
        /// The number of the job whose ports they were.
        job: u64,
        /// The ports whose object is still there.
        held: Result<Vec<String>, String>,
    },
    /// The snapshot for [`Event::Sessions`] could not be taken.
    SessionsUnlisted {
        /// Why not.
        error: String,
    },
    /// A row of CONFIG_DB `MIRROR_SESSION`, ours or somebody's, was written or deleted.
    SessionRow {
        /// The session's name.
        session: String,
        /// Whether the row is there.
        present: bool,
    },
    /// Something else that jobs depend on changed, or may have: ports, members of port channels, or anything while a database was away.
    SwitchChanged,
    /// `Free` was carried out, or could not be.
    Freed {
        /// Which session.
        session: String,
        /// What became of it.
        result: Result<Freed, String>,
    },
    /// `OpenTap` was carried out, or not.
    TapOpened {
        /// For which job.
        id: JobId,
        /// Why not.
        result: Result<(), (Reason, String)>,
    },
    /// The tapped device is gone.
    TapLost {
        /// For which job.
        id: JobId,
        /// What was seen.
        message: String,
    },
    /// `CloseTap` was carried out; the last sample has been read if it could be.
    TapClosed {
        /// For which job.
        id: JobId,
        /// Why the last sample could not be read.
        result: Result<(), String>,
    },
    /// The aggregator or the executor noticed something that the job's user should know.
    Warned {
        /// For which job.
        id: JobId,
        /// What.
        warning: Warning,
    },
    /// The final status of a job stands in STATE_DB.
    Published {
        /// The row's key.
        key: String,
    },
    /// `DeleteRow` was carried out, or not.
    RowDeleted {
        /// The door.
        door: Source,
        /// The row's key.
        key: String,
        /// Why not.
        result: Result<(), String>,
    },
    /// SIGTERM, or `drain`: end every job and take no more.
    Shutdown,
}

/// What is to be done. The executor translates; it never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take a snapshot of the switch; answered by [`Event::Surveyed`].
    Survey {
        /// For which job.
        id: JobId,
    },
    /// Write the sessions, each in one HSET; answered by [`Event::MirrorSet`].
    SetMirror {
        /// For which job.
        id: JobId,
        /// The sessions.
        plan: MirrorPlan,
    },
    /// Delete the sessions; answered by [`Event::MirrorDeleted`].
    DeleteMirror {
        /// For which job.
        id: JobId,
        /// The sessions.
        plan: MirrorPlan,
    },
    /// Ask ASIC_DB for the job's ports; answered by [`Event::Asic`].
    AskAsic {
        /// For which job.
        id: JobId,
        /// What is asked.
        question: Question,
    },
    /// Look into a session that orchagent does not remove, and free it if that harms nobody; answered by [`Event::Freed`].
    Free {
        /// Its name.
        session: String,
        /// What its row said.
        row: Session,
        /// Where its copies went.
        target: MirrorTarget,
    },
    /// Ask ASIC_DB whether these ports' objects are still there; answered by [`Event::Objects`].
    AskObjects {
        /// The number of the job whose ports they were.
        job: u64,
        /// The ports and their objects.
        oids: BTreeMap<String, Oid>,
    },
    /// Delete a session of ours that no job owns; repeated by the sweep, ever more seldom, until it is gone.
    DeleteOrphan {
        /// The session's name; always begins with `telegen_`.
        session: String,
    },
    /// Take a snapshot for [`Event::Sessions`].
    ListSessions,
    /// Load and attach the tap; answered by [`Event::TapOpened`].
    OpenTap {
        /// For which job.
        id: JobId,
        /// What to count.
        spec: Arc<JobSpec>,
        /// On which netdev.
        netdev: String,
        /// At which hooks.
        hooks: Direction,
        /// In which GRE the copies come; `None`: as they are.
        outer: Option<Outer>,
    },
    /// Read the tap a last time and remove it; answered by [`Event::TapClosed`].
    CloseTap {
        /// For which job.
        id: JobId,
    },
    /// Delete the job's row; answered by [`Event::RowDeleted`].
    DeleteRow {
        /// The door.
        door: Source,
        /// The row's key.
        key: String,
    },
    /// Delete what STATE_DB says of a job that is forgotten.
    ClearResults {
        /// The row's key.
        key: String,
    },
    /// One line for the log.
    Log {
        /// What it is about.
        about: About,
        /// The line.
        line: String,
    },
}

impl Effect {
    /// A line about the switch: sessions, ports, what stands in its tables.
    pub(super) fn log(line: String) -> Effect {
        Effect::Log { about: About::Switch, line }
    }

    /// A line about rows of jobs. It does not name one, so that thousands of rows are one line and a number.
    pub(super) fn log_of_rows(line: String) -> Effect {
        Effect::Log { about: About::Rows, line }
    }
}

/// What a line in the log is about. Of each a number of lines is said in a minute, so that a flood of rows hides nothing about the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Rows of jobs, of which there may be thousands.
    Rows,
    /// Anything else.
    Switch,
}
