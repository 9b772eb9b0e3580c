//! SONiC's databases as any client sees them: the client library alone, none of our own code in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, Commands, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult,
};

/// The fields of a row.
pub type Row = BTreeMap<String, String>;

/// A database by its id in SONiC's `database_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Db {
    Appl = 0,
    Asic = 1,
    Counters = 2,
    Config = 4,
    State = 6,
}

/// A connection to one database. An error of Redis fails the test.
pub struct Redis {
    connection: Connection,
    client: Client,
}

impl Redis {
    pub fn open(socket: &Path, db: Db) -> RedisResult<Redis> {
        let settings = RedisConnectionInfo::default().set_db(db as i64);
        let address = ConnectionAddr::Unix(socket.to_owned()).into_connection_info()?.set_redis_settings(settings);
        let client = Client::open(address)?;
        Ok(Redis { connection: connect(&client)?, client })
    }

    /// The row at `key`; empty if there is none.
    pub fn row(&mut self, key: &str) -> Row {
        self.read(|connection| connection.hgetall(key))
    }

    pub fn field(&mut self, key: &str, field: &str) -> Option<String> {
        self.read(|connection| connection.hget(key, field))
    }

    /// A read with a time-out is interrupted (`EINTR`) whenever this process was stopped for a moment, as a virtual machine is
    /// when it is moved (signal(7), "Interruption of system calls when no signal handler runs"). Then it is asked again, of a new connection: the
    /// old one may have read half an answer.
    fn read<T>(&mut self, ask: impl Fn(&mut Connection) -> RedisResult<T>) -> T {
        loop {
            match ask(&mut self.connection) {
                Err(error) if is_interrupted(&error) => self.connection = connect(&self.client).unwrap(),
                answer => return answer.unwrap(),
            }
        }
    }

    /// ONE HSET.
    pub fn set(&mut self, key: &str, fields: &[(&str, &str)]) {
        let () = self.connection.hset_multiple(key, fields).unwrap();
    }

    pub fn delete_field(&mut self, key: &str, field: &str) {
        let () = self.connection.hdel(key, field).unwrap();
    }

    pub fn delete(&mut self, key: &str) {
        let () = self.connection.del(key).unwrap();
    }

    pub fn exists(&mut self, key: &str) -> bool {
        self.read(|connection| connection.exists(key))
    }

    /// Sorted.
    pub fn keys(&mut self, pattern: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.read(|connection| connection.keys(pattern));
        keys.sort();
        keys
    }

    /// Any command, for its effect.
    pub fn command(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let _: redis::Value = command.query(&mut self.connection).unwrap();
    }

    /// How many connections listen.
    pub fn listeners(&mut self) -> usize {
        let list: String =
            self.read(|connection| redis::cmd("CLIENT").arg(&["LIST", "TYPE", "pubsub"]).query(connection));
        list.lines().count()
    }

    /// A section of INFO.
    pub fn info(&mut self, section: &str) -> String {
        self.read(|connection| redis::cmd("INFO").arg(section).query(connection))
    }

    /// Commands in one transaction: nobody comes in between.
    pub fn together(&mut self, commands: &[&[&str]]) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for words in commands {
            pipe.cmd(words[0]).arg(&words[1..]).ignore();
        }
        let () = pipe.query(&mut self.connection).unwrap();
    }

    /// The server's process.
    pub fn server_pid(&mut self) -> i32 {
        let info: String = self.read(|connection| redis::cmd("INFO").arg("server").query(connection));
        let line = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        line.trim().parse().unwrap()
    }
}

fn connect(client: &Client) -> RedisResult<Connection> {
    // A server that was stopped on purpose must not hang the test.
    const PATIENCE: Duration = Duration::from_secs(20);
    let connection = client.get_connection()?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn is_interrupted(error: &RedisError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::Interrupted)
}
