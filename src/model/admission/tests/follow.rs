//! A running job's sessions when members of its port channel come and go, and when a port is removed.

use std::collections::BTreeMap;

use super::{admit, names, session, spec, world};
use crate::model::admission::{Followed, follow};
use crate::model::job::JobId;
use crate::model::settings::Settings;
use crate::model::world::{Session, World};

/// What a change of the switch means for a job on `ports` that was planned before it.
fn after(ports: &str, others: &[(&str, Session)], change: impl Fn(&mut World)) -> Followed {
    let job = format!("port={ports}");
    let plan = admit(&job, &world()).expect("admitted");
    let mut changed = world();
    change(&mut changed);
    let others: BTreeMap<String, Session> =
        others.iter().map(|(name, session)| ((*name).to_owned(), session.clone())).collect();
    follow(&JobId::parse("a").expect("an id"), &spec(&job), &plan, &changed, &Settings::default(), &others)
}

fn members(world: &mut World, members: &[&str]) {
    world.port_channels.insert("PortChannel1".to_owned(), names(members));
}

fn without(world: &mut World, port: &str) {
    world.ports.remove(port);
}

fn refused(followed: Followed) -> String {
    match followed {
        Followed::Refused { why } => why,
        other => panic!("refused: {other:?}"),
    }
}

#[test]
fn what_does_not_concern_the_jobs_ports_changes_nothing() {
    assert_eq!(after("PortChannel1", &[], |_| {}), Followed::Same);
    assert_eq!(after("PortChannel1", &[], |world| without(world, "Ethernet1")), Followed::Same);
    let joined = |world: &mut World| members(world, &["Ethernet0", "Ethernet40", "Ethernet44"]);
    assert_eq!(after("Ethernet0", &[], joined), Followed::Same, "a port that became a member is still itself");
    let flushed = |world: &mut World| {
        world.ports.clear();
        world.port_channels.clear();
    };
    assert_eq!(after("PortChannel1", &[], flushed), Followed::Same, "a CONFIG_DB without any port says nothing of one");
}

#[test]
fn a_destination_that_is_removed_is_gone_as_a_source_is() {
    for port in ["Ethernet0", "Ethernet120"] {
        let gone = Followed::PortsGone { ports: names(&[port]) };
        assert_eq!(after("Ethernet0", &[], |world| without(world, port)), gone);
    }
}

#[test]
fn a_member_that_comes_or_goes_makes_new_sessions_to_the_same_destination() {
    for now in [&["Ethernet16", "Ethernet40", "Ethernet44"][..], &["Ethernet40"], &["Ethernet16"]] {
        let Followed::Changed(plan) = after("PortChannel1", &[], |world| members(world, now)) else {
            panic!("{now:?} is a change");
        };
        let mirror = plan.mirror().cloned().expect("a session");
        assert_eq!((mirror.sources(), plan.source_ports), (names(now), names(now)));
        assert_eq!((mirror.port(), mirror.listed().as_str()), (Some("Ethernet120"), "telegen_a"));
    }
}

#[test]
fn members_that_cannot_be_copied_are_refused_with_the_reason() {
    let with_16 = |world: &mut World| members(world, &["Ethernet16", "Ethernet40"]);
    assert_eq!(
        refused(after("PortChannel1", &[("debug", session("Ethernet16 RX Ethernet4"))], with_16)),
        "Ethernet16 is already used by mirror session debug"
    );
    assert_eq!(
        refused(after("PortChannel1", &[], |world| members(world, &["Ethernet40", "Ethernet120"]))),
        "Ethernet120, to which the copies go, is one of the members now"
    );
    assert_eq!(
        refused(after("PortChannel1", &[], |world| members(world, &[]))),
        "port: PortChannel1 has no members, so there is nothing to observe; add a member or name a port"
    );
    let gone = refused(after("PortChannel1", &[], |world| world.port_channels.clear()));
    assert!(gone.starts_with("port: \"PortChannel1\" is neither in PORT nor in PORTCHANNEL"), "{gone}");
}

#[test]
fn a_port_that_is_removed_is_told_from_a_member_that_left() {
    let gone = Followed::PortsGone { ports: names(&["Ethernet44"]) };
    assert_eq!(after("PortChannel1", &[], |world| without(world, "Ethernet44")), gone);
    assert_eq!(after("Ethernet44", &[], |world| without(world, "Ethernet44")), gone);
}
