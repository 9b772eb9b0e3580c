//! What is said of a job: its STATE_DB row as a value.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::job::{Fields, JobId, JobSpec, rfc3339};
use super::schema::{JobField, Reason, Source, Status, StatusField, Warning};

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
    /// The job's id, unless the key is none.
    #[must_use]
    pub fn id(&self) -> Option<JobId> {
        JobId::parse(&self.key).ok()
    }

    /// The STATE_DB row: every parsed field, then what the daemon adds. Absent values are left out.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(String, String)> {
        let spec_fields = self.spec.as_ref().map(JobSpec::to_fields).unwrap_or_default();
        let mut row: Vec<(String, String)> = spec_fields
            .into_iter()
            .filter(|(field, _)| *field != JobField::ExpiresAt)
            .map(|(field, value)| (field.table_name(), value))
            .collect();
        if self.spec.is_none() {
            row.extend(self.raw_fields());
        }
        let added = StatusField::ALL.iter().filter_map(|field| Some((field.to_string(), self.added(*field)?)));
        row.extend(added);
        row
    }

    fn added(&self, field: StatusField) -> Option<String> {
        let words = |warnings: &BTreeSet<Warning>| -> Vec<&str> { warnings.iter().map(|w| w.as_str()).collect() };
        match field {
            StatusField::Status => Some(self.status.to_string()),
            StatusField::Reason => self.reason.map(|reason| reason.to_string()),
            StatusField::Message => (!self.message.is_empty()).then(|| self.message.clone()),
            StatusField::Warning => (!self.warnings.is_empty()).then(|| words(&self.warnings).join(",")),
            StatusField::Source => Some(self.source.to_string()),
            StatusField::Tap => self.tap.clone(),
            StatusField::MirrorSession => self.mirror_session.clone(),
            StatusField::CreatedAt => Some(rfc3339(self.created_at)),
            StatusField::StartedAt => self.started_at.map(rfc3339),
            StatusField::ExpiresAt => self.expires_at.map(rfc3339),
            StatusField::EndedAt => self.ended_at.map(rfc3339),
        }
    }

    /// The known fields of a row that could not be parsed, so that its user recognises it.
    fn raw_fields(&self) -> impl Iterator<Item = (String, String)> {
        self.raw.iter().filter_map(|(name, value)| {
            let field = JobField::from_word(name.strip_suffix('@').unwrap_or(name))?;
            (field != JobField::ExpiresAt).then(|| (field.table_name(), super::value::printable(value)))
        })
    }
}
