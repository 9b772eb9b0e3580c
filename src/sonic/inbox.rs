//! Messages of a subscription that nobody has taken yet: in their order, and no more than a bound. Beyond it all that wait are dropped and
//! the reader is told, who lists anew: then none of them says anything new.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::error::Error;
use super::pubsub::Message;

/// What may wait of one subscription, in memory: some 20,000 notifications.
pub const WAITING_BYTES: usize = 4 << 20;
/// What a message takes besides its text: its place in the queue, and two allocations.
const OVERHEAD: usize = 96;
/// Places that are kept for the next messages.
const PLACES: usize = 64;

/// The messages that wait.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    bytes: usize,
    missed: bool,
    closed: bool,
}

fn cost(message: &Message) -> usize {
    OVERHEAD + message.channel.len() + message.payload.len()
}

impl Inbox {
    pub(super) fn put(&self, message: Message) {
        let mut state = self.state();
        let bytes = cost(&message);
        if state.bytes + bytes > WAITING_BYTES {
            *state = State { missed: true, ..State::default() };
        } else {
            state.bytes += bytes;
            state.waiting.push_back(message);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// No message comes any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    /// What is here: that messages were dropped, the first of those that wait, or that no more come.
    pub(super) fn take(&self, database: &str) -> Option<Result<Message, Error>> {
        let mut state = self.state();
        if std::mem::take(&mut state.missed) {
            return Some(Err(Error::Missed { database: database.to_owned(), bytes: WAITING_BYTES }));
        }
        if let Some(message) = state.waiting.pop_front() {
            state.bytes -= cost(&message);
            if state.waiting.is_empty() {
                state.waiting.shrink_to(PLACES);
            }
            return Some(Ok(message));
        }
        state.closed.then(|| Err(Error::Closed { database: database.to_owned() }))
    }

    /// As [`Inbox::take`], as soon as there is something. Safe to cancel; for one reader.
    pub(super) async fn next(&self, database: &str) -> Result<Message, Error> {
        loop {
            if let Some(taken) = self.take(database) {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Message {
        Message { channel: format!("channel{number:09}"), payload: "hset".to_owned() }
    }

    #[test]
    fn messages_are_taken_in_their_order_and_the_end_comes_behind_them() {
        let inbox = Inbox::default();
        (0..3).for_each(|number| inbox.put(message(number)));
        inbox.close();
        let taken: Vec<Message> = (0..3).map(|_| inbox.take("D").expect("one").expect("a message")).collect();
        assert_eq!(taken, [message(0), message(1), message(2)]);
        for _ in 0..2 {
            assert!(matches!(inbox.take("D"), Some(Err(Error::Closed { .. }))));
        }
    }

    #[test]
    fn what_is_beyond_the_bound_is_dropped_with_all_that_wait_and_said_once() {
        let inbox = Inbox::default();
        let fit = WAITING_BYTES / cost(&message(0));
        for number in 0..10 * (fit + 1) {
            inbox.put(message(number));
            assert!(inbox.state().bytes <= WAITING_BYTES);
        }
        inbox.put(message(7));
        assert!(matches!(inbox.take("D"), Some(Err(Error::Missed { .. }))));
        assert_eq!(inbox.take("D").expect("one").expect("a message"), message(7));
        assert!(inbox.take("D").is_none());
        assert_eq!(inbox.state().bytes, 0);
    }
}
