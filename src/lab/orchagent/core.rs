//! The virtual orchagent's mind: one thread of work on one queue, as in the real one. Pure: no I/O, and time comes in as a value.
//!
//! ```text
//!            row, accepted                4 ms                    bound
//!  (nothing) ────────────▶ [inactive] ─────────▶ Bind each slot ────────▶ [active]     SPAN
//!            row, accepted                neighbour known, 14 ms          │
//!  (nothing) ────────────▶ [inactive] ─────────────────────────▶ [active] │            ERSPAN
//!                               ▲            neighbour gone         │     │
//!                               └───────────────────────────────────┴─────┘ fault `lose`
//!            row gone       Unbind, [inactive], 3 ms
//!  [active]  ────────────────────────────▶ (nothing)
//! ```
//! A status in brackets is that of the row in STATE_DB. While orchagent is between two steps it takes nothing else up, so what arrives meanwhile waits:
//! that is why DEL and HSET in one breath work (fact 7). Facts are those of the observed orchagent, by their numbers in
//! `tests/lab_orchagent.rs`; file names are sonic-swss'.
//!
//! What it does not do: an active ERSPAN session does not follow its neighbour to another MAC address, and a LAG is expanded when its session is made, not again when a member joins.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::faults::{Faults, Verdict};
use super::hardware::{CopyDestination, MirrorTarget};
use super::messages::{Change, Input, OrderedFields, Output};
use super::queue::EventQueue;
use super::session::{Destination, Refusal, SessionSpec, Topology};

mod outside;

/// From the first `inactive` to `active`: 3-5 ms observed (fact 1).
pub const ACTIVATION: Duration = Duration::from_millis(4);
/// From DEL to the end of the row: 3.0 ms observed (fact 8).
pub const REMOVAL: Duration = Duration::from_millis(3);
/// From a known neighbour to `active`: 14 ms observed (fact 6).
pub const RESOLUTION: Duration = Duration::from_millis(14);
/// From PortInitDone to the first session: 0.5 s observed (fact 12).
pub const PORTS_SETTLE: Duration = Duration::from_millis(500);
/// orchagent tries again what it could not do whenever its select() times out (`orchdaemon.cpp`, SELECT_TIMEOUT).
pub const RETRY: Duration = Duration::from_secs(1);
/// Active mirror sessions that the virtual-switch SAI has room for (`SwitchStateBase.h`); a further one is refused.
pub const MAX_SESSIONS: usize = 10;

/// The work that takes time. Nothing else is taken up before it is done.
#[derive(Clone, Debug)]
enum Work {
    /// The row says `inactive`; at `at` the hardware is asked.
    Activating { session: String, at: Instant },
    /// So many answers of the hardware are due.
    Binding { session: String, awaited: usize, refused: bool },
    /// The row goes at `at`.
    Removing { session: String, at: Instant },
}

#[derive(Clone, Debug)]
struct Session {
    spec: SessionSpec,
    active: bool,
}

/// What could not be done and is tried again.
#[derive(Clone, Debug)]
enum Again {
    /// The policer is missing.
    Create(OrderedFields),
    /// `SpanToNowhere` has attached itself to a route and does not come off at once (fact 9).
    Remove,
}

#[derive(Clone, Copy, Debug)]
enum Ports {
    Unknown,
    SettledAt(Instant),
}

/// The virtual orchagent.
#[derive(Debug)]
pub struct Orchagent {
    ports: Ports,
    topology: Topology,
    neighbours: BTreeMap<IpAddr, (String, String)>,
    sessions: BTreeMap<String, Session>,
    again: BTreeMap<String, (Instant, Again)>,
    queue: EventQueue,
    /// ERSPAN sessions whose neighbour has become known, to be activated one by one.
    resolved: VecDeque<String>,
    work: Option<Work>,
    faults: Faults,
}

impl Default for Orchagent {
    fn default() -> Orchagent {
        Orchagent::new(Faults::default())
    }
}

impl Orchagent {
    /// A freshly started orchagent, with the faults that are in force.
    #[must_use]
    pub fn new(faults: Faults) -> Orchagent {
        Orchagent {
            ports: Ports::Unknown,
            topology: Topology::default(),
            neighbours: BTreeMap::new(),
            sessions: BTreeMap::new(),
            again: BTreeMap::new(),
            queue: EventQueue::default(),
            resolved: VecDeque::new(),
            work: None,
            faults,
        }
    }

    /// The faults in force, for a successor.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes an input, and says what to do now.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Change(change) => {
                let condition = self.faults.of(change.session());
                let unread = condition.dead || !self.ports_are_ready(now);
                self.queue.push(change, condition.slow, unread, now);
            }
            Input::PortInitDone { settled } => {
                let settle = if settled { Duration::ZERO } else { PORTS_SETTLE };
                if let Ports::Unknown = self.ports {
                    self.ports = Ports::SettledAt(now + settle);
                }
            }
            Input::Bound { refused } => self.bound(refused.as_deref(), &mut out),
            Input::Fault(fault, session) => self.fault(&fault, session.as_deref(), now, &mut out),
            Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// When to send the next [`Input::Tick`], if nothing else comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.faults.of(None).dead {
            return None;
        }
        match &self.work {
            Some(Work::Activating { at, .. } | Work::Removing { at, .. }) => return Some(*at),
            Some(Work::Binding { .. }) => return None,
            None => {}
        }
        let Ports::SettledAt(settled) = self.ports else { return None };
        let again = self.again.iter().filter(|(session, _)| !self.faults.of(Some(session)).dead);
        let due = self.queue.next_due(&self.faults).into_iter().chain(again.map(|(_, (at, _))| *at)).min()?;
        Some(due.max(settled))
    }

    /// Does everything that can be done at `now`.
    fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        while !self.faults.of(None).dead {
            match self.work.take() {
                Some(Work::Activating { session, at }) if at <= now => self.activate(session, out),
                Some(Work::Removing { session, at }) if at <= now => {
                    self.sessions.remove(&session);
                    out.push(Output::DeleteState { session });
                }
                None => {
                    if !self.begin(now, out) {
                        return;
                    }
                }
                waiting @ Some(Work::Activating { .. } | Work::Removing { .. } | Work::Binding { .. }) => {
                    self.work = waiting;
                    return;
                }
            }
        }
    }

    fn ports_are_ready(&self, now: Instant) -> bool {
        match self.ports {
            Ports::Unknown => false,
            Ports::SettledAt(settled) => settled <= now,
        }
    }

    /// Takes up the next thing, and says whether there was one.
    fn begin(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        if let Some(session) = self.resolved.pop_front() {
            self.work = Some(Work::Activating { session, at: now + RESOLUTION });
            return true;
        }
        if !self.ports_are_ready(now) {
            return false;
        }
        if let Some(change) = self.queue.pop(&self.faults, now) {
            self.take(change, now, out);
            return true;
        }
        self.try_again(now, out)
    }

    fn take(&mut self, change: Change, now: Instant, out: &mut Vec<Output>) {
        match change {
            Change::Session { name, row: Some(row) } => self.set(name, row, now, out),
            Change::Session { name, row: None } => self.delete(name, now, out),
            Change::Port { name, exists: true } => drop(self.topology.ports.insert(name)),
            Change::Port { name, exists: false } => drop(self.topology.ports.remove(&name)),
            Change::Lag { name, exists: true } => drop(self.topology.lags.entry(name).or_default()),
            Change::Lag { name, exists: false } => drop(self.topology.lags.remove(&name)),
            Change::LagMember { lag, port, exists: true } => {
                self.topology.lags.entry(lag).or_default().insert(port);
            }
            Change::LagMember { lag, port, exists: false } => {
                if let Some(members) = self.topology.lags.get_mut(&lag) {
                    members.remove(&port);
                }
            }
            Change::Policer { name, exists: true } => {
                self.topology.policers.insert(name);
                // Whatever changes makes orchagent go through what it has to try again.
                self.again.values_mut().for_each(|(at, _)| *at = now);
            }
            Change::Policer { name, exists: false } => drop(self.topology.policers.remove(&name)),
            Change::Neighbour { address, interface, mac } => self.neighbour(address, interface, mac, out),
        }
    }

    /// A row was written (`createEntry`).
    fn set(&mut self, name: String, row: OrderedFields, now: Instant, out: &mut Vec<Output>) {
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
            Err(Refusal::Invalid(why)) => {
                out.push(Output::Log(format!("Failed to create session {name}: {why}")));
                return;
            }
        };
        if self.sessions.values().filter(|session| session.active).count() >= MAX_SESSIONS {
            out.push(Output::Log(format!("Failed to create session {name}: no mirror session left in hardware")));
            return;
        }
        out.push(Output::WriteState { session: name.clone(), fields: spec.inactive_row() });
        match &spec.destination {
            Destination::Span { .. } => {
                self.work = Some(Work::Activating { session: name.clone(), at: now + ACTIVATION });
            }
            Destination::Erspan(erspan) if self.is_resolved(&name, erspan.dst) => {
                self.work = Some(Work::Activating { session: name.clone(), at: now + RESOLUTION });
            }
            Destination::Erspan(_) | Destination::SpanToNowhere => {}
        }
        self.sessions.insert(name, Session { spec, active: false });
    }

    /// The moment has come to make the session work (`activateSession`).
    fn activate(&mut self, name: String, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(&name) else { return };
        if self.faults.of(Some(&name)).verdict == Some(Verdict::Inactive) {
            out.push(Output::Log(format!("Failed to activate session {name}: fault `inactive`")));
            return;
        }
        if session.spec.sampling.is_some() {
            // Fact 4: a port and side has one sampler.
            if let Some(other) = self.sampler_of_any(&name, &session.spec) {
                out.push(Output::Log(format!("Failed to activate session {name}: {other} samples the port already")));
                return;
            }
        }
        let destination = match &session.spec.destination {
            Destination::Span { port } => CopyDestination::Port(port.clone()),
            Destination::Erspan(erspan) => match self.tunnel(&name, erspan) {
                Some(tunnel) => CopyDestination::Tunnel(tunnel),
                // The neighbour went while this was waiting.
                None => return,
            },
            Destination::SpanToNowhere => return,
        };
        let target = MirrorTarget { session: name.clone(), destination, sampling: session.spec.sampling };
        for (port, side) in &session.spec.slots {
            out.push(Output::Bind { port: port.clone(), side: *side, target: target.clone() });
        }
        match session.spec.slots.len() {
            // Fact 1: nothing to bind is no obstacle.
            0 => self.activated(&name, out),
            awaited => self.work = Some(Work::Binding { session: name, awaited, refused: false }),
        }
    }

    fn sampler_of_any(&self, name: &str, spec: &SessionSpec) -> Option<&str> {
        let sampled = self.sessions.iter().filter(|(_, other)| other.active && other.spec.sampling.is_some());
        sampled
            .filter(|(other, _)| *other != name)
            .find(|(_, other)| other.spec.slots.iter().any(|slot| spec.slots.contains(slot)))
            .map(|(other, _)| other.as_str())
    }

    fn bound(&mut self, refusal: Option<&str>, out: &mut Vec<Output>) {
        let Some(Work::Binding { session, awaited, refused }) = self.work.take() else { return };
        if let Some(why) = refusal {
            out.push(Output::Log(format!("Failed to bind session {session}: {why}")));
        }
        let refused = refused || refusal.is_some();
        match (awaited - 1, refused) {
            (0, false) => self.activated(&session, out),
            (0, true) => {
                if let Some(known) = self.sessions.get(&session) {
                    unbind(&known.spec, out);
                }
            }
            (awaited, refused) => self.work = Some(Work::Binding { session, awaited, refused }),
        }
    }

    fn activated(&mut self, name: &str, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        session.active = true;
        let neighbour = match session.spec.destination {
            Destination::Erspan(erspan) => self.neighbours.get(&erspan.dst),
            Destination::Span { .. } | Destination::SpanToNowhere => None,
        };
        let fields = session.spec.active_row(neighbour);
        out.push(Output::WriteState { session: name.to_owned(), fields });
    }

    /// The session stops working and its row says so; the row's other fields go stale (fact 6).
    fn deactivate(&mut self, name: &str, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get_mut(name).filter(|session| session.active) else { return };
        session.active = false;
        // Whoever holds the binding now: it is gone (fact 5).
        unbind(&session.spec, out);
        let fields = vec![("status".to_owned(), "inactive".to_owned())];
        out.push(Output::WriteState { session: name.to_owned(), fields });
    }

    /// A row is gone (`deleteEntry`).
    fn delete(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
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

    fn remove(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        self.deactivate(&name, out);
        self.work = Some(Work::Removing { session: name, at: now + REMOVAL });
    }

    /// Takes one thing up again whose time has come, and says whether there was one.
    fn try_again(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let due = |(name, (at, _)): (&String, &(Instant, Again))| {
            (*at <= now && !self.faults.of(Some(name)).dead).then(|| name.clone())
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

fn unbind(spec: &SessionSpec, out: &mut Vec<Output>) {
    out.extend(spec.slots.iter().map(|(port, side)| Output::Unbind { port: port.clone(), side: *side }));
}
