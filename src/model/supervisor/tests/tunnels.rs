//! ERSPAN jobs: what the feed is told, and a neighbour that is not known, becomes known, goes and comes back.

use super::bench::{Bench, MILLI, Orchagent, almost, secs};
use crate::model::erspan::Outer;
use crate::model::feed::Feed;
use crate::model::supervisor::{
    Effect, Event, FeedEffect, LOST_GRACE, NEIGHBOUR_TIMEOUT, SESSION_TIMEOUT, SessionState,
};
use crate::model::world::Session;

const SETTINGS: &str = "erspan_src_ip=10.0.0.1,10.0.0.2 erspan_dst_ip=10.0.0.9 erspan_netdev=netEthernet100";
const ROW: &str = "port=Ethernet0 span_method=erspan duration=600 expires_at=2024-10-04T10:00:00Z";

fn bench(orchagent: Orchagent) -> Bench {
    let mut bench = Bench::new(SETTINGS);
    bench.orchagent = orchagent;
    bench
}

fn running() -> Bench {
    let mut bench = bench(Orchagent::Works);
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "running");
    bench.trace.clear();
    bench
}

const WAITING: &str = "orchagent holds mirror session telegen_a inactive: the switch knows no route or no neighbour for erspan_dst_ip 10.0.0.9, or the hardware refused it; it has 60 s";

#[test]
fn the_tap_is_told_between_which_addresses_the_copies_come_and_on_which_netdev() {
    let mut bench = bench(Orchagent::Works);
    bench.held.insert("Provision");
    for (key, port, src) in [("a", "Ethernet0", "10.0.0.1"), ("b", "Ethernet4", "10.0.0.2")] {
        bench.write(key, &ROW.replace("Ethernet0", port));
        let active =
            Event::SessionState { session: super::bench::id(key).session_name(1), state: SessionState::Active };
        let effects = bench.supervisor.on(active, bench.now());
        let [_, Effect::Feed(FeedEffect::Open { feed: Feed::Hooks(feed), .. }), Effect::Asic(_)] = effects.as_slice()
        else {
            panic!("{effects:?}")
        };
        let address = |text: &str| text.parse().expect("an address");
        let expected = Outer { src: address(src), dst: address("10.0.0.9") };
        assert_eq!((feed.netdev.as_str(), feed.outer), ("netEthernet100", Some(expected)));
    }
}

#[test]
fn a_third_source_address_is_not_there_for_a_third_session() {
    let mut bench = bench(Orchagent::Works);
    let theirs = Outer { src: "10.0.0.1".parse().expect("one"), dst: "10.0.0.9".parse().expect("one") };
    bench.world.sessions.insert("everflow".to_owned(), Session { outer: Some(theirs), ..Session::default() });
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "running");
    bench.write("b", &ROW.replace("Ethernet0", "Ethernet4"));
    assert_eq!(bench.said("b"), "rejected no_mirror_port");
    assert!(
        bench.message("b").contains("10.0.0.1 is in mirror session everflow; 10.0.0.2 is in mirror session telegen_a"),
        "{}",
        bench.message("b")
    );
    bench.delete("a");
    bench.write("c", &ROW.replace("Ethernet0", "Ethernet4"));
    assert_eq!(bench.said("c"), "running");
}

#[test]
fn a_session_without_a_neighbour_waits_and_its_user_is_told_for_what() {
    let mut bench = bench(Orchagent::LeavesInactive);
    bench.write("a", ROW);
    bench.pass(almost(SESSION_TIMEOUT));
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("starting", ""));
    bench.pass(MILLI);
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("starting", WAITING));
    bench.pass(secs(50));
    bench.session_state("a", SessionState::Active);
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("running", ""));
    assert_eq!(bench.asked(), "Survey a, Provision a, OpenFeed a");
}

#[test]
fn a_neighbour_that_never_comes_is_mirror_inactive_a_minute_after_the_session_was_written() {
    let mut bench = bench(Orchagent::LeavesInactive);
    bench.write("a", ROW);
    bench.pass(almost(NEIGHBOUR_TIMEOUT));
    assert_eq!(bench.said("a"), "starting");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "failed mirror_inactive");
    assert_eq!(
        bench.message("a"),
        "orchagent left mirror session telegen_a inactive: the switch knows no route or no neighbour for erspan_dst_ip 10.0.0.9, or the hardware refused it; ping 10.0.0.9 from the switch, and see syslog of orchagent"
    );
    assert_eq!(bench.asked(), "Survey a, Provision a, Release a, DeleteRow a");
}

#[test]
fn a_job_whose_time_is_over_while_it_waits_says_for_what_it_waited() {
    let mut bench = bench(Orchagent::LeavesInactive);
    bench.write("a", "port=Ethernet0 span_method=erspan expires_at=2024-10-04T00:00:20Z");
    bench.pass(secs(20));
    assert_eq!(bench.said("a"), "failed mirror_inactive");
}

#[test]
fn a_session_that_orchagent_does_not_take_is_not_waited_for() {
    for orchagent in [Orchagent::Rejects, Orchagent::Dead] {
        let mut bench = bench(orchagent);
        bench.write("a", ROW);
        bench.pass(SESSION_TIMEOUT);
        assert_eq!(bench.said("a"), "failed mirror_rejected");
    }
}

#[test]
fn a_session_that_disappears_while_it_waits_is_mirror_lost_unless_it_is_back_at_once() {
    let mut bench = bench(Orchagent::LeavesInactive);
    bench.write("a", ROW);
    bench.pass(secs(10));
    bench.session_state("a", SessionState::Absent);
    bench.pass(almost(LOST_GRACE));
    bench.session_state("a", SessionState::Inactive);
    bench.pass(secs(30));
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("starting", WAITING));
    bench.session_state("a", SessionState::Absent);
    bench.pass(LOST_GRACE);
    assert_eq!(bench.said("a"), "failed mirror_lost");
}

#[test]
fn a_neighbour_that_goes_for_less_than_a_minute_is_told_and_leaves_the_job_running() {
    let mut bench = running();
    bench.session_state("a", SessionState::Inactive);
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("running", WAITING));
    bench.pass(almost(NEIGHBOUR_TIMEOUT));
    bench.session_state("a", SessionState::Active);
    let told = "the mirror session was not active for 60.0 s; copies of that time may be missing";
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("running", told));
    bench.pass(secs(600));
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("done", told));
}

#[test]
fn a_neighbour_that_stays_away_for_a_minute_is_mirror_lost() {
    let mut bench = running();
    bench.session_state("a", SessionState::Inactive);
    bench.pass(NEIGHBOUR_TIMEOUT);
    assert_eq!(bench.said("a"), "failed mirror_lost");
    assert_eq!(
        bench.message("a"),
        "mirror session telegen_a went inactive while the job ran and stayed so for 60 s: the switch knows no route or no neighbour for erspan_dst_ip 10.0.0.9, or the hardware refused it; the counts stop there"
    );
    assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a");
}

#[test]
fn a_session_that_disappears_is_lost_as_soon_as_one_of_span() {
    let mut bench = running();
    bench.session_state("a", SessionState::Inactive);
    bench.pass(secs(30));
    bench.session_state("a", SessionState::Absent);
    bench.pass(almost(LOST_GRACE));
    assert_eq!(bench.said("a"), "running");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "failed mirror_lost");
}

#[test]
fn a_foreign_session_in_the_tunnel_ends_the_job_and_is_named() {
    let mut bench = running();
    let ours = bench.world.sessions["telegen_a"].outer;
    bench.world.sessions.insert("everflow".to_owned(), Session { outer: ours, ..Session::default() });
    bench.look_at_sessions();
    assert_eq!(bench.said("a"), "failed mirror_conflict");
    assert_eq!(
        bench.message("a"),
        "mirror session everflow has the src_ip and dst_ip of this job's session, so that nobody can tell their copies apart; take src_ip out of erspan_src_ip, or give everflow another one"
    );
}
