//! Sessions that orchagent does not remove.

use super::bench::{Bench, Orchagent, secs, session};
use crate::model::schema::{Reason, UNBIND_SESSION};
use crate::model::supervisor::{Event, Freed, SessionState};

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

/// Beside a job that runs on the members of a port channel, an earlier daemon's session on Ethernet4 that orchagent does not remove.
fn stuck_beside_a_job() -> Bench {
    let mut bench = Bench::new("");
    bench.write("a", "port=PortChannel1 duration=600 expires_at=2024-10-05T00:00:00Z");
    assert_eq!(bench.said("a"), "running");
    bench.world.sessions.insert("telegen_old".to_owned(), session("Ethernet4", "Ethernet124"));
    bench.world.known_states.insert("telegen_old".to_owned());
    bench.orchagent = Orchagent::Dead;
    bench.look_at_sessions();
    bench
}

#[test]
fn a_job_does_not_follow_its_port_channel_onto_a_port_of_a_stuck_session() {
    let mut bench = stuck_beside_a_job();
    bench.pass(secs(20));
    bench.orchagent = Orchagent::Works;
    bench.change_members();
    assert_eq!(bench.status("a").and_then(|status| status.reason), Some(Reason::MirrorLost));
    let why =
        "the members of the job's port channel changed, and Ethernet4 is already used by mirror session telegen_old";
    assert_eq!(bench.message("a"), why);
}

#[test]
fn no_session_is_made_anew_while_another_one_is_being_freed() {
    let mut bench = stuck_beside_a_job();
    bench.held.insert("Free");
    bench.pass(secs(10));
    bench.orchagent = Orchagent::Works;
    bench.trace.clear();
    bench.world.port_channels.insert("PortChannel1".to_owned(), ["Ethernet8".to_owned()].into());
    bench.look_at_sessions();
    bench.pass(secs(2));
    assert!(!bench.asked().contains("Release a"), "its new port might be unbound in the same moment");
    let result = Ok(Freed::Left("nobody knows".to_owned()));
    bench.feed(Event::Freed { session: "telegen_old".to_owned(), result });
    bench.pass(secs(1));
    assert!(bench.asked().contains("Release a, Provision a"));
}

#[test]
fn a_session_that_no_job_can_have_is_believed_when_it_goes() {
    // An earlier version's: ids were as long as 24 characters then.
    let (name, mut bench) = ("telegen_a-name-of-23-characters", Bench::new(""));
    bench.world.known_states.insert(name.to_owned());
    bench.orchagent = Orchagent::Dead;
    bench.look_at_sessions();
    assert_eq!(bench.supervisor.orphan(name).map(|orphan| orphan.in_state), Some(true));
    bench.feed(Event::SessionState { session: name.to_owned(), state: SessionState::Absent });
    assert_eq!(bench.supervisor.orphan(name), None);
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

/// As `stuck`, and deletions are not carried out.
fn undeleted() -> Bench {
    let mut bench = Bench::new("");
    bench.world.sessions.insert("telegen_old".to_owned(), session("PortChannel1", "Ethernet120"));
    bench.world.known_states.insert("telegen_old".to_owned());
    bench.held.insert("DeleteOrphan");
    bench.look_at_sessions();
    bench
}

#[test]
fn a_session_whose_deletion_was_withheld_is_looked_into_only_once_it_has_been_deleted() {
    let mut bench = undeleted();
    for _ in 0..10 {
        bench.pass(secs(3));
        bench.feed(Event::Withheld { session: "telegen_old".to_owned(), why: "nobody knows".to_owned() });
    }
    assert_eq!(bench.supervisor.held_sessions()["telegen_old"], "telegen_old is not deleted yet: nobody knows");
    bench.world.sessions.remove("telegen_old");
    bench.feed(Event::SessionRow { session: "telegen_old".to_owned(), present: false });
    assert!(bench.supervisor.held_sessions().is_empty(), "it is deleted");
    bench.trace.clear();
    bench.pass(secs(4));
    assert_eq!(count(&bench.asked(), "Free telegen_old"), 0, "orchagent has had no time");
    bench.pass(secs(120));
    assert!(count(&bench.asked(), "Free telegen_old") > 0);
}

#[test]
fn the_reason_for_which_a_session_stays_is_said_once_and_on_one_line() {
    let mut bench = undeleted();
    let mut withheld = || {
        let event = Event::Withheld { session: "telegen_old".to_owned(), why: "op\u{1b}[31m\n is new".to_owned() };
        bench.supervisor.on(event, bench.now()).len()
    };
    assert_eq!((withheld(), withheld()), (1, 0));
    assert_eq!(
        bench.supervisor.held_sessions()["telegen_old"],
        "telegen_old is not deleted yet: op\u{fffd}[31m\u{fffd} is new"
    );
}
