//! Which session each port of the simulated ASIC is bound to. As orchagent does it: the session that is activated last has the port, and the
//! end of any session that names it unbinds it, whoever has it (observed fact M5).

use std::collections::BTreeMap;

use super::{Random, Switch};
use crate::model::admission::over;
use crate::model::asic::{Binding, MirrorObject, Question, View};
use crate::model::job::Direction;
use crate::model::overtaken::{Taken, Verdict, is_unbound, judge};
use crate::model::provision::mirror::MirrorTarget;
use crate::model::schema::SESSION_PREFIX;
use crate::model::supervisor::{Event, Freed, SessionState};
use crate::model::world::Session;

/// A port in one direction, by itself or through its sampler.
type Slot = (String, Direction, bool);

/// The ASIC.
#[derive(Default)]
pub(super) struct Bindings {
    /// The session that has each slot.
    holders: BTreeMap<Slot, String>,
    /// Active sessions, as they were when they were activated.
    active: BTreeMap<String, Session>,
    /// Deletions of ours that took a port from somebody else.
    bereft: Vec<String>,
}

fn slots(session: &Session) -> Vec<Slot> {
    let directions = session.direction.unwrap_or(Direction::Both).each();
    let of_port =
        |port: &String| directions.iter().map(|direction| (port.clone(), *direction, session.sampled)).collect();
    session.src_ports.iter().flat_map(|port: &String| -> Vec<Slot> { of_port(port) }).collect()
}

impl Bindings {
    pub(super) fn activate(&mut self, name: &str, session: &Session) {
        self.holders.extend(slots(session).into_iter().map(|slot| (slot, name.to_owned())));
        self.active.insert(name.to_owned(), session.clone());
    }

    pub(super) fn deactivate(&mut self, name: &str) {
        for slot in self.held_with(name) {
            self.holders.remove(&slot);
        }
        self.active.remove(name);
    }

    /// What the end of an active session unbinds.
    fn held_with(&self, name: &str) -> Vec<Slot> {
        self.active.get(name).map(slots).unwrap_or_default()
    }

    /// The session of somebody else's that would lose a port by the end of this one.
    fn bereaved(&self, name: &str) -> Option<&String> {
        let slots = self.held_with(name);
        slots.iter().filter_map(|slot| self.holders.get(slot)).find(|holder| !holder.starts_with(SESSION_PREFIX))
    }

    /// Nobody asks for the sessions of others any more.
    pub(super) fn forget_others(&mut self) {
        self.holders.retain(|_, holder| holder.starts_with(SESSION_PREFIX));
        self.active.retain(|name, _| name.starts_with(SESSION_PREFIX));
    }
}

impl Switch {
    /// Deletions of ours that took a port from somebody else.
    pub(in super::super) fn bereft(&self) -> &[String] {
        &self.asic.bereft
    }

    /// orchagent acts on the deletion of this session.
    pub(super) fn note_deletion(&mut self, name: &str) {
        // One that is deleted itself loses nothing.
        let theirs = self.asic.bereaved(name).filter(|theirs| self.configured.contains_key(*theirs));
        if let Some(theirs) = theirs.filter(|_| name.starts_with(SESSION_PREFIX)) {
            let line = format!("the deletion of {name} took a port from {theirs}");
            self.asic.bereft.push(line);
        }
    }

    /// What ASIC_DB shows of these ports.
    pub(super) fn asic(&self, question: &Question) -> View {
        let oid = |port: &str| format!("oid:{port}");
        let object = |name: &str| format!("oid:{name}");
        let names = question.ports.keys().map(String::as_str).chain(question.destination_port());
        let mut view = View { oids: names.map(|port| (port.to_owned(), oid(port))).collect(), ..View::default() };
        for ((port, direction, sampled), holder) in &self.asic.holders {
            if question.ports.contains_key(port) && (*sampled || !question.sampled) {
                let (port, direction, sampled) = (port.clone(), *direction, *sampled);
                if sampled {
                    view.samplers.insert((port.clone(), direction), format!("oid:sampler of {holder}"));
                }
                view.bindings.insert(Binding { port, direction, sampled, object: object(holder) });
            }
        }
        for (name, session) in &self.asic.active {
            let outer = session.outer.map(|outer| (outer.src, outer.dst));
            let monitor_port = session.dst_port.as_deref().map(oid);
            view.objects.insert(object(name), MirrorObject { monitor_port, outer });
        }
        view
    }

    /// As `io::mirror` judges before each deletion.
    fn verdict(&self, name: &str) -> Verdict {
        let said = match self.states.get(name) {
            Some(SessionState::Active) => Some("active"),
            Some(SessionState::Inactive) => Some("inactive"),
            Some(SessionState::Absent) | None => None,
        };
        let said = said.map(|word| ("status".to_owned(), word.to_owned())).into_iter().collect();
        let Some(row) = self.configured.get(name).filter(|_| self.redis_up && !is_unbound(&said)) else {
            return Verdict::Delete;
        };
        let Some(target) = MirrorTarget::of(row) else { return Verdict::Delete };
        let world = self.world();
        let ports = world.expand(row.src_ports.iter().map(String::as_str));
        let ports = ports.into_iter().map(|port| (port, None)).collect();
        let view = self.asic(&Question { ports, target: target.clone(), sampled: row.sampled });
        judge(name, row, &target, &view, &world)
    }

    /// Deletes a session of ours, unless that would unbind somebody else's; whether it is kept.
    pub(super) fn end_session(&mut self, name: &str, random: &mut Random) -> Result<bool, String> {
        let (theirs, port, kept) = match self.verdict(name) {
            Verdict::Delete => return self.delete_session(name, random).map(|()| false),
            Verdict::Keep { theirs, port } => (theirs, port, true),
            Verdict::Unsettled { theirs, port } => (theirs, port, false),
        };
        let result = if kept { Ok(()) } else { self.delete_session(name, random) };
        *self.tally.entry(if kept { "kept" } else { "alone" }).or_default() += 1;
        if result.is_ok() {
            self.outbox.push_back(Event::Overtaken { session: name.to_owned(), theirs, port, kept });
        }
        result.map(|()| kept)
    }

    /// What is in the way of these sessions.
    pub(super) fn taken(&self, sessions: &BTreeMap<String, Session>) -> Option<Taken> {
        let world = self.world();
        over(sessions, &world.foreign(), &world).map(|(theirs, port)| Taken { theirs, port })
    }

    /// A look into a session that orchagent does not remove frees it at times; never at the cost of somebody else's.
    pub(super) fn free(&mut self, session: &str, random: &mut Random) -> Freed {
        let is_stuck = self.states.contains_key(session) && !self.configured.contains_key(session);
        if is_stuck && self.is_alive() && self.asic.bereaved(session).is_none() && random.chance(50) {
            self.set_state(session, SessionState::Absent);
            *self.tally.entry("freed").or_default() += 1;
            return Freed::Done("a port was bound to it".to_owned());
        }
        Freed::Left("orchagent is slow".to_owned())
    }
}
