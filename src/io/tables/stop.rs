//! Stopping one job.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::JobRow;
use super::JobTables;
use super::error::TablesError;
use super::watch::Waited;
use crate::model::job::Fields;
use crate::model::schema::{Source, StatusField, appl_db, config_db};
use crate::sonic::ProducerStateTable;

/// How long a job may take to end (contract, section 3): orchagent has 5 s of it for the mirror session.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// What became of a wish to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// No table knows the job.
    Unknown,
    /// The job is over, since now or before.
    Over(JobRow),
    /// The row is gone, and nobody had said anything of the job.
    Withdrawn,
    /// The row is gone, but the job was not over in time.
    Late(JobRow),
    /// The row is gone; STATE_DB says that the job is not over, but no daemon lives that could run or end it.
    NoDaemon(JobRow),
}

impl JobTables {
    /// Deletes a job's row, whichever door it came through, and waits up to [`STOP_TIMEOUT`] until the job is over.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn stop(&self, id: &str) -> Result<StopOutcome, TablesError> {
        let mut watch = self.watch(id).await?;
        let before = watch.row().await?;
        let deleted = self.delete_everywhere(id, before.as_ref()).await?;
        match before {
            None if !deleted => return Ok(StopOutcome::Unknown),
            Some(row) if row.status.is_final() && !deleted => return Ok(StopOutcome::Over(row)),
            None | Some(_) => {}
        }
        if !self.is_daemon_alive().await? {
            return Ok(match watch.row().await? {
                None => StopOutcome::Withdrawn,
                Some(row) if row.status.is_final() => StopOutcome::Over(row),
                Some(row) => StopOutcome::NoDaemon(row),
            });
        }
        // A job that was refused a moment ago has a final row; one that nobody had taken up never gets a row.
        let was_unsaid = before.is_none();
        let is_over = |row: Option<&JobRow>| row.map_or(was_unsaid, |row| row.status.is_final());
        let waited = watch.until(Instant::now() + STOP_TIMEOUT, is_over).await?;
        Ok(match waited {
            Waited::Met(Some(row)) => StopOutcome::Over(row),
            Waited::TimedOut(Some(row)) if self.has_fallen_silent().await? => StopOutcome::NoDaemon(row),
            Waited::TimedOut(Some(row)) => StopOutcome::Late(row),
            Waited::Met(None) | Waited::TimedOut(None) => StopOutcome::Withdrawn,
        })
    }

    /// Whether the daemon gave no sign of life while a job should have ended: two heartbeats are missing.
    async fn has_fallen_silent(&self) -> Result<bool, TablesError> {
        let silence = self.daemon().await?.silence(Timestamp::now());
        Ok(silence.is_none_or(|silence| silence >= STOP_TIMEOUT))
    }

    /// Every job that is not over: those with a row, and those of which STATE_DB says so.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn live_jobs(&self) -> Result<Vec<String>, TablesError> {
        let mut ids = self.config.connection().await?.keys(config_db::JOB).await?;
        ids.extend(self.appl_jobs().await?);
        let said = self.jobs().await?.into_iter().filter(|job| !job.status.is_final());
        ids.extend(said.map(|job| job.id));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Deletes the job's rows; says whether there was any.
    pub(super) async fn delete_everywhere(&self, id: &str, row: Option<&JobRow>) -> Result<bool, TablesError> {
        let deleted = self.delete_job(id).await?;
        let source = row.and_then(|row| Source::from_word(row.added(StatusField::Source)?));
        let is_live = row.is_none_or(|row| !row.status.is_final());
        // A CONFIG_DB job's id never needs the queue of APPL_DB; asking first keeps it free of keys that nobody wrote.
        let may_be_there = is_live && (source == Some(Source::Appl) || !deleted);
        if !may_be_there || self.appl_rows(id).await?.iter().all(Fields::is_empty) {
            return Ok(deleted);
        }
        let connection = self.appl.connection().await?;
        ProducerStateTable::new(connection, appl_db::JOB).del(id).await?;
        Ok(true)
    }
}
