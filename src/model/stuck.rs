//! A session of ours that orchagent does not remove however often it is deleted: what ASIC_DB shows of it, and whether a cure is sure to
//! harm nobody.
//!
//! Our sessions name ports, so orchagent can remove them. Those of a version that named port channels may be stuck: a port that joined
//! a port channel whose name is a part of theirs is bound to them for good (observed fact S17), and one whose port channel is gone is
//! looked for in vain (fact S18). Pure: `io::unbind` reads and writes.

use std::collections::BTreeMap;

use super::admission::conflict;
use super::asic::{Binding, View};
use super::job::Direction;
use super::provision::mirror::MirrorTarget;
use super::world::{Session, World};

/// How the name of every port channel begins (sonic-portchannel.yang).
const PORTCHANNEL_PREFIX: &str = "PortChannel";

/// What is to be done with a stuck session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These ports are bound to it and not named by it. A session on each of them, added and deleted, unbinds them (fact S17).
    Unbind(Vec<Binding>),
    /// Nothing can be done without harm, or without guessing: this is why, and what would help.
    Leave(String),
}

/// Judges `session`, whose row was `row` and whose copies went to `target`, by a `view` of all ports and by the `world` of the same second.
#[must_use]
pub fn judge(session: &str, row: &Session, target: &MirrorTarget, view: &View, world: &World) -> Verdict {
    let others: BTreeMap<String, Session> = world
        .sessions
        .iter()
        .filter(|(name, _)| *name != session)
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect();
    if let Some((name, _)) = others.iter().find(|(_, other)| same_target(other, target)) {
        return Verdict::Leave(format!(
            "mirror session {name} sends its copies to the same place, so ASIC_DB does not tell which of the two a port is bound to"
        ));
    }
    let Some(bound) = view.bound_to(target) else {
        return Verdict::Leave("the port to which it sent has no object in COUNTERS_DB any more".to_owned());
    };
    if bound.is_empty() {
        return Verdict::Leave(unbound(row, world));
    }
    let named = world.expand(row.src_ports.iter().map(String::as_str));
    let direction = row.direction.unwrap_or(Direction::Both);
    let stray = |binding: &&Binding| {
        !named.contains(&binding.port) && !binding.sampled && binding.direction.overlaps(direction)
    };
    let strays: Vec<Binding> = bound.iter().copied().filter(stray).cloned().collect();
    if strays.is_empty() {
        let words = bound.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Verdict::Leave(format!(
            "ASIC_DB shows {words} bound to it. orchagent may be busy, or not running; if that stays so while it runs, a restart of the swss service frees it, which interrupts traffic"
        ));
    }
    for stray in &strays {
        if let Some((name, port)) = conflict(&[stray.port.clone()].into(), stray.direction, &others, world) {
            return Verdict::Leave(format!(
                "ASIC_DB shows {stray} bound to it, and mirror session {name} uses {port}: unbinding the port would take it from {name}, too; it can be freed when {name} is removed"
            ));
        }
    }
    Verdict::Unbind(strays)
}

/// Why a session of which nothing is bound stays.
fn unbound(row: &Session, world: &World) -> String {
    let known = |port: &&String| world.ports.contains_key(*port) || world.port_channels.contains_key(*port);
    match row.src_ports.iter().find(|port| !known(port)) {
        Some(gone) if gone.starts_with(PORTCHANNEL_PREFIX) => format!(
            "no port is bound to it, but it names {gone}, which is gone: orchagent removes it when a port channel {gone} exists again (config portchannel add {gone}; it may be removed right after)"
        ),
        Some(gone) => format!(
            "no port is bound to it in ASIC_DB, and it names {gone}, which is gone; orchagent has not acted on its deletion yet: does the swss service run?"
        ),
        None => {
            "no port is bound to it in ASIC_DB; orchagent has not acted on its deletion yet: does the swss service run?"
                .to_owned()
        }
    }
}

fn same_target(session: &Session, target: &MirrorTarget) -> bool {
    match target {
        MirrorTarget::Port(port) => session.dst_port.as_ref() == Some(port),
        MirrorTarget::Tunnel(tunnel) => session.outer == Some(tunnel.outer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::asic::MirrorObject;
    use crate::model::world::Port;

    /// Ethernet0, 4, 8 and 120; PortChannel1 = {Ethernet4}, PortChannel10 = {Ethernet0}.
    fn world() -> World {
        let channel = |name: &str, member: &str| (name.to_owned(), [member.to_owned()].into());
        World {
            ports: ["Ethernet0", "Ethernet4", "Ethernet8", "Ethernet120"]
                .map(|name| (name.to_owned(), Port::default()))
                .into(),
            port_channels: [channel("PortChannel1", "Ethernet4"), channel("PortChannel10", "Ethernet0")].into(),
            ..World::default()
        }
    }

    fn session(src_port: &str, dst_port: &str) -> Session {
        Session {
            src_ports: vec![src_port.to_owned()],
            dst_port: Some(dst_port.to_owned()),
            direction: Some(Direction::Ingress),
            ..Session::default()
        }
    }

    fn binding(port: &str) -> Binding {
        Binding { port: port.to_owned(), direction: Direction::Ingress, sampled: false, object: "oid:0xe1".to_owned() }
    }

    /// These ports are bound to an object that sends to Ethernet120.
    fn view(ports: &[&str]) -> View {
        let monitor = "oid:0x120".to_owned();
        View {
            oids: [("Ethernet120".to_owned(), monitor.clone())].into(),
            bindings: ports.iter().map(|port| binding(port)).collect(),
            objects: [("oid:0xe1".to_owned(), MirrorObject { monitor_port: Some(monitor), outer: None })].into(),
            ..View::default()
        }
    }

    fn judged(view: &View, world: &World) -> Verdict {
        let target = MirrorTarget::Port("Ethernet120".to_owned());
        judge("telegen_a", &session("PortChannel10", "Ethernet120"), &target, view, world)
    }

    fn left(verdict: Verdict) -> String {
        match verdict {
            Verdict::Leave(why) => why,
            Verdict::Unbind(bindings) => panic!("{bindings:?}"),
        }
    }

    #[test]
    fn a_port_that_the_session_does_not_name_is_unbound() {
        assert_eq!(judged(&view(&["Ethernet0", "Ethernet4"]), &world()), Verdict::Unbind(vec![binding("Ethernet4")]));
    }

    #[test]
    fn nothing_is_done_where_somebody_else_uses_the_port_or_the_destination() {
        for theirs in [session("Ethernet4", "Ethernet8"), session("PortChannel1", "Ethernet8")] {
            let mut world = world();
            world.sessions.insert("debug".to_owned(), theirs);
            let why = left(judged(&view(&["Ethernet4"]), &world));
            assert!(why.contains("mirror session debug uses Ethernet4"), "{why}");
        }
        let mut world = world();
        world.sessions.insert("debug".to_owned(), session("Ethernet8", "Ethernet120"));
        let why = left(judged(&view(&["Ethernet4"]), &world));
        assert!(why.starts_with("mirror session debug sends its copies to the same place"), "{why}");
    }

    #[test]
    fn a_session_in_the_other_direction_is_not_in_the_way() {
        let mut world = world();
        let theirs = Session { direction: Some(Direction::Egress), ..session("Ethernet4", "Ethernet8") };
        world.sessions.insert("debug".to_owned(), theirs);
        assert_eq!(judged(&view(&["Ethernet4"]), &world), Verdict::Unbind(vec![binding("Ethernet4")]));
    }

    #[test]
    fn what_is_not_a_stray_binding_is_left_and_what_frees_it_is_said() {
        let why = left(judged(&view(&["Ethernet0"]), &world()));
        assert!(why.contains("Ethernet0 (ingress, oid:0xe1) bound to it. orchagent may be busy"), "{why}");
        let mut sampled = view(&[]);
        sampled.bindings.insert(Binding { sampled: true, ..binding("Ethernet4") });
        assert!(
            left(judged(&sampled, &world())).contains("Ethernet4"),
            "a sampled binding is cured by no plain session"
        );
    }

    #[test]
    fn a_session_whose_port_channel_is_gone_waits_for_one_of_that_name() {
        let mut world = world();
        world.port_channels.remove("PortChannel10");
        let why = left(judged(&view(&[]), &world));
        assert!(why.contains("config portchannel add PortChannel10"), "{why}");
        assert!(left(judged(&view(&[]), &self::world())).contains("does the swss service run?"));
    }

    #[test]
    fn a_port_that_is_gone_is_not_called_a_port_channel() {
        let mut world = world();
        world.ports.remove("Ethernet0");
        let target = MirrorTarget::Port("Ethernet120".to_owned());
        let why = left(judge("telegen_a", &session("Ethernet0", "Ethernet120"), &target, &view(&[]), &world));
        assert!(
            why.contains("it names Ethernet0, which is gone; orchagent has not acted on its deletion yet"),
            "{why}"
        );
        assert!(!why.contains("portchannel"), "{why}");
    }

    #[test]
    fn a_destination_without_an_object_proves_nothing() {
        let mut view = view(&["Ethernet4"]);
        view.oids.clear();
        assert!(left(judged(&view, &world())).contains("has no object"));
    }
}
