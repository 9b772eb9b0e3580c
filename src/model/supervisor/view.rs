//! What the jobs add up to: slots, queue, memory, sessions, and what is said of each.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::missing;
use super::{Effect, Job, MISSING_FIELD_QUIET, Now, Phase, SURVEY_FRESH, SURVEY_TIMEOUT, Standing, Supervisor, Turn};
use crate::model::admission::{self, Plan};
use crate::model::job::{JobId, JobSpec};
use crate::model::limits::JOBS_MAX;
use crate::model::provision::mirror::MirrorPlan;
use crate::model::schema::{Reason, Source, Status};
use crate::model::settings::Settings;
use crate::model::status::{Ending, JobStatus, Refused};
use crate::model::value::without_controls;
use crate::model::world::Session;

impl Supervisor {
    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Everything that is said of jobs: those that are not over, and this daemon's finished ones.
    pub fn statuses(&self) -> impl Iterator<Item = JobStatus> {
        let live = self.jobs.iter().filter(|(_, job)| job.is_said()).map(|(key, job)| job.status_of(key));
        let finished = self
            .finished
            .iter()
            .filter(|(key, _)| !self.jobs.get(key).is_some_and(Job::is_said))
            .filter_map(|(_, finished)| finished.status.clone());
        live.chain(finished)
    }

    /// What is said of one job; `None` if nothing is.
    #[must_use]
    pub fn status(&self, key: &str) -> Option<JobStatus> {
        match self.jobs.get(key).filter(|job| job.is_said()) {
            Some(job) => Some(job.status_of(key)),
            None => self.finished.get(key)?.status.clone(),
        }
    }

    /// The rows' keys of which something else may be said since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        self.jobs.take_changed()
    }

    /// How many rows were refused.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.finished.refused()
    }

    /// How a door's row stands; `None` if nothing is under way for it.
    #[must_use]
    pub fn standing(&self, door: Source, key: &str) -> Option<Standing> {
        let job = self.jobs.get(key).filter(|job| job.door == door)?;
        Some(if job.holds_resources() || job.waits() { Standing::Live } else { Standing::Passing })
    }

    /// The front-panel ports behind a job that copies their traffic; empty for one that does not, or holds nothing.
    #[must_use]
    pub fn source_ports(&self, id: &JobId) -> BTreeSet<String> {
        // While the sessions are made anew there are no copies to compare the counters with.
        let job = self.jobs.get(id.as_str()).filter(|job| !matches!(job.phase, Phase::Renewing { .. }));
        let plan = job.and_then(|job| job.plan.as_ref());
        plan.filter(|plan| plan.mirror().is_some()).map(|plan| plan.source_ports.clone()).unwrap_or_default()
    }

    /// How many jobs have something in the switch, or a feed.
    #[must_use]
    pub fn active_jobs(&self) -> usize {
        self.jobs.holders().count()
    }

    /// Whether nothing is left to do for any job.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The row's key of the job whose session this is, also while it is being removed.
    pub(super) fn owner(&self, session: &str) -> Option<String> {
        let id = JobId::of_session(session)?;
        let job = self.jobs.get(id.as_str()).filter(|job| job.holds_resources())?;
        job.taken_sessions().contains_key(session).then(|| id.as_str().to_owned())
    }

    /// The sessions of jobs that hold one, also while it is being removed.
    pub(super) fn taken_sessions(&self) -> BTreeMap<String, Session> {
        self.jobs.holders().flat_map(|(_, job)| job.taken_sessions()).collect()
    }

    /// Bytes of the maps of all jobs that hold resources.
    pub(super) fn memory_bytes(&self) -> u64 {
        let held = self.jobs.holders();
        held.filter_map(|(_, job)| job.plan.as_ref()).map(|plan| plan.memory_bytes).sum()
    }

    /// Whether all slots are taken, those counted that belong to the jobs in front.
    pub(super) fn must_wait(&self, key: &str, waiting: Option<Duration>) -> bool {
        let Some(own) = self.jobs.get(key).map(|job| job.sequence) else { return false };
        let is_in_front = |(_, job): &(&String, &Job)| waiting.is_none() || job.sequence < own;
        self.active_jobs() + self.jobs.waiting().filter(is_in_front).count() >= self.slots()
    }

    /// Why a new job is refused without a survey of its own: every slot is taken, the queue is full, and a survey that is fresh enough says
    /// whether the row is wrong besides.
    pub(super) fn crowded_out(&self, key: &str, spec: &JobSpec, now: Now) -> Option<Ending> {
        let (at, world) = self.seen.as_ref()?;
        if now.mono > *at + SURVEY_FRESH || !self.must_wait(key, None) {
            return None;
        }
        let full = self.queue_full()?;
        Some(match admission::check_ports(spec, world) {
            Ok(()) => full,
            Err(refusal) => Ending::rejected(refusal.reason, refusal.message),
        })
    }

    fn queue_full(&self) -> Option<Ending> {
        let queued = self.jobs.waiting().count();
        let is_full = queued >= self.settings.max_queue;
        is_full.then(|| Ending::rejected(Reason::ConcurrencyLimit, self.full_message(queued)))
    }

    /// Puts a job into the queue, or refuses it if the queue is full.
    pub(super) fn wait(&mut self, key: &str, spec: Arc<JobSpec>, waiting: Option<Duration>, now: Now) {
        if waiting.is_none()
            && let Some(ending) = self.queue_full()
        {
            return self.publish(key, ending, now);
        }
        if let Some(job) = self.jobs.get_mut(key) {
            job.phase = Phase::Queued { spec, since: waiting.unwrap_or(now.mono) };
        }
    }

    /// Free slots go to those who wait, in the order in which they came.
    pub(super) fn promote(&mut self, turn: &mut Turn) {
        let is_queued = |job: &Job| matches!(job.phase, Phase::Queued { .. });
        let busy = self.active_jobs() + self.jobs.waiting().filter(|(_, job)| !is_queued(job)).count();
        let mut queue: Vec<(u64, String)> = self
            .jobs
            .waiting()
            .filter(|(_, job)| is_queued(job))
            .map(|(key, job)| (job.sequence, key.clone()))
            .collect();
        queue.sort();
        for (_, key) in queue.into_iter().take(self.slots().saturating_sub(busy)) {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let Phase::Queued { spec, since } = &job.phase else { continue };
            job.phase = Phase::Surveying {
                spec: Arc::clone(spec),
                retry: turn.now.mono + SURVEY_TIMEOUT,
                waiting: Some(*since),
            };
            turn.effects.extend(JobId::parse(&key).ok().map(Effect::survey));
        }
    }

    fn slots(&self) -> usize {
        self.settings.max_jobs.min(JOBS_MAX)
    }

    fn full_message(&self, queued: usize) -> String {
        let running: BTreeSet<&str> = self.jobs.holders().map(|(key, _)| key.as_str()).collect();
        let queue = match self.settings.max_queue {
            0 => "and max_queue is 0".to_owned(),
            max => format!("and the queue holds {queued} of {max}"),
        };
        format!(
            "{} of {} jobs are running ({}) {queue}; try again when one ends, or stop one",
            running.len(),
            self.slots(),
            running.into_iter().collect::<Vec<_>>().join(", ")
        )
    }
}

impl Job {
    /// Whether the job has been accepted or refused, so that STATE_DB says something of it.
    fn is_said(&self) -> bool {
        match &self.phase {
            Phase::Settling { .. } | Phase::Surveying { waiting: None, .. } => false,
            // A row that an earlier daemon had finished: only its deletion was left.
            Phase::Removing { .. } => self.ended.is_some(),
            Phase::Surveying { waiting: Some(_), .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. } => true,
        }
    }

    /// Its sessions, those included that make way for others.
    pub(super) fn taken_sessions(&self) -> BTreeMap<String, Session> {
        let mirror = |plan: &Arc<Plan>| plan.mirror().map(MirrorPlan::as_sessions).unwrap_or_default();
        let Phase::Renewing { old, new, .. } = &self.phase else {
            return self.plan.as_ref().map(mirror).unwrap_or_default();
        };
        let mut sessions = mirror(old);
        for (name, session) in mirror(new) {
            let taken = sessions.entry(name).or_default();
            let before = std::mem::take(&mut taken.src_ports);
            *taken = session;
            taken.src_ports.extend(before);
        }
        sessions
    }

    /// Whether its row has no port, and may yet get one.
    pub(super) fn is_incomplete(&self) -> bool {
        matches!(self.phase, Phase::Settling { since, due } if due == since + MISSING_FIELD_QUIET)
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. } | Phase::Surveying { waiting: Some(_), .. })
    }

    pub(super) fn holds_resources(&self) -> bool {
        match &self.phase {
            Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. } => true,
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => false,
        }
    }

    pub(super) fn status_of(&self, key: &str) -> JobStatus {
        let (status, ending) = self.word();
        let message = match ending {
            Some(ending) if !ending.message.is_empty() => {
                // Of how much of its traffic the job's numbers are, is not told by how it ended.
                let renewed = self.followed().map(|followed| [Some(followed), self.missed()]);
                let all = iter::once(ending.message.clone()).chain(renewed.into_iter().flatten().flatten());
                all.collect::<Vec<_>>().join("; ")
            }
            Some(_) | None => self.remark(),
        };
        JobStatus {
            key: key.to_owned(),
            spec: self.spec.as_deref().cloned(),
            raw: self.row.clone().unwrap_or_default(),
            status,
            reason: ending.and_then(|ending| ending.reason),
            // It may name what somebody else called so.
            message: without_controls(message.chars()),
            warnings: self.warnings.clone(),
            source: self.door,
            tap: self.plan.as_ref().map(|plan| plan.feed.name().to_owned()),
            mirror_session: self.plan.as_ref().and_then(|plan| Some(plan.provision.as_ref()?.listed())),
            created_at: self.created_at,
            started_at: self.started.map(|started| started.wall),
            expires_at: self.expires_at(),
            ended_at: self.ended.filter(|_| status.is_final()).map(|ended| ended.wall),
        }
    }

    /// How long there may have been no copies.
    fn missed(&self) -> Option<String> {
        (!self.gap.is_zero()).then(|| {
            format!(
                "the mirror session was not active for {:.1} s; copies of that time may be missing",
                self.gap.as_secs_f64()
            )
        })
    }

    /// What there is to say beside the status.
    fn remark(&self) -> String {
        let waiting = match &self.phase {
            Phase::Resolving { provision, .. } => missing::waiting(provision, &self.states),
            Phase::Running { plan, missing: Some(_), .. } => {
                plan.provision.as_ref().and_then(|provision| missing::waiting(provision, &self.states))
            }
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Opening { .. }
            | Phase::Running { missing: None, .. }
            | Phase::Renewing { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => None,
        };
        let note = (!self.note.is_empty()).then(|| self.note.clone());
        waiting.into_iter().chain(note).chain(self.followed()).chain(self.missed()).collect::<Vec<_>>().join("; ")
    }

    fn word(&self) -> (Status, Option<&Ending>) {
        match &self.phase {
            Phase::Settling { .. } | Phase::Surveying { .. } | Phase::Queued { .. } => (Status::Queued, None),
            Phase::Provisioning { .. } | Phase::Resolving { .. } | Phase::Opening { then: None, .. } => {
                (Status::Starting, None)
            }
            Phase::Running { .. } | Phase::Renewing { .. } => (Status::Running, None),
            Phase::Opening { then: Some(ending), .. }
            | Phase::Releasing { ending, .. }
            | Phase::Closing { ending }
            | Phase::Looking { ending, .. } => (Status::Stopping, Some(ending)),
            Phase::Publishing { ending } | Phase::Removing { ending, .. } => (ending.status, Some(ending)),
        }
    }

    /// `min(started_at + duration, the row's)`.
    fn expires_at(&self) -> Option<Timestamp> {
        let spec = self.spec.as_ref()?;
        let planned = self
            .started
            .and_then(|started| started.wall.checked_add(SignedDuration::try_from(spec.duration).ok()?).ok());
        match (planned, spec.expires_at) {
            (Some(planned), Some(row)) => Some(planned.min(row)),
            (planned, row) => planned.or(row),
        }
    }
}
