//! The observed facts, by number.

use std::time::{Duration, Instant};

use redis::pipe;
use telegen_sonic::lab::orchagent::hardware::Fault;
use telegen_sonic::lab::switch_db::{CAPABILITIES, fill};
use telegen_sonic::sonic::Fields;

use crate::redis_common::{Redis, fields, within};
use crate::switch::{Switch, active_span, layout, next_events, run_command, until_is};

/// The session of the observations.
const S1: &str = "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX";

/// Each of these rows leaves no STATE_DB row and no binding.
async fn all_are_rejected(rows: &[&str]) {
    let switch = Switch::start().await;
    for row in rows {
        switch.session("s1", row).await;
        switch.settle().await;
        assert_eq!(switch.row("s1").await, Fields::new(), "{row}");
        assert_eq!(switch.bound(), [""; 0], "{row}");
        switch.delete("s1").await;
    }
}

#[tokio::test]
async fn fact_m1_a_span_session_is_active_after_two_events_and_its_port_is_bound() {
    let switch = Switch::start().await;
    let mut events = switch.state_events().await;
    switch.session("s1", S1).await;
    assert_eq!(next_events(&mut events, 1).await, ["hset"]);
    let first = Instant::now();
    assert_eq!(next_events(&mut events, 1).await, ["hset"]);
    // `timing` has the exact time; a busy machine can only be later, and at most a little of the first wait is lost on this side.
    assert!(first.elapsed() >= Duration::from_millis(2), "{:?}", first.elapsed());
    assert_eq!(switch.row("s1").await, active_span());
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
}

#[tokio::test]
async fn fact_m1_the_direction_chooses_the_sides() {
    let switch = Switch::start().await;
    for (direction, bound) in [
        ("RX", vec!["Ethernet0 rx s1>Ethernet4"]),
        ("TX", vec!["Ethernet0 tx s1>Ethernet4"]),
        ("BOTH", vec!["Ethernet0 rx s1>Ethernet4", "Ethernet0 tx s1>Ethernet4"]),
    ] {
        switch.session("s1", &S1.replace("RX", direction)).await;
        switch.until_active("s1").await;
        assert_eq!(switch.bound(), bound);
        switch.delete("s1").await;
        switch.until("s1", None).await;
        assert_eq!(switch.bound(), [""; 0]);
    }
}

#[tokio::test]
async fn fact_m1_without_direction_or_source_a_session_is_active_and_binds_nothing() {
    let switch = Switch::start().await;
    switch.session("s1", "type=SPAN src_port=Ethernet0 dst_port=Ethernet4").await;
    switch.session("s2", "type=SPAN dst_port=Ethernet4 direction=RX").await;
    switch.until_active("s1").await;
    switch.until_active("s2").await;
    assert_eq!(switch.bound(), [""; 0]);
}

#[tokio::test]
async fn fact_m1_a_port_may_be_its_own_destination() {
    let switch = Switch::start().await;
    switch.session("s1", &S1.replace("Ethernet4", "Ethernet0")).await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet0"]);
}

#[tokio::test]
async fn fact_m1_a_list_of_sources_has_no_spaces() {
    let switch = Switch::start().await;
    switch.session("s1", &S1.replace("Ethernet0", "Ethernet0,Ethernet8")).await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4", "Ethernet8 rx s1>Ethernet4"]);
    switch.delete("s1").await;
    switch.until("s1", None).await;
    let spaced =
        [("type", "SPAN"), ("src_port", "Ethernet0, Ethernet8"), ("dst_port", "Ethernet4"), ("direction", "RX")];
    switch.config.hset_whole("MIRROR_SESSION|s2", &fields(spaced)).await.unwrap();
    switch.settle().await;
    assert_eq!(switch.status("s2").await, None);
}

#[tokio::test]
async fn fact_m1_words_are_taken_by_the_letter() {
    all_are_rejected(&[&S1.replace("RX", "both"), &S1.replace("RX", "rx"), &format!("{S1} queue=20")]).await;
    let switch = Switch::start().await;
    switch.session("lower", &S1.replace("SPAN", "span")).await;
    switch.session("none", &S1.replace("type=SPAN ", "")).await;
    switch.settle().await;
    for name in ["lower", "none"] {
        assert_eq!(switch.status(name).await.as_deref(), Some("inactive"), "{name}");
    }
    assert_eq!(switch.bound(), [""; 0]);
}

#[tokio::test]
async fn fact_m1_a_session_waits_for_its_policer_without_a_row() {
    let switch = Switch::start().await;
    switch.session("s1", &format!("{S1} policer=p1")).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await, None);
    switch.cli("HSET POLICER|p1 meter_type packets mode sr_tcm cir 600 cbs 600").await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
}

#[tokio::test]
async fn fact_m1_a_session_that_waits_for_a_policer_can_be_deleted() {
    let switch = Switch::start().await;
    switch.session("s1", &format!("{S1} policer=p1")).await;
    switch.delete("s1").await;
    switch.cli("HSET POLICER|p1 meter_type packets mode sr_tcm cir 600 cbs 600").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await, None);
}

#[tokio::test]
async fn fact_m2_the_cpu_port_and_unknown_ports_are_rejected_without_a_row() {
    all_are_rejected(&[
        &S1.replace("Ethernet4", "CPU"),
        &S1.replace("Ethernet4", "Ethernet400"),
        &S1.replace("Ethernet0", "Ethernet400"),
    ])
    .await;
}

#[tokio::test]
async fn fact_m3_an_unknown_attribute_rejects_the_whole_session() {
    all_are_rejected(&[&format!("{S1} owner=me"), &format!("{S1} NULL=NULL"), "NULL=NULL"]).await;
}

#[tokio::test]
async fn fact_m4_sampled_sessions_are_accepted_and_say_so() {
    let switch = Switch::start().await;
    let sampled = |rate: &str, size: Option<&str>| {
        let mut row = active_span();
        row.extend(fields([("sample_rate", rate)]));
        row.extend(size.map(|size| ("truncate_size".to_owned(), size.to_owned())));
        row
    };
    switch.session("both", &format!("{S1} sample_rate=256 truncate_size=128")).await;
    switch.session("size", &format!("{} truncate_size=64", S1.replace("Ethernet0", "Ethernet8"))).await;
    switch.session("second", &format!("{S1} sample_rate=512")).await;
    switch.session("other_side", &format!("{} sample_rate=512", S1.replace("RX", "TX"))).await;
    for name in ["both", "size", "other_side"] {
        switch.until_active(name).await;
    }
    assert_eq!(switch.row("both").await, sampled("256", Some("128")));
    assert_eq!(switch.row("size").await, sampled("1", Some("64")));
    assert_eq!(switch.row("other_side").await, sampled("512", None));
    assert_eq!(switch.status("second").await.as_deref(), Some("inactive"));
    // Through a sampler, not through the plain binding.
    let sampled = [
        "Ethernet0 sampled-rx both>Ethernet4",
        "Ethernet0 sampled-tx other_side>Ethernet4",
        "Ethernet8 sampled-rx size>Ethernet4",
    ];
    assert_eq!(switch.bound(), sampled);
    switch.session("zero", &format!("{S1} sample_rate=0")).await;
    switch.until_active("zero").await;
    assert_eq!(switch.row("zero").await, active_span());
    assert_eq!(switch.bound(), [&["Ethernet0 rx zero>Ethernet4"], &sampled[..]].concat());
    switch.session("nowhere", "type=SPAN dst_port=Ethernet4 sample_rate=256").await;
    switch.settle().await;
    assert_eq!(switch.status("nowhere").await, None);
}

#[tokio::test]
async fn fact_m5_overlapping_sessions_overwrite_each_other_and_either_unbinds_both() {
    for deleted in ["s1", "s2"] {
        let switch = Switch::start().await;
        switch.session("s1", S1).await;
        switch.until_active("s1").await;
        switch.session("s2", &S1.replace("Ethernet4", "Ethernet8")).await;
        switch.until_active("s2").await;
        assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
        assert_eq!(switch.bound(), ["Ethernet0 rx s2>Ethernet8"]);
        switch.delete(deleted).await;
        switch.until(deleted, None).await;
        let survivor = if deleted == "s1" { "s2" } else { "s1" };
        assert_eq!(switch.status(survivor).await.as_deref(), Some("active"));
        assert_eq!(switch.bound(), [""; 0]);
    }
}

const ERSPAN: &str =
    "type=ERSPAN src_ip=10.0.0.1 dst_ip=10.0.0.5 gre_type=0x88be dscp=8 ttl=255 src_port=Ethernet0 direction=RX";

#[tokio::test]
async fn fact_m6_an_erspan_session_is_active_while_its_neighbour_is_known_and_stale_afterwards() {
    let switch = Switch::start().await;
    switch.session("e1", ERSPAN).await;
    switch.settle().await;
    let mut row = active_span();
    row.insert("status".to_owned(), "inactive".to_owned());
    assert_eq!(switch.row("e1").await, row);
    run_command(&switch.appl, "HSET NEIGH_TABLE:Ethernet8:10.0.0.5 neigh 02:00:00:00:00:05 family IPv4").await;
    switch.until_active("e1").await;
    let active = fields([
        ("status", "active"),
        ("monitor_port", "Ethernet8"),
        ("dst_mac", "02:00:00:00:00:05"),
        ("route_prefix", "0.0.0.0/0"),
        ("vlan_id", "0"),
        ("next_hop_ip", "0.0.0.0@"),
    ]);
    assert_eq!(switch.row("e1").await, active);
    run_command(&switch.appl, "DEL NEIGH_TABLE:Ethernet8:10.0.0.5").await;
    switch.until("e1", Some("inactive")).await;
    let mut stale = active.clone();
    stale.insert("status".to_owned(), "inactive".to_owned());
    assert_eq!(switch.row("e1").await, stale);
    run_command(&switch.appl, "HSET NEIGH_TABLE:Ethernet8:10.0.0.5 neigh 02:00:00:00:00:05 family IPv4").await;
    switch.until_active("e1").await;
    assert_eq!(switch.row("e1").await, active);
}

#[tokio::test]
async fn fact_m6_several_erspan_sessions_share_a_neighbour_of_ipv6() {
    let switch = Switch::start().await;
    let v6 = "type=ERSPAN src_ip=fc00::1 dst_ip=fc00::5 direction=RX src_port=";
    for (name, port) in [("e1", "Ethernet0"), ("e2", "Ethernet4")] {
        switch.session(name, &format!("{v6}{port}")).await;
    }
    switch.settle().await;
    assert_eq!(switch.row("e1").await["next_hop_ip"], "::@");
    run_command(&switch.appl, "HSET NEIGH_TABLE:Ethernet8:fc00::5 neigh 02:00:00:00:00:05 family IPv6").await;
    for name in ["e1", "e2"] {
        switch.until_active(name).await;
        assert_eq!(switch.row(name).await["route_prefix"], "::/0");
    }
    // A session that comes later finds the neighbour known.
    switch.session("e3", &format!("{v6}Ethernet12")).await;
    switch.until_active("e3").await;
}

#[tokio::test]
async fn fact_m6_an_erspan_session_that_cannot_be_is_rejected_without_a_row() {
    all_are_rejected(&[
        &ERSPAN.replace("10.0.0.1", "fc00::1"),
        &ERSPAN.replace("10.0.0.5", "10.0.0.500"),
        &ERSPAN.replace("dscp=8", "dscp=64"),
        &ERSPAN.replace("ttl=255", "ttl=300"),
    ])
    .await;
}

#[tokio::test]
async fn fact_m7_a_second_hset_is_ignored_without_an_event() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    let mut events = switch.state_events().await;
    switch.session("s1", "dst_port=Ethernet8 direction=TX").await;
    switch.settle().await;
    switch.delete("s1").await;
    // Those of `settle`: inactive, active, inactive, gone; and then the deletion.
    for name in ["settle", "settle", "settle", "settle", "s1"] {
        let event = within("an event", events.next()).await.unwrap();
        assert_eq!(event.channel, format!("__keyspace@6__:MIRROR_SESSION_TABLE|{name}"));
        assert_eq!(switch.bound().iter().filter(|bound| !bound.starts_with("Ethernet0 rx s1>Ethernet4")).count(), 0);
    }
}

#[tokio::test]
async fn fact_m7_a_deletion_followed_by_a_new_row_works_whatever_lies_between() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    let mut ports = ["Ethernet8", "Ethernet4"].into_iter().cycle();
    let mut write = |how: &str| {
        let port = ports.next().unwrap();
        let mut pipeline = pipe();
        if how == "MULTI" {
            pipeline.atomic();
        }
        pipeline.cmd("DEL").arg("MIRROR_SESSION|s1").cmd("HSET").arg("MIRROR_SESSION|s1");
        pipeline.arg(&["type", "SPAN", "src_port", "Ethernet0", "dst_port", port, "direction", "RX"]);
        (pipeline, port)
    };
    for round in 0..20 {
        for how in ["MULTI", "pipeline"] {
            let (pipeline, port) = write(how);
            let _: redis::Value = switch.config.run("test", &pipeline).await.unwrap();
            until_bound(&switch, &format!("Ethernet0 rx s1>{port}"), how).await;
        }
        let (_, port) = write("gap");
        switch.delete("s1").await;
        tokio::time::sleep(Duration::from_millis(round * 50 / 19)).await;
        switch.session("s1", &S1.replace("Ethernet4", port)).await;
        until_bound(&switch, &format!("Ethernet0 rx s1>{port}"), "gap").await;
    }
}

async fn until_bound(switch: &Switch, bound: &str, what: &str) {
    let expected = (vec![bound.to_owned()], Some("active".to_owned()));
    until_is(what, expected, async || (switch.bound(), switch.status("s1").await)).await;
}

#[tokio::test]
async fn fact_m8_del_unlink_and_hdel_remove_a_session_by_an_hset_and_a_del() {
    let switch = Switch::start().await;
    let mut events = switch.state_events().await;
    for command in
        ["DEL MIRROR_SESSION|s1", "UNLINK MIRROR_SESSION|s1", "HDEL MIRROR_SESSION|s1 type src_port dst_port direction"]
    {
        switch.session("s1", S1).await;
        switch.until_active("s1").await;
        switch.cli(command).await;
        switch.until("s1", None).await;
        assert_eq!(next_events(&mut events, 4).await, ["hset", "hset", "hset", "del"], "{command}");
        assert_eq!(switch.bound(), [""; 0], "{command}");
    }
}

#[tokio::test]
async fn fact_m8_the_deletion_of_an_absent_session_does_nothing() {
    let switch = Switch::start().await;
    let mut events = switch.state_events().await;
    switch.delete("s1").await;
    switch.settle().await;
    for _ in 0..4 {
        let event = within("an event", events.next()).await.unwrap();
        assert_eq!(event.channel, "__keyspace@6__:MIRROR_SESSION_TABLE|settle");
    }
}

#[tokio::test]
async fn fact_m8_an_expired_session_stays() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    switch.cli("PEXPIRE MIRROR_SESSION|s1 10").await;
    let row = async || switch.config.hgetall("MIRROR_SESSION|s1").await.unwrap();
    until_is("the row that expires", Fields::new(), row).await;
    switch.settle().await;
    assert_eq!(switch.row("s1").await, active_span());
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
}

#[tokio::test]
async fn fact_m8_a_renamed_session_is_orphaned() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    switch.cli("RENAME MIRROR_SESSION|s1 MIRROR_SESSION|s2").await;
    switch.until_active("s2").await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
}

#[tokio::test]
async fn fact_m9_of_a_row_written_field_by_field_only_the_first_write_counts() {
    let switch = Switch::start().await;
    // The type first: stuck inactive.
    for field in ["type=SPAN", "src_port=Ethernet0", "dst_port=Ethernet4", "direction=RX"] {
        switch.session("s1", field).await;
        switch.settle().await;
    }
    assert_eq!(switch.status("s1").await.as_deref(), Some("inactive"));
    // The source first: not even a SPAN session.
    for field in ["src_port=Ethernet0", "type=SPAN dst_port=Ethernet4 direction=RX"] {
        switch.session("s2", field).await;
        switch.settle().await;
    }
    assert_eq!(switch.status("s2").await.as_deref(), Some("inactive"));
    // All that is needed to be active, but not to bind.
    for field in ["type=SPAN dst_port=Ethernet4", "src_port=Ethernet0", "direction=RX"] {
        switch.session("s3", field).await;
        switch.settle().await;
    }
    assert_eq!(switch.status("s3").await.as_deref(), Some("active"));
    assert_eq!(switch.bound(), [""; 0]);
    // A deletion and one whole row repair it.
    switch.delete("s3").await;
    switch.until("s3", None).await;
    switch.session("s3", S1).await;
    switch.until_active("s3").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s3>Ethernet4"]);
}

#[tokio::test]
async fn fact_m9_the_deletion_of_a_partial_session_hangs_and_takes_its_successor_along() {
    let switch = Switch::start().await;
    switch.session("s1", "type=SPAN").await;
    switch.until("s1", Some("inactive")).await;
    switch.delete("s1").await;
    switch.session("s1", S1).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("inactive"));
    switch.until("s1", None).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await, None);
}

#[tokio::test]
async fn fact_m10_orchagent_hears_what_the_keyspace_flags_let_through() {
    let switch = Switch::start().await;
    let flags = async |flags: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("notify-keyspace-events").arg(flags);
        let _: redis::Value = switch.config.query("CONFIG", &set).await.unwrap();
    };
    for (heard, hears_set, hears_del) in [
        ("AKE", true, true),
        ("KA", true, true),
        ("Khg", true, true),
        ("Kh", true, false),
        ("", false, false),
        ("AE", false, false),
        ("Kg", false, false),
        ("KE", false, false),
    ] {
        let name = format!("s{heard}");
        flags(heard).await;
        switch.session(&name, S1).await;
        flags("AKE").await;
        switch.settle().await;
        assert_eq!(switch.status(&name).await.is_some(), hears_set, "HSET under {heard:?}");
        flags(heard).await;
        switch.delete(&name).await;
        flags("AKE").await;
        switch.settle().await;
        assert_eq!(switch.status(&name).await.is_some(), hears_set && !hears_del, "DEL under {heard:?}");
    }
}

#[tokio::test]
async fn fact_m11_the_switch_says_that_it_can_do_everything() {
    let switch = Switch::start().await;
    let capabilities = switch.state.hgetall("SWITCH_CAPABILITY|switch").await.unwrap();
    let expected: Fields = CAPABILITIES.iter().map(|&name| (name.to_owned(), "true".to_owned())).collect();
    assert_eq!(capabilities, expected);
    assert_eq!(capabilities.len(), 7);
}

#[tokio::test]
async fn fact_m12_sessions_written_before_the_ports_are_there_wait_for_half_a_second_more() {
    let redis = Redis::start();
    let (config, appl) = (redis.connect("CONFIG_DB").await, redis.connect("APPL_DB").await);
    fill(&redis.config, &layout()).await.unwrap();
    let done = appl.hgetall("PORT_TABLE:PortInitDone").await.unwrap();
    appl.del("PORT_TABLE:PortInitDone").await.unwrap();
    run_command(&config, &format!("HSET MIRROR_SESSION|early {}", S1.replace('=', " "))).await;
    let switch = Switch::on(redis).await;
    switch.session("late", &S1.replace("Ethernet0", "Ethernet8")).await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        switch.until_active("early").await;
    });
    assert!(quiet.await.is_err());
    assert_eq!(switch.row("late").await, Fields::new());
    let ports_done = Instant::now();
    switch.appl.hset_whole("PORT_TABLE:PortInitDone", &done).await.unwrap();
    switch.until_active("early").await;
    assert!(ports_done.elapsed() >= Duration::from_millis(500), "{:?}", ports_done.elapsed());
    switch.until_active("late").await;
}

#[tokio::test]
async fn fact_m12_a_stopped_orchagent_reads_the_current_row_when_it_resumes() {
    let switch = Switch::start().await;
    switch.fault(Fault::Dead, None).await;
    for field in ["type=SPAN", "src_port=Ethernet0", "dst_port=Ethernet4", "direction=RX"] {
        switch.session("s1", field).await;
    }
    let quiet = tokio::time::timeout(Duration::from_millis(100), switch.until("s1", Some("inactive"))).await;
    assert!(quiet.is_err());
    switch.fault(Fault::Clear, None).await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
}

#[tokio::test]
async fn fact_m12_state_db_is_no_evidence_that_orchagent_lives() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    let redis = switch.kill_orchagent().await;
    let (config, state) = (redis.connect("CONFIG_DB").await, redis.connect("STATE_DB").await);
    run_command(&config, "DEL MIRROR_SESSION|s1").await;
    // Its successor knows nothing of a session that has no row.
    let switch = Switch::on(redis).await;
    switch.settle().await;
    assert_eq!(state.hgetall("MIRROR_SESSION_TABLE|s1").await.unwrap(), active_span());
}

#[tokio::test]
async fn fact_m12_a_restarted_orchagent_takes_up_the_rows_that_are_there() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    let switch = switch.restart_orchagent().await;
    switch.until_bound(&["Ethernet0 rx s1>Ethernet4"]).await;
    switch.until_active("s1").await;
}

#[tokio::test]
async fn fact_m13_does_not_hold_here_the_hardware_is_asked_to_copy() {
    // The virtual-switch SAI makes objects and copies nothing. This switch copies: whoever is bound has a target.
    let switch = Switch::start().await;
    assert_eq!(switch.bound(), [""; 0]);
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
}
