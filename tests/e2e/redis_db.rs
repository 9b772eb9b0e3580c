//! SONiC's databases as any client sees them: the client library alone, none of our own code in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use redis::{Commands, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

/// The fields of a row.
pub type Row = BTreeMap<String, String>;

/// A database by its id in SONiC's `database_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Db {
    Appl = 0,
    Config = 4,
    State = 6,
}

/// A connection to one database. An error of Redis fails the test.
pub struct Redis(Connection);

impl Redis {
    pub fn open(socket: &Path, db: Db) -> RedisResult<Redis> {
        // A server that was stopped on purpose must not hang the test.
        const PATIENCE: Duration = Duration::from_secs(20);
        let settings = RedisConnectionInfo::default().set_db(db as i64);
        let address = ConnectionAddr::Unix(socket.to_owned()).into_connection_info()?.set_redis_settings(settings);
        let connection = redis::Client::open(address)?.get_connection()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(Redis(connection))
    }

    /// The row at `key`; empty if there is none.
    pub fn row(&mut self, key: &str) -> Row {
        self.0.hgetall(key).unwrap()
    }

    pub fn field(&mut self, key: &str, field: &str) -> Option<String> {
        self.0.hget(key, field).unwrap()
    }

    /// ONE HSET.
    pub fn set(&mut self, key: &str, fields: &[(&str, &str)]) {
        let () = self.0.hset_multiple(key, fields).unwrap();
    }

    pub fn delete_field(&mut self, key: &str, field: &str) {
        let () = self.0.hdel(key, field).unwrap();
    }

    pub fn delete(&mut self, key: &str) {
        let () = self.0.del(key).unwrap();
    }

    pub fn exists(&mut self, key: &str) -> bool {
        self.0.exists(key).unwrap()
    }

    /// Sorted.
    pub fn keys(&mut self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.0.keys(pattern).unwrap();
        keys.sort();
        keys
    }

    /// Any command, for its effect.
    pub fn command(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let _: redis::Value = command.query(&mut self.0).unwrap();
    }

    /// The server's process.
    pub fn server_pid(&mut self) -> i32 {
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.0).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        line.trim().parse().unwrap()
    }
}
