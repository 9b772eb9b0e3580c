//! The orchagent of the simulated switch: what it makes of the rows of MIRROR_SESSION, and how it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Pending, Random, Switch};
use crate::model::schema::SESSION_PREFIX;
use crate::model::supervisor::{Event, SessionState};

/// What orchagent does with new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orchagent {
    Works,
    Rejects,
    LeavesInactive,
    Dead,
}

impl Switch {
    pub(super) fn poke_orchagent(&mut self, name: &str, random: &mut Random) {
        let delay = if random.chance(10) { random.below(9_000) } else { 2 + random.below(10) };
        self.schedule(Duration::from_millis(delay), Pending::Orchagent(name.to_owned()));
    }

    pub(super) fn orchagent_looks(&mut self, name: &str) {
        if !self.is_alive() {
            return;
        }
        let wanted = self.configured.contains_key(name);
        let known = self.states.contains_key(name);
        let unresolved = !self.neighbour && self.configured.get(name).is_some_and(|session| session.outer.is_some());
        match (wanted, known, self.orchagent) {
            (true, false, Orchagent::Works) if unresolved => self.set_state(name, SessionState::Inactive),
            (true, false, Orchagent::Works) => self.set_state(name, SessionState::Active),
            (true, false, Orchagent::LeavesInactive) => self.set_state(name, SessionState::Inactive),
            (false, true, _) => {
                self.note_deletion(name);
                self.set_state(name, SessionState::Absent);
            }
            (true, true, _) | (false, false, _) | (true, false, Orchagent::Rejects | Orchagent::Dead) => {}
        }
    }

    /// orchagent takes what is written in its order: what came before this is done.
    pub(super) fn catch_up(&mut self) {
        let names: BTreeSet<String> = self.our_sessions().into_iter().chain(self.our_states()).collect();
        for name in names {
            self.orchagent_looks(&name);
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.orchagent != Orchagent::Dead
    }

    pub(super) fn set_state(&mut self, name: &str, state: SessionState) {
        match state {
            SessionState::Absent => self.states.remove(name),
            SessionState::Inactive | SessionState::Active => self.states.insert(name.to_owned(), state),
        };
        match (state, self.configured.get(name)) {
            (SessionState::Active, Some(session)) => self.asic.activate(name, session),
            (SessionState::Active, None) => {}
            (SessionState::Absent | SessionState::Inactive, _) => self.asic.deactivate(name),
        }
        if name.starts_with(SESSION_PREFIX) {
            self.outbox.push_back(Event::SessionState { session: name.to_owned(), state });
        }
    }

    pub(in super::super) fn break_orchagent(&mut self, random: &mut Random) {
        self.orchagent = random.pick(&[Orchagent::Rejects, Orchagent::LeavesInactive, Orchagent::Dead]);
        if random.chance(50) {
            let live: Vec<String> = self.states.keys().cloned().collect();
            if let Some(name) = random.pick_from(&live) {
                self.set_state(&name, SessionState::Inactive);
            }
        }
    }

    /// The neighbour goes, or comes back: so do the ERSPAN sessions, if orchagent lives.
    pub(in super::super) fn lose_neighbour(&mut self) {
        self.neighbour = !self.neighbour;
        if !self.is_alive() {
            return;
        }
        let state = if self.neighbour { SessionState::Active } else { SessionState::Inactive };
        let in_tunnel = |name: &&String| self.configured.get(*name).is_some_and(|session| session.outer.is_some());
        let names: Vec<String> = self.states.keys().filter(in_tunnel).cloned().collect();
        for name in names {
            self.set_state(&name, state);
        }
    }

    /// Everything works again; a resumed orchagent reads the current rows.
    pub(in super::super) fn heal(&mut self, random: &mut Random) {
        self.redis_up = true;
        self.orchagent = Orchagent::Works;
        if !self.neighbour {
            self.lose_neighbour();
        }
        // Those that are to go first, then those of others, then ours: in another order a deletion could cost somebody a port that was
        // asked for while nobody listened.
        for name in self.our_states().difference(&self.our_sessions()) {
            self.orchagent_looks(name);
        }
        for name in self.foreign_seen().into_keys() {
            self.orchagent_looks(&name);
        }
        let names: BTreeSet<String> = self.configured.keys().chain(self.states.keys()).cloned().collect();
        for name in names {
            self.poke_orchagent(&name, random);
        }
    }
}
