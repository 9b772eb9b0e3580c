//! Notifications of single jobs' rows for any number of callers, over one connection to Redis.
//!
//! Each job that somebody waits for is subscribed to by its own channels: what happens to all other rows of a table is not heard at all.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::model::schema::state_db;
use crate::sonic::backoff::Backoff;
use crate::sonic::connection::COMMAND_TIMEOUT;
use crate::sonic::pubsub::{Subscription, keyspace_prefix};
use crate::sonic::{Database, Error};

/// How often channels are given up that nobody waits for any more.
const TIDY: Duration = Duration::from_secs(1);
/// Callers that wait for their subscription at once; more wait for them.
const QUEUE: usize = 16;

/// The shared connection. Connects on first use, and again after a loss.
#[derive(Debug)]
pub(super) struct Follower {
    database: Database,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    open: Option<(mpsc::Sender<Ask>, AbortOnDrop)>,
    backoff: Backoff,
    /// After a failure: when the next attempt is due, and why the last one failed.
    away: Option<(Instant, String)>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Ask {
    id: String,
    answer: oneshot::Sender<Result<watch::Receiver<()>, Error>>,
}

impl Follower {
    pub(super) fn new(database: Database) -> Follower {
        Follower { database, link: Mutex::default() }
    }

    /// Changes of the rows of job `id` from now on. The channel closes when the connection is lost.
    ///
    /// # Errors
    /// Redis is away.
    pub(super) async fn follow(&self, id: &str) -> Result<watch::Receiver<()>, Error> {
        let asks = self.asks().await?;
        let (answer, answered) = oneshot::channel();
        let lost = || Error::Closed { database: self.database.name.clone() };
        asks.send(Ask { id: id.to_owned(), answer }).await.map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }

    async fn asks(&self) -> Result<mpsc::Sender<Ask>, Error> {
        let mut link = self.link.lock().await;
        if let Some((asks, _)) = link.open.as_ref().filter(|(asks, _)| !asks.is_closed()) {
            return Ok(asks.clone());
        }
        link.open = None;
        if let Some((due, last)) = &link.away {
            let next_attempt = due.saturating_duration_since(Instant::now());
            if !next_attempt.is_zero() {
                let database = self.database.name.clone();
                return Err(Error::Away { database, next_attempt, last: last.clone() });
            }
        }
        match Subscription::open(&self.database, &[], &[], COMMAND_TIMEOUT).await {
            Ok(subscription) => {
                let (sender, asks) = mpsc::channel(QUEUE);
                let following = Following { subscription, followed: BTreeMap::new(), database: self.database.clone() };
                let task = AbortOnDrop(tokio::spawn(following.run(asks)));
                *link = Link { open: Some((sender.clone(), task)), ..Link::default() };
                Ok(sender)
            }
            Err(error) => {
                link.away = Some((Instant::now() + link.backoff.failed(), error.to_string()));
                Err(error)
            }
        }
    }
}

/// The connection's task.
struct Following {
    subscription: Subscription,
    database: Database,
    /// By job id.
    followed: BTreeMap<String, watch::Sender<()>>,
}

impl Following {
    /// Until the connection is lost, which every receiver then notices, or nobody can ask any more.
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut tidy = interval(TIDY);
        loop {
            let is_open = tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.begin(ask).await,
                    None => return,
                },
                message = self.subscription.next() => match message {
                    Ok(message) => {
                        self.tell(&message.channel);
                        true
                    }
                    Err(Error::Missed { .. }) => {
                        self.followed.values().for_each(|sender| sender.send_replace(()));
                        true
                    }
                    Err(error) => {
                        tracing::info!(%error, "jobs are not followed any more; who waits looks again");
                        false
                    }
                },
                _ = tidy.tick() => self.tidy().await,
            };
            if !is_open {
                return;
            }
        }
    }

    fn channels(&self, id: &str) -> [String; 2] {
        let prefix = keyspace_prefix(&self.database);
        [state_db::JOB, state_db::RESULT].map(|table| format!("{prefix}{}", self.database.key(table, id)))
    }

    /// Whether the connection is still of use.
    async fn begin(&mut self, ask: Ask) -> bool {
        if let Some(sender) = self.followed.get(&ask.id) {
            let _ = ask.answer.send(Ok(sender.subscribe()));
            return true;
        }
        let begun = self.subscription.subscribe(&self.channels(&ask.id)).await;
        let is_open = begun.is_ok();
        let answer = begun.map(|()| self.followed.entry(ask.id).or_insert_with(|| watch::channel(()).0).subscribe());
        // Who has gone meanwhile is found by the next tidying.
        let _ = ask.answer.send(answer);
        is_open
    }

    fn tell(&self, channel: &str) {
        let key = channel.strip_prefix(&keyspace_prefix(&self.database));
        let row = key.and_then(|key| self.database.split_key(key));
        if let Some(sender) = row.and_then(|(_, id)| self.followed.get(id)) {
            sender.send_replace(());
        }
    }

    /// Whether the connection is still of use.
    async fn tidy(&mut self) -> bool {
        let unwatched = self.followed.iter().filter(|(_, sender)| sender.receiver_count() == 0);
        let ids: Vec<String> = unwatched.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return true;
        }
        self.followed.retain(|_, sender| sender.receiver_count() > 0);
        let channels: Vec<String> = ids.iter().flat_map(|id| self.channels(id)).collect();
        self.subscription.unsubscribe(&channels).await.is_ok()
    }
}
