//! What ASIC_DB is asked for: whether a job's end left a port bound, whether a removed port is still held, and who has a sampler.
//!
//! Nothing here keeps a job waiting for long: an answer that does not come in time means that nothing is known, and nothing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{AsicEffect, Effect, Job, Now, Phase, Supervisor, Turn};
use crate::model::asic::{Binding, Oid, Question, View};
use crate::model::job::JobId;
use crate::model::provision::mirror::MirrorPlan;
use crate::model::schema::{Reason, Warning};
use crate::model::status::Ending;
use crate::model::world::World;

/// syncd writes ASIC_DB behind orchagent's back, so a binding counts as left only after this time …
pub const LEFT_AFTER: Duration = Duration::from_secs(2);
/// … and while the daemon is being stopped after this.
const LEFT_AFTER_SHUTDOWN: Duration = Duration::from_millis(300);
/// How long the answer to the last question is waited for.
const NO_ANSWER: Duration = Duration::from_secs(1);
/// Until the second look; the time doubles once.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Between two later looks: no job's end waits for longer than that after ASIC_DB shows that nothing is left.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a removed port is looked for (observed fact S18: syncd tries its removal every second).
pub const DEPARTED_AFTER: Duration = Duration::from_secs(30);
/// Between two looks for it.
const DEPARTED_INTERVAL: Duration = Duration::from_secs(5);
/// Jobs whose removed ports are looked for at the most.
const DEPARTED_MAX: usize = 16;

/// How the look at the end of a job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// A binding that is there from then on is left.
    until: Duration,
    /// When to ask again; `None` while an answer is due.
    again: Option<Duration>,
    /// The wait after the next answer.
    wait: Duration,
    /// No answer is waited for any longer.
    give_up: Duration,
}

impl Look {
    pub(super) fn deadline(&self) -> Duration {
        self.again.unwrap_or(self.give_up)
    }
}

/// A port that was removed under a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Departed {
    /// The job's row's key.
    key: String,
    /// The ports' objects, as they were while the job ran.
    oids: BTreeMap<String, Oid>,
    until: Duration,
    next: Duration,
}

impl Departed {
    pub(super) fn deadline(&self) -> Duration {
        self.next
    }
}

impl Supervisor {
    /// A job that had sessions is over when ASIC_DB was looked at; any other is over now.
    pub(super) fn look(&mut self, key: &str, ending: Ending, turn: &mut Turn) {
        let after = if self.draining { LEFT_AFTER_SHUTDOWN } else { LEFT_AFTER };
        let Some(job) = self.jobs.get_mut(key) else { return };
        // What it counts is counted; how long syncd takes for its part is not the job's time.
        job.ended = Some(turn.now);
        let Ok(id) = JobId::parse(key) else { return self.publish(key, ending, turn.now) };
        let Some(ask) = job.ask(&id).filter(|_| !job.kept) else { return self.publish(key, ending, turn.now) };
        if let Some(provision) = job.to_release().filter(|_| !job.states.all_gone()) {
            // Redis or orchagent was not there when it was asked; it may be now.
            turn.effects.push(Effect::release(id, provision));
        }
        turn.effects.push(ask);
        let until = turn.now.mono + after;
        let look = Look { until, again: None, wait: LOOK_AGAIN, give_up: until + after.min(NO_ANSWER) };
        job.phase = Phase::Looking { ending, look };
    }

    /// ASIC_DB answered, or did not.
    pub(super) fn asic(&mut self, id: &JobId, mut view: Result<View, String>, turn: &mut Turn) {
        let key = id.as_str();
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Ok(view) = &mut view {
            // A port that was removed is in no table any more, and its object may be there still.
            job.oids.append(&mut view.oids);
            view.oids.clone_from(&job.oids);
        }
        let mirror = job.plan.as_ref().and_then(|plan| plan.mirror().cloned());
        match &mut job.phase {
            Phase::Looking { look, .. } => match (view, mirror) {
                (Ok(view), Some(mirror)) => match view.bound_to(&mirror.target) {
                    Some(left) if !left.is_empty() && turn.now.mono < look.until => {
                        look.again = Some((turn.now.mono + look.wait).min(look.until));
                        look.wait = LOOK_INTERVAL;
                    }
                    Some(left) => {
                        let left: Vec<Binding> = left.into_iter().cloned().collect();
                        self.looked(key, &left, turn);
                    }
                    None => {
                        let to = mirror.port().unwrap_or_default();
                        let line = format!(
                            "job {id}: it is not known what its end left in ASIC_DB: {to}, to which its copies went, has no object in COUNTERS_DB"
                        );
                        turn.effects.push(Effect::log(line));
                        self.looked(key, &[], turn);
                    }
                },
                (Err(error), _) => {
                    let line = format!("job {id}: ASIC_DB could not be asked what its end left there: {error}");
                    turn.effects.push(Effect::log(line));
                    self.looked(key, &[], turn);
                }
                (Ok(_), None) => self.looked(key, &[], turn),
            },
            Phase::Resolving { .. } => {
                if let (Ok(view), Some(mirror)) = (view, mirror)
                    && let Some(message) = sampler_taken(&view, &mirror)
                {
                    self.end(key, Ending::failed(Reason::MirrorInactive, message), turn);
                }
            }
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => {}
        }
    }

    /// Time to look again, or to stop waiting for an answer.
    pub(super) fn look_due(&mut self, key: &str, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let ask = JobId::parse(key).ok().and_then(|id| job.ask(&id));
        let Phase::Looking { look, .. } = &mut job.phase else { return };
        if let (Some(_), Some(ask)) = (look.again.take(), ask) {
            turn.effects.push(ask);
        } else {
            let line = format!("job {key}: ASIC_DB did not answer in time what its end left there");
            turn.effects.push(Effect::log(line));
            self.looked(key, &[], turn);
        }
    }

    fn looked(&mut self, key: &str, left: &[Binding], turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Phase::Looking { ending, .. } = &job.phase else { return };
        let mut ending = ending.clone();
        if !left.is_empty() {
            job.warnings.insert(Warning::LeftBound);
            let words = left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let rest = match (job.states.all_gone(), self.draining) {
                _ if job.undeleted.is_some() => "that goes with the session, which is not deleted yet",
                (true, _) => "a restart of the swss service frees it, which interrupts traffic",
                (false, false) => {
                    "orchagent has not confirmed that the session is gone, and the daemon goes on deleting it"
                }
                (false, true) => "orchagent has not confirmed that the session is gone; the next daemon deletes it",
            };
            let message =
                format!("ASIC_DB still shows {words} bound to this job's mirror session after its end; {rest}");
            turn.effects.push(Effect::log(format!("job {key}: {message}")));
            ending.add(&message);
        }
        self.publish(key, ending, turn.now);
    }

    /// Ports of the job were removed: what became of them is known later than the job's end.
    pub(super) fn watch_departed(&mut self, key: &str, gone: &BTreeSet<String>, now: Now) {
        let Some(job) = self.jobs.get(key) else { return };
        let oids = job.oids.iter().filter(|(port, _)| gone.contains(*port));
        let oids: BTreeMap<String, Oid> = oids.map(|(port, oid)| (port.clone(), oid.clone())).collect();
        if !oids.is_empty() && self.departed.len() < DEPARTED_MAX {
            let (until, next) = (now.mono + DEPARTED_AFTER, now.mono + DEPARTED_INTERVAL);
            self.departed.insert(job.sequence, Departed { key: key.to_owned(), oids, until, next });
        }
    }

    /// The feed of the job is gone, and its destination with it, if that is what became of the netdev: the next look at PORT says so.
    pub(super) fn watch_destination(&mut self, key: &str, now: Now) {
        let plan = self.jobs.get(key).and_then(|job| job.plan.as_ref());
        let Some(port) = plan.and_then(|plan| plan.mirror()?.port()).map(str::to_owned) else { return };
        self.watch_departed(key, &BTreeSet::from([port]), now);
        if !self.departed.is_empty() {
            self.sweep.want_look(now.mono);
        }
    }

    /// A port that is in PORT again has the object that it should have.
    pub(super) fn returned(&mut self, world: &World) {
        for departed in self.departed.values_mut() {
            departed.oids.retain(|port, _| !world.ports.contains_key(port));
        }
        self.departed.retain(|_, departed| !departed.oids.is_empty());
    }

    /// Asks for the removed ports whose time has come.
    pub(super) fn departed_due(&mut self, turn: &mut Turn) {
        for (job, departed) in &mut self.departed {
            if departed.next <= turn.now.mono {
                departed.next = last_at(turn.now.mono + DEPARTED_INTERVAL, departed.until, turn.now.mono);
                turn.effects.push(Effect::Asic(AsicEffect::AskObjects { job: *job, oids: departed.oids.clone() }));
            }
        }
    }

    /// Which of a job's ports still have an object that is in no table of ports.
    pub(super) fn departed_seen(&mut self, sequence: u64, held: Result<Vec<String>, String>, turn: &mut Turn) {
        let Some(departed) = self.departed.get(&sequence) else { return };
        let (over, key) = (turn.now.mono >= departed.until, departed.key.clone());
        match held {
            Ok(held) if held.is_empty() => drop(self.departed.remove(&sequence)),
            Ok(held) if over => {
                self.departed.remove(&sequence);
                let ports = held.join(", ");
                let message = format!(
                    "{ports}: ASIC_DB still has its object {} s after it was removed from PORT; if syslog of orchagent says that it cannot be removed, a restart of the swss service frees it, which interrupts traffic",
                    DEPARTED_AFTER.as_secs()
                );
                turn.effects.push(Effect::log(format!("job {key}: {message}")));
                if let Some(status) = self.finished.status_mut(&key, sequence) {
                    status.warnings.insert(Warning::LeftBound);
                    status.add(&message);
                    self.jobs.note_change(&key);
                }
            }
            Err(error) if over => {
                self.departed.remove(&sequence);
                let line = format!("job {key}: ASIC_DB could not be asked for the ports that were removed: {error}");
                turn.effects.push(Effect::log(line));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// The next look, the last of which is at `until`; one that is not answered is repeated.
fn last_at(next: Duration, until: Duration, now: Duration) -> Duration {
    if now < until { next.min(until) } else { next }
}

/// What is said if a sampler that the session needs is somebody else's; `None` if ASIC_DB does not show that.
fn sampler_taken(view: &View, mirror: &MirrorPlan) -> Option<String> {
    let ours = view.bound_to(&mirror.target)?;
    let is_ours = |port: &str, direction| ours.iter().any(|bound| bound.port == port && bound.direction == direction);
    let wanted = mirror.sessions.iter().flat_map(|session| {
        let each = move |port| session.direction.each().iter().map(move |direction| (session, port, *direction));
        session.sources.iter().flat_map(each)
    });
    wanted.filter(|(_, port, direction)| !is_ours(port, *direction)).find_map(|(session, port, direction)| {
        let sampler = view.samplers.get(&(port.clone(), direction))?;
        Some(format!(
            "orchagent left mirror session {} inactive: ASIC_DB shows that the {direction} sampler of {port} is taken by {sampler}, of sFlow or of another sampled mirror; end that, or leave mirror_sample_rate and mirror_truncate out",
            session.name
        ))
    })
}

impl Job {
    /// Asks ASIC_DB for the ports of this job, whose id is `id`; `None` without sessions.
    pub(super) fn ask(&self, id: &JobId) -> Option<Effect> {
        Some(Effect::Asic(AsicEffect::Ask { id: id.clone(), question: self.question()? }))
    }

    fn question(&self) -> Option<Question> {
        let plan = self.plan.as_ref()?;
        let mirror = plan.mirror()?;
        // Those that it had before its port channels changed are looked at, too.
        let mut ports = mirror.sources();
        ports.extend(self.oids.keys().filter(|port| Some(port.as_str()) != mirror.port()).cloned());
        let known = |port: &String| (port.clone(), self.oids.get(port).cloned());
        Some(Question {
            ports: ports.iter().map(known).collect(),
            target: mirror.target.clone(),
            sampled: mirror.is_sampled(),
        })
    }
}
