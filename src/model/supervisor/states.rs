//! orchagent's word on each of a job's sessions, and what the words add up to.

use std::collections::BTreeMap;

use super::SessionState;
use crate::model::provision::Provision;

/// The sessions of which STATE_DB has a row, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionStates(BTreeMap<String, SessionState>);

impl SessionStates {
    pub(super) fn set(&mut self, session: &str, state: SessionState) {
        match state {
            SessionState::Absent => self.0.remove(session),
            SessionState::Inactive | SessionState::Active => self.0.insert(session.to_owned(), state),
        };
    }

    fn of(&self, session: &str) -> SessionState {
        self.0.get(session).copied().unwrap_or(SessionState::Absent)
    }

    /// The worst word on any of the sessions: copies are whole only while all are active.
    pub(super) fn worst(&self, provision: &Provision) -> SessionState {
        provision.names().map(|name| self.of(name)).min().unwrap_or(SessionState::Absent)
    }

    /// The first session of which this is the word.
    pub(super) fn first<'a>(&self, provision: &'a Provision, state: SessionState) -> Option<&'a str> {
        provision.names().find(|name| self.of(name) == state)
    }

    /// The sessions of which this is the word, with commas between; empty if there are none.
    pub(super) fn listed(&self, provision: &Provision, state: SessionState) -> String {
        provision.names().filter(|name| self.of(name) == state).collect::<Vec<_>>().join(", ")
    }

    /// Whether no session is there any more.
    pub(super) fn all_gone(&self) -> bool {
        self.0.is_empty()
    }
}
