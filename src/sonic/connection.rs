//! One database over one connection: rows read and written whole, every command within a time limit.
//!
//! It does not connect again by itself: see [`super::link::Reconnecting`]. It never sends KEYS, which would block a Redis that it
//! shares with orchagent. Bytes that are not UTF-8 become U+FFFD when read; SONiC writes none.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisConnectionInfo, cmd};

use super::database_config::{Database, DatabaseConfig, Endpoint};
use super::error::Error;
use super::oddities;
use crate::row::{Fields, NULL};

/// No command takes longer: a Redis that hangs must not hang its clients. A healthy one answers within a millisecond.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Redis carries out a pipeline without a pause for others, so longer work is split into chunks of this many commands.
pub const CHUNK: usize = 100;
/// Keys that one SCAN step looks at: 0.1 to 0.8 ms of Redis' time among 100,000 keys, on a busy machine with two cores. 4,000 keys took 1.5 to
/// 2.1 ms there, for which orchagent, whose Redis this is, would have to wait each time.
pub(super) const SCAN_STEP: usize = 1000;

pub(super) type RawFields = Vec<(Vec<u8>, Vec<u8>)>;

/// One change to one key, for [`RedisConnection::write_together`] and [`RedisConnection::write_in_chunks`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets these fields with one HSET; others of the row stay.
    Set {
        /// The Redis key.
        key: String,
        /// The fields; none at all is written as `NULL = NULL`.
        fields: Fields,
    },
    /// Makes these the row's only fields (DEL and HSET; together only in [`RedisConnection::write_together`]).
    Replace {
        /// The Redis key.
        key: String,
        /// The fields; none at all is written as `NULL = NULL`.
        fields: Fields,
    },
    /// Deletes the row.
    Delete {
        /// The Redis key.
        key: String,
    },
}

/// A connection to one database. Clones share it.
#[derive(Clone, Debug)]
pub struct RedisConnection {
    inner: MultiplexedConnection,
    database: Arc<Database>,
    timeout: Duration,
    broken: Arc<AtomicBool>,
}

/// Connects to the database called `name`, waiting [`COMMAND_TIMEOUT`] at most.
///
/// # Errors
/// The configuration does not name it, or Redis cannot be reached.
pub async fn connect(config: &DatabaseConfig, name: &str) -> Result<RedisConnection, Error> {
    RedisConnection::open(config.database(name)?, COMMAND_TIMEOUT).await
}

impl RedisConnection {
    /// Connects to `database`; `timeout` limits this and every later command.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub async fn open(database: &Database, timeout: Duration) -> Result<RedisConnection, Error> {
        let endpoint = database.endpoint();
        let client = client(database, &endpoint)?;
        // The limits are ours, so that they have one message; the client's own are off.
        let unlimited = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&unlimited);
        let inner = tokio::time::timeout(timeout, connecting)
            .await
            .map_err(|_| Error::Timeout { database: database.name.clone(), command: "connect", after: timeout })?
            .map_err(|source| connect_error(database, &endpoint, source))?;
        Ok(RedisConnection { inner, database: Arc::new(database.clone()), timeout, broken: Arc::default() })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether a command failed in a way that leaves the connection useless. Errors of other clones count.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The fields of the row at `key`; none if it does not exist, or if the key holds no hash, which is said by name.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn hgetall(&self, key: &str) -> Result<Fields, Error> {
        Ok(self.hgetall_in_order(key).await?.into_iter().collect())
    }

    /// As [`RedisConnection::hgetall`], in the order in which Redis holds the fields: that of writing, for small rows.
    ///
    /// # Errors
    /// As [`RedisConnection::hgetall`].
    pub async fn hgetall_in_order(&self, key: &str) -> Result<Vec<(String, String)>, Error> {
        let raw: RawFields = self.of_row(key, self.query("HGETALL", cmd("HGETALL").arg(key)).await)?;
        Ok(decode(raw).collect())
    }

    /// One field of the row at `key`; `None` as [`RedisConnection::hgetall`].
    ///
    /// # Errors
    /// As [`RedisConnection::hgetall`].
    pub async fn hget(&self, key: &str, field: &str) -> Result<Option<String>, Error> {
        let raw: Option<Vec<u8>> = self.of_row(key, self.query("HGET", cmd("HGET").arg(key).arg(field)).await)?;
        Ok(raw.map(text))
    }

    /// Nothing of a key that holds no hash; any other refusal says nothing of the key and stays an error.
    fn of_row<T: Default>(&self, key: &str, answer: Result<T, Error>) -> Result<T, Error> {
        match answer {
            Err(Error::Command { source, .. }) if oddities::is_wrong_type(&source) => {
                oddities::report(&self.database.name, key, "holds no hash");
                Ok(T::default())
            }
            answer => answer,
        }
    }

    /// The rows at `keys`, in that order, read in chunks, each as by [`RedisConnection::hgetall`].
    ///
    /// # Errors
    /// Redis is away.
    pub async fn hgetall_many(&self, keys: &[String]) -> Result<Vec<Fields>, Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            let mut pipeline = Pipeline::with_capacity(chunk.len());
            pipeline.ignore_errors();
            for key in chunk {
                pipeline.cmd("HGETALL").arg(key);
            }
            let answers: Vec<redis::RedisResult<RawFields>> = self.run("HGETALL", &pipeline).await?;
            for (key, answer) in chunk.iter().zip(answers) {
                let answer = answer.map_err(|source| self.refused("HGETALL", source));
                rows.push(decode(self.of_row(key, answer)?).collect());
            }
        }
        Ok(rows)
    }

    /// Sets `fields` of the row at `key` with ONE HSET, which is one event for whoever watches. No fields are written as `NULL = NULL`.
    ///
    /// # Errors
    /// Redis is away, or the key holds something other than a hash.
    pub async fn hset_whole(&self, key: &str, fields: &Fields) -> Result<(), Error> {
        self.query("HSET", &hset(key, fields)).await
    }

    /// Makes `fields` the only fields of the row at `key`, in one transaction.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn replace(&self, key: &str, fields: &Fields) -> Result<(), Error> {
        self.write_together(&[Write::Replace { key: key.to_owned(), fields: fields.clone() }]).await
    }

    /// Deletes `key`, whatever it holds. Says whether it existed.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn del(&self, key: &str) -> Result<bool, Error> {
        let deleted: u64 = self.query("DEL", cmd("DEL").arg(key)).await?;
        Ok(deleted > 0)
    }

    /// The value of the string at `key`.
    ///
    /// # Errors
    /// Redis is away, or the key holds something other than a string.
    pub async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        let raw: Option<Vec<u8>> = self.query("GET", cmd("GET").arg(key)).await?;
        Ok(raw.map(text))
    }

    /// Sets the string at `key`.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.query("SET", cmd("SET").arg(key).arg(value)).await
    }

    /// The row keys of `table` (what follows the first separator), sorted. Rows that come or go meanwhile may be missed: watch first.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn keys(&self, table: &str) -> Result<Vec<String>, Error> {
        let [keys] = self.keys_of([table]).await?;
        Ok(keys)
    }

    /// As [`RedisConnection::keys`], of several tables in one pass: each pass goes through the whole database, whatever its size.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn keys_of<const N: usize>(&self, tables: [&str; N]) -> Result<[Vec<String>; N], Error> {
        let prefixes = tables.map(|table| self.database.key(table, ""));
        let pattern = match prefixes.as_slice() {
            [prefix] => format!("{}*", escape_glob(prefix)),
            _ => common_pattern(&prefixes),
        };
        let mut keys = [const { Vec::new() }; N];
        let mut cursor: u64 = 0;
        loop {
            let (next, found) = self.scan(&pattern, cursor).await?;
            for key in found {
                for (prefix, keys) in prefixes.iter().zip(&mut keys) {
                    keys.extend(key.strip_prefix(prefix).map(str::to_owned));
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        for keys in &mut keys {
            // SCAN may say a key twice.
            keys.sort_unstable();
            keys.dedup();
        }
        Ok(keys)
    }

    async fn scan(&self, pattern: &str, cursor: u64) -> Result<(u64, Vec<String>), Error> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_STEP);
        let (next, found): (u64, Vec<Vec<u8>>) = self.query("SCAN", &scan).await?;
        Ok((next, found.into_iter().map(text).collect()))
    }

    /// Deletes all of `keys`, [`CHUNK`] with each command.
    ///
    /// # Errors
    /// Redis is away; those before the failure are deleted.
    pub async fn del_many(&self, keys: &[String]) -> Result<(), Error> {
        for chunk in keys.chunks(CHUNK) {
            let _deleted: u64 = self.query("DEL", cmd("DEL").arg(chunk)).await?;
        }
        Ok(())
    }

    /// All rows of `table` by row key. A row that vanished between listing and reading is left out.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn rows(&self, table: &str) -> Result<BTreeMap<String, Fields>, Error> {
        self.rows_at(table, self.keys(table).await?).await
    }

    /// The rows of `table` at these row keys, by row key; those that are not there are left out.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn rows_at(&self, table: &str, keys: Vec<String>) -> Result<BTreeMap<String, Fields>, Error> {
        let redis_keys: Vec<String> = keys.iter().map(|key| self.database.key(table, key)).collect();
        let rows = self.hgetall_many(&redis_keys).await?;
        Ok(keys.into_iter().zip(rows).filter(|(_, fields)| !fields.is_empty()).collect())
    }

    /// Writes everything in one transaction: readers see all of it or nothing.
    ///
    /// # Errors
    /// Redis is away, or a key holds something other than a hash.
    pub async fn write_together(&self, writes: &[Write]) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(writes.len());
        pipeline.atomic();
        add(&mut pipeline, writes);
        self.run("MULTI", &pipeline).await
    }

    /// Writes in pipelines of at most [`CHUNK`] commands, so that other clients of this Redis get their turn between them.
    /// Readers may see a part of it.
    ///
    /// # Errors
    /// Redis is away, or a key holds something other than a hash; what was written before stays written.
    pub async fn write_in_chunks(&self, writes: &[Write]) -> Result<(), Error> {
        // A replacement is two commands.
        for chunk in writes.chunks(CHUNK / 2) {
            let mut pipeline = Pipeline::with_capacity(CHUNK);
            add(&mut pipeline, chunk);
            let () = self.run("pipeline", &pipeline).await?;
        }
        Ok(())
    }

    /// Runs a Lua script.
    ///
    /// # Errors
    /// Redis is away, the script failed, or its answer is not a `T`.
    pub async fn eval<T: FromRedisValue>(&self, script: &str, keys: &[&str], args: &[&str]) -> Result<T, Error> {
        self.query("EVAL", cmd("EVAL").arg(script).arg(keys.len()).arg(keys).arg(args)).await
    }

    /// Any other command, `what` for messages.
    ///
    /// # Errors
    /// Redis is away, refused the command, or its answer is not a `T`.
    pub async fn query<T: FromRedisValue>(&self, what: &'static str, command: &Cmd) -> Result<T, Error> {
        let mut connection = self.inner.clone();
        self.within(what, command.query_async(&mut connection)).await
    }

    /// Any other pipeline, `what` for messages.
    ///
    /// # Errors
    /// Redis is away, refused a command, or its answers are not a `T`.
    pub async fn run<T: FromRedisValue>(&self, what: &'static str, pipeline: &Pipeline) -> Result<T, Error> {
        let mut connection = self.inner.clone();
        self.within(what, pipeline.query_async(&mut connection)).await
    }

    fn refused(&self, command: &'static str, source: redis::RedisError) -> Error {
        Error::Command { database: self.database.name.clone(), command, source }
    }

    async fn within<T>(
        &self,
        command: &'static str,
        answer: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Error> {
        let result = match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|source| self.refused(command, source)),
            Err(_) => Err(Error::Timeout { database: self.database.name.clone(), command, after: self.timeout }),
        };
        if result.as_ref().is_err_and(Error::breaks_connection) {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// A client of `database` by way of `endpoint`.
pub(super) fn client(database: &Database, endpoint: &Endpoint) -> Result<redis::Client, Error> {
    let address = match endpoint {
        Endpoint::Unix(path) => redis::ConnectionAddr::Unix(path.clone()),
        Endpoint::Tcp(host, port) => redis::ConnectionAddr::Tcp(host.clone(), *port),
    };
    // Without CLIENT SETINFO: a Redis before 7.2, which SONiC ships, only answers it with an error.
    let settings = RedisConnectionInfo::default().set_db(i64::from(database.id)).set_skip_set_lib_name();
    address
        .into_connection_info()
        .map(|info| info.set_redis_settings(settings))
        .and_then(redis::Client::open)
        .map_err(|source| connect_error(database, endpoint, source))
}

/// The error of an attempt to connect.
pub(super) fn connect_error(database: &Database, endpoint: &Endpoint, source: redis::RedisError) -> Error {
    Error::Connect { database: database.name.clone(), endpoint: endpoint.to_string(), source }
}

/// A pattern that matches whatever begins with one of `prefixes`, and little else where their first letters tell them apart.
fn common_pattern(prefixes: &[String]) -> String {
    let firsts: BTreeSet<char> = prefixes.iter().filter_map(|prefix| prefix.chars().next()).collect();
    let of_name = |first: &char| first.is_ascii_alphanumeric() || *first == '_';
    if firsts.iter().all(of_name) { format!("[{}]*", firsts.into_iter().collect::<String>()) } else { "*".to_owned() }
}

/// `prefix` as a pattern that matches only itself.
pub(super) fn escape_glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len());
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn add(pipeline: &mut Pipeline, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Set { key, fields } => pipeline.add_command(hset(key, fields)).ignore(),
            Write::Replace { key, fields } => {
                pipeline.cmd("DEL").arg(key).ignore().add_command(hset(key, fields)).ignore()
            }
            Write::Delete { key } => pipeline.cmd("DEL").arg(key).ignore(),
        };
    }
}

fn hset(key: &str, fields: &Fields) -> Cmd {
    let mut hset = cmd("HSET");
    hset.arg(key);
    for (field, value) in fields {
        hset.arg(field).arg(value);
    }
    if fields.is_empty() {
        hset.arg(NULL).arg(NULL);
    }
    hset
}

pub(super) fn decode(raw: RawFields) -> impl Iterator<Item = (String, String)> {
    raw.into_iter().map(|(field, value)| (text(field), text(value)))
}

pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::common_pattern;

    #[test]
    fn the_pattern_of_several_tables_lets_each_of_them_through() {
        let of = |prefixes: [&str; 3]| common_pattern(&prefixes.map(str::to_owned));
        assert_eq!(of(["PORT|", "INTERFACE|", "PORTCHANNEL|"]), "[IP]*");
        // What would mean something in a pattern is not made one.
        assert_eq!(of(["PORT|", "^T|", ""]), "*");
    }
}
