//! ProducerStateTable: how programs on the switch put rows into APPL_DB, through a queue of dirty keys.
//!
//! The protocol, from sonic-swss-common `producerstatetable.cpp` and `table.h`: fields wait in `_TABLE:key`, the key's name in the
//! set `TABLE_KEY_SET` (and `TABLE_DEL_SET`, if the old row is to go first), and the channel `TABLE_CHANNEL@<db id>` says `G` when
//! the set of dirty keys grew.

use super::connection::RedisConnection;
use super::database_config::Database;
use super::error::Error;
use crate::row::{Fields, NULL};

/// KEYS: key set, staging row. ARGV: channel, key, then field and value in turn.
const SET_SCRIPT: &str = "
local grew = redis.call('SADD', KEYS[1], ARGV[2])
for i = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
if grew == 1 then
    redis.call('PUBLISH', ARGV[1], 'G')
end
return grew";

/// KEYS: key set, set of deletions, staging row. ARGV: channel, key.
const DEL_SCRIPT: &str = "
local grew = redis.call('SADD', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
if grew == 1 then
    redis.call('PUBLISH', ARGV[1], 'G')
end
return grew";

/// The Redis names of a table's queue.
#[derive(Clone, Debug)]
pub(super) struct QueueNames {
    pub key_set: String,
    pub del_set: String,
    pub channel: String,
    /// What stands before the row key of a waiting row.
    pub staging: String,
    /// What stands before the row key of a row that was taken over.
    pub rows: String,
}

impl QueueNames {
    pub fn new(database: &Database, table: &str) -> QueueNames {
        QueueNames {
            key_set: format!("{table}_KEY_SET"),
            del_set: format!("{table}_DEL_SET"),
            channel: format!("{table}_CHANNEL@{}", database.id),
            staging: format!("_{table}{}", database.separator),
            rows: database.key(table, ""),
        }
    }
}

/// The writing end of a table.
#[derive(Clone, Debug)]
pub struct ProducerStateTable {
    connection: RedisConnection,
    names: QueueNames,
}

impl ProducerStateTable {
    /// The writing end of `table` in the connection's database.
    #[must_use]
    pub fn new(connection: RedisConnection, table: &str) -> ProducerStateTable {
        let names = QueueNames::new(connection.database(), table);
        ProducerStateTable { connection, names }
    }

    /// Sets `fields` of row `key`; its other fields stay. No fields are written as `NULL = NULL`, because a waiting key without
    /// fields means deletion.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn set(&self, key: &str, fields: &Fields) -> Result<(), Error> {
        let staging = format!("{}{key}", self.names.staging);
        let mut args = vec![self.names.channel.as_str(), key];
        args.extend(fields.iter().flat_map(|(field, value)| [field.as_str(), value.as_str()]));
        if fields.is_empty() {
            args.extend([NULL, NULL]);
        }
        let _grew: u64 = self.connection.eval(SET_SCRIPT, &[&self.names.key_set, &staging], &args).await?;
        Ok(())
    }

    /// Deletes row `key`, and what was set and not yet taken.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn del(&self, key: &str) -> Result<(), Error> {
        let staging = format!("{}{key}", self.names.staging);
        let keys = [self.names.key_set.as_str(), &self.names.del_set, &staging];
        let _grew: u64 = self.connection.eval(DEL_SCRIPT, &keys, &[&self.names.channel, key]).await?;
        Ok(())
    }
}
