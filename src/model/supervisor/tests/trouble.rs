//! Redis away at each step of a job: nothing is forgotten, nothing runs too long.

use super::bench::{Bench, MILLI, almost, secs};
use crate::model::schema::Source;
use crate::model::supervisor::{About, Effect, Event, RETRY, SESSION_TIMEOUT, SURVEY_TIMEOUT, SWEEP_INTERVAL};

const ROW: &str = "port=Ethernet0 duration=60 expires_at=2024-10-04T10:00:00Z";

fn times(bench: &Bench, effect: &str) -> usize {
    bench.trace.iter().filter(|asked| *asked == effect).count()
}

#[test]
fn a_switch_that_cannot_be_read_is_asked_again_until_it_can() {
    let mut bench = Bench::new("");
    bench.refused.insert("Survey");
    bench.write("a", ROW);
    // After 0.5 s, then twice as long each time, and no longer than 4 s.
    bench.pass(RETRY * 7);
    assert_eq!((times(&bench, "Survey a"), times(&bench, "Log"), bench.said("a").as_str()), (4, 4, "-"));
    bench.pass(secs(40));
    assert_eq!((times(&bench, "Survey a"), bench.said("a").as_str()), (14, "-"));
    bench.refused.clear();
    bench.pass(secs(4));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_question_that_is_never_answered_is_asked_again_after_five_seconds() {
    let mut bench = Bench::new("");
    bench.held.insert("Survey");
    bench.write("a", ROW);
    bench.pass(almost(SURVEY_TIMEOUT));
    assert_eq!(times(&bench, "Survey a"), 1);
    bench.pass(MILLI);
    assert_eq!(times(&bench, "Survey a"), 2);
}

#[test]
fn a_session_that_cannot_be_written_fails_the_job_and_is_deleted_in_case_it_was() {
    let mut bench = Bench::new("");
    bench.refused.insert("Provision");
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "failed internal");
    assert_eq!(bench.message("a"), "the mirror session could not be written to CONFIG_DB: the bench refused");
    assert_eq!(bench.asked(), "Survey a, Provision a, Release a, DeleteRow a");
}

#[test]
fn orchagents_time_begins_when_the_session_is_written() {
    let mut bench = Bench::new("");
    bench.held.insert("Provision");
    bench.write("a", ROW);
    bench.pass(secs(4));
    bench.feed(Event::Provisioned { id: super::bench::id("a"), result: Ok(None) });
    bench.pass(almost(SESSION_TIMEOUT));
    assert_eq!(bench.said("a"), "starting");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "failed mirror_rejected");
}

#[test]
fn with_redis_away_the_tap_still_ends_on_time_and_the_session_is_removed_when_it_is_back() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.trace.clear();
    bench.refused.extend(["Release", "DeleteOrphan", "DeleteRow", "ListSessions"]);
    bench.held.insert("Publish");
    bench.pass(secs(60));
    assert_eq!((bench.said("a").as_str(), times(&bench, "CloseFeed a")), ("stopping", 0));
    bench.pass(SESSION_TIMEOUT);
    assert_eq!(bench.said("a"), "done +session_unconfirmed");
    assert_eq!(bench.message("a"), "the daemon did not delete mirror session telegen_a: the bench refused");
    assert_eq!((times(&bench, "Release a"), times(&bench, "CloseFeed a")), (5, 1));
    assert!(bench.world.sessions.contains_key("telegen_a"));
    bench.refused.clear();
    bench.held.clear();
    bench.pass(SWEEP_INTERVAL);
    assert_eq!(times(&bench, "DeleteOrphan telegen_a"), 1);
    assert_eq!((bench.world.sessions.len(), bench.rows.len(), bench.supervisor.is_idle()), (0, 0, true));
}

#[test]
fn a_deletion_that_redis_refuses_for_a_while_is_repeated_and_then_confirmed_as_usual() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.refused.insert("Release");
    bench.delete("a");
    bench.pass(RETRY * 3);
    assert_eq!((times(&bench, "Release a"), bench.said("a").as_str()), (3, "stopping"));
    assert_eq!(times(&bench, "Log"), 3, "each refusal is said");
    bench.refused.clear();
    bench.pass(RETRY * 4);
    assert_eq!(bench.said("a"), "stopped");
}

#[test]
fn a_row_that_cannot_be_deleted_is_asked_for_until_it_goes_and_the_outcome_stands_meanwhile() {
    let mut bench = Bench::new("");
    bench.refused.insert("DeleteRow");
    bench.write("a", ROW);
    bench.pass(secs(60) + RETRY * 7);
    assert_eq!((times(&bench, "DeleteRow a"), bench.said("a").as_str()), (4, "done"));
    bench.refused.clear();
    bench.pass(secs(4));
    assert_eq!((bench.rows.len(), bench.supervisor.is_idle(), bench.said("a").as_str()), (0, true, "done"));
}

#[test]
fn what_happens_to_thousands_of_rows_at_once_is_one_line_of_the_log() {
    let mut bench = Bench::new("");
    bench.held.insert("Survey");
    let mut lines = std::collections::BTreeSet::new();
    for key in ["a", "b"] {
        bench.write(key, ROW);
        let error = || "Redis is away".to_owned();
        let (door, key) = (Source::Config, key.to_owned());
        let unread = Event::Surveyed { id: super::bench::id(&key), world: Err(error()) };
        let undeleted = Event::RowDeleted { door, key, result: Err(error()) };
        for event in [unread, undeleted] {
            for effect in bench.supervisor.on(event, bench.now()) {
                let Effect::Log { about: About::Rows, line } = effect else { panic!("{effect:?}") };
                lines.insert(line);
            }
        }
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_rows_deletion_is_never_asked_for_twice_at_once() {
    let mut bench = Bench::new("");
    bench.held.insert("DeleteRow");
    bench.write("a", ROW);
    bench.pass(secs(120));
    assert_eq!((times(&bench, "DeleteRow a"), bench.said("a").as_str()), (1, "done"));
}

#[test]
fn a_status_that_is_not_written_keeps_the_row() {
    let mut bench = Bench::new("");
    bench.held.insert("Publish");
    bench.write("a", ROW);
    bench.pass(secs(1_000));
    assert_eq!((times(&bench, "DeleteRow a"), bench.rows.len()), (0, 1));
    assert_eq!(bench.supervisor.active_jobs(), 0, "and its slot is free");
}

#[test]
fn a_second_doors_row_that_cannot_be_removed_is_removed_at_the_next_listing() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.refused.insert("DeleteRow");
    bench.write_through(Source::Appl, "a", "port=Ethernet4");
    assert_eq!((times(&bench, "DeleteRow appl a"), bench.rows.len()), (1, 2));
    bench.refused.clear();
    bench.list();
    assert_eq!((bench.said("a").as_str(), bench.rows.len()), ("running", 1));
}
