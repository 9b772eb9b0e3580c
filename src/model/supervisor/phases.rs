//! What the world answers: snapshots, provisions, feeds, deletions. Each handler names every phase; the ones in which an answer
//! comes too late to matter are listed as such.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::missing::Missing;
use super::{
    Deleted, Effect, FeedEffect, FeedOwned, Job, Now, Phase, Renewal, ResultsEffect, Retry, SESSION_TIMEOUT,
    SessionState, SessionStates, Supervisor, Turn,
};
use crate::model::admission::{self, Plan};
use crate::model::job::{JobId, JobSpec};
use crate::model::overtaken::Taken;
use crate::model::provision::Provision;
use crate::model::schema::{Reason, SESSION_PREFIX, Warning};
use crate::model::status::Ending;
use crate::model::world::World;

impl Supervisor {
    pub(super) fn surveyed(&mut self, id: &JobId, world: Result<Arc<World>, String>, turn: &mut Turn) {
        let key = id.as_str();
        let Some(job) = self.jobs.get_mut(key) else { return };
        let settings = Arc::clone(&job.settings);
        let (spec, waiting) = match &mut job.phase {
            Phase::Surveying { spec, retry, waiting } => match world {
                Ok(_) => (Arc::clone(spec), *waiting),
                Err(error) => {
                    *retry = Retry::REDIS.at(&mut job.failures, turn.now.mono);
                    let line = format!("the switch's tables could not be read, trying again: {error}");
                    return turn.effects.push(Effect::log_of_rows(line));
                }
            },
            Phase::Settling { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => return,
        };
        let Ok(world) = world else { return };
        self.seen = Some((turn.now.mono, Arc::clone(&world)));
        if let Err(refusal) = admission::check_ports(&spec, &world) {
            return self.publish(key, Ending::rejected(refusal.reason, refusal.message), turn.now);
        }
        if self.stuck_look_runs(turn.now) {
            // The ports of a session that is being freed may be unbound at any moment.
            return self.look_again(key, turn.now);
        }
        if self.must_wait(key, waiting) {
            return self.wait(key, spec, waiting, turn.now);
        }
        let taken = self.stuck_sessions(&world).into_iter().chain(self.taken_sessions()).collect();
        let memory_used = self.memory_bytes();
        match admission::plan(id, &spec, &world, &settings, &taken, memory_used) {
            Ok(plan) => self.start(id, spec, plan, turn),
            Err(_)
                if turn.now.mono < self.orphans_until
                    && self.orphans(&world).iter().any(|name| !self.kept.contains_key(name)) =>
            {
                self.look_again(key, turn.now);
            }
            Err(refusal) => self.publish(key, Ending::rejected(refusal.reason, refusal.message), turn.now),
        }
    }

    /// What an earlier daemon left may be in the way, and is being removed.
    fn look_again(&mut self, key: &str, now: Now) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Phase::Surveying { retry, .. } = &mut job.phase {
            *retry = Retry::WAY.at(&mut job.failures, now.mono);
        }
    }

    fn start(&mut self, id: &JobId, spec: Arc<JobSpec>, plan: Plan, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        let plan = Arc::new(plan);
        job.warnings.extend(plan.warnings.iter().copied());
        job.plan = Some(Arc::clone(&plan));
        job.states = SessionStates::default();
        match plan.provision.clone() {
            Some(provision) => {
                turn.effects.push(Effect::provision(id.clone(), provision.clone()));
                job.phase = Phase::Provisioning { spec, plan, provision, deadline: turn.now.mono + SESSION_TIMEOUT };
            }
            None => job.attach(id, spec, plan, turn),
        }
    }

    pub(super) fn provisioned(&mut self, id: &JobId, result: Result<Option<Taken>, String>, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        match (&mut job.phase, result) {
            (
                Phase::Provisioning { deadline, .. } | Phase::Renewing { step: Renewal::Adding { deadline }, .. },
                Ok(None),
            ) => *deadline = turn.now.mono + SESSION_TIMEOUT,
            // Nothing was written, so nothing is to be deleted.
            (Phase::Provisioning { .. }, Ok(Some(taken))) => {
                self.publish(id.as_str(), Ending::rejected(Reason::MirrorConflict, in_the_way(&taken)), turn.now);
            }
            (Phase::Renewing { step: Renewal::Adding { .. }, .. }, Ok(Some(taken))) => {
                self.end(id.as_str(), Ending::failed(Reason::MirrorConflict, in_the_way(&taken)), turn);
            }
            (Phase::Provisioning { .. } | Phase::Renewing { step: Renewal::Adding { .. }, .. }, Err(error)) => {
                let message = format!("the mirror session could not be written to CONFIG_DB: {error}");
                self.end(id.as_str(), Ending::failed(Reason::Internal, message), turn);
            }
            (
                Phase::Settling { .. }
                | Phase::Surveying { .. }
                | Phase::Queued { .. }
                | Phase::Resolving { .. }
                | Phase::Opening { .. }
                | Phase::Running { .. }
                | Phase::Renewing { step: Renewal::Deleting { .. }, .. }
                | Phase::Releasing { .. }
                | Phase::Closing { .. }
                | Phase::Looking { .. }
                | Phase::Publishing { .. }
                | Phase::Removing { .. },
                _,
            ) => {}
        }
    }

    pub(super) fn session_state(&mut self, session: &str, state: SessionState, turn: &mut Turn) {
        let Some(id) = JobId::of_session(session) else { return };
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        job.states.set(session, state);
        let provision = job.plan.as_ref().and_then(|plan| plan.provision.as_ref());
        let state = provision.map_or(SessionState::Absent, |provision| job.states.worst(provision));
        match (&mut job.phase, state) {
            (Phase::Provisioning { spec, plan, .. } | Phase::Resolving { spec, plan, .. }, SessionState::Active) => {
                let (spec, plan) = (Arc::clone(spec), Arc::clone(plan));
                job.attach(&id, spec, plan, turn);
            }
            (Phase::Resolving { provision, missing, .. }, SessionState::Absent | SessionState::Inactive) => {
                *missing = Missing::after(Some(*missing), state, provision, turn.now.mono).unwrap_or(*missing);
            }
            (Phase::Renewing { .. }, _) => self.renewal_moves(id.as_str(), turn),
            (Phase::Running { plan, missing, .. }, state) => {
                // A job without a session may share its name with one that an earlier daemon left behind.
                if let Some(provision) = &plan.provision {
                    let before = std::mem::replace(missing, Missing::after(*missing, state, provision, turn.now.mono));
                    let came_back = before.filter(|_| missing.is_none());
                    job.gap += came_back.map_or(Duration::ZERO, |before| turn.now.mono.saturating_sub(before.since));
                }
            }
            (Phase::Releasing { deleted: Deleted::Done, .. }, _) if job.states.all_gone() => {
                self.provision_gone(id.as_str(), turn);
            }
            (
                Phase::Settling { .. }
                | Phase::Surveying { .. }
                | Phase::Queued { .. }
                | Phase::Provisioning { .. }
                | Phase::Opening { .. }
                | Phase::Releasing { .. }
                | Phase::Closing { .. }
                | Phase::Looking { .. }
                | Phase::Publishing { .. }
                | Phase::Removing { .. },
                _,
            ) => {}
        }
    }

    pub(super) fn released(&mut self, id: &JobId, result: &Result<(), String>, turn: &mut Turn) {
        if let Err(why) = result {
            turn.effects.push(Effect::log(format!("sessions of job {id} are not deleted yet: {why}")));
        }
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        job.undeleted = result.as_ref().err().cloned();
        let deleted = match &mut job.phase {
            Phase::Releasing { deleted, .. } | Phase::Renewing { step: Renewal::Deleting { deleted, .. }, .. } => {
                deleted
            }
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { step: Renewal::Adding { .. }, .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => return,
        };
        *deleted = match result {
            Ok(()) => Deleted::Done,
            Err(_) => Deleted::RetryAt(Retry::REDIS.at(&mut job.failures, turn.now.mono)),
        };
        if *deleted == Deleted::Done && job.states.all_gone() {
            // Each of them acts in its own phase alone.
            self.provision_gone(id.as_str(), turn);
            self.renewal_moves(id.as_str(), turn);
        }
    }

    /// The session is gone, or nobody will say so in time.
    pub(super) fn provision_gone(&mut self, key: &str, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Phase::Releasing { ending, feed, .. } = &job.phase else { return };
        let ending = ending.clone();
        match feed {
            FeedOwned::Yes => self.close_feed(key, ending, turn),
            FeedOwned::No => self.look(key, ending, turn),
        }
    }

    /// The sessions of ours that no job owns.
    fn orphans(&self, world: &World) -> BTreeSet<String> {
        let owned = self.taken_sessions();
        let present = world.sessions.keys().chain(&world.known_states);
        let is_orphan =
            |name: &&String| name.starts_with(SESSION_PREFIX) && !owned.contains_key(*name) && !self.is_cure(name);
        present.filter(is_orphan).cloned().collect()
    }

    /// A look at the switch: deletes sessions of ours that no job owns, looks for sessions of others that came over ours, and follows
    /// the ports of the jobs that run.
    pub(super) fn sessions(&mut self, world: &World, turn: &mut Turn) {
        let orphans = self.orphans(world).into_iter().collect();
        let orphans = self.sort_orphans(orphans, world);
        self.trace_orphans(&orphans, world);
        self.note_orphans(&orphans, world, turn.now);
        self.intruders(world, turn);
        self.returned(world);
        self.follow_ports(world, turn);
    }

    pub(super) fn feed_opened(&mut self, id: &JobId, result: Result<(), (Reason, String)>, turn: &mut Turn) {
        let key = id.as_str();
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Phase::Opening { spec, plan, then } = job.phase.clone() else { return };
        if let Err((reason, message)) = result {
            let ending = then.unwrap_or_else(|| Ending::failed(reason, message));
            return self.take_down(key, ending, FeedOwned::No, turn);
        }
        let wanted = turn.now.mono + spec.duration;
        let ends = job.expires.map_or(wanted, |expires| wanted.min(expires));
        let missing = plan
            .provision
            .as_ref()
            .and_then(|provision| Missing::after(None, job.states.worst(provision), provision, turn.now.mono));
        if plan.provision.is_some() && spec.ports.names().any(|port| !plan.source_ports.contains(port)) {
            // Members of a port channel may have changed since the survey.
            self.sweep.want_look(turn.now.mono);
        }
        job.started = Some(turn.now);
        job.phase = Phase::Running { spec, plan, ends, missing };
        if let Some(ending) = then {
            self.take_down(key, ending, FeedOwned::Yes, turn);
        }
    }

    /// A job that is ending has its numbers from the feed still: what is lost is lost for them, too.
    pub(super) fn feed_lost(&mut self, id: &JobId, message: String, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        match &mut job.phase {
            Phase::Running { .. } | Phase::Renewing { .. } => {
                self.watch_destination(id.as_str(), turn.now);
                self.end(id.as_str(), Ending::failed(Reason::TapMissing, message), turn);
            }
            Phase::Releasing { ending, feed: FeedOwned::Yes, .. } | Phase::Closing { ending } => {
                ending.spoil(Reason::TapMissing, &message);
            }
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Releasing { feed: FeedOwned::No, .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => {}
        }
    }

    pub(super) fn feed_closed(&mut self, id: &JobId, result: Result<(), String>, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        let Phase::Closing { ending } = &job.phase else { return };
        let mut ending = ending.clone();
        if let Err(error) = result {
            ending.add(&format!("the last reading of the tap failed: {error}"));
        }
        self.look(id.as_str(), ending, turn);
    }

    pub(super) fn warned(&mut self, id: &JobId, warning: Warning) {
        // What is noticed late belongs to the job before this one.
        if let Some(job) = self.jobs.get_mut(id.as_str()).filter(|job| job.holds_resources()) {
            job.warnings.insert(warning);
        }
    }
}

fn in_the_way(taken: &Taken) -> String {
    let Taken { theirs, port } = taken;
    format!("mirror session {theirs} copies {port} now, in the same direction")
}

impl Job {
    fn attach(&mut self, id: &JobId, spec: Arc<JobSpec>, plan: Arc<Plan>, turn: &mut Turn) {
        turn.effects.push(Effect::Results(ResultsEffect::Begin { id: id.clone(), spec: Arc::clone(&spec) }));
        turn.effects.push(Effect::Feed(FeedEffect::Open {
            id: id.clone(),
            spec: Arc::clone(&spec),
            feed: plan.feed.clone(),
        }));
        self.phase = Phase::Opening { spec, plan, then: None };
        // Which objects its ports are is known only while they are in a table.
        turn.effects.extend(self.ask(id));
    }

    /// The sessions of a job that still wants them.
    pub(super) fn live_provision(&self) -> Option<&Provision> {
        match &self.phase {
            Phase::Provisioning { provision, .. } | Phase::Resolving { provision, .. } => Some(provision),
            Phase::Opening { plan, then: None, .. } | Phase::Running { plan, .. } => plan.provision.as_ref(),
            Phase::Renewing { new, .. } => new.provision.as_ref(),
            Phase::Opening { then: Some(_), .. }
            | Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => None,
        }
    }
}
