//! The jobs that are over: remembered until their retention ends, the newest of each kind only. Refused rows and jobs that ran are
//! counted apart, so that a flood of the former drives out no results.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Finished;
use crate::model::status::{JobStatus, Refused};

/// Jobs of each kind that are remembered at the most.
pub const FINISHED_MAX: usize = 256;

/// When a job was over, in nanoseconds of the steady clock: one of an earlier daemon may have been over before this clock began.
type Over = i128;

/// The finished jobs by their row's key.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    map: BTreeMap<String, Finished>,
    /// Oldest first: refused ones, and others.
    by_age: [BTreeSet<(Over, String)>; 2],
    refused: Refused,
}

impl Remembered {
    pub(super) fn get(&self, key: &str) -> Option<&Finished> {
        self.map.get(key)
    }

    /// What is said of the finished job of this number, to be added to; `None` if another one has had its name since.
    pub(super) fn status_mut(&mut self, key: &str, sequence: u64) -> Option<&mut JobStatus> {
        self.map.get_mut(key).filter(|finished| finished.sequence == Some(sequence))?.status.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Finished)> {
        self.map.iter()
    }

    pub(super) fn insert(&mut self, key: String, finished: Finished) {
        self.remove(&key);
        self.refused.total += u64::from(finished.was_refused() && finished.status.is_some());
        self.by_age[kind(&finished)].insert((over(&finished), key.clone()));
        self.map.insert(key, finished);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Finished> {
        let finished = self.map.remove(key)?;
        self.by_age[kind(&finished)].remove(&(over(&finished), key.to_owned()));
        Some(finished)
    }

    pub(super) fn refused(&self) -> Refused {
        self.refused
    }

    /// When the first one's retention ends.
    pub(super) fn next_forgotten(&self, retention: Duration) -> Option<Duration> {
        self.oldest().map(|finished| finished.forgotten_at(retention)).min()
    }

    /// Takes one out that is past its retention, or too many; its key.
    pub(super) fn forget_one(&mut self, retention: Duration, now: Duration) -> Option<String> {
        let full = self.by_age.iter().find(|by_age| by_age.len() > FINISHED_MAX).and_then(BTreeSet::first);
        let key = if let Some((_, key)) = full {
            key.clone()
        } else {
            let first = self.by_age.iter().filter_map(|by_age| by_age.first());
            let past = |key: &String| self.map.get(key).is_some_and(|job| job.forgotten_at(retention) <= now);
            first.map(|(_, key)| key).find(|key| past(key))?.clone()
        };
        let too_many = full.is_some();
        let finished = self.remove(&key)?;
        self.refused.not_kept += u64::from(too_many && finished.was_refused());
        Some(key)
    }

    fn oldest(&self) -> impl Iterator<Item = &Finished> {
        self.by_age.iter().filter_map(|by_age| self.map.get(&by_age.first()?.1))
    }
}

fn over(finished: &Finished) -> Over {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    nanos(finished.ended) - nanos(finished.age)
}

fn kind(finished: &Finished) -> usize {
    usize::from(finished.was_refused())
}
