//! Stopping one job, and draining: ending everything, also with no daemon left to help.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::JobTables;
use super::error::TablesError;
use super::rows::JobRow;
use super::watch::{Changes, Waited};
use crate::model::job::JobId;
use crate::model::schema::{Source, Status, StatusField, appl_db, config_db, state_db};
use crate::sonic::ProducerStateTable;

/// How long a job may take to end (contract, section 3): orchagent has 5 s of it for the mirror session.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long everything may take to end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

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

/// What draining did, and what it could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Jobs whose rows were deleted, or which were ending already, with what is said of each at the end.
    pub jobs: BTreeMap<String, Option<Status>>,
    /// Whether a daemon was there to end them.
    pub by_daemon: bool,
    /// Sessions that were there at the beginning.
    pub sessions: Vec<String>,
    /// Sessions whose rows are still there.
    pub sessions_left: Vec<String>,
    /// Sessions whose removal orchagent has not confirmed.
    pub unconfirmed: Vec<String>,
}

impl Drained {
    /// Whether nothing of telegen's is left on the switch.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sessions_left.is_empty() && self.unconfirmed.is_empty() && (!self.by_daemon || self.live_jobs().is_empty())
    }

    /// Jobs of which STATE_DB still does not say that they are over.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<&str> {
        let live = self.jobs.iter().filter(|(_, status)| status.is_some_and(|status| !status.is_final()));
        live.map(|(id, _)| id.as_str()).collect()
    }
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

    /// Ends every job and sees to it that no session of ours is left. With no daemon, the sessions are deleted here.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn drain(&self) -> Result<Drained, TablesError> {
        let (config, state) = (&self.config.database, &self.state.database);
        let watched = [(config, config_db::MIRROR_SESSION), (state, state_db::JOB), (state, state_db::MIRROR_SESSION)];
        let mut changes = Changes::of_tables(&watched).await?;
        let by_daemon = self.is_daemon_alive().await?;
        // Before the rows go: a daemon is quick to remove a session, and the account would miss it.
        let mut drained = Drained { by_daemon, sessions: self.sessions().await?, ..Drained::default() };
        for id in self.live_jobs().await? {
            let row = self.job(&id).await?;
            self.delete_everywhere(&id, row.as_ref()).await?;
            drained.jobs.insert(id, None);
        }
        if !drained.by_daemon {
            self.delete_sessions(&drained.sessions).await?;
        }
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        loop {
            self.look_again(&mut drained).await?;
            if drained.is_complete() || Instant::now() >= deadline {
                return Ok(drained);
            }
            changes.next(deadline).await?;
        }
    }

    async fn look_again(&self, drained: &mut Drained) -> Result<(), TablesError> {
        let said: BTreeMap<String, Status> = self.jobs().await?.into_iter().map(|job| (job.id, job.status)).collect();
        for (id, status) in &mut drained.jobs {
            *status = said.get(id).copied();
        }
        drained.sessions_left = self.sessions().await?;
        let states = self.state.connection().await?.keys(state_db::MIRROR_SESSION).await?;
        drained.unconfirmed = states
            .into_iter()
            .filter(|name| JobId::of_session(name).is_some() && !drained.sessions_left.contains(name))
            .collect();
        Ok(())
    }

    /// Deletes the job's rows; says whether there was any.
    async fn delete_everywhere(&self, id: &str, row: Option<&JobRow>) -> Result<bool, TablesError> {
        let deleted = self.delete_job(id).await?;
        let source = row.and_then(|row| Source::from_word(row.added(StatusField::Source)?));
        let is_live = row.is_none_or(|row| !row.status.is_final());
        // A CONFIG_DB job's id never needs the queue of APPL_DB; asking first keeps it free of keys that nobody wrote.
        let may_be_there = is_live && (source == Some(Source::Appl) || !deleted);
        if !may_be_there || !self.appl_jobs().await?.iter().any(|known| known == id) {
            return Ok(deleted);
        }
        let connection = self.appl.connection().await?;
        ProducerStateTable::new(connection, appl_db::JOB).del(id).await?;
        Ok(true)
    }

    /// Deletes sessions of ours; nobody else's name can be in the list.
    async fn delete_sessions(&self, sessions: &[String]) -> Result<(), TablesError> {
        let connection = self.config.connection().await?;
        for name in sessions {
            connection.del(&self.config.database.key(config_db::MIRROR_SESSION, name)).await?;
        }
        Ok(())
    }
}
