//! Starting a job, as the command line and REST both do it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::JobRow;
use super::JobTables;
use super::error::TablesError;
use super::members::to_row;
use super::watch::Waited;
use crate::model::job::{Fields, JobId, JobSpec, rfc3339};
use crate::model::schema::{JobField, StatusField};
use crate::model::settings::Settings;
use crate::model::value::FieldError;

/// How long the daemon has to say something of a new job (contract, section 3).
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartRequest {
    /// The id; generated if there is none.
    pub id: Option<JobId>,
    /// The fields as the user wrote them; list items separated by commas.
    pub fields: BTreeMap<JobField, String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// Not written: the daemon would refuse it for this.
    Invalid(FieldError),
    /// Not written: a job of this id is not over.
    IdInUse(JobId),
    /// Written and withdrawn: nobody answered, and no daemon has given a sign of life lately.
    NoDaemon {
        /// The job's id.
        id: JobId,
        /// The last sign of life there was.
        heartbeat: Option<Timestamp>,
    },
    /// Written; a daemon lives, but said nothing of the job in time. It may still run.
    Unanswered(JobId),
    /// The daemon's answer, whatever it is.
    Answered(JobRow),
}

impl StartRequest {
    /// The row that [`JobTables::start`] would write at `now`.
    ///
    /// # Errors
    /// What the daemon would refuse a row for.
    pub fn to_row(&self, settings: &Settings, now: Timestamp) -> Result<Fields, FieldError> {
        let spec = JobSpec::parse(&to_row(&self.fields), settings)?;
        // In canonical form, but only what was asked for: defaults are the daemon's to fill in.
        let given: BTreeMap<JobField, String> =
            spec.to_fields().into_iter().filter(|(field, _)| self.fields.contains_key(field)).collect();
        let mut row = to_row(&given);
        let longest = SignedDuration::try_from(settings.queue_ttl + spec.duration).unwrap_or(SignedDuration::MAX);
        let expires_at = now.checked_add(longest).unwrap_or(Timestamp::MAX);
        row.insert(JobField::ExpiresAt.table_name(), rfc3339(expires_at));
        Ok(row)
    }
}

impl JobTables {
    /// Writes a job's row and waits up to [`ANSWER_TIMEOUT`] for the daemon's word on it.
    ///
    /// # Errors
    /// Redis is away; whether the row was written is then unknown, but it carries its own end.
    pub async fn start(&self, request: &StartRequest) -> Result<StartOutcome, TablesError> {
        let row = match request.to_row(&self.settings().await?, Timestamp::now()) {
            Ok(row) => row,
            Err(error) => return Ok(StartOutcome::Invalid(error)),
        };
        let id = match &request.id {
            Some(id) => id.clone(),
            None => JobId::generate(getrandom::u64().map_err(TablesError::Random)?),
        };
        let mut watch = self.watch(id.as_str()).await?;
        let before = watch.row().await?;
        let is_in_use = before.as_ref().is_some_and(|row| !row.status.is_final());
        if is_in_use || !self.write_job(&id, &row).await? {
            return Ok(StartOutcome::IdInUse(id));
        }
        // A finished job of this id may still be there: its row is no answer.
        let taken_up = |row: &JobRow| row.added(StatusField::CreatedAt).map(str::to_owned);
        let old = before.as_ref().map(taken_up);
        let is_answer = |row: Option<&JobRow>| row.is_some_and(|row| Some(taken_up(row)) != old);
        match watch.until(Instant::now() + ANSWER_TIMEOUT, is_answer).await? {
            Waited::Met(Some(row)) => Ok(StartOutcome::Answered(row)),
            Waited::Met(None) | Waited::TimedOut(_) => self.unanswered(id).await,
        }
    }

    async fn unanswered(&self, id: JobId) -> Result<StartOutcome, TablesError> {
        let daemon = self.daemon().await?;
        if daemon.is_alive(Timestamp::now()) {
            return Ok(StartOutcome::Unanswered(id));
        }
        self.delete_job(id.as_str()).await?;
        Ok(StartOutcome::NoDaemon { id, heartbeat: daemon.heartbeat() })
    }
}

/// The sentence for [`StartOutcome::NoDaemon`].
#[must_use]
pub fn no_daemon_message(heartbeat: Option<Timestamp>) -> String {
    let last = heartbeat.map_or_else(
        || "there is no sign that one ever ran".to_owned(),
        |heartbeat| format!("the last sign of life was at {}", rfc3339(heartbeat)),
    );
    format!("no telegen daemon answers ({last}); the job's row was withdrawn; start the telegen service and try again")
}

/// The sentence for [`StartOutcome::Unanswered`].
#[must_use]
pub fn unanswered_message(id: &JobId) -> String {
    format!(
        "the daemon has not answered within {} s; the job may still start: ask for its status, or stop {id}",
        ANSWER_TIMEOUT.as_secs()
    )
}

/// The sentence for [`StartOutcome::IdInUse`].
#[must_use]
pub fn id_in_use_message(id: &JobId) -> String {
    format!("job_id: \"{id}\" belongs to a job that is not over; give another id, or none to have one made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_asked_for_in_canonical_form_and_when_it_ends() {
        let fields = [
            (JobField::Port, "Ethernet16"),
            (JobField::Duration, "90"),
            (JobField::IpProto, "6,UDP"),
            (JobField::DstCidr, "10.1.2.3/8"),
        ];
        let fields = fields.into_iter().map(|(field, value)| (field, value.to_owned())).collect();
        let request = StartRequest { id: None, fields };
        let now = "2026-01-31T03:00:00Z".parse().unwrap();
        let row = request.to_row(&Settings::default(), now).unwrap();
        let expected = [
            ("dst_cidr", "10.0.0.0/8"),
            ("duration", "90"),
            // 60 s of queue_ttl and the duration.
            ("expires_at", "2026-01-31T03:02:30.000Z"),
            ("ip_proto@", "tcp,udp"),
            ("port", "Ethernet16"),
        ];
        let expected: Fields = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(row, expected);
    }

    #[test]
    fn a_row_without_a_duration_ends_by_the_default_of_the_settings() {
        let fields = BTreeMap::from([(JobField::Port, "Ethernet16".to_owned())]);
        let request = StartRequest { id: None, fields };
        let settings = Settings {
            default_duration: Duration::from_secs(10),
            queue_ttl: Duration::from_secs(1),
            ..Settings::default()
        };
        let row = request.to_row(&settings, "2026-01-31T03:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(row["expires_at"], "2026-01-31T03:00:11.000Z");
        assert!(!row.contains_key("duration"));
    }
}
