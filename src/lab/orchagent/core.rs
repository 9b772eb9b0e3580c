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
//!            row gone       a port that is not of the session refers to it, or a source LAG has gone
//!  [active]  ────────────────────────────▶ [active]
//! ```
//! A status in brackets is that of the row in STATE_DB. While orchagent is between two steps it takes nothing else up, so what arrives meanwhile waits:
//! that is why DEL and HSET in one breath work (fact M7). Facts are those of the observed orchagent, by their numbers in
//! `docs/orchagent.md`; file names are sonic-swss'.
//!
//! By subject: `rows` (what a session's row makes orchagent do), `activation`, `ports` (and LAGs), `policers`, `routes` (and neighbours), `sflow`, `troubles`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::faults::Faults;
use super::hardware::{MirrorTarget, PortSide};
use super::messages::{Change, Input, OrderedFields, Output};
use super::objects::{Objects, Oid};
use super::prefix::{NextHop, Prefix};
use super::queue::EventQueue;
use super::session::{SessionSpec, Slots, Topology, Way};

mod activation;
mod policers;
mod ports;
mod routes;
mod rows;
mod sflow;
mod troubles;

/// From the first `inactive` to `active`: 3-5 ms observed (fact M1).
pub const ACTIVATION: Duration = Duration::from_millis(4);
/// From DEL to the end of the row: 3.0 ms observed (fact M8).
pub const REMOVAL: Duration = Duration::from_millis(3);
/// From a known neighbour to `active`: 14 ms observed (fact M6).
pub const RESOLUTION: Duration = Duration::from_millis(14);
/// From PortInitDone to the first session: 0.5 s observed (fact M12).
pub const PORTS_SETTLE: Duration = Duration::from_millis(500);
/// orchagent tries again what it could not do whenever its select() times out (`orchdaemon.cpp`, SELECT_TIMEOUT).
pub const RETRY: Duration = Duration::from_secs(1);

/// The work that takes time. Nothing else is taken up before it is done.
#[derive(Clone, Debug)]
enum Work {
    /// The row says `inactive`; at `at` the hardware is asked.
    Activating { session: String, at: Instant },
    /// The hardware has been asked to bind a port's side; what comes next depends on its answer.
    Binding { session: String, asked: (String, PortSide), rest: Slots, why: Why },
    /// The row goes at `at`.
    Removing { session: String, at: Instant },
}

/// Why a port is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its session is being activated, and is active once all are bound.
    Activation,
    /// It has joined a LAG; nobody asks what came of it.
    Joining,
}

#[derive(Clone, Debug)]
struct Session {
    spec: SessionSpec,
    active: bool,
    way: Way,
    held: Held,
}

/// What a session has in the ASIC. What could not be removed is forgotten with the session, and stays.
#[derive(Clone, Debug, Default)]
struct Held {
    mirror: Option<Oid>,
    sampler: Option<Oid>,
    target: Option<MirrorTarget>,
}

/// What could not be done and is tried again.
#[derive(Clone, Debug)]
enum Again {
    /// The policer is missing.
    Create(OrderedFields),
    /// `SpanToNowhere` has attached itself to a route and does not come off at once (fact M9).
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
    objects: Objects,
    policers: policers::Policers,
    /// Ports that were to be removed and were in use then: the next attempt of each, which fails, too (fact S18).
    kept_ports: BTreeMap<String, Instant>,
    neighbours: BTreeMap<NextHop, String>,
    /// Neighbours that have gone while a route had them as next hop (fact S20).
    leaving: BTreeSet<NextHop>,
    routes: BTreeMap<Prefix, BTreeSet<NextHop>>,
    sflow: sflow::Sflow,
    sessions: BTreeMap<String, Session>,
    again: BTreeMap<String, (Instant, Again)>,
    queue: EventQueue,
    /// ERSPAN sessions whose neighbour has become known, to be activated one by one.
    resolved: VecDeque<String>,
    /// Ports that have joined a LAG, and the session that is to be bound to each.
    joined: VecDeque<(String, Slots)>,
    work: Option<Work>,
    faults: Faults,
    /// Whether its process has ended: nothing is taken up until it is started anew.
    ended: bool,
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
            objects: Objects::default(),
            policers: policers::Policers::default(),
            kept_ports: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            leaving: BTreeSet::new(),
            routes: BTreeMap::new(),
            sflow: sflow::Sflow::default(),
            sessions: BTreeMap::new(),
            again: BTreeMap::new(),
            queue: EventQueue::default(),
            resolved: VecDeque::new(),
            joined: VecDeque::new(),
            work: None,
            faults,
            ended: false,
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
            Input::Fault(fault, session) => self.fault(&fault, session.as_deref(), now, &mut out),
            _ if self.ended => {}
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
            Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// When to send the next [`Input::Tick`], if nothing else comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.rests() {
            return None;
        }
        match &self.work {
            Some(Work::Activating { at, .. } | Work::Removing { at, .. }) => return Some(*at),
            Some(Work::Binding { .. }) => return None,
            None => {}
        }
        let Ports::SettledAt(settled) = self.ports else { return None };
        let again = self.again.iter().filter(|(session, _)| !self.faults.of(Some(session)).dead);
        let again = again
            .map(|(_, (at, _))| *at)
            .chain(self.kept_ports.values().copied())
            .chain(self.sflow.next_try())
            .chain(self.policers.next_try());
        let due = self.queue.next_due(&self.faults).into_iter().chain(again).min()?;
        Some(due.max(settled))
    }

    /// Whether it does nothing at all.
    fn rests(&self) -> bool {
        self.ended || self.faults.of(None).dead
    }

    /// Does everything that can be done at `now`.
    fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        while !self.rests() {
            match self.work.take() {
                Some(Work::Activating { session, at }) if at <= now => self.activate(session, out),
                Some(Work::Removing { session, at }) if at <= now => {
                    if let Some(policer) = self.sessions.remove(&session).and_then(|session| session.spec.policer) {
                        self.release_policer(&policer);
                    }
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
        if let Some((session, slots)) = self.joined.pop_front() {
            self.bind_next(session, slots, Why::Joining, out);
            return true;
        }
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
            || self.try_to_remove_ports(now, out)
            || self.try_to_remove_policers(now, out)
            || self.try_sflow_again(now, out)
    }

    fn take(&mut self, change: Change, now: Instant, out: &mut Vec<Output>) {
        match change {
            Change::Session { name, row: Some(row) } => self.set(name, row, now, out),
            Change::Session { name, row: None } => self.delete(name, now, out),
            Change::Port { name, exists: true, oid } => self.add_port(name, oid, out),
            Change::Port { name, exists: false, .. } => self.remove_port(name, now, out),
            Change::Lag { name, exists: true } => drop(self.topology.lags.entry(name).or_default()),
            Change::Lag { name, exists: false } => self.remove_lag(&name, out),
            Change::LagMember { lag, port, exists: true } => self.join(&lag, port, out),
            Change::LagMember { lag, port, exists: false } => self.leave(&lag, &port, out),
            Change::Policer { name, exists: true } => self.add_policer(name, now, out),
            Change::Policer { name, exists: false } => self.remove_policer(name, now, out),
            Change::Neighbour { address, interface, mac } => self.neighbour(NextHop { address, interface }, mac, out),
            Change::Route { prefix, next_hops } => self.route(prefix, next_hops, out),
            Change::Sflow { up } => self.enable_sflow(up),
            Change::SflowPort { port, row } => self.sflow_port(port, row, now, out),
        }
    }

    fn is_dead_to(&self, session: &str) -> bool {
        self.faults.of(Some(session)).dead
    }

    /// The sessions whose copies go to this address, or through it.
    fn sessions_through(&self, address: IpAddr) -> Vec<String> {
        let concerned = |(_, session): &(&String, &Session)| {
            session.destination().is_some_and(|dst| dst == address || session.way.next_hop.address == address)
        };
        self.sessions.iter().filter(concerned).map(|(name, _)| name.clone()).collect()
    }
}
