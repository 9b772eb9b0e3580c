//! What ASIC_DB shows at the end of a job, and of a sampler that is somebody else's.

use super::bench::{Bench, Orchagent, bound, clear, id, secs};
use crate::model::asic::View;
use crate::model::job::Direction;
use crate::model::schema::Reason;
use crate::model::supervisor::{Event, LEFT_AFTER, SESSION_TIMEOUT, SessionState};

const ROW: &str = "port=Ethernet0 duration=60 expires_at=2024-10-05T00:00:00Z";

fn running() -> Bench {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "running");
    bench
}

#[test]
fn a_port_that_is_still_bound_two_seconds_after_the_end_is_left_bound() {
    let mut bench = running();
    bench.asic = bound("Ethernet0", "Ethernet120");
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopping");
    bench.pass(LEFT_AFTER);
    assert_eq!(bench.said("a"), "stopped +left_bound");
    assert_eq!(
        bench.message("a"),
        "ASIC_DB still shows Ethernet0 (ingress, oid:0xe1) bound to this job's mirror session after its end; a restart of the swss service frees it, which interrupts traffic"
    );
}

#[test]
fn a_binding_of_a_session_that_was_not_deleted_is_not_said_to_be_one_that_is_being_deleted() {
    let mut bench = running();
    bench.asic = bound("Ethernet0", "Ethernet120");
    bench.refused.insert("Release");
    bench.delete("a");
    bench.pass(SESSION_TIMEOUT + LEFT_AFTER);
    assert_eq!(bench.said("a"), "stopped +session_unconfirmed +left_bound");
    assert_eq!(
        bench.message("a"),
        "the daemon did not delete mirror session telegen_a: the bench refused; ASIC_DB still shows Ethernet0 (ingress, oid:0xe1) bound to this job's mirror session after its end; that goes with the session, which is not deleted yet"
    );
}

#[test]
fn a_binding_that_goes_while_it_is_looked_at_is_not_spoken_of() {
    let mut bench = running();
    bench.asic = bound("Ethernet0", "Ethernet120");
    bench.delete("a");
    bench.pass(LEFT_AFTER / 2);
    bench.asic = clear();
    bench.pass(LEFT_AFTER / 2);
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("stopped", ""));
}

#[test]
fn a_binding_to_somebody_elses_session_is_not_ours() {
    let mut bench = running();
    bench.asic = bound("Ethernet0", "Ethernet100");
    bench.asic.oids.insert("Ethernet120".to_owned(), "oid:0x99".to_owned());
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopped");
}

#[test]
fn a_destination_that_was_never_in_a_table_proves_nothing_and_that_is_said_in_the_log() {
    let mut bench = Bench::new("");
    bench.asic.oids.clear();
    bench.write("a", ROW);
    bench.asic.bindings = bound("Ethernet0", "Ethernet120").bindings;
    bench.trace.clear();
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopped");
    assert_eq!(bench.asked(), "Release a, CloseFeed a, Log");
}

#[test]
fn a_destination_that_was_removed_meanwhile_is_known_by_the_object_that_it_had() {
    let mut bench = running();
    bench.asic = bound("Ethernet0", "Ethernet120");
    bench.asic.oids.clear();
    bench.delete("a");
    bench.pass(LEFT_AFTER);
    assert_eq!(bench.said("a"), "stopped +left_bound");
}

#[test]
fn asic_db_that_cannot_be_asked_or_does_not_answer_is_no_evidence_and_holds_no_job_up() {
    for refused in [true, false] {
        let mut bench = running();
        if refused {
            bench.refused.insert("AskAsic");
        } else {
            bench.held.insert("AskAsic");
        }
        bench.delete("a");
        bench.pass(LEFT_AFTER + secs(1));
        assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("stopped", ""));
        assert!(bench.asked().contains("Log"), "it is said in the log");
    }
}

#[test]
fn a_daemon_that_is_being_stopped_does_not_promise_to_go_on() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.asic = bound("Ethernet0", "Ethernet120");
    bench.feed(Event::Shutdown);
    bench.pass(secs(10));
    assert!(bench.said("a").contains("left_bound"), "{}", bench.said("a"));
    let message = bench.message("a");
    assert!(
        message.ends_with("orchagent has not confirmed that the session is gone; the next daemon deletes it"),
        "{message}"
    );
}

const SAMPLED: &str =
    "port=Ethernet0 duration=60 span_method=erspan mirror_sample_rate=64 expires_at=2024-10-05T00:00:00Z";

/// A switch that can sample, of which orchagent leaves the session inactive.
fn sampled() -> Bench {
    let settings = "erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=netEthernet100 max_sessions=2";
    let mut bench = Bench::new(settings);
    let yes = Some(true);
    bench.world.capability.ingress_sample = yes;
    bench.world.capability.egress_sample = yes;
    bench.orchagent = Orchagent::LeavesInactive;
    bench
}

#[test]
fn a_sampler_that_is_taken_is_not_called_a_missing_neighbour() {
    let mut bench = sampled();
    bench.asic.samplers.insert(("Ethernet0".to_owned(), Direction::Ingress), "oid:0x51".to_owned());
    bench.write("a", SAMPLED);
    bench.pass(SESSION_TIMEOUT);
    assert_eq!(bench.said("a"), "failed mirror_inactive");
    assert_eq!(
        bench.message("a"),
        "orchagent left mirror session telegen_a inactive: ASIC_DB shows that the ingress sampler of Ethernet0 is taken by oid:0x51, of sFlow or of another sampled mirror; end that, or leave mirror_sample_rate and mirror_truncate out"
    );
}

#[test]
fn a_sampler_of_the_other_direction_does_not_count() {
    let mut bench = sampled();
    bench.asic.samplers.insert(("Ethernet0".to_owned(), Direction::Egress), "oid:0x51".to_owned());
    bench.write("a", SAMPLED);
    bench.pass(SESSION_TIMEOUT);
    assert_eq!(bench.said("a"), "starting", "it waits for its neighbour");
}

#[test]
fn a_job_of_several_sessions_runs_when_all_are_active_and_gives_all_up_with_one() {
    let two = SAMPLED.replace("port=Ethernet0", "port=Ethernet0,Ethernet4");
    let mut bench = sampled();
    bench.orchagent = Orchagent::Works;
    bench.write("a", &two);
    assert_eq!(bench.said("a"), "running");
    let sessions = |bench: &Bench| bench.world.sessions.keys().cloned().collect::<Vec<_>>();
    assert_eq!(sessions(&bench), ["telegen__2_a", "telegen_a"]);
    assert_eq!(bench.status("a").and_then(|status| status.mirror_session).as_deref(), Some("telegen_a,telegen__2_a"));
    bench.delete("a");
    assert_eq!((bench.said("a").as_str(), sessions(&bench)), ("stopped", Vec::<String>::new()));

    let mut bench = sampled();
    bench.orchagent = Orchagent::Dead;
    bench.write("a", &two);
    let state = |session: &str, state| Event::SessionState { session: session.to_owned(), state };
    bench.feed(state("telegen_a", SessionState::Active));
    bench.pass(SESSION_TIMEOUT);
    assert_eq!(bench.status("a").and_then(|status| status.reason).map(Reason::as_str), Some("mirror_rejected"));
    let message = bench.message("a");
    assert!(message.starts_with("no word of orchagent on mirror session telegen__2_a arrived within 5 s"), "{message}");
    assert!(
        message.contains("the job takes 2 mirror sessions, and the others are given up with this one"),
        "{message}"
    );
    assert_eq!(sessions(&bench), Vec::<String>::new());
}

#[test]
fn one_of_two_sessions_that_stays_inactive_is_not_waited_for_as_if_its_neighbour_were_missing() {
    let mut bench = sampled();
    bench.orchagent = Orchagent::Dead;
    bench.write("a", &SAMPLED.replace("port=Ethernet0", "port=Ethernet0,Ethernet4"));
    for (session, state) in [("telegen_a", SessionState::Active), ("telegen__2_a", SessionState::Inactive)] {
        bench.feed(Event::SessionState { session: session.to_owned(), state });
    }
    bench.pass(SESSION_TIMEOUT);
    assert_eq!(
        (bench.said("a").as_str(), bench.message("a").as_str()),
        ("starting", ""),
        "nothing is said of a neighbour"
    );
    bench.pass(LEFT_AFTER);
    assert_eq!(bench.status("a").and_then(|status| status.reason).map(Reason::as_str), Some("mirror_inactive"));
    let message = bench.message("a");
    let known = "orchagent left mirror session telegen__2_a inactive, while telegen_a to the same erspan_dst_ip 10.0.0.9 is active";
    assert!(message.starts_with(known), "{message}");
}

#[test]
fn ports_that_a_job_had_before_its_port_channel_changed_are_looked_at_too() {
    let mut bench = Bench::new("");
    bench.write("a", "port=PortChannel1 duration=60 expires_at=2024-10-05T00:00:00Z");
    let oids = [("Ethernet12".to_owned(), "oid:0x1c".to_owned())].into();
    bench.feed(Event::Asic { id: id("a"), view: Ok(View { oids, ..View::default() }) });
    bench.world.port_channels.insert("PortChannel1".to_owned(), ["Ethernet4".to_owned()].into());
    bench.look_at_sessions();
    bench.asic = bound("Ethernet12", "Ethernet120");
    bench.delete("a");
    bench.pass(LEFT_AFTER);
    assert_eq!(bench.said("a"), "stopped +left_bound");
}
