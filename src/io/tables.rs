//! One client of the tables, for the command line and the REST shim: start a job, stop it, ask what is said of it.
//!
//! It writes job rows and reads everything else, as any other program could; what a row means is the daemon's to judge. It decides
//! nothing about mirror sessions, except that [`JobTables::drain`] removes ours when no daemon is left to do so.

mod drain;
mod dump;
mod error;
mod filters;
mod follow;
pub mod json;
pub mod members;
mod start;
mod stop;
mod watch;

use jiff::Timestamp;
use tokio::sync::Mutex;

pub use drain::{DRAIN_TIMEOUT, Drained};
pub use error::TablesError;
pub use filters::SweepError;
pub use start::{ANSWER_TIMEOUT, StartOutcome, StartRequest, id_in_use_message, no_daemon_message, unanswered_message};
pub use stop::{STOP_TIMEOUT, StopOutcome};
pub use watch::{JobChanges, JobWatch, Waited};

use crate::model::job::{Fields, JobId};
use crate::model::limits::STATE_FLOWS_MAX;
use crate::model::report::FlowRow;
use crate::model::rows::flow;
pub use crate::model::rows::{DaemonRow, HistogramRow, JobRow, ResultsRow, RowError};
use crate::model::schema::{HistogramName, SESSION_PREFIX, StatusField, appl_db, config_db, state_db};
use crate::model::settings::Settings;
use crate::sonic::{Database, DatabaseConfig, DatabaseConfigError, Reconnecting, RedisConnection};

/// The databases by the names of `database_config.json`.
pub(crate) const CONFIG_DB: &str = "CONFIG_DB";
pub(crate) const STATE_DB: &str = "STATE_DB";
pub(crate) const APPL_DB: &str = "APPL_DB";

/// The tables of one ASIC namespace. Connects when needed, and again after a loss.
#[derive(Debug)]
pub struct JobTables {
    config: Link,
    state: Link,
    appl: Link,
    follower: follow::Follower,
}

/// All that STATE_DB says of one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    /// Where it is.
    pub job: JobRow,
    /// Its totals; `None` before the first reading.
    pub results: Option<ResultsRow>,
    /// Its largest flows, largest first.
    pub flows: Vec<FlowRow>,
    /// Its histograms.
    pub histograms: Vec<HistogramRow>,
}

/// One database that many callers share.
#[derive(Debug)]
struct Link {
    database: Database,
    link: Mutex<Reconnecting>,
}

impl Link {
    fn new(config: &DatabaseConfig, name: &str) -> Result<Link, DatabaseConfigError> {
        Ok(Link { database: config.database(name)?.clone(), link: Mutex::new(Reconnecting::new(config, name)?) })
    }

    async fn connection(&self) -> Result<RedisConnection, TablesError> {
        Ok(self.link.lock().await.connection().await?)
    }
}

impl JobTables {
    /// The tables in the databases of `config`; connects on first use.
    ///
    /// # Errors
    /// The configuration does not name CONFIG_DB, STATE_DB or APPL_DB.
    pub fn new(config: &DatabaseConfig) -> Result<JobTables, DatabaseConfigError> {
        Ok(JobTables {
            config: Link::new(config, CONFIG_DB)?,
            state: Link::new(config, STATE_DB)?,
            appl: Link::new(config, APPL_DB)?,
            follower: follow::Follower::new(config.database(STATE_DB)?.clone()),
        })
    }

    /// As [`JobTables::new`], and connects at once to CONFIG_DB and STATE_DB.
    ///
    /// # Errors
    /// As [`JobTables::new`], or Redis is away.
    pub async fn connect(config: &DatabaseConfig) -> Result<JobTables, TablesError> {
        let tables = JobTables::new(config)?;
        tables.config.connection().await?;
        tables.state.connection().await?;
        Ok(tables)
    }

    /// Writes the row of a new job with ONE HSET. Says whether it did: an id that has a row is refused.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn write_job(&self, id: &JobId, fields: &Fields) -> Result<bool, TablesError> {
        // A script, so that nobody writes the same id between the question and the HSET; to watchers it is one event.
        const SCRIPT: &str = "
            if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
            redis.call('HSET', KEYS[1], unpack(ARGV))
            return 1";
        let key = self.config.database.key(config_db::JOB, id.as_str());
        let args: Vec<&str> = fields.iter().flat_map(|(field, value)| [field.as_str(), value.as_str()]).collect();
        let written: u64 = self.config.connection().await?.eval(SCRIPT, &[&key], &args).await?;
        Ok(written == 1)
    }

    /// Deletes the row of a job in CONFIG_DB, which stops it. Says whether there was one.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn delete_job(&self, id: &str) -> Result<bool, TablesError> {
        let key = self.config.database.key(config_db::JOB, id);
        Ok(self.config.connection().await?.del(&key).await?)
    }

    /// What is said of a job; `None` if nothing is.
    ///
    /// # Errors
    /// Redis is away, or the row says what this version cannot read.
    pub async fn job(&self, id: &str) -> Result<Option<JobRow>, TablesError> {
        let fields = self.state_row(state_db::JOB, id).await?;
        if fields.is_empty() { Ok(None) } else { Ok(Some(JobRow::parse(id, fields)?)) }
    }

    /// What is said of every known job, newest last. A row that cannot be read is left out, with a line in the log: one broken row
    /// must not hide the others.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn jobs(&self) -> Result<Vec<JobRow>, TablesError> {
        let rows = self.state.connection().await?.rows(state_db::JOB).await?;
        let parsed = rows.into_iter().filter_map(|(id, fields)| {
            JobRow::parse(&id, fields).inspect_err(|error| tracing::warn!(%error, "job left out")).ok()
        });
        let mut jobs: Vec<JobRow> = parsed.collect();
        jobs.sort_by_key(|job| job.instant(StatusField::CreatedAt));
        Ok(jobs)
    }

    /// The fields of a job's row in CONFIG_DB; `None` without a row, as of every job that is over.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn configured(&self, id: &str) -> Result<Option<Fields>, TablesError> {
        let key = self.config.database.key(config_db::JOB, id);
        let fields = self.config.connection().await?.hgetall(&key).await?;
        Ok((!fields.is_empty()).then_some(fields))
    }

    /// The totals of a job; `None` before the first reading.
    ///
    /// # Errors
    /// Redis is away, or the row says what this version cannot read.
    pub async fn results(&self, id: &str) -> Result<Option<ResultsRow>, TablesError> {
        let fields = self.state_row(state_db::RESULT, id).await?;
        if fields.is_empty() { Ok(None) } else { Ok(Some(ResultsRow::parse(id, &fields)?)) }
    }

    /// The flows of a job in STATE_DB, the largest first.
    ///
    /// # Errors
    /// Redis is away, or a row says what this version cannot read.
    pub async fn flows(&self, id: &str) -> Result<Vec<FlowRow>, TablesError> {
        // The keys are known, so no SCAN through everything else that STATE_DB holds.
        let ranks = (1..=STATE_FLOWS_MAX).map(|rank| self.state.database.key(id, &rank.to_string()));
        let rows = self.state_rows(state_db::FLOW, ranks.collect()).await?;
        Ok(rows.iter().map(|(key, fields)| flow::parse(key, fields)).collect::<Result<_, _>>()?)
    }

    /// The histograms of a job.
    ///
    /// # Errors
    /// Redis is away, or a row says what this version cannot read.
    pub async fn histograms(&self, id: &str) -> Result<Vec<HistogramRow>, TablesError> {
        let mut found = Vec::new();
        for name in HistogramName::ALL {
            let key = self.state.database.key(id, name.as_str());
            let fields = self.state_row(state_db::HISTOGRAM, &key).await?;
            if !fields.is_empty() {
                found.push(HistogramRow::parse(id, *name, &fields)?);
            }
        }
        Ok(found)
    }

    /// All that STATE_DB says of a job; `None` if it says nothing.
    ///
    /// # Errors
    /// Redis is away, or a row says what this version cannot read.
    pub async fn report(&self, id: &str) -> Result<Option<JobReport>, TablesError> {
        let Some(job) = self.job(id).await? else { return Ok(None) };
        let (results, flows) = (self.results(id).await?, self.flows(id).await?);
        Ok(Some(JobReport { job, results, flows, histograms: self.histograms(id).await? }))
    }

    /// What the daemon says of itself; no fields if there is none.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn daemon(&self) -> Result<DaemonRow, TablesError> {
        Ok(DaemonRow { fields: self.state_row(state_db::DAEMON, state_db::DAEMON_KEY).await? })
    }

    /// Whether a daemon serves these tables.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn is_daemon_alive(&self) -> Result<bool, TablesError> {
        Ok(self.daemon().await?.is_alive(Timestamp::now()))
    }

    /// The settings; a value that cannot be taken is its default, as for the daemon.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn settings(&self) -> Result<Settings, TablesError> {
        let key = self.config.database.key(config_db::SETTINGS, config_db::SETTINGS_KEY);
        let fields = self.config.connection().await?.hgetall(&key).await?;
        Ok(Settings::parse(&fields).0)
    }

    /// Names of our mirror sessions in CONFIG_DB.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn sessions(&self) -> Result<Vec<String>, TablesError> {
        let names = self.config.connection().await?.keys(config_db::MIRROR_SESSION).await?;
        Ok(names.into_iter().filter(|name| name.starts_with(SESSION_PREFIX)).collect())
    }

    async fn state_row(&self, table: &str, key: &str) -> Result<Fields, TablesError> {
        Ok(self.state.connection().await?.hgetall(&self.state.database.key(table, key)).await?)
    }

    /// The rows at `keys` of `table` that exist, in that order.
    async fn state_rows(&self, table: &str, keys: Vec<String>) -> Result<Vec<(String, Fields)>, TablesError> {
        let redis_keys: Vec<String> = keys.iter().map(|key| self.state.database.key(table, key)).collect();
        let rows = self.state.connection().await?.hgetall_many(&redis_keys).await?;
        Ok(keys.into_iter().zip(rows).filter(|(_, fields)| !fields.is_empty()).collect())
    }

    /// The rows of a job in APPL_DB: taken over, and waiting.
    async fn appl_rows(&self, id: &str) -> Result<Vec<Fields>, TablesError> {
        let table = |name: &str| self.appl.database.key(name, id);
        let keys = [table(appl_db::JOB), table(&format!("_{}", appl_db::JOB))];
        Ok(self.appl.connection().await?.hgetall_many(&keys).await?)
    }

    /// Keys of jobs that came, or wait to come, through APPL_DB.
    async fn appl_jobs(&self) -> Result<Vec<String>, TablesError> {
        let connection = self.appl.connection().await?;
        let mut keys = connection.keys(appl_db::JOB).await?;
        keys.extend(connection.keys(&format!("_{}", appl_db::JOB)).await?);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
