//! What has reached the virtual orchagent and waits to be taken up: in order, but not before its time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::faults::Faults;
use super::messages::Change;

/// The changes that wait. Those of one session are due in the order of their arrival.
#[derive(Debug, Default)]
pub struct EventQueue {
    waiting: VecDeque<Queued>,
}

#[derive(Debug)]
struct Queued {
    due: Instant,
    change: Change,
}

impl EventQueue {
    /// Adds a change, to be taken up after `slow`.
    ///
    /// If it is `unread`, because orchagent is not reading now, a later write replaces the one that waits: who begins to read again reads
    /// the row as it is then, and of several writes knows the last (fact M12). A deletion it still finds among its events.
    pub fn push(&mut self, change: Change, slow: Duration, unread: bool, now: Instant) {
        let last = self.waiting.iter_mut().rev().find(|queued| queued.change.session() == change.session());
        let due = last.as_ref().map_or(now, |last| last.due).max(now + slow);
        if let (true, Change::Session { row: Some(new), .. }) = (unread, &change)
            && let Some(Queued { change: Change::Session { row: Some(old), .. }, .. }) = last
        {
            old.clone_from(new);
            return;
        }
        self.waiting.push_back(Queued { due, change });
    }

    /// Takes the first change that is due and that no fault holds back.
    pub fn pop(&mut self, faults: &Faults, now: Instant) -> Option<Change> {
        let ready = |queued: &Queued| queued.due <= now && !faults.of(queued.change.session()).dead;
        let found = self.waiting.iter().position(ready)?;
        self.waiting.remove(found).map(|queued| queued.change)
    }

    /// When [`EventQueue::pop`] will have something.
    #[must_use]
    pub fn next_due(&self, faults: &Faults) -> Option<Instant> {
        let live = self.waiting.iter().filter(|queued| !faults.of(queued.change.session()).dead);
        live.map(|queued| queued.due).min()
    }

    /// What waits only because orchagent was slow waits no longer than the faults that are left want.
    pub fn hasten(&mut self, faults: &Faults, now: Instant) {
        for queued in &mut self.waiting {
            queued.due = queued.due.min(now + faults.of(queued.change.session()).slow);
        }
    }
}
