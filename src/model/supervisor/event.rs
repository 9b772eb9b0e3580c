//! What the supervisor is told, as values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stuck::Freed;
use crate::model::asic::View;
use crate::model::job::{Fields, JobId};
use crate::model::overtaken::Taken;
use crate::model::schema::{Reason, Source, Warning};
use crate::model::settings::Settings;
use crate::model::world::World;

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
    /// [`super::ProvisionEffect::Write`] was carried out, or not.
    Provisioned {
        /// For which job.
        id: JobId,
        /// What was in the way, so that nothing was written: somebody else's session, which came after the survey. Or why it failed.
        result: Result<Option<Taken>, String>,
    },
    /// [`super::ProvisionEffect::Remove`] was carried out, or not.
    Released {
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
    /// A session of ours that no job owns was not deleted, because it is not known what that would do to one of somebody else's.
    Withheld {
        /// Ours.
        session: String,
        /// Why not.
        why: String,
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
    /// [`super::AsicEffect::Ask`] was answered, or could not be.
    Asic {
        /// For which job.
        id: JobId,
        /// What ASIC_DB shows.
        view: Result<View, String>,
    },
    /// [`super::AsicEffect::AskObjects`] was answered, or could not be.
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
    /// [`super::AsicEffect::Free`] was carried out, or could not be.
    Freed {
        /// Which session.
        session: String,
        /// What became of it.
        result: Result<Freed, String>,
    },
    /// [`super::FeedEffect::Open`] was carried out, or not.
    FeedOpened {
        /// For which job.
        id: JobId,
        /// Why not.
        result: Result<(), (Reason, String)>,
    },
    /// The tapped device is gone.
    FeedLost {
        /// For which job.
        id: JobId,
        /// What was seen.
        message: String,
    },
    /// [`super::FeedEffect::Close`] was carried out; the last sample has been read if it could be.
    FeedClosed {
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
    /// [`super::Effect::DeleteRow`] was carried out, or not.
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
