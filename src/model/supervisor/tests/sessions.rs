//! Mirror sessions while jobs run: lost, overrun by others, unconfirmed, left over; and what is worth a warning.

use super::bench::{Bench, MILLI, Orchagent, almost, secs, session};
use crate::model::schema::Warning;
use crate::model::supervisor::sweep::LOOK_INTERVAL;
use crate::model::supervisor::{Effect, Event, LOST_GRACE, SESSION_TIMEOUT, SWEEP_INTERVAL, SessionState};

const ROW: &str = "port=Ethernet0 duration=600 expires_at=2024-10-04T10:00:00Z";

fn running() -> Bench {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "running");
    bench.trace.clear();
    bench
}

#[test]
fn a_session_that_stays_away_ends_the_job_with_mirror_lost() {
    for (state, what) in [
        (
            SessionState::Absent,
            "mirror session telegen_a disappeared from STATE_DB while the job ran; the counts stop there",
        ),
        (SessionState::Inactive, "mirror session telegen_a went inactive while the job ran; the counts stop there"),
    ] {
        let mut bench = running();
        bench.session_state("a", state);
        bench.pass(almost(LOST_GRACE));
        assert_eq!(bench.said("a"), "running");
        bench.pass(MILLI);
        assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("failed mirror_lost", what));
        assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a");
    }
}

#[test]
fn a_session_that_comes_back_within_the_grace_was_not_lost() {
    let mut bench = running();
    for _ in 0..3 {
        bench.session_state("a", SessionState::Absent);
        bench.pass(almost(LOST_GRACE));
        bench.session_state("a", SessionState::Active);
        bench.pass(secs(1));
    }
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn the_grace_is_counted_from_the_first_word_of_trouble() {
    let mut bench = running();
    bench.session_state("a", SessionState::Inactive);
    bench.pass(secs(1));
    bench.session_state("a", SessionState::Absent);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "failed mirror_lost");
}

#[test]
fn a_session_that_went_while_the_tap_was_opened_is_lost_too() {
    let mut bench = Bench::new("");
    bench.held.insert("OpenFeed");
    bench.write("a", ROW);
    bench.session_state("a", SessionState::Inactive);
    bench.feed(Event::FeedOpened { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!(bench.said("a"), "running");
    bench.pass(LOST_GRACE);
    assert_eq!(bench.said("a"), "failed mirror_lost");
}

#[test]
fn a_job_without_a_session_cannot_lose_it() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 span_method=none duration=600 expires_at=2024-10-04T10:00:00Z");
    bench.session_state("a", SessionState::Absent);
    bench.pass(secs(60));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_foreign_session_on_a_port_of_ours_ends_the_job_and_ours_is_deleted() {
    for (src, dst, port) in [("Ethernet8", "Ethernet0", "Ethernet0"), ("Ethernet8", "Ethernet120", "Ethernet120")] {
        let mut bench = running();
        bench.world.sessions.insert("debug".to_owned(), session(src, dst));
        bench.look_at_sessions();
        assert_eq!(bench.said("a"), "failed mirror_conflict", "{src} to {dst}");
        assert_eq!(
            bench.message("a"),
            format!(
                "mirror session debug uses {port} now, of this job's session; give debug another port, or observe another one"
            )
        );
        assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a");
        assert_eq!(bench.world.sessions.keys().collect::<Vec<_>>(), ["debug"], "theirs is not touched");
    }
}

/// `debug` is added over the session on Ethernet0, and ASIC_DB shows the port bound to it.
fn overtake(bench: &mut Bench) {
    bench.world.sessions.insert("debug".to_owned(), session("Ethernet0", "Ethernet100"));
    bench.overtaken = Some(("debug".to_owned(), "Ethernet0".to_owned()));
}

#[test]
fn ours_stays_under_a_foreign_session_that_has_its_port_until_that_one_is_gone() {
    let mut bench = running();
    overtake(&mut bench);
    bench.look_at_sessions();
    assert_eq!(bench.said("a"), "failed mirror_conflict");
    assert_eq!(
        bench.message("a"),
        "mirror session debug copies Ethernet0 now, in the direction of this job's session; orchagent gives a port to one session in each direction; telegen_a stays until debug is removed: ASIC_DB shows Ethernet0 bound to debug, and deleting telegen_a would unbind it. The owner of debug need do nothing. telegen-sonic drain deletes telegen_a at once; then debug must be removed and added again"
    );
    assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a", "the job is over, its session is not");
    bench.pass(secs(120));
    assert_eq!(bench.world.sessions.keys().collect::<Vec<_>>(), ["debug", "telegen_a"]);
    assert!(!bench.asked().contains("DeleteOrphan"), "however often the sweep looks");
    bench.write("b", ROW);
    assert_eq!(bench.said("b"), "rejected mirror_conflict", "the port is taken");
    bench.world.sessions.remove("debug");
    bench.overtaken = None;
    bench.look_at_sessions();
    assert!(bench.asked().contains("DeleteOrphan telegen_a"));
    assert!(bench.world.sessions.is_empty() && bench.supervisor.kept().is_empty());
}

#[test]
fn a_job_that_ends_while_a_foreign_session_comes_says_that_its_own_stays() {
    let mut bench = running();
    overtake(&mut bench);
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopped");
    assert!(bench.message("a").starts_with("telegen_a stays until debug is removed"), "{}", bench.message("a"));
    assert_eq!(bench.world.sessions.keys().collect::<Vec<_>>(), ["debug", "telegen_a"]);
}

#[test]
fn a_session_that_was_deleted_although_somebody_elses_lay_over_it_says_what_that_one_needs() {
    let mut bench = running();
    bench.held.insert("Release");
    bench.delete("a");
    let (session, theirs, port) = ("telegen_a".to_owned(), "debug".to_owned(), "Ethernet0".to_owned());
    bench.feed(Event::Overtaken { session, theirs, port, kept: false });
    bench.session_state("a", SessionState::Absent);
    bench.feed(Event::Released { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!(bench.said("a"), "stopped");
    assert_eq!(
        bench.message("a"),
        "telegen_a was deleted, and ASIC_DB showed Ethernet0 not bound to debug: its owner must remove debug and add it again, if it is to copy Ethernet0"
    );
}

#[test]
fn what_somebody_called_his_session_begins_no_line_of_a_jobs_message() {
    let mut bench = running();
    let mine = bench.world.sessions["telegen_a"].clone();
    bench.world.sessions.insert("evil\n\u{1b}[2Jjob a: done".to_owned(), mine);
    bench.look_at_sessions();
    let message = bench.message("a");
    assert!(message.starts_with("mirror session evil\u{fffd}\u{fffd}[2Jjob a: done copies "), "{message}");
}

#[test]
fn a_kept_session_that_goes_inactive_is_deleted_before_it_takes_the_port_again() {
    let mut bench = running();
    overtake(&mut bench);
    bench.delete("a");
    bench.pass(secs(2));
    bench.overtaken = None;
    bench.trace.clear();
    bench.session_state("a", SessionState::Inactive);
    bench.pass(secs(1));
    assert!(bench.asked().contains("DeleteOrphan telegen_a"));
}

#[test]
fn a_session_that_is_kept_after_its_jobs_final_status_is_said_in_the_log() {
    for held in ["Publish", "DeleteRow"] {
        let mut bench = running();
        bench.held.insert(held);
        bench.pass(secs(600));
        assert_eq!(bench.said("a"), "done");
        bench.trace.clear();
        let (session, theirs, port) = ("telegen_a".to_owned(), "debug".to_owned(), "Ethernet0".to_owned());
        bench.feed(Event::Overtaken { session, theirs, port, kept: true });
        assert_eq!((bench.asked().as_str(), bench.message("a").as_str()), ("Log", ""), "{held}");
    }
}

#[test]
fn a_kept_session_whose_state_is_flushed_is_judged_at_once_and_stays_if_theirs_has_the_port_still() {
    let mut bench = running();
    overtake(&mut bench);
    bench.delete("a");
    bench.pass(secs(2));
    bench.trace.clear();
    bench.session_state("a", SessionState::Absent);
    bench.pass(LOOK_INTERVAL);
    assert_eq!(bench.asked(), "DeleteOrphan telegen_a, Log, Log", "what is asked for is judged by ASIC_DB first");
    assert_eq!(bench.supervisor.kept().keys().collect::<Vec<_>>(), ["telegen_a"]);
    bench.pass(secs(120));
    assert_eq!(bench.asked(), "", "and is asked once");
}

#[test]
fn a_kept_session_whose_foreign_one_goes_is_judged_again_if_another_one_lies_over_it() {
    let mut bench = running();
    overtake(&mut bench);
    bench.delete("a");
    bench.pass(secs(2));
    bench.world.sessions.insert("everflow".to_owned(), session("Ethernet0", "Ethernet100"));
    bench.look_at_sessions();
    assert_eq!(bench.supervisor.kept()["telegen_a"], "debug");
    bench.world.sessions.remove("debug");
    bench.overtaken = Some(("everflow".to_owned(), "Ethernet0".to_owned()));
    bench.trace.clear();
    bench.look_at_sessions();
    assert_eq!(bench.asked(), "DeleteOrphan telegen_a, Log, Log");
    assert_eq!(bench.supervisor.kept()["telegen_a"], "everflow");
}

#[test]
fn an_earlier_daemons_session_under_a_foreign_one_is_kept_too_and_that_is_said_once() {
    let mut bench = Bench::new("");
    bench.world.sessions.insert("telegen_old".to_owned(), session("Ethernet0", "Ethernet120"));
    bench.world.known_states.insert("telegen_old".to_owned());
    overtake(&mut bench);
    bench.look_at_sessions();
    bench.pass(secs(120));
    assert_eq!(bench.asked(), "DeleteOrphan telegen_old, Log, Log");
    assert_eq!(
        bench.supervisor.held_sessions()["telegen_old"],
        "telegen_old stays until debug is removed: deleting it would unbind a port from debug"
    );
    bench.overtaken = None;
    bench.world.sessions.remove("telegen_old");
    bench.world.known_states.remove("telegen_old");
    bench.look_at_sessions();
    assert!(bench.supervisor.kept().is_empty(), "somebody drained it");
}

#[test]
fn a_foreign_session_elsewhere_disturbs_nobody() {
    let mut bench = running();
    bench.world.sessions.insert("debug".to_owned(), session("Ethernet8", "Ethernet100"));
    bench.look_at_sessions();
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("running", ""));
}

#[test]
fn a_removal_that_orchagent_does_not_confirm_in_five_seconds_is_said_and_the_job_ends_all_the_same() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.delete("a");
    bench.pass(almost(SESSION_TIMEOUT));
    assert_eq!(bench.said("a"), "stopping");
    bench.pass(MILLI);
    assert_eq!(bench.said("a"), "stopped +session_unconfirmed");
    assert_eq!(
        bench.asked(),
        "Release a, CloseFeed a, Release a, DeleteOrphan telegen_a, Log",
        "once more at the job's end, and then by the sweep"
    );
}

#[test]
fn sessions_of_ours_that_nobody_owns_are_deleted_by_the_sweep_until_they_are_gone() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.world.sessions.insert("telegen_old".to_owned(), session("Ethernet8", "Ethernet124"));
    bench.world.known_states.insert("telegen_old".to_owned());
    bench.world.known_states.insert("telegen_older".to_owned());
    bench.look_at_sessions();
    assert_eq!(bench.asked(), "DeleteOrphan telegen_old, Log, DeleteOrphan telegen_older, Log");
    bench.pass(secs(1));
    assert_eq!(bench.asked(), "DeleteOrphan telegen_old, DeleteOrphan telegen_older");
    bench.orchagent = Orchagent::Works;
    bench.pass(secs(2));
    assert_eq!(bench.asked(), "DeleteOrphan telegen_old, DeleteOrphan telegen_older");
    bench.pass(SWEEP_INTERVAL);
    assert_eq!((bench.asked().as_str(), bench.said("a").as_str()), ("", "running"));
}

#[test]
fn a_session_that_is_not_ours_is_never_deleted() {
    let mut bench = running();
    for name in ["everflow", "telegen", "Telegen_x", "my_telegen_x"] {
        bench.world.sessions.insert(name.to_owned(), session("Ethernet8", "Ethernet100"));
        bench.world.known_states.insert(name.to_owned());
    }
    bench.pass(secs(100));
    assert_eq!(bench.asked(), "");
}

#[test]
fn a_session_is_ours_from_before_it_is_written_until_after_it_is_gone() {
    let mut bench = Bench::new("");
    bench.orchagent = Orchagent::Dead;
    bench.write("a", ROW);
    bench.look_at_sessions();
    assert!(!bench.trace.contains(&"DeleteOrphan telegen_a".to_owned()), "{:?}", bench.trace);
    bench.held.insert("CloseFeed");
    bench.session_state("a", SessionState::Active);
    bench.world.known_states.insert("telegen_a".to_owned());
    bench.delete("a");
    bench.look_at_sessions();
    bench.pass(secs(5));
    bench.look_at_sessions();
    assert!(!bench.trace.contains(&"DeleteOrphan telegen_a".to_owned()), "{:?}", bench.trace);
    bench.trace.clear();
    bench.feed(Event::FeedClosed { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!(bench.asked(), "Release a, DeleteOrphan telegen_a, Log");
}

#[test]
fn a_session_that_orchagent_does_not_remove_is_tried_ever_more_seldom_and_said_once_a_minute() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    for number in 0..10 {
        bench.world.known_states.insert(format!("telegen_x{number}"));
    }
    bench.look_at_sessions();
    bench.pass(secs(600));
    // After 1, 3, 7, 15, 31, 63 s, then every minute; a line with the first one and with those that are a minute apart.
    let ten = |effect: &str| bench.trace.iter().filter(|asked| asked.starts_with(effect)).count();
    assert_eq!((ten("DeleteOrphan telegen_x"), ten("Log")), (10 * (1 + 6 + 8), 10 * (1 + 9)));
    assert_eq!(
        bench.supervisor.orphan("telegen_x3").map(|orphan| (orphan.deletions, orphan.in_state)),
        Some((15, true))
    );
}

#[test]
fn a_row_that_goes_takes_its_back_off_with_it() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.world.known_states.insert("telegen_x".to_owned());
    bench.look_at_sessions();
    bench.pass(secs(100));
    assert!(bench.asked().starts_with("DeleteOrphan telegen_x, Log, DeleteOrphan telegen_x"));
    bench.world.known_states.clear();
    bench.feed(Event::SessionState { session: "telegen_x".to_owned(), state: SessionState::Absent });
    assert_eq!(bench.supervisor.orphan("telegen_x"), None);
    bench.world.known_states.insert("telegen_x".to_owned());
    bench.feed(Event::SessionState { session: "telegen_x".to_owned(), state: SessionState::Active });
    bench.pass(secs(1));
    assert_eq!(bench.asked(), "DeleteOrphan telegen_x, Log, DeleteOrphan telegen_x");
}

#[test]
fn what_we_write_ourselves_asks_for_no_look_and_what_others_write_for_one_at_once() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.world.known_states.insert("telegen_x".to_owned());
    bench.look_at_sessions();
    bench.pass(secs(2));
    let mut looks = |session: &str, present: bool| {
        let effects = bench.supervisor.on(Event::SessionRow { session: session.to_owned(), present }, bench.now());
        effects.iter().filter(|effect| **effect == Effect::ReadSwitch { job: None }).count()
    };
    // The row of the running job, and what the sweep wrote and deleted.
    for (session, present) in [("telegen_a", true), ("telegen_a", false), ("telegen_x", true), ("telegen_x", false)] {
        assert_eq!(looks(session, present), 0, "{session} {present}");
    }
    assert_eq!(looks("debug", true), 1);
    // One look is under way: what comes meanwhile waits for its answer.
    assert_eq!((looks("debug", false), looks("everflow", true), looks("telegen_new", true)), (0, 0, 0));
}

#[test]
fn looks_that_are_asked_for_meanwhile_are_one_look_half_a_second_after_the_one_before() {
    let mut bench = running();
    bench.pass(secs(5));
    bench.held.insert("ListSessions");
    let event = || Event::SessionRow { session: "debug".to_owned(), present: true };
    let is_look = |effects: &[Effect]| effects.contains(&Effect::ReadSwitch { job: None });
    assert!(is_look(&bench.supervisor.on(event(), bench.now())));
    for _ in 0..1000 {
        assert!(!is_look(&bench.supervisor.on(event(), bench.now())));
    }
    let answer = Event::Sessions { world: Box::new(bench.world.clone()) };
    assert!(!is_look(&bench.supervisor.on(answer, bench.now())));
    let due = bench.supervisor.next_deadline();
    assert_eq!(due, bench.mono + LOOK_INTERVAL);
    bench.mono = due;
    assert!(is_look(&bench.supervisor.tick(bench.now())));
}

#[test]
fn a_look_that_fails_is_repeated_with_a_back_off() {
    let mut bench = running();
    bench.refused.insert("ListSessions");
    bench.feed(Event::SwitchChanged);
    bench.trace.clear();
    bench.pass(secs(60));
    let lines = bench.trace.iter().filter(|asked| *asked == "Log").count();
    assert!((15..=19).contains(&lines), "{lines} attempts in a minute");
}

#[test]
fn a_removal_confirmed_before_the_answer_of_redis_counts() {
    let mut bench = running();
    bench.held.insert("Release");
    bench.delete("a");
    bench.session_state("a", SessionState::Absent);
    assert_eq!(bench.asked(), "Release a");
    bench.feed(Event::Released { id: super::bench::id("a"), result: Ok(()) });
    assert_eq!((bench.asked().as_str(), bench.said("a").as_str()), ("CloseFeed a", "stopped"));
}

#[test]
fn what_orchagent_said_of_an_earlier_session_of_the_name_does_not_count() {
    let mut bench = Bench::new("");
    bench.held.insert("Survey");
    bench.write("a", ROW);
    bench.session_state("a", SessionState::Inactive);
    bench.held.clear();
    bench.orchagent = Orchagent::Dead;
    bench.pass(secs(10));
    assert_eq!(bench.said("a"), "failed mirror_rejected");
}

#[test]
fn what_is_known_from_the_start_is_warned_of_from_the_start() {
    let mut bench = Bench::new("");
    bench.world.ports.get_mut("Ethernet0").expect("a port").oper_up = Some(false);
    bench.world.ports.get_mut("Ethernet120").expect("a port").speed_mbps = Some(10_000);
    bench.write("a", ROW);
    assert_eq!(bench.said("a"), "running +port_down +oversubscribed");
}

#[test]
fn copies_that_do_not_come_are_warned_of_and_the_warning_stays_to_the_end() {
    let mut bench = running();
    bench.warn("a", Warning::NoCopies);
    assert_eq!(bench.said("a"), "running +no_copies");
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopped +no_copies");
}
