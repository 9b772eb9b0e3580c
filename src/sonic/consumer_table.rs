//! The consuming end of APPL_DB's queue-like tables: what producers have queued becomes rows of the table.
//!
//! From sonic-swss-common `consumerstatetable.cpp` and `consumer_state_table_pops.lua`. Unlike there, nothing of a row is sent along: the
//! answer names the keys, and their rows are read when there is room for them, as those of any other table. A table has ONE consumer:
//! taking a key removes it from the queue.

use super::bounded::{KEY_BYTES, LONG_KEY};
use super::connection::{RedisConnection, text};
use super::database_config::Database;
use super::error::Error;
use super::oddities;
use super::producer_table::QueueNames;

/// Keys taken at once: sonic-swss-common's `DEFAULT_POP_BATCH_SIZE`.
pub const BATCH: usize = 128;

/// KEYS: key set, set of deletions. ARGV: how many, prefix of staging rows, prefix of rows, bytes of a key, then keys to take in any case.
/// Answers with the keys that were taken, then the Redis keys that hold another type than they should (an error in the middle would lose
/// all keys that were taken with them; what belongs to such a key stays as it is), then the beginnings of keys that are too long, whose
/// fields are deleted.
const TAKE_SCRIPT: &str = "
local taken, odd, long = {}, {}, {}
local function is(key, wanted)
    local found = redis.call('TYPE', key).ok
    if found == wanted or found == 'none' then return true end
    odd[#odd + 1] = {key, found}
    return false
end
local deletions = is(KEYS[2], 'set')
if not is(KEYS[1], 'set') then return {taken, odd, long} end
local function take(key)
    local row, staging = ARGV[3] .. key, ARGV[2] .. key
    if deletions and redis.call('SREM', KEYS[2], key) == 1 then
        redis.call('DEL', row)
    end
    if #key > tonumber(ARGV[4]) then
        redis.call('DEL', staging)
        long[#long + 1] = string.sub(key, 1, 64)
    elseif is(staging, 'hash') and is(row, 'hash') then
        if redis.call('EXISTS', row) == 0 then
            if redis.call('EXISTS', staging) == 1 then redis.call('RENAME', staging, row) end
        else
            local waiting = redis.call('HGETALL', staging)
            for i = 1, #waiting, 2 do
                redis.call('HSET', row, waiting[i], waiting[i + 1])
            end
            redis.call('DEL', staging)
        end
        taken[#taken + 1] = key
    end
end
for i = 5, #ARGV do
    if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then take(ARGV[i]) end
end
if tonumber(ARGV[1]) > 0 then
    for _, key in ipairs(redis.call('SPOP', KEYS[1], ARGV[1])) do take(key) end
end
return {taken, odd, long}";

/// What [`TAKE_SCRIPT`] answers. Bytes: a name that is not UTF-8 must not lose the others, either.
type Answer = (Vec<Vec<u8>>, Vec<(Vec<u8>, String)>, Vec<Vec<u8>>);

/// What was taken off a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The row keys to which something happened, in no particular order. A row that is not there now was deleted.
    pub keys: Vec<String>,
    /// Whether more may wait.
    pub more: bool,
}

/// The queue of one table.
#[derive(Clone, Debug)]
pub struct ConsumerQueue {
    names: QueueNames,
}

impl ConsumerQueue {
    /// The queue of `table` in `database`.
    #[must_use]
    pub fn new(database: &Database, table: &str) -> ConsumerQueue {
        ConsumerQueue { names: QueueNames::new(database, table) }
    }

    /// The channel on which producers say that it has grown. Subscribing first and then taking until nothing is left misses nothing:
    /// a key that arrives in between is taken at once, and its message finds an empty queue.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.names.channel
    }

    /// Takes those of `first` that wait, and up to `most` others.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn take(&self, connection: &RedisConnection, most: usize, first: &[String]) -> Result<Taken, Error> {
        let keys = [self.names.key_set.as_str(), &self.names.del_set];
        let [most_text, key_bytes] = [most, KEY_BYTES].map(|number| number.to_string());
        let mut args = vec![most_text.as_str(), &self.names.staging, &self.names.rows, &key_bytes];
        args.extend(first.iter().map(String::as_str));
        let (taken, odd, long): Answer = connection.eval(TAKE_SCRIPT, &keys, &args).await?;
        let database = &connection.database().name;
        let of_queue = |key: &[u8]| keys.iter().any(|queue| key == queue.as_bytes());
        let queue_is_odd = odd.iter().any(|(key, _)| *key == keys[0].as_bytes());
        let passed_over = odd.iter().filter(|(key, _)| !of_queue(key)).count() + long.len();
        for (key, found) in odd {
            oddities::report(database, &text(key), &format!("holds a {found}, which has no place here"));
        }
        for begin in long {
            oddities::report(database, &text(begin), LONG_KEY);
        }
        let more = !queue_is_odd && taken.len() + passed_over > 0;
        Ok(Taken { keys: taken.into_iter().map(text).collect(), more })
    }
}
