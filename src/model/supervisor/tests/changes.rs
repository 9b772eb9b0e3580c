//! Rows: when they are taken up, what may change while their job runs, and whose a name is.

use super::bench::{Bench, MILLI, Orchagent, almost, fields, secs};
use crate::model::schema::{Source, Warning};
use crate::model::supervisor::{Event, SessionState};
use std::collections::BTreeMap;

fn ends(bench: &Bench, key: &str) -> String {
    bench.status(key).and_then(|status| status.expires_at).expect("a job with an end").to_string()
}

#[test]
fn a_row_written_field_by_field_is_taken_up_after_settle_ms_of_quiet() {
    let mut bench = Bench::new("settle_ms=2000");
    for row in ["duration=60", "duration=60 port=Ethernet0", "duration=60 port=Ethernet0 vlan=7"] {
        bench.write("a", row);
        bench.pass(almost(secs(2)));
        assert_eq!(bench.asked(), "");
    }
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "running");
    assert_eq!(bench.status("a").and_then(|status| status.spec?.filter.vlan).expect("a vlan").get(), 7);
}

#[test]
fn saying_the_same_row_again_does_not_make_it_settle_anew() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0");
    bench.pass(almost(secs(1)));
    bench.write("a", "port=Ethernet0");
    bench.list();
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn rows_of_programs_are_taken_up_at_once() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    bench.write_through(Source::Appl, "b", "port=Ethernet4");
    assert_eq!((bench.said("a").as_str(), bench.said("b").as_str()), ("running", "running"));
    assert_eq!(bench.status("b").expect("running").source, Source::Appl);
}

#[test]
fn the_end_follows_a_changed_duration_counted_from_the_start() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(31));
    bench.write("a", "port=Ethernet0 duration=100");
    assert_eq!((bench.said("a").as_str(), ends(&bench, "a").as_str()), ("running", "2024-10-04T00:01:41Z"));
    bench.pass(almost(secs(70)));
    assert_eq!(bench.said("a"), "running");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "done");
}

#[test]
fn a_duration_shorter_than_what_has_run_ends_the_job_now() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(31));
    bench.write("a", "port=Ethernet0 duration=10");
    assert_eq!(bench.said("a"), "done");
}

#[test]
fn a_changed_duration_never_reaches_past_the_rows_expires_at_and_that_is_said_while_it_is_so() {
    let mut bench = Bench::new("");
    let expires = "expires_at=2024-10-04T00:01:30Z";
    bench.write("a", &format!("port=Ethernet0 duration=60 {expires}"));
    bench.write("a", &format!("port=Ethernet0 duration=500 {expires}"));
    assert_eq!((bench.said("a").as_str(), ends(&bench, "a").as_str()), ("running", "2024-10-04T00:01:30Z"));
    assert_eq!(bench.message("a"), "duration 500 s would end after the row's expires_at, which stays");
    bench.write("a", &format!("port=Ethernet0 duration=80 {expires}"));
    assert_eq!((bench.message("a").as_str(), ends(&bench, "a").as_str()), ("", "2024-10-04T00:01:20Z"));
    bench.pass(secs(80));
    assert_eq!(bench.said("a"), "done");
}

#[test]
fn a_duration_changed_while_the_job_waits_or_starts_counts_too() {
    let mut bench = Bench::new("");
    bench.orchagent = Orchagent::Dead;
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(1));
    bench.write("a", "port=Ethernet0 duration=10");
    bench.session_state("a", SessionState::Active);
    assert_eq!((bench.said("a").as_str(), ends(&bench, "a").as_str()), ("running", "2024-10-04T00:00:11Z"));
}

#[test]
fn any_other_change_is_ignored_and_said() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(1));
    bench.write("a", "port=Ethernet4 duration=90");
    assert_eq!(
        (bench.said("a").as_str(), ends(&bench, "a").as_str()),
        ("running +change_ignored", "2024-10-04T00:01:31Z")
    );
    assert_eq!(bench.status("a").and_then(|status| status.spec).expect("a spec").ports.as_str(), "Ethernet0");
}

#[test]
fn a_later_expires_at_is_a_change_like_any_other() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=600 expires_at=2024-10-04T00:00:10Z");
    bench.write("a", "port=Ethernet0 duration=600 expires_at=2024-10-04T00:10:00Z");
    assert_eq!(bench.said("a"), "running +change_ignored");
    bench.pass(secs(10));
    assert_eq!(bench.said("a"), "done +change_ignored");
}

#[test]
fn a_row_that_became_unreadable_changes_nothing_and_says_why_until_it_is_put_right() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60");
    bench.pass(secs(1));
    bench.write("a", "port=Ethernet0 duration=x");
    assert_eq!(
        (bench.said("a").as_str(), ends(&bench, "a").as_str()),
        ("running +change_ignored", "2024-10-04T00:01:01Z")
    );
    assert_eq!(
        bench.message("a"),
        "a change of the row was not followed: duration: \"x\" is not accepted; give an integer from 1 to 86400"
    );
    bench.write("a", "port=Ethernet0 duration=90");
    assert_eq!((bench.message("a").as_str(), ends(&bench, "a").as_str()), ("", "2024-10-04T00:01:31Z"));
}

#[test]
fn new_defaults_are_not_a_change_of_the_row_and_apply_from_the_next_job_on() {
    let mut bench = Bench::new("default_sample_rate=10 default_duration=60");
    bench.write("a", "port=Ethernet0");
    bench.pass(secs(1));
    bench.set("default_sample_rate=20 default_duration=600");
    bench.write("a", "port=Ethernet0 duration=30");
    assert_eq!((bench.said("a").as_str(), ends(&bench, "a").as_str()), ("running", "2024-10-04T00:00:31Z"));
    bench.write("a", "port=Ethernet0");
    assert_eq!((bench.said("a").as_str(), ends(&bench, "a").as_str()), ("running", "2024-10-04T00:01:01Z"));
    bench.write("b", "port=Ethernet4 expires_at=2024-10-04T10:00:00Z");
    let spec = bench.status("b").and_then(|status| status.spec).expect("a spec");
    assert_eq!((spec.sample_rate.get(), spec.duration), (20, secs(600)));
}

#[test]
fn the_first_door_owns_a_name_and_the_second_row_is_removed_and_logged() {
    for (first, second, removed) in
        [(Source::Config, Source::Appl, "DeleteRow appl a"), (Source::Appl, Source::Config, "DeleteRow a")]
    {
        let mut bench = Bench::new("");
        bench.write_through(first, "a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
        bench.trace.clear();
        bench.write_through(second, "a", "port=Ethernet4 expires_at=2024-10-04T10:00:00Z");
        assert_eq!(bench.asked(), format!("Log, {removed}"));
        bench.list();
        let status = bench.status("a").expect("a job");
        assert_eq!((bench.said("a").as_str(), status.source), ("running", first));
        assert_eq!(status.spec.expect("a spec").ports.as_str(), "Ethernet0");
        assert!(bench.rows.contains_key(&(first, "a".to_owned())));
    }
}

#[test]
fn a_job_stays_when_the_row_of_its_name_goes_from_the_other_door() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    bench.feed(Event::Row { door: Source::Appl, key: "a".to_owned(), fields: None });
    bench.feed(Event::Rows { door: Source::Appl, rows: BTreeMap::new() });
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn using_a_finished_name_again_deletes_the_old_results_first() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=10");
    bench.pass(secs(11));
    assert_eq!(bench.said("a"), "done");
    bench.trace.clear();
    bench.write("a", "port=Ethernet0 duration=20");
    assert_eq!(bench.said("a"), "done", "until the new row is taken up, the old outcome stands");
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
    assert_eq!(bench.asked(), "ClearResults a, Survey a, Provision a, OpenFeed a");
}

#[test]
fn a_refused_job_under_a_finished_name_replaces_the_old_results_too() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=10");
    bench.pass(secs(11));
    bench.trace.clear();
    bench.write_through(Source::Appl, "a", "port=Ethernet0 vlan=x");
    assert_eq!(bench.said("a"), "rejected invalid_field");
    assert_eq!(bench.asked(), "ClearResults a, DeleteRow appl a");
}

#[test]
fn old_results_go_even_if_retention_ends_while_the_new_row_settles() {
    let mut bench = Bench::new("result_retention=10 settle_ms=5000");
    bench.write("a", "port=Ethernet0 duration=10 expires_at=2024-10-04T10:00:00Z");
    bench.pass(secs(18));
    assert_eq!(bench.said("a"), "done");
    bench.trace.clear();
    bench.write("a", "port=Ethernet0 duration=20");
    bench.pass(secs(5));
    assert_eq!(bench.asked(), "ClearResults a, Survey a, Provision a, OpenFeed a");
}

#[test]
fn a_row_written_after_the_first_was_deleted_is_a_new_job_once_the_old_one_is_gone() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    bench.held.insert("CloseFeed");
    bench.delete("a");
    bench.write("a", "port=Ethernet4 duration=33 expires_at=2024-10-04T10:00:00Z");
    assert_eq!(bench.said("a"), "stopping");
    bench.trace.clear();
    bench.feed(Event::FeedClosed { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!(bench.asked(), "ClearResults a, Survey a, Provision a, OpenFeed a");
    let status = bench.status("a").expect("the new job");
    assert_eq!((bench.said("a").as_str(), status.spec.expect("a spec").ports.as_str()), ("running", "Ethernet4"));
    assert_eq!(bench.rows.len(), 1, "the new job's row is not deleted with the old job");
    assert!(bench.history.contains(&"a: stopped".to_owned()), "{:?}", bench.history);
}

#[test]
fn a_successor_that_is_deleted_before_its_turn_is_not_started_even_if_only_a_listing_says_so() {
    for by_listing in [false, true] {
        let mut bench = Bench::new("");
        bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
        bench.held.insert("CloseFeed");
        bench.delete("a");
        bench.write("a", "port=Ethernet4 expires_at=2024-10-04T10:00:00Z");
        if by_listing {
            bench.rows.clear();
            bench.list();
        } else {
            bench.delete("a");
        }
        bench.feed(Event::FeedClosed { id: super::bench::id("a"), result: Ok(()) });
        assert_eq!(bench.said("a"), "stopped");
        assert!(bench.supervisor.is_idle());
    }
}

#[test]
fn a_late_echo_of_a_row_that_was_just_deleted_starts_nothing() {
    let mut bench = Bench::new("");
    let row = "port=Ethernet0 duration=10 expires_at=2024-10-04T10:00:00Z";
    bench.write("a", row);
    bench.pass(secs(10));
    assert_eq!((bench.said("a").as_str(), bench.rows.len()), ("done", 0));
    bench.trace.clear();
    bench.feed(Event::Row { door: Source::Config, key: "a".to_owned(), fields: Some(fields(row)) });
    bench.list();
    bench.pass(secs(10));
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("done", ""));
}

#[test]
fn the_same_row_written_again_by_its_user_is_a_new_job() {
    let mut bench = Bench::new("");
    let row = "port=Ethernet0 duration=10 expires_at=2024-10-04T10:00:00Z";
    bench.write("a", row);
    bench.pass(secs(10));
    bench.write("a", row);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_warning_that_comes_after_its_job_does_not_stick_to_the_next_one_of_the_name() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=10");
    bench.pass(secs(11));
    bench.warn("a", Warning::NoCopies);
    assert_eq!(bench.said("a"), "done");
    bench.write("a", "port=Ethernet0 duration=20");
    bench.warn("a", Warning::NoCopies);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_flushed_table_stops_its_jobs_when_it_is_listed() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T10:00:00Z");
    bench.write_through(Source::Appl, "b", "port=Ethernet4");
    bench.rows.clear();
    bench.list_door(Source::Config);
    assert_eq!((bench.said("a").as_str(), bench.said("b").as_str()), ("stopped", "running"));
    bench.list_door(Source::Appl);
    assert_eq!(bench.said("b"), "stopped");
}
