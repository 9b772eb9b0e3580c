//! What happened to jobs since the latest snapshot. The sinks look through all of each snapshot, so what happens in a flood is gathered and
//! said some milliseconds later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two snapshots.
const INTERVAL: Duration = Duration::from_millis(20);

/// What the next snapshot says anew.
#[derive(Debug, Default)]
pub struct Unsaid {
    changed: BTreeSet<String>,
    /// Not to be cleared before the snapshot is there that does not have them: an older one would bring them back.
    cleared: Vec<String>,
    latest: Option<Instant>,
    is_due: bool,
}

impl Unsaid {
    /// Something happened; of `changed`, something else may be said.
    pub fn add(&mut self, changed: BTreeSet<String>) {
        self.changed.extend(changed);
        self.is_due = true;
    }

    /// What is said of `key` is to be deleted.
    pub fn clear(&mut self, key: String) {
        self.cleared.push(key);
    }

    /// When the next snapshot is due; `None` if nothing happened.
    pub fn due(&self) -> Option<Instant> {
        self.is_due.then(|| self.latest.map_or_else(Instant::now, |at| at + INTERVAL))
    }

    /// What changed and what is to be deleted: a snapshot is taken now.
    pub fn take(&mut self) -> (BTreeSet<String>, Vec<String>) {
        let Unsaid { changed, cleared, .. } = std::mem::take(self);
        self.latest = Some(Instant::now());
        (changed, cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_at_once_is_said_at_once_and_the_rest_together_after_a_while() {
        let mut unsaid = Unsaid::default();
        assert_eq!(unsaid.due(), None);
        unsaid.add(BTreeSet::from(["a".to_owned()]));
        assert!(unsaid.due().is_some_and(|due| due <= Instant::now()));
        assert_eq!(unsaid.take(), (BTreeSet::from(["a".to_owned()]), Vec::new()));
        assert_eq!(unsaid.due(), None);
        unsaid.clear("a".to_owned());
        for key in ["b", "c", "b"] {
            unsaid.add(BTreeSet::from([key.to_owned()]));
        }
        assert!(unsaid.due().is_some_and(|due| due <= Instant::now() + INTERVAL));
        assert_eq!(unsaid.take(), (BTreeSet::from(["b", "c"].map(str::to_owned)), vec!["a".to_owned()]));
    }
}
