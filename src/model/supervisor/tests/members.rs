//! Port channels and ports that change under a job.

use std::time::Duration;

use super::bench::{Bench, MILLI, Orchagent, almost, bound, secs};
use crate::model::asic::View;
use crate::model::supervisor::{
    Effect, Event, LEFT_AFTER, LOST_GRACE, RENEWAL_INTERVAL, RENEWALS_MAX, RETRY, SESSION_TIMEOUT, SWEEP_INTERVAL,
    SessionState,
};

fn running() -> Bench {
    let mut bench = Bench::new("");
    bench.write("a", "port=PortChannel1 duration=600 expires_at=2024-10-05T00:00:00Z");
    assert_eq!(bench.said("a"), "running");
    bench.trace.clear();
    bench
}

fn members(bench: &mut Bench, members: &[&str]) {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    bench.world.port_channels.insert("PortChannel1".to_owned(), members);
    bench.look_at_sessions();
}

fn sources(bench: &Bench) -> String {
    bench.world.sessions["telegen_a"].src_ports.join(",")
}

#[test]
fn a_session_names_members_and_is_made_anew_when_they_change() {
    let mut bench = running();
    assert_eq!(sources(&bench), "Ethernet12");
    members(&mut bench, &["Ethernet12", "Ethernet4"]);
    assert_eq!(bench.asked(), "Release a, Provision a");
    assert_eq!(sources(&bench), "Ethernet4,Ethernet12");
    assert_eq!(bench.said("a"), "running +oversubscribed");
    assert_eq!(
        bench.message("a"),
        "the members of the job's port channel changed, and its mirror session was made anew once"
    );
    let ports = bench.supervisor.source_ports(&super::bench::id("a"));
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), ["Ethernet12", "Ethernet4"], "coverage counts both from now on");
    bench.pass(secs(600));
    assert_eq!(bench.said("a"), "done +oversubscribed", "it ends when it would have ended");
}

#[test]
fn the_new_session_is_written_after_the_old_one_is_confirmed_gone_and_the_time_between_is_recorded() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    members(&mut bench, &["Ethernet4"]);
    assert_eq!(bench.asked(), "Release a");
    assert!(bench.supervisor.source_ports(&super::bench::id("a")).is_empty(), "there are no copies to compare with");
    bench.pass(secs(2));
    bench.orchagent = Orchagent::Works;
    bench.world.known_states.clear();
    bench.feed(gone("telegen_a"));
    assert_eq!(bench.asked(), "Provision a");
    assert_eq!(
        bench.message("a"),
        "the members of the job's port channel changed, and its mirror session was made anew once; the mirror session was not active for 2.0 s; copies of that time may be missing"
    );
}

fn gone(session: &str) -> Event {
    let state = SessionState::Absent;
    Event::SessionState { session: session.to_owned(), state }
}

#[test]
fn changes_are_followed_at_most_every_ten_seconds_and_the_last_one_counts() {
    let mut bench = running();
    members(&mut bench, &["Ethernet4"]);
    bench.trace.clear();
    members(&mut bench, &["Ethernet8"]);
    members(&mut bench, &["Ethernet0"]);
    assert_eq!(bench.asked(), "");
    bench.pass(almost(RENEWAL_INTERVAL));
    assert_eq!(bench.asked(), "");
    bench.pass(MILLI);
    assert_eq!((bench.asked().as_str(), sources(&bench).as_str()), ("Release a, Provision a", "Ethernet0"));
}

#[test]
fn a_change_that_is_seen_while_the_session_is_made_anew_is_followed_at_its_turn() {
    let mut bench = running();
    bench.held.insert("Provision");
    members(&mut bench, &["Ethernet4"]);
    members(&mut bench, &["Ethernet8"]);
    bench.held.clear();
    let plan = bench.supervisor.jobs.get("a").and_then(|job| job.plan.as_ref()?.mirror().cloned()).expect("a session");
    bench.world.sessions.extend(plan.as_sessions());
    bench.world.known_states.insert("telegen_a".to_owned());
    bench.session_state("a", SessionState::Active);
    bench.trace.clear();
    bench.pass(almost(RENEWAL_INTERVAL));
    assert_eq!(bench.asked(), "");
    bench.pass(MILLI);
    assert_eq!((bench.asked().as_str(), sources(&bench).as_str()), ("Release a, Provision a", "Ethernet8"));
}

#[test]
fn a_look_that_a_job_wants_is_in_the_book_of_looks() {
    let mut bench = Bench::new("");
    bench.held.insert("ListSessions");
    bench.pass(SWEEP_INTERVAL);
    bench.write("a", "port=PortChannel1 duration=600 expires_at=2024-10-05T00:00:00Z");
    let id = super::bench::id("a");
    let effects = bench.supervisor.on(Event::FeedOpened { id, result: Ok(()) }, bench.now());
    assert_eq!(effects, [], "one is under way");
}

#[test]
fn a_change_that_is_taken_back_before_its_turn_costs_nothing() {
    let mut bench = running();
    members(&mut bench, &["Ethernet4"]);
    members(&mut bench, &["Ethernet8"]);
    members(&mut bench, &["Ethernet4"]);
    bench.trace.clear();
    bench.pass(secs(60));
    assert_eq!(bench.asked(), "");
}

#[test]
fn a_job_that_was_renewed_says_so_however_it_ends() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    members(&mut bench, &["Ethernet4"]);
    bench.pass(secs(2));
    bench.orchagent = Orchagent::Works;
    bench.world.known_states.clear();
    bench.feed(gone("telegen_a"));
    bench.asic = bound("Ethernet4", "Ethernet120");
    bench.delete("a");
    bench.pass(LEFT_AFTER);
    assert_eq!(bench.said("a"), "stopped +left_bound");
    let message = bench.message("a");
    assert!(message.starts_with("ASIC_DB still shows Ethernet4"), "{message}");
    let renewed = "; the members of the job's port channel changed, and its mirror session was made anew once; the mirror session was not active for 2.0 s; copies of that time may be missing";
    assert!(message.ends_with(renewed), "{message}");
}

#[test]
fn a_second_member_that_is_too_much_for_the_destination_is_warned_of() {
    let mut bench = running();
    members(&mut bench, &["Ethernet12", "Ethernet4"]);
    assert_eq!(bench.said("a"), "running +oversubscribed");
}

#[test]
fn the_sixth_change_ends_the_job() {
    let mut bench = running();
    for _ in 0..RENEWALS_MAX {
        let next = if sources(&bench) == "Ethernet4" { "Ethernet8" } else { "Ethernet4" };
        members(&mut bench, &[next]);
        assert_eq!(bench.said("a"), "running");
        bench.pass(RENEWAL_INTERVAL);
    }
    members(&mut bench, &["Ethernet0"]);
    assert_eq!(bench.said("a"), "failed mirror_lost");
    assert!(bench.message("a").contains("changed more than 5 times"), "{}", bench.message("a"));
    assert!(bench.world.sessions.is_empty());
}

#[test]
fn members_that_cannot_be_copied_end_the_job() {
    let mut bench = running();
    members(&mut bench, &["Ethernet12", "Ethernet120"]);
    assert_eq!(bench.said("a"), "failed mirror_lost");
    assert_eq!(
        bench.message("a"),
        "the members of the job's port channel changed, and Ethernet120, to which the copies go, is one of the members now"
    );
    assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a");
}

#[test]
fn a_session_that_does_not_go_or_does_not_come_ends_the_job() {
    for (orchagent, wait, what) in [
        (Orchagent::Dead, SESSION_TIMEOUT, "orchagent did not confirm the end of mirror session telegen_a"),
        (Orchagent::Rejects, SESSION_TIMEOUT, "orchagent did not make active mirror session telegen_a"),
    ] {
        let mut bench = running();
        bench.orchagent = orchagent;
        members(&mut bench, &["Ethernet4"]);
        bench.pass(almost(wait));
        assert_eq!(bench.said("a"), "running");
        bench.pass(Duration::from_secs(20));
        assert!(bench.said("a").starts_with("failed mirror_lost"), "{}", bench.said("a"));
        assert!(bench.message("a").contains(what), "{}", bench.message("a"));
    }
}

#[test]
fn a_deletion_that_redis_refuses_is_not_laid_at_orchagents_door() {
    let mut bench = running();
    bench.refused.insert("Release");
    members(&mut bench, &["Ethernet4"]);
    assert_eq!(bench.asked(), "Release a, Log");
    bench.pass(SESSION_TIMEOUT);
    let why = "the members of the job's port channel changed, and the daemon did not delete mirror session telegen_a within 5 s: the bench refused; see syslog";
    assert!(bench.message("a").starts_with(why), "{}", bench.message("a"));
}

#[test]
fn each_renewal_begins_with_the_shortest_wait_for_redis() {
    let mut bench = running();
    for next in ["Ethernet4", "Ethernet8"] {
        bench.refused.insert("Release");
        members(&mut bench, &[next]);
        bench.pass(RETRY);
        assert_eq!(bench.asked(), "Release a, Log, Release a, Log", "{next}");
        bench.refused.clear();
        bench.pass(RENEWAL_INTERVAL);
        assert_eq!(bench.asked(), "Release a, Provision a", "{next}");
    }
}

#[test]
fn a_job_whose_time_is_over_while_its_session_is_made_anew_is_done() {
    let mut bench = running();
    bench.held.insert("Provision");
    bench.pass(secs(599));
    members(&mut bench, &["Ethernet4"]);
    bench.pass(secs(2));
    assert_eq!(bench.said("a"), "done");
    assert!(bench.world.sessions.is_empty());
}

#[test]
fn a_port_that_is_removed_ends_the_job_at_once_and_is_looked_for_in_asic_db() {
    let mut bench = running();
    bench.asic.oids.insert("Ethernet12".to_owned(), "oid:0x1c".to_owned());
    bench.look_at_sessions();
    let question =
        bench.supervisor.on(Event::Asic { id: super::bench::id("a"), view: Ok(bench.asic.clone()) }, bench.now());
    assert!(question.is_empty());
    bench.held_ports.insert("Ethernet12".to_owned());
    bench.world.ports.remove("Ethernet12");
    bench.look_at_sessions();
    assert_eq!(bench.said("a"), "failed mirror_lost");
    let first = "Ethernet12 was removed from PORT while the job ran; end jobs before a port is removed or broken out, with telegen-sonic drain PORT";
    assert_eq!(bench.message("a"), first);
    bench.pass(secs(29));
    assert_eq!(bench.message("a"), first, "it may still go");
    bench.pass(secs(2));
    assert_eq!(bench.said("a"), "failed mirror_lost +left_bound");
    assert_eq!(
        bench.message("a"),
        format!(
            "{first}; Ethernet12: ASIC_DB still has its object 30 s after it was removed from PORT; if syslog of orchagent says that it cannot be removed, a restart of the swss service frees it, which interrupts traffic"
        )
    );
    bench.trace.clear();
    bench.pass(secs(300));
    assert!(!bench.asked().contains("AskObjects"), "it is not asked for ever");
}

#[test]
fn a_destination_whose_netdev_goes_with_it_is_looked_for_too_and_one_that_stays_in_port_is_not() {
    for removed in [true, false] {
        let mut bench = running();
        bench.asic.oids.insert("Ethernet120".to_owned(), "oid:0x120".to_owned());
        bench.feed(Event::Asic { id: super::bench::id("a"), view: Ok(bench.asic.clone()) });
        bench.held_ports.insert("Ethernet120".to_owned());
        if removed {
            bench.world.ports.remove("Ethernet120");
        }
        bench.feed(Event::FeedLost { id: super::bench::id("a"), message: "netEthernet120 is gone".to_owned() });
        bench.pass(secs(31));
        let expected = if removed { "failed tap_missing +left_bound" } else { "failed tap_missing" };
        assert_eq!(bench.said("a"), expected);
    }
}

#[test]
fn a_member_that_joined_while_the_job_ran_is_looked_for_too_when_it_is_removed() {
    let mut bench = running();
    bench.asic.oids.insert("Ethernet4".to_owned(), "oid:0x14".to_owned());
    members(&mut bench, &["Ethernet12", "Ethernet4"]);
    bench.held_ports.insert("Ethernet4".to_owned());
    bench.world.ports.remove("Ethernet4");
    bench.look_at_sessions();
    bench.pass(secs(31));
    assert_eq!(bench.said("a"), "failed mirror_lost +oversubscribed +left_bound");
}

#[test]
fn what_a_removed_port_left_is_not_said_of_the_next_job_of_the_name() {
    let mut bench = running();
    let oids = [("Ethernet12".to_owned(), "oid:0x1c".to_owned())].into();
    bench.feed(Event::Asic { id: super::bench::id("a"), view: Ok(View { oids, ..View::default() }) });
    bench.held_ports.insert("Ethernet12".to_owned());
    bench.world.ports.remove("Ethernet12");
    bench.look_at_sessions();
    assert_eq!(bench.said("a"), "failed mirror_lost");
    bench.write("a", "port=Ethernet0 duration=1 expires_at=2024-10-05T00:00:00Z");
    bench.pass(secs(20));
    assert_eq!(bench.said("a"), "done");
    bench.trace.clear();
    bench.pass(secs(20));
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("done", ""));
    assert_eq!(bench.asked().matches("Log").count(), 1, "the log says it");
}

#[test]
fn a_removed_port_whose_object_goes_is_not_spoken_of() {
    let mut bench = running();
    let view = View { oids: [("Ethernet12".to_owned(), "oid:0x1c".to_owned())].into(), ..View::default() };
    bench.supervisor.on(Event::Asic { id: super::bench::id("a"), view: Ok(view) }, bench.now());
    bench.world.ports.remove("Ethernet12");
    bench.look_at_sessions();
    bench.pass(secs(60));
    assert_eq!(bench.said("a"), "failed mirror_lost");
}

#[test]
fn a_port_that_comes_back_or_never_went_is_not_spoken_of() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0,Ethernet4 duration=600 expires_at=2024-10-05T00:00:00Z");
    let oids = ["Ethernet0", "Ethernet4"].map(|port| (port.to_owned(), format!("oid:{port}"))).into();
    let view = View { oids, ..View::default() };
    bench.supervisor.on(Event::Asic { id: super::bench::id("a"), view: Ok(view) }, bench.now());
    bench.held_ports.extend(["Ethernet0", "Ethernet4"].map(str::to_owned));
    let port = bench.world.ports.remove("Ethernet4").expect("a port");
    bench.look_at_sessions();
    assert!(bench.said("a").starts_with("failed mirror_lost"));
    bench.world.ports.insert("Ethernet4".to_owned(), port);
    bench.look_at_sessions();
    bench.pass(secs(60));
    assert!(!bench.said("a").contains("left_bound"), "one is back, and the other never went: {}", bench.said("a"));
}

#[test]
fn a_session_that_went_missing_while_members_change_is_not_lost_for_that() {
    let mut bench = running();
    bench.feed(gone("telegen_a"));
    bench.pass(almost(LOST_GRACE));
    members(&mut bench, &["Ethernet4"]);
    assert_eq!((bench.said("a").as_str(), sources(&bench).as_str()), ("running", "Ethernet4"));
    let effects: Vec<Effect> = bench.supervisor.tick(bench.now());
    assert_eq!(effects, []);
}
