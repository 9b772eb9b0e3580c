//! Whether this switch, as it stands, can serve a job, and with what: sonic-utilities' own rules for mirror sessions
//! (config/main.py `validate_mirror_session_config`), applied before writing because orchagent lets sessions destroy each
//! other in silence (observed fact M5).
//!
//! Pure: reads a [`World`], returns a [`Plan`] or a refusal. How many jobs run, and in which order, is the supervisor's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::erspan::{Outer, Ready};
use super::feed::{Feed, HooksFeed};
use super::job::{Direction, JobId, JobSpec, ResultDetail, SpanMethod};
use super::provision::Provision;
use super::provision::mirror::{self, MirrorPlan, MirrorTarget};
use super::schema::{Reason, SESSION_PREFIX, Warning};
use super::settings::Settings;
use super::source_ports::natural;
use super::world::{Session, World};
pub use follow::{Followed, follow};
use hardware::{check_direction, check_sampling};
pub use overlap::{Intruder, conflict, intruder, over};
use overlap::{session_between, session_using};
use pool::lease_port;
pub use pool::places;

mod follow;
mod hardware;
mod overlap;
mod pool;

/// What a job takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is written into the switch for it; `None` with `span_method` `none`.
    pub provision: Option<Provision>,
    /// Where its packets come from.
    pub feed: Feed,
    /// The front-panel ports whose counters the coverage is measured against.
    pub source_ports: BTreeSet<String>,
    /// Bytes of kernel memory.
    pub memory_bytes: u64,
    /// What the user should know from the start.
    pub warnings: BTreeSet<Warning>,
}

impl Plan {
    /// The mirror sessions, if that is what the job has in the switch.
    #[must_use]
    pub fn mirror(&self) -> Option<&MirrorPlan> {
        match &self.provision {
            Some(Provision::Mirror(mirror)) => Some(mirror),
            None => None,
        }
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason word.
    pub reason: Reason,
    /// One sentence a person can act on.
    pub message: String,
}

fn refuse<T>(reason: Reason, message: String) -> Result<T, Refusal> {
    Err(Refusal { reason, message })
}

/// The check that comes before the queue: do the ports exist?
///
/// # Errors
/// `unknown_port`, also for a port channel without members; `invalid_field` for a port that is listed beside its port channel.
pub fn check_ports(spec: &JobSpec, world: &World) -> Result<(), Refusal> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for port in spec.ports.names() {
        let members = match (world.ports.get_key_value(port), world.port_channels.get(port)) {
            (Some((name, _)), _) => vec![name.as_str()],
            (None, Some(members)) if !members.is_empty() => members.iter().map(String::as_str).collect(),
            (None, Some(_)) => {
                return refuse(
                    Reason::UnknownPort,
                    format!("port: {port} has no members, so there is nothing to observe; add a member or name a port"),
                );
            }
            (None, None) => {
                return refuse(
                    Reason::UnknownPort,
                    format!(
                        "port: \"{port}\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB; {}",
                        known_ports(world)
                    ),
                );
            }
        };
        for member in members {
            // orchagent refuses such a session (mirrororch.cpp, validateSrcPortList).
            if let Some(other) = seen.insert(member, port) {
                let (channel, single) = if other == member { (port, other) } else { (other, member) };
                return refuse(
                    Reason::InvalidField,
                    format!("port: {single} is a member of {channel}, and both are listed; name one of them"),
                );
            }
        }
    }
    Ok(())
}

/// The checks behind the queue: capability, conflict, pool, tap, memory.
///
/// `taken` are the sessions of jobs that hold resources (their rows may not be in the snapshot yet), `memory_used_bytes` what
/// their maps hold.
///
/// # Errors
/// The first check that fails, in the contract's order.
pub fn plan(
    id: &JobId,
    spec: &JobSpec,
    world: &World,
    settings: &Settings,
    taken: &BTreeMap<String, Session>,
    memory_used_bytes: u64,
) -> Result<Plan, Refusal> {
    let mut sessions = world.sessions.clone();
    sessions.extend(taken.iter().map(|(name, session)| (name.clone(), session.clone())));
    check_sampling(spec, world, settings)?;
    let (mirror, feed) = match spec.span_method {
        SpanMethod::Span => {
            check_direction(spec.direction, world, settings)?;
            let sources = check_conflict(id, spec, &sessions, world)?;
            let (port, netdev) = lease_port(spec, world, settings, &sessions)?;
            let feed = HooksFeed { netdev, hooks: Direction::Ingress, outer: None };
            (Some(MirrorPlan::new(id, spec, sources, MirrorTarget::Port(port))), feed)
        }
        SpanMethod::Erspan => {
            check_direction(spec.direction, world, settings)?;
            let ready = settings.erspan.ready();
            let ready = ready.map_err(|message| Refusal { reason: Reason::MirrorUnsupported, message })?;
            let sources = check_conflict(id, spec, &sessions, world)?;
            let tunnel = settings.erspan.tunnel(lease_source(ready, &sessions)?, ready.dst);
            let (netdev, outer) = (ready.netdev.to_owned(), Some(tunnel.outer));
            let feed = HooksFeed { netdev, hooks: Direction::Ingress, outer };
            (Some(MirrorPlan::new(id, spec, sources, MirrorTarget::Tunnel(tunnel))), feed)
        }
        SpanMethod::None => (None, HooksFeed { netdev: spec.ports.to_string(), hooks: spec.direction, outer: None }),
    };
    if !world.netdevs.contains(&feed.netdev) {
        let netdev = feed.netdev;
        return refuse(Reason::TapMissing, format!("the network device {netdev}, to be tapped, is not on this host"));
    }
    let memory_bytes = match spec.result_detail {
        ResultDetail::Summary => world.tap_cost.summary_bytes,
        ResultDetail::Flows => world.tap_cost.flows_bytes,
    };
    if memory_used_bytes + memory_bytes > settings.memory_limit_bytes {
        return refuse(
            Reason::MemoryLimit,
            format!(
                "the job's maps would take {} KiB beside the {} KiB in use, and memory_limit is {} MiB; raise it or ask for result_detail summary",
                memory_bytes >> 10,
                memory_used_bytes >> 10,
                settings.memory_limit_bytes >> 20
            ),
        );
    }
    let source_ports = world.expand(spec.ports.names());
    let warnings = warnings(world, mirror.as_ref(), &source_ports);
    let (provision, feed) = (mirror.map(Provision::Mirror), Feed::Hooks(feed));
    Ok(Plan { provision, feed, source_ports, memory_bytes, warnings })
}

/// The ports that the job's sessions will name, if no session is in their way.
fn check_conflict(
    id: &JobId,
    spec: &JobSpec,
    sessions: &BTreeMap<String, Session>,
    world: &World,
) -> Result<Vec<String>, Refusal> {
    let there = sessions.keys().chain(&world.known_states);
    if let Some(session) = there.filter(|name| JobId::of_session(name).as_ref() == Some(id)).min() {
        return refuse(
            Reason::MirrorConflict,
            format!(
                "a mirror session {session} of an earlier job is still there; wait until it is gone or use another job id"
            ),
        );
    }
    let sources = mirror::sources(spec, world);
    let ports: BTreeSet<String> = sources.iter().cloned().collect();
    if let Some((name, port)) = conflict(&ports, spec.direction, sessions, world) {
        let what_helps = if name.starts_with(SESSION_PREFIX) {
            "telegen removes it when its job is over and nobody is harmed by that (see telegen-sonic status); wait for it, or observe another port or direction"
        } else {
            "remove that session or observe another port or direction"
        };
        return refuse(
            Reason::MirrorConflict,
            format!("{port} is already used by mirror session {name}; {what_helps}"),
        );
    }
    Ok(sources)
}

/// The first free address of the pool: with it, no other session has the same outer addresses.
fn lease_source(ready: Ready<'_>, sessions: &BTreeMap<String, Session>) -> Result<IpAddr, Refusal> {
    let mut skipped = Vec::new();
    for &src in ready.sources {
        match session_between(Outer { src, dst: ready.dst }, sessions) {
            None => return Ok(src),
            Some(name) => skipped.push(format!("{src} is in mirror session {name}")),
        }
    }
    let message = format!(
        "no address of erspan_src_ip in TELEGEN|global is free for copies to {}: {}; add one, for each job that is to run needs its own",
        ready.dst,
        skipped.join("; ")
    );
    refuse(Reason::NoMirrorPort, message)
}

fn warnings(world: &World, mirror: Option<&MirrorPlan>, source_ports: &BTreeSet<String>) -> BTreeSet<Warning> {
    let mut warnings = BTreeSet::new();
    let facts = |port: &String| world.ports.get(port);
    if source_ports.iter().filter_map(facts).any(|port| port.oper_up == Some(false)) {
        warnings.insert(Warning::PortDown);
    }
    let Some(mirror) = mirror else { return warnings };
    let source_mbps: u64 = source_ports.iter().filter_map(facts).filter_map(|port| port.speed_mbps).sum();
    let destination_mbps = mirror.port().and_then(|port| world.ports.get(port)?.speed_mbps);
    if destination_mbps.is_some_and(|mbps| mbps < source_mbps) {
        warnings.insert(Warning::Oversubscribed);
    }
    warnings
}

fn known_ports(world: &World) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<&String> = world.ports.keys().chain(world.port_channels.keys()).collect();
    if names.is_empty() {
        return "CONFIG_DB has no ports at all".to_owned();
    }
    names.sort_by_key(|name| natural(name));
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("this switch has {}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests;
