//! How long to wait before something that failed is tried again: one rule for everything that the supervisor repeats.

use std::time::Duration;

/// What is repeated waits twice as long after each failure, up to a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    /// After the first failure.
    pub(super) first: Duration,
    /// At the most.
    pub(super) longest: Duration,
}

impl Retry {
    /// What Redis refused, or did not answer: a Redis that restarts is back within seconds, and a job waits for it.
    pub(super) const REDIS: Retry = Retry { first: super::RETRY, longest: Duration::from_secs(4) };
    /// A session of ours that orchagent does not remove: it does so at once or, mostly, never.
    pub(super) const ORPHAN: Retry = Retry { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

    /// What an earlier daemon left is in a job's way, and being removed: orchagent mostly needs some milliseconds.
    pub(super) const WAY: Retry = Retry { first: super::ORPHANS_RETRY, longest: Duration::from_millis(500) };

    /// Notes one more failure in a row, at `now`, and says when to try again.
    pub(super) fn at(self, failures: &mut u32, now: Duration) -> Duration {
        *failures = failures.saturating_add(1);
        now + self.after(*failures)
    }

    /// The wait after this many failures in a row.
    fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::Retry;

    #[test]
    fn waits_double_up_to_a_ceiling_however_many_failures_there_were() {
        let waits = |retry: Retry| [1, 2, 3, 4, 5, 7, 8, u32::MAX].map(|failures| retry.after(failures).as_millis());
        assert_eq!(waits(Retry::REDIS), [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000]);
        assert_eq!(waits(Retry::ORPHAN), [1000, 2000, 4000, 8000, 16000, 60000, 60000, 60000]);
    }
}
