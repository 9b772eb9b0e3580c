//! The names of the sessions and port channels of CONFIG_DB, kept by its notifications.
//!
//! What a session does to somebody else's depends on their rows of this moment. These are read by points, because to list them is to pass
//! by every other row of CONFIG_DB, of which there may be a hundred thousand while a job is to end. The names come from the watch that
//! lists them every 30 s and hears of each change; while it is not connected nothing is known, and they are listed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::schema::config_db;

/// The tables whose row keys are kept.
pub const TABLES: [&str; 3] = [config_db::MIRROR_SESSION, config_db::PORTCHANNEL, config_db::PORTCHANNEL_MEMBER];

/// The row keys of [`TABLES`], in that order.
pub type Names = [BTreeSet<String>; TABLES.len()];

/// What is known of the names; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<[Option<BTreeSet<String>>; TABLES.len()]>>);

impl Known {
    /// All names of a table. One that is not in [`TABLES`] is left alone, here and below.
    pub fn listed(&self, table: &str, keys: BTreeSet<String>) {
        if let Some(index) = index(table) {
            self.tables()[index] = Some(keys);
        }
    }

    /// A row was written, or is gone. Before the first listing this says nothing: that brings it.
    pub fn changed(&self, table: &str, key: &str, present: bool) {
        let mut tables = self.tables();
        let Some(keys) = index(table).and_then(|index| tables[index].as_mut()) else { return };
        if present {
            keys.insert(key.to_owned());
        } else {
            keys.remove(key);
        }
    }

    /// The watch is not connected any more.
    pub fn lost(&self) {
        *self.tables() = Default::default();
    }

    /// The names; `None` unless all three tables are followed.
    #[must_use]
    pub fn names(&self) -> Option<Names> {
        let [sessions, channels, members] = self.tables().clone();
        Some([sessions?, channels?, members?])
    }

    fn tables(&self) -> MutexGuard<'_, [Option<BTreeSet<String>>; TABLES.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(table: &str) -> Option<usize> {
    TABLES.iter().position(|known| *known == table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn names_are_known_once_all_tables_are_listed_and_until_the_connection_is_lost() {
        let known = Known::default();
        known.changed(config_db::MIRROR_SESSION, "early", true);
        known.listed(config_db::MIRROR_SESSION, names(&["a", "b"]));
        known.listed(config_db::PORTCHANNEL, names(&[]));
        assert_eq!(known.names(), None);
        known.listed(config_db::PORTCHANNEL_MEMBER, names(&["PortChannel1|Ethernet0"]));
        known.listed(config_db::PORT, names(&["Ethernet0"]));
        known.changed(config_db::MIRROR_SESSION, "a", false);
        known.changed(config_db::MIRROR_SESSION, "c", true);
        known.changed(config_db::PORT, "Ethernet4", true);
        let expected = [names(&["b", "c"]), names(&[]), names(&["PortChannel1|Ethernet0"])];
        assert_eq!(known.clone().names(), Some(expected));
        known.lost();
        assert_eq!(known.names(), None);
    }
}
