//! Sessions of ours that stay although no job wants them, because deleting one would unbind somebody else's.
//!
//! Two sessions on a port and direction: orchagent binds the port to the later one, and the deletion of *either* unbinds the port, while
//! STATE_DB goes on to call the other one active (observed fact 5). So ours is kept until theirs is gone; nothing of theirs is written.

use std::collections::BTreeMap;

use super::{Effect, Now, Supervisor};
use crate::model::admission::{self, Intruder, MirrorPlan, over};
use crate::model::schema::{Reason, SESSION_PREFIX};
use crate::model::status::Ending;
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
        kept.chain(self.stuck_reasons()).collect()
    }

    /// Ends the jobs that a session of somebody else came over.
    pub(super) fn intruders(&mut self, world: &World, now: Now, effects: &mut Vec<Effect>) {
        let foreign = foreign(world);
        let intruded: Vec<(String, MirrorPlan, Intruder)> = self
            .jobs
            .holders()
            .filter_map(|(key, job)| {
                let mirror = job.live_mirror()?;
                Some((key.clone(), mirror.clone(), admission::intruder(mirror, &foreign, world)?))
            })
            .collect();
        for (key, mirror, intruder) in intruded {
            let message = match &intruder {
                Intruder::OverOurs { session, port } => format!(
                    "mirror session {session} was added over this job's and has {port} now; {} stays until {session} is removed, since deleting it would unbind {port} from {session}, too. Its owner need do nothing. telegen-sonic drain deletes ours at once; then the owner of {session} must remove it and add it again",
                    mirror.words()
                ),
                Intruder::OnOurPort { session, port } => format!(
                    "mirror session {session} was added, which uses {port} of this job's session; give {session} another port, or observe another one"
                ),
                Intruder::InOurTunnel { session } => format!(
                    "mirror session {session} was added with the src_ip and dst_ip of this job's session, so that nobody can tell their copies apart; take src_ip out of erspan_src_ip, or give {session} another one"
                ),
            };
            if let Intruder::OverOurs { session, .. } = &intruder {
                self.keep(&key, &mirror, session);
            }
            self.end(&key, Ending::failed(Reason::MirrorConflict, message), now, effects);
        }
    }

    /// From now on the job's sessions are nobody's, and stay.
    fn keep(&mut self, key: &str, mirror: &MirrorPlan, theirs: &str) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.kept = true;
            self.kept.extend(mirror.names().map(|name| (name.to_owned(), theirs.to_owned())));
        }
    }

    /// Goes through the sessions that no job owns: which are kept, and which may go. An earlier daemon's can lie under somebody's, too.
    pub(super) fn sort_orphans(
        &mut self,
        orphans: Vec<String>,
        world: &World,
        effects: &mut Vec<Effect>,
    ) -> Vec<String> {
        let foreign = foreign(world);
        let under = |name: &String| {
            let ours = BTreeMap::from([(name.clone(), world.sessions.get(name)?.clone())]);
            over(&ours, &foreign, world)
        };
        let (mut go, mut kept) = (Vec::new(), BTreeMap::new());
        for name in orphans {
            match under(&name) {
                Some((theirs, port)) => {
                    if !self.kept.contains_key(&name) {
                        let line = format!(
                            "mirror session {name} is kept: {theirs} was added over it and has {port} now, and deleting {name} would unbind it from {theirs}, too; it goes when {theirs} is removed, or with telegen-sonic drain"
                        );
                        effects.push(Effect::Log { line });
                    }
                    kept.insert(name, theirs);
                }
                None => go.push(name),
            }
        }
        self.kept = kept;
        go
    }
}

/// The sessions of others.
fn foreign(world: &World) -> BTreeMap<String, Session> {
    let others = world.sessions.iter().filter(|(name, _)| !name.starts_with(SESSION_PREFIX));
    others.map(|(name, session)| (name.clone(), session.clone())).collect()
}
