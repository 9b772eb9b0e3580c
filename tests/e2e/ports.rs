//! Ports and port channels that change under a job, and what ASIC_DB shows of them.

use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::profiles::Profile;

use crate::asic_db::{enable_sflow, ingress_sampler};
use crate::fixture::{DEADLINE, Switch, wait_for};
use crate::redis_db::{Db, Redis};

fn member(config: &mut Redis, channel: &str, port: &str) {
    config.set(&format!("PORTCHANNEL_MEMBER|{channel}|{port}"), &[("NULL", "NULL")]);
}

fn channel(config: &mut Redis, name: &str, members: &[&str]) {
    config.set(&format!("PORTCHANNEL|{name}"), &[("admin_status", "up")]);
    for port in members {
        member(config, name, port);
    }
}

fn await_sources(switch: &Switch, session: &str, sources: &str) {
    let mut config = switch.redis(Db::Config);
    let mut state = switch.redis(Db::State);
    wait_for(&format!("{session} copies {sources}"), DEADLINE, || {
        let named = config.field(&format!("MIRROR_SESSION|{session}"), "src_port");
        let status = state.field(&format!("MIRROR_SESSION_TABLE|{session}"), "status");
        (named.as_deref() == Some(sources) && status.as_deref() == Some("active")).then_some(())
    });
}

#[test]
fn a_member_that_joins_is_counted_from_then_on_and_one_that_leaves_no_more() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel1", &["Ethernet0"]);
    switch.run_job("lag", "PortChannel1", &[("sample_rate", "1")]);
    await_sources(&switch, "telegen_lag", "Ethernet0");
    let mut sent = switch.send("Ethernet0", Profile::Mixed, 100, 1).copies.delivered;
    member(&mut config, "PortChannel1", "Ethernet8");
    await_sources(&switch, "telegen_lag", "Ethernet0,Ethernet8");
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 6", "Ethernet8 rx is copied to port 6"]);
    for port in ["Ethernet0", "Ethernet8"] {
        sent += switch.send(port, Profile::Mixed, 100, 2).copies.delivered;
    }
    assert_eq!(sent, 300);
    let mut state = switch.redis(Db::State);
    wait_for("the change is recorded", DEADLINE, || {
        let message = state.field("TELEGEN_JOB_TABLE|lag", "message").unwrap_or_default();
        message.contains("its mirror session was made anew once").then_some(())
    });
    switch.stop_job("lag");
    assert_eq!(switch.results("lag")["packets_total"], "300");
    switch.assert_clean();
}

#[test]
fn a_member_of_another_port_channel_whose_name_is_a_part_of_ours_is_not_copied() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel1", &[]);
    channel(&mut config, "PortChannel10", &["Ethernet0"]);
    switch.run_job("lag", "PortChannel10", &[]);
    let before = switch.bindings();
    member(&mut config, "PortChannel1", "Ethernet8");
    // A session that comes after the member tells that orchagent has seen it.
    switch.run_job("later", "Ethernet12", &[]);
    switch.stop_job("later");
    assert_eq!(switch.bindings(), before);
    switch.stop_job("lag");
    switch.assert_clean();
}

#[test]
fn a_port_channel_that_is_deleted_ends_the_job_and_its_session_goes() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel1", &["Ethernet0", "Ethernet8"]);
    switch.run_job("lag", "PortChannel1", &[]);
    for key in ["PORTCHANNEL_MEMBER|PortChannel1|Ethernet0", "PORTCHANNEL_MEMBER|PortChannel1|Ethernet8"] {
        config.delete(key);
    }
    config.delete("PORTCHANNEL|PortChannel1");
    let row = switch.assert_ended("lag", "failed", "mirror_lost", DEADLINE);
    assert!(row["message"].starts_with("the members of the job's port channel changed, and"), "{row:?}");
    switch.assert_clean();
}

#[test]
fn a_port_channel_that_is_deleted_before_its_members_is_gone_all_the_same() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel1", &["Ethernet0"]);
    switch.run_job("lag", "PortChannel1", &[]);
    config.delete("PORTCHANNEL|PortChannel1");
    let row = switch.assert_ended("lag", "failed", "mirror_lost", DEADLINE);
    assert!(row["message"].starts_with("the members of the job's port channel changed, and"), "{row:?}");
    config.set("TELEGEN_JOB|next", &[("port", "PortChannel1"), ("duration", "5")]);
    switch.assert_ended("next", "rejected", "unknown_port", DEADLINE);
    config.delete("PORTCHANNEL_MEMBER|PortChannel1|Ethernet0");
    switch.assert_clean();
}

#[test]
fn a_port_that_is_removed_ends_the_job_at_once_and_what_holds_it_is_said_half_a_minute_later() {
    let Some(switch) = Switch::start() else { return };
    switch.run_job("gone", "Ethernet0", &[]);
    switch.redis(Db::Config).delete("PORT|Ethernet0");
    let row = switch.assert_ended("gone", "failed", "mirror_lost", DEADLINE);
    assert!(row["message"].starts_with("Ethernet0 was removed from PORT while the job ran"), "{row:?}");
    wait_for("job and session are gone", DEADLINE, || switch.rows_left().is_empty().then_some(()));
    await_held(&switch, "gone");
}

/// Waits until the job says that ASIC_DB still has a port that was removed under it.
fn await_held(switch: &Switch, id: &str) {
    let mut state = switch.redis(Db::State);
    let limit = telegen_sonic::model::supervisor::DEPARTED_AFTER + DEADLINE;
    wait_for("the port is known to be held", limit, || {
        let message = state.field(&format!("TELEGEN_JOB_TABLE|{id}"), "message").unwrap_or_default();
        message.contains("ASIC_DB still has its object").then_some(())
    });
    assert_eq!(state.field(&format!("TELEGEN_JOB_TABLE|{id}"), "warning").as_deref(), Some("left_bound"));
}

#[test]
fn a_destination_that_is_removed_ends_the_job_and_what_holds_it_is_said_half_a_minute_later() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    // Its copies arrive on a netdev of another name, which stays.
    config.set("TELEGEN_MIRROR_PORT|Ethernet28", &[("netdev", "Ethernet16")]);
    switch.run_job("own", "Ethernet0", &[]);
    switch.run_job("other", "Ethernet4", &[]);
    for port in ["Ethernet24", "Ethernet28"] {
        config.delete(&format!("PORT|{port}"));
    }
    let row = switch.assert_ended("other", "failed", "mirror_lost", DEADLINE);
    assert!(row["message"].starts_with("Ethernet28 was removed from PORT while the job ran"), "{row:?}");
    // Which of the two is seen first, the row or the netdev, is chance.
    let row = switch.await_final("own", DEADLINE);
    assert!(["mirror_lost", "tap_missing"].contains(&row["reason"].as_str()), "{row:?}");
    await_held(&switch, "other");
    await_held(&switch, "own");
}

/// A sampled ERSPAN job's fields.
const SAMPLED: [(&str, &str); 2] = [("span_method", "erspan"), ("mirror_sample_rate", "4")];

#[test]
fn a_sampled_job_has_a_session_for_each_port_and_none_if_one_is_refused() {
    let Some(switch) = Switch::start() else { return };
    switch.start_job("three", "Ethernet0,Ethernet4,Ethernet8", &SAMPLED);
    let row = switch.assert_ended("three", "rejected", "mirror_unsupported", DEADLINE);
    assert!(row["message"].contains("max_sessions in TELEGEN|global is 2"), "{row:?}");
    let row = switch.run_job("two", "Ethernet0,Ethernet8", &SAMPLED);
    assert_eq!(row["mirror_session"], "telegen_two,telegen__2_two");
    let mut config = switch.redis(Db::Config);
    assert_eq!(config.row("MIRROR_SESSION|telegen_two")["src_port"], "Ethernet0");
    assert_eq!(config.row("MIRROR_SESSION|telegen__2_two")["src_port"], "Ethernet8");
    switch.stop_job("two");
    switch.assert_clean();

    let room = FaultName::Sessions { room: 1, orchagent_ends: false };
    switch.lab.fault(room, None).unwrap();
    switch.start_job("again", "Ethernet0,Ethernet8", &SAMPLED);
    let row = switch.assert_ended("again", "failed", "mirror_rejected", DEADLINE);
    assert!(row["message"].starts_with("no word of orchagent on mirror session telegen__2_again"), "{row:?}");
    assert!(row["message"].contains("the others are given up with this one"), "{row:?}");
    switch.assert_clean();
}

#[test]
fn sflow_in_one_direction_does_not_refuse_a_sampled_job_in_the_other() {
    let Some(switch) = Switch::start() else { return };
    let sampler = Some(enable_sflow(&switch, "Ethernet0", "100000"));
    switch.run_job("egress", "Ethernet0", &[SAMPLED[0], SAMPLED[1], ("direction", "egress")]);
    assert_eq!(ingress_sampler(&switch, "Ethernet0"), sampler);
    switch.stop_job("egress");
    assert_eq!(ingress_sampler(&switch, "Ethernet0"), sampler);
    switch.start_job("both", "Ethernet0", &[SAMPLED[0], SAMPLED[1], ("direction", "both")]);
    switch.assert_ended("both", "rejected", "mirror_conflict", DEADLINE);
    assert_eq!(ingress_sampler(&switch, "Ethernet0"), sampler);
}

#[test]
fn a_sampler_that_stands_in_no_table_is_found_in_asic_db() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    let leak = [
        ("type", "SPAN"),
        ("dst_port", "Ethernet20"),
        ("src_port", "Ethernet4,Ethernet8"),
        ("direction", "RX"),
        ("sample_rate", "1000"),
    ];
    switch.asic_db.suspend("what somebody else left in ASIC_DB is what this is about");
    // What a session over two ports leaves behind if sFlow has one of them (fact S15).
    enable_sflow(&switch, "Ethernet8", "777");
    config.set("MIRROR_SESSION|leak", &leak);
    switch.await_session("leak", Some("inactive"));
    let taken = wait_for("the leak holds Ethernet4", DEADLINE, || ingress_sampler(&switch, "Ethernet4"));
    config.delete("MIRROR_SESSION|leak");
    switch.redis(Db::Appl).delete("SFLOW_SESSION_TABLE:Ethernet8");
    switch.await_session("leak", None);
    assert_eq!(ingress_sampler(&switch, "Ethernet4"), Some(taken.clone()));
    switch.start_job("blocked", "Ethernet4", &SAMPLED);
    let row = switch.assert_ended("blocked", "failed", "mirror_inactive", DEADLINE);
    let said = format!("ASIC_DB shows that the ingress sampler of Ethernet4 is taken by {taken}");
    assert!(row["message"].contains(&said), "{row:?}");
    assert!(!row.contains_key("warning"), "nothing of ours is left: {row:?}");
    // What frees it.
    switch.lab.fault(FaultName::Restart, None).unwrap();
    wait_for("the port is free", DEADLINE, || ingress_sampler(&switch, "Ethernet4").is_none().then_some(()));
    switch.asic_db.resume();
    switch.run_job("next", "Ethernet4", &SAMPLED);
    switch.stop_job("next");
    switch.assert_clean();
}

#[test]
fn the_end_of_a_job_reads_by_points_only() {
    let Some(mut switch) = Switch::start() else { return };
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut monitor = std::process::Command::new("redis-cli")
        .arg("-s")
        .arg(switch.lab.redis_socket())
        .arg("monitor")
        .stdout(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(log.path()).unwrap();
    switch.asic_db.suspend("the monitor would see the fixture's commands");
    wait_for("the monitor listens", DEADLINE, || said().starts_with("OK").then_some(()));
    // A daemon says at its start what it follows.
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    switch.start_daemon();
    let mut config = switch.redis(Db::Config);
    config.set(
        "MIRROR_SESSION|theirs",
        &[("type", "SPAN"), ("src_port", "Ethernet4"), ("dst_port", "Ethernet12"), ("direction", "RX")],
    );
    switch.await_session("theirs", Some("active"));
    config.command(&["ECHO", "the job"]);
    switch.run_job("watched", "Ethernet0,Ethernet8", &[]);
    switch.stop_job("watched");
    config.command(&["ECHO", "the end"]);
    wait_for("the monitor has seen all of it", DEADLINE, || said().contains("\"the end\"").then_some(()));
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    switch.asic_db.resume();
    let said = said();
    for line in said.lines().filter(|line| line.contains(" [1 ")) {
        assert!(["SELECT", "HMGET", "HSET", "DEL"].contains(&monitored(line).to_uppercase().as_str()), "{line}");
    }
    assert!(said.contains("__keyspace@4__"), "the daemon follows CONFIG_DB, which is seen here");
    assert!(!["@1__", "@*__"].iter().any(|pattern| said.contains(pattern)), "nobody follows ASIC_DB");
    let (_, job) = said.split_once("\"the job\"").unwrap();
    let asic: Vec<&str> = job.lines().filter(|line| line.contains(" [1 ")).collect();
    let reads = |what: &str| asic.iter().filter(|line| line.contains("HMGET") && line.contains(what)).count();
    // Two ports, at the start of the job and at its end.
    assert_eq!(reads("SAI_OBJECT_TYPE_PORT"), 4, "{asic:#?}");
    assert!(reads("SAI_OBJECT_TYPE_MIRROR_SESSION") <= 4, "{asic:#?}");
    // However many rows CONFIG_DB has, the end of a job does not wait for their listing.
    let (_, end) = job.split_once("\"DEL\" \"TELEGEN_JOB|watched\"").unwrap();
    let (end, _) = end.split_once("\"DEL\" \"MIRROR_SESSION|telegen_watched\"").unwrap();
    assert!(end.contains("MIRROR_SESSION|theirs"), "somebody else's session is looked at: {end}");
    assert!(!end.contains("\"SCAN\""), "{end}");
}

/// The name of the command in a line of MONITOR.
fn monitored(line: &str) -> &str {
    line.split("] \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// A session as versions before this one made them: it names the port channel.
const OF_AN_OLDER_VERSION: [(&str, &str); 4] =
    [("type", "SPAN"), ("src_port", "PortChannel10"), ("dst_port", "Ethernet24"), ("direction", "RX")];

/// What the daemon said so far that has this in it.
fn await_said(switch: &Switch, what: &str) {
    wait_for(&format!("the daemon says {what:?}"), DEADLINE, || switch.daemon().log().contains(what).then_some(()));
}

#[test]
fn a_session_that_a_stranger_of_its_name_holds_is_freed_and_deleted() {
    let Some(mut switch) = Switch::start() else { return };
    switch.kill9();
    let (mut config, mut state) = (switch.redis(Db::Config), switch.redis(Db::State));
    channel(&mut config, "PortChannel1", &[]);
    channel(&mut config, "PortChannel10", &["Ethernet0"]);
    config.set("MIRROR_SESSION|telegen_old", &OF_AN_OLDER_VERSION);
    wait_for("it copies", DEADLINE, || (switch.bindings() == ["Ethernet0 rx is copied to port 6"]).then_some(()));
    member(&mut config, "PortChannel1", "Ethernet8");
    wait_for("the stranger is copied, too", DEADLINE, || (switch.bindings().len() == 2).then_some(()));
    switch.start_daemon();
    await_said(&switch, "mirror session telegen_old was stuck and is free: Ethernet8 (ingress, oid:");
    assert!(!state.exists("MIRROR_SESSION_TABLE|telegen_old"));
    switch.assert_clean();
}

#[test]
fn a_stuck_session_is_not_freed_at_the_cost_of_somebody_elses_and_its_ports_are_not_given_to_jobs() {
    let Some(mut switch) = Switch::start() else { return };
    switch.kill9();
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel1", &[]);
    channel(&mut config, "PortChannel10", &["Ethernet0"]);
    config.set("MIRROR_SESSION|telegen_old", &OF_AN_OLDER_VERSION);
    wait_for("it copies", DEADLINE, || (switch.bindings().len() == 1).then_some(()));
    member(&mut config, "PortChannel1", "Ethernet8");
    wait_for("the stranger is copied, too", DEADLINE, || (switch.bindings().len() == 2).then_some(()));
    // Somebody's row names the port, inactive as it is.
    let theirs = [
        ("type", "ERSPAN"),
        ("src_ip", "192.0.2.1"),
        ("dst_ip", "192.0.2.9"),
        ("src_port", "Ethernet8"),
        ("direction", "RX"),
    ];
    config.set("MIRROR_SESSION|theirs", &theirs);
    switch.start_daemon();
    await_said(
        &switch,
        "mirror session telegen_old was deleted, and orchagent still has it: ASIC_DB shows Ethernet8 (ingress, oid:",
    );
    assert!(switch.bindings().contains(&"Ethernet8 rx is copied to port 6".to_owned()), "it is left alone");
    switch.asic_db.suspend("a session that orchagent does not remove is what this is about");
    let row = switch.run_job("next", "Ethernet12", &[]);
    assert_eq!(row["tap"], "Ethernet28", "copies to Ethernet24 would be mixed with those of the stuck session");
    switch.stop_job("next");
    config.delete("MIRROR_SESSION|theirs");
    await_said(&switch, "mirror session telegen_old was stuck and is free");
    switch.asic_db.resume();
    switch.assert_clean();
}

#[test]
fn a_session_whose_port_channel_is_gone_is_explained_and_goes_when_there_is_one_of_that_name() {
    let Some(mut switch) = Switch::start() else { return };
    switch.kill9();
    let mut config = switch.redis(Db::Config);
    channel(&mut config, "PortChannel10", &["Ethernet0"]);
    config.set("MIRROR_SESSION|telegen_old", &OF_AN_OLDER_VERSION);
    wait_for("it copies", DEADLINE, || (switch.bindings().len() == 1).then_some(()));
    config.delete("PORTCHANNEL_MEMBER|PortChannel10|Ethernet0");
    config.delete("PORTCHANNEL|PortChannel10");
    wait_for("nothing is copied", DEADLINE, || switch.bindings().is_empty().then_some(()));
    switch.start_daemon();
    await_said(&switch, "config portchannel add PortChannel10");
    channel(&mut config, "PortChannel10", &[]);
    switch.assert_clean_within(std::time::Duration::from_secs(90));
}
