//! The world of the simulation: tables, orchagent and feeds as maps; effects take random time and fail at random.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::random::Random;
use crate::model::erspan::Outer;
use crate::model::feed::{Feed, HooksFeed};
use crate::model::job::{Fields, JobId};
use crate::model::overtaken::Taken;
use crate::model::provision::Provision;
use crate::model::provision::mirror::MirrorPlan;
use crate::model::schema::{Reason, SESSION_PREFIX, Source};
use crate::model::status::JobStatus;
use crate::model::supervisor::{
    AsicEffect, Effect, Event, FeedEffect, Now, Prior, ProvisionEffect, ResultsEffect, RowKey, SessionState,
};
use crate::model::world::Session;

use bindings::Bindings;
use orchagent::Orchagent;

mod bindings;
mod orchagent;
mod world;

/// The source addresses of ERSPAN sessions.
pub(super) const POOL: &str = "10.0.0.1,10.0.0.2";
/// Their destination.
pub(super) const COLLECTOR: &str = "10.0.0.9";

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Effect(Effect),
    /// A row's event arrives; what it says is read when it arrives.
    Row(Source, String),
    /// orchagent looks at a session.
    Orchagent(String),
    /// The sink writes.
    Publish,
}

pub(super) struct Switch {
    pub(super) mono: Duration,
    pub(super) redis_up: bool,
    pub(super) rows: BTreeMap<(Source, String), Fields>,
    pub(super) state: BTreeMap<String, JobStatus>,
    /// The open feeds, with the addresses of the copies that those of ERSPAN jobs count.
    pub(super) taps: BTreeMap<JobId, Option<Outer>>,
    pub(super) foreign: BTreeMap<String, Session>,
    pub(super) rows_deleted_without_outcome: Vec<String>,
    second_rows: BTreeSet<(Source, String)>,
    /// The sink deletes these before it writes again: old results go before the new status of the same name comes.
    pub(super) clears: BTreeSet<String>,
    configured: BTreeMap<String, Session>,
    states: BTreeMap<String, SessionState>,
    asic: Bindings,
    /// How often something rare came, by what it is.
    pub(super) tally: BTreeMap<&'static str, u64>,
    /// Of PortChannel1.
    members: BTreeSet<String>,
    /// Ports that are not in PORT now.
    removed: BTreeSet<String>,
    orchagent: Orchagent,
    /// Whether orchagent knows a neighbour for the destination of ERSPAN sessions.
    neighbour: bool,
    pending: BTreeMap<(Duration, u64), Pending>,
    sequence: u64,
    /// The executor is one queue: an effect is carried out after the ones before it.
    last_effect: Duration,
    outbox: VecDeque<Event>,
}

impl Switch {
    pub(super) fn new() -> Switch {
        Switch {
            mono: Duration::ZERO,
            redis_up: true,
            rows: BTreeMap::new(),
            state: BTreeMap::new(),
            taps: BTreeMap::new(),
            foreign: BTreeMap::new(),
            rows_deleted_without_outcome: Vec::new(),
            second_rows: BTreeSet::new(),
            clears: BTreeSet::new(),
            configured: BTreeMap::new(),
            states: BTreeMap::new(),
            asic: Bindings::default(),
            tally: BTreeMap::new(),
            members: BTreeSet::from(["Ethernet12".to_owned()]),
            removed: BTreeSet::new(),
            orchagent: Orchagent::Works,
            neighbour: true,
            pending: BTreeMap::new(),
            sequence: 0,
            last_effect: Duration::ZERO,
            outbox: VecDeque::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::at(self.mono)
    }

    pub(super) fn next_pending(&self) -> Duration {
        self.pending.keys().next().map_or(Duration::MAX, |(at, _)| *at)
    }

    pub(super) fn take_due(&mut self) -> Option<Pending> {
        let entry = self.pending.first_entry().filter(|entry| entry.key().0 <= self.mono)?;
        Some(entry.remove())
    }

    fn schedule(&mut self, delay: Duration, pending: Pending) -> Duration {
        let at = self.mono + delay;
        self.sequence += 1;
        self.pending.insert((at, self.sequence), pending);
        at
    }

    /// Effects begin in the order in which they were said.
    pub(super) fn submit(&mut self, effects: Vec<Effect>, random: &mut Random) {
        for pair in effects.windows(2) {
            // The second row of a name is removed with a line in the log; the job that has the name keeps its own.
            if let [Effect::Log { .. }, Effect::DeleteRow(row)] = pair {
                self.second_rows.insert((row.door, row.key.clone()));
            }
        }
        for effect in effects {
            if let Effect::Results(ResultsEffect::Clear { key }) = effect {
                self.clears.insert(key);
                continue;
            }
            let at = self.last_effect.max(self.mono) + Duration::from_millis(random.below(40));
            self.last_effect = self.schedule(at.saturating_sub(self.mono), Pending::Effect(effect));
        }
    }

    /// The sink will write soon, once for all that changed until then.
    pub(super) fn wake_sink(&mut self, random: &mut Random) {
        if !self.pending.values().any(|pending| matches!(pending, Pending::Publish)) {
            self.schedule(Duration::from_millis(1 + random.below(30)), Pending::Publish);
        }
    }

    pub(super) fn carry_out(&mut self, pending: Pending, random: &mut Random) -> Vec<Event> {
        match pending {
            Pending::Publish => {}
            Pending::Row(door, key) => self.row_event(door, key),
            Pending::Orchagent(name) => self.orchagent_looks(&name),
            Pending::Effect(effect) => self.effect(effect, random),
        }
        self.outbox.drain(..).collect()
    }

    fn row_event(&mut self, door: Source, key: String) {
        if self.redis_up {
            let fields = self.rows.get(&(door, key.clone())).cloned();
            self.outbox.push_back(Event::Row { door, key, fields });
        }
    }

    fn effect(&mut self, effect: Effect, random: &mut Random) {
        match effect {
            Effect::ReadSwitch { job: Some(id) } => {
                let world = if self.redis_up { Ok(Arc::new(self.world())) } else { Err("redis is away".to_owned()) };
                self.outbox.push_back(Event::Surveyed { id, world });
            }
            Effect::ReadSwitch { job: None } => {
                self.outbox.push_back(if self.redis_up {
                    Event::Sessions { world: Box::new(self.world()) }
                } else {
                    Event::SessionsUnlisted { error: "redis is away".to_owned() }
                });
            }
            Effect::Provision(ProvisionEffect::Write { id, provision: Provision::Mirror(plan) }) => {
                if random.chance(2) {
                    // Somebody was quicker.
                    self.toggle_foreign_session(random);
                }
                let result = self.provision(&id, &plan, random);
                self.outbox.push_back(Event::Provisioned { id, result });
            }
            Effect::Provision(ProvisionEffect::Remove { id, provision: Provision::Mirror(plan) }) => {
                let (mut result, mut kept) = (Ok(()), false);
                for name in plan.names() {
                    assert_eq!(JobId::of_session(name).as_ref(), Some(&id));
                    match self.end_session(name, random) {
                        Ok(stays) => kept |= stays,
                        Err(error) => result = Err(error),
                    }
                }
                if !kept {
                    self.outbox.push_back(Event::Released { id, result });
                }
            }
            Effect::Provision(ProvisionEffect::RemoveOrphan { session }) => {
                assert!(session.starts_with(SESSION_PREFIX), "{session}");
                // The sweep repeats it, so its failure is nobody's news.
                let _ = self.end_session(&session, random);
            }
            Effect::Feed(FeedEffect::Open { id, feed: Feed::Hooks(HooksFeed { outer, .. }), .. }) => {
                let fails = random.chance(10);
                let result =
                    if fails { Err((Reason::AttachFailed, "the verifier said no".to_owned())) } else { Ok(()) };
                if !fails {
                    assert_eq!(self.taps.insert(id.clone(), outer), None, "two taps of one job");
                }
                self.outbox.push_back(Event::FeedOpened { id: id.clone(), result });
                if !fails && random.chance(5) {
                    self.outbox.push_back(Event::FeedLost { id, message: "the device is gone".to_owned() });
                }
            }
            Effect::Feed(FeedEffect::Close { id }) => {
                assert!(self.taps.remove(&id).is_some(), "a tap that is not open was closed");
                self.outbox.push_back(Event::FeedClosed { id, result: Ok(()) });
            }
            Effect::Asic(AsicEffect::Ask { id, question }) => {
                let view = if self.redis_up { Ok(self.asic(&question)) } else { Err("redis is away".to_owned()) };
                // An answer can get lost.
                if random.chance(95) {
                    self.outbox.push_back(Event::Asic { id, view });
                }
            }
            Effect::Asic(AsicEffect::Free { session, .. }) => {
                let result = Ok(self.free(&session, random));
                self.outbox.push_back(Event::Freed { session, result });
            }
            Effect::Asic(AsicEffect::AskObjects { job, .. }) => {
                self.outbox.push_back(Event::Objects { job, held: Ok(Vec::new()) });
            }
            Effect::DeleteRow(RowKey { door, key }) => self.delete_row_for_daemon(door, key),
            Effect::Results(_) | Effect::Log { .. } => {}
        }
    }

    fn delete_row_for_daemon(&mut self, door: Source, key: String) {
        let result = if self.redis_up { Ok(()) } else { Err("redis is away".to_owned()) };
        if self.redis_up && self.rows.remove(&(door, key.clone())).is_some() {
            let said = self.state.get(&key);
            let second = self.second_rows.remove(&(door, key.clone()));
            if !second && !said.is_some_and(|status| status.status.is_final()) {
                self.rows_deleted_without_outcome.push(format!("{door} {key}: {said:?}"));
            }
        }
        self.outbox.push_back(Event::RowDeleted { door, key, result });
    }

    /// A write whose answer is lost may have been carried out all the same.
    fn provision(&mut self, id: &JobId, plan: &MirrorPlan, random: &mut Random) -> Result<Option<Taken>, String> {
        let answer_lost = random.chance(3);
        if !self.redis_up {
            return Err("redis is away".to_owned());
        }
        if let Some(taken) = self.taken(&plan.as_sessions()) {
            *self.tally.entry("taken").or_default() += 1;
            return Ok(Some(taken));
        }
        let rare = [("renewed", self.taps.contains_key(id)), ("of two sessions", plan.sessions.len() == 2)];
        for (what, _) in rare.into_iter().filter(|(_, is_so)| *is_so) {
            *self.tally.entry(what).or_default() += 1;
        }
        self.configured.extend(plan.as_sessions());
        for name in plan.names() {
            self.outbox.push_back(Event::SessionRow { session: name.to_owned(), present: true });
            self.poke_orchagent(name, random);
        }
        if answer_lost { Err("timed out".to_owned()) } else { Ok(None) }
    }

    fn delete_session(&mut self, name: &str, random: &mut Random) -> Result<(), String> {
        if !self.redis_up {
            return Err("redis is away".to_owned());
        }
        self.configured.remove(name);
        self.outbox.push_back(Event::SessionRow { session: name.to_owned(), present: false });
        self.poke_orchagent(name, random);
        if random.chance(5) { Err("timed out".to_owned()) } else { Ok(()) }
    }

    pub(super) fn toggle_foreign_session(&mut self, random: &mut Random) {
        let name = random.pick(&["everflow", "debug", "sampled"]).to_owned();
        let src_ports = vec![random.pick(&["Ethernet0", "Ethernet8", "Ethernet12"]).to_owned()];
        let session = if name == "sampled" || random.chance(75) {
            let sampled = name == "sampled";
            Session { src_ports, dst_port: Some("Ethernet16".to_owned()), sampled, ..Session::default() }
        } else {
            // An Everflow session, which may even have an address of our pool.
            let src = random.pick(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).parse().expect("an address");
            Session { outer: Some(Outer { src, dst: COLLECTOR.parse().expect("an address") }), ..Session::default() }
        };
        self.catch_up();
        let present = self.foreign.remove(&name).is_none();
        if present {
            self.foreign.insert(name.clone(), session.clone());
            self.configured.insert(name.clone(), session);
        } else {
            self.configured.remove(&name);
        }
        self.orchagent_looks(&name);
        self.outbox.push_back(Event::SessionRow { session: name, present });
    }

    pub(super) fn remove_foreign_sessions(&mut self) {
        for name in std::mem::take(&mut self.foreign).into_keys() {
            self.configured.remove(&name);
            self.orchagent_looks(&name);
        }
    }

    /// FLUSHDB emits no events: orchagent keeps what it has.
    pub(super) fn config_flushed(&mut self) {
        self.configured.clear();
        self.foreign.clear();
        self.states.retain(|name, _| name.starts_with(SESSION_PREFIX));
        self.asic.forget_others();
    }

    pub(super) fn daemon_died(&mut self) {
        self.taps.clear();
        self.clears.clear();
        self.pending.retain(|_, pending| matches!(pending, Pending::Orchagent(_)));
        self.last_effect = self.mono;
    }

    pub(super) fn write_row(&mut self, door: Source, key: &str, fields: Fields, random: &mut Random) {
        if self.redis_up {
            self.rows.insert((door, key.to_owned()), fields);
            self.announce(door, key, random);
        }
    }

    pub(super) fn delete_row(&mut self, door: Source, key: &str, random: &mut Random) {
        if self.redis_up && self.rows.remove(&(door, key.to_owned())).is_some() {
            self.announce(door, key, random);
        }
    }

    /// Most events arrive; one that does not is made up for by the next listing.
    fn announce(&mut self, door: Source, key: &str, random: &mut Random) {
        if random.chance(95) {
            let delay = Duration::from_millis(random.below(20));
            self.schedule(delay, Pending::Row(door, key.to_owned()));
        }
    }

    pub(super) fn rows_of(&self, door: Source) -> BTreeMap<String, Fields> {
        let rows = self.rows.iter().filter(|((from, _), _)| *from == door);
        rows.map(|((_, key), fields)| (key.clone(), fields.clone())).collect()
    }

    /// What the next daemon reads in STATE_DB.
    pub(super) fn prior(&self) -> BTreeMap<String, Prior> {
        let prior = |status: &JobStatus| Prior {
            status: status.status,
            source: status.source,
            created_at: Some(status.created_at),
            started_at: status.started_at,
            ended_at: status.ended_at,
            fields: status.raw.clone(),
        };
        self.state.iter().map(|(key, status)| (key.clone(), prior(status))).collect()
    }

    pub(super) fn foreign_seen(&self) -> BTreeMap<String, Session> {
        let foreign = self.configured.iter().filter(|(name, _)| !name.starts_with(SESSION_PREFIX));
        foreign.map(|(name, session)| (name.clone(), session.clone())).collect()
    }

    pub(super) fn our_sessions(&self) -> BTreeSet<String> {
        self.configured.keys().filter(|name| name.starts_with(SESSION_PREFIX)).cloned().collect()
    }

    pub(super) fn our_states(&self) -> BTreeSet<String> {
        self.states.keys().filter(|name| name.starts_with(SESSION_PREFIX)).cloned().collect()
    }
}
