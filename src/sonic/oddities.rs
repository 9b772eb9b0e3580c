//! Keys that hold something other than what SONiC keeps there: reported by name, once and then ever more seldom, and passed over. One
//! broken key must not hide the others, and it is looked at again at every listing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use redis::RedisError;

/// Characters of a key that are said and remembered: names of SONiC's are shorter.
const KEY_CHARS: usize = 64;

/// More broken keys than anybody reads about; those beyond are counted together.
const MOST: usize = 256;
/// The name under which keys beyond [`MOST`] are counted; no key of SONiC's is called so.
const OTHERS: &str = "(further keys)";

/// How often each key was met, by database and key. Of the process, because connections come and go.
static MET: Mutex<BTreeMap<(String, String), u64>> = Mutex::new(BTreeMap::new());

/// Whether Redis refused a command because the key holds another type. Nothing else is a property of the key.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// Says that `key` was passed over, and why: the first time, and whenever the number of times has doubled.
pub(super) fn report(database: &str, key: &str, what: &str) {
    let short: String = key.chars().take(KEY_CHARS).collect();
    let key = short.as_str();
    let times = count(&mut MET.lock().unwrap_or_else(PoisonError::into_inner), database, key);
    if times.is_power_of_two() {
        tracing::warn!(database, key, times, "{what}; passed over");
    }
}

fn count(met: &mut BTreeMap<(String, String), u64>, database: &str, key: &str) -> u64 {
    let mut name = (database.to_owned(), key.to_owned());
    if met.len() >= MOST && !met.contains_key(&name) {
        OTHERS.clone_into(&mut name.1);
    }
    let times = met.entry(name).or_default();
    *times += 1;
    *times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_each_by_itself_and_beyond_the_bound_together() {
        let mut met = BTreeMap::new();
        assert_eq!((0..3).map(|_| count(&mut met, "APPL_DB", "a")).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(count(&mut met, "STATE_DB", "a"), 1);
        for key in 0..1000 {
            count(&mut met, "APPL_DB", &key.to_string());
        }
        assert!(met.len() <= MOST + 2, "{}", met.len());
        assert_eq!(count(&mut met, "APPL_DB", "a"), 4);
        assert_eq!(met[&("APPL_DB".to_owned(), OTHERS.to_owned())], 1000 + 2 - MOST as u64);
    }
}
