//! What is said of a job. Its row in STATE_DB is written by `rows::job`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::job::{Fields, JobId, JobSpec};
use super::schema::{Reason, Source, Status, Warning};

/// How a job ended, or is about to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A final status.
    pub status: Status,
    /// Why; `None` for a job that simply ran its time or was stopped by its user.
    pub reason: Option<Reason>,
    /// One sentence a person can act on; may be empty.
    pub message: String,
}

impl Ending {
    /// Says one thing more.
    pub fn add(&mut self, more: &str) {
        add(&mut self.message, more);
    }

    /// Something went wrong while the job was ending: one that would have been done has failed, any other keeps its first reason.
    pub fn spoil(&mut self, reason: Reason, message: &str) {
        match self.status {
            Status::Done => *self = Ending::failed(reason, message),
            _ => self.add(message),
        }
    }

    /// The job ran its time.
    #[must_use]
    pub fn done() -> Ending {
        Ending { status: Status::Done, reason: None, message: String::new() }
    }

    /// Somebody deleted the row.
    #[must_use]
    pub fn stopped() -> Ending {
        Ending { status: Status::Stopped, reason: None, message: String::new() }
    }

    /// Stopped, but not by the job's user.
    pub fn stopped_by(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Stopped, reason: Some(reason), message: message.into() }
    }

    /// Refused before anything was taken.
    pub fn rejected(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Rejected, reason: Some(reason), message: message.into() }
    }

    /// Ended by trouble after something was taken.
    pub fn failed(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Failed, reason: Some(reason), message: message.into() }
    }

    /// Its time was over before it could run.
    pub fn expired(message: impl Into<String>) -> Ending {
        Ending { status: Status::Expired, reason: None, message: message.into() }
    }
}

fn add(message: &mut String, more: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(more);
}

/// What was refused, and how much of it nothing is said of any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Rows that were refused since the daemon was started.
    pub total: u64,
    /// Those of them that made room for newer ones before their retention ended.
    pub not_kept: u64,
}

/// Everything that is said of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The row's key, as its user wrote it: a refused one need not be a well-formed [`JobId`].
    pub key: String,
    /// What was asked for; `None` if the row could not be parsed.
    pub spec: Option<JobSpec>,
    /// The row as it came, shown where it could not be parsed.
    pub raw: Fields,
    /// Where the job is.
    pub status: Status,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// One sentence.
    pub message: String,
    /// What its user should know.
    pub warnings: BTreeSet<Warning>,
    /// The door it came through.
    pub source: Source,
    /// The netdev that is tapped.
    pub tap: Option<String>,
    /// The mirror session, while there is one or if there was one.
    pub mirror_session: Option<String>,
    /// When the daemon took the row up.
    pub created_at: Timestamp,
    /// When counting began.
    pub started_at: Option<Timestamp>,
    /// When it will end, or would have ended.
    pub expires_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl JobStatus {
    /// Says one thing more.
    pub fn add(&mut self, more: &str) {
        add(&mut self.message, more);
    }

    /// The job's id, unless the key is none.
    #[must_use]
    pub fn id(&self) -> Option<JobId> {
        JobId::parse(&self.key).ok()
    }
}
