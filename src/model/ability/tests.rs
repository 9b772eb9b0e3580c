//! What is said of a switch, release by release.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ability, Trial, Trials, Verdict, abilities, objection};
use crate::model::job::{Direction, Fields};
use crate::model::settings::Settings;
use crate::model::world::{Capability, Port, Session, World};

fn world(capability: Capability) -> World {
    World {
        capability,
        ports: BTreeMap::from([("Ethernet120".to_owned(), Port::default())]),
        pool: BTreeMap::from([("Ethernet120".to_owned(), Some("cpu120".to_owned()))]),
        netdevs: BTreeSet::from(["cpu120".to_owned(), "gre7".to_owned()]),
        ..World::default()
    }
}

/// `ingress egress ingress_sample egress_sample truncation`: t, f, or - where the release does not say.
fn capability(text: &str) -> Capability {
    let words: Vec<Option<bool>> = text
        .chars()
        .map(|word| match word {
            't' => Some(true),
            'f' => Some(false),
            _ => None,
        })
        .collect();
    let [ingress_mirror, egress_mirror, ingress_sample, egress_sample, truncation] = words[..] else {
        panic!("five letters: {text}")
    };
    Capability { ingress_mirror, egress_mirror, ingress_sample, egress_sample, truncation }
}

fn settings(text: &str) -> Settings {
    let pairs = text.split_whitespace().map(|item| item.split_once('=').expect("name=value"));
    let fields: Fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Settings::parse(&fields).0
}

fn verdicts(capability_text: &str) -> String {
    let said = abilities(&world(capability(capability_text)), &settings(""), &Trials::none("x"));
    said.iter().map(|(ability, verdict, _)| format!("{ability}={verdict}")).collect::<Vec<_>>().join(" ")
}

fn why(ability: Ability, world: &World, settings: &Settings, trials: &Trials) -> (Verdict, String) {
    let said = abilities(world, settings, trials);
    said.into_iter()
        .find(|(known, _, _)| *known == ability)
        .map(|(_, verdict, why)| (verdict, why))
        .expect("all are said")
}

#[test]
fn releases_say_more_and_more() {
    // 202205 to 202505; 202511 and 202605; master.
    let old = "mirror_ingress=unknown mirror_egress=unknown span=true span_to_cpu=unknown erspan=false mirror_sampling=false mirror_truncation=false mirror_policer=unknown";
    assert_eq!(verdicts("-----"), old);
    assert_eq!(verdicts("tf---"), old.replacen("unknown", "true", 1).replacen("unknown", "false", 1));
    let master = "mirror_ingress=true mirror_egress=true span=true span_to_cpu=unknown erspan=false mirror_sampling=true mirror_truncation=true mirror_policer=unknown";
    assert_eq!(verdicts("ttttt"), master);
    assert_eq!(
        verdicts("ttfff"),
        master.replace("sampling=true", "sampling=false").replace("truncation=true", "truncation=false")
    );
    assert_eq!(
        verdicts("ttfft"),
        master.replace("sampling=true", "sampling=false").replace("truncation=true", "truncation=false")
    );
}

#[test]
fn sampling_names_its_directions_and_the_ports_that_sflow_has() {
    let mut world = world(capability("ttft-"));
    world.sflow_ports = [("Ethernet0", Direction::Ingress), ("Ethernet4", Direction::Both)]
        .map(|(port, direction)| (port.to_owned(), direction))
        .into();
    assert_eq!(
        why(Ability::MirrorSampling, &world, &settings(""), &Trials::none("x")),
        (
            Verdict::Yes,
            "egress only, with span_method erspan, but not on ports that sFlow samples: Ethernet0 (ingress), Ethernet4 (both)"
                .to_owned()
        )
    );
}

#[test]
fn span_names_each_place_for_copies_and_what_is_wrong_with_it() {
    let mut world = world(capability("ttttt"));
    world.pool.insert("Ethernet124".to_owned(), Some("cpu124".to_owned()));
    world.pool.insert("Ethernet128".to_owned(), None);
    world.pool.insert("Ethernet132".to_owned(), Some("cpu120".to_owned()));
    world.pool.insert("Ethernet136".to_owned(), Some("cpu120".to_owned()));
    for port in ["Ethernet124", "Ethernet128", "Ethernet132"] {
        world.ports.insert(port.to_owned(), Port::default());
    }
    world.vlan_members.insert("Ethernet132".to_owned());
    let span = |world: &World| why(Ability::Span, world, &settings(""), &Trials::none("x"));
    assert_eq!(
        span(&world),
        (
            Verdict::Yes,
            "copies to Ethernet120 are awaited on cpu120; Ethernet124 has the netdev cpu124, which is not on this host; Ethernet128 has no netdev; Ethernet132 is a VLAN member; Ethernet136 is not in PORT".to_owned()
        )
    );
    world.netdevs.clear();
    assert_eq!(span(&world).0, Verdict::No);
    world.pool.clear();
    assert_eq!(span(&world).0, Verdict::No);
}

#[test]
fn erspan_says_which_setting_is_missing_or_where_copies_are_awaited() {
    let world = world(capability("ttttt"));
    let erspan = |text: &str| why(Ability::Erspan, &world, &settings(text), &Trials::none("x"));
    let all = "erspan_src_ip=10.0.0.0/31 erspan_dst_ip=10.0.0.9 erspan_netdev=gre7";
    assert_eq!(
        erspan(all),
        (
            Verdict::Yes,
            "copies to 10.0.0.9 are awaited on gre7, for 2 jobs at once; orchagent needs a route and a neighbour for them".to_owned()
        )
    );
    assert_eq!(
        erspan(&all.replace("gre7", "gre8")),
        (Verdict::No, "erspan_netdev gre8 is not on this host".to_owned())
    );
    assert!(erspan("").1.starts_with("span_method: erspan needs erspan_src_ip, erspan_dst_ip and erspan_netdev"));
}

#[test]
fn what_was_tried_is_said_and_what_was_not_has_its_reason() {
    let world = world(capability("ttttt"));
    let said = |span_to_cpu: Trial, policer: Trial| {
        let trials = Trials { span_to_cpu, policer };
        let of = |ability| why(ability, &world, &settings(""), &trials);
        (of(Ability::SpanToCpu), of(Ability::MirrorPolicer))
    };
    let (cpu, policer) = said(Trial::Refused, Trial::Active);
    assert_eq!(
        cpu,
        (
            Verdict::No,
            "orchagent refused a session with dst_port CPU, as it does in every release from 202205 to master"
                .to_owned()
        )
    );
    assert_eq!(
        policer,
        (Verdict::Yes, "a session with a policer became active when it was tried; jobs use none".to_owned())
    );
    let (cpu, policer) = said(Trial::Active, Trial::NotTried("no port is free".to_owned()));
    assert_eq!(cpu.0, Verdict::Yes);
    assert_eq!(policer, (Verdict::Unknown, "not tried: no port is free; jobs use none".to_owned()));
    assert_eq!(said(Trial::Inactive, Trial::Inactive).0.0, Verdict::No);
}

#[test]
fn nothing_is_tried_beside_a_session_on_an_old_release_or_against_the_settings() {
    let with_session =
        World { sessions: BTreeMap::from([("everflow".to_owned(), Session::default())]), ..world(capability("ttttt")) };
    let known = World { known_states: BTreeSet::from(["telegen_a".to_owned()]), ..world(capability("ttttt")) };
    let objects = |world: &World, text: &str| objection(world, &settings(text)).unwrap_or_default();
    assert_eq!(objects(&world(capability("ttttt")), ""), "");
    assert_eq!(objects(&world(capability("ttttt")), "probe_switch=false"), "probe_switch is false in TELEGEN|global");
    assert!(objects(&with_session, "").starts_with("mirror session everflow exists"));
    assert!(objects(&known, "").starts_with("mirror session telegen_a exists"));
    assert!(objects(&world(capability("-----")), "").contains("before 202511"));
}
