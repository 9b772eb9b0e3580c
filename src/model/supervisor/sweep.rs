//! The book of the sessions of ours that no job owns: when the switch is looked at for them, and when each is deleted again.
//!
//! A deletion that orchagent does not act on changes nothing, so repeating it is no use soon: each session has a back-off of its own,
//! which goes with it. What we write here comes back as an event; an event about a session that is in the book, or that a job owns,
//! therefore asks for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::retry::Retry;
use super::{Effect, Now, ProvisionEffect, SURVEY_TIMEOUT, SWEEP_INTERVAL, SessionState, Supervisor, Turn};
use crate::model::schema::SESSION_PREFIX;
use crate::model::world::World;

/// Sessions in the book at the most; of those beyond it, the next look finds as many as have a place then.
pub const ORPHANS_MAX: usize = 256;
/// Deletions that may be asked for at once: after a start, those of the earlier daemon's jobs.
const BURST: u32 = 16;
/// Between two deletions when there are more.
const PACE: Duration = Duration::from_millis(250);
/// Between two looks at the switch, however many events ask for one.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between two log lines about one session.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A session of ours that no job owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// CONFIG_DB has its row.
    pub in_config: bool,
    /// STATE_DB has its row: orchagent has, or had, the session.
    pub in_state: bool,
    /// When it was first seen.
    pub since: Duration,
    /// How often its deletion has been asked for.
    pub deletions: u32,
    /// How often it has, and when first, since it was last withheld: orchagent has had as long to act on it.
    pub tried: Option<(Duration, u32)>,
    /// Why its row was not deleted when that was tried last.
    withheld: Option<String>,
    /// When it is asked for next.
    next: Duration,
    said: Option<Duration>,
}

/// The book, and when to look for more.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    orphans: BTreeMap<String, Orphan>,
    look: Look,
    /// Deletions that may be asked for at once, as of `filled`.
    tokens: u32,
    filled: Duration,
}

/// When the switch is looked at: at most one look is under way, and one more is remembered.
#[derive(Clone, Debug)]
struct Look {
    /// Not before then, and then in any case.
    due: Duration,
    /// Since when one has been under way.
    asked: Option<Duration>,
    /// When the latest one was asked for.
    latest: Option<Duration>,
    failures: u32,
}

impl Sweep {
    pub(super) fn new(now: Duration) -> Sweep {
        let look = Look { due: now, asked: None, latest: None, failures: 0 };
        Sweep { orphans: BTreeMap::new(), look, tokens: BURST, filled: now }
    }

    /// What is known of a session of ours that no job owns.
    #[must_use]
    pub(super) fn orphan(&self, session: &str) -> Option<&Orphan> {
        self.orphans.get(session)
    }

    /// Something may have changed: a look soon.
    pub(super) fn want_look(&mut self, now: Duration) {
        let soonest = self.look.latest.map_or(now, |latest| latest + LOOK_INTERVAL).max(now);
        if self.look.failures == 0 {
            self.look.due = self.look.due.min(soonest);
        }
    }

    /// The session stays for a reason that is not orchagent's.
    pub(super) fn forget(&mut self, session: &str) {
        self.orphans.remove(session);
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Duration {
        let look = match self.look.asked {
            Some(asked) => asked + SURVEY_TIMEOUT,
            None => self.look.due,
        };
        if self.look.asked.is_some() {
            return look;
        }
        let deletion = self.orphans.values().map(|orphan| orphan.next).min();
        let allowed = if self.tokens > 0 { Duration::ZERO } else { self.filled + PACE };
        deletion.map_or(look, |deletion| look.min(deletion.max(allowed)))
    }

    /// Whether it is time to look.
    fn begin_look(&mut self, now: Duration) -> bool {
        let due = match self.look.asked {
            Some(asked) => asked + SURVEY_TIMEOUT <= now,
            None => self.look.due <= now,
        };
        if due {
            let failures = self.look.failures;
            self.look = Look { due: now + SWEEP_INTERVAL, asked: Some(now), latest: Some(now), failures };
        }
        due
    }

    fn look_failed(&mut self, now: Duration) {
        self.look.asked = None;
        self.look.due = Retry::REDIS.at(&mut self.look.failures, now);
    }

    /// What a look found. Who is not among it is gone, and its back-off with it.
    fn looked(&mut self, present: BTreeMap<&str, (bool, bool)>, now: Duration) {
        self.look.asked = None;
        self.look.failures = 0;
        self.orphans.retain(|session, _| present.contains_key(session.as_str()));
        for (session, (in_config, in_state)) in present {
            if let Some(orphan) = self.orphans.get_mut(session) {
                (orphan.in_config, orphan.in_state) = (in_config, in_state);
            } else if self.orphans.len() < ORPHANS_MAX {
                let orphan = Orphan {
                    in_config,
                    in_state,
                    since: now,
                    deletions: 0,
                    tried: None,
                    withheld: None,
                    next: now,
                    said: None,
                };
                self.orphans.insert(session.to_owned(), orphan);
            }
        }
    }

    /// A row of a session that no job owns is there now, or is not.
    fn noted(&mut self, session: &str, place: Place, present: bool, now: Duration) {
        let Some(orphan) = self.orphans.get_mut(session) else {
            // A book with more than is deleted until the next look at its time has no use for another one.
            if present && self.orphans.len() < ORPHANS_MAX / 2 {
                self.want_look(now);
            }
            return;
        };
        match place {
            Place::Config => {
                orphan.in_config = present;
                orphan.withheld = orphan.withheld.take().filter(|_| present);
            }
            Place::State => orphan.in_state = present,
        }
        if !orphan.in_config && !orphan.in_state {
            // Of those that had no place, the next look at its time finds as many as have one: to look for each would be to
            // follow our own deletions.
            self.orphans.remove(session);
        }
    }

    /// The sessions whose deletion is due, as many as may be asked for.
    fn due(&mut self, now: Duration) -> Vec<String> {
        if self.look.asked.is_some() {
            // What was seen a moment ago may not be so any more, and the answer is on its way.
            return Vec::new();
        }
        let steps = now.saturating_sub(self.filled).as_millis() / PACE.as_millis();
        let steps = u32::try_from(steps).unwrap_or(BURST);
        self.filled = if self.tokens.saturating_add(steps) >= BURST { now } else { self.filled + PACE * steps };
        self.tokens = self.tokens.saturating_add(steps).min(BURST);
        let mut due: Vec<(Duration, String)> = self
            .orphans
            .iter()
            .filter(|(_, orphan)| orphan.next <= now)
            .map(|(session, orphan)| (orphan.next, session.clone()))
            .collect();
        due.sort();
        due.truncate(self.tokens as usize);
        due.into_iter().map(|(_, session)| session).collect()
    }

    /// A deletion is asked for; the line to say of it, if it is time for one.
    fn asked_for(&mut self, session: &str, now: Duration) -> Option<String> {
        let orphan = self.orphans.get_mut(session)?;
        self.tokens = self.tokens.saturating_sub(1);
        let before = orphan.deletions;
        orphan.next = Retry::ORPHAN.at(&mut orphan.deletions, now);
        orphan.tried = Some(orphan.tried.map_or((now, 1), |(first, times)| (first, times.saturating_add(1))));
        if orphan.said.is_some_and(|said| now < said + SAY_AGAIN) {
            return None;
        }
        orphan.said = Some(now);
        let since = now.saturating_sub(orphan.since).as_secs();
        Some(if before == 0 {
            format!("mirror session {session} belongs to no job and is to be deleted")
        } else {
            let table = if orphan.in_state { "STATE_DB" } else { "CONFIG_DB" };
            format!(
                "mirror session {session} belongs to no job and is still in {table}, {since} s after it was first deleted and after {before} attempts; trying again every {} s",
                Retry::ORPHAN.longest.as_secs()
            )
        })
    }
}

/// Where a session has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Config,
    State,
}

impl Supervisor {
    /// What is known of a session of ours that no job owns; `None` for any other.
    #[must_use]
    pub fn orphan(&self, session: &str) -> Option<&Orphan> {
        self.sweep.orphan(session)
    }

    /// One of them was not deleted, because that might harm somebody else's. Said once for each reason.
    pub(super) fn withheld(&mut self, session: &str, why: &str, turn: &mut Turn) {
        let Some(orphan) = self.sweep.orphans.get_mut(session) else { return };
        orphan.tried = None;
        if orphan.withheld.as_deref() != Some(why) {
            orphan.withheld = Some(why.to_owned());
            turn.effects.push(Effect::log(format!("mirror session {session} is not deleted yet: {why}")));
        }
    }

    /// The sessions that are not deleted yet because that might harm somebody else's, each with the reason.
    pub(super) fn withheld_reasons(&self) -> impl Iterator<Item = (String, String)> {
        let held = self.sweep.orphans.iter().filter(|(_, orphan)| orphan.in_config);
        held.filter_map(|(session, orphan)| {
            let why = orphan.withheld.as_ref()?;
            Some((session.clone(), format!("{session} is not deleted yet: {why}")))
        })
    }

    /// Takes the sessions of ours that no job owns, and that may go, into the book.
    pub(super) fn note_orphans(&mut self, orphans: &[String], world: &World, now: Now) {
        let places = |session: &String| (world.sessions.contains_key(session), world.known_states.contains(session));
        let present = orphans.iter().map(|session| (session.as_str(), places(session))).collect();
        self.sweep.looked(present, now.mono);
    }

    /// A row of CONFIG_DB `MIRROR_SESSION` was written or deleted, by whomever.
    pub(super) fn session_row(&mut self, session: &str, present: bool, now: Now) {
        if !session.starts_with(SESSION_PREFIX) {
            self.stuck.others_changed();
            return self.sweep.want_look(now.mono);
        }
        // A job knows of its own session from STATE_DB, and what it writes itself is no news.
        if self.owner(session).is_none() {
            self.sweep.noted(session, Place::Config, present, now.mono);
        }
    }

    /// orchagent's word on a session of ours, for the book.
    pub(super) fn session_word(&mut self, session: &str, state: SessionState, now: Now) {
        if self.owner(session).is_none() {
            self.kept_word(session, state, now);
            self.sweep.noted(session, Place::State, state != SessionState::Absent, now.mono);
        }
    }

    pub(super) fn sessions_unlisted(&mut self, error: &str, turn: &mut Turn) {
        self.sweep.look_failed(turn.now.mono);
        turn.effects.push(Effect::log(format!("mirror sessions cannot be listed now, trying again: {error}")));
    }

    /// Deletions that are due, and the look for more.
    pub(super) fn run_sweep(&mut self, turn: &mut Turn) {
        for session in self.sweep.due(turn.now.mono) {
            if self.owner(&session).is_some() {
                // A job took the name since.
                self.sweep.orphans.remove(&session);
                continue;
            }
            let line = self.sweep.asked_for(&session, turn.now.mono);
            turn.effects.push(Effect::Provision(ProvisionEffect::RemoveOrphan { session }));
            turn.effects.extend(line.map(Effect::log));
        }
        self.look_at_stuck(turn);
        if self.sweep.begin_look(turn.now.mono) {
            turn.effects.push(Effect::ReadSwitch { job: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_deletion_asks_for_no_look_however_many_sessions_had_no_place_in_the_book() {
        let now = Duration::from_secs(100);
        let names: Vec<String> = (0..2 * ORPHANS_MAX).map(|number| format!("telegen_f{number:04}")).collect();
        let mut sweep = Sweep::new(Duration::ZERO);
        assert!(sweep.begin_look(now));
        sweep.looked(names.iter().map(|name| (name.as_str(), (true, false))).collect(), now);
        let due = sweep.look.due;
        assert!(due > now);
        for name in names.iter().take(ORPHANS_MAX / 2) {
            sweep.noted(name, Place::Config, false, now);
        }
        sweep.noted("telegen_late", Place::State, true, now);
        assert_eq!((sweep.orphans.len(), sweep.look.due), (ORPHANS_MAX / 2, due));
        for name in names.iter().take(ORPHANS_MAX) {
            sweep.noted(name, Place::Config, false, now);
        }
        assert_eq!((sweep.orphans.len(), sweep.look.due), (0, due));
        sweep.noted("telegen_late", Place::State, true, now);
        assert!(sweep.look.due < due, "there is room for it");
    }
}
