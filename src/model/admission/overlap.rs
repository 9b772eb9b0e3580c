//! Which mirror sessions stand in each other's way: a port has one session in each direction, and orchagent lets the last one win
//! without a word (observed fact M5).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::erspan::Outer;
use crate::model::job::Direction;
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget};
use crate::model::schema::SESSION_PREFIX;
use crate::model::world::{Session, World};

/// The first session, of others before ours, that a session on `sources` (no port channels) would overlap, and the port they would share.
#[must_use]
pub fn conflict(
    sources: &BTreeSet<String>,
    direction: Direction,
    sessions: &BTreeMap<String, Session>,
    world: &World,
) -> Option<(String, String)> {
    let shares = |(name, session): (&String, &Session)| {
        let shared = destination(sources, session).or_else(|| shared_source(sources, direction, session, world));
        Some((name.clone(), shared?))
    };
    // Somebody else's first: it can be removed, while one of ours may stay for its sake.
    let is_ours = |name: &String| name.starts_with(SESSION_PREFIX);
    let theirs = sessions.iter().filter(|(name, _)| !is_ours(name)).find_map(shares);
    theirs.or_else(|| sessions.iter().filter(|(name, _)| is_ours(name)).find_map(shares))
}

/// The first session that sends its copies to one of these ports, and the port.
fn sending_to(ports: &BTreeSet<String>, sessions: &BTreeMap<String, Session>) -> Option<(String, String)> {
    sessions.iter().find_map(|(name, session)| Some((name.clone(), destination(ports, session)?)))
}

fn destination(ports: &BTreeSet<String>, session: &Session) -> Option<String> {
    session.dst_port.as_ref().filter(|dst| ports.contains(*dst)).cloned()
}

/// The first port that `session` copies in `direction`, too.
fn shared_source(sources: &BTreeSet<String>, direction: Direction, session: &Session, world: &World) -> Option<String> {
    let theirs = world.expand(session.src_ports.iter().map(String::as_str));
    let shared = sources.intersection(&theirs).next().cloned();
    shared.filter(|_| direction.overlaps(session.direction.unwrap_or(Direction::Both)))
}

/// A session of somebody else that came into the way of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intruder {
    /// It copies a port of ours in the same direction. The port is bound to it now, and **deleting ours would unbind it**, while
    /// STATE_DB went on to call it active (observed fact M5).
    OverOurs {
        /// Its name.
        session: String,
        /// The port.
        port: String,
    },
    /// It uses our destination, or sends its copies to a port of ours. Ours can be deleted without a loss for it.
    OnOurPort {
        /// Its name.
        session: String,
        /// The port.
        port: String,
    },
    /// It sends its copies between the addresses of ours, so that nobody can tell them apart.
    InOurTunnel {
        /// Its name.
        session: String,
    },
}

/// The session of somebody else that is in the way of `mirror`. One that deleting ours would harm is found before any other.
#[must_use]
pub fn intruder(mirror: &MirrorPlan, foreign: &BTreeMap<String, Session>, world: &World) -> Option<Intruder> {
    if let Some((session, port)) = over(&mirror.as_sessions(), foreign, world) {
        return Some(Intruder::OverOurs { session, port });
    }
    if let Some((session, port)) = sending_to(&mirror.sources(), foreign) {
        return Some(Intruder::OnOurPort { session, port });
    }
    match &mirror.target {
        MirrorTarget::Port(port) => session_using(port, foreign)
            .map(|session| Intruder::OnOurPort { session: session.clone(), port: port.clone() }),
        MirrorTarget::Tunnel(tunnel) => {
            session_between(tunnel.outer, foreign).map(|session| Intruder::InOurTunnel { session: session.clone() })
        }
    }
}

/// The first of `foreign` that copies a port of one of `ours` in the same direction and by the same attribute of the port, and the port.
#[must_use]
pub fn over(
    ours: &BTreeMap<String, Session>,
    foreign: &BTreeMap<String, Session>,
    world: &World,
) -> Option<(String, String)> {
    foreign.iter().find_map(|(name, theirs)| {
        let shared = ours.values().filter(|session| session.sampled == theirs.sampled).find_map(|session| {
            let sources = world.expand(session.src_ports.iter().map(String::as_str));
            shared_source(&sources, session.direction.unwrap_or(Direction::Both), theirs, world)
        });
        Some((name.clone(), shared?))
    })
}

/// The first session between these addresses.
pub(super) fn session_between(outer: Outer, sessions: &BTreeMap<String, Session>) -> Option<&String> {
    sessions.iter().find(|(_, session)| session.outer == Some(outer)).map(|(name, _)| name)
}

/// The first session that has `port` as its destination, or by its own name as a source.
pub(super) fn session_using<'a>(port: &str, sessions: &'a BTreeMap<String, Session>) -> Option<&'a String> {
    let uses = |session: &Session| {
        session.dst_port.as_deref() == Some(port) || session.src_ports.iter().any(|src| src == port)
    };
    sessions.iter().find(|(_, session)| uses(session)).map(|(name, _)| name)
}
