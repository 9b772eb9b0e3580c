//! A supervisor on a bench: a virtual clock, a switch that carries every effect out at once, and knobs that make it hold an
//! answer back or refuse. Tells what was asked for and what is said, in words short enough to compare.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::asic::{Binding, MirrorObject, View};
use crate::model::job::{Direction, Fields, JobId};
use crate::model::provision::Provision;
use crate::model::schema::{Reason, Source, Warning};
use crate::model::settings::Settings;
use crate::model::status::JobStatus;
use crate::model::supervisor::{
    AsicEffect, Effect, Event, FeedEffect, Freed, Now, Prior, ProvisionEffect, ResultsEffect, RowKey, SessionState,
    Supervisor,
};
use crate::model::world::{Capability, Port, Session, TapCost, World};

/// What orchagent does with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orchagent {
    Works,
    Rejects,
    LeavesInactive,
    Dead,
}

pub(super) struct Bench {
    pub(super) supervisor: Supervisor,
    pub(super) mono: Duration,
    pub(super) rows: BTreeMap<(Source, String), Fields>,
    pub(super) world: World,
    pub(super) orchagent: Orchagent,
    /// The session of somebody else's, and the port, for which a session of ours is not deleted.
    pub(super) overtaken: Option<(String, String)>,
    /// What ASIC_DB shows, whoever asks.
    pub(super) asic: View,
    /// What becomes of a look into a stuck session.
    pub(super) freed: Freed,
    /// Removed ports whose object is still there.
    pub(super) held_ports: BTreeSet<String>,
    /// Effects, by name, that are not answered; `Publish` stands for the STATE_DB sink.
    pub(super) held: BTreeSet<&'static str>,
    /// Effects, by name, that are answered with an error.
    pub(super) refused: BTreeSet<&'static str>,
    /// Every effect, in order; looks at sessions and at ASIC_DB are left out, and the beginning of numbers, which comes with each feed.
    pub(super) trace: Vec<String>,
    /// Every change of what is said of a job.
    pub(super) history: Vec<String>,
    last_said: BTreeMap<String, String>,
    published: BTreeMap<String, JobStatus>,
}

/// `port=Ethernet0 duration=60` as a row.
pub(super) fn fields(text: &str) -> Fields {
    let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split_whitespace().map(|item| pair(item).expect("name=value")).collect()
}

pub(super) fn settings(text: &str) -> Settings {
    let (settings, errors) = Settings::parse(&fields(text));
    assert_eq!(errors, []);
    settings
}

pub(super) fn id(key: &str) -> JobId {
    JobId::parse(key).expect("a well-formed id")
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const MILLI: Duration = Duration::from_millis(1);

/// A millisecond before `time` is over.
pub(super) fn almost(time: Duration) -> Duration {
    time.saturating_sub(MILLI)
}

pub(super) fn session(src_port: &str, dst_port: &str) -> Session {
    Session { src_ports: vec![src_port.to_owned()], dst_port: Some(dst_port.to_owned()), ..Session::default() }
}

/// Ethernet0, 4, 8, 12 and 100, PortChannel1 (Ethernet12), and a pool of Ethernet120 and Ethernet124.
pub(super) fn world() -> World {
    let up = Port { oper_up: Some(true), speed_mbps: Some(100_000) };
    let names = ["Ethernet0", "Ethernet4", "Ethernet8", "Ethernet12", "Ethernet100", "Ethernet120", "Ethernet124"];
    World {
        ports: names.iter().map(|name| ((*name).to_owned(), up.clone())).collect(),
        port_channels: BTreeMap::from([("PortChannel1".to_owned(), BTreeSet::from(["Ethernet12".to_owned()]))]),
        pool: ["Ethernet120", "Ethernet124"].map(|port| (port.to_owned(), Some(format!("net{port}")))).into(),
        netdevs: names.iter().flat_map(|name| [(*name).to_owned(), format!("net{name}")]).collect(),
        capability: Capability { ingress_mirror: Some(true), egress_mirror: Some(true), ..Capability::default() },
        tap_cost: TapCost { summary_bytes: 1 << 20, flows_bytes: 4 << 20 },
        ..World::default()
    }
}

/// ASIC_DB with nothing bound, on a switch whose COUNTERS_DB knows the pool's ports.
pub(super) fn clear() -> View {
    let oids = [("Ethernet120", "oid:0x12"), ("Ethernet124", "oid:0x13")];
    View { oids: oids.map(|(port, oid)| (port.to_owned(), oid.to_owned())).into(), ..View::default() }
}

/// ASIC_DB with `port` bound to a mirror object that sends to `destination`.
pub(super) fn bound(port: &str, destination: &str) -> View {
    let (object, monitor) = ("oid:0xe1".to_owned(), "oid:0x12".to_owned());
    let binding =
        Binding { port: port.to_owned(), direction: Direction::Ingress, sampled: false, object: object.clone() };
    View {
        oids: [(destination.to_owned(), monitor.clone())].into(),
        bindings: [binding].into(),
        objects: [(object, MirrorObject { monitor_port: Some(monitor), outer: None })].into(),
        ..View::default()
    }
}

impl Bench {
    /// A new daemon on an empty switch, at 2024-10-04T00:00:00Z.
    pub(super) fn new(settings_row: &str) -> Bench {
        let mut bench = Bench::unlisted(settings_row, BTreeMap::new());
        bench.list();
        bench
    }

    /// A daemon that has not looked through its doors yet.
    pub(super) fn unlisted(settings_row: &str, prior: BTreeMap<String, Prior>) -> Bench {
        Bench {
            supervisor: Supervisor::new(settings(settings_row), prior, Now::at(Duration::ZERO)),
            mono: Duration::ZERO,
            rows: BTreeMap::new(),
            world: world(),
            orchagent: Orchagent::Works,
            overtaken: None,
            asic: clear(),
            freed: Freed::Left("nobody knows".to_owned()),
            held_ports: BTreeSet::new(),
            held: BTreeSet::new(),
            refused: BTreeSet::new(),
            trace: Vec::new(),
            history: Vec::new(),
            last_said: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::at(self.mono)
    }

    /// One HSET on TELEGEN_JOB, and its event.
    pub(super) fn write(&mut self, key: &str, row: &str) {
        self.write_through(Source::Config, key, row);
    }

    pub(super) fn write_through(&mut self, door: Source, key: &str, row: &str) {
        self.rows.insert((door, key.to_owned()), fields(row));
        self.announce(door, key);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.rows.remove(&(Source::Config, key.to_owned()));
        self.announce(Source::Config, key);
    }

    fn announce(&mut self, door: Source, key: &str) {
        let fields = self.rows.get(&(door, key.to_owned())).cloned();
        self.feed(Event::Row { door, key: key.to_owned(), fields });
    }

    pub(super) fn rows_of(&self, door: Source) -> BTreeMap<String, Fields> {
        let rows = self.rows.iter().filter(|((from, _), _)| *from == door);
        rows.map(|((_, key), fields)| (key.clone(), fields.clone())).collect()
    }

    /// Both doors are listed.
    pub(super) fn list(&mut self) {
        for door in [Source::Config, Source::Appl] {
            self.list_door(door);
        }
    }

    pub(super) fn list_door(&mut self, door: Source) {
        let rows = self.rows_of(door);
        self.feed(Event::Rows { door, rows });
    }

    pub(super) fn set(&mut self, settings_row: &str) {
        self.feed(Event::Settings(Box::new(settings(settings_row))));
    }

    pub(super) fn session_state(&mut self, key: &str, state: SessionState) {
        self.feed(Event::SessionState { session: id(key).session_name(1), state });
    }

    pub(super) fn look_at_sessions(&mut self) {
        self.feed(Event::Sessions { world: Box::new(self.world.clone()) });
    }

    /// Ethernet4 joins PortChannel1, and the switch is looked at.
    pub(super) fn change_members(&mut self) {
        let members = ["Ethernet12", "Ethernet4"].map(str::to_owned);
        self.world.port_channels.insert("PortChannel1".to_owned(), members.into());
        self.look_at_sessions();
    }

    pub(super) fn warn(&mut self, key: &str, warning: Warning) {
        self.feed(Event::Warned { id: id(key), warning });
    }

    pub(super) fn feed(&mut self, event: Event) {
        let effects = self.supervisor.on(event, self.now());
        self.answer(effects);
    }

    /// Time goes by, one deadline after the other.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.mono + time;
        loop {
            self.mono = self.supervisor.next_deadline().clamp(self.mono, end);
            let effects = self.supervisor.tick(self.now());
            self.answer(effects);
            assert!(self.supervisor.next_deadline() > self.mono, "a deadline that is never met");
            if self.mono >= end {
                return;
            }
        }
    }

    /// Carries effects out, and what follows from them, until nothing follows.
    fn answer(&mut self, effects: Vec<Effect>) {
        /// More than any scenario needs in one moment: a supervisor that asks without end fails instead of hanging.
        const ENDLESS: usize = 10_000;
        let mut effects = VecDeque::from(effects);
        for _ in 0..ENDLESS {
            self.note_history();
            let events = match effects.pop_front() {
                Some(effect) => self.carry_out(effect),
                None => self.publish(),
            };
            if events.is_empty() && effects.is_empty() && !self.has_news() {
                return self.note_history();
            }
            for event in events {
                effects.extend(self.supervisor.on(event, self.now()));
            }
        }
        panic!("effects without end: {:?}", &self.trace[self.trace.len().saturating_sub(20)..]);
    }

    fn has_news(&self) -> bool {
        !self.held.contains("Publish") && self.supervisor.statuses().any(|status| self.is_unpublished(&status))
    }

    fn is_unpublished(&self, status: &JobStatus) -> bool {
        status.status.is_final() && self.published.get(&status.key) != Some(status)
    }

    fn publish(&mut self) -> Vec<Event> {
        if self.held.contains("Publish") {
            return Vec::new();
        }
        let news: Vec<JobStatus> = self.supervisor.statuses().filter(|status| self.is_unpublished(status)).collect();
        let events = news.iter().map(|status| Event::Published { key: status.key.clone() }).collect();
        self.published.extend(news.into_iter().map(|status| (status.key.clone(), status)));
        events
    }

    fn note_history(&mut self) {
        let news: Vec<JobStatus> = self.supervisor.statuses().collect();
        for status in news {
            let said = words(&status);
            if self.last_said.insert(status.key.clone(), said.clone()).as_ref() != Some(&said) {
                self.history.push(format!("{}: {said}", status.key));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Event> {
        let name = name_of(&effect);
        if !["ListSessions", "AskAsic", "BeginResults"].contains(&name) {
            self.trace.push(render(&effect));
        }
        if self.held.contains(name) {
            return Vec::new();
        }
        let error = "the bench refused".to_owned();
        let result = if self.refused.contains(name) { Err(error.clone()) } else { Ok(()) };
        match effect {
            Effect::ReadSwitch { job: Some(id) } => {
                let world = result.map(|()| Arc::new(self.world.clone()));
                vec![Event::Surveyed { id, world }]
            }
            Effect::ReadSwitch { job: None } => vec![match result {
                Ok(()) => Event::Sessions { world: Box::new(self.world.clone()) },
                Err(error) => Event::SessionsUnlisted { error },
            }],
            Effect::Provision(ProvisionEffect::Write { id, provision }) => {
                let set = result.is_ok();
                let mut events = vec![Event::Provisioned { id, result: result.map(|()| None) }];
                if set {
                    let Provision::Mirror(mirror) = &provision;
                    self.world.sessions.extend(mirror.as_sessions());
                    let echo = |name: &str| Event::SessionRow { session: name.to_owned(), present: true };
                    events.extend(provision.names().map(echo));
                    events.extend(provision.names().filter_map(|name| self.orchagent_sees(name)));
                }
                events
            }
            Effect::Provision(ProvisionEffect::Remove { provision, .. }) if self.overtaken.is_some() => {
                provision.names().filter_map(|name| self.overtake(name)).collect()
            }
            Effect::Provision(ProvisionEffect::RemoveOrphan { session }) if self.overtaken.is_some() => {
                self.overtake(&session).into_iter().collect()
            }
            Effect::Provision(ProvisionEffect::Remove { id, provision }) => {
                let deleted = result.is_ok();
                let mut events = vec![Event::Released { id, result }];
                if deleted {
                    self.world.sessions.retain(|name, _| !provision.names().any(|known| known == name));
                    let echo = |name: &str| Event::SessionRow { session: name.to_owned(), present: false };
                    events.extend(provision.names().map(echo));
                    events.extend(provision.names().filter_map(|name| self.orchagent_sees(name)));
                }
                events
            }
            Effect::Provision(ProvisionEffect::RemoveOrphan { session }) if result.is_ok() => {
                self.world.sessions.remove(&session);
                let echo = Event::SessionRow { session: session.clone(), present: false };
                self.orchagent_sees(&session).into_iter().chain([echo]).collect()
            }
            Effect::Asic(AsicEffect::Ask { id, .. }) => {
                vec![Event::Asic { id, view: result.map(|()| self.asic.clone()) }]
            }
            Effect::Asic(AsicEffect::Free { session, .. }) => {
                vec![Event::Freed { session, result: result.map(|()| self.freed.clone()) }]
            }
            Effect::Asic(AsicEffect::AskObjects { job, oids }) => {
                let held = oids.keys().filter(|port| self.held_ports.contains(*port)).cloned().collect();
                vec![Event::Objects { job, held: result.map(|()| held) }]
            }
            Effect::Feed(FeedEffect::Open { id, .. }) => {
                vec![Event::FeedOpened { id, result: result.map_err(|error| (Reason::AttachFailed, error)) }]
            }
            Effect::Feed(FeedEffect::Close { id }) => vec![Event::FeedClosed { id, result }],
            Effect::DeleteRow(RowKey { door, key }) => {
                if result.is_ok() {
                    self.rows.remove(&(door, key.clone()));
                }
                vec![Event::RowDeleted { door, key, result }]
            }
            Effect::Provision(ProvisionEffect::RemoveOrphan { .. }) | Effect::Results(_) | Effect::Log { .. } => {
                Vec::new()
            }
        }
    }

    /// Somebody else's session has a port of ours.
    fn overtake(&self, session: &str) -> Option<Event> {
        let (theirs, port) = self.overtaken.clone()?;
        Some(Event::Overtaken { session: session.to_owned(), theirs, port, kept: true })
    }

    fn orchagent_sees(&mut self, name: &str) -> Option<Event> {
        let wanted = self.world.sessions.contains_key(name);
        let state = match (wanted, self.orchagent) {
            (_, Orchagent::Dead) | (true, Orchagent::Rejects) => return None,
            (true, Orchagent::Works) => SessionState::Active,
            (true, Orchagent::LeavesInactive) => SessionState::Inactive,
            (false, _) => SessionState::Absent,
        };
        let known =
            if wanted { self.world.known_states.insert(name.to_owned()) } else { self.world.known_states.remove(name) };
        known.then(|| Event::SessionState { session: name.to_owned(), state })
    }

    pub(super) fn status(&self, key: &str) -> Option<JobStatus> {
        self.supervisor.statuses().find(|status| status.key == key)
    }

    /// Status, reason and warnings in words; `-` if nothing is said.
    pub(super) fn said(&self, key: &str) -> String {
        self.status(key).as_ref().map_or_else(|| "-".to_owned(), words)
    }

    pub(super) fn message(&self, key: &str) -> String {
        self.status(key).map(|status| status.message).unwrap_or_default()
    }

    /// What was asked for since the last time.
    pub(super) fn asked(&mut self) -> String {
        std::mem::take(&mut self.trace).join(", ")
    }
}

fn words(status: &JobStatus) -> String {
    let reason = status.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{}{reason}{}", status.status, plus(&status.warnings))
}

/// ` +no_copies +port_down`.
pub(super) fn plus(warnings: &BTreeSet<Warning>) -> String {
    warnings.iter().flat_map(|warning| [" +", warning.as_str()]).collect()
}

fn name_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::ReadSwitch { job: Some(_) } => "Survey",
        Effect::ReadSwitch { job: None } => "ListSessions",
        Effect::Provision(ProvisionEffect::Write { .. }) => "Provision",
        Effect::Provision(ProvisionEffect::Remove { .. }) => "Release",
        Effect::Provision(ProvisionEffect::RemoveOrphan { .. }) => "DeleteOrphan",
        Effect::Asic(AsicEffect::Ask { .. }) => "AskAsic",
        Effect::Asic(AsicEffect::AskObjects { .. }) => "AskObjects",
        Effect::Asic(AsicEffect::Free { .. }) => "Free",
        Effect::Feed(FeedEffect::Open { .. }) => "OpenFeed",
        Effect::Feed(FeedEffect::Close { .. }) => "CloseFeed",
        Effect::Results(ResultsEffect::Begin { .. }) => "BeginResults",
        Effect::Results(ResultsEffect::Clear { .. }) => "ClearResults",
        Effect::DeleteRow(_) => "DeleteRow",
        Effect::Log { .. } => "Log",
    }
}

/// The effect with whom it is about: `Provision a`, `DeleteRow appl a`, `DeleteOrphan telegen_a`, `Log`.
pub(super) fn render(effect: &Effect) -> String {
    let name = name_of(effect);
    match effect {
        Effect::ReadSwitch { job: Some(id) }
        | Effect::Provision(ProvisionEffect::Write { id, .. } | ProvisionEffect::Remove { id, .. })
        | Effect::Asic(AsicEffect::Ask { id, .. })
        | Effect::Feed(FeedEffect::Open { id, .. } | FeedEffect::Close { id })
        | Effect::Results(ResultsEffect::Begin { id, .. }) => format!("{name} {id}"),
        Effect::Provision(ProvisionEffect::RemoveOrphan { session })
        | Effect::Asic(AsicEffect::Free { session, .. }) => {
            format!("{name} {session}")
        }
        Effect::DeleteRow(RowKey { door: Source::Config, key }) | Effect::Results(ResultsEffect::Clear { key }) => {
            format!("{name} {key}")
        }
        Effect::DeleteRow(RowKey { door: Source::Appl, key }) => format!("{name} appl {key}"),
        Effect::ReadSwitch { job: None } | Effect::Asic(AsicEffect::AskObjects { .. }) | Effect::Log { .. } => {
            name.to_owned()
        }
    }
}
