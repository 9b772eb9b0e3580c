//! Why a job is refused, and that a refused one took nothing.

use super::bench::{Bench, MILLI, almost, secs, session};
use crate::model::schema::Source;

/// Writes one job, whole, and says what became of it; whatever it was, it must have taken nothing.
fn refused(bench: &mut Bench, key: &str, row: &str) -> String {
    bench.write(key, &format!("{row} expires_at=2024-10-04T10:00:00Z"));
    bench.pass(secs(1));
    let status = bench.status(key).expect("an outcome");
    assert_eq!((status.started_at, status.tap, status.mirror_session), (None, None, None));
    for taken in ["Provision", "OpenFeed"] {
        assert!(!bench.trace.contains(&format!("{taken} {key}")), "{:?}", bench.trace);
    }
    assert!(!bench.rows.contains_key(&(Source::Config, key.to_owned())), "the row goes");
    bench.said(key)
}

#[test]
fn a_value_that_cannot_be_taken_is_invalid_field() {
    let mut bench = Bench::new("");
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0 direction=up"), "rejected invalid_field");
    assert_eq!(bench.message("a"), "direction: \"up\" is not accepted; give ingress, egress or both");
    assert_eq!(bench.asked(), "DeleteRow a");
}

#[test]
fn a_kind_that_is_not_there_is_kind_unavailable_at_once_and_not_for_want_of_a_port() {
    let mut bench = Bench::new("");
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0 kind=drops"), "rejected kind_unavailable");
    assert_eq!(bench.message("a"), "kind: \"drops\" is reserved and not built into this version; give traffic");
    // By hand, without expires_at: a row that lacks a port is waited for, this one lacks nothing.
    bench.write("b", "kind=profile target=orchagent");
    bench.pass(secs(1));
    assert_eq!(bench.said("b"), "rejected kind_unavailable");
}

#[test]
fn a_running_job_stays_of_its_kind() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(2));
    assert_eq!(bench.said("a"), "running");
    bench.write("a", "port=Ethernet0 duration=60 kind=drops");
    bench.pass(secs(2));
    assert_eq!(bench.said("a"), "running +change_ignored");
    assert!(bench.message("a").contains("kind: \"drops\" is reserved"), "{}", bench.message("a"));
}

#[test]
fn a_key_that_is_no_job_id_is_refused_and_its_row_deleted_too() {
    let mut bench = Bench::new("");
    assert_eq!(refused(&mut bench, "no id!", "port=Ethernet0"), "rejected invalid_field");
    assert_eq!(
        bench.message("no id!"),
        "job_id: \"no id!\" is not accepted; give a letter or digit, then up to 20 letters, digits, - or _"
    );
}

#[test]
fn a_whole_row_without_a_port_is_missing_field_at_once() {
    let mut bench = Bench::new("");
    assert_eq!(refused(&mut bench, "a", "duration=60"), "rejected missing_field");
    bench.write_through(Source::Appl, "b", "duration=60");
    assert_eq!(bench.said("b"), "rejected missing_field");
}

#[test]
fn a_row_without_a_port_is_missing_field_only_after_ten_seconds_of_quiet() {
    let mut bench = Bench::new("");
    bench.write("a", "duration=60");
    bench.pass(secs(9));
    bench.write("a", "duration=60 vlan=7");
    bench.pass(almost(secs(10)));
    assert_eq!(bench.said("a"), "-");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "rejected missing_field");
}

#[test]
fn a_port_that_is_not_there_is_unknown_port() {
    let mut bench = Bench::new("");
    assert_eq!(refused(&mut bench, "a", "port=Ethernet99"), "rejected unknown_port");
    assert_eq!(
        bench.message("a"),
        "port: \"Ethernet99\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB; this switch has Ethernet0, Ethernet4, Ethernet8, Ethernet12 and 4 more"
    );
}

#[test]
fn a_job_while_telegen_is_disabled_is_rejected_admin_disabled() {
    let mut bench = Bench::new("admin_state=disabled");
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0"), "rejected admin_disabled");
    assert_eq!(bench.asked(), "DeleteRow a");
}

#[test]
fn with_all_slots_taken_and_the_queue_full_one_survey_answers_all_rows_of_its_second() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    for key in ["a", "b"] {
        bench.write(key, "port=Ethernet0 span_method=none expires_at=2024-10-04T10:00:00Z");
    }
    let surveys = |bench: &Bench| bench.trace.iter().filter(|effect| effect.starts_with("Survey")).count();
    assert_eq!((bench.said("a").as_str(), bench.said("b").as_str(), surveys(&bench)), ("running", "queued", 2));
    assert_eq!(refused(&mut bench, "c", "port=Ethernet4"), "rejected concurrency_limit");
    assert_eq!((surveys(&bench), bench.message("c").contains("the queue holds 1 of 1")), (2, true));
    // Then the survey is a second old, and the next one answers what it is asked.
    bench.pass(MILLI);
    assert_eq!(refused(&mut bench, "d", "port=Ethernet4"), "rejected concurrency_limit");
    assert_eq!(surveys(&bench), 3);
    bench.write("e", "port=Ethernet99 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("e"), "rejected unknown_port");
}

#[test]
fn a_third_job_is_refused_with_concurrency_limit_and_told_who_runs() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    bench.write("b", "port=Ethernet4 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(refused(&mut bench, "c", "port=Ethernet8"), "rejected concurrency_limit");
    assert_eq!(
        bench.message("c"),
        "2 of 2 jobs are running (a, b) and max_queue is 0; try again when one ends, or stop one"
    );
    assert_eq!((bench.said("a").as_str(), bench.said("b").as_str()), ("running", "running"));
}

#[test]
fn a_pool_without_a_free_port_is_no_mirror_port() {
    let mut bench = Bench::new("");
    bench.world.pool.clear();
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0"), "rejected no_mirror_port");
}

#[test]
fn a_port_that_is_mirrored_already_is_mirror_conflict_and_the_session_is_named() {
    let mut bench = Bench::new("");
    bench.world.sessions.insert("everflow".to_owned(), session("Ethernet0", "Ethernet100"));
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0"), "rejected mirror_conflict");
    assert_eq!(
        bench.message("a"),
        "Ethernet0 is already used by mirror session everflow; remove that session or observe another port or direction"
    );
}

#[test]
fn two_jobs_on_one_port_are_a_conflict_unless_their_directions_differ() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(refused(&mut bench, "b", "port=Ethernet0 direction=both"), "rejected mirror_conflict");
    assert!(bench.message("b").contains("session telegen_a"), "{}", bench.message("b"));
    bench.write("c", "port=Ethernet0 direction=egress expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("c"), "running");
}

#[test]
fn a_session_of_the_jobs_name_that_is_still_known_to_orchagent_is_mirror_conflict() {
    let mut bench = Bench::new("");
    // Long after the start: it is not an earlier daemon's, about to go.
    bench.pass(secs(5));
    bench.world.known_states.insert("telegen_a".to_owned());
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0"), "rejected mirror_conflict");
}

#[test]
fn what_the_switch_or_this_version_cannot_mirror_is_mirror_unsupported() {
    let mut bench = Bench::new("");
    for method in ["psample", "erspan"] {
        let row = format!("port=Ethernet0 span_method={method}");
        assert_eq!(refused(&mut bench, method, &row), "rejected mirror_unsupported");
    }
    bench.world.capability.egress_mirror = None;
    assert_eq!(refused(&mut bench, "b", "port=Ethernet0 direction=both"), "rejected mirror_unsupported");
    bench.set("allow_unprobed=true");
    bench.write("c", "port=Ethernet0 direction=both expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("c"), "running");
}

#[test]
fn netdevs_that_are_not_there_are_tap_missing() {
    let mut bench = Bench::new("");
    for netdev in ["netEthernet120", "netEthernet124"] {
        bench.world.netdevs.remove(netdev);
    }
    assert_eq!(refused(&mut bench, "a", "port=Ethernet0"), "rejected tap_missing");
}

#[test]
fn maps_that_do_not_fit_are_memory_limit_and_jobs_that_run_count() {
    let mut bench = Bench::new("memory_limit=5");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(refused(&mut bench, "b", "port=Ethernet4"), "rejected memory_limit");
    bench.write("c", "port=Ethernet4 result_detail=summary expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("c"), "running");
    bench.delete("a");
    bench.write("d", "port=Ethernet8 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("d"), "running");
}

#[test]
fn checks_are_made_in_the_contracts_order() {
    let mut bench = Bench::new("admin_state=disabled");
    bench.world.pool.clear();
    bench.world.sessions.insert("everflow".to_owned(), session("Ethernet0", "Ethernet100"));
    assert_eq!(refused(&mut bench, "a", "port=Ethernet99 vlan=x"), "rejected invalid_field");
    assert_eq!(refused(&mut bench, "b", "port=Ethernet99"), "rejected admin_disabled");
    bench.set("max_jobs=1");
    bench.write("r", "port=Ethernet4 span_method=none expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("r"), "running");
    assert_eq!(refused(&mut bench, "c", "port=Ethernet99"), "rejected unknown_port");
    assert_eq!(refused(&mut bench, "d", "port=Ethernet0"), "rejected concurrency_limit");
    bench.delete("r");
    assert_eq!(refused(&mut bench, "e", "port=Ethernet0"), "rejected mirror_conflict");
    bench.world.sessions.clear();
    assert_eq!(refused(&mut bench, "f", "port=Ethernet0"), "rejected no_mirror_port");
}
