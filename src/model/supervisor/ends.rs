//! The end of a job, wherever it is: the provision, the feed, the look at ASIC_DB, the final status, the row, in this order.

use std::time::Duration;

use super::{
    Deleted, Effect, FeedEffect, FeedOwned, Job, Now, Phase, Retry, SESSION_TIMEOUT, SESSION_TIMEOUT_SHUTDOWN,
    Supervisor, Turn,
};
use crate::model::job::JobId;
use crate::model::provision::Provision;
use crate::model::schema::{Source, Warning};
use crate::model::status::Ending;

impl Supervisor {
    /// Ends a job wherever it is; one that is ending already keeps its first ending.
    pub(super) fn end(&mut self, key: &str, ending: Ending, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        match &mut job.phase {
            Phase::Settling { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => {}
            Phase::Surveying { .. } | Phase::Queued { .. } => self.publish(key, ending, turn.now),
            Phase::Opening { then, .. } => {
                then.get_or_insert(ending);
            }
            Phase::Provisioning { .. } | Phase::Resolving { .. } => {
                self.take_down(key, ending, FeedOwned::No, turn);
            }
            Phase::Running { missing, .. } => {
                job.gap += missing.map_or(Duration::ZERO, |missing| turn.now.mono.saturating_sub(missing.since));
                self.take_down(key, ending, FeedOwned::Yes, turn);
            }
            Phase::Renewing { since, .. } => {
                job.gap += turn.now.mono.saturating_sub(*since);
                self.take_down(key, ending, FeedOwned::Yes, turn);
            }
        }
    }

    /// The provision first, then the feed, so that the last copy is counted.
    pub(super) fn take_down(&mut self, key: &str, ending: Ending, feed: FeedOwned, turn: &mut Turn) {
        let timeout = self.session_timeout();
        let Some(job) = self.jobs.get_mut(key) else { return };
        match (job.to_release(), feed, JobId::parse(key)) {
            (Some(provision), feed, Ok(id)) => {
                turn.effects.push(Effect::release(id, provision.clone()));
                let deadline = turn.now.mono + timeout;
                job.failures = 0;
                job.phase = Phase::Releasing { ending, provision, feed, deleted: Deleted::Asked, deadline };
            }
            (_, FeedOwned::Yes, _) => self.close_feed(key, ending, turn),
            (_, FeedOwned::No, _) => self.look(key, ending, turn),
        }
    }

    pub(super) fn close_feed(&mut self, key: &str, ending: Ending, turn: &mut Turn) {
        if let (Some(job), Ok(id)) = (self.jobs.get_mut(key), JobId::parse(key)) {
            job.phase = Phase::Closing { ending };
            turn.effects.push(Effect::Feed(FeedEffect::Close { id }));
        }
    }

    pub(super) fn publish(&mut self, key: &str, ending: Ending, now: Now) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.ended.get_or_insert(now);
            job.failures = 0;
            if job.warnings.contains(&Warning::SessionUnconfirmed) || !job.states.all_gone() {
                // What it could not delete is nobody's now.
                self.sweep.want_look(now.mono);
            }
            job.phase = Phase::Publishing { ending };
        }
    }

    pub(super) fn published(&mut self, key: &str, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Phase::Publishing { ending } = &job.phase else { return };
        if job.row.is_none() {
            return self.finish(key, turn.now);
        }
        job.phase = Phase::Removing { ending: ending.clone(), retry: None };
        turn.effects.push(Effect::delete_row(job.door, key));
    }

    pub(super) fn row_deleted(&mut self, door: Source, key: &str, result: &Result<(), String>, turn: &mut Turn) {
        if let Err(error) = result {
            let line = format!("rows of jobs could not be deleted yet: {error}");
            turn.effects.push(Effect::log_of_rows(line));
        }
        let Some(job) = self.jobs.get_mut(key).filter(|job| job.door == door) else { return };
        let Phase::Removing { retry, .. } = &mut job.phase else { return };
        match result {
            Ok(()) => self.finish(key, turn.now),
            Err(_) => *retry = Some(Retry::REDIS.at(&mut job.failures, turn.now.mono)),
        }
    }

    fn session_timeout(&self) -> Duration {
        if self.draining { SESSION_TIMEOUT_SHUTDOWN } else { SESSION_TIMEOUT }
    }
}

impl Job {
    /// The sessions that the job's end takes away: while they are being made anew, the larger number of them; their names are the same.
    pub(super) fn to_release(&self) -> Option<Provision> {
        let planned = match &self.phase {
            Phase::Renewing { old, new, .. } => [Some(old), Some(new)],
            _ => [self.plan.as_ref(), None],
        };
        let provisions = planned.into_iter().flatten().filter_map(|plan| plan.provision.as_ref());
        provisions.max_by_key(|provision| provision.names().count()).filter(|_| !self.kept).cloned()
    }
}
