//! Sessions of ours that stay although no job wants them, because deleting one would unbind somebody else's.
//!
//! Whether that is so is read in ASIC_DB at once before each deletion (`model::overtaken`, `io::mirror`); here it is remembered and said.
//! Nothing of theirs is written.

use std::collections::BTreeMap;

use super::{Effect, Now, Phase, SessionState, Supervisor, Turn};
use crate::model::admission::{self, Intruder, over};
use crate::model::provision::Provision;
use crate::model::schema::Reason;
use crate::model::status::Ending;
use crate::model::value::without_controls;
use crate::model::world::{Session, World};

impl Supervisor {
    /// The sessions that are kept, each with the session for whose sake.
    #[cfg(test)]
    pub(super) fn kept(&self) -> &BTreeMap<String, String> {
        &self.kept
    }

    /// The sessions of ours that stay although no job wants them, each with a sentence that says why.
    #[must_use]
    pub fn held_sessions(&self) -> BTreeMap<String, String> {
        let kept = self.kept.iter().map(|(session, theirs)| {
            let why =
                format!("{session} stays until {theirs} is removed: deleting it would unbind a port from {theirs}");
            (session.clone(), why)
        });
        let held = kept.chain(self.withheld_reasons()).chain(self.stuck_reasons());
        // A reason may name what somebody else called so.
        held.map(|(session, why)| (session, without_controls(why.chars()))).collect()
    }

    /// Ends the jobs that a session of somebody else came over.
    pub(super) fn intruders(&mut self, world: &World, turn: &mut Turn) {
        let foreign = world.foreign();
        let intruded: Vec<(String, Intruder)> = self
            .jobs
            .holders()
            .filter_map(|(key, job)| {
                let Provision::Mirror(mirror) = job.live_provision()?;
                Some((key.clone(), admission::intruder(mirror, &foreign, world)?))
            })
            .collect();
        for (key, intruder) in intruded {
            let message = match intruder {
                Intruder::OverOurs { session, port } => format!(
                    "mirror session {session} copies {port} now, in the direction of this job's session; orchagent gives a port to one session in each direction"
                ),
                Intruder::OnOurPort { session, port } => format!(
                    "mirror session {session} uses {port} now, of this job's session; give {session} another port, or observe another one"
                ),
                Intruder::InOurTunnel { session } => format!(
                    "mirror session {session} has the src_ip and dst_ip of this job's session, so that nobody can tell their copies apart; take src_ip out of erspan_src_ip, or give {session} another one"
                ),
            };
            self.end(&key, Ending::failed(Reason::MirrorConflict, message), turn);
        }
    }

    /// What ASIC_DB showed when a session of ours was to be deleted.
    pub(super) fn overtaken(&mut self, session: &str, theirs: &str, port: &str, kept: bool, turn: &mut Turn) {
        let message = if kept {
            format!(
                "{session} stays until {theirs} is removed: ASIC_DB shows {port} bound to {theirs}, and deleting {session} would unbind it. The owner of {theirs} need do nothing. telegen-sonic drain deletes {session} at once; then {theirs} must be removed and added again"
            )
        } else {
            format!(
                "{session} was deleted, and ASIC_DB showed {port} not bound to {theirs}: its owner must remove {theirs} and add it again, if it is to copy {port}"
            )
        };
        if kept {
            self.kept.insert(session.to_owned(), theirs.to_owned());
            self.sweep.forget(session);
        }
        match self.owner(session) {
            Some(key) => self.job_overtaken(&key, &message, kept, turn),
            None => turn.effects.push(Effect::log(format!("mirror session {message}"))),
        }
    }

    fn job_overtaken(&mut self, key: &str, message: &str, kept: bool, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.kept |= kept;
        match &mut job.phase {
            Phase::Releasing { ending, .. } => {
                ending.add(message);
                if kept {
                    self.provision_gone(key, turn);
                }
            }
            Phase::Closing { ending } | Phase::Looking { ending, .. } => ending.add(message),
            Phase::Renewing { .. } if kept => {
                self.end(key, Ending::failed(Reason::MirrorConflict, message), turn);
            }
            Phase::Renewing { .. } => message.clone_into(&mut job.note),
            Phase::Settling { .. }
            | Phase::Surveying { .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => {}
        }
    }

    /// Goes through the sessions that no job owns: which are kept still, and which may go.
    pub(super) fn sort_orphans(&mut self, orphans: Vec<String>, world: &World) -> Vec<String> {
        let foreign = world.foreign();
        let lies_over = |theirs: &String, name: &String| {
            let (ours, theirs) = (world.sessions.get_key_value(name)?, foreign.get_key_value(theirs)?);
            let alone = |(name, row): (&String, &Session)| BTreeMap::from([(name.clone(), row.clone())]);
            over(&alone(ours), &alone(theirs), world)
        };
        // If only another one lies over it now, ASIC_DB is asked again which of them has the port.
        self.kept.retain(|name, theirs| lies_over(theirs, name).is_some());
        orphans.into_iter().filter(|name| !self.kept.contains_key(name)).collect()
    }

    /// A kept session of which orchagent does not say any more that it is active is judged anew at once: after a restart of swss it could
    /// take the port from theirs.
    pub(super) fn kept_word(&mut self, session: &str, state: SessionState, now: Now) {
        if state != SessionState::Active && self.kept.remove(session).is_some() {
            self.sweep.want_look(now.mono);
        }
    }
}
