//! The name of a job, and those of its mirror sessions.

use std::fmt;

use crate::model::limits::{JOB_ID_MAX_CHARS, SESSIONS_MAX};
use crate::model::schema::SESSION_PREFIX;
use crate::model::value::FieldError;

/// The name of a job: `[a-zA-Z0-9][-a-zA-Z0-9_]{0,20}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl JobId {
    /// Accepts a well-formed id.
    ///
    /// # Errors
    /// `invalid_field` that says what an id looks like.
    pub fn parse(text: &str) -> Result<JobId, FieldError> {
        let mut bytes = text.bytes();
        let well_formed = text.len() <= JOB_ID_MAX_CHARS
            && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if well_formed {
            Ok(JobId(text.to_owned()))
        } else {
            let accepted = "a letter or digit, then up to 20 letters, digits, - or _";
            Err(FieldError::invalid("job_id", text, accepted))
        }
    }

    /// A new id: 12 hexadecimal digits of `random`.
    #[must_use]
    pub fn generate(random: u64) -> JobId {
        JobId(format!("{:012x}", random & 0xffff_ffff_ffff))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of one of this job's mirror sessions, of which the first has number 1: `telegen_<id>`, then
    /// `telegen__<number>_<id>`.
    ///
    /// An id begins with a letter or a digit, so the character behind the prefix tells the two forms apart. Both fit
    /// the pattern of sonic-mirror-session.yang: a name outside of it makes every validated change of CONFIG_DB fail
    /// while the row stands.
    #[must_use]
    pub fn session_name(&self, number: usize) -> String {
        match number {
            0 | 1 => format!("{SESSION_PREFIX}{}", self.0),
            number => format!("{SESSION_PREFIX}_{number}_{}", self.0),
        }
    }

    /// The job whose session this is; `None` for sessions that no job can have.
    #[must_use]
    pub fn of_session(name: &str) -> Option<JobId> {
        let rest = name.strip_prefix(SESSION_PREFIX)?;
        let Some(further) = rest.strip_prefix('_') else { return JobId::parse(rest).ok() };
        let (number, id) = further.split_once('_')?;
        let id = JobId::parse(id).ok()?;
        // The one spelling that `session_name` gives, so that a session has one name and a name one session.
        let number = number.parse().ok().filter(|number| (2..=SESSIONS_MAX).contains(number))?;
        (id.session_name(number) == name).then_some(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
