//! ERSPAN: one source address for each session, and who may not have it.

use std::collections::BTreeMap;

use super::{admit_under, hooks_of, names, reason, row_of, world};
use crate::model::admission::{Intruder, Plan, intruder};
use crate::model::erspan::Outer;
use crate::model::feed::{Feed, HooksFeed};
use crate::model::job::{Direction, Fields};
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget};
use crate::model::schema::{Reason, Warning};
use crate::model::settings::Settings;
use crate::model::world::{Session, World};

const JOB: &str = "port=Ethernet0 span_method=erspan";

/// `erspan_src_ip=10.0.0.1,10.0.0.2 erspan_netdev=gre7`.
pub(super) fn settings(text: &str) -> Settings {
    let pairs = text.split_whitespace().map(|item| item.split_once('=').expect("name=value"));
    let (settings, errors) = Settings::parse(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    assert_eq!(errors, []);
    settings
}

fn complete() -> Settings {
    settings("erspan_src_ip=10.0.0.1,10.0.0.2 erspan_dst_ip=10.0.0.9 erspan_netdev=cpu16")
}

/// `10.0.0.1 10.0.0.9` as somebody's Everflow session, which has no port of its own.
fn everflow(addresses: &str) -> Session {
    let (src, dst) = addresses.split_once(' ').expect("two addresses");
    Session::from_fields(&Fields::from([("src_ip".to_owned(), src.to_owned()), ("dst_ip".to_owned(), dst.to_owned())]))
}

fn with_sessions(sessions: &[(&str, Session)]) -> World {
    World {
        sessions: sessions.iter().map(|(name, session)| ((*name).to_owned(), session.clone())).collect(),
        ..world()
    }
}

fn admit(job: &str, world: &World, settings: &Settings) -> Result<Plan, (Reason, String)> {
    admit_under(job, world, settings, &BTreeMap::new(), 0)
}

fn source(plan: Result<Plan, (Reason, String)>) -> String {
    match plan {
        Ok(plan) => plan.mirror().cloned().expect("a session").tunnel().expect("a tunnel").outer.src.to_string(),
        Err((reason, message)) => format!("{reason}: {message}"),
    }
}

#[test]
fn a_plan_says_what_orchagent_needs_and_where_the_copies_arrive() {
    let settings = Settings { erspan: complete().erspan, ..settings("erspan_dscp=0") };
    let plan = admit("port=Ethernet0 span_method=erspan direction=both", &world(), &settings).expect("admitted");
    let row = [
        ("type", "ERSPAN"),
        ("src_ip", "10.0.0.1"),
        ("dst_ip", "10.0.0.9"),
        ("gre_type", "0x88be"),
        ("dscp", "8"),
        ("ttl", "255"),
        ("src_port", "Ethernet0"),
        ("direction", "BOTH"),
    ];
    assert_eq!(row_of(plan.mirror().expect("a session")), row.map(|(name, value)| (name, value.to_owned())));
    let address = |text: &str| text.parse().expect("an address");
    let outer = Some(Outer { src: address("10.0.0.1"), dst: address("10.0.0.9") });
    assert_eq!(plan.feed, Feed::Hooks(HooksFeed { outer, ..hooks_of("cpu16", Direction::Ingress) }));
    assert_eq!(plan.source_ports, names(&["Ethernet0"]));
}

#[test]
fn type_dscp_and_ttl_are_those_of_the_settings() {
    let mut settings = complete();
    settings.erspan = self::settings(
        "erspan_src_ip=2001:db8::1 erspan_dst_ip=2001:db8::9 erspan_netdev=cpu16 erspan_gre_type=35145 erspan_dscp=63 erspan_ttl=1",
    )
    .erspan;
    let row = row_of(admit(JOB, &world(), &settings).expect("admitted").mirror().expect("a session"));
    let values: Vec<&str> = row.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["ERSPAN", "2001:db8::1", "2001:db8::9", "0x8949", "63", "1", "Ethernet0", "RX"]);
}

#[test]
fn a_pool_port_is_not_needed_and_its_speed_not_compared() {
    let mut world = world();
    world.pool.clear();
    let plan = admit("port=PortChannel1 span_method=erspan", &world, &complete()).expect("admitted");
    assert!(!plan.warnings.contains(&Warning::Oversubscribed));
}

#[test]
fn each_job_leases_an_address_of_its_own_and_the_last_is_told_who_has_them() {
    let settings = complete();
    let mut taken = BTreeMap::new();
    for (id, expected) in [("b", "10.0.0.1"), ("c", "10.0.0.2")] {
        let plan = admit_under("port=Ethernet16 span_method=erspan", &world(), &settings, &taken, 0).expect("admitted");
        let mut mirror = plan.mirror().cloned().expect("a session");
        assert_eq!(mirror.tunnel().expect("a tunnel").outer.src.to_string(), expected);
        // Another job's port, so that only the address is in the way.
        mirror.sessions[0].name = format!("telegen_{id}");
        mirror.sessions[0].sources = vec![format!("Ethernet{id}")];
        taken.extend(mirror.as_sessions());
    }
    assert_eq!(
        source(admit_under(JOB, &world(), &settings, &taken, 0)),
        "no_mirror_port: no address of erspan_src_ip in TELEGEN|global is free for copies to 10.0.0.9: 10.0.0.1 is in mirror session telegen_b; 10.0.0.2 is in mirror session telegen_c; add one, for each job that is to run needs its own"
    );
}

#[test]
fn an_address_that_a_foreign_session_uses_towards_the_same_destination_is_skipped() {
    for (theirs, expected) in [
        ("10.0.0.1 10.0.0.9", "10.0.0.2"),
        // Another destination, or the other way round: other copies can be told from ours.
        ("10.0.0.1 10.0.0.8", "10.0.0.1"),
        ("10.0.0.9 10.0.0.1", "10.0.0.1"),
    ] {
        let world = with_sessions(&[("everflow", everflow(theirs))]);
        assert_eq!(source(admit(JOB, &world, &complete())), expected, "{theirs}");
    }
}

#[test]
fn what_is_not_set_is_named_and_nothing_is_taken() {
    let refusal = admit(JOB, &world(), &Settings::default());
    assert_eq!(
        source(refusal),
        "mirror_unsupported: span_method: erspan needs erspan_src_ip, erspan_dst_ip and erspan_netdev in TELEGEN|global; set erspan_src_ip, erspan_dst_ip, erspan_netdev there"
    );
    let mixed = settings("erspan_src_ip=10.0.0.1 erspan_dst_ip=2001:db8::9 erspan_netdev=cpu16");
    assert_eq!(reason(admit(JOB, &world(), &mixed)), Some(Reason::MirrorUnsupported));
    let elsewhere = settings("erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=gre7");
    assert_eq!(reason(admit(JOB, &world(), &elsewhere)), Some(Reason::TapMissing));
}

#[test]
fn the_rules_for_a_sources_port_are_those_of_span() {
    let mut world = with_sessions(&[("debug", super::session("Ethernet0 RX Ethernet4"))]);
    assert_eq!(reason(admit(JOB, &world, &complete())), Some(Reason::MirrorConflict));
    world.sessions.clear();
    world.known_states = names(&["telegen_a"]);
    assert_eq!(reason(admit(JOB, &world, &complete())), Some(Reason::MirrorConflict));
    world.known_states.clear();
    world.capability.egress_mirror = None;
    assert_eq!(reason(admit(&format!("{JOB} direction=egress"), &world, &complete())), Some(Reason::MirrorUnsupported));
}

#[test]
fn a_pool_port_on_the_netdev_of_erspan_is_not_leased_because_its_tap_would_see_the_gre_packets() {
    let settings = settings("erspan_netdev=cpu120");
    let plan = admit("port=Ethernet0", &world(), &settings).expect("admitted");
    assert_eq!(plan.mirror().cloned().expect("a session").port(), Some("Ethernet124"));
    let mut world = world();
    world.pool.remove("Ethernet124");
    let (reason, message) = admit("port=Ethernet0", &world, &settings).expect_err("nothing is free");
    assert_eq!(reason, Reason::NoMirrorPort);
    assert!(message.ends_with("Ethernet120 has the netdev on which erspan_netdev awaits other copies"), "{message}");
}

#[test]
fn an_intruder_into_a_tunnel_is_told_from_one_over_its_source() {
    let mirror: MirrorPlan = admit(JOB, &world(), &complete()).expect("admitted").mirror().cloned().expect("a session");
    assert!(matches!(mirror.target, MirrorTarget::Tunnel(_)));
    let intrudes = |session: Session| {
        let world = with_sessions(&[("theirs", session)]);
        intruder(&mirror, &world.sessions, &world)
    };
    assert_eq!(intrudes(everflow("10.0.0.1 10.0.0.9")), Some(Intruder::InOurTunnel { session: "theirs".to_owned() }));
    assert_eq!(intrudes(everflow("10.0.0.2 10.0.0.9")), None);
    assert_eq!(
        intrudes(super::session("Ethernet0 RX Ethernet4")),
        Some(Intruder::OverOurs { session: "theirs".to_owned(), port: "Ethernet0".to_owned() })
    );
}
