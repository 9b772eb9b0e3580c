//! Who is connected, and who gives way: a client that keeps its connection waiting holds nobody else up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The server waits for the head of a request.
    Waiting,
    /// The server waits for the body of a request.
    Receiving,
    /// The server works, or has not handed over the whole answer.
    Serving,
}

#[derive(Clone, Copy, Debug)]
struct Activity {
    phase: Phase,
    since: Instant,
    /// Since when the client has taken nothing of what waits for it.
    stalled: Option<Instant>,
}

/// How gladly a connection is given up for another, most gladly first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Yield {
    /// Between two requests, or before the first.
    Idle,
    /// In the middle of one, but it is the client who is waited for.
    Slow,
}

impl Activity {
    /// Whether the connection gives way at `now`, and since when it could.
    fn gives_way(&self, now: Instant, patience: Duration) -> Option<(Yield, Instant)> {
        let slow = |since: Instant| (now.saturating_duration_since(since) >= patience).then_some((Yield::Slow, since));
        match (self.stalled, self.phase) {
            (Some(since), _) => slow(since),
            (None, Phase::Waiting) => Some((Yield::Idle, self.since)),
            (None, Phase::Receiving) => slow(self.since),
            (None, Phase::Serving) => None,
        }
    }
}

/// One connection's place.
#[derive(Debug)]
pub(in crate::sink::rest) struct Seat {
    activity: Mutex<Activity>,
    leave: Notify,
}

impl Seat {
    fn new() -> Seat {
        let activity = Activity { phase: Phase::Waiting, since: Instant::now(), stalled: None };
        Seat { activity: Mutex::new(activity), leave: Notify::new() }
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let mut activity = self.activity();
        (activity.phase, activity.since) = (phase, Instant::now());
    }

    /// A request is there; it is being served until the result is dropped.
    pub(super) fn serve(self: &Arc<Seat>) -> Serving {
        self.enter(Phase::Serving);
        Serving(Arc::clone(self))
    }

    /// The body of the request is waited for until the result is dropped.
    pub(in crate::sink::rest) fn receive(self: &Arc<Seat>) -> Receiving {
        self.enter(Phase::Receiving);
        Receiving(Arc::clone(self))
    }

    /// The client takes nothing of what is sent.
    pub(super) fn stalls(&self) {
        self.activity().stalled.get_or_insert_with(Instant::now);
    }

    /// The client took something.
    pub(super) fn takes(&self) {
        self.activity().stalled = None;
    }

    /// Returns when the connection has to give way. Safe to cancel.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// While a request is served.
#[derive(Debug)]
pub(super) struct Serving(Arc<Seat>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.enter(Phase::Waiting);
    }
}

/// While a request's body is waited for.
pub(in crate::sink::rest) struct Receiving(Arc<Seat>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.enter(Phase::Serving);
    }
}

/// All places of one server.
#[derive(Debug)]
pub(in crate::sink::rest) struct Seats {
    taken: Mutex<(u64, BTreeMap<u64, Arc<Seat>>)>,
    patience: Duration,
}

impl Seats {
    pub(in crate::sink::rest) fn new(patience: Duration) -> Arc<Seats> {
        Arc::new(Seats { taken: Mutex::default(), patience })
    }

    fn taken(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Seat>>)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.taken().1.len()
    }

    /// Connections that are over, since the beginning.
    pub(in crate::sink::rest) fn ended(&self) -> u64 {
        let taken = self.taken();
        taken.0 - taken.1.len() as u64
    }

    /// A place, taken until it is dropped.
    pub(super) fn take(self: &Arc<Seats>) -> Taken {
        let seat = Arc::new(Seat::new());
        let mut taken = self.taken();
        taken.0 += 1;
        let number = taken.0;
        taken.1.insert(number, Arc::clone(&seat));
        Taken { seats: Arc::clone(self), number, seat }
    }

    /// Tells the connection that gives way most gladly at `now` to leave. Says whether there is one.
    pub(super) fn free_one(&self, now: Instant) -> bool {
        let taken = self.taken();
        let candidates =
            taken.1.values().filter_map(|seat| Some((seat.activity().gives_way(now, self.patience)?, seat)));
        let Some((_, seat)) = candidates.min_by_key(|(order, _)| *order) else { return false };
        seat.leave.notify_one();
        true
    }

    /// Tells every client to leave that does not take what waits for it: it holds memory that others need.
    pub(in crate::sink::rest) fn drop_slow(&self, now: Instant) {
        for seat in self.taken().1.values() {
            if matches!(seat.activity().gives_way(now, self.patience), Some((Yield::Slow, _))) {
                seat.leave.notify_one();
            }
        }
    }
}

/// A place that is taken.
pub(super) struct Taken {
    seats: Arc<Seats>,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.taken().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    async fn is_told(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::from_millis(1), seat.has_to_leave()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_gives_way_first_and_one_that_is_served_never() {
        let seats = Seats::new(PATIENCE);
        let served = seats.take();
        let _serving = served.seat.serve();
        let later = Instant::now() + 10 * PATIENCE;
        assert!(!seats.free_one(later));
        let (first, second) = (seats.take(), seats.take());
        // Whoever asked for something meanwhile has been idle for less long.
        drop(first.seat.serve());
        assert!(seats.free_one(Instant::now()));
        assert!(is_told(&second.seat).await && !is_told(&first.seat).await && !is_told(&served.seat).await);
        drop(second);
        assert!(seats.free_one(Instant::now()));
        assert!(is_told(&first.seat).await);
        drop(first);
        assert!(!seats.free_one(later));
        assert_eq!(seats.len(), 1);
    }

    #[tokio::test]
    async fn whoever_keeps_the_server_waiting_gives_way_when_its_patience_is_over() {
        let seats = Seats::new(PATIENCE);
        let (reader, sender) = (seats.take(), seats.take());
        let (_serving, receiving) = (reader.seat.serve(), sender.seat.receive());
        reader.seat.stalls();
        assert!(!seats.free_one(Instant::now()));
        reader.seat.takes();
        let later = Instant::now() + PATIENCE;
        // The one that does not send, and then, when it has sent, nobody.
        assert!(seats.free_one(later));
        assert!(is_told(&sender.seat).await && !is_told(&reader.seat).await);
        drop(receiving);
        assert!(!seats.free_one(later));
        reader.seat.stalls();
        seats.drop_slow(Instant::now());
        assert!(!is_told(&reader.seat).await);
        seats.drop_slow(Instant::now() + PATIENCE);
        assert!(is_told(&reader.seat).await);
        drop((reader, sender));
    }
}
