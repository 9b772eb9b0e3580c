//! SubscriberStateTable: follow tables of a database through keyspace notifications, level-triggered.
//!
//! A notification only says that a key is dirty; the row is read again, and a row that is empty is gone, whatever the event was called
//! (`del`, `expired`, `evicted`, `rename_from`, HDEL of the last field). Watch first, then list, then list again at an interval and
//! after every loss of the connection: FLUSHDB sends no notification, and a lost connection loses them. sonic-swss-common
//! `subscriberstatetable.cpp` has the same order but takes `del` alone for removal, and never lists twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::connection::{COMMAND_TIMEOUT, RedisConnection};
use super::database_config::{Database, DatabaseConfig, DatabaseConfigError};
use super::error::Error;
use super::pubsub::{Message, Subscription, keyspace_prefix, row_pattern, table_pattern};
use crate::row::Fields;

/// How often a table is listed again where nothing calls for another value: a flushed database is noticed this late.
pub const RESYNC: Duration = Duration::from_secs(30);

/// What a [`TableWatch`] follows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched<'a> {
    /// Every row, listed again at the interval.
    Rows(&'a str),
    /// Every row's changes, and the row keys, listed again at the interval: a [`WatchEvent::Resynchronised`] with rows that are empty.
    Keys(&'a str),
    /// Every row, by notifications alone: for a reader that a lost change does not hurt, because a listing reads every row each time.
    Changes(&'a str),
    /// One row.
    Row {
        /// The table.
        table: &'a str,
        /// The row's key.
        key: &'a str,
    },
}

/// Between two listings at the least, however many notifications are missed.
const LISTING_PAUSE: Duration = Duration::from_secs(1);
/// Dirty rows that are remembered while the reader is slow; beyond it the tables are listed again.
const DIRTY_MAX: usize = 16_384;

/// What a [`TableWatch`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All rows of a table that are followed and listed: after connecting, and at every interval. Rows that it lacks are gone.
    Resynchronised {
        /// The table.
        table: String,
        /// Its rows, by row key.
        rows: BTreeMap<String, Fields>,
    },
    /// A row was written. Unchanged values are reported too.
    Set {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// All its fields.
        fields: Fields,
    },
    /// A row is gone.
    Del {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
    },
    /// Redis is away. The next event is `Resynchronised`, as soon as it is back.
    Disconnected {
        /// Why, for a log.
        error: String,
    },
}

/// Follows tables of one database on one connection. Dropping it ends that.
///
/// A task does the reading, so that [`TableWatch::next`] can be cancelled at any moment without losing or repeating work. It is one
/// event ahead of the reader; what happens meanwhile to the same row is reported once, as it is then.
pub struct TableWatch {
    events: mpsc::Receiver<WatchEvent>,
    task: JoinHandle<()>,
}

impl TableWatch {
    /// Follows `watched` of the database called `name`, and lists it again every `resync`. Connects in the background; must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// The configuration does not name the database.
    pub fn new(
        config: &DatabaseConfig,
        name: &str,
        watched: &[Watched<'_>],
        resync: Duration,
    ) -> Result<TableWatch, DatabaseConfigError> {
        Ok(TableWatch::with_timeout(config.database(name)?.clone(), watched, resync, COMMAND_TIMEOUT))
    }

    /// Follows `watched` of `database`, with another limit for each command.
    #[must_use]
    pub fn with_timeout(
        database: Database,
        watched: &[Watched<'_>],
        resync: Duration,
        timeout: Duration,
    ) -> TableWatch {
        let (sender, events) = mpsc::channel(1);
        let tables = watched.iter().copied().map(Table::of).collect();
        let follower = Watcher { prefix: keyspace_prefix(&database), database, tables, resync, timeout, sender };
        TableWatch { events, task: tokio::spawn(follower.run()) }
    }

    /// The next event; waits for ever if there is none. Safe to cancel.
    pub async fn next(&mut self) -> WatchEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with the runtime or by a panic, which tokio has reported: there is nothing to say any more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for TableWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The dirty rows.
#[derive(Default)]
struct Dirty {
    /// Table (by index) and key.
    rows: BTreeSet<(usize, String)>,
    /// More rows are dirty than are known.
    others: bool,
}

/// A table, and what is followed of it.
struct Table {
    name: String,
    /// The one row that counts; `None`: all.
    row: Option<String>,
    listed: Listed,
}

/// What of a table is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Rows,
    Keys,
    Nothing,
}

impl Table {
    fn of(watched: Watched<'_>) -> Table {
        let (name, row, listed) = match watched {
            Watched::Rows(table) => (table, None, Listed::Rows),
            Watched::Keys(table) => (table, None, Listed::Keys),
            Watched::Changes(table) => (table, None, Listed::Nothing),
            Watched::Row { table, key } => (table, Some(key.to_owned()), Listed::Rows),
        };
        Table { name: name.to_owned(), row, listed }
    }

    fn pattern(&self, database: &Database) -> String {
        match &self.row {
            None => table_pattern(database, &self.name),
            Some(key) => row_pattern(database, &self.name, key),
        }
    }
}

/// Why a round of watching ended.
enum End {
    /// The reader is gone.
    Unwatched,
    Lost(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Lost(error)
    }
}

struct Watcher {
    database: Database,
    prefix: String,
    tables: Vec<Table>,
    resync: Duration,
    timeout: Duration,
    sender: mpsc::Sender<WatchEvent>,
}

impl Watcher {
    async fn run(self) {
        let mut backoff = Backoff::new();
        let mut told = false;
        loop {
            let mut connected = false;
            let error = match self.watch(&mut connected).await {
                End::Unwatched => return,
                End::Lost(error) => error.to_string(),
            };
            if connected {
                backoff.succeeded();
                told = false;
            }
            // One loss is one event, however many attempts it takes to come back.
            if !told && self.sender.send(WatchEvent::Disconnected { error }).await.is_err() {
                return;
            }
            told = true;
            sleep(backoff.failed()).await;
        }
    }

    /// One connection, from subscribing to its loss.
    async fn watch(&self, connected: &mut bool) -> End {
        match self.watch_until_lost(connected).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn watch_until_lost(&self, connected: &mut bool) -> Result<std::convert::Infallible, End> {
        let patterns: Vec<String> = self.tables.iter().map(|table| table.pattern(&self.database)).collect();
        let mut subscription = Subscription::open(&self.database, &patterns, &[], self.timeout).await?;
        let connection = RedisConnection::open(&self.database, self.timeout).await?;
        loop {
            self.list(&connection).await?;
            *connected = true;
            let listed = Instant::now();
            let mut next_listing = listed + self.resync;
            loop {
                let message = tokio::select! {
                    message = subscription.next() => message,
                    () = sleep_until(next_listing) => break,
                };
                let mut dirty = Dirty::default();
                self.note(message, &mut dirty)?;
                self.report(&mut dirty, &mut subscription, &connection).await?;
                if dirty.others {
                    next_listing = next_listing.min(listed + LISTING_PAUSE);
                }
            }
            subscription.ping().await?;
        }
    }

    async fn list(&self, connection: &RedisConnection) -> Result<(), End> {
        for table in self.tables.iter().filter(|table| table.listed != Listed::Nothing) {
            let keys = match &table.row {
                None => connection.keys(&table.name).await?,
                Some(key) => vec![key.clone()],
            };
            let rows = match table.listed {
                Listed::Keys => keys.into_iter().map(|key| (key, Fields::new())).collect(),
                Listed::Rows | Listed::Nothing => connection.rows_at(&table.name, keys).await?,
            };
            self.send(WatchEvent::Resynchronised { table: table.name.clone(), rows }).await?;
        }
        Ok(())
    }

    /// Reads and reports dirty rows until none is left. Notifications that arrive meanwhile join them.
    async fn report(
        &self,
        dirty: &mut Dirty,
        subscription: &mut Subscription,
        connection: &RedisConnection,
    ) -> Result<(), End> {
        loop {
            while let Some(message) = subscription.next_if_here().transpose() {
                self.note(message, dirty)?;
            }
            if dirty.rows.is_empty() {
                return Ok(());
            }
            // A place for the event first, the row afterwards: so that a slow reader gets the row as it is, not as it was.
            let place = tokio::select! {
                place = self.sender.reserve() => place.map_err(|_| End::Unwatched)?,
                message = subscription.next() => {
                    self.note(message, dirty)?;
                    continue;
                }
            };
            let Some((table, key)) = dirty.rows.pop_first() else { return Ok(()) };
            let table = self.tables[table].name.clone();
            let redis_key = self.database.key(&table, &key);
            let row = connection.hgetall_many(std::slice::from_ref(&redis_key)).await?.pop().unwrap_or_default();
            place.send(if row.is_empty() {
                WatchEvent::Del { table, key }
            } else {
                WatchEvent::Set { table, key, fields: row }
            });
        }
    }

    fn note(&self, message: Result<Message, Error>, dirty: &mut Dirty) -> Result<(), Error> {
        let row = match message {
            Ok(message) => self.row_of(&message),
            Err(Error::Missed { .. }) => {
                dirty.others = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if dirty.rows.len() < DIRTY_MAX {
            dirty.rows.extend(row);
        } else if row.is_some_and(|row| !dirty.rows.contains(&row)) {
            dirty.others = true;
        }
        Ok(())
    }

    fn row_of(&self, message: &Message) -> Option<(usize, String)> {
        let redis_key = message.channel.strip_prefix(&self.prefix)?;
        let (table, key) = self.database.split_key(redis_key)?;
        let index = self.tables.iter().position(|known| known.name == table)?;
        Some((index, key.to_owned()))
    }

    async fn send(&self, event: WatchEvent) -> Result<(), End> {
        self.sender.send(event).await.map_err(|_| End::Unwatched)
    }
}
