//! The job rows of one door, followed in bounded memory: a notification only makes a row dirty, and rows are read while the window has
//! room. Rows of jobs that wait or hold something are read before all others, so that the end of a job never waits behind a flood.
//!
//! Level-triggered: watch first, then list page by page, then list every 30 s, after every loss of the connection (Redis drops a
//! subscriber that is too slow), and whenever more became dirty than can be remembered. In CONFIG_DB a row becomes dirty by a keyspace
//! notification; in APPL_DB, where producers queue what they write, by being taken off that queue.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::dirty::{Dirty, Why};
use super::source::Input;
use super::window::Window;
use crate::model::job::{Fields, no_hash, too_large};
use crate::model::limits::JOB_ROW_BYTES;
use crate::model::schema::Source;
use crate::model::supervisor::{Event, Standing};
use crate::sonic::backoff::Backoff;
use crate::sonic::bounded::{KEY_BYTES, RowLimit};
use crate::sonic::connection::{CHUNK, COMMAND_TIMEOUT};
use crate::sonic::consumer_table::BATCH;
use crate::sonic::hold::Right;
use crate::sonic::pubsub::{Message, Subscription, keyspace_prefix, table_pattern};
use crate::sonic::{ConsumerQueue, Database, Error, RedisConnection};

/// Messages that are taken in between two reads.
const MESSAGES: usize = 1024;
/// A listing goes on, and a queue is taken from, while fewer dirty rows than this wait.
const LIST_AHEAD: usize = 4096;

/// Where rows are handed over.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// What cannot wait.
    pub urgent: mpsc::Sender<Input>,
    /// All else, in batches.
    pub bulk: mpsc::Sender<Vec<Event>>,
}

/// Follows the job rows of one door.
pub struct JobRows {
    /// Which.
    pub door: Source,
    /// Its database.
    pub database: Database,
    /// The table.
    pub table: String,
    /// How often it is listed.
    pub resync: Duration,
    /// The rows that are under way; at first, those of which an earlier daemon said something.
    pub window: Arc<Window>,
    /// Where to.
    pub lanes: Lanes,
    /// The right to take keys off a queue, which whoever takes them has alone; `None`: nobody disputes it.
    pub right: Option<Right>,
}

/// Why a connection was given up.
enum End {
    Unread,
    Lost(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Lost(error)
    }
}

/// How far the door's first listing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// Nothing was said yet.
    Due,
    /// The rows that an earlier daemon knew were said; those that are found now were there before anybody watched.
    UnderWay,
    Done,
}

/// One connection's work.
struct Round<'a> {
    rows: &'a JobRows,
    subscription: Subscription,
    connection: RedisConnection,
    dirty: Dirty,
    limit: RowLimit,
    heard: Heard,
    /// Where the listing goes on; `None`: none is under way.
    cursor: Option<u64>,
}

/// How a door says that a row changed.
enum Heard {
    /// By the notifications of keys that begin like this.
    Keyspace { prefix: String },
    /// By a queue.
    Queue {
        queue: ConsumerQueue,
        /// More may wait in it.
        more: bool,
        /// What was queued may be of a row that cannot wait.
        asked: bool,
    },
}

impl JobRows {
    /// Follows until the daemon is gone.
    pub async fn run(self) {
        let (mut backoff, mut told, mut first) = (Backoff::new(), false, First::Due);
        loop {
            let mut connected = false;
            let Err(end) = self.follow(&mut connected, &mut first).await;
            let End::Lost(error) = end else { return };
            if connected {
                backoff.succeeded();
                told = false;
            }
            if !std::mem::replace(&mut told, true) {
                if matches!(error, Error::NotHeld { .. }) {
                    tracing::warn!("{error}");
                } else {
                    tracing::warn!(%error, "the connection to {} is lost", self.database.name);
                }
            }
            sleep(backoff.failed()).await;
        }
    }

    async fn follow(&self, connected: &mut bool, first: &mut First) -> Result<Infallible, End> {
        let (patterns, channels, heard) = match self.door {
            Source::Config => {
                let prefix = format!("{}{}", keyspace_prefix(&self.database), self.database.key(&self.table, ""));
                (vec![table_pattern(&self.database, &self.table)], Vec::new(), Heard::Keyspace { prefix })
            }
            Source::Appl => {
                let queue = ConsumerQueue::new(&self.database, &self.table);
                let channels = vec![queue.channel().to_owned()];
                (Vec::new(), channels, Heard::Queue { queue, more: true, asked: true })
            }
        };
        let subscription = Subscription::open(&self.database, &patterns, &channels, COMMAND_TIMEOUT).await?;
        let connection = RedisConnection::open(&self.database, COMMAND_TIMEOUT).await?;
        let (dirty, limit) =
            (Dirty::default(), RowLimit { bytes: JOB_ROW_BYTES, stand_in: too_large(), no_hash: no_hash() });
        let mut round = Round { rows: self, subscription, connection, dirty, limit, heard, cursor: None };
        round.begin_listing(first).await?;
        *connected = true;
        let mut next_listing = Instant::now() + self.resync;
        loop {
            round.drain()?;
            if round.step(first).await? {
                continue;
            }
            tokio::select! {
                message = round.subscription.next() => round.heard(message)?,
                () = self.window.changed() => {}
                () = sleep_until(next_listing) => {
                    next_listing = Instant::now() + self.resync;
                    round.subscription.ping().await?;
                    round.heard.listen_anew();
                    round.look_again(first).await?;
                }
            }
        }
    }
}

impl Round<'_> {
    /// The rows that are under way are read again, all others are looked for page by page.
    async fn begin_listing(&mut self, first: &mut First) -> Result<(), End> {
        if *first == First::Due {
            let known = self.rows.window.keys();
            let rows = self.read(&known).await?.into_iter().filter_map(|(key, fields)| Some((key, fields?)));
            let event = Event::Rows { door: self.rows.door, rows: rows.collect::<BTreeMap<_, _>>() };
            self.urgent(Input::Event(event)).await?;
            *first = First::UnderWay;
        } else {
            self.note_known();
        }
        self.cursor = Some(0);
        Ok(())
    }

    /// What no notification tells: a database that was flushed, a row that was written past the queue. A row of APPL_DB comes through its
    /// queue, so the whole of that database, with all the routes of the switch, is gone through after connecting only.
    async fn look_again(&mut self, first: &mut First) -> Result<(), End> {
        match self.heard {
            Heard::Keyspace { .. } if self.cursor.is_none() => self.begin_listing(first).await?,
            Heard::Keyspace { .. } => {}
            Heard::Queue { .. } => self.note_known(),
        }
        Ok(())
    }

    /// Does what is most pressing; false if there is nothing to do.
    async fn step(&mut self, first: &mut First) -> Result<bool, End> {
        for key in self.rows.window.take_risen() {
            self.dirty.urge(key);
            // What ends it may be queued already.
            self.heard.ask();
        }
        // A row that nobody had seen before a listing is in the table before anything more is put into it.
        let took = *first == First::Done && self.take_queued().await?;
        let urgent = self.dirty.take_urgent(CHUNK);
        if !urgent.is_empty() {
            for (key, fields) in self.read(&urgent).await? {
                self.urgent(Input::Event(Event::Row { door: self.rows.door, key, fields })).await?;
            }
            return Ok(true);
        }
        if self.dirty.len() > 0 && self.rows.window.room() > 0 {
            self.hand_over().await?;
            return Ok(true);
        }
        match self.cursor {
            Some(cursor) if self.dirty.len() < LIST_AHEAD => {
                self.list_page(cursor, first).await?;
                Ok(true)
            }
            None if self.dirty.take_overflowed() => {
                self.cursor = Some(0);
                Ok(true)
            }
            Some(_) | None => Ok(took),
        }
    }

    /// Reads the rows that have been dirty for longest, as many as there is room for.
    async fn hand_over(&mut self) -> Result<(), End> {
        let window = &self.rows.window;
        let most = window.room().min(CHUNK);
        let (mut keys, mut found) = (Vec::new(), Vec::new());
        while keys.len() < most
            && let Some((key, why)) = self.dirty.pop()
        {
            // What is deleted and not under way concerns nobody: mostly it is what we deleted ourselves.
            if why == Why::Deleted && window.standing(&key).is_none() {
                continue;
            }
            keys.push(key.to_string());
            found.push(why == Why::Found);
        }
        let mut events = Vec::new();
        for ((key, fields), found) in self.read(&keys).await?.into_iter().zip(found) {
            let door = self.rows.door;
            match fields {
                Some(fields) => {
                    window.enter(&key);
                    events.push(if found {
                        Event::Found { door, key, fields }
                    } else {
                        Event::Row { door, key, fields: Some(fields) }
                    });
                }
                None if window.standing(&key).is_some() => events.push(Event::Row { door, key, fields: None }),
                None => {}
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        loop {
            tokio::select! {
                place = self.rows.lanes.bulk.reserve() => {
                    place.map_err(|_| End::Unread)?.send(events);
                    return Ok(());
                }
                message = self.subscription.next() => self.heard(message)?,
            }
        }
    }

    async fn list_page(&mut self, cursor: u64, first: &mut First) -> Result<(), End> {
        let (next, keys) = self.connection.keys_page(&self.rows.table, cursor).await?;
        let why = if *first == First::Done { Why::Written } else { Why::Found };
        for key in keys {
            if self.rows.window.standing(&key).is_none() {
                self.dirty.note(&key, why);
            }
        }
        self.cursor = (next != 0).then_some(next);
        if self.cursor.is_none() {
            *first = First::Done;
        }
        Ok(())
    }

    /// The rows at these keys, as they are.
    async fn read(&self, keys: &[String]) -> Result<Vec<(String, Option<Fields>)>, End> {
        let database = self.connection.database();
        let redis_keys: Vec<String> = keys.iter().map(|key| database.key(&self.rows.table, key)).collect();
        let rows = self.connection.hgetall_within(&redis_keys, &self.limit).await?;
        Ok(keys.iter().cloned().zip(rows.into_iter().map(|row| (!row.is_empty()).then_some(row))).collect())
    }

    async fn urgent(&mut self, input: Input) -> Result<(), End> {
        self.rows.lanes.urgent.send(input).await.map_err(|_| End::Unread)
    }

    /// Takes in the messages that are here, some at a time.
    fn drain(&mut self) -> Result<(), Error> {
        for _ in 0..MESSAGES {
            let Some(message) = self.subscription.next_if_here().transpose() else { break };
            self.heard(message)?;
        }
        Ok(())
    }

    /// Notifications that were missed may have been of any row: those under way are read again, and the table is listed. A queue keeps what
    /// was not heard of.
    fn heard(&mut self, message: Result<Message, Error>) -> Result<(), Error> {
        match message {
            Ok(message) => self.note(&message),
            Err(Error::Missed { .. }) => match self.heard {
                Heard::Keyspace { .. } => {
                    self.note_known();
                    self.dirty.list_again();
                }
                Heard::Queue { .. } => self.heard.listen_anew(),
            },
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The rows that are under way are read again.
    fn note_known(&mut self) {
        for key in self.rows.window.keys() {
            match self.rows.window.standing(&key) {
                Some(Standing::Live) => self.dirty.urge(key),
                Some(Standing::Passing) | None => self.dirty.note(&key, Why::Written),
            }
        }
    }

    fn note(&mut self, message: &Message) {
        let Heard::Keyspace { prefix } = &self.heard else { return self.heard.listen_anew() };
        // A listing says of a key that is too long that it is passed over.
        let Some(key) = message.channel.strip_prefix(prefix).filter(|key| key.len() <= KEY_BYTES) else { return };
        let gone = matches!(message.payload.as_str(), "del" | "expired" | "evicted" | "rename_from");
        self.note_key(key.to_owned(), if gone { Why::Deleted } else { Why::Written });
    }

    fn note_key(&mut self, key: String, why: Why) {
        if self.rows.window.standing(&key) == Some(Standing::Live) {
            self.dirty.urge(key);
        } else {
            self.dirty.note(&key, why);
        }
    }

    /// Takes what is queued: at once if it is of a row that cannot wait, all else while few rows are dirty. Says whether there was anything.
    async fn take_queued(&mut self) -> Result<bool, Error> {
        let Heard::Queue { queue, more, asked } = &mut self.heard else { return Ok(false) };
        let most = if *more && self.dirty.len() < LIST_AHEAD { BATCH } else { 0 };
        let first = if std::mem::take(asked) { self.rows.window.live() } else { Vec::new() };
        if most == 0 && first.is_empty() {
            return Ok(false);
        }
        if let Some(mut right) = self.rows.right.clone()
            && !right.is_held(COMMAND_TIMEOUT).await
        {
            return Err(Error::NotHeld { database: self.rows.database.name.clone() });
        }
        let taken = queue.take(&self.connection, most, &first).await?;
        if most > 0 {
            *more = taken.more;
        }
        for key in taken.keys {
            self.note_key(key, Why::Written);
        }
        Ok(taken.more)
    }
}

impl Heard {
    /// What cannot wait is looked for in the queue.
    fn ask(&mut self) {
        if let Heard::Queue { asked, .. } = self {
            *asked = true;
        }
    }

    /// Anything may be in the queue.
    fn listen_anew(&mut self) {
        if let Heard::Queue { more, .. } = self {
            *more = true;
        }
        self.ask();
    }
}
