//! Waiting for rows to change, by keyspace notifications: no polling, and no event lost between looking and waiting.

use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::JobRow;
use super::JobTables;
use super::error::TablesError;
use crate::sonic::connection::COMMAND_TIMEOUT;
use crate::sonic::pubsub::{Message, Subscription, table_pattern};
use crate::sonic::{Database, Error};

/// A flushed database sends no notification, and one without `notify-keyspace-events` none at all: look again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for is so; the row as it was then.
    Met(Option<JobRow>),
    /// It was not so until the deadline; the row as it was last.
    TimedOut(Option<JobRow>),
}

impl Waited {
    /// The row, however waiting ended.
    #[must_use]
    pub fn row(self) -> Option<JobRow> {
        match self {
            Waited::Met(row) | Waited::TimedOut(row) => row,
        }
    }
}

/// Notifications of all rows of tables, on connections of their own.
pub(super) struct Changes {
    subscriptions: Vec<Subscription>,
}

impl Changes {
    pub(super) async fn of_tables(tables: &[(&Database, &str)]) -> Result<Changes, TablesError> {
        let mut subscriptions = Vec::with_capacity(tables.len());
        for (database, table) in tables {
            let pattern = table_pattern(database, table);
            subscriptions.push(Subscription::open(database, &[pattern], &[], COMMAND_TIMEOUT).await?);
        }
        Ok(Changes { subscriptions })
    }

    /// Returns when something may have changed: a notification, a second passed, or `deadline` passed. Safe to cancel.
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<(), TablesError> {
        let until = deadline.min(Instant::now() + LOOK_AGAIN);
        let messages = self.subscriptions.iter_mut().map(|subscription| Box::pin(subscription.next()));
        tokio::select! {
            (message, _, _) = select_all(messages) => said(message)?,
            () = sleep_until(until) => {}
        }
        // What is already here needs no look of its own.
        for subscription in &mut self.subscriptions {
            while let Some(message) = subscription.next_if_here().transpose() {
                said(message)?;
            }
        }
        Ok(())
    }
}

/// Whichever row it was, and however many: all are looked at again.
fn said(message: Result<Message, Error>) -> Result<(), Error> {
    match message {
        Ok(_) | Err(Error::Missed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Notifications of one job's rows, over the connection that all callers share.
#[derive(Debug)]
pub struct JobChanges {
    changes: watch::Receiver<()>,
    database: String,
}

impl JobChanges {
    /// Returns when the job's rows may have changed: a notification, a second passed, or `deadline` passed. Safe to cancel.
    ///
    /// # Errors
    /// The connection is lost; follow anew.
    pub async fn changed(&mut self, deadline: Instant) -> Result<(), TablesError> {
        let until = deadline.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            changed = self.changes.changed() => {
                Ok(changed.map_err(|_| Error::Closed { database: self.database.clone() })?)
            }
            () = sleep_until(until) => Ok(()),
        }
    }
}

/// Follows what is said of one job: its status and its totals.
pub struct JobWatch<'a> {
    tables: &'a JobTables,
    id: String,
    changes: JobChanges,
}

impl JobWatch<'_> {
    /// What is said of the job now.
    ///
    /// # Errors
    /// Redis is away, or the row says what this version cannot read.
    pub async fn row(&self) -> Result<Option<JobRow>, TablesError> {
        self.tables.job(&self.id).await
    }

    /// Returns when the job's rows may have changed, at `deadline` at the latest. Safe to cancel.
    ///
    /// # Errors
    /// The connection is lost; watch anew.
    pub async fn changed(&mut self, deadline: Instant) -> Result<(), TablesError> {
        self.changes.changed(deadline).await
    }

    /// Waits until `is_met` says so of the row.
    ///
    /// # Errors
    /// Redis is away, or the row says what this version cannot read.
    pub async fn until(
        &mut self,
        deadline: Instant,
        is_met: impl Fn(Option<&JobRow>) -> bool,
    ) -> Result<Waited, TablesError> {
        loop {
            let row = self.row().await?;
            if is_met(row.as_ref()) {
                return Ok(Waited::Met(row));
            }
            if Instant::now() >= deadline {
                return Ok(Waited::TimedOut(row));
            }
            self.changed(deadline).await?;
        }
    }
}

impl JobTables {
    /// Notifications of a job's rows from now on.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn changes(&self, id: &str) -> Result<JobChanges, TablesError> {
        let database = self.state.database.name.clone();
        Ok(JobChanges { changes: self.follower.follow(id).await?, database })
    }

    /// Follows one job from now on: no later change of its rows is missed.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn watch(&self, id: &str) -> Result<JobWatch<'_>, TablesError> {
        Ok(JobWatch { tables: self, id: id.to_owned(), changes: self.changes(id).await? })
    }

    /// Waits until `is_met` says so of the job's row.
    ///
    /// # Errors
    /// Redis is away, or the row says what this version cannot read.
    pub async fn wait_for_status(
        &self,
        id: &str,
        deadline: Instant,
        is_met: impl Fn(Option<&JobRow>) -> bool,
    ) -> Result<Waited, TablesError> {
        self.watch(id).await?.until(deadline, is_met).await
    }
}
