//! ConsumerStateTable: the reading end of a table that others fill through [`super::producer_table`].
//!
//! From sonic-swss-common `consumerstatetable.cpp` and `consumer_state_table_pops.lua`, with one addition: like a
//! [`super::subscriber_table::TableWatch`] it lists the rows that were taken over earlier, after every connection and at an interval,
//! because a restart of either side replays nothing. A table has ONE consumer: taking a key removes it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::connection::{COMMAND_TIMEOUT, RawFields, RedisConnection, decode, text};
use super::database_config::{Database, DatabaseConfig, DatabaseConfigError};
use super::error::Error;
use super::fields::Fields;
use super::oddities;
use super::producer_table::QueueNames;
use super::pubsub::{Message, Subscription};

/// Keys taken at once: sonic-swss-common's `DEFAULT_POP_BATCH_SIZE`.
pub const BATCH: usize = 128;

/// KEYS: key set, set of deletions. ARGV: how many, prefix of staging rows, prefix of rows.
/// Answers with {key, waiting fields, whole row} for each key; no waiting fields mean deletion. Then the Redis keys that hold another type
/// than they should: an error in the middle would lose all keys that were taken with them. What belongs to such a key stays as it is.
const POP_SCRIPT: &str = "
local taken, odd = {}, {}
local function is(key, wanted)
    local found = redis.call('TYPE', key).ok
    if found == wanted or found == 'none' then return true end
    odd[#odd + 1] = {key, found}
    return false
end
local deletions = is(KEYS[2], 'set')
if not is(KEYS[1], 'set') then return {taken, odd} end
for _, key in ipairs(redis.call('SPOP', KEYS[1], ARGV[1])) do
    local row = ARGV[3] .. key
    if deletions and redis.call('SREM', KEYS[2], key) == 1 then
        redis.call('DEL', row)
    end
    local staging = ARGV[2] .. key
    if is(staging, 'hash') and is(row, 'hash') then
        local waiting = redis.call('HGETALL', staging)
        for i = 1, #waiting, 2 do
            redis.call('HSET', row, waiting[i], waiting[i + 1])
        end
        redis.call('DEL', staging)
        taken[#taken + 1] = {key, waiting, redis.call('HGETALL', row)}
    end
end
return {taken, odd}";

/// What [`POP_SCRIPT`] answers. Bytes: a name that is not UTF-8 must not lose the others, either.
type Popped = (Vec<(Vec<u8>, RawFields, RawFields)>, Vec<(Vec<u8>, String)>);

/// One change to one row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOp {
    /// Fields were set.
    Set {
        /// The row's key.
        key: String,
        /// The fields that the producers set since the key was last taken.
        changed: Fields,
        /// The whole row as it is now.
        row: Fields,
    },
    /// The row is gone.
    Del {
        /// The row's key.
        key: String,
    },
}

/// What a [`ConsumerStateTable`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// All rows that were taken over: after connecting, and at every interval. Rows that it lacks are gone.
    Resynchronised {
        /// By row key.
        rows: BTreeMap<String, Fields>,
    },
    /// Changes, at most [`BATCH`], one per key, in no particular order.
    Popped(Vec<TableOp>),
    /// Redis is away. The next event is `Resynchronised`, as soon as it is back.
    Disconnected {
        /// Why, for a log.
        error: String,
    },
}

/// The reading end of a table. Dropping it ends that.
pub struct ConsumerStateTable {
    events: mpsc::Receiver<ConsumerEvent>,
    task: JoinHandle<()>,
}

impl ConsumerStateTable {
    /// Takes what arrives in `table` of the database called `name`, and lists its rows every `resync`. Connects in the background;
    /// must be called within a tokio runtime.
    ///
    /// # Errors
    /// The configuration does not name the database.
    pub fn new(
        config: &DatabaseConfig,
        name: &str,
        table: &str,
        resync: Duration,
    ) -> Result<ConsumerStateTable, DatabaseConfigError> {
        let database = config.database(name)?.clone();
        let (sender, events) = mpsc::channel(1);
        let names = QueueNames::new(&database, table);
        let consumer = Consumer { names, table: table.to_owned(), database, resync, sender };
        Ok(ConsumerStateTable { events, task: tokio::spawn(consumer.run()) })
    }

    /// The next event; waits for ever if there is none. Safe to cancel.
    pub async fn pops(&mut self) -> ConsumerEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with the runtime or by a panic, which tokio has reported.
            None => std::future::pending().await,
        }
    }
}

impl Drop for ConsumerStateTable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a connection was given up.
enum End {
    /// The reader is gone.
    Unread,
    Lost(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Lost(error)
    }
}

/// A message says nothing but that there is something to take, and so do many.
fn said(message: Result<Message, Error>) -> Result<(), Error> {
    match message {
        Ok(_) | Err(Error::Missed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

struct Consumer {
    database: Database,
    table: String,
    names: QueueNames,
    resync: Duration,
    sender: mpsc::Sender<ConsumerEvent>,
}

impl Consumer {
    async fn run(self) {
        let mut backoff = Backoff::new();
        let mut told = false;
        loop {
            let mut connected = false;
            let Err(end) = self.consume_until_lost(&mut connected).await;
            let error = match end {
                End::Unread => return,
                End::Lost(error) => error.to_string(),
            };
            if connected {
                backoff.succeeded();
                told = false;
            }
            if !told && self.sender.send(ConsumerEvent::Disconnected { error }).await.is_err() {
                return;
            }
            told = true;
            sleep(backoff.failed()).await;
        }
    }

    /// swss-common learns the backlog by WATCH, MULTI, SCARD, SUBSCRIBE, EXEC. Subscribing first and then taking until nothing is
    /// left does the same: a key that arrives in between is taken at once, and its message finds an empty set.
    async fn consume_until_lost(&self, connected: &mut bool) -> Result<Infallible, End> {
        let channels = [self.names.channel.clone()];
        let mut subscription = Subscription::open(&self.database, &[], &channels, COMMAND_TIMEOUT).await?;
        let connection = RedisConnection::open(&self.database, COMMAND_TIMEOUT).await?;
        loop {
            let rows = connection.rows(&self.table).await?;
            self.send(ConsumerEvent::Resynchronised { rows }).await?;
            *connected = true;
            let next_listing = Instant::now() + self.resync;
            loop {
                self.take_all(&connection).await?;
                tokio::select! {
                    message = subscription.next() => said(message)?,
                    () = sleep_until(next_listing) => break,
                };
                while let Some(message) = subscription.next_if_here().transpose() {
                    said(message)?;
                }
            }
            subscription.ping().await?;
        }
    }

    async fn take_all(&self, connection: &RedisConnection) -> Result<(), End> {
        loop {
            // A place for the batch first: what is taken is off the queue.
            let place = self.sender.reserve().await.map_err(|_| End::Unread)?;
            let (taken, is_empty) = self.take(connection).await?;
            if !taken.is_empty() {
                place.send(ConsumerEvent::Popped(taken));
            }
            if is_empty {
                return Ok(());
            }
        }
    }

    /// What was taken, and whether that was all there is.
    async fn take(&self, connection: &RedisConnection) -> Result<(Vec<TableOp>, bool), Error> {
        let keys = [self.names.key_set.as_str(), &self.names.del_set];
        let batch = BATCH.to_string();
        let args = [batch.as_str(), &self.names.staging, &self.names.rows];
        let (taken, odd): Popped = connection.eval(POP_SCRIPT, &keys, &args).await?;
        let queue_is_odd = odd.iter().any(|(key, _)| *key == self.names.key_set.as_bytes());
        let of_rows = odd.iter().filter(|(key, _)| !keys.iter().any(|queue| *key == queue.as_bytes())).count();
        for (key, found) in odd {
            oddities::report(&self.database.name, &text(key), &format!("holds a {found}, which has no place here"));
        }
        let is_empty = queue_is_odd || (taken.is_empty() && of_rows == 0);
        let op = |(key, changed, row): (Vec<u8>, RawFields, RawFields)| {
            let key = text(key);
            if changed.is_empty() {
                TableOp::Del { key }
            } else {
                TableOp::Set { key, changed: decode(changed).collect(), row: decode(row).collect() }
            }
        };
        Ok((taken.into_iter().map(op).collect(), is_empty))
    }

    async fn send(&self, event: ConsumerEvent) -> Result<(), End> {
        self.sender.send(event).await.map_err(|_| End::Unread)
    }
}
