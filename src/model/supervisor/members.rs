//! What a running job does when the members of its port channels change, or a port of its is removed.
//!
//! Its sessions name member ports, so orchagent follows nothing. A change makes the sessions anew: deleted, their end confirmed, then
//! written whole, because orchagent ignores a row that changes (observed fact M7). The feed stays; the time without copies is a gap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Deleted, Effect, Job, Phase, SESSION_TIMEOUT, SessionState, Supervisor, Turn};
use crate::model::admission::{self, Followed, Plan};
use crate::model::job::JobId;
use crate::model::provision::Provision;
use crate::model::schema::{Reason, Warning};
use crate::model::status::Ending;
use crate::model::world::{Session, World};

/// A job's sessions are made anew not more often than this: copies are missing each time.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);
/// How often a job's sessions are made anew; after that, its coverage would say little.
pub const RENEWALS_MAX: u32 = 5;

/// How a job has followed its port channels so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Renewals {
    /// How often it was begun to make its sessions anew.
    pub(super) count: u32,
    /// How often that came to an end.
    done: u32,
    /// When that began last.
    last: Option<Duration>,
    /// A change was seen that may be followed only then.
    pub(super) look_at: Option<Duration>,
}

impl Renewals {
    /// When the next change may be followed.
    fn next(&self) -> Option<Duration> {
        self.last.map(|last| last + RENEWAL_INTERVAL)
    }
}

/// How far the new sessions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The old ones are being deleted.
    Deleting { deleted: Deleted, deadline: Duration },
    /// The new ones have been asked for.
    Adding { deadline: Duration },
}

impl Renewal {
    /// When time alone moves it on.
    pub(super) fn deadline(&self) -> Duration {
        match self {
            Renewal::Deleting { deleted: Deleted::RetryAt(at), deadline } => (*at).min(*deadline),
            Renewal::Deleting { deadline, .. } | Renewal::Adding { deadline } => *deadline,
        }
    }
}

impl Supervisor {
    /// Compares every job's sessions with the switch.
    pub(super) fn follow_ports(&mut self, world: &World, turn: &mut Turn) {
        let sessions = world.sessions.clone().into_iter().chain(self.stuck_sessions(world));
        let all: BTreeMap<String, Session> = sessions.chain(self.taken_sessions()).collect();
        let keys: Vec<String> =
            self.jobs.holders().filter(|(_, job)| job.live_provision().is_some()).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(followed) = self.followed(&key, world, &all) else { continue };
            self.follow(&key, followed, turn);
        }
    }

    fn followed(&self, key: &str, world: &World, all: &BTreeMap<String, Session>) -> Option<Followed> {
        let (job, id) = (self.jobs.get(key)?, JobId::parse(key).ok()?);
        let (spec, plan) = (job.spec.as_ref()?, job.plan.as_ref()?);
        let mut others = all.clone();
        others.retain(|name, _| JobId::of_session(name).as_ref() != Some(&id));
        Some(admission::follow(&id, spec, plan, world, &job.settings, &others))
    }

    fn follow(&mut self, key: &str, followed: Followed, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let running = matches!(job.phase, Phase::Running { .. });
        match followed {
            Followed::Same => job.renewals.look_at = None,
            Followed::PortsGone { ports } => {
                self.watch_departed(key, &ports, turn.now);
                let names = ports.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let were = if ports.len() == 1 { "was" } else { "were" };
                let message = format!(
                    "{names} {were} removed from PORT while the job ran; end jobs before a port is removed or broken out, with telegen-sonic drain PORT"
                );
                self.end(key, Ending::failed(Reason::MirrorLost, message), turn);
            }
            // A job that does not run yet looks again when it does, one whose sessions are made anew when it may follow again.
            Followed::Changed(_) | Followed::Refused { .. } if !running => {
                job.renewals.look_at = job.renewals.next();
            }
            Followed::Refused { why } => {
                let message = format!("the members of the job's port channel changed, and {why}");
                self.end(key, Ending::failed(Reason::MirrorLost, message), turn);
            }
            Followed::Changed(_) if job.renewals.count >= RENEWALS_MAX => {
                let message = format!(
                    "the members of the job's port channel changed more than {RENEWALS_MAX} times; each time copies are missing"
                );
                self.end(key, Ending::failed(Reason::MirrorLost, message), turn);
            }
            Followed::Changed(plan) => match job.renewals.next().filter(|next| turn.now.mono < *next) {
                Some(next) => job.renewals.look_at = Some(next),
                None => self.renew(key, *plan, turn),
            },
        }
    }

    /// Begins to make the sessions anew.
    fn renew(&mut self, key: &str, new: Plan, turn: &mut Turn) {
        if self.stuck_look_runs(turn.now) {
            // The ports of a session that is being freed may be unbound at any moment. The look that follows it finds the change again.
            return;
        }
        let (Some(job), Ok(id)) = (self.jobs.get_mut(key), JobId::parse(key)) else { return };
        let Phase::Running { spec, plan: old, ends, missing } = &job.phase else { return };
        let Some(provision) = old.provision.clone() else { return };
        let since = missing.map_or(turn.now.mono, |missing| missing.since);
        let Renewals { count, done, .. } = job.renewals;
        job.renewals = Renewals { count: count + 1, done, last: Some(turn.now.mono), look_at: None };
        turn.effects.push(Effect::release(id, provision));
        job.failures = 0;
        let step = Renewal::Deleting { deleted: Deleted::Asked, deadline: turn.now.mono + SESSION_TIMEOUT };
        job.phase = Phase::Renewing {
            spec: Arc::clone(spec),
            old: Arc::clone(old),
            new: Arc::new(new),
            ends: *ends,
            since,
            step,
        };
    }

    /// The states of the sessions changed, or the old ones' rows are gone.
    pub(super) fn renewal_moves(&mut self, key: &str, turn: &mut Turn) {
        let (Some(job), Ok(id)) = (self.jobs.get_mut(key), JobId::parse(key)) else { return };
        let Phase::Renewing { new, spec, ends, since, step, .. } = &mut job.phase else { return };
        let Some(provision) = new.provision.clone() else { return };
        match step {
            Renewal::Deleting { deleted: Deleted::Done, .. } if job.states.all_gone() => {
                *step = Renewal::Adding { deadline: turn.now.mono + SESSION_TIMEOUT };
                job.plan = Some(Arc::clone(new));
                turn.effects.push(Effect::provision(id, provision));
            }
            Renewal::Adding { .. } if job.states.worst(&provision) == SessionState::Active => {
                job.gap += turn.now.mono.saturating_sub(*since);
                job.renewals.done += 1;
                job.warnings.extend(new.warnings.iter().copied());
                let (spec, plan, ends) = (Arc::clone(spec), Arc::clone(new), *ends);
                job.phase = Phase::Running { spec, plan, ends, missing: None };
                // Of new members, too, the objects are known only while they are in a table.
                turn.effects.extend(job.ask(&id));
            }
            Renewal::Deleting { .. } | Renewal::Adding { .. } => {}
        }
    }

    /// The step's deadline has passed, or a deletion may be tried again.
    pub(super) fn renewal_due(&mut self, key: &str, turn: &mut Turn) {
        let (Some(job), Ok(id)) = (self.jobs.get_mut(key), JobId::parse(key)) else { return };
        let Phase::Renewing { old, new, step, .. } = &mut job.phase else { return };
        let ending = match step {
            Renewal::Deleting { deleted, deadline } if *deadline <= turn.now.mono => {
                job.warnings.insert(Warning::SessionUnconfirmed);
                not_renewed(old.provision.as_ref(), deleted.what_is_missing(), job.undeleted.as_deref())
            }
            Renewal::Deleting { deleted, .. } => {
                *deleted = Deleted::Asked;
                turn.effects.extend(old.provision.clone().map(|provision| Effect::release(id, provision)));
                return;
            }
            Renewal::Adding { .. } => not_renewed(new.provision.as_ref(), "orchagent did not make active", None),
        };
        self.end(key, ending, turn);
    }
}

fn not_renewed(provision: Option<&Provision>, what: &str, why: Option<&str>) -> Ending {
    let words = provision.map(Provision::words).unwrap_or_default();
    let message = format!(
        "the members of the job's port channel changed, and {what} {words} within {} s{}; see syslog",
        SESSION_TIMEOUT.as_secs(),
        why.map(|why| format!(": {why}")).unwrap_or_default()
    );
    Ending::failed(Reason::MirrorLost, message)
}

impl Job {
    /// What there is to say of the changes that were followed.
    pub(super) fn followed(&self) -> Option<String> {
        let count = self.renewals.done;
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        (count > 0).then(|| {
            format!("the members of the job's port channel changed, and its mirror session was made anew {times}")
        })
    }
}
