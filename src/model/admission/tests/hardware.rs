//! Jobs on several ports, and what the ASIC is asked to leave out.

use std::collections::BTreeMap;

use super::tunnels::settings;
use super::{Change, admit, admit_under, check_ports, names, reason, row_of, spec, world};
use crate::model::job::Direction;
use crate::model::schema::{Reason, Warning};
use crate::model::settings::Settings;
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
fn several_ports_are_one_session_that_names_the_members_of_port_channels() {
    let plan = admit("port=Ethernet4,PortChannel1", &world()).expect("admitted");
    let mirror = plan.mirror().cloned().expect("a session");
    assert_eq!(row_of(&mirror)[2], ("src_port", "Ethernet4,Ethernet40,Ethernet44".to_owned()));
    assert_eq!(mirror.as_sessions()["telegen_a"].src_ports, ["Ethernet4", "Ethernet40", "Ethernet44"]);
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
fn a_sampled_and_cut_session_says_so_in_orchagents_words() {
    let job = "port=Ethernet0 span_method=erspan mirror_sample_rate=64 mirror_truncate=128";
    let settings = settings("erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=cpu16");
    let plan = admit_under(job, &capable(), &settings, &BTreeMap::new(), 0);
    let fields = row_of(plan.expect("admitted").mirror().expect("a session"));
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
    world.sflow_ports.insert("Ethernet44".to_owned(), Direction::Ingress);
    let job = |port: &str| format!("port={port} span_method=erspan mirror_truncate=128");
    let (refused, message) = admit(&job("Ethernet0,PortChannel1"), &world).expect_err("refused");
    assert_eq!(refused, Reason::MirrorConflict);
    assert!(message.starts_with("mirror_truncate: sFlow samples Ethernet44, and orchagent gives"), "{message}");
    // Settings for ERSPAN are missing here: the sampler is not what is in the way.
    assert_eq!(reason(admit(&job("Ethernet0"), &world)), Some(Reason::MirrorUnsupported));
}

/// Admission with settings for ERSPAN and so many sessions.
fn admit_sampled(job: &str, world: &World, max_sessions: usize) -> Result<Vec<String>, (Reason, String)> {
    let settings =
        Settings { max_sessions, ..settings("erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=cpu16") };
    let plan = admit_under(&format!("{job} span_method=erspan"), world, &settings, &BTreeMap::new(), 0)?;
    let mirror = plan.mirror().cloned().expect("sessions");
    Ok(mirror
        .sessions
        .iter()
        .map(|session| format!("{} {:?}", session.name, mirror.row(session)[6..8].to_vec()))
        .collect())
}

#[test]
fn a_sampled_job_takes_a_session_for_each_port_and_direction() {
    let slot = |name: &str, port: &str, direction: &str| {
        format!("{name} [(\"src_port\", \"{port}\"), (\"direction\", \"{direction}\")]")
    };
    let world = capable();
    assert_eq!(
        admit_sampled("port=PortChannel1 mirror_sample_rate=64", &world, 2).expect("admitted"),
        [slot("telegen_a", "Ethernet40", "RX"), slot("telegen__2_a", "Ethernet44", "RX")]
    );
    // Half of a port in both directions would be left bound as well (observed fact S15).
    assert_eq!(
        admit_sampled("port=Ethernet0 direction=both mirror_truncate=64", &world, 2).expect("admitted"),
        [slot("telegen_a", "Ethernet0", "RX"), slot("telegen__2_a", "Ethernet0", "TX")]
    );
}

#[test]
fn a_sampled_job_that_would_take_more_sessions_than_allowed_is_refused_before_anything_is_written() {
    let (job, world) = ("port=Ethernet0,PortChannel1 mirror_sample_rate=64", capable());
    assert_eq!(
        admit_sampled(job, &world, 2).expect_err("three sessions"),
        (
            Reason::MirrorUnsupported,
            "mirror_sample_rate: the job would take 3 mirror sessions, one for each port and direction, and max_sessions in TELEGEN|global is 2; name fewer ports or one direction, leave mirror_sample_rate out, or raise max_sessions if the ASIC has as many".to_owned()
        )
    );
    assert_eq!(admit_sampled(job, &world, 3).map(|sessions| sessions.len()), Ok(3));
}

#[test]
fn no_second_session_is_added_where_orchagent_ends_on_a_refusal() {
    let admitted = |release: &str, job: &str| {
        let world = World { release: Some(release.to_owned()), ..capable() };
        admit_sampled(&format!("port={job} mirror_sample_rate=64"), &world, 2).is_ok()
    };
    for release in ["202411.1-abc", "SONiC.20230531.12", "202205"] {
        assert!(!admitted(release, "PortChannel1"), "{release}");
        assert!(admitted(release, "Ethernet0"), "one session is no further one: {release}");
    }
    for release in ["202505.0", "master.987-5f", "HEAD.0-dirty", "SONiC.20250531.1"] {
        assert!(admitted(release, "PortChannel1"), "{release}");
    }
}

#[test]
fn sflow_in_one_direction_leaves_the_sampler_of_the_other() {
    let mut world = capable();
    world.sflow_ports.insert("Ethernet0".to_owned(), Direction::Ingress);
    let job = |direction: &str| format!("port=Ethernet0 direction={direction} mirror_sample_rate=64");
    assert_eq!(admit_sampled(&job("egress"), &world, 2).map(|sessions| sessions.len()), Ok(1));
    for direction in ["ingress", "both"] {
        let refused = admit_sampled(&job(direction), &world, 2).expect_err("the sampler is sFlow's");
        assert_eq!(refused.0, Reason::MirrorConflict, "{direction}");
    }
}
