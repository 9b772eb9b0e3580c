//! What time does: settling, expiry, the queue, time-outs, retries, retention, and the sweep for sessions nobody owns.

use std::sync::Arc;
use std::time::Duration;

use super::doors::expired_before_start;
use super::missing::{self, Missing};
use super::{
    Deleted, Departed, Effect, Job, LEFT_AFTER, NEIGHBOUR_TIMEOUT, Phase, SESSION_TIMEOUT, SURVEY_TIMEOUT,
    SessionState, Supervisor, Turn,
};
use crate::model::job::JobId;
use crate::model::provision::Provision;
use crate::model::schema::{Reason, Warning};
use crate::model::status::Ending;

impl Supervisor {
    /// When [`Supervisor::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let finished = self.finished.next_forgotten(self.settings.result_retention);
        let departed = self.departed.values().map(Departed::deadline);
        let stuck = self.stuck_deadline();
        let others = departed.chain(stuck).chain(finished);
        others.chain(self.jobs.next_deadline()).fold(self.sweep.next(), Duration::min)
    }

    pub(super) fn run_timers(&mut self, turn: &mut Turn) {
        while let Some(key) = self.jobs.first_due(turn.now.mono) {
            self.job_due(&key, turn);
        }
        self.departed_due(turn);
        self.promote(turn);
        self.forget(turn);
        self.run_sweep(turn);
    }

    /// One deadline of one job has passed. Every arm moves the deadline or leaves the phase, so `run_timers` ends.
    fn job_due(&mut self, key: &str, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let expired = job.expires.is_some_and(|expires| expires <= turn.now.mono);
        match &mut job.phase {
            Phase::Settling { since, .. } => {
                let since = *since;
                self.take_up(key, since, turn);
            }
            Phase::Surveying { .. } | Phase::Queued { .. } if expired => {
                self.publish(key, expired_before_start(), turn.now);
            }
            Phase::Surveying { retry, .. } => {
                *retry = turn.now.mono + SURVEY_TIMEOUT;
                turn.effects.extend(JobId::parse(key).ok().map(Effect::survey));
            }
            Phase::Queued { .. } => {
                let message = format!("no slot became free within queue_ttl, {} s", job.settings.queue_ttl.as_secs());
                self.publish(key, Ending::rejected(Reason::QueueTimeout, message), turn.now);
            }
            Phase::Provisioning { .. } | Phase::Opening { .. } if expired => {
                self.end(key, expired_before_start(), turn);
            }
            Phase::Provisioning { spec, plan, provision, deadline }
                if resolves(provision) && job.states.worst(provision) == SessionState::Inactive =>
            {
                let since = deadline.saturating_sub(SESSION_TIMEOUT);
                // One that is active tells that the neighbour is known; the others are waited for until ASIC_DB has said who has their samplers.
                let resolved = job.states.first(provision, SessionState::Active).is_some();
                let until = if resolved { turn.now.mono + LEFT_AFTER } else { since + NEIGHBOUR_TIMEOUT };
                let missing = Missing { since, until };
                let (spec, plan, provision) = (Arc::clone(spec), Arc::clone(plan), provision.clone());
                // A sampler that somebody else has looks the same in STATE_DB as a missing neighbour.
                let Provision::Mirror(mirror) = &provision;
                let asks = mirror.is_sampled();
                job.phase = Phase::Resolving { spec, plan, provision, missing };
                turn.effects.extend(JobId::parse(key).ok().filter(|_| asks).and_then(|id| job.ask(&id)));
            }
            Phase::Provisioning { provision, .. } => {
                let ending = missing::timed_out(provision, &job.states);
                self.end(key, ending, turn);
            }
            Phase::Resolving { provision, .. } => {
                let ending = match job.states.worst(provision) {
                    SessionState::Inactive => missing::timed_out(provision, &job.states),
                    SessionState::Absent | SessionState::Active => missing::lost(provision, &job.states),
                };
                self.end(key, ending, turn);
            }
            Phase::Running { ends, .. } | Phase::Renewing { ends, .. } if *ends <= turn.now.mono => {
                self.end(key, Ending::done(), turn);
            }
            Phase::Running { plan, missing, .. } => {
                let missing = missing.filter(|missing| missing.until <= turn.now.mono);
                if let (Some(provision), Some(_)) = (plan.provision.as_ref(), missing) {
                    let ending = missing::lost(provision, &job.states);
                    self.end(key, ending, turn);
                } else {
                    job.renewals.look_at = None;
                    self.sweep.want_look(turn.now.mono);
                }
            }
            Phase::Renewing { .. } => self.renewal_due(key, turn),
            Phase::Looking { .. } => self.look_due(key, turn),
            Phase::Releasing { ending, provision, deleted, deadline, .. } if *deadline <= turn.now.mono => {
                job.warnings.insert(Warning::SessionUnconfirmed);
                if *deleted != Deleted::Done {
                    // Otherwise the warning says it.
                    let why = job.undeleted.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                    ending.add(&format!("{} {}{why}", deleted.what_is_missing(), provision.words()));
                }
                self.trace_job(key);
                self.provision_gone(key, turn);
            }
            Phase::Releasing { deleted, provision, .. } => {
                *deleted = Deleted::Asked;
                let provision = provision.clone();
                turn.effects.extend(JobId::parse(key).ok().map(|id| Effect::release(id, provision)));
            }
            Phase::Removing { retry, .. } => {
                *retry = None;
                turn.effects.push(Effect::delete_row(job.door, key));
            }
            Phase::Opening { .. } | Phase::Closing { .. } | Phase::Publishing { .. } => {}
        }
    }

    /// Drops what is past its retention, oldest first, and what is too much to remember.
    fn forget(&mut self, turn: &mut Turn) {
        while let Some(key) = self.finished.forget_one(self.settings.result_retention, turn.now.mono) {
            self.jobs.note_change(&key);
            turn.effects.push(Effect::clear_results(key));
        }
    }
}

impl Job {
    /// When time alone moves the job on; `None` while only an answer can.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let or_expiry = |deadline: Duration| self.expires.map_or(deadline, |expires| deadline.min(expires));
        match &self.phase {
            Phase::Settling { due, .. } => Some(*due),
            Phase::Surveying { retry, .. } => Some(or_expiry(*retry)),
            Phase::Queued { since, .. } => Some(or_expiry(*since + self.settings.queue_ttl)),
            Phase::Provisioning { deadline, .. } => Some(or_expiry(*deadline)),
            Phase::Resolving { missing, .. } => Some(or_expiry(missing.until)),
            Phase::Opening { then: None, .. } => self.expires,
            Phase::Running { ends, missing, .. } => {
                let until = missing.map_or(*ends, |missing| (*ends).min(missing.until));
                Some(self.renewals.look_at.map_or(until, |at| at.min(until)))
            }
            Phase::Renewing { ends, step, .. } => Some((*ends).min(step.deadline())),
            Phase::Looking { look, .. } => Some(look.deadline()),
            Phase::Releasing { deleted, deadline, .. } => match deleted {
                Deleted::RetryAt(at) => Some((*at).min(*deadline)),
                Deleted::Asked | Deleted::Done => Some(*deadline),
            },
            Phase::Removing { retry, .. } => *retry,
            Phase::Opening { then: Some(_), .. } | Phase::Closing { .. } | Phase::Publishing { .. } => None,
        }
    }
}

/// Whether what a job has in the switch may wait for a neighbour.
fn resolves(provision: &Provision) -> bool {
    let Provision::Mirror(mirror) = provision;
    mirror.tunnel().is_some()
}
