//! Faults in force: for all sessions, or for one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hardware::{Fault, NoRoom};
use crate::lab::gre::GreOptions;

/// What becomes of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refused, no STATE_DB row.
    Reject,
    /// Accepted, never active.
    Inactive,
}

/// The faults that apply to a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// For new sessions.
    pub verdict: Option<Verdict>,
    /// How much later everything is done.
    pub slow: Duration,
    /// Whether nothing is read.
    pub dead: bool,
    /// Whether no neighbour is known.
    pub unresolved: bool,
    /// How copies are wrapped.
    pub gre: Option<GreOptions>,
}

/// All faults in force.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    room: Option<(usize, NoRoom)>,
    everywhere: Condition,
    of_session: BTreeMap<String, Condition>,
}

impl Faults {
    /// Puts a fault in force, for one session or for all. [`Fault::Lose`] and [`Fault::Restart`] are moments, not states, and change nothing here;
    /// [`Fault::Sessions`] concerns no single session.
    pub fn apply(&mut self, fault: &Fault, session: Option<&str>) {
        let condition = match session {
            None => &mut self.everywhere,
            Some(session) => self.of_session.entry(session.to_owned()).or_default(),
        };
        match fault {
            Fault::Reject => condition.verdict = Some(Verdict::Reject),
            Fault::Inactive => condition.verdict = Some(Verdict::Inactive),
            Fault::Slow(delay) => condition.slow = *delay,
            Fault::Dead => condition.dead = true,
            Fault::Unresolved => condition.unresolved = true,
            Fault::Erspan(options) => condition.gre = Some(*options),
            Fault::Lose | Fault::Restart => {}
            Fault::Sessions { room, outcome } => self.room = Some((*room, *outcome)),
            Fault::Clear => match session {
                Some(session) => drop(self.of_session.remove(session)),
                None => *self = Faults::default(),
            },
        }
    }

    /// What comes of one more session, if there are so many mirror sessions in the ASIC already; `None` where there is room.
    #[must_use]
    pub fn no_room(&self, sessions: usize) -> Option<NoRoom> {
        self.room.filter(|(room, _)| sessions >= *room).map(|(_, outcome)| outcome)
    }

    /// What applies to `session`; to what concerns no session, if `None`. A session's own faults add to those of all.
    #[must_use]
    pub fn of(&self, session: Option<&str>) -> Condition {
        let all = self.everywhere;
        match session.and_then(|session| self.of_session.get(session)) {
            None => all,
            Some(own) => Condition {
                verdict: own.verdict.or(all.verdict),
                slow: own.slow.max(all.slow),
                dead: own.dead || all.dead,
                unresolved: own.unresolved || all.unresolved,
                gre: own.gre.or(all.gre),
            },
        }
    }
}
