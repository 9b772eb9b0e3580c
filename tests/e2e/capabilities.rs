//! What the switch can do: said with its reasons, found out without harm, and used. Sampled and cut mirrors, port channels, several ports.

use std::fs;

use telegen_sonic::lab::profiles::Profile;

use crate::asic_db::{enable_sflow, ingress_sampler};
use crate::fixture::{DEADLINE, Switch, wait_for};
use crate::redis_db::{Db, Row};

const DAEMON: &str = "TELEGEN_DAEMON_TABLE|localhost";

fn number(row: &Row, field: &str) -> u64 {
    row.get(field).unwrap_or_else(|| panic!("no {field} in {row:?}")).parse().unwrap()
}

/// The daemon starts anew, and knows nothing of what an earlier one found out.
fn start_again(switch: &mut Switch, prepare: impl FnOnce(&Switch)) {
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    fs::remove_file(switch.lab.path_inside("/run/telegen/switch-trials")).unwrap();
    prepare(switch);
    switch.start_daemon();
}

#[test]
fn the_status_says_what_the_switch_can_and_cannot_do_and_why() {
    let Some(mut switch) = Switch::start() else { return };
    let row = switch.redis(Db::State).row(DAEMON);
    let expected = [
        ("mirror_ingress", "true", "SWITCH_CAPABILITY says PORT_INGRESS_MIRROR_CAPABLE true"),
        (
            "span",
            "true",
            "copies to Ethernet24 are awaited on Ethernet24; copies to Ethernet28 are awaited on Ethernet28",
        ),
        (
            "span_to_cpu",
            "false",
            "orchagent refused a session with dst_port CPU, as it does in every release from 202205 to master",
        ),
        (
            "erspan",
            "true",
            "copies to 198.51.100.1 are awaited on collector0, for 2 jobs at once; orchagent needs a route and a neighbour for them",
        ),
        ("mirror_sampling", "true", "both directions, with span_method erspan"),
        ("mirror_truncation", "true", "where the mirror can be sampled, with span_method erspan"),
        ("mirror_policer", "true", "a session with a policer became active when it was tried; jobs use none"),
    ];
    for (ability, can, why) in expected {
        assert_eq!((row[ability].as_str(), row[&format!("{ability}_why")].as_str()), (can, why), "{ability}");
    }
    let shown = switch.run_ok(&[crate::daemon::BINARY, "status"]);
    let line = "  span to CPU        no       orchagent refused a session with dst_port CPU, as it does in every release from 202205 to master\n";
    assert!(shown.contains(line), "{shown}");
    // The trials left nothing, and a second daemon does not repeat them.
    assert_eq!(switch.leftovers(), Vec::<String>::new());
    assert_eq!(switch.redis(Db::Config).keys("POLICER|*"), Vec::<String>::new());
    let note = fs::metadata(switch.lab.path_inside("/run/telegen/switch-trials")).unwrap().modified().unwrap();
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    switch.start_daemon();
    assert_eq!(fs::metadata(switch.lab.path_inside("/run/telegen/switch-trials")).unwrap().modified().unwrap(), note);
    assert_eq!(switch.redis(Db::State).row(DAEMON)["span_to_cpu"], "false");
}

#[test]
fn nothing_is_tried_while_a_session_is_live() {
    let Some(mut switch) = Switch::start() else { return };
    let theirs = [("type", "SPAN"), ("src_port", "Ethernet0"), ("dst_port", "Ethernet4"), ("direction", "RX")];
    start_again(&mut switch, |switch| {
        switch.redis(Db::Config).set("MIRROR_SESSION|debug", &theirs);
        switch.await_session("debug", Some("active"));
    });
    let row = switch.redis(Db::State).row(DAEMON);
    assert_eq!((row["span_to_cpu"].as_str(), row["mirror_policer"].as_str()), ("unknown", "unknown"));
    assert_eq!(
        row["mirror_policer_why"],
        "not tried: mirror session debug exists and nothing may come near it; a start of the daemon without one tries; jobs use none"
    );
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 1"]);
    assert!(!switch.lab.path_inside("/run/telegen/switch-trials").exists());
}

#[test]
fn nothing_is_tried_on_an_old_release_and_sampling_is_refused_there() {
    let Some(mut switch) = Switch::start() else { return };
    // What 202505 and older write: nothing of ports.
    start_again(&mut switch, |switch| {
        let mut state = switch.redis(Db::State);
        for field in ["PORT_INGRESS_MIRROR_CAPABLE", "PORT_EGRESS_MIRROR_CAPABLE"] {
            state.delete_field("SWITCH_CAPABILITY|switch", field);
        }
        for field in [
            "PORT_INGRESS_SAMPLE_MIRROR_CAPABLE",
            "PORT_EGRESS_SAMPLE_MIRROR_CAPABLE",
            "SAMPLEPACKET_TRUNCATION_CAPABLE",
        ] {
            state.delete_field("SWITCH_CAPABILITY|switch", field);
        }
    });
    let row = switch.redis(Db::State).row(DAEMON);
    assert_eq!((row["mirror_ingress"].as_str(), row["mirror_policer"].as_str()), ("unknown", "unknown"));
    assert!(row["mirror_policer_why"].contains("up to 202411 orchagent ends when the SAI refuses"), "{row:?}");
    switch.start_job("thin", "Ethernet0", &[("span_method", "erspan"), ("mirror_sample_rate", "8")]);
    let refused = switch.assert_ended("thin", "rejected", "mirror_unsupported", DEADLINE);
    assert_eq!(
        refused["message"],
        "mirror_sample_rate: SWITCH_CAPABILITY of this switch has no PORT_INGRESS_SAMPLE_MIRROR_CAPABLE, so its SONiC does not know sampled mirrors (master does since June 2026); leave mirror_sample_rate out"
    );
    switch.assert_clean();
}

#[test]
fn of_a_sampled_mirror_totals_are_copies_and_estimates_are_of_the_port() {
    let Some(switch) = Switch::start() else { return };
    let job = [("span_method", "erspan"), ("sample_rate", "1"), ("mirror_sample_rate", "8")];
    switch.run_job("thin", "Ethernet0", &job);
    assert_eq!(switch.redis(Db::Config).row("MIRROR_SESSION|telegen_thin")["sample_rate"], "8");
    let sent = switch.send("Ethernet0", Profile::Udp64, 8000, 1);
    let copies = sent.copies.delivered;
    assert!((822..=1178).contains(&copies), "{copies} of 8000, of mean 1000 and standard deviation 29.6");
    switch.stop_job("thin");
    let row = switch.results("thin");
    assert_eq!((number(&row, "packets_total"), number(&row, "mirror_sample_rate")), (copies, 8));
    assert_eq!((number(&row, "packets_est"), number(&row, "bytes_est")), (copies * 8, number(&row, "bytes_total") * 8));
    let error = number(&row, "packets_err95");
    // Three times the half of a 95 % interval: 5.9 standard deviations.
    assert!((copies * 8).abs_diff(8000) < 3 * error, "{copies} copies ± {error}");
    assert!(!row.contains_key("tcp_tracked"), "{row:?}");
    let flow = switch.redis(Db::State).row("TELEGEN_FLOW_TABLE|thin|1");
    assert_eq!(number(&flow, "packets_est"), 8 * number(&flow, "packets"));
    assert!(number(&flow, "packets_err95") > 0, "{flow:?}");
    assert!(!switch.redis(Db::State).exists("TELEGEN_HISTOGRAM_TABLE|thin|interarrival"));
    let said = switch.run_ok(&[crate::daemon::BINARY, "results", "thin"]);
    assert!(said.contains("the ASIC copied 1 of 8 packets, and all counts are of copies: about "), "{said}");
    switch.assert_clean();
}

#[test]
fn of_cut_copies_bytes_are_what_is_left_and_the_cut_is_no_error() {
    let Some(switch) = Switch::start() else { return };
    let job = [("span_method", "erspan"), ("sample_rate", "1"), ("mirror_truncate", "128")];
    switch.run_job("cut", "Ethernet0", &job);
    assert_eq!(switch.redis(Db::Config).row("MIRROR_SESSION|telegen_cut")["truncate_size"], "128");
    let sent = switch.send("Ethernet0", Profile::Tcp512, 1000, 1);
    assert_eq!((sent.copies.delivered, sent.bytes), (1000, 512_000));
    switch.stop_job("cut");
    let row = switch.results("cut");
    assert_eq!((number(&row, "packets_total"), number(&row, "bytes_total")), (1000, 128_000));
    assert_eq!((number(&row, "ip_tcp_packets"), number(&row, "mirror_truncate")), (1000, 128));
    let unwanted: Vec<&String> = row
        .keys()
        .filter(|name| name.starts_with("error_") || name.ends_with("_est") && !name.starts_with("flows"))
        .collect();
    assert_eq!(unwanted, Vec::<&String>::new());
    switch.assert_clean();
}

#[test]
fn sflow_keeps_its_ports_sampler() {
    let Some(switch) = Switch::start() else { return };
    let sampler = enable_sflow(&switch, "Ethernet0", "100000");
    let job = [("span_method", "erspan"), ("mirror_truncate", "128")];
    switch.start_job("late", "Ethernet0", &job);
    let refused = switch.assert_ended("late", "rejected", "mirror_conflict", DEADLINE);
    assert!(refused["message"].starts_with("mirror_truncate: sFlow samples Ethernet0"), "{refused:?}");
    switch.run_job("other", "Ethernet8", &job);
    switch.stop_job("other");
    assert_eq!(ingress_sampler(&switch, "Ethernet0"), Some(sampler));
    switch.assert_clean();
}

#[test]
fn a_job_on_a_port_channel_counts_what_all_its_members_carry() {
    let Some(switch) = Switch::start() else { return };
    let mut config = switch.redis(Db::Config);
    config.set("PORTCHANNEL|PortChannel1", &[("admin_status", "up")]);
    for member in ["Ethernet0", "Ethernet8"] {
        config.set(&format!("PORTCHANNEL_MEMBER|PortChannel1|{member}"), &[("NULL", "NULL")]);
    }
    switch.run_job("lag", "PortChannel1", &[("sample_rate", "1")]);
    assert_eq!(
        config.row("MIRROR_SESSION|telegen_lag")["src_port"],
        "Ethernet0,Ethernet8",
        "members, not the port channel"
    );
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 6", "Ethernet8 rx is copied to port 6"]);
    assert_counts_both(&switch, "lag");
    // A member of it belongs to the job, too, as long as that runs.
    switch.run_job("lag2", "PortChannel1", &[]);
    switch.start_job("member", "Ethernet8", &[]);
    switch.assert_ended("member", "rejected", "mirror_conflict", DEADLINE);
    switch.stop_job("lag2");
    switch.assert_clean();
}

#[test]
fn a_job_on_several_ports_is_one_session_and_counts_them_all() {
    let Some(switch) = Switch::start() else { return };
    switch.start_job("gap", "Ethernet0, Ethernet8", &[]);
    let refused = switch.assert_ended("gap", "rejected", "invalid_field", DEADLINE);
    assert_eq!(
        refused["message"],
        "port: \"Ethernet0, Ethernet8\" is not accepted; give the name of a port or port channel, such as Ethernet16, or up to 16 of them with commas and no spaces between"
    );
    switch.run_job("two", "Ethernet0,Ethernet8", &[("sample_rate", "1")]);
    assert_eq!(switch.redis(Db::Config).row("MIRROR_SESSION|telegen_two")["src_port"], "Ethernet0,Ethernet8");
    assert_counts_both(&switch, "two");
    switch.start_job("none", "Ethernet0,Ethernet8", &[("span_method", "none")]);
    switch.assert_ended("none", "rejected", "invalid_field", DEADLINE);
    switch.assert_clean();
}

/// Sends through Ethernet0 and Ethernet8, and stops the job, which must have seen all of it, and whose ports' counters, too.
fn assert_counts_both(switch: &Switch, id: &str) {
    let mut state = switch.redis(Db::State);
    let polled = |state: &mut crate::redis_db::Redis| -> Option<u64> {
        state.field(&format!("TELEGEN_RESULT_TABLE|{id}"), "port_packets")?.parse().ok()
    };
    wait_for("the ports' counters have been polled twice", DEADLINE, || polled(&mut state));
    let sent = [switch.send("Ethernet0", Profile::Mixed, 700, 1), switch.send("Ethernet8", Profile::Mixed, 300, 2)];
    assert_eq!(sent.iter().map(|sent| sent.copies.delivered).sum::<u64>(), 1000);
    // Of Ethernet0's peer nothing comes in: only what both received counts.
    wait_for("the counters of both ports are in", DEADLINE, || (polled(&mut state) == Some(1000)).then_some(()));
    switch.stop_job(id);
    let row = switch.results(id);
    assert_eq!((number(&row, "packets_total"), number(&row, "port_packets")), (1000, 1000));
    assert_eq!(number(&row, "bytes_total"), sent.iter().map(|sent| sent.bytes).sum::<u64>());
    assert_eq!(row["coverage"], "1.0000");
}
