//! How long to wait before the next attempt to reach a Redis that is away.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(2);

/// Doubling waits from 100 ms to 2 s: soon enough that a restarted Redis is not missed, seldom enough not to be felt on a switch
/// that is booting. No jitter: a handful of local clients do not make a stampede.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest wait.
    #[must_use]
    pub fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The wait after this failure; the one after that is twice as long.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }

    /// An attempt succeeded: the next failure waits shortly again.
    pub fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_100_ms_to_2_s_and_start_over_after_a_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.succeeded();
        assert_eq!(backoff.failed().as_millis(), 100);
    }
}
