//! A Redis of its own for each test, and waiting with a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use telegen_sonic::lab::redis_server::{RedisConfig, RedisServer};
use telegen_sonic::lab::switch_db::database_config_json;
use telegen_sonic::sonic::{DatabaseConfig, Fields, RedisConnection, connect};

/// Far longer than anything here takes; only a failure waits for it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A running Redis with SONiC's databases.
pub struct Redis {
    pub server: RedisServer,
    pub config: DatabaseConfig,
    // After the server: its directory outlives it.
    _dir: tempfile::TempDir,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::listening(None)
    }

    pub fn listening(tcp: Option<SocketAddr>) -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let unix_socket = dir.path().join("redis.sock");
        let config = DatabaseConfig::from_json(&database_config_json(&unix_socket), Path::new("test")).unwrap();
        let server = RedisServer::start(&RedisConfig { unix_socket, tcp, dir: dir.path().to_owned() }).unwrap();
        Redis { server, config, _dir: dir }
    }

    pub async fn connect(&self, database: &str) -> RedisConnection {
        connect(&self.config, database).await.unwrap()
    }
}

/// What `future` answers, or a failure that says what did not happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("within {DEADLINE:?}: {what}"))
}

pub fn fields<const N: usize>(fields: [(&str, &str); N]) -> Fields {
    fields.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
}
