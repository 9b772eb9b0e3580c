//! A right that one process at a time has among all that use one Redis: a channel with one subscriber.
//!
//! Redis drops a subscription when its connection ends, so the right ends with the process, however that ends: there is nothing to renew, nothing
//! that is left over, and nothing to wait for before the next one may start. It is the same for processes in other containers, mount or
//! network namespaces, because what they share is the Redis. Whoever has it says who he is in the name of a second channel.
//!
//! Taking it is subscribing first and counting the subscribers afterwards: of two that do so at once at least one counts both. Who counts
//! another one gives up and tries again a few times, after waits drawn at random.

use std::time::Duration;

use redis::cmd;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::{Backoff, LONGEST};
use super::connection::{COMMAND_TIMEOUT, RedisConnection, escape_glob, text};
use super::database_config::Database;
use super::error::Error;
use super::pubsub::Subscription;

/// How long one that finds another one keeps trying: so long does a Redis that is busy take to notice that a process has ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a restart of Redis its holder may take to have the right again: the longest wait between two attempts, and the attempt.
pub const REGAINED_WITHIN: Duration = LONGEST.saturating_add(Duration::from_millis(500));
/// A holder whose connection vanished without a word learns it this often.
const PING: Duration = Duration::from_secs(30);

/// Why the right could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Redis is away.
    #[error(transparent)]
    Redis(#[from] Error),
    /// Another one has it.
    #[error("{}", .holders.join("; "))]
    Held {
        /// What those say of themselves that have it; empty if they do not.
        holders: Vec<String>,
    },
}

/// The right. Dropping it gives it up.
pub struct Hold {
    task: JoinHandle<()>,
    lost: oneshot::Receiver<Vec<String>>,
    right: Right,
}

/// Whether a right is held at this moment: not while its connection is lost and another process may have it. Clones share it.
#[derive(Clone, Debug)]
pub struct Right(watch::Receiver<bool>);

impl Right {
    /// Whether it is held, now or at some time within `patience`. Safe to cancel.
    pub async fn is_held(&mut self, patience: Duration) -> bool {
        matches!(timeout(patience, self.0.wait_for(|held| *held)).await, Ok(Ok(_)))
    }
}

impl Hold {
    /// Takes the right called `name`, of the Redis and number of `database`; `who` is what others are told.
    ///
    /// # Errors
    /// Another one has it, or Redis is away.
    pub async fn take(database: &Database, name: &str, who: &str) -> Result<Hold, HoldError> {
        Hold::with_ping(database, name, who, PING).await
    }

    /// As [`Hold::take`], with another time after which a connection without news is tried.
    ///
    /// # Errors
    /// As [`Hold::take`].
    pub async fn with_ping(database: &Database, name: &str, who: &str, ping: Duration) -> Result<Hold, HoldError> {
        let channels = Channels::new(database, name, who);
        let subscription = channels.take(database).await?;
        let (say_lost, lost) = oneshot::channel();
        let (say_held, held) = watch::channel(true);
        let database = database.clone();
        let task = tokio::spawn(async move {
            let holders = channels.keep(&database, subscription, ping, &say_held).await;
            // The receiver is gone only with the task.
            let _ = say_lost.send(holders);
        });
        Ok(Hold { task, lost, right: Right(held) })
    }

    /// Whether it is held, for those who may act only then.
    #[must_use]
    pub fn right(&self) -> Right {
        self.right.clone()
    }

    /// Returns when Redis was away, and another one had the right when it was back: what that one says of itself. Safe to cancel.
    pub async fn lost(&mut self) -> Vec<String> {
        match (&mut self.lost).await {
            Ok(holders) => holders,
            // The task ends otherwise only with the runtime or by a panic, which tokio has reported.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether anybody has the right called `name`.
///
/// # Errors
/// Redis is away.
pub async fn is_held(connection: &RedisConnection, name: &str) -> Result<bool, Error> {
    Ok(subscribers(connection, &channel(connection.database(), name)).await? > 0)
}

fn channel(database: &Database, name: &str) -> String {
    format!("{name}@{}", database.id)
}

async fn subscribers(connection: &RedisConnection, channel: &str) -> Result<u64, Error> {
    let mut command = cmd("PUBSUB");
    command.arg("NUMSUB").arg(channel);
    let (_, count): (Vec<u8>, u64) = connection.query("PUBSUB", &command).await?;
    Ok(count)
}

struct Channels {
    right: String,
    who: String,
}

impl Channels {
    fn new(database: &Database, name: &str, who: &str) -> Channels {
        let right = channel(database, name);
        Channels { who: format!("{right} {who}"), right }
    }

    /// Subscribes, and counts; tries until [`PATIENCE`] is over.
    async fn take(&self, database: &Database) -> Result<Subscription, HoldError> {
        let connection = RedisConnection::open(database, COMMAND_TIMEOUT).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let names = [self.right.clone(), self.who.clone()];
            let subscription = Subscription::open(database, &[], &names, COMMAND_TIMEOUT).await?;
            if subscribers(&connection, &self.right).await? <= 1 {
                return Ok(subscription);
            }
            drop(subscription);
            if Instant::now() >= deadline {
                let holders = self.others(&connection).await?;
                return Err(HoldError::Held { holders });
            }
            sleep(random_wait()).await;
        }
    }

    async fn others(&self, connection: &RedisConnection) -> Result<Vec<String>, Error> {
        let prefix = format!("{} ", self.right);
        let mut command = cmd("PUBSUB");
        command.arg("CHANNELS").arg(format!("{}*", escape_glob(&prefix)));
        let channels: Vec<Vec<u8>> = connection.query("PUBSUB", &command).await?;
        let who = channels.into_iter().map(text).filter(|channel| *channel != self.who);
        Ok(who.filter_map(|channel| Some(channel.strip_prefix(&prefix)?.to_owned())).collect())
    }

    /// Keeps the right over losses of the connection; returns who has it when it is lost.
    async fn keep(
        &self,
        database: &Database,
        mut subscription: Subscription,
        ping: Duration,
        held: &watch::Sender<bool>,
    ) -> Vec<String> {
        let mut backoff = Backoff::new();
        loop {
            until_lost(subscription, ping).await;
            held.send_replace(false);
            subscription = loop {
                match self.take(database).await {
                    Ok(subscription) => break subscription,
                    Err(HoldError::Held { holders }) if !holders.is_empty() => return holders,
                    // Whoever else uses this Redis says that it is away. One that says no name may be an end of ours that Redis has not
                    // noticed yet.
                    Err(HoldError::Redis(_) | HoldError::Held { .. }) => sleep(backoff.failed()).await,
                }
            };
            held.send_replace(true);
            backoff.succeeded();
        }
    }
}

/// Returns when the connection is lost, and its end here with it: a Redis that only hung would count it beside the next one.
async fn until_lost(mut subscription: Subscription, ping: Duration) {
    loop {
        match timeout(ping, subscription.next()).await {
            // Whatever is said on the channel concerns nobody.
            Ok(Ok(_) | Err(Error::Missed { .. })) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                if subscription.ping().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// 10 to 137 ms: two that meet do not meet again at once.
fn random_wait() -> Duration {
    let mut random = [0_u8];
    // Without random numbers the wait is as good as any.
    let _ = getrandom::fill(&mut random);
    Duration::from_millis(10 + u64::from(random[0]) / 2)
}
