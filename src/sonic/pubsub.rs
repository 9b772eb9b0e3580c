//! A connection that listens: keyspace notifications and channels, in the order in which Redis sends them.
//!
//! It does not connect again by itself; when it ends, events were lost, and the caller must list anew.
//!
//! The Redis client reads ahead without a bound, whatever its reader does, so that Redis never finds this subscriber slow and the memory
//! would be ours. Hence a task takes every message over at once and keeps [`WAITING_BYTES`] of them at the most.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::task::JoinHandle;

use super::connection::{client, connect_error, escape_glob};
use super::database_config::Database;
use super::error::Error;
use super::inbox::Inbox;
pub use super::inbox::WAITING_BYTES;

/// What a message was sent to, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel; `__keyspace@<id>__:<key>` for a notification.
    pub channel: String,
    /// The text; the name of the event for a notification.
    pub payload: String,
}

/// An open subscription.
pub struct Subscription {
    requests: PubSubSink,
    inbox: Arc<Inbox>,
    /// Takes the messages over.
    task: JoinHandle<()>,
    database: String,
    timeout: Duration,
}

impl Subscription {
    /// Connects to `database` and subscribes to `patterns` and `channels`; either may be empty. When this returns, Redis has
    /// confirmed all of them: no later event is lost while the connection lasts.
    ///
    /// # Errors
    /// Redis cannot be reached, or does not answer within `timeout`.
    pub async fn open(
        database: &Database,
        patterns: &[String],
        channels: &[String],
        timeout: Duration,
    ) -> Result<Subscription, Error> {
        let endpoint = database.endpoint();
        let client = client(database, &endpoint)?;
        let opening = async {
            let mut pubsub = client.get_async_pubsub().await?;
            if !patterns.is_empty() {
                pubsub.psubscribe(patterns).await?;
            }
            if !channels.is_empty() {
                pubsub.subscribe(channels).await?;
            }
            Ok(pubsub)
        };
        let pubsub = tokio::time::timeout(timeout, opening)
            .await
            .map_err(|_| Error::Timeout { database: database.name.clone(), command: "SUBSCRIBE", after: timeout })?
            .map_err(|source| connect_error(database, &endpoint, source))?;
        let (requests, messages) = pubsub.split();
        let inbox = Arc::new(Inbox::default());
        // Without tokio's budget, which would leave messages in the client's queue, where nothing bounds them.
        let task = tokio::spawn(tokio::task::unconstrained(take_over(messages, Arc::clone(&inbox))));
        Ok(Subscription { requests, inbox, task, database: database.name.clone(), timeout })
    }

    /// Subscribes to more channels; none of their events is lost from then on.
    ///
    /// # Errors
    /// Redis did not confirm it in time: the connection is of no further use.
    pub async fn subscribe(&mut self, channels: &[String]) -> Result<(), Error> {
        let confirmed = tokio::time::timeout(self.timeout, self.requests.subscribe(channels)).await;
        self.confirmed("SUBSCRIBE", confirmed)
    }

    /// Gives channels up.
    ///
    /// # Errors
    /// As [`Subscription::subscribe`].
    pub async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), Error> {
        let confirmed = tokio::time::timeout(self.timeout, self.requests.unsubscribe(channels)).await;
        self.confirmed("UNSUBSCRIBE", confirmed)
    }

    fn confirmed(
        &self,
        command: &'static str,
        confirmed: Result<redis::RedisResult<()>, tokio::time::error::Elapsed>,
    ) -> Result<(), Error> {
        match confirmed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(Error::Command { database: self.database.clone(), command, source }),
            Err(_) => Err(Error::Timeout { database: self.database.clone(), command, after: self.timeout }),
        }
    }

    /// The next message. Safe to cancel.
    ///
    /// # Errors
    /// [`Error::Missed`]: messages were dropped, because nobody took them; go on, but list anew. [`Error::Closed`], from then on always:
    /// the connection is lost.
    pub async fn next(&mut self) -> Result<Message, Error> {
        self.inbox.next(&self.database).await
    }

    /// The next message if it is already here.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub fn next_if_here(&mut self) -> Result<Option<Message>, Error> {
        self.inbox.take(&self.database).transpose()
    }

    /// Asks Redis for a sign of life: a connection whose other end vanished without a word looks like one without news.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn ping(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(self.timeout, self.requests.ping::<redis::Value>()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(Error::Command { database: self.database.clone(), command: "PING", source }),
            Err(_) => Err(Error::Timeout { database: self.database.clone(), command: "PING", after: self.timeout }),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the connection is lost.
async fn take_over(mut messages: PubSubStream, inbox: Arc<Inbox>) {
    while let Some(message) = messages.next().await {
        inbox.put(decode(&message));
    }
    inbox.close();
}

fn decode(message: &redis::Msg) -> Message {
    Message {
        channel: message.get_channel_name().to_owned(),
        payload: String::from_utf8_lossy(message.get_payload_bytes()).into_owned(),
    }
}

/// What Redis puts before the key in the channel of a keyspace notification of `database`.
#[must_use]
pub fn keyspace_prefix(database: &Database) -> String {
    format!("__keyspace@{}__:", database.id)
}

/// The pattern of the notifications of one row.
#[must_use]
pub fn row_pattern(database: &Database, table: &str, key: &str) -> String {
    format!("{}{}", keyspace_prefix(database), escape_glob(&database.key(table, key)))
}

/// The pattern of the notifications of all rows of `table`.
#[must_use]
pub fn table_pattern(database: &Database, table: &str) -> String {
    format!("{}{}*", keyspace_prefix(database), escape_glob(&database.key(table, "")))
}
