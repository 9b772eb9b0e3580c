//! Jobs on several ports, and what the ASIC is asked to leave out.

use std::collections::BTreeMap;

use super::tunnels::settings;
use super::{Change, admit, admit_under, check_ports, names, reason, spec, world};
use crate::model::schema::{Reason, Warning};
use crate::model::world::{Capability, World};

const SAMPLED: &str = "port=Ethernet0 span_method=erspan mirror_sample_rate=64";

/// A switch of master that can do everything.
fn capable() -> World {
    let yes = Some(true);
    let capability = Capability {
        ingress_mirror: yes,
        egress_mirror: yes,
        ingress_sample: yes,
        egress_sample: yes,
        truncation: yes,
    };
    World { capability, ..world() }
}

#[test]
fn several_ports_are_one_session_without_spaces_and_all_their_members_count() {
    let plan = admit("port=Ethernet4,PortChannel1", &world()).expect("admitted");
    let mirror = plan.mirror.expect("a session");
    assert_eq!(mirror.to_fields()[2], ("src_port", "Ethernet4,PortChannel1".to_owned()));
    assert_eq!(mirror.as_session().src_ports, ["Ethernet4", "PortChannel1"]);
    assert_eq!(plan.source_ports, names(&["Ethernet4", "Ethernet40", "Ethernet44"]));
    assert_eq!(plan.warnings.into_iter().collect::<Vec<_>>(), [Warning::Oversubscribed]);
}

#[test]
fn every_port_of_a_list_must_exist_and_none_may_be_there_twice() {
    let check = |port: &str| check_ports(&spec(&format!("port={port}")), &world()).err();
    assert_eq!(check("Ethernet0,PortChannel1"), None);
    assert_eq!(check("Ethernet0,Ethernet99").map(|refusal| refusal.reason), Some(Reason::UnknownPort));
    for both in ["PortChannel1,Ethernet44", "Ethernet44,PortChannel1"] {
        let refusal = check(both).expect("refused");
        assert_eq!(refusal.reason, Reason::InvalidField);
        assert_eq!(
            refusal.message,
            "port: Ethernet44 is a member of PortChannel1, and both are listed; name one of them"
        );
    }
}

#[test]
fn a_list_that_holds_another_port_channels_name_is_warned_of_and_its_own_names_are_not() {
    let mut world = world();
    world.port_channels.insert("PortChannel10".to_owned(), names(&["Ethernet16"]));
    let warned = |ports: &str| {
        let plan = admit(&format!("port={ports}"), &world).expect("admitted");
        plan.warnings.contains(&Warning::LagPrefix)
    };
    assert!(warned("Ethernet0,PortChannel10"), "PortChannel1 is a part of it");
    assert!(!warned("PortChannel1,PortChannel10"), "both are meant");
    assert!(!warned("Ethernet0,Ethernet4"));
}

#[test]
fn a_sampled_and_cut_session_says_so_in_orchagents_words() {
    let job = "port=Ethernet0 span_method=erspan mirror_sample_rate=64 mirror_truncate=128";
    let settings = settings("erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=cpu16");
    let plan = admit_under(job, &capable(), &settings, &BTreeMap::new(), 0);
    let fields = plan.expect("admitted").mirror.expect("a session").to_fields();
    assert_eq!(fields[8..], [("sample_rate", "64".to_owned()), ("truncate_size", "128".to_owned())]);
}

#[test]
fn what_the_switch_cannot_sample_or_cut_is_refused_with_what_says_so() {
    let cases: [(&str, Change, &str); 5] = [
        (
            SAMPLED,
            |world| world.capability.ingress_sample = None,
            "mirror_sample_rate: SWITCH_CAPABILITY of this switch has no PORT_INGRESS_SAMPLE_MIRROR_CAPABLE, so its SONiC does not know sampled mirrors (master does since June 2026); leave mirror_sample_rate out",
        ),
        (
            "port=Ethernet0 span_method=erspan direction=both mirror_sample_rate=2",
            |world| world.capability.egress_sample = Some(false),
            "mirror_sample_rate: SWITCH_CAPABILITY of this switch says PORT_EGRESS_SAMPLE_MIRROR_CAPABLE false, so its ASIC cannot; leave mirror_sample_rate out",
        ),
        (
            "port=Ethernet0 span_method=erspan mirror_truncate=128",
            |world| world.capability.truncation = Some(false),
            "mirror_truncate: SWITCH_CAPABILITY of this switch says SAMPLEPACKET_TRUNCATION_CAPABLE false, so its ASIC cannot; leave mirror_truncate out",
        ),
        (
            "port=Ethernet0 mirror_sample_rate=64",
            |_| {},
            "mirror_sample_rate: the ASIC samples and cuts copies of ERSPAN sessions only (sonic-mirror-session.yang), and the job's span_method is span; use erspan, or leave mirror_sample_rate out",
        ),
        (
            "port=Ethernet0 span_method=none mirror_truncate=64",
            |_| {},
            "mirror_truncate: the ASIC samples and cuts copies of ERSPAN sessions only (sonic-mirror-session.yang), and the job's span_method is none; use erspan, or leave mirror_truncate out",
        ),
    ];
    for (job, change, message) in cases {
        let mut world = capable();
        change(&mut world);
        assert_eq!(admit(job, &world).expect_err(job), (Reason::MirrorUnsupported, message.to_owned()));
    }
}

#[test]
fn a_port_that_sflow_samples_has_no_sampler_left() {
    let mut world = capable();
    world.sflow_ports = names(&["Ethernet44"]);
    let job = |port: &str| format!("port={port} span_method=erspan mirror_truncate=128");
    let (refused, message) = admit(&job("Ethernet0,PortChannel1"), &world).expect_err("refused");
    assert_eq!(refused, Reason::MirrorConflict);
    assert!(message.starts_with("mirror_truncate: sFlow samples Ethernet44, and orchagent gives"), "{message}");
    // Settings for ERSPAN are missing here: the sampler is not what is in the way.
    assert_eq!(reason(admit(&job("Ethernet0"), &world)), Some(Reason::MirrorUnsupported));
}
