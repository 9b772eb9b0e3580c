//! Every rule that a job must pass before it takes anything, on a switch of a few ports.

use std::collections::{BTreeMap, BTreeSet};

use super::{MirrorPlan, Plan, check_ports, plan};
use crate::model::feed::{Feed, HooksFeed};
use crate::model::job::{Direction, Fields, JobId, JobSpec};
use crate::model::schema::{Reason, Warning};
use crate::model::settings::Settings;
use crate::model::world::{Capability, Port, Session, TapCost, World};

mod follow;
mod hardware;
mod overlaps;
mod tunnels;

/// Ethernet0, 1, 4, 16, 40, 44, 120 and 124; PortChannel1 = {Ethernet40, Ethernet44}; the pool is 120 and 124.
fn world() -> World {
    let port = Port { oper_up: Some(true), speed_mbps: Some(100_000) };
    let numbers = [0, 1, 4, 16, 40, 44, 120, 124];
    World {
        ports: numbers.map(|number| (format!("Ethernet{number}"), port.clone())).into(),
        port_channels: BTreeMap::from([("PortChannel1".to_owned(), names(&["Ethernet40", "Ethernet44"]))]),
        pool: [120, 124].map(|number| (format!("Ethernet{number}"), Some(format!("cpu{number}")))).into(),
        netdevs: names(&["Ethernet0", "PortChannel1", "cpu4", "cpu16", "cpu120", "cpu124"]),
        capability: Capability { ingress_mirror: Some(true), egress_mirror: Some(true), ..Capability::default() },
        tap_cost: TapCost { summary_bytes: 1 << 20, flows_bytes: 4 << 20 },
        ..World::default()
    }
}

type Change = fn(&mut World);

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `port=Ethernet0 direction=both`.
fn spec(text: &str) -> JobSpec {
    let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let fields: Fields = text.split_whitespace().map(|item| pair(item).expect("name=value")).collect();
    JobSpec::parse(&fields, &Settings::default()).expect("a well-formed job")
}

/// `Ethernet0,Ethernet4 RX Ethernet8`: sources (or -), direction (or -), destination (or -), as CONFIG_DB says them.
fn session(text: &str) -> Session {
    let words: Vec<&str> = text.split(' ').collect();
    let fields = ["src_port", "direction", "dst_port", "sample_rate", "truncate_size"];
    let given = fields.into_iter().zip(words).filter(|(_, value)| *value != "-");
    Session::from_fields(&given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn with_session(text: &str) -> World {
    World { sessions: BTreeMap::from([("debug".to_owned(), session(text))]), ..world() }
}

fn admit(job: &str, world: &World) -> Result<Plan, (Reason, String)> {
    admit_under(job, world, &Settings::default(), &BTreeMap::new(), 0)
}

fn admit_under(
    job: &str,
    world: &World,
    settings: &Settings,
    taken: &BTreeMap<String, Session>,
    memory_used: u64,
) -> Result<Plan, (Reason, String)> {
    let id = JobId::parse("a").expect("an id");
    plan(&id, &spec(job), world, settings, taken, memory_used).map_err(|refusal| (refusal.reason, refusal.message))
}

fn destination(plan: Result<Plan, (Reason, String)>) -> String {
    match plan {
        Ok(plan) => plan.mirror().and_then(MirrorPlan::port).expect("a port of the pool").to_owned(),
        Err((reason, message)) => format!("{reason}: {message}"),
    }
}

/// Packets as they are.
fn hooks_of(netdev: &str, hooks: Direction) -> HooksFeed {
    HooksFeed { netdev: netdev.to_owned(), hooks, outer: None }
}

/// The row of the only session.
fn row_of(mirror: &MirrorPlan) -> Vec<(&'static str, String)> {
    let [session] = mirror.sessions.as_slice() else { panic!("one session: {mirror:?}") };
    mirror.row(session)
}

fn reason(plan: Result<Plan, (Reason, String)>) -> Option<Reason> {
    plan.err().map(|(reason, _)| reason)
}

#[test]
fn a_plan_says_everything_that_the_job_takes() {
    let plan = admit("port=Ethernet0 direction=egress", &world()).expect("admitted");
    let mirror = plan.mirror().cloned().expect("a session");
    assert_eq!(mirror.names().collect::<Vec<_>>(), ["telegen_a"]);
    let row = [("type", "SPAN"), ("dst_port", "Ethernet120"), ("src_port", "Ethernet0"), ("direction", "TX")];
    assert_eq!(row_of(&mirror), row.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(plan.feed, Feed::Hooks(hooks_of("cpu120", Direction::Ingress)));
    assert_eq!((plan.source_ports, plan.memory_bytes), (names(&["Ethernet0"]), 4 << 20));
    assert_eq!(plan.warnings, BTreeSet::new());
}

#[test]
fn directions_are_written_in_the_words_of_orchagent() {
    for (direction, word) in [("ingress", "RX"), ("egress", "TX"), ("both", "BOTH")] {
        let plan = admit(&format!("port=Ethernet0 direction={direction}"), &world()).expect("admitted");
        assert_eq!(row_of(plan.mirror().expect("a session"))[3], ("direction", word.to_owned()));
    }
}

#[test]
fn without_a_session_the_ports_own_netdev_is_tapped_in_the_directions_asked_for() {
    let mut world = with_session("Ethernet0 BOTH Ethernet120");
    world.pool.clear();
    world.capability = Capability::default();
    let plan = admit("port=Ethernet0 direction=both span_method=none", &world).expect("admitted");
    assert_eq!((plan.provision, plan.feed), (None, Feed::Hooks(hooks_of("Ethernet0", Direction::Both))));
    assert_eq!(reason(admit("port=Ethernet4 span_method=none", &world)), Some(Reason::TapMissing));
}

#[test]
fn ports_and_port_channels_with_members_exist_and_nothing_else_does() {
    let mut world = world();
    world.port_channels.insert("PortChannel2".to_owned(), BTreeSet::new());
    let check = |port: &str| check_ports(&spec(&format!("port={port}")), &world).err();
    assert_eq!((check("Ethernet1"), check("PortChannel1")), (None, None));
    for unknown in ["Ethernet", "Ethernet10", "ethernet1", "PortChannel", "Vlan10", "CPU", "PortChannel2"] {
        assert_eq!(check(unknown).map(|refusal| refusal.reason), Some(Reason::UnknownPort), "{unknown}");
    }
    assert_eq!(
        check("PortChannel2").expect("refused").message,
        "port: PortChannel2 has no members, so there is nothing to observe; add a member or name a port"
    );
    assert_eq!(
        check("Ethernet10").expect("refused").message,
        "port: \"Ethernet10\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB; this switch has Ethernet0, Ethernet1, Ethernet4, Ethernet16 and 6 more"
    );
    let empty = check_ports(&spec("port=Ethernet0"), &World::default()).expect_err("refused");
    assert!(empty.message.ends_with("CONFIG_DB has no ports at all"), "{}", empty.message);
}

#[test]
fn the_pool_is_taken_in_natural_order_with_the_cpu_port_last() {
    let mut world = world();
    let pool = ["CPU", "Ethernet124", "Ethernet16", "Ethernet4"];
    world.pool = pool.map(|port| (port.to_owned(), Some("cpu16".to_owned()))).into();
    let mut order = Vec::new();
    for _ in pool {
        let port = destination(admit("port=Ethernet0", &world));
        world.pool.remove(&port);
        order.push(port);
    }
    assert_eq!(order, ["Ethernet4", "Ethernet16", "Ethernet124", "CPU"]);
}

#[test]
fn a_pool_port_that_cannot_take_copies_is_skipped_and_the_reason_said() {
    let skip = |change: Change| {
        let mut world = world();
        world.pool.remove("Ethernet124");
        change(&mut world);
        admit("port=Ethernet0", &world).expect_err("nothing is free")
    };
    let cases: [(&str, Change); 8] = [
        ("Ethernet120 is not in PORT", |world| world.ports.retain(|port, _| port != "Ethernet120")),
        ("Ethernet120 is a VLAN member", |world| world.vlan_members = names(&["Ethernet120"])),
        ("Ethernet120 is a member of PortChannel9", |world| {
            world.port_channels.insert("PortChannel9".to_owned(), names(&["Ethernet120"]));
        }),
        ("Ethernet120 has an IP configuration", |world| world.routed_ports = names(&["Ethernet120"])),
        ("Ethernet120 is in mirror session debug", |world| {
            world.sessions.insert("debug".to_owned(), session("Ethernet16 RX Ethernet120"));
        }),
        ("Ethernet120 is in mirror session debug", |world| {
            world.sessions.insert("debug".to_owned(), session("Ethernet16,Ethernet120 TX Ethernet4"));
        }),
        ("Ethernet120 has no netdev", |world| world.pool = BTreeMap::from([("Ethernet120".to_owned(), None)])),
        ("CPU is in mirror session debug", |world| {
            world.pool = BTreeMap::from([("CPU".to_owned(), Some("eth0".to_owned()))]);
            world.sessions.insert("debug".to_owned(), session("Ethernet16 RX CPU"));
        }),
    ];
    for (why, change) in cases {
        let expected = format!("no port of TELEGEN_MIRROR_PORT is free: {why}");
        assert_eq!(skip(change), (Reason::NoMirrorPort, expected));
    }
}

#[test]
fn a_skipped_port_leaves_the_job_to_the_next_and_all_reasons_are_said_if_there_is_none() {
    let mut world = world();
    world.vlan_members = names(&["Ethernet120"]);
    assert_eq!(destination(admit("port=Ethernet0", &world)), "Ethernet124");
    world.routed_ports = names(&["Ethernet124"]);
    assert_eq!(
        destination(admit("port=Ethernet0", &world)),
        "no_mirror_port: no port of TELEGEN_MIRROR_PORT is free: Ethernet120 is a VLAN member; Ethernet124 has an IP configuration"
    );
}

#[test]
fn names_that_only_begin_alike_do_not_spoil_a_pool_port() {
    let mut world = world();
    world.vlan_members = names(&["Ethernet12", "Ethernet1200"]);
    world.routed_ports = names(&["Ethernet1", "Ethernet1201"]);
    world.sessions.insert("debug".to_owned(), session("Ethernet16 RX Ethernet12"));
    assert_eq!(destination(admit("port=Ethernet0", &world)), "Ethernet120");
}

#[test]
fn the_port_to_be_observed_is_never_its_own_destination() {
    assert_eq!(destination(admit("port=Ethernet120", &world())), "Ethernet124");
    let mut world = world();
    world.pool.remove("Ethernet124");
    assert_eq!(
        destination(admit("port=Ethernet120", &world)),
        "no_mirror_port: no port of TELEGEN_MIRROR_PORT is free: Ethernet120 is the port to be observed"
    );
}

#[test]
fn an_empty_pool_says_what_to_add() {
    let world = World { pool: BTreeMap::new(), ..world() };
    assert_eq!(
        destination(admit("port=Ethernet0", &world)),
        "no_mirror_port: TELEGEN_MIRROR_PORT is empty, so copies have nowhere to go; add a port with the netdev on which its copies arrive"
    );
}

#[test]
fn a_port_whose_netdev_this_host_does_not_have_is_skipped_and_said_only_if_no_other_is_left() {
    let mut world = world();
    world.netdevs.remove("cpu120");
    assert_eq!(destination(admit("port=Ethernet0", &world)), "Ethernet124");
    // The other one is taken: when its job ends, there is a port.
    let taken = BTreeMap::from([("telegen_b".to_owned(), session("Ethernet4 RX Ethernet124"))]);
    let refused = admit_under("port=Ethernet0", &world, &Settings::default(), &taken, 0);
    assert_eq!(
        destination(refused),
        "no_mirror_port: no port of TELEGEN_MIRROR_PORT is free: Ethernet120 has the netdev cpu120, which is not on this host; Ethernet124 is in mirror session telegen_b"
    );
    world.netdevs.remove("cpu124");
    assert_eq!(
        destination(admit("port=Ethernet0", &world)),
        "tap_missing: no port of TELEGEN_MIRROR_PORT can be tapped: Ethernet120 has the netdev cpu120, which is not on this host; Ethernet124 has the netdev cpu124, which is not on this host"
    );
}

#[test]
fn a_direction_is_tried_where_the_switch_confirms_it_or_the_user_insists() {
    // direction | ingress capable | egress capable | admitted
    let cases = [
        ("ingress", None, None, true),
        ("ingress", Some(true), Some(false), true),
        ("ingress", Some(false), Some(true), false),
        ("egress", Some(true), None, false),
        ("egress", Some(true), Some(false), false),
        ("egress", None, Some(true), true),
        ("both", Some(true), Some(true), true),
        ("both", None, Some(true), true),
        ("both", Some(true), None, false),
        ("both", Some(true), Some(false), false),
        ("both", Some(false), Some(true), false),
    ];
    let insisting = Settings { allow_unprobed: true, ..Settings::default() };
    for (direction, ingress_mirror, egress_mirror, admitted) in cases {
        let world =
            World { capability: Capability { ingress_mirror, egress_mirror, ..Capability::default() }, ..world() };
        let job = format!("port=Ethernet0 direction={direction}");
        let expected = (!admitted).then_some(Reason::MirrorUnsupported);
        assert_eq!(reason(admit(&job, &world)), expected, "{job} {ingress_mirror:?} {egress_mirror:?}");
        assert_eq!(reason(admit_under(&job, &world, &insisting, &BTreeMap::new(), 0)), None);
    }
}

#[test]
fn the_memory_of_all_jobs_together_is_limited_to_the_byte() {
    let settings = Settings { memory_limit_bytes: 6 << 20, ..Settings::default() };
    let admit = |job: &str, used| admit_under(job, &world(), &settings, &BTreeMap::new(), used);
    assert_eq!(admit("port=Ethernet0", 2 << 20).expect("it fits").memory_bytes, 4 << 20);
    assert_eq!(
        admit("port=Ethernet0", (2 << 20) + 1).expect_err("a byte too much"),
        (
            Reason::MemoryLimit,
            "the job's maps would take 4096 KiB beside the 2048 KiB in use, and memory_limit is 6 MiB; raise it or ask for result_detail summary".to_owned()
        )
    );
    assert_eq!(admit("port=Ethernet0 result_detail=summary", 5 << 20).expect("it fits").memory_bytes, 1 << 20);
}

fn warnings(job: &str, world: &World) -> Vec<Warning> {
    admit(job, world).expect("admitted").warnings.into_iter().collect()
}

#[test]
fn a_port_that_is_down_is_warned_of_also_if_it_is_one_member_and_not_if_nobody_knows() {
    let mut world = world();
    world.ports.get_mut("Ethernet44").expect("a port").oper_up = Some(false);
    world.ports.get_mut("Ethernet4").expect("a port").oper_up = None;
    assert_eq!(warnings("port=Ethernet44", &world), [Warning::PortDown]);
    assert_eq!(warnings("port=PortChannel1 span_method=none", &world), [Warning::PortDown]);
    assert_eq!((warnings("port=Ethernet4", &world), warnings("port=Ethernet0", &world)), (vec![], vec![]));
}

#[test]
fn a_source_faster_than_its_destination_is_oversubscribed_and_members_add_up() {
    let mut world = world();
    assert_eq!(warnings("port=Ethernet0", &world), [], "as fast is fast enough");
    assert_eq!(warnings("port=PortChannel1", &world), [Warning::Oversubscribed]);
    world.ports.get_mut("Ethernet120").expect("a port").speed_mbps = Some(99_999);
    assert_eq!(warnings("port=Ethernet0", &world), [Warning::Oversubscribed]);
    assert_eq!(warnings("port=Ethernet0 span_method=none", &world), [], "nothing is sent anywhere");
    world.ports.get_mut("Ethernet120").expect("a port").speed_mbps = None;
    assert_eq!(warnings("port=Ethernet0", &world), [], "what is not known is not said");
}
