//! The rows of a door that something happened to and that have not been read since: in the order in which it happened, each once, and
//! no more than a bound. What is beyond it is not remembered but listed again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Rows that are remembered at the most, about 100 bytes each.
pub const DIRTY_MAX: usize = 131_072;

/// What is known of a dirty row before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was deleted, as far as the notifications go.
    Deleted,
    /// It was written.
    Written,
    /// A listing found it.
    Found,
}

/// The dirty rows.
#[derive(Debug, Default)]
pub struct Dirty {
    order: VecDeque<Arc<str>>,
    why: HashMap<Arc<str>, Why>,
    /// Rows of jobs that wait or hold something: read before all others.
    urgent: BTreeSet<String>,
    overflowed: bool,
}

impl Dirty {
    /// Something happened to a row whose job waits or holds something.
    pub fn urge(&mut self, key: String) {
        self.urgent.insert(key);
    }

    /// Something happened to a row.
    pub fn note(&mut self, key: &str, why: Why) {
        if let Some(known) = self.why.get_mut(key) {
            if *known == Why::Deleted || why == Why::Written {
                *known = why;
            }
            return;
        }
        if self.order.len() >= DIRTY_MAX {
            self.overflowed = true;
            return;
        }
        let key: Arc<str> = key.into();
        self.order.push_back(Arc::clone(&key));
        self.why.insert(key, why);
    }

    /// How many rows are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Rows became dirty that nobody knows.
    pub fn list_again(&mut self) {
        self.overflowed = true;
    }

    /// Whether rows were not remembered since this was last asked; then a listing is due.
    pub fn take_overflowed(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// The rows to read before all others, at most `most`.
    pub fn take_urgent(&mut self, most: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(key) = self.urgent.pop_first()
        {
            taken.push(key);
        }
        taken
    }

    /// The row that has been dirty for longest.
    pub fn pop(&mut self) -> Option<(Arc<str>, Why)> {
        let key = self.order.pop_front()?;
        let why = self.why.remove(&key).unwrap_or(Why::Written);
        if self.order.is_empty() {
            // A flood is over: its memory is given back.
            self.order = VecDeque::new();
            self.why = HashMap::new();
        }
        Some((key, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(dirty: &mut Dirty) -> Vec<(String, Why)> {
        std::iter::from_fn(|| dirty.pop()).map(|(key, why)| (key.to_string(), why)).collect()
    }

    #[test]
    fn rows_are_read_in_the_order_in_which_they_became_dirty_and_each_once() {
        let mut dirty = Dirty::default();
        for (key, why) in
            [("b", Why::Written), ("a", Why::Found), ("b", Why::Deleted), ("c", Why::Deleted), ("c", Why::Written)]
        {
            dirty.note(key, why);
        }
        let expected = [("b", Why::Written), ("a", Why::Found), ("c", Why::Written)];
        assert_eq!(drain(&mut dirty), expected.map(|(key, why)| (key.to_owned(), why)));
        assert_eq!(dirty.len(), 0);
    }

    #[test]
    fn what_is_beyond_the_bound_asks_for_a_listing_once() {
        let mut dirty = Dirty::default();
        for number in 0..DIRTY_MAX + 10 {
            dirty.note(&number.to_string(), Why::Written);
        }
        dirty.note("0", Why::Deleted);
        assert_eq!((dirty.len(), dirty.take_overflowed(), dirty.take_overflowed()), (DIRTY_MAX, true, false));
        assert_eq!(drain(&mut dirty).len(), DIRTY_MAX);
    }

    #[test]
    fn what_cannot_wait_overtakes_everything() {
        let mut dirty = Dirty::default();
        dirty.note("a", Why::Written);
        dirty.urge("z".to_owned());
        dirty.urge("z".to_owned());
        assert_eq!((dirty.take_urgent(9), dirty.take_urgent(9)), (vec!["z".to_owned()], Vec::new()));
    }
}
