//! Jobs whose copies come in GRE: exact through every header, apart on one netdev, told of a neighbour that is not there.

use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::gre::{GreOptions, Header};
use telegen_sonic::lab::profiles::Profile;

use crate::exact::{assert_both_are_exact, totals, totals_of};
use crate::fixture::{DEADLINE, Options, Switch, wait_for};
use crate::redis_db::Db;

const EVERY_PACKET: [(&str, &str); 2] = [("span_method", "erspan"), ("sample_rate", "1")];

/// The lab's own settings name its collector; these show every flow.
fn switch() -> Option<Switch> {
    Switch::with(&Options { settings: &[("topk_flows", "4096")], ..Options::default() })
}

#[test]
fn two_jobs_on_one_netdev_count_each_its_own_copies() {
    let Some(switch) = switch() else { return };
    for (id, port, src) in [("first", "Ethernet0", "192.0.2.1"), ("second", "Ethernet8", "192.0.2.2")] {
        let row = switch.run_job(id, port, &EVERY_PACKET);
        assert_eq!((row["tap"].as_str(), row["span_method"].as_str()), ("collector0", "erspan"));
        let session = switch.redis(Db::Config).row(&format!("MIRROR_SESSION|telegen_{id}"));
        let expected = [
            ("type", "ERSPAN"),
            ("src_ip", src),
            ("dst_ip", "198.51.100.1"),
            ("gre_type", "0x88be"),
            ("dscp", "8"),
            ("ttl", "255"),
            ("src_port", port),
            ("direction", "RX"),
        ];
        assert_eq!(session, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
    assert_both_are_exact(&switch, ["first", "second"]);
    switch.assert_clean();
}

#[test]
fn every_header_is_taken_off_before_packets_are_counted() {
    let Some(switch) = switch() else { return };
    let plain = GreOptions::default();
    let all = GreOptions { key: Some(7), sequence: true, checksum: true, ..plain };
    let cases = [
        ("plain", GreOptions { key: Some(7), checksum: true, ..plain }),
        ("typeii", GreOptions { header: Some(Header::TypeIi), ..plain }),
        ("typeii-all", GreOptions { header: Some(Header::TypeIi), ..all }),
        ("typeiii", GreOptions { header: Some(Header::TypeIii), ..all }),
        ("typeiii-long", GreOptions { header: Some(Header::TypeIiiLong), ..plain }),
        ("teb", GreOptions { header: Some(Header::Bridging), ..all }),
        ("vendor", GreOptions { header: Some(Header::Vendor), ..plain }),
    ];
    for (id, options) in cases {
        switch.lab.fault(FaultName::Erspan(options), None).unwrap();
        switch.run_job(id, "Ethernet0", &EVERY_PACKET);
        let sent: Vec<_> = [Profile::Mixed, Profile::Vlan, Profile::Jumbo]
            .into_iter()
            .map(|profile| switch.send("Ethernet0", profile, 500, 7))
            .collect();
        switch.stop_job(id);
        assert_eq!(totals(switch.results(id)), totals_of(&sent.iter().collect::<Vec<_>>()), "{id}");
    }
    switch.assert_clean();
}

#[test]
fn copies_come_over_ipv6_too_and_what_else_arrives_on_the_netdev_is_not_counted() {
    let settings = &[("erspan_src_ip@", "2001:db8::/126"), ("erspan_dst_ip", "2001:db8:0:1::1")];
    let Some(switch) = Switch::with(&Options { settings, ..Options::default() }) else { return };
    switch.run_job("six", "Ethernet0", &EVERY_PACKET);
    let session = switch.redis(Db::Config).row("MIRROR_SESSION|telegen_six");
    assert_eq!((session["src_ip"].as_str(), session["dst_ip"].as_str()), ("2001:db8::1", "2001:db8:0:1::1"));
    // Somebody's Everflow session, with an address that no job of ours has.
    let theirs = [
        ("type", "ERSPAN"),
        ("src_ip", "192.0.2.77"),
        ("dst_ip", "198.51.100.1"),
        ("src_port", "Ethernet8"),
        ("direction", "RX"),
    ];
    switch.redis(Db::Config).set("MIRROR_SESSION|everflow", &theirs);
    switch.await_session("everflow", Some("active"));
    let foreign = switch.send("Ethernet8", Profile::Mixed, 300, 1);
    let sent = switch.send("Ethernet0", Profile::Mixed, 700, 2);
    assert_eq!((foreign.copies.delivered, sent.copies.delivered), (300, 700));
    switch.stop_job("six");
    assert_eq!(totals(switch.results("six")), totals_of(&[&sent]));
    switch.asic_db.forget("everflow");
    switch.redis(Db::Config).delete("MIRROR_SESSION|everflow");
    switch.assert_clean();
}

#[test]
fn an_address_that_somebody_else_uses_is_left_to_them() {
    let Some(switch) = switch() else { return };
    let theirs = [("type", "ERSPAN"), ("src_ip", "192.0.2.1"), ("dst_ip", "198.51.100.1")];
    switch.redis(Db::Config).set("MIRROR_SESSION|everflow", &theirs);
    switch.run_job("one", "Ethernet0", &EVERY_PACKET);
    let session = switch.redis(Db::Config).row("MIRROR_SESSION|telegen_one");
    assert_eq!(session["src_ip"], "192.0.2.2");
    switch.start_job("two", "Ethernet8", &EVERY_PACKET);
    let refused = switch.assert_ended("two", "rejected", "no_mirror_port", DEADLINE);
    assert_eq!(
        refused["message"],
        "no address of erspan_src_ip in TELEGEN|global is free for copies to 198.51.100.1: 192.0.2.1 is in mirror session everflow; 192.0.2.2 is in mirror session telegen_one; add one, for each job that is to run needs its own"
    );
    switch.stop_job("one");
    switch.asic_db.forget("everflow");
    switch.redis(Db::Config).delete("MIRROR_SESSION|everflow");
    switch.assert_clean();
}

#[test]
fn a_job_waits_for_its_neighbour_and_says_so_and_outlives_its_going() {
    let Some(switch) = switch() else { return };
    switch.lab.fault(FaultName::Unresolved, None).unwrap();
    switch.start_job("patient", "Ethernet0", &EVERY_PACKET);
    let message = || switch.status("patient").remove("message").unwrap_or_default();
    let waiting = "orchagent holds mirror session telegen_patient inactive: the switch knows no route or no neighbour for erspan_dst_ip 198.51.100.1, or the hardware refused it; it has 60 s";
    wait_for("its user is told", DEADLINE, || (message() == waiting).then_some(()));
    assert_eq!(switch.status("patient")["status"], "starting");
    switch.lab.fault(FaultName::Clear, None).unwrap();
    switch.await_status("patient", "running");
    let before = switch.send("Ethernet0", Profile::Mixed, 100, 1);
    switch.lab.fault(FaultName::Unresolved, None).unwrap();
    wait_for("its user is told again", DEADLINE, || (message() == waiting).then_some(()));
    let unseen = switch.send("Ethernet0", Profile::Mixed, 100, 2);
    assert_eq!(unseen.copies.delivered, 0);
    switch.lab.fault(FaultName::Clear, None).unwrap();
    wait_for("it is active again", DEADLINE, || {
        message().starts_with("the mirror session was not active for ").then_some(())
    });
    assert_eq!(switch.status("patient")["status"], "running");
    let after = switch.send("Ethernet0", Profile::Mixed, 100, 3);
    switch.stop_job("patient");
    assert_eq!(totals(switch.results("patient")), totals_of(&[&before, &after]));
    switch.assert_clean();
}

#[test]
fn without_its_settings_the_method_is_refused_and_the_missing_one_named() {
    let Some(mut switch) = switch() else { return };
    // A daemon that starts with these settings: a running one may see a job's row before theirs.
    let (status, _) = switch.take_daemon().terminate(DEADLINE);
    assert!(status.success());
    switch.redis(Db::Config).delete_field("TELEGEN|global", "erspan_netdev");
    switch.start_daemon();
    switch.start_job("bare", "Ethernet0", &EVERY_PACKET);
    let refused = switch.assert_ended("bare", "rejected", "mirror_unsupported", DEADLINE);
    assert_eq!(
        refused["message"],
        "span_method: erspan needs erspan_src_ip, erspan_dst_ip and erspan_netdev in TELEGEN|global; set erspan_netdev there"
    );
    switch.assert_clean();
}

#[test]
fn gaps_in_the_sequence_numbers_are_copies_lost_on_the_way() {
    let Some(switch) = switch() else { return };
    let options =
        GreOptions { header: Some(Header::TypeIi), drop_every: std::num::NonZeroU32::new(10), ..GreOptions::default() };
    switch.lab.fault(FaultName::Erspan(options), None).unwrap();
    switch.run_job("lossy", "Ethernet0", &EVERY_PACKET);
    // The 1000th copy is lost, too; the one after it shows that.
    let sent = switch.send("Ethernet0", Profile::Udp64, 1001, 1);
    assert_eq!((sent.copies.delivered, switch.lab.asic().unwrap().copies_for_collector().lost), (901, 100));
    switch.stop_job("lossy");
    let results = switch.results("lossy");
    assert_eq!((results["packets_delivered"].as_str(), results["copies_lost"].as_str()), ("901", "100"));
    switch.assert_clean();
}
