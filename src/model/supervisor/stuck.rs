//! Sessions of ours that orchagent does not remove: when one is looked into, and what is said of it.
//!
//! What a row said before it was deleted stands in no table afterwards, so it is remembered here. `model::stuck` judges, `io::unbind`
//! carries that out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sweep::Orphan;
use super::{AsicEffect, Effect, Job, Now, Supervisor, Turn};
use crate::model::provision::mirror::MirrorTarget;
use crate::model::schema::UNBIND_SESSION;
use crate::model::world::{Session, World};

/// How long orchagent has before a session is looked into.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// How often its deletion must have been asked for by then.
const DELETIONS: u32 = 2;
/// Between two looks into one session; the time doubles …
const AGAIN: Duration = Duration::from_secs(60);
/// … up to this.
const AGAIN_LONGEST: Duration = Duration::from_secs(600);
/// Between two looks if somebody else's session changed in between: that may be what was in the way.
const AGAIN_SOONEST: Duration = Duration::from_secs(10);
/// How long a look and a cure may take: it counts as failed then, and the next one may begin.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Sessions that are remembered at the most.
const TRACES_MAX: usize = 64;

/// What became of a look into a stuck session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freed {
    /// Ports were unbound from it, and orchagent removed it: in words, which.
    Done(String),
    /// It stays, for this reason.
    Left(String),
}

/// A session's row, as it was.
#[derive(Clone, Debug)]
struct Trace {
    row: Session,
    /// When it was looked into last.
    last: Duration,
    next: Duration,
    wait: Duration,
    /// What was said last, so that it is said once.
    said: String,
}

/// All that is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck {
    traces: BTreeMap<String, Trace>,
    /// The look that is under way, and until when it is waited for.
    looking: Option<(String, Duration)>,
}

impl Stuck {
    fn remember(&mut self, session: &str, row: &Session) {
        if self.traces.len() < TRACES_MAX && !self.traces.contains_key(session) {
            let trace = Trace {
                row: row.clone(),
                last: Duration::ZERO,
                next: Duration::ZERO,
                wait: AGAIN,
                said: String::new(),
            };
            self.traces.insert(session.to_owned(), trace);
        }
    }

    /// A session of somebody else came or went.
    pub(super) fn others_changed(&mut self) {
        for trace in self.traces.values_mut() {
            trace.next = trace.next.min(trace.last + AGAIN_SOONEST);
        }
    }
}

impl Supervisor {
    /// Whether a session is being looked into, and perhaps freed, right now.
    pub(super) fn stuck_look_runs(&self, now: Now) -> bool {
        self.stuck.looking.as_ref().is_some_and(|(_, until)| now.mono < *until)
    }

    /// Whether this is the session with which another one is being freed: nobody owns it, and it is not swept meanwhile.
    pub(super) fn is_cure(&self, session: &str) -> bool {
        session == UNBIND_SESSION && self.stuck.looking.is_some()
    }

    /// The sessions that were looked into and could not be freed, each with what was found.
    pub(super) fn stuck_reasons(&self) -> impl Iterator<Item = (String, String)> {
        let traces = self.stuck.traces.iter().filter(|(session, trace)| {
            !trace.said.is_empty() && self.orphan(session).is_some_and(|orphan| orphan.in_state)
        });
        traces.map(|(session, trace)| (session.clone(), trace.said.clone()))
    }

    /// Remembers the rows of sessions that no job owns, before they are deleted; and forgets those that are gone.
    pub(super) fn trace_orphans(&mut self, orphans: &[String], world: &World) {
        let owned = self.taken_sessions();
        self.stuck.traces.retain(|session, _| orphans.contains(session) || owned.contains_key(session));
        for session in orphans {
            if let Some(row) = world.sessions.get(session) {
                self.stuck.remember(session, row);
            }
        }
    }

    /// Remembers the sessions of a job whose removal was not confirmed.
    pub(super) fn trace_job(&mut self, key: &str) {
        let sessions = self.jobs.get(key).map(Job::taken_sessions).unwrap_or_default();
        for (session, row) in sessions {
            self.stuck.remember(&session, &row);
        }
    }

    /// The rows of sessions that are gone from CONFIG_DB and that orchagent still has: their ports and destinations are not free.
    pub(super) fn stuck_sessions(&self, world: &World) -> BTreeMap<String, Session> {
        let held = |session: &&String| world.known_states.contains(*session);
        let traces = self.stuck.traces.iter().filter(|(session, _)| held(session));
        traces.map(|(session, trace)| (session.clone(), trace.row.clone())).collect()
    }

    /// When a session is to be looked into next; `None` if none is stuck.
    pub(super) fn stuck_deadline(&self) -> Option<Duration> {
        if self.draining {
            return None;
        }
        let looks = self.stuck.traces.iter().filter_map(|(session, trace)| self.look_at(session, trace));
        let free = self.stuck.looking.as_ref().map_or(Duration::ZERO, |(_, until)| *until);
        looks.min().map(|look| look.max(free))
    }

    /// When this session is to be looked into; `None` unless its deletion has been asked for and orchagent has it still.
    fn look_at(&self, session: &str, trace: &Trace) -> Option<Duration> {
        let orphan = self.orphan(session).filter(|orphan: &&Orphan| orphan.in_state && !orphan.in_config)?;
        let (first, _) = orphan.tried.filter(|(_, times)| *times >= DELETIONS)?;
        Some(trace.next.max(first + STUCK_AFTER))
    }

    /// Looks into one session for which it is time; one at a time.
    pub(super) fn look_at_stuck(&mut self, turn: &mut Turn) {
        if self.stuck_deadline().is_none_or(|deadline| turn.now.mono < deadline) {
            return;
        }
        self.stuck.looking = None;
        let is_due =
            |session: &String, trace: &Trace| self.look_at(session, trace).is_some_and(|look| look <= turn.now.mono);
        let due = self.stuck.traces.iter().find(|(session, trace)| is_due(session, trace));
        let Some((session, row)) = due.map(|(session, trace)| (session.clone(), trace.row.clone())) else { return };
        if let Some(trace) = self.stuck.traces.get_mut(&session) {
            trace.last = turn.now.mono;
            trace.next = turn.now.mono + trace.wait;
            trace.wait = trace.wait.saturating_mul(2).min(AGAIN_LONGEST);
        }
        if let Some(target) = MirrorTarget::of(&row) {
            self.stuck.looking = Some((session.clone(), turn.now.mono + LOOK_TIMEOUT));
            turn.effects.push(Effect::Asic(AsicEffect::Free { session, row, target }));
        }
    }

    /// A look is over.
    pub(super) fn freed(&mut self, session: &str, result: Result<Freed, String>, turn: &mut Turn) {
        self.stuck.looking = None;
        let line = match result {
            Ok(Freed::Done(what)) => format!("mirror session {session} was stuck and is free: {what}"),
            Ok(Freed::Left(why)) => format!("mirror session {session} was deleted, and orchagent still has it: {why}"),
            Err(error) => format!("mirror session {session} is stuck and could not be looked into: {error}"),
        };
        if let Some(trace) = self.stuck.traces.get_mut(session).filter(|trace| trace.said != line) {
            trace.said.clone_from(&line);
            turn.effects.push(Effect::log(line));
        }
        // What was done to it may have freed it.
        self.sweep.want_look(turn.now.mono);
    }
}
