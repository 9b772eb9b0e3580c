//! Whether a session of ours may be deleted although somebody else's copies a port of ours in the same direction.
//!
//! orchagent binds the port to the session that it activated last, and the deletion of *either* unbinds the port, while STATE_DB goes on
//! to call the other one active (observed fact M5). The rows do not say which of the two has the port: a restart of swss activates all of
//! them anew, and an ERSPAN session comes and goes with its neighbour. ASIC_DB does. Pure; `io::mirror` reads and acts.

use super::admission::over;
use super::asic::{Binding, View};
use super::job::{Direction, Fields};
use super::provision::mirror::MirrorTarget;
use super::world::{Session, World};

/// A port that ours would copy, and that somebody else's session copies in the same direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Their session.
    pub theirs: String,
    /// The port.
    pub port: String,
}

/// What the deletion of our session would do to somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: no session of somebody else's is over it, or none has a port of it.
    Delete,
    /// The port is bound to ours, or not at all: theirs may be on its way to it, since it is new. To be asked again.
    Unsettled {
        /// Their session.
        theirs: String,
        /// The port.
        port: String,
    },
    /// The port is bound to theirs, and the deletion of ours would unbind it.
    Keep {
        /// Their session.
        theirs: String,
        /// The port.
        port: String,
    },
}

/// Whether orchagent says that a session has no port, so that its deletion unbinds none; `said` is its row in STATE_DB.
///
/// No row is no word: orchagent keeps the sessions that it has when STATE_DB is flushed, and acts on their deletion.
#[must_use]
pub fn is_unbound(said: &Fields) -> bool {
    !said.is_empty() && said.get("status").is_none_or(|status| status != "active")
}

/// Judges our session `name`, whose row is `row`, by the rows of all sessions and port channels (`world`) and by a `view` of its ports.
#[must_use]
pub fn judge(name: &str, row: &Session, target: &MirrorTarget, view: &View, world: &World) -> Verdict {
    let foreign = world.foreign();
    let Some((theirs, port)) = over(&[(name.to_owned(), row.clone())].into(), &foreign, world) else {
        return Verdict::Delete;
    };
    let direction = row.direction.unwrap_or(Direction::Both);
    let sources = world.expand(row.src_ports.iter().map(String::as_str));
    let ours = view.bound_to(target);
    let is_ours = |binding: &Binding| ours.as_ref().is_some_and(|ours| ours.contains(&binding));
    let in_our_place = |binding: &&Binding| {
        sources.contains(&binding.port) && binding.sampled == row.sampled && binding.direction.overlaps(direction)
    };
    // An object that cannot be told from ours counts as theirs: nothing of theirs is put at risk by a guess.
    let mut taken = view.bindings.iter().filter(in_our_place).filter(|binding| !is_ours(binding));
    let whose = |binding: &Binding| foreign.iter().find(|(_, row)| copies(row, binding, world)).map(|(name, _)| name);
    match taken.find_map(|binding| Some((whose(binding)?, binding))) {
        Some((theirs, binding)) => Verdict::Keep { theirs: theirs.clone(), port: binding.port.clone() },
        None => Verdict::Unsettled { theirs, port },
    }
}

/// Whether a session's row asks for exactly this binding.
fn copies(row: &Session, binding: &Binding, world: &World) -> bool {
    world.expand(row.src_ports.iter().map(String::as_str)).contains(&binding.port)
        && binding.direction.overlaps(row.direction.unwrap_or(Direction::Both))
        && binding.sampled == row.sampled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::asic::MirrorObject;

    fn session(src_port: &str, direction: Direction, dst_port: &str) -> Session {
        Session {
            src_ports: vec![src_port.to_owned()],
            dst_port: Some(dst_port.to_owned()),
            direction: Some(direction),
            ..Session::default()
        }
    }

    fn binding(port: &str, direction: Direction, object: &str) -> Binding {
        Binding { port: port.to_owned(), direction, sampled: false, object: object.to_owned() }
    }

    /// oid:0xe1 sends to Ethernet120, ours; oid:0xe2 to Ethernet8, theirs.
    fn view(bindings: &[Binding]) -> View {
        let sends_to = |port: &str| MirrorObject { monitor_port: Some(port.to_owned()), outer: None };
        View {
            oids: [("Ethernet120".to_owned(), "oid:0x120".to_owned())].into(),
            bindings: bindings.iter().cloned().collect(),
            objects: [("oid:0xe1".to_owned(), sends_to("oid:0x120")), ("oid:0xe2".to_owned(), sends_to("oid:0x8"))]
                .into(),
            ..View::default()
        }
    }

    /// Ours is on both directions of Ethernet0.
    fn judged(theirs: Option<Session>, view: &View) -> Verdict {
        let sessions = theirs.map(|theirs| ("debug".to_owned(), theirs)).into_iter().collect();
        judged_of(&["Ethernet0"], sessions, view)
    }

    fn judged_of(ports: &[&str], sessions: BTreeMap<String, Session>, view: &View) -> Verdict {
        let world = World { sessions, ..World::default() };
        let target = MirrorTarget::Port("Ethernet120".to_owned());
        let src_ports = ports.iter().map(|port| (*port).to_owned()).collect();
        let ours = Session { src_ports, ..session("Ethernet0", Direction::Both, "Ethernet120") };
        judge("telegen_a", &ours, &target, view, &world)
    }

    fn over_ours() -> Session {
        session("Ethernet0", Direction::Ingress, "Ethernet8")
    }

    #[test]
    fn ours_stays_only_while_a_port_of_it_is_bound_to_another_object() {
        let (theirs, port) = ("debug".to_owned(), "Ethernet0".to_owned());
        let keep = Verdict::Keep { theirs: theirs.clone(), port: port.clone() };
        let unsettled = Verdict::Unsettled { theirs, port };
        let has = |object: &str| view(&[binding("Ethernet0", Direction::Ingress, object)]);
        assert_eq!(judged(Some(over_ours()), &has("oid:0xe2")), keep);
        assert_eq!(judged(Some(over_ours()), &has("oid:0xe1")), unsettled, "ours has it");
        assert_eq!(judged(Some(over_ours()), &view(&[])), unsettled, "nobody has it");
        assert_eq!(
            judged(Some(over_ours()), &has("oid:0xe9")),
            keep,
            "an object that went in between is not called ours"
        );
        let mut unknown = has("oid:0xe1");
        unknown.oids.clear();
        assert_eq!(judged(Some(over_ours()), &unknown), keep, "where ours sends is not known");
    }

    #[test]
    fn only_a_word_of_orchagents_says_that_a_session_has_no_port() {
        let said = |name: &str, value: &str| is_unbound(&[(name.to_owned(), value.to_owned())].into());
        assert!(said("status", "inactive") && said("monitor_port", "Ethernet8"));
        assert!(!said("status", "active"));
        assert!(!is_unbound(&Fields::new()), "a row that is not there says nothing");
    }

    #[test]
    fn without_a_session_over_ours_nothing_is_asked() {
        let taken = view(&[binding("Ethernet0", Direction::Ingress, "oid:0xe2")]);
        assert_eq!(judged(None, &taken), Verdict::Delete);
        assert_eq!(judged(Some(session("Ethernet4", Direction::Ingress, "Ethernet8")), &taken), Verdict::Delete);
    }

    #[test]
    fn the_session_that_has_the_port_is_named_and_no_other_that_lies_over_ours() {
        let other = session("Ethernet4", Direction::Both, "Ethernet8");
        let egress = session("Ethernet0", Direction::Egress, "Ethernet8");
        let sessions =
            || [("a".to_owned(), other.clone()), ("b".to_owned(), egress.clone()), ("c".to_owned(), over_ours())];
        let taken = view(&[binding("Ethernet0", Direction::Ingress, "oid:0xe2")]);
        let (theirs, port) = ("c".to_owned(), "Ethernet0".to_owned());
        let keep = Verdict::Keep { theirs, port };
        assert_eq!(judged_of(&["Ethernet0", "Ethernet4"], sessions().into(), &taken), keep);
        let without: BTreeMap<_, _> = sessions().into_iter().filter(|(name, _)| name != "c").collect();
        let unsettled = Verdict::Unsettled { theirs: "a".to_owned(), port: "Ethernet4".to_owned() };
        assert_eq!(judged_of(&["Ethernet0", "Ethernet4"], without, &taken), unsettled, "nobody asks for that binding");
    }

    #[test]
    fn a_binding_of_another_kind_or_port_does_not_count() {
        let (theirs, port) = ("debug".to_owned(), "Ethernet0".to_owned());
        let sampled = Binding { sampled: true, ..binding("Ethernet0", Direction::Ingress, "oid:0xe2") };
        let elsewhere = binding("Ethernet4", Direction::Ingress, "oid:0xe2");
        let view = view(&[sampled, elsewhere]);
        assert_eq!(judged(Some(over_ours()), &view), Verdict::Unsettled { theirs, port });
        // One that is sampled asks for that binding, and ours has nothing to do with it.
        assert_eq!(judged(Some(Session { sampled: true, ..over_ours() }), &view), Verdict::Delete);
    }
}
