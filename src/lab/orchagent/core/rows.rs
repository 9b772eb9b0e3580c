//! What a session's row makes orchagent do: `createEntry` and `deleteEntry`.

use std::net::IpAddr;
use std::time::Instant;

use super::{ACTIVATION, Again, Held, Orchagent, REMOVAL, RETRY, Session, Work};
use crate::lab::orchagent::faults::Verdict;
use crate::lab::orchagent::hardware::NoRoom;
use crate::lab::orchagent::messages::{OrderedFields, Output};
use crate::lab::orchagent::session::{Destination, NOWHERE, Refusal, SessionSpec, Way};

impl Session {
    /// Where an ERSPAN session's copies go.
    pub(super) fn destination(&self) -> Option<IpAddr> {
        match &self.spec.destination {
            Destination::Erspan(erspan) => Some(erspan.dst),
            Destination::Span { .. } | Destination::SpanToNowhere => None,
        }
    }
}

impl Orchagent {
    /// A row was written.
    pub(super) fn set(&mut self, name: String, row: OrderedFields, now: Instant, out: &mut Vec<Output>) {
        match self.again.get_mut(&name) {
            // orch.cpp merges a write into the one that waits, field by field.
            Some((_, Again::Create(waiting))) => {
                for (field, value) in row {
                    match waiting.iter_mut().find(|(known, _)| *known == field) {
                        Some(known) => known.1 = value,
                        None => waiting.push((field, value)),
                    }
                }
                return;
            }
            // The session is still there, so the new row is taken for a repetition; the deletion then takes the session away.
            Some((_, Again::Remove)) | None => {}
        }
        if self.sessions.contains_key(&name) {
            // Fact 7.
            out.push(Output::Log(format!("Failed to create session {name}: object already exists")));
            return;
        }
        self.create(name, row, now, out);
    }

    fn create(&mut self, name: String, row: OrderedFields, now: Instant, out: &mut Vec<Output>) {
        if self.faults.of(Some(&name)).verdict == Some(Verdict::Reject) {
            out.push(Output::Log(format!("Failed to create session {name}: fault `reject`")));
            return;
        }
        let spec = match SessionSpec::read(&row, &self.topology) {
            Ok(spec) => spec,
            Err(Refusal::NoPolicer(policer)) => {
                out.push(Output::Log(format!("Failed to get policer {policer} of session {name}: trying again")));
                self.again.insert(name, (now + RETRY, Again::Create(row)));
                return;
            }
            Err(Refusal::Invalid { why, policer }) => {
                self.use_policer(policer.as_deref());
                out.push(Output::Log(format!("Failed to create session {name}: {why}")));
                return;
            }
        };
        self.use_policer(spec.policer.as_deref());
        if self.faults.no_room(self.objects.mirrors()) == Some(NoRoom::Refused) {
            out.push(Output::Log(format!("Failed to create session {name}: no mirror session left in hardware")));
            return;
        }
        let erspan = match &spec.destination {
            Destination::Erspan(erspan) => Some(erspan.dst),
            Destination::Span { .. } => {
                self.work = Some(Work::Activating { session: name.clone(), at: now + ACTIVATION });
                None
            }
            Destination::SpanToNowhere => None,
        };
        let session =
            Session { active: false, way: Way::unknown(erspan.unwrap_or(NOWHERE)), held: Held::default(), spec };
        out.push(Output::WriteState { session: name.clone(), fields: session.spec.row("inactive", &session.way) });
        self.sessions.insert(name.clone(), session);
        if let Some(destination) = erspan {
            let best = self.best_route(destination);
            self.follow_route(&name, best, out);
        }
    }

    /// A row is gone.
    pub(super) fn delete(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.again.get(&name), Some((_, Again::Create(_)))) {
            self.again.remove(&name);
            return;
        }
        let Some(session) = self.sessions.get(&name) else { return };
        if session.spec.destination == Destination::SpanToNowhere {
            out.push(Output::Log(format!("Failed to remove session {name}: trying again")));
            self.again.insert(name, (now + RETRY, Again::Remove));
            return;
        }
        self.remove(name, now, out);
    }

    /// A session that does not come out of the ASIC stays, `active`, and the deletion is forgotten (facts S16 to S18).
    fn remove(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        if self.deactivate(&name, out) {
            self.resolved.retain(|waiting| *waiting != name);
            self.work = Some(Work::Removing { session: name, at: now + REMOVAL });
        }
    }

    /// Takes one thing up again whose time has come, and says whether there was one.
    pub(super) fn try_again(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let due = |(name, (at, _)): (&String, &(Instant, Again))| {
            (*at <= now && !self.is_dead_to(name)).then(|| name.clone())
        };
        let Some(name) = self.again.iter().find_map(due) else { return false };
        match self.again.remove(&name) {
            Some((_, Again::Create(row))) => self.create(name, row, now, out),
            Some((_, Again::Remove)) => self.remove(name, now, out),
            None => {}
        }
        true
    }
}
