//! The pool of ports that copies can go to: which one a job gets, and which ones no job can have.

use std::collections::BTreeMap;

use super::{Refusal, refuse, session_using};
use crate::model::job::JobSpec;
use crate::model::schema::Reason;
use crate::model::settings::Settings;
use crate::model::source_ports::natural;
use crate::model::world::{Session, World};

/// The pool key that stands for the switch's CPU port.
pub(super) const CPU_PORT: &str = "CPU";

/// The first free port of the pool, in natural order, the CPU port last, and its netdev.
pub(super) fn lease_port(
    spec: &JobSpec,
    world: &World,
    settings: &Settings,
    sessions: &BTreeMap<String, Session>,
) -> Result<(String, String), Refusal> {
    let observed = world.expand(spec.ports.names());
    let mut skipped = Vec::new();
    let mut lacks_netdevs = true;
    for (port, netdev) in in_order(world) {
        let in_use = || session_using(port, sessions).map(|name| format!("is in mirror session {name}"));
        let is_observed = observed.contains(port).then(|| "is the port to be observed".to_owned());
        let fault = match (usable(port, netdev.as_ref(), world, settings), is_observed.or_else(in_use)) {
            (Ok(netdev), None) => return Ok((port.clone(), netdev.to_owned())),
            (Ok(_) | Err(Fault::NoNetdev(_)), Some(why)) => Fault::Other(why),
            (Err(fault), _) => fault,
        };
        lacks_netdevs &= matches!(fault, Fault::NoNetdev(_));
        skipped.push(format!("{port} {fault}"));
    }
    if skipped.is_empty() {
        return refuse(
            Reason::NoMirrorPort,
            "TELEGEN_MIRROR_PORT is empty, so copies have nowhere to go; add a port with the netdev on which its copies arrive".to_owned(),
        );
    }
    let said = skipped.join("; ");
    if lacks_netdevs {
        return refuse(Reason::TapMissing, format!("no port of TELEGEN_MIRROR_PORT can be tapped: {said}"));
    }
    refuse(Reason::NoMirrorPort, format!("no port of TELEGEN_MIRROR_PORT is free: {said}"))
}

/// Each port of the pool with the netdev on which its copies are awaited, or why no job can have it, whatever runs.
pub fn places(world: &World, settings: &Settings) -> impl Iterator<Item = (String, Result<String, String>)> {
    let place = |(port, netdev): (&String, &Option<String>)| {
        let usable = usable(port, netdev.as_ref(), world, settings);
        (port.clone(), usable.map(str::to_owned).map_err(|fault| fault.to_string()))
    };
    in_order(world).into_iter().map(place)
}

/// In natural order, the CPU port last.
fn in_order(world: &World) -> Vec<(&String, &Option<String>)> {
    let mut ports: Vec<(&String, &Option<String>)> = world.pool.iter().collect();
    ports.sort_by_key(|(port, _)| (*port == CPU_PORT, natural(port)));
    ports
}

/// What is the matter with a port of the pool.
enum Fault {
    /// The netdev that its row names is not on this host.
    NoNetdev(String),
    Other(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::NoNetdev(netdev) => write!(formatter, "has the netdev {netdev}, which is not on this host"),
            Fault::Other(why) => formatter.write_str(why),
        }
    }
}

/// The netdev of a port of the pool if a job could have it.
fn usable<'a>(port: &str, netdev: Option<&'a String>, world: &World, settings: &Settings) -> Result<&'a str, Fault> {
    if port != CPU_PORT
        && let Some(why) = occupied(port, world)
    {
        return Err(Fault::Other(why));
    }
    match netdev {
        None => Err(Fault::Other("has no netdev".to_owned())),
        Some(netdev) if settings.erspan.netdev.as_ref() == Some(netdev) => {
            Err(Fault::Other("has the netdev on which erspan_netdev awaits other copies".to_owned()))
        }
        Some(netdev) if !world.netdevs.contains(netdev) => Err(Fault::NoNetdev(netdev.clone())),
        Some(netdev) => Ok(netdev),
    }
}

/// What a port is that no destination of copies may be.
fn occupied(port: &str, world: &World) -> Option<String> {
    if !world.ports.contains_key(port) {
        return Some("is not in PORT".to_owned());
    }
    if world.vlan_members.contains(port) {
        return Some("is a VLAN member".to_owned());
    }
    if let Some((name, _)) = world.port_channels.iter().find(|(_, members)| members.contains(port)) {
        return Some(format!("is a member of {name}"));
    }
    world.routed_ports.contains(port).then(|| "has an IP configuration".to_owned())
}
