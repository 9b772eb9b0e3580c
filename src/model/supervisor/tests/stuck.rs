//! Sessions that orchagent does not remove.

use super::bench::{Bench, Orchagent, secs, session};
use crate::model::schema::UNBIND_SESSION;
use crate::model::supervisor::{Event, Freed};

/// A daemon that finds an earlier one's session, on a switch whose orchagent removes nothing.
fn stuck() -> Bench {
    let mut bench = Bench::new("");
    bench.world.sessions.insert("telegen_old".to_owned(), session("PortChannel1", "Ethernet120"));
    bench.world.known_states.insert("telegen_old".to_owned());
    bench.orchagent = Orchagent::Dead;
    bench.look_at_sessions();
    bench
}

fn count(asked: &str, what: &str) -> usize {
    asked.split(", ").filter(|effect| *effect == what).count()
}

#[test]
fn a_session_that_stays_is_looked_into_after_five_seconds_and_then_ever_less_often() {
    let mut bench = stuck();
    bench.pass(secs(4));
    assert_eq!(count(&bench.asked(), "Free telegen_old"), 0);
    bench.pass(secs(6));
    assert_eq!(count(&bench.asked(), "Free telegen_old"), 1);
    bench.pass(secs(3600));
    let asked = bench.asked();
    assert!((5..=12).contains(&count(&asked, "Free telegen_old")), "{asked}");
}

#[test]
fn what_was_found_is_said_once_as_long_as_it_is_the_same() {
    let mut bench = stuck();
    bench.held.insert("DeleteOrphan");
    bench.pass(secs(3600));
    let said = |bench: &mut Bench| count(&bench.asked(), "Log");
    let sweeps = said(&mut bench);
    bench.freed = Freed::Left("something else".to_owned());
    bench.pass(secs(3600));
    // The sweep says once a minute that the session is still there.
    assert!(sweeps <= 62 && said(&mut bench) <= 62);
}

#[test]
fn a_session_with_which_another_is_freed_is_not_swept_meanwhile_and_is_afterwards() {
    let mut bench = stuck();
    bench.held.insert("Free");
    bench.pass(secs(10));
    bench.world.sessions.insert(UNBIND_SESSION.to_owned(), session("Ethernet8", "Ethernet120"));
    bench.trace.clear();
    bench.look_at_sessions();
    bench.pass(secs(1));
    assert!(!bench.asked().contains(UNBIND_SESSION));
    bench.feed(Event::Freed { session: "telegen_old".to_owned(), result: Err("Redis is away".to_owned()) });
    bench.pass(secs(2));
    assert!(bench.asked().contains(&format!("DeleteOrphan {UNBIND_SESSION}")), "an interrupted cure leaves nothing");
}

#[test]
fn ports_of_a_stuck_session_are_not_given_to_a_job() {
    let mut bench = stuck();
    bench.pass(secs(10));
    bench.write("a", "port=Ethernet12 duration=60 expires_at=2024-10-05T00:00:00Z");
    assert_eq!(bench.said("a"), "rejected mirror_conflict");
    bench.orchagent = Orchagent::Works;
    bench.write("b", "port=Ethernet0 duration=60 expires_at=2024-10-05T00:00:00Z");
    assert_eq!(bench.status("b").and_then(|status| status.tap).as_deref(), Some("netEthernet124"));
}

#[test]
fn a_session_that_goes_is_forgotten() {
    let mut bench = stuck();
    bench.pass(secs(10));
    bench.world.known_states.clear();
    bench.look_at_sessions();
    bench.trace.clear();
    bench.pass(secs(3600));
    assert!(!bench.asked().contains("Free"));
}

#[test]
fn no_job_starts_while_a_session_is_being_freed() {
    let mut bench = stuck();
    bench.held.insert("Free");
    bench.pass(secs(10));
    bench.orchagent = Orchagent::Works;
    bench.write("b", "port=Ethernet0 duration=60 expires_at=2024-10-05T00:00:00Z");
    bench.pass(secs(2));
    assert_eq!(bench.said("b"), "-", "its port might be unbound in the same moment");
    let result = Ok(Freed::Left("nobody knows".to_owned()));
    bench.feed(Event::Freed { session: "telegen_old".to_owned(), result });
    bench.pass(secs(1));
    assert_eq!(bench.said("b"), "running");
}
