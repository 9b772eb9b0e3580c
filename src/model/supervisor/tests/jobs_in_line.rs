//! Slots and the queue: first come, first served, and nobody waits for ever.

use std::time::Duration;

use super::bench::{Bench, MILLI, almost, secs};
use crate::model::supervisor::Event;

const LATER: &str = "expires_at=2024-10-04T10:00:00Z";

/// A job that needs no session, so that only slots matter.
fn write(bench: &mut Bench, key: &str) {
    bench.write(key, &format!("port=Ethernet0 span_method=none duration=1000 {LATER}"));
}

fn said(bench: &Bench, keys: &str) -> String {
    keys.chars().map(|key| bench.said(&key.to_string())).collect::<Vec<_>>().join(", ")
}

#[test]
fn free_slots_go_to_those_who_wait_in_the_order_in_which_they_came() {
    let mut bench = Bench::new("max_jobs=1 max_queue=3");
    for key in ["d", "c", "b", "a"] {
        write(&mut bench, key);
        bench.pass(Duration::from_millis(10));
    }
    assert_eq!(said(&bench, "dcba"), "running, queued, queued, queued");
    bench.delete("d");
    assert_eq!(said(&bench, "dcba"), "stopped, running, queued, queued");
    bench.delete("c");
    assert_eq!(said(&bench, "dcba"), "stopped, stopped, running, queued");
}

#[test]
fn a_job_that_comes_while_others_wait_does_not_get_the_slot_that_is_free_for_them() {
    let mut bench = Bench::new("max_jobs=1 max_queue=3");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.held.insert("Survey");
    bench.delete("a");
    assert_eq!((bench.supervisor.active_jobs(), said(&bench, "b").as_str()), (0, "queued"));
    bench.held.clear();
    write(&mut bench, "c");
    assert_eq!(said(&bench, "bc"), "queued, queued");
    bench.pass(secs(5));
    assert_eq!(said(&bench, "bc"), "running, queued");
}

#[test]
fn a_waiting_job_is_looked_at_once_while_the_one_in_front_of_it_cannot_be() {
    let mut bench = Bench::new("max_queue=2");
    for key in ["a", "b", "c", "d"] {
        write(&mut bench, key);
    }
    bench.held.insert("Survey");
    bench.delete("a");
    bench.delete("b");
    assert_eq!(said(&bench, "cd"), "queued, queued");
    bench.trace.clear();
    let world = Box::new(bench.world.clone());
    bench.feed(Event::Surveyed { id: super::bench::id("c"), world: Err("away".to_owned()) });
    bench.feed(Event::Surveyed { id: super::bench::id("d"), world: Ok(world.into()) });
    assert_eq!((said(&bench, "cd").as_str(), bench.asked().as_str()), ("queued, running", "Log, OpenFeed d"));
    bench.held.clear();
    bench.pass(secs(1));
    assert_eq!(said(&bench, "cd"), "running, running");
}

#[test]
fn the_queue_holds_max_queue_jobs_and_the_next_is_refused() {
    let mut bench = Bench::new("max_queue=1");
    for key in ["a", "b", "c", "d"] {
        write(&mut bench, key);
    }
    assert_eq!(said(&bench, "abcd"), "running, running, queued, rejected concurrency_limit");
    let message = "2 of 2 jobs are running (a, b) and the queue holds 1 of 1; try again when one ends, or stop one";
    assert_eq!(bench.message("d"), message);
}

#[test]
fn a_waiting_job_holds_nothing() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    write(&mut bench, "a");
    bench.trace.clear();
    write(&mut bench, "b");
    assert_eq!(bench.asked(), "Survey b");
    let status = bench.status("b").expect("queued");
    assert_eq!((status.tap, status.mirror_session, status.started_at), (None, None, None));
}

#[test]
fn a_job_that_waited_queue_ttl_is_refused_with_queue_timeout() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1 queue_ttl=30");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.pass(almost(secs(30)));
    assert_eq!(bench.said("b"), "queued");
    bench.pass(MILLI);
    assert_eq!(bench.said("b"), "rejected queue_timeout");
    assert_eq!(bench.message("b"), "no slot became free within queue_ttl, 30 s");
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn waiting_again_after_a_lost_slot_does_not_begin_queue_ttl_anew() {
    let mut bench = Bench::new("max_jobs=2 max_queue=2 queue_ttl=30");
    for key in ["a", "b", "c"] {
        write(&mut bench, key);
    }
    bench.held.insert("Survey");
    bench.pass(secs(20));
    bench.delete("a");
    bench.set("max_jobs=1 max_queue=2 queue_ttl=30");
    bench.held.clear();
    bench.pass(almost(secs(10)));
    assert_eq!(said(&bench, "bc"), "running, queued");
    bench.pass(MILLI);
    assert_eq!(bench.said("c"), "rejected queue_timeout");
}

#[test]
fn a_changed_queue_ttl_is_for_the_jobs_that_come_after_it() {
    let mut bench = Bench::new("max_jobs=1 max_queue=2 queue_ttl=30");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.set("max_jobs=1 max_queue=2 queue_ttl=10");
    write(&mut bench, "c");
    bench.pass(secs(10));
    assert_eq!(said(&bench, "bc"), "queued, rejected queue_timeout");
    bench.pass(secs(20));
    assert_eq!(said(&bench, "b"), "rejected queue_timeout");
}

#[test]
fn a_waiting_job_whose_expires_at_passes_is_expired() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    write(&mut bench, "a");
    bench.write("b", "port=Ethernet4 expires_at=2024-10-04T00:00:05Z");
    bench.pass(almost(secs(5)));
    assert_eq!(bench.said("b"), "queued");
    bench.pass(MILLI);
    assert_eq!(bench.said("b"), "expired");
}

#[test]
fn a_waiting_job_whose_port_went_meanwhile_is_refused_when_its_turn_comes() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    write(&mut bench, "a");
    bench.write("b", &format!("port=Ethernet8 {LATER}"));
    bench.world.ports.remove("Ethernet8");
    bench.delete("a");
    assert_eq!(bench.said("b"), "rejected unknown_port");
}

#[test]
fn lowering_max_jobs_ends_no_job_and_lets_fewer_begin() {
    let mut bench = Bench::new("max_queue=1");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.set("max_jobs=1 max_queue=1");
    assert_eq!(said(&bench, "ab"), "running, running");
    write(&mut bench, "c");
    bench.delete("a");
    assert_eq!(said(&bench, "bc"), "running, queued");
    bench.delete("b");
    assert_eq!(said(&bench, "c"), "running");
}

#[test]
fn raising_max_jobs_takes_a_waiting_job_at_once() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.set("max_jobs=2 max_queue=1");
    assert_eq!(said(&bench, "ab"), "running, running");
}

#[test]
fn lowering_max_queue_sends_nobody_away() {
    let mut bench = Bench::new("max_jobs=1 max_queue=2");
    for key in ["a", "b", "c"] {
        write(&mut bench, key);
    }
    bench.set("max_jobs=1 max_queue=0");
    write(&mut bench, "d");
    assert_eq!(said(&bench, "bcd"), "queued, queued, rejected concurrency_limit");
    bench.delete("a");
    assert_eq!(said(&bench, "b"), "running");
}

#[test]
fn a_slot_is_free_only_when_the_last_of_its_job_is_gone() {
    let mut bench = Bench::new("max_jobs=1 max_queue=1");
    write(&mut bench, "a");
    write(&mut bench, "b");
    bench.held.insert("CloseFeed");
    bench.delete("a");
    assert_eq!(said(&bench, "ab"), "stopping, queued");
    bench.feed(Event::FeedClosed { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!(said(&bench, "ab"), "stopped, running");
}

#[test]
fn jobs_that_come_in_one_moment_are_served_in_the_order_in_which_they_came() {
    let mut bench = Bench::new("max_jobs=1 max_queue=2 settle_ms=1000");
    for key in ["c", "a", "b"] {
        bench.write(key, "port=Ethernet0 span_method=none");
    }
    bench.pass(secs(1));
    assert_eq!(said(&bench, "cab"), "running, queued, queued");
    bench.delete("c");
    assert_eq!(said(&bench, "ab"), "running, queued");
}
