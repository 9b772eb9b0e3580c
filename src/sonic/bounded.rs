//! Rows and keys that anybody may write, read within bounds: Redis says how large they are before any of them is sent, because a value may
//! have 512 MiB, and the memory for it would be ours.

use super::connection::{CHUNK, RawFields, RedisConnection, SCAN_STEP, decode, escape_glob, text};
use super::error::Error;
use super::oddities;
use crate::row::Fields;

/// Fields of a row at the most. So many are looked at to find out how large it is.
pub const ROW_FIELDS: usize = 512;
/// The longest row key that is taken notice of. SONiC's own have less than 100 bytes.
pub const KEY_BYTES: usize = 256;

/// How large a row may be, and what its reader gets in place of what cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowLimit {
    /// Bytes of Redis' memory (`MEMORY USAGE`, which counts the key as well); [`ROW_FIELDS`] hold besides.
    pub bytes: usize,
    /// The fields that stand for a larger one, of which nothing is read.
    pub stand_in: Fields,
    /// The fields that stand for a key that holds no hash; none where it is passed over as if it were not there.
    pub no_hash: Fields,
}

/// KEYS: rows. ARGV: bytes, fields. Answers with the fields of each row, then the places of those that are too large and of those that are
/// no hashes, counted from 1. One script, so that no row grows between the look and the reading.
const READ_SCRIPT: &str = "
local rows, too_large, odd = {}, {}, {}
local bytes, most = tonumber(ARGV[1]), tonumber(ARGV[2])
for place, key in ipairs(KEYS) do
    rows[place] = {}
    local fields = redis.pcall('HLEN', key)
    if type(fields) == 'table' then
        if string.sub(fields.err, 1, 9) ~= 'WRONGTYPE' then return fields end
        odd[#odd + 1] = place
    elseif fields > most or (fields > 0 and redis.call('MEMORY', 'USAGE', key, 'SAMPLES', most) > bytes) then
        too_large[#too_large + 1] = place
    elseif fields > 0 then
        rows[place] = redis.call('HGETALL', key)
    end
end
return {rows, too_large, odd}";

/// ARGV: cursor, pattern, how many, bytes. Answers with the next cursor, the keys, and the beginnings of those that are too long.
const SCAN_SCRIPT: &str = "
local keys, long = {}, {}
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
for _, key in ipairs(page[2]) do
    if #key <= tonumber(ARGV[4]) then
        keys[#keys + 1] = key
    else
        long[#long + 1] = string.sub(key, 1, 64)
    end
end
return {page[1], keys, long}";

/// What [`oddities`] says of a key that is too long.
pub(super) const LONG_KEY: &str = "begins a key of more than 256 bytes";

impl RedisConnection {
    /// The rows at `keys`, in that order, read in chunks, each as by [`RedisConnection::hgetall`], or what `limit` has in place of it.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn hgetall_within(&self, keys: &[String], limit: &RowLimit) -> Result<Vec<Fields>, Error> {
        let bounds = [limit.bytes.to_string(), ROW_FIELDS.to_string()];
        let mut rows = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
            let (found, large, odd): (Vec<RawFields>, Vec<usize>, Vec<usize>) =
                self.eval(READ_SCRIPT, &names, &[&bounds[0], &bounds[1]]).await?;
            let mut found: Vec<Fields> = found.into_iter().map(|row| decode(row).collect()).collect();
            for place in large {
                found[place - 1].clone_from(&limit.stand_in);
            }
            for place in odd {
                if limit.no_hash.is_empty() {
                    oddities::report(&self.database().name, &chunk[place - 1], "holds no hash");
                }
                found[place - 1].clone_from(&limit.no_hash);
            }
            rows.extend(found);
        }
        Ok(rows)
    }

    /// A page of the row keys of `table`, some of them perhaps for the second time, and where the next page begins; 0 stands for the
    /// beginning and, behind the last page, for the end. Keys that are there from the first page to the last are all said, except those
    /// whose Redis key is longer than [`KEY_BYTES`] and the table's name, which are passed over and logged.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn keys_page(&self, table: &str, cursor: u64) -> Result<(u64, Vec<String>), Error> {
        let prefix = self.database().key(table, "");
        let numbers = [cursor.to_string(), SCAN_STEP.to_string(), (prefix.len() + KEY_BYTES).to_string()];
        let pattern = format!("{}*", escape_glob(&prefix));
        let args = [numbers[0].as_str(), &pattern, &numbers[1], &numbers[2]];
        let (next, found, long): (u64, Vec<Vec<u8>>, Vec<Vec<u8>>) = self.eval(SCAN_SCRIPT, &[], &args).await?;
        for begin in long {
            oddities::report(&self.database().name, &text(begin), LONG_KEY);
        }
        let keys = found.into_iter().filter_map(|key| Some(text(key).strip_prefix(&prefix)?.to_owned()));
        Ok((next, keys.collect()))
    }
}
