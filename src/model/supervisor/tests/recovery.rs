//! What a new daemon does with the rows and statuses that it finds.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::bench::{Bench, fields, secs, session};
use crate::model::schema::{Source, Status};
use crate::model::supervisor::{Event, Prior};

const ROW: &str = "port=Ethernet0 duration=60";

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// What an earlier daemon said of a job of CONFIG_DB, an hour ago.
fn prior(status: Status) -> Prior {
    Prior {
        status,
        source: Source::Config,
        created_at: Some(instant("2024-10-03T23:00:00Z")),
        started_at: (status != Status::Queued).then(|| instant("2024-10-03T23:00:01Z")),
        ended_at: status.is_final().then(|| instant("2024-10-03T23:30:00Z")),
        fields: fields(ROW),
    }
}

fn restarted(settings_row: &str, priors: Vec<(&str, Prior)>, rows: &[(&str, &str)]) -> Bench {
    let priors = priors.into_iter().map(|(key, prior)| (key.to_owned(), prior)).collect();
    let mut bench = Bench::unlisted(settings_row, priors);
    bench.rows = rows.iter().map(|(key, row)| ((Source::Config, (*key).to_owned()), fields(row))).collect();
    bench.list();
    bench
}

#[test]
fn what_was_starting_running_or_stopping_has_failed_and_is_never_resumed() {
    for status in [Status::Starting, Status::Running, Status::Stopping] {
        for row in [vec![("a", ROW)], vec![]] {
            let mut bench = restarted("", vec![("a", prior(status))], &row);
            bench.pass(secs(5));
            assert_eq!(bench.said("a"), "failed daemon_restarted");
            assert_eq!(
                bench.message("a"),
                "the telegen daemon ended while the job ran; its counts stop at the last result"
            );
            assert_eq!(bench.asked(), if row.is_empty() { "" } else { "DeleteRow a" });
            let status = bench.status("a").expect("an outcome");
            assert_eq!(status.created_at, instant("2024-10-03T23:00:00Z"));
            assert_eq!(status.started_at, Some(instant("2024-10-03T23:00:01Z")));
            assert_eq!(status.ended_at, Some(instant("2024-10-04T00:00:00Z")));
            assert_eq!(status.spec.expect("what it asked for").ports.as_str(), "Ethernet0");
        }
    }
}

#[test]
fn what_was_queued_is_admitted_anew() {
    let mut bench = restarted("", vec![("a", prior(Status::Queued))], &[("a", ROW)]);
    assert_eq!(bench.said("a"), "running");
    bench.pass(secs(60));
    assert_eq!(bench.said("a"), "done");
}

#[test]
fn what_was_queued_and_is_past_its_expires_at_is_expired() {
    let row = "port=Ethernet0 expires_at=2024-10-03T23:59:59Z";
    let bench = restarted("", vec![("a", prior(Status::Queued))], &[("a", row)]);
    assert_eq!((bench.said("a").as_str(), bench.rows.len()), ("expired", 0));
}

#[test]
fn what_was_queued_and_has_no_row_any_more_was_stopped() {
    let mut bench = restarted("", vec![("a", prior(Status::Queued))], &[]);
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("stopped", ""));
}

#[test]
fn those_who_waited_wait_on_in_the_order_in_which_they_came() {
    let came = |when: &str| Prior { created_at: Some(instant(when)), ..prior(Status::Queued) };
    let priors = vec![
        ("a", came("2024-10-03T23:00:03Z")),
        ("b", came("2024-10-03T23:00:02Z")),
        ("c", came("2024-10-03T23:00:01Z")),
    ];
    let row = "port=Ethernet0 span_method=none";
    let bench = restarted("max_jobs=1 max_queue=2", priors, &[("a", row), ("b", row), ("c", row)]);
    assert_eq!(["c", "b", "a"].map(|key| bench.said(key)), ["running", "queued", "queued"]);
    let mut bench = bench;
    bench.delete("c");
    assert_eq!(["b", "a"].map(|key| bench.said(key)), ["running", "queued"]);
}

#[test]
fn a_saved_row_without_expires_at_is_expired_unless_saved_jobs_are_run() {
    let mut bench = restarted("", vec![], &[("a", ROW)]);
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("expired", "DeleteRow a"));
    assert!(bench.message("a").contains("set run_saved_jobs in TELEGEN|global"), "{}", bench.message("a"));
    let mut bench = restarted("run_saved_jobs=true", vec![], &[("a", ROW)]);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_row_with_expires_at_that_came_while_no_daemon_ran_is_served() {
    let rows = [
        ("a", "port=Ethernet0 expires_at=2024-10-04T00:01:00Z"),
        ("b", "port=Ethernet0 expires_at=2024-10-03T23:59:00Z"),
    ];
    let bench = restarted("", vec![], &rows);
    assert_eq!((bench.said("a").as_str(), bench.said("b").as_str()), ("running", "expired"));
}

#[test]
fn rows_that_come_after_the_first_listing_are_new_jobs() {
    let mut bench = restarted("", vec![], &[]);
    bench.write("a", ROW);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn the_row_of_a_job_that_was_over_is_deleted_and_nothing_new_is_said_of_it() {
    for status in [Status::Done, Status::Stopped, Status::Failed, Status::Rejected, Status::Expired] {
        let mut bench = restarted("", vec![("a", prior(status))], &[("a", ROW)]);
        assert_eq!((bench.asked().as_str(), bench.rows.len()), ("DeleteRow a", 0));
        assert_eq!(bench.history, Vec::<String>::new());
        bench.pass(secs(1_799));
        assert_eq!(bench.asked(), "", "its results are kept");
        bench.pass(secs(1));
        assert_eq!(bench.asked(), "ClearResults a", "an hour after it ended, half of which is over");
    }
}

#[test]
fn results_of_an_earlier_daemon_that_are_past_their_retention_go_at_once() {
    let old = Prior { ended_at: Some(instant("2024-10-03T22:00:00Z")), ..prior(Status::Done) };
    let mut bench = restarted("", vec![("a", old)], &[]);
    assert_eq!(bench.asked(), "ClearResults a");
}

#[test]
fn a_finished_name_of_an_earlier_daemon_can_be_used_again() {
    let mut bench = restarted("", vec![("a", prior(Status::Done))], &[]);
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T00:01:00Z");
    assert_eq!(bench.asked(), "ClearResults a, Survey a, Provision a, OpenFeed a");
}

#[test]
fn nothing_is_done_about_a_door_before_it_has_been_listed() {
    let mut bench = Bench::unlisted("", BTreeMap::new());
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T00:01:00Z");
    bench.pass(secs(2));
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("-", ""));
    bench.list();
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_name_that_an_earlier_daemon_owned_through_one_door_is_not_taken_through_the_other_before_both_are_listed() {
    let mut bench = Bench::unlisted("", BTreeMap::from([("a".to_owned(), prior(Status::Running))]));
    bench.write("a", ROW);
    bench.write_through(Source::Appl, "a", "port=Ethernet4");
    bench.list_door(Source::Appl);
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("-", ""));
    bench.list_door(Source::Config);
    assert_eq!(bench.said("a"), "failed daemon_restarted");
    bench.list_door(Source::Appl);
    assert_eq!(bench.asked(), "DeleteRow a, ClearResults a, Survey a, Provision a, OpenFeed a");
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn sessions_of_jobs_of_an_earlier_daemon_are_removed_at_once() {
    let mut bench = Bench::unlisted("", BTreeMap::from([("a".to_owned(), prior(Status::Running))]));
    bench.world.sessions.insert("telegen_a".to_owned(), session("Ethernet0", "Ethernet120"));
    bench.world.known_states.insert("telegen_a".to_owned());
    bench.list();
    assert_eq!(bench.asked(), "DeleteOrphan telegen_a, Log");
    assert_eq!((bench.world.sessions.len(), bench.world.known_states.len()), (0, 0));
    assert_eq!(bench.said("a"), "failed daemon_restarted");
}

#[test]
fn a_job_waits_five_seconds_for_an_earlier_daemons_session_to_go_before_it_is_refused_for_it() {
    for goes in [true, false] {
        let mut bench = Bench::unlisted("", BTreeMap::new());
        bench.world.sessions.insert("telegen_b".to_owned(), session("Ethernet0", "Ethernet120"));
        bench.world.known_states.insert("telegen_b".to_owned());
        bench.held.insert("DeleteOrphan");
        bench.rows = BTreeMap::from([(
            (Source::Config, "a".to_owned()),
            fields("port=Ethernet0 duration=60 expires_at=2024-10-04T00:01:30Z"),
        )]);
        bench.list();
        bench.pass(Duration::from_millis(4_900));
        assert_eq!(bench.said("a"), "-");
        if goes {
            bench.world.sessions.clear();
            bench.world.known_states.clear();
        }
        bench.pass(Duration::from_millis(600));
        assert_eq!(bench.said("a"), if goes { "running" } else { "rejected mirror_conflict" });
    }
}

#[test]
fn a_door_that_is_first_listed_after_sigterm_starts_and_ends_nothing() {
    let priors = [("a", Status::Queued), ("b", Status::Running)].map(|(key, status)| (key.to_owned(), prior(status)));
    let mut bench = Bench::unlisted("", BTreeMap::from(priors));
    bench.write("a", ROW);
    bench.write("b", ROW);
    bench.feed(Event::Shutdown);
    bench.list();
    bench.pass(secs(5));
    assert_eq!((bench.asked().as_str(), bench.supervisor.is_idle()), ("", true));
}

#[test]
fn a_job_that_waited_when_the_daemon_died_and_is_deleted_before_it_is_looked_at_again_is_stopped() {
    let mut bench = Bench::unlisted("", BTreeMap::from([("a".to_owned(), prior(Status::Queued))]));
    bench.rows = BTreeMap::from([((Source::Config, "a".to_owned()), fields(ROW))]);
    bench.held.insert("Survey");
    bench.list();
    assert_eq!((bench.asked().as_str(), bench.said("a").as_str()), ("Survey a", "-"));
    bench.delete("a");
    assert_eq!((bench.said("a").as_str(), bench.supervisor.is_idle()), ("stopped", true));
}
