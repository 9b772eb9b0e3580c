//! The jobs, filed by what is asked of them at every event: the next deadline, who holds something, who waits, and whose status may
//! have changed. So no event goes through all of them.
//!
//! Consistent by construction: a job can only be changed through [`Jobs::get_mut`], which notes its key; what is noted is filed anew
//! before the file is asked, and looked at itself where the file cannot be brought up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Job;

/// Under what a job is filed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filed {
    deadline: Option<Duration>,
    sequence: u64,
    holds: bool,
    waits: bool,
    incomplete: bool,
}

impl Filed {
    fn of(job: &Job) -> Filed {
        let (holds, waits) = (job.holds_resources(), job.waits());
        let incomplete = job.is_incomplete();
        Filed { deadline: job.deadline(), sequence: job.sequence, holds, waits, incomplete }
    }
}

/// All jobs by their row's key.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs {
    map: BTreeMap<String, (Job, Filed)>,
    /// Keys whose job may differ from what it is filed under.
    touched: BTreeSet<String>,
    /// By deadline, then in the order of arrival.
    deadlines: BTreeSet<(Duration, u64, String)>,
    holders: BTreeSet<String>,
    /// In the order of arrival.
    waiting: BTreeSet<(u64, String)>,
    /// Rows that lack a port and are waited for.
    incomplete: usize,
    /// Keys of which something else may be said than when this was last taken.
    changed: BTreeSet<String>,
}

impl Jobs {
    pub(super) fn get(&self, key: &str) -> Option<&Job> {
        self.map.get(key).map(|(job, _)| job)
    }

    /// The job, to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Job> {
        let (job, _) = self.map.get_mut(key)?;
        if !self.touched.contains(key) {
            self.touched.insert(key.to_owned());
        }
        Some(job)
    }

    pub(super) fn insert(&mut self, key: String, job: Job) {
        self.remove(&key);
        self.touched.insert(key.clone());
        self.map.insert(key, (job, Filed::default()));
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Job> {
        let (job, filed) = self.map.remove(key)?;
        self.unfile(key, filed);
        self.touched.remove(key);
        self.changed.insert(key.to_owned());
        Some(job)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Every job: for what concerns all of them, which no ordinary event does.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Job)> {
        self.map.iter().map(|(key, (job, _))| (key, job))
    }

    /// Every key, as [`Jobs::iter`].
    pub(super) fn keys(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    /// The jobs that have something in the switch, or a feed.
    pub(super) fn holders(&self) -> impl Iterator<Item = (&String, &Job)> {
        let touched = self.touched.iter().filter(|key| !self.holders.contains(*key));
        let filed = self.holders.iter().chain(touched).filter_map(|key| self.map.get_key_value(key));
        filed.map(|(key, (job, _))| (key, job)).filter(|(_, job)| job.holds_resources())
    }

    /// The jobs that wait for a slot, or for the survey that decides on one.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&String, &Job)> {
        let filed = self.waiting.iter().map(|(_, key)| key);
        let is_filed = |key: &&String| self.map.get(*key).is_some_and(|(_, filed)| filed.waits);
        let touched = self.touched.iter().filter(move |key| !is_filed(key));
        let all = filed.chain(touched).filter_map(|key| self.map.get_key_value(key));
        all.map(|(key, (job, _))| (key, job)).filter(|(_, job)| job.waits())
    }

    /// How many rows lack a port and are waited for, as of the last filing.
    pub(super) fn incomplete(&self) -> usize {
        self.incomplete
    }

    /// The job whose deadline is the first of those that have passed by `now`.
    pub(super) fn first_due(&mut self, now: Duration) -> Option<String> {
        self.file();
        let (deadline, _, key) = self.deadlines.first()?;
        (*deadline <= now).then(|| key.clone())
    }

    /// The first deadline.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let touched = self.touched.iter().filter_map(|key| self.get(key)?.deadline());
        let filed = self.deadlines.first().map(|(deadline, _, _)| *deadline);
        touched.chain(filed).min()
    }

    /// Something else may be said of `key` than before.
    pub(super) fn note_change(&mut self, key: &str) {
        self.changed.insert(key.to_owned());
    }

    /// The keys of which something else may be said since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<String> {
        self.file();
        std::mem::take(&mut self.changed)
    }

    /// Brings the file up to date.
    pub(super) fn file(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let Some((job, filed)) = self.map.get_mut(&key) else { continue };
            let (before, after) = (*filed, Filed::of(job));
            *filed = after;
            if before != after {
                self.unfile(&key, before);
                if let Some(deadline) = after.deadline {
                    self.deadlines.insert((deadline, after.sequence, key.clone()));
                }
                if after.holds {
                    self.holders.insert(key.clone());
                }
                self.incomplete += usize::from(after.incomplete);
                if after.waits {
                    self.waiting.insert((after.sequence, key.clone()));
                }
            }
            self.changed.insert(key);
        }
    }

    fn unfile(&mut self, key: &str, filed: Filed) {
        if let Some(deadline) = filed.deadline {
            self.deadlines.remove(&(deadline, filed.sequence, key.to_owned()));
        }
        if filed.holds {
            self.holders.remove(key);
        }
        self.incomplete -= usize::from(filed.incomplete);
        if filed.waits {
            self.waiting.remove(&(filed.sequence, key.to_owned()));
        }
    }

    /// What the file says against what a look through all jobs finds; for tests.
    #[cfg(test)]
    pub(super) fn assert_filed(&self) {
        let scan = |keep: fn(&Job) -> bool| -> BTreeSet<&String> {
            self.iter().filter(|(_, job)| keep(job)).map(|(key, _)| key).collect()
        };
        assert_eq!(self.next_deadline(), self.iter().filter_map(|(_, job)| job.deadline()).min());
        assert_eq!(self.holders().map(|(key, _)| key).collect::<BTreeSet<_>>(), scan(Job::holds_resources));
        assert_eq!(self.waiting().map(|(key, _)| key).collect::<BTreeSet<_>>(), scan(Job::waits));
        assert_eq!(self.incomplete, scan(Job::is_incomplete).len());
        assert!(self.deadlines.len() <= self.map.len() && self.holders.len() <= self.map.len());
    }
}
