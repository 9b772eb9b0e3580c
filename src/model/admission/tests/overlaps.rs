//! Sessions of others, of other jobs and of earlier ones: what overlaps a job's and what does not.

use super::{admit, admit_under, destination, reason, session, spec, with_session, world};
use crate::model::admission::{Intruder, conflict, intruder};
use crate::model::job::{Direction, JobId};
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget};
use crate::model::schema::Reason;
use crate::model::settings::Settings;
use crate::model::source_ports::SourcePorts;

#[test]
fn a_session_conflicts_if_it_shares_a_port_in_a_direction_or_has_our_port_as_its_destination() {
    // job | somebody's session | the port they share
    let cases = [
        ("Ethernet1 ingress", "Ethernet1 RX Ethernet4", Some("Ethernet1")),
        ("Ethernet1 ingress", "Ethernet1 TX Ethernet4", None),
        ("Ethernet1 egress", "Ethernet1 RX Ethernet4", None),
        ("Ethernet1 egress", "Ethernet1 TX Ethernet4", Some("Ethernet1")),
        ("Ethernet1 both", "Ethernet1 RX Ethernet4", Some("Ethernet1")),
        ("Ethernet1 both", "Ethernet1 TX Ethernet4", Some("Ethernet1")),
        ("Ethernet1 ingress", "Ethernet1 BOTH Ethernet4", Some("Ethernet1")),
        ("Ethernet1 egress", "Ethernet1 BOTH Ethernet4", Some("Ethernet1")),
        // What says no direction, or one that nobody knows, counts as both; case does not matter.
        ("Ethernet1 egress", "Ethernet1 - Ethernet4", Some("Ethernet1")),
        ("Ethernet1 egress", "Ethernet1 SIDEWAYS Ethernet4", Some("Ethernet1")),
        ("Ethernet1 egress", "Ethernet1 rx Ethernet4", None),
        // Exact names: neither a prefix nor a longer name.
        ("Ethernet1 ingress", "Ethernet16 RX Ethernet4", None),
        ("Ethernet16 ingress", "Ethernet1 RX Ethernet4", None),
        ("Ethernet4 ingress", "Ethernet40,Ethernet44 RX Ethernet0", None),
        // Lists, with spaces as sonic-utilities tolerates them.
        ("Ethernet1 ingress", "Ethernet4,Ethernet1 RX Ethernet0", Some("Ethernet1")),
        ("Ethernet1 ingress", "Ethernet4,Ethernet16 RX Ethernet0", None),
        // Its destination is our source, whatever the directions.
        ("Ethernet4 egress", "Ethernet1 RX Ethernet4", Some("Ethernet4")),
        ("Ethernet4 ingress", "- - Ethernet4", Some("Ethernet4")),
        ("Ethernet1 ingress", "Ethernet16 RX Ethernet10", None),
        // Port channels are their members, on both sides.
        ("PortChannel1 ingress", "Ethernet44 RX Ethernet4", Some("Ethernet44")),
        ("PortChannel1 ingress", "Ethernet44 TX Ethernet4", None),
        ("PortChannel1 egress", "Ethernet1 RX Ethernet40", Some("Ethernet40")),
        ("Ethernet40 ingress", "PortChannel1 RX Ethernet4", Some("Ethernet40")),
        ("Ethernet40 ingress", "Ethernet1,PortChannel1 BOTH Ethernet4", Some("Ethernet40")),
        ("PortChannel1 ingress", "PortChannel1 RX Ethernet4", Some("Ethernet40")),
        ("PortChannel1 ingress", "PortChannel10 RX Ethernet4", None),
        // Any port of a job that names several.
        ("Ethernet1,Ethernet16 ingress", "Ethernet16,Ethernet4 RX Ethernet40", Some("Ethernet16")),
        ("Ethernet1,PortChannel1 ingress", "Ethernet16 RX Ethernet44", Some("Ethernet44")),
        ("Ethernet1,Ethernet16 ingress", "Ethernet4 RX Ethernet40", None),
        // Sessions that only ACL rules use, or that go to a collector.
        ("Ethernet1 both", "- - -", None),
        ("Ethernet1 both", "Ethernet1 RX -", Some("Ethernet1")),
    ];
    for (job, theirs, shared) in cases {
        let (port, direction) = job.split_once(' ').expect("port and direction");
        let world = with_session(theirs);
        let direction = Direction::from_word(direction).expect("a direction");
        let expected = shared.map(|port| ("debug".to_owned(), port.to_owned()));
        let ports = world.expand(SourcePorts::parse(port).expect("names").names());
        assert_eq!(conflict(&ports, direction, &world.sessions, &world), expected, "{job} beside {theirs}");
        let refused = reason(admit(&format!("port={port} direction={direction}"), &world));
        assert_eq!(refused, shared.map(|_| Reason::MirrorConflict), "{job} beside {theirs}");
    }
}

#[test]
fn of_two_sessions_on_a_port_the_one_that_can_be_removed_is_named_whatever_its_name() {
    for theirs in ["debug", "zz"] {
        let mut world = world();
        world.sessions.extend(mirror_of("kept").as_sessions());
        world.sessions.insert(theirs.to_owned(), session("Ethernet0 RX Ethernet100"));
        let (_, message) = admit("port=Ethernet0", &world).expect_err("taken");
        assert_eq!(
            message,
            format!(
                "Ethernet0 is already used by mirror session {theirs}; remove that session or observe another port or direction"
            )
        );
    }
}

#[test]
fn sessions_of_jobs_that_hold_resources_count_before_their_rows_are_seen() {
    let taken = mirror_of("b").as_sessions();
    let admit = |job: &str| admit_under(job, &world(), &Settings::default(), &taken, 0);
    assert_eq!(
        admit("port=Ethernet0").expect_err("taken"),
        (
            Reason::MirrorConflict,
            "Ethernet0 is already used by mirror session telegen_b; telegen removes it when its job is over and nobody is harmed by that (see telegen-sonic status); wait for it, or observe another port or direction".to_owned()
        )
    );
    assert_eq!(destination(admit("port=Ethernet0 direction=egress")), "Ethernet124");
    assert_eq!(reason(admit("port=Ethernet120")), Some(Reason::MirrorConflict));
}

#[test]
fn a_session_of_our_own_name_must_be_gone_from_both_databases() {
    let mut configured = world();
    configured.sessions.insert("telegen_a".to_owned(), session("Ethernet16 RX Ethernet4"));
    let mut known = world();
    known.known_states.insert("telegen_a".to_owned());
    for world in [configured, known] {
        let (reason, message) = admit("port=Ethernet0", &world).expect_err("still there");
        assert_eq!(reason, Reason::MirrorConflict);
        assert!(message.starts_with("a mirror session telegen_a of an earlier job is still there"), "{message}");
    }
}

/// A session on Ethernet0, ingress, to Ethernet120.
fn mirror_of(id: &str) -> MirrorPlan {
    let (id, target) = (JobId::parse(id).expect("an id"), MirrorTarget::Port("Ethernet120".to_owned()));
    MirrorPlan::new(&id, &spec("port=Ethernet0"), vec!["Ethernet0".to_owned()], target)
}

#[test]
fn an_intruder_takes_our_source_or_sends_to_our_destination() {
    let over = |port: &str| Some(Intruder::OverOurs { session: "debug".to_owned(), port: port.to_owned() });
    let on = |port: &str| Some(Intruder::OnOurPort { session: "debug".to_owned(), port: port.to_owned() });
    for (theirs, expected) in [
        ("Ethernet0 RX Ethernet4", over("Ethernet0")),
        ("Ethernet0 BOTH -", over("Ethernet0")),
        ("Ethernet0 RX Ethernet120", over("Ethernet0")),
        ("Ethernet0 TX Ethernet4", None),
        ("Ethernet4 RX Ethernet0", on("Ethernet0")),
        ("Ethernet4 RX Ethernet120", on("Ethernet120")),
        ("Ethernet120 RX Ethernet4", on("Ethernet120")),
        ("Ethernet4 RX Ethernet124", None),
        ("Ethernet4 RX Ethernet12", None),
        // Through the port's sampler, which is another attribute of the port than a plain mirror.
        ("Ethernet0 RX Ethernet4 50", None),
        ("Ethernet0 RX Ethernet4 0x64", None),
        ("Ethernet0 RX Ethernet4 - 128", None),
        ("Ethernet0 RX Ethernet120 50", on("Ethernet120")),
        ("Ethernet0 RX Ethernet4 0 0", over("Ethernet0")),
    ] {
        let world = with_session(theirs);
        assert_eq!(intruder(&mirror_of("a"), &world.sessions, &world), expected, "{theirs}");
    }
}
