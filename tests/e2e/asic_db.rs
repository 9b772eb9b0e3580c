//! ASIC_DB held against the rows: exactly what the sessions of now ask for is bound there, ours and anybody else's; nothing that is left, nothing
//! that somebody took away.
//!
//! The fixture looks after every end of a job and at the end of every test. Objects have no names there: who an object belongs to follows from
//! what it does, and from the rows of CONFIG_DB.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fixture::{DEADLINE, FINAL, Switch, wait_for};
use crate::redis_db::{Db, Redis, Row};

const OURS: &str = "telegen_";
/// The session with which the daemon tries the switch; it belongs to no job.
const PROBE: &str = "telegen_probe";
/// What sFlow has goes by this name among what is other people's.
pub const SFLOW: &str = "sFlow";
/// A port's attributes: of plain and of sampled mirrors, and the samplers.
const PLAIN: [(&str, &str); 2] =
    [("RX", "SAI_PORT_ATTR_INGRESS_MIRROR_SESSION"), ("TX", "SAI_PORT_ATTR_EGRESS_MIRROR_SESSION")];
const SAMPLED: [(&str, &str); 2] =
    [("RX", "SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION"), ("TX", "SAI_PORT_ATTR_EGRESS_SAMPLE_MIRROR_SESSION")];
const SAMPLER: [(&str, &str); 2] =
    [("RX", "SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE"), ("TX", "SAI_PORT_ATTR_EGRESS_SAMPLEPACKET_ENABLE")];

/// What a test has said, and what was there before its jobs.
#[derive(Default)]
pub struct Watch {
    excused: Mutex<Excused>,
    before: Mutex<BTreeMap<String, Theirs>>,
}

#[derive(Default)]
struct Excused {
    everything: Option<&'static str>,
    kept: BTreeSet<String>,
}

/// What somebody else has: the row of a session, or all of sFlow's in one, and what ASIC_DB has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Theirs {
    row: Row,
    objects: BTreeMap<String, Row>,
    bindings: BTreeMap<(String, String), String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// From here on ASIC_DB is not looked at, for a reason that is the test's subject: orchagent is dead, say.
    pub fn suspend(&self, why: &'static str) {
        locked(&self.excused).everything = Some(why);
    }

    /// The reason of [`Watch::suspend`] has gone.
    pub fn resume(&self) {
        locked(&self.excused).everything = None;
    }

    /// This session of ours is kept although its job is over, because its end would unbind somebody else's.
    pub fn excuse_kept(&self, session: &str) {
        locked(&self.excused).kept.insert(session.to_owned());
    }

    /// The test itself changes or removes this session of somebody else's, or what sFlow has ([`SFLOW`]).
    pub fn forget(&self, name: &str) {
        locked(&self.before).remove(name);
    }

    pub fn is_suspended(&self) -> bool {
        locked(&self.excused).everything.is_some()
    }

    /// Before a job: what is there of other people's. What is known already stays as it was before the first job.
    pub fn remember(&self, switch: &Switch) {
        if self.is_suspended() {
            return;
        }
        let mut before = locked(&self.before);
        for (name, theirs) in Asic::read(switch).theirs() {
            before.entry(name).or_insert(theirs);
        }
    }

    /// Everything in ASIC_DB that is not as it must be, in words.
    pub fn disagreements(&self, switch: &Switch) -> Vec<String> {
        if self.is_suspended() {
            return Vec::new();
        }
        let asic = Asic::read(switch);
        let mut found = asic.bound_for_nobody();
        found.extend(asic.unbound());
        found.extend(asic.surplus_objects());
        found.extend(asic.rows_without_a_job(switch, &locked(&self.excused).kept));
        let now = asic.theirs();
        for (name, before) in locked(&self.before).iter() {
            let now = now.get(name);
            found.extend((now != Some(before)).then(|| format!("{name} was {before:?} and is {now:?}")));
        }
        found
    }
}

/// A session that says `active`.
struct Claim {
    name: String,
    row: Row,
    /// Object of a port and attribute.
    slots: BTreeSet<(String, String)>,
    /// The same of its samplers.
    samplers: BTreeSet<(String, String)>,
}

struct Asic {
    claims: Vec<Claim>,
    our_rows: Vec<String>,
    names: Row,
    ports: BTreeMap<String, Row>,
    mirrors: BTreeMap<String, Row>,
    samplers: BTreeMap<String, Row>,
    /// What sFlow's rows say, by port and field; slots of its samplers, and how many rates it has.
    sflow_row: Row,
    sflow: BTreeSet<(String, String)>,
    sflow_rates: BTreeSet<String>,
}

impl Asic {
    fn read(switch: &Switch) -> Asic {
        let (mut config, mut state) = (switch.redis(Db::Config), switch.redis(Db::State));
        let names = switch.redis(Db::Counters).row("COUNTERS_PORT_NAME_MAP");
        let sessions = table(&mut config, "MIRROR_SESSION|");
        let members = config.keys("PORTCHANNEL_MEMBER|*");
        let is_active = |name: &&String| {
            state.field(&format!("MIRROR_SESSION_TABLE|{name}"), "status").as_deref() == Some("active")
        };
        let our_rows = sessions.keys().filter(|name| name.starts_with(OURS)).cloned().collect();
        let active: Vec<String> = sessions.keys().filter(is_active).cloned().collect();
        let claims = active.into_iter().map(|name| claim(&name, sessions[&name].clone(), &members, &names)).collect();
        let mut asic = switch.redis(Db::Asic);
        let objects = |asic: &mut Redis, kind: &str| table(asic, &format!("ASIC_STATE:SAI_OBJECT_TYPE_{kind}:"));
        let (ports, mirrors) = (objects(&mut asic, "PORT"), objects(&mut asic, "MIRROR_SESSION"));
        let samplers = objects(&mut asic, "SAMPLEPACKET");
        let mut appl = switch.redis(Db::Appl);
        let sflow_rows = table(&mut appl, "SFLOW_SESSION_TABLE:");
        let global = table(&mut appl, "SFLOW_TABLE:");
        let fields = |(key, row): (&String, &Row)| -> Vec<(String, String)> {
            row.iter().map(|(field, value)| (format!("{key} {field}"), value.clone())).collect()
        };
        let sflow_row = sflow_rows.iter().chain(&global).flat_map(fields).collect();
        let slots = sflow_rows.keys().filter_map(|port| names.get(port));
        let slots = slots.flat_map(|oid| SAMPLER.map(|(_, attribute)| (oid.clone(), attribute.to_owned())));
        let sflow = slots.collect();
        let sflow_rates = sflow_rows.values().filter_map(|row| row.get("sample_rate").cloned()).collect();
        Asic { claims, our_rows, names, ports, mirrors, samplers, sflow_row, sflow, sflow_rates }
    }

    /// What refers to an object although no session asks for it.
    fn bound_for_nobody(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (port, attribute, oid) in self.references() {
            let slot = (port.to_owned(), attribute.to_owned());
            let (asked, known) = if SAMPLER.iter().any(|(_, sampler)| *sampler == attribute) {
                let sampler = self.samplers.get(oid);
                let asked = match sampler {
                    Some(sampler) if is_of_a_mirror(sampler) => {
                        self.claims.iter().any(|claim| claim.samplers.contains(&slot))
                    }
                    Some(_) => self.sflow.contains(&slot),
                    None => false,
                };
                (asked, sampler)
            } else {
                let mirror = self.mirrors.get(oid);
                let does = |claim: &Claim| mirror.is_some_and(|mirror| self.is_of(mirror, claim));
                (self.claims.iter().any(|claim| claim.slots.contains(&slot) && does(claim)), mirror)
            };
            if !asked {
                found.push(format!("{} {attribute} is {oid} {known:?}, which nobody asks for", self.name_of(port)));
            }
        }
        found
    }

    /// What a session that says `active` asks for and has not got.
    fn unbound(&self) -> Vec<String> {
        let bound: BTreeSet<(String, String)> =
            self.references().map(|(port, attribute, _)| (port.to_owned(), attribute.to_owned())).collect();
        let mut found = Vec::new();
        for claim in &self.claims {
            let missing = claim.slots.union(&claim.samplers).filter(|slot| !bound.contains(slot));
            found.extend(missing.map(|(port, attribute)| {
                format!("{} says active, and {} {attribute} is bound to nothing", claim.name, self.name_of(port))
            }));
        }
        found
    }

    /// More objects than sessions and samplings, or fewer.
    fn surplus_objects(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.mirrors.len() != self.claims.len() {
            let names: Vec<&str> = self.claims.iter().map(|claim| claim.name.as_str()).collect();
            found.push(format!("the mirror sessions {:?} for the active sessions {names:?}", self.mirrors));
        }
        let sampled = self.claims.iter().filter(|claim| !claim.samplers.is_empty()).count();
        if !(sampled..=sampled + self.sflow_rates.len()).contains(&self.samplers.len()) {
            found.push(format!("the samplers {:?} for {sampled} sessions and {:?}", self.samplers, self.sflow_rates));
        }
        found
    }

    /// Sessions of ours that belong to no job that goes on.
    fn rows_without_a_job(&self, switch: &Switch, kept: &BTreeSet<String>) -> Vec<String> {
        let mut state = switch.redis(Db::State);
        let mut is_left = |name: &&String| {
            let rest = name.strip_prefix(OURS).unwrap_or_default();
            let id = rest.strip_prefix('_').and_then(|rest| rest.split_once('_')).map_or(rest, |(_, id)| id);
            let status = state.field(&format!("TELEGEN_JOB_TABLE|{id}"), "status");
            *name != PROBE && !kept.contains(*name) && status.is_none_or(|status| FINAL.contains(&status.as_str()))
        };
        let left = self.our_rows.iter().filter(|name| is_left(name));
        left.map(|name| format!("the row of {name}, whose job is over")).collect()
    }

    /// Other people's active sessions, and what sFlow has, be it nothing.
    fn theirs(&self) -> BTreeMap<String, Theirs> {
        let foreign = self.claims.iter().filter(|claim| !claim.name.starts_with(OURS));
        let what = |claim: &Claim| {
            let mirrors = self.mirrors.iter().filter(|(_, mirror)| self.is_of(mirror, claim));
            let bindings =
                self.references().map(|(port, attribute, oid)| ((port.to_owned(), attribute.to_owned()), oid));
            let own = bindings.filter(|(slot, _)| claim.slots.contains(slot));
            Theirs {
                row: claim.row.clone(),
                objects: mirrors.map(|(oid, mirror)| (oid.clone(), mirror.clone())).collect(),
                bindings: own.map(|(slot, oid)| (slot, oid.to_owned())).collect(),
            }
        };
        let sessions = foreign.map(|claim| (claim.name.clone(), what(claim)));
        sessions.chain([(SFLOW.to_owned(), self.theirs_of_sflow())]).collect()
    }

    fn theirs_of_sflow(&self) -> Theirs {
        let own = |oid: &str| self.samplers.get(oid).is_some_and(|sampler| !is_of_a_mirror(sampler));
        let samplers = self.samplers.iter().filter(|(oid, _)| own(oid));
        let bindings = self.references().filter(|(_, _, oid)| own(oid));
        Theirs {
            row: self.sflow_row.clone(),
            objects: samplers.map(|(oid, sampler)| (oid.clone(), sampler.clone())).collect(),
            bindings: bindings
                .map(|(port, attribute, oid)| ((port.to_owned(), attribute.to_owned()), oid.to_owned()))
                .collect(),
        }
    }

    /// Every reference of a port to an object: the port's object, the attribute, the object.
    fn references(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let attributes = || [PLAIN, SAMPLED, SAMPLER].into_iter().flatten().map(|(_, attribute)| attribute);
        self.ports.iter().flat_map(move |(port, row)| {
            attributes().filter_map(move |attribute| {
                let value = row.get(attribute)?;
                let oid = value.strip_prefix("1:").unwrap_or(value);
                (!["0:null", "oid:0x0"].contains(&oid)).then_some((port.as_str(), attribute, oid))
            })
        })
    }

    /// Whether a mirror session does what a session's row says.
    fn is_of(&self, mirror: &Row, claim: &Claim) -> bool {
        let is = |field: &str, value: Option<&String>| mirror.get(&format!("SAI_MIRROR_SESSION_ATTR_{field}")) == value;
        if claim.row.get("type").is_some_and(|word| word == "SPAN") {
            return is("MONITOR_PORT", claim.row.get("dst_port").and_then(|port| self.names.get(port)));
        }
        let address = |name: &str| {
            let address: Option<IpAddr> = claim.row.get(name).and_then(|text| text.parse().ok());
            address.map(|address| address.to_string())
        };
        is("SRC_IP_ADDRESS", address("src_ip").as_ref()) && is("DST_IP_ADDRESS", address("dst_ip").as_ref())
    }

    fn name_of(&self, port: &str) -> String {
        self.names.iter().find(|(_, oid)| *oid == port).map_or_else(|| port.to_owned(), |(name, _)| name.clone())
    }
}

/// Whether a sampler is a mirror session's; those of sFlow have no type (observed fact S1).
fn is_of_a_mirror(sampler: &Row) -> bool {
    sampler.contains_key("SAI_SAMPLEPACKET_ATTR_TYPE")
}

/// The object that samples what comes in at a port.
pub fn ingress_sampler(switch: &Switch, port: &str) -> Option<String> {
    let oid = switch.redis(Db::Counters).field("COUNTERS_PORT_NAME_MAP", port)?;
    let sampler = switch.redis(Db::Asic).field(&format!("ASIC_STATE:SAI_OBJECT_TYPE_PORT:{oid}"), SAMPLER[0].1);
    sampler.filter(|sampler| sampler != "oid:0x0")
}

/// sFlow samples what comes in at a port, one of so many; its sampler.
pub fn enable_sflow(switch: &Switch, port: &str, rate: &str) -> String {
    let mut appl = switch.redis(Db::Appl);
    appl.set("SFLOW_TABLE:global", &[("admin_state", "up")]);
    let row = [("admin_state", "up"), ("sample_rate", rate), ("sample_direction", "rx")];
    appl.set(&format!("SFLOW_SESSION_TABLE:{port}"), &row);
    wait_for(&format!("sFlow has {port}"), DEADLINE, || ingress_sampler(switch, port))
}

/// What a row asks for: `members` are the keys of PORTCHANNEL_MEMBER.
fn claim(name: &str, row: Row, members: &[String], names: &Row) -> Claim {
    let value = |field: &str| row.get(field).map(String::as_str).unwrap_or_default();
    let number = |field: &str| value(field).parse().unwrap_or(0_u32);
    let is_sampled = number("sample_rate") > 0 || number("truncate_size") > 0;
    let direction = value("direction");
    let mut ports = BTreeSet::new();
    for source in value("src_port").split(',') {
        let prefix = format!("PORTCHANNEL_MEMBER|{source}|");
        ports.insert(source);
        ports.extend(members.iter().filter_map(|key| key.strip_prefix(&prefix)));
    }
    let slots = |attributes: [(&str, &str); 2]| -> BTreeSet<(String, String)> {
        let wanted = attributes.into_iter().filter(|(side, _)| [*side, "BOTH"].contains(&direction));
        let oids = ports.iter().filter_map(|port| names.get(*port));
        wanted.flat_map(|(_, attribute)| oids.clone().map(move |oid| (oid.clone(), attribute.to_owned()))).collect()
    };
    let samplers = if is_sampled { slots(SAMPLER) } else { BTreeSet::new() };
    let slots = slots(if is_sampled { SAMPLED } else { PLAIN });
    Claim { name: name.to_owned(), row, slots, samplers }
}

/// The rows of a table, by what follows its prefix.
fn table(redis: &mut Redis, prefix: &str) -> BTreeMap<String, Row> {
    let keys = redis.keys(&format!("{prefix}*"));
    let named = |key: String| (key.strip_prefix(prefix).unwrap_or_default().to_owned(), redis.row(&key));
    keys.into_iter().map(named).collect()
}

#[test]
fn what_is_left_bound_and_what_was_taken_away_is_found() {
    let Some(switch) = Switch::start() else { return };
    let theirs = [("type", "SPAN"), ("src_port", "Ethernet8"), ("dst_port", "Ethernet20"), ("direction", "RX")];
    switch.redis(Db::Config).set("MIRROR_SESSION|theirs", &theirs);
    switch.await_session("theirs", Some("active"));
    let sflow = enable_sflow(&switch, "Ethernet12", "4000");
    switch.run_job("ours", "Ethernet0", &[]);
    assert_eq!(switch.asic_db.disagreements(&switch), [""; 0]);
    let names = switch.redis(Db::Counters).row("COUNTERS_PORT_NAME_MAP");
    let port = |name: &str| format!("ASIC_STATE:SAI_OBJECT_TYPE_PORT:{}", names[name]);
    let spoil_in = |db: Db, key: &str, field: &str, value: &str, expected: &str| {
        let mut redis = switch.redis(db);
        let before = redis.field(key, field).unwrap_or_else(|| "0:null".to_owned());
        redis.set(key, &[(field, value)]);
        assert_found(&switch, expected);
        redis.set(key, &[(field, &before)]);
    };
    let spoil = |key: &str, attribute: &str, value: &str, expected: &str| {
        spoil_in(Db::Asic, key, attribute, value, expected);
    };
    let our_object = switch.redis(Db::Asic).field(&port("Ethernet0"), PLAIN[0].1).unwrap();
    spoil(&port("Ethernet12"), PLAIN[0].1, &our_object, "Ethernet12 SAI_PORT_ATTR_INGRESS_MIRROR_SESSION is oid:");
    spoil(&port("Ethernet0"), PLAIN[1].1, &our_object, "which nobody asks for");
    spoil(&port("Ethernet8"), PLAIN[0].1, "0:null", "theirs says active");
    spoil(&port("Ethernet8"), PLAIN[0].1, &our_object, "theirs was");
    spoil(&port("Ethernet4"), SAMPLER[0].1, "oid:0xf000000009999", "which nobody asks for");
    spoil(&port("Ethernet12"), SAMPLER[0].1, "oid:0x0", "sFlow was");
    spoil(&port("Ethernet4"), SAMPLER[0].1, &sflow, "sFlow was");
    // A mirror's sampler where sFlow's is asked for.
    let sampler = format!("ASIC_STATE:SAI_OBJECT_TYPE_SAMPLEPACKET:{sflow}");
    let kind = ["SAI_SAMPLEPACKET_ATTR_TYPE", "SAI_SAMPLEPACKET_TYPE_MIRROR_SESSION"];
    spoil(&sampler, kind[0], kind[1], "Ethernet12 SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE is oid:");
    switch.redis(Db::Asic).delete_field(&sampler, kind[0]);
    spoil_in(Db::Appl, "SFLOW_SESSION_TABLE:Ethernet12", "sample_direction", "tx", "sFlow was");
    spoil_in(Db::Appl, "SFLOW_TABLE:global", "admin_state", "down", "sFlow was");
    spoil_in(Db::Config, "MIRROR_SESSION|theirs", "dst_port", "Ethernet16", "theirs was");
    spoil_in(Db::State, "MIRROR_SESSION_TABLE|theirs", "status", "inactive", "theirs was");
    let object = "ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION:oid:0xe000000009999";
    spoil(object, "SAI_MIRROR_SESSION_ATTR_TYPE", "SAI_MIRROR_SESSION_TYPE_LOCAL", "for the active sessions");
    switch.redis(Db::Asic).delete(object);
    switch.stop_job("ours");
    switch.redis(Db::Config).delete("MIRROR_SESSION|theirs");
    switch.await_session("theirs", None);
    assert_found(&switch, "theirs was");
    switch.asic_db.forget("theirs");
    assert_eq!(switch.asic_db.disagreements(&switch), [""; 0]);
}

fn assert_found(switch: &Switch, expected: &str) {
    let found = switch.asic_db.disagreements(switch);
    assert!(found.iter().any(|line| line.contains(expected)), "{expected} is not in {found:?}");
}
