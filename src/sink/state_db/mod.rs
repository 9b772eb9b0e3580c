//! STATE_DB: what SONiC's own tools see. Writes the latest snapshot, compares it with what it wrote before, and writes only
//! what changed; which rows a job has is in `rows`.
//!
//! Level-triggered like everything else: after a loss, or when its own row is gone, it forgets what it wrote and writes all.

mod prior;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Closing;
use crate::model::report::{Report, Snapshot};
use crate::model::rows::daemon::{self, HEARTBEAT};
use crate::model::rows::results;
use crate::model::schema::{DaemonField, Reason, state_db};
use crate::sonic::connection::{CHUNK, Write};
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Fields, Reconnecting, RedisConnection};

pub use prior::read_prior;

/// How soon our own rows are written again after somebody flushed STATE_DB, and how soon a failed write is repeated.
const CHECK: Duration = Duration::from_secs(1);

/// Keys of jobs whose rows are to be deleted. A set, so that a sink that cannot write for a while makes it no longer than there are jobs.
#[derive(Clone, Debug, Default)]
pub struct Clears(Arc<Mutex<BTreeSet<String>>>);

impl Clears {
    /// The rows of `key` are to be deleted, before anything newer is written.
    pub fn add(&self, key: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Status rows that are written in one transaction.
const STATUSES: usize = CHUNK / 2;

/// The sink's end of its channels.
pub struct StateDb {
    link: Reconnecting,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    closing: watch::Receiver<Option<Closing>>,
    clears: Clears,
    published: mpsc::Sender<Vec<String>>,
    /// What stands in STATE_DB, as far as this daemon wrote it.
    written: BTreeMap<String, Written>,
    to_clear: BTreeSet<String>,
    heartbeat_due: Instant,
    /// The names of the fields of our own row, which stands unless somebody flushed the database.
    daemon_written: Option<BTreeSet<String>>,
}

/// What was written of one job.
#[derive(Debug, Default)]
struct Written {
    /// What was written last, whole.
    report: Option<Arc<Report>>,
    status: Option<Fields>,
    results_at: Option<Timestamp>,
    detail_at: Option<Timestamp>,
    flows: usize,
    published: bool,
}

impl Written {
    /// Whether STATE_DB may have numbers of the job: this daemon wrote some, or it may have begun to count under an earlier one, which may
    /// have ended before it could say so.
    fn may_have_numbers(&self) -> bool {
        let began = self.report.as_ref().is_none_or(|report| {
            let status = &report.status;
            status.started_at.is_some() || status.reason == Some(Reason::DaemonRestarted)
        });
        began || self.results_at.is_some() || self.flows > 0
    }
}

impl StateDb {
    /// A sink for `snapshots`, which end when `closing` has said why. Keys in `clears` lose their rows, before anything newer is written; keys whose final
    /// status stands are said on `published`.
    ///
    /// # Errors
    /// The configuration lacks STATE_DB.
    pub fn new(
        databases: &DatabaseConfig,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        closing: watch::Receiver<Option<Closing>>,
        clears: Clears,
        published: mpsc::Sender<Vec<String>>,
    ) -> Result<StateDb, DatabaseConfigError> {
        Ok(StateDb {
            link: Reconnecting::new(databases, "STATE_DB")?,
            snapshots,
            closing,
            clears,
            published,
            written: BTreeMap::new(),
            to_clear: BTreeSet::new(),
            heartbeat_due: Instant::now(),
            daemon_written: None,
        })
    }

    /// Writes until the daemon drops its end of the channels; then its own row goes, so that everybody sees that it ended, unless it is
    /// another daemon's by now.
    pub async fn run(mut self) {
        self.write_until_closed().await;
        if *self.closing.borrow() == Some(Closing::Ousted) {
            return;
        }
        if let Ok(connection) = self.link.connection().await {
            let key = connection.database().key(state_db::DAEMON, state_db::DAEMON_KEY);
            if let Err(error) = connection.del(&key).await {
                tracing::warn!(%error, "the daemon's row in STATE_DB is left behind");
            }
        }
    }

    async fn write_until_closed(&mut self) {
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut healthy = true;
        loop {
            let check = tokio::select! {
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    false
                }
                _ = ticks.tick() => true,
            };
            match self.write(check).await {
                Ok(()) => healthy = true,
                Err(error) => {
                    if std::mem::replace(&mut healthy, false) {
                        tracing::warn!(%error, "STATE_DB cannot be written; trying again every second");
                    }
                }
            }
        }
    }

    async fn write(&mut self, check: bool) -> Result<(), Error> {
        // The clears first, the snapshot second: what is cleared now cannot come back from a snapshot that is older than the clear.
        self.to_clear.extend(self.clears.take());
        let snapshot = self.snapshots.borrow_and_update().clone();
        let connection = self.link.connection().await?;
        if check && self.is_flushed(&connection).await? {
            tracing::warn!("the daemon's row is gone from STATE_DB: writing all rows again");
            self.written.clear();
            self.daemon_written = None;
            self.heartbeat_due = Instant::now();
        }
        self.write_daemon(&connection, &snapshot).await?;
        self.clear(&connection).await?;
        let is_new = |(key, report): &(&String, &Arc<Report>)| {
            let written = self.written.get(*key).and_then(|written| written.report.as_ref());
            !written.is_some_and(|written| Arc::ptr_eq(written, report))
        };
        let (counted, bare): (Vec<_>, Vec<_>) =
            snapshot.jobs.iter().filter(is_new).partition(|(_, report)| report.results.is_some());
        for (key, report) in counted {
            self.write_job(&connection, key, report, &snapshot).await?;
        }
        for chunk in bare.chunks(STATUSES) {
            self.write_daemon(&connection, &snapshot).await?;
            self.write_statuses(&connection, chunk).await?;
        }
        self.written.retain(|key, _| snapshot.jobs.contains_key(key));
        Ok(())
    }

    /// Deletes what is said of jobs that are forgotten.
    async fn clear(&mut self, connection: &RedisConnection) -> Result<(), Error> {
        while !self.to_clear.is_empty() {
            let (mut cleared, mut keys) = (Vec::new(), Vec::new());
            for key in &self.to_clear {
                let with_numbers = self.written.get(key).is_none_or(Written::may_have_numbers);
                keys.extend(rows::keys_of(connection.database(), key, with_numbers));
                cleared.push(key.clone());
                if keys.len() >= CHUNK {
                    break;
                }
            }
            connection.del_many(&keys).await?;
            for key in cleared {
                self.written.remove(&key);
                self.to_clear.remove(&key);
            }
        }
        Ok(())
    }

    /// Statuses of jobs without numbers: a flood of refused rows is a few transactions.
    async fn write_statuses(
        &mut self,
        connection: &RedisConnection,
        jobs: &[(&String, &Arc<Report>)],
    ) -> Result<(), Error> {
        let (mut writes, mut published, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for &(key, report) in jobs {
            let status: Fields = report.status.to_fields().into_iter().collect();
            let known = self.written.get(key);
            let is_new = known.and_then(|known| known.status.as_ref()) != Some(&status);
            if is_new {
                let key = connection.database().key(state_db::JOB, key);
                writes.push(Write::Replace { key, fields: status.clone() });
            }
            if report.status.status.is_final() && (is_new || !known.is_some_and(|known| known.published)) {
                published.push(key.clone());
            }
            written.push((key.clone(), Arc::clone(report), status));
        }
        connection.write_together(&writes).await?;
        for (key, report, status) in written {
            let known = self.written.entry(key).or_default();
            known.published = report.status.status.is_final();
            (known.report, known.status) = (Some(report), Some(status));
        }
        if !published.is_empty() {
            // The receiver is gone only when the daemon is.
            let _ = self.published.send(published).await;
        }
        Ok(())
    }

    /// Whether our own row, which was there, is not any more.
    async fn is_flushed(&self, connection: &RedisConnection) -> Result<bool, Error> {
        let key = connection.database().key(state_db::DAEMON, state_db::DAEMON_KEY);
        Ok(self.daemon_written.is_some() && connection.hget(&key, DaemonField::Pid.as_str()).await?.is_none())
    }

    async fn write_daemon(&mut self, connection: &RedisConnection, snapshot: &Snapshot) -> Result<(), Error> {
        if Instant::now() < self.heartbeat_due {
            return Ok(());
        }
        let key = connection.database().key(state_db::DAEMON, state_db::DAEMON_KEY);
        let fields = daemon::write(snapshot, Timestamp::now());
        let names: BTreeSet<String> = fields.keys().cloned().collect();
        if self.daemon_written.as_ref() == Some(&names) {
            connection.hset_whole(&key, &fields).await?;
        } else {
            connection.write_together(&[Write::Replace { key, fields }]).await?;
            self.daemon_written = Some(names);
        }
        // From the due time on, since the checks that call this come a little later than it.
        self.heartbeat_due = (self.heartbeat_due + HEARTBEAT).max(Instant::now());
        Ok(())
    }

    /// Numbers before the status: whoever sees a final status finds the final numbers.
    async fn write_job(
        &mut self,
        connection: &RedisConnection,
        key: &str,
        report: &Arc<Report>,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let database = connection.database();
        let written = self.written.entry(key.to_owned()).or_default();
        if let Some(results) = &report.results
            && written.results_at != Some(results.updated_at)
        {
            let fields = results::write(results, &report.flow_counts());
            let row = Write::Replace { key: database.key(state_db::RESULT, key), fields };
            connection.write_together(&[row]).await?;
            written.results_at = Some(results.updated_at);
        }
        if let Some(detail) = &report.detail
            && written.detail_at != Some(detail.updated_at)
        {
            let flows = rows::flows(database, key, detail, snapshot.settings.state_flows, written.flows);
            connection.write_in_chunks(&flows.writes).await?;
            connection.write_together(&rows::histograms(database, key, detail)).await?;
            written.flows = flows.count;
            written.detail_at = Some(detail.updated_at);
        }
        let status: Fields = report.status.to_fields().into_iter().collect();
        if written.status.as_ref() != Some(&status) {
            let row = Write::Replace { key: database.key(state_db::JOB, key), fields: status.clone() };
            connection.write_together(&[row]).await?;
            written.status = Some(status);
            written.published = false;
        }
        if report.status.status.is_final() && !written.published {
            // The receiver is gone only when the daemon is.
            let _ = self.published.send(vec![key.to_owned()]).await;
            written.published = true;
        }
        written.report = Some(Arc::clone(report));
        Ok(())
    }
}
