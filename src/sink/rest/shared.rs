//! One reading for all who ask for the same, and one bound for all that was rendered and is not sent yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::ApiError;
use super::server::Seats;

/// Bytes of rendered answers that may exist at once, each counted once, however many clients it is sent to.
pub(super) const ROOM: usize = 8 * 1024 * 1024;
/// Room is given in units of so many bytes.
const UNIT: usize = 1024;
/// How long a new answer waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// A value that is read when somebody asks. Who comes while it is being read shares the next reading: no answer is older than its question.
#[derive(Debug)]
pub(super) struct Shared<T> {
    /// Readings that have begun.
    begun: AtomicU64,
    last: Mutex<Option<(u64, Result<T, ApiError>)>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared { begun: AtomicU64::new(0), last: Mutex::default() }
    }
}

impl<T: Clone> Shared<T> {
    /// `read` gets the value of the last reading.
    pub(super) async fn get(&self, read: impl AsyncFnOnce(Option<T>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let seen = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        let before = match &*last {
            Some((number, value)) if *number > seen => return value.clone(),
            Some((_, value)) => value.clone().ok(),
            None => None,
        };
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let value = read(before).await;
        *last = Some((number, value.clone()));
        value
    }

    /// Gives the value up, unless it is being read. Says whether there was one.
    pub(super) fn forget(&self) -> bool {
        self.last.try_lock().is_ok_and(|mut last| last.take().is_some())
    }
}

/// The bound.
#[derive(Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    seats: Arc<Seats>,
}

struct Roomed {
    text: Vec<u8>,
    _units: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Room {
    pub(super) fn new(seats: Arc<Seats>) -> Room {
        Room { units: Arc::new(Semaphore::new(ROOM / UNIT)), seats }
    }

    /// Counts `text` until its last copy is gone. If there is no room, `forget` gives up what is only kept, and clients leave that do not
    /// read.
    ///
    /// # Errors
    /// There was no room all the same.
    pub(super) async fn hold(&self, mut text: Vec<u8>, forget: impl FnOnce()) -> Result<Bytes, ApiError> {
        text.shrink_to_fit();
        // What is larger than all of the room takes all of it.
        let units = u32::try_from(text.len().div_ceil(UNIT).clamp(1, ROOM / UNIT)).unwrap_or(u32::MAX);
        let held = if let Ok(held) = Arc::clone(&self.units).try_acquire_many_owned(units) {
            held
        } else {
            forget();
            self.seats.drop_slow(Instant::now());
            let waiting = tokio::time::timeout(PATIENCE, Arc::clone(&self.units).acquire_many_owned(units)).await;
            waiting.ok().and_then(Result::ok).ok_or_else(ApiError::no_room)?
        };
        Ok(Bytes::from_owner(Roomed { text, _units: held }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn two_hundred_who_ask_at_once_cause_two_readings_at_the_most() {
        let (shared, readings) = (Shared::default(), AtomicUsize::new(0));
        let ask = || {
            shared.get(async |_| {
                tokio::task::yield_now().await;
                Ok(readings.fetch_add(1, Ordering::SeqCst))
            })
        };
        let answers = join_all((0..200).map(|_| ask())).await;
        assert_eq!(readings.load(Ordering::SeqCst), 2);
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(1))).count(), 199);
        // Nobody is answered with what was read before the question.
        assert_eq!(ask().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_error_is_shared_too_and_is_no_value_of_the_next_reading() {
        let shared: Shared<u8> = Shared::default();
        assert!(shared.get(async |_| Err(ApiError::no_room())).await.is_err());
        assert_eq!(shared.get(async |before| Ok(before.map_or(7, |_| 0))).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_is_rendered_is_bounded_and_counted_once() {
        let room = Room::new(Seats::new(PATIENCE));
        let kept = room.hold(vec![0; ROOM / 2], || {}).await.unwrap();
        let copy = kept.clone();
        let _other = room.hold(vec![0; ROOM / 2], || {}).await.unwrap();
        assert!(room.hold(vec![0; ROOM / 2], || {}).await.is_err());
        // What is only kept is given up.
        assert_eq!(room.hold(vec![1; ROOM / 2], || drop((kept, copy))).await.unwrap().len(), ROOM / 2);
    }
}
