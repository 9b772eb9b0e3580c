//! How many rows of a door are under way at once. The rest waits where it is, in Redis: the window is what keeps a flood of rows from
//! becoming a flood of jobs.
//!
//! The door's reader lets rows in while there is room; the daemon says after each step how a row stands, and that it is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::supervisor::Standing;

/// Rows of one door that are under way at the most. A row that says no `expires_at` stays for `settle_ms`, so this many are answered
/// in that time.
pub const ROWS: usize = 4096;

/// The rows of one door that are under way.
#[derive(Debug, Default)]
pub struct Window {
    rows: Mutex<Rows>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    standing: HashMap<String, Standing>,
    /// Rows whose job has just begun to wait or to hold something.
    risen: Vec<String>,
}

impl Window {
    /// A window in which these rows are under way from the start.
    pub fn with(keys: impl IntoIterator<Item = String>) -> Window {
        let standing = keys.into_iter().map(|key| (key, Standing::Passing)).collect();
        Window { rows: Mutex::new(Rows { standing, risen: Vec::new() }), changed: Notify::new() }
    }

    /// How many more rows may come in.
    pub fn room(&self) -> usize {
        ROWS.saturating_sub(self.rows().standing.len())
    }

    /// How a row stands; `None` for one that is not under way.
    pub fn standing(&self, key: &str) -> Option<Standing> {
        self.rows().standing.get(key).copied()
    }

    /// The rows that are under way.
    pub fn keys(&self) -> Vec<String> {
        self.rows().standing.keys().cloned().collect()
    }

    /// The rows whose job waits or holds something: as many as jobs run and wait.
    pub fn live(&self) -> Vec<String> {
        let rows = self.rows();
        let live = rows.standing.iter().filter(|(_, standing)| **standing == Standing::Live);
        live.map(|(key, _)| key.clone()).collect()
    }

    /// A row is handed over.
    pub fn enter(&self, key: &str) {
        self.rows().standing.entry(key.to_owned()).or_insert(Standing::Passing);
    }

    /// What became of a row; `None`: it is over.
    pub fn put(&self, key: &str, standing: Option<Standing>) {
        let mut rows = self.rows();
        let before = rows.standing.get(key).copied();
        match standing {
            Some(standing) if before == Some(standing) => return,
            Some(standing) => {
                rows.standing.insert(key.to_owned(), standing);
                if standing == Standing::Live {
                    rows.risen.push(key.to_owned());
                }
            }
            None if before.is_none() => return,
            None => {
                rows.standing.remove(key);
            }
        }
        drop(rows);
        self.changed.notify_one();
    }

    /// The rows whose job began to wait or to hold something since this was last asked. What happened to them just before may still be
    /// behind other rows.
    pub fn take_risen(&self) -> Vec<String> {
        std::mem::take(&mut self.rows().risen)
    }

    /// Waits until something was put in, or was since this was last waited for.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_while_there_is_room_and_leave_when_they_are_over() {
        let window = Window::with(["a".to_owned()]);
        for number in 1..ROWS {
            window.enter(&number.to_string());
        }
        assert_eq!(window.room(), 0);
        window.put("a", Some(Standing::Live));
        window.put("a", Some(Standing::Live));
        assert_eq!((window.take_risen(), window.take_risen()), (vec!["a".to_owned()], Vec::new()));
        assert_eq!((window.standing("a"), window.standing("1")), (Some(Standing::Live), Some(Standing::Passing)));
        window.put("a", None);
        window.put("zzz", None);
        assert_eq!((window.room(), window.standing("a")), (1, None));
    }
}
