//! What the supervisor asks for, as values. Each group has one who carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::asic::{Oid, Question};
use crate::model::feed::Feed;
use crate::model::job::{JobId, JobSpec};
use crate::model::provision::Provision;
use crate::model::provision::mirror::MirrorTarget;
use crate::model::schema::Source;
use crate::model::world::Session;

/// What is to be done, by who carries it out. The executor translates; it never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// For the worker that writes into the switch what jobs need there.
    Provision(ProvisionEffect),
    /// For those who ask ASIC_DB, and cure by what it shows.
    Asic(AsicEffect),
    /// Read the switch's tables. Answered by [`super::Event::Surveyed`] if a job asks, and else by [`super::Event::Sessions`] or
    /// [`super::Event::SessionsUnlisted`].
    ReadSwitch {
        /// For which job; `None`: to look for what changed.
        job: Option<JobId>,
    },
    /// Delete a job's row; answered by [`super::Event::RowDeleted`].
    DeleteRow(RowKey),
    /// For the threads that open, read and close feeds.
    Feed(FeedEffect),
    /// For the keeper of the jobs' numbers.
    Results(ResultsEffect),
    /// One line for the log.
    Log {
        /// What it is about.
        about: About,
        /// The line.
        line: String,
    },
}

/// What is written into the switch and removed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionEffect {
    /// Write what a job needs in the switch; answered by [`super::Event::Provisioned`].
    Write {
        /// For which job.
        id: JobId,
        /// What.
        provision: Provision,
    },
    /// Remove it; answered by [`super::Event::Released`].
    Remove {
        /// For which job.
        id: JobId,
        /// What.
        provision: Provision,
    },
    /// Delete a session of ours that no job owns; repeated by the sweep, ever more seldom, until it is gone.
    RemoveOrphan {
        /// The session's name; always begins with `telegen_`.
        session: String,
    },
}

/// What ASIC_DB is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsicEffect {
    /// Ask for the job's ports; answered by [`super::Event::Asic`].
    Ask {
        /// For which job.
        id: JobId,
        /// What is asked.
        question: Question,
    },
    /// Ask whether these ports' objects are still there; answered by [`super::Event::Objects`].
    AskObjects {
        /// The number of the job whose ports they were.
        job: u64,
        /// The ports and their objects.
        oids: BTreeMap<String, Oid>,
    },
    /// Look into a session that orchagent does not remove, and free it if that harms nobody; answered by [`super::Event::Freed`].
    Free {
        /// Its name.
        session: String,
        /// What its row said.
        row: Session,
        /// Where its copies went.
        target: MirrorTarget,
    },
}

/// A job's row at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// The door.
    pub door: Source,
    /// The row's key.
    pub key: String,
}

/// Feeds that are opened and closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEffect {
    /// Open the feed; answered by [`super::Event::FeedOpened`].
    Open {
        /// For which job.
        id: JobId,
        /// What to count.
        spec: Arc<JobSpec>,
        /// Where the packets come from.
        feed: Feed,
    },
    /// Read it a last time and close it; answered by [`super::Event::FeedClosed`].
    Close {
        /// For which job.
        id: JobId,
    },
}

/// Numbers of jobs that are begun and forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultsEffect {
    /// Get ready for a job's numbers; comes before its first reading can.
    Begin {
        /// For which job.
        id: JobId,
        /// What it asks for.
        spec: Arc<JobSpec>,
    },
    /// Delete what STATE_DB says of a job that is forgotten.
    Clear {
        /// The row's key.
        key: String,
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

    /// What a job needs in the switch is to be written.
    pub(super) fn provision(id: JobId, provision: Provision) -> Effect {
        Effect::Provision(ProvisionEffect::Write { id, provision })
    }

    /// What a job has in the switch is to be removed.
    pub(super) fn release(id: JobId, provision: Provision) -> Effect {
        Effect::Provision(ProvisionEffect::Remove { id, provision })
    }

    /// A job waits for a look at the switch.
    pub(super) fn survey(id: JobId) -> Effect {
        Effect::ReadSwitch { job: Some(id) }
    }

    /// A job's row is to be deleted.
    pub(super) fn delete_row(door: Source, key: &str) -> Effect {
        Effect::DeleteRow(RowKey { door, key: key.to_owned() })
    }

    /// What STATE_DB says of a job is to be deleted.
    pub(super) fn clear_results(key: String) -> Effect {
        Effect::Results(ResultsEffect::Clear { key })
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
