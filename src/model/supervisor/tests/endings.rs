//! How jobs end, and what is left to say of them.

use super::bench::{Bench, MILLI, Orchagent, almost, id, secs};
use crate::model::schema::{Reason, StatusField};
use crate::model::supervisor::remembered::FINISHED_MAX;
use crate::model::supervisor::{Event, SESSION_TIMEOUT_SHUTDOWN, SessionState};

const ROW: &str = "port=Ethernet0 duration=60";

fn running() -> Bench {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "running");
    bench.trace.clear();
    bench.history.clear();
    bench
}

#[test]
fn a_job_that_nobody_disturbs_starts_runs_its_time_and_leaves_nothing_but_its_outcome() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.pass(secs(60));
    assert_eq!(bench.said("a"), "running");
    bench.pass(secs(1));
    assert_eq!(bench.history, ["a: starting", "a: running", "a: stopping", "a: done"]);
    assert_eq!(bench.asked(), "Survey a, Provision a, OpenFeed a, Release a, CloseFeed a, DeleteRow a");
    assert_eq!((bench.rows.len(), bench.world.sessions.len()), (0, 0));
    assert!(bench.supervisor.is_idle());
    let row = bench.status("a").expect("an outcome").to_fields();
    let row: Vec<String> = row.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "port=Ethernet0",
        "direction=ingress",
        "span_method=span",
        "duration=60",
        "sample_rate=100",
        "inner=false",
        "result_detail=flows",
        "otlp_export=true",
        "anonymize=false",
        "status=done",
        "source=config",
        "tap=netEthernet120",
        "mirror_session=telegen_a",
        "created_at=2024-10-04T00:00:01.000Z",
        "started_at=2024-10-04T00:00:01.000Z",
        "expires_at=2024-10-04T00:01:01.000Z",
        "ended_at=2024-10-04T00:01:01.000Z",
    ];
    assert_eq!(row, expected);
}

#[test]
fn the_final_status_stands_before_the_row_goes() {
    let mut bench = running();
    bench.held.insert("Publish");
    bench.pass(secs(600));
    assert_eq!((bench.said("a").as_str(), bench.rows.len()), ("done", 1));
    bench.held.clear();
    bench.feed(Event::Published { key: "a".to_owned() });
    assert_eq!(bench.rows.len(), 0);
}

#[test]
fn the_session_goes_before_the_tap_so_that_the_last_copy_is_counted() {
    let mut bench = running();
    bench.orchagent = Orchagent::Dead;
    bench.delete("a");
    assert_eq!(bench.asked(), "Release a");
    bench.session_state("a", SessionState::Absent);
    assert_eq!(bench.asked(), "CloseFeed a");
    assert_eq!(bench.said("a"), "stopped");
}

#[test]
fn deleting_the_row_stops_the_job_and_there_is_no_row_left_to_delete() {
    let mut bench = running();
    bench.delete("a");
    assert_eq!(bench.history, ["a: stopping", "a: stopped"]);
    assert_eq!(bench.asked(), "Release a, CloseFeed a");
    assert!(bench.supervisor.is_idle());
}

#[test]
fn a_row_that_goes_before_its_job_was_accepted_leaves_no_trace() {
    let mut bench = Bench::new("");
    bench.held.insert("Survey");
    bench.write("a", ROW);
    bench.pass(secs(2));
    bench.delete("a");
    assert!(bench.supervisor.is_idle());
    assert_eq!(bench.history, Vec::<String>::new());
}

#[test]
fn a_job_without_a_session_taps_the_ports_own_netdev_and_nothing_is_mirrored() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=60 span_method=none direction=egress");
    bench.pass(secs(61));
    assert_eq!(bench.asked(), "Survey a, OpenFeed a, CloseFeed a, DeleteRow a");
    let status = bench.status("a").expect("an outcome");
    assert_eq!((status.tap.as_deref(), status.mirror_session), (Some("Ethernet0"), None));
}

#[test]
fn a_session_that_orchagent_does_not_take_is_mirror_rejected() {
    for orchagent in [Orchagent::Rejects, Orchagent::Dead] {
        let mut bench = Bench::new("");
        bench.orchagent = orchagent;
        bench.write("a", ROW);
        bench.pass(almost(secs(6)));
        assert_eq!(bench.said("a"), "starting");
        bench.pass(MILLI);
        assert_eq!(bench.said("a"), "failed mirror_rejected");
        assert_eq!(bench.asked(), "Survey a, Provision a, Release a, DeleteRow a");
        assert!(
            bench.message("a").contains("no word of orchagent on mirror session telegen_a"),
            "{}",
            bench.message("a")
        );
    }
}

#[test]
fn a_session_that_stays_inactive_is_mirror_inactive() {
    let mut bench = Bench::new("");
    bench.orchagent = Orchagent::LeavesInactive;
    bench.write("a", ROW);
    bench.pass(secs(6));
    assert_eq!(bench.said("a"), "failed mirror_inactive");
    assert_eq!(bench.world.sessions.len(), 0);
    assert!(bench.message("a").contains("left it inactive"), "{}", bench.message("a"));
}

#[test]
fn a_session_that_is_inactive_at_first_and_active_in_time_is_taken() {
    let mut bench = Bench::new("");
    bench.orchagent = Orchagent::LeavesInactive;
    bench.write("a", ROW);
    bench.pass(secs(5));
    bench.session_state("a", SessionState::Active);
    bench.pass(secs(2));
    assert_eq!(bench.said("a"), "running");
}

#[test]
fn a_tap_that_cannot_be_opened_ends_the_job_and_removes_its_session() {
    let mut bench = Bench::new("");
    bench.refused.insert("OpenFeed");
    bench.write("a", ROW);
    bench.pass(secs(1));
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("failed attach_failed", "the bench refused"));
    assert_eq!(bench.asked(), "Survey a, Provision a, OpenFeed a, Release a, DeleteRow a");
    assert_eq!(bench.status("a").expect("an outcome").started_at, None);
}

#[test]
fn a_tap_whose_device_goes_ends_the_job_with_tap_missing() {
    let mut bench = running();
    bench.feed(Event::FeedLost { id: id("a"), message: "netEthernet120 is gone".to_owned() });
    assert_eq!(bench.said("a"), "failed tap_missing");
    assert_eq!(bench.message("a"), "netEthernet120 is gone");
    assert_eq!(bench.asked(), "Release a, CloseFeed a, DeleteRow a");
}

#[test]
fn a_tap_that_is_lost_while_the_job_ends_is_not_done_and_a_job_with_a_reason_keeps_it() {
    let mut bench = running();
    bench.held.insert("CloseFeed");
    bench.pass(secs(60));
    assert_eq!(bench.said("a"), "stopping");
    bench.feed(Event::FeedLost { id: id("a"), message: "the tc filter was removed".to_owned() });
    bench.feed(Event::FeedClosed { id: id("a"), result: Ok(()) });
    assert_eq!(
        (bench.said("a").as_str(), bench.message("a").as_str()),
        ("failed tap_missing", "the tc filter was removed")
    );

    let mut bench = running();
    bench.held.insert("CloseFeed");
    bench.delete("a");
    bench.feed(Event::FeedLost { id: id("a"), message: "the tc filter was removed".to_owned() });
    bench.feed(Event::FeedClosed { id: id("a"), result: Ok(()) });
    assert_eq!((bench.said("a").as_str(), bench.message("a").as_str()), ("stopped", "the tc filter was removed"));
}

#[test]
fn a_last_reading_that_fails_is_said() {
    let mut bench = running();
    bench.refused.insert("CloseFeed");
    bench.delete("a");
    assert_eq!(bench.said("a"), "stopped");
    assert_eq!(bench.message("a"), "the last reading of the tap failed: the bench refused");
}

#[test]
fn a_job_never_runs_past_the_rows_expires_at() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 duration=600 expires_at=2024-10-04T00:00:30Z");
    bench.pass(secs(29));
    assert_eq!(bench.said("a"), "running");
    assert_eq!(
        bench.status("a").and_then(|status| status.expires_at).expect("known").to_string(),
        "2024-10-04T00:00:30Z"
    );
    bench.pass(secs(1));
    assert_eq!(bench.said("a"), "done");
}

#[test]
fn a_job_whose_expires_at_is_past_is_expired_and_takes_nothing() {
    let mut bench = Bench::new("");
    bench.pass(secs(20));
    bench.trace.clear();
    bench.write("a", "port=Ethernet0 expires_at=2024-10-04T00:00:20Z");
    assert_eq!(bench.said("a"), "expired");
    assert_eq!(bench.asked(), "DeleteRow a");
    assert_eq!(bench.message("a"), "the row's expires_at passed before the job could run");
}

#[test]
fn expires_at_ends_a_job_that_is_still_starting() {
    for (held, orchagent) in [("", Orchagent::Dead), ("OpenFeed", Orchagent::Works)] {
        let mut bench = Bench::new("");
        bench.orchagent = orchagent;
        bench.held.insert(held);
        bench.write("a", "port=Ethernet0 expires_at=2024-10-04T00:00:03Z");
        bench.pass(almost(secs(3)));
        assert_eq!(bench.said("a"), "starting");
        bench.pass(MILLI);
        if held == "OpenFeed" {
            // Only the feed's answer can be waited for.
            assert_eq!(bench.said("a"), "stopping");
            bench.feed(Event::FeedOpened { id: id("a"), result: Ok(()) });
        }
        assert_eq!(bench.said("a"), "expired");
        assert_eq!((bench.world.sessions.len(), bench.supervisor.is_idle()), (0, true));
    }
}

#[test]
fn disabling_telegen_ends_every_job_at_once() {
    let mut bench = running();
    bench.write("b", "port=Ethernet4 span_method=none expires_at=2024-10-04T00:10:00Z");
    bench.set("admin_state=disabled");
    for key in ["a", "b"] {
        assert_eq!(bench.said(key), "stopped admin_disabled");
        assert_eq!(bench.message(key), "telegen was disabled: admin_state in TELEGEN|global is disabled");
    }
    assert_eq!((bench.rows.len(), bench.world.sessions.len()), (0, 0));
    bench.set("admin_state=enabled");
    bench.write("c", "port=Ethernet0 expires_at=2024-10-04T00:10:00Z");
    assert_eq!(bench.said("c"), "running");
}

#[test]
fn sigterm_ends_every_job_and_takes_no_more() {
    let mut bench = running();
    bench.feed(Event::Shutdown);
    assert_eq!(bench.said("a"), "stopped daemon_stopped");
    assert!(bench.supervisor.is_idle());
    bench.write("b", "port=Ethernet4 expires_at=2024-10-04T00:10:00Z");
    assert!(bench.supervisor.is_idle());
    assert_eq!(bench.rows.len(), 1, "the row stays for the next daemon");
}

#[test]
fn sigterm_is_over_in_three_seconds_even_if_orchagent_is_dead_whenever_the_session_went() {
    for deleted_before in [false, true] {
        let mut bench = running();
        bench.orchagent = Orchagent::Dead;
        if deleted_before {
            bench.delete("a");
            bench.pass(secs(1));
        }
        bench.feed(Event::Shutdown);
        bench.pass(almost(SESSION_TIMEOUT_SHUTDOWN));
        assert!(!bench.supervisor.is_idle());
        bench.pass(MILLI);
        assert!(bench.supervisor.is_idle());
        let word = if deleted_before { "stopped" } else { "stopped daemon_stopped" };
        assert_eq!(bench.said("a"), format!("{word} +session_unconfirmed"));
    }
}

#[test]
fn sigterm_is_over_in_three_seconds_after_a_tap_that_was_being_opened_is_open() {
    let mut bench = Bench::new("");
    bench.held.insert("OpenFeed");
    bench.write("a", ROW);
    bench.pass(secs(1));
    bench.feed(Event::Shutdown);
    assert_eq!(
        (bench.said("a").as_str(), bench.status("a").expect("a job").ended_at),
        ("stopping daemon_stopped", None)
    );
    bench.orchagent = Orchagent::Dead;
    bench.feed(Event::FeedOpened { id: id("a"), result: Ok(()) });
    bench.pass(SESSION_TIMEOUT_SHUTDOWN);
    assert_eq!(bench.said("a"), "stopped daemon_stopped +session_unconfirmed");
    assert!(bench.supervisor.is_idle());
}

#[test]
fn sigterm_leaves_what_was_not_accepted_to_the_next_daemon() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.feed(Event::Shutdown);
    assert!(bench.supervisor.is_idle());
    assert_eq!((bench.said("a").as_str(), bench.rows.len()), ("-", 1));
}

#[test]
fn results_are_kept_for_the_retention_and_then_deleted() {
    let mut bench = Bench::new("result_retention=100");
    bench.write("a", ROW);
    bench.pass(secs(61));
    bench.pass(secs(99));
    assert_eq!(bench.said("a"), "done");
    bench.trace.clear();
    bench.pass(secs(1));
    assert_eq!((bench.said("a").as_str(), bench.asked().as_str()), ("-", "ClearResults a"));
}

#[test]
fn a_shorter_retention_takes_effect_at_once() {
    let mut bench = Bench::new("");
    bench.write("a", ROW);
    bench.pass(secs(71));
    bench.trace.clear();
    bench.set("result_retention=10");
    assert_eq!(bench.asked(), "ClearResults a");
}

#[test]
fn a_flood_of_refused_jobs_pushes_the_oldest_outcomes_out() {
    let mut bench = Bench::new("");
    for number in 0..=FINISHED_MAX {
        bench.write(&format!("job{number:03}"), "port=Ethernet0 direction=up expires_at=2024-10-05T00:00:00Z");
        bench.pass(MILLI);
    }
    assert_eq!(bench.supervisor.statuses().count(), FINISHED_MAX);
    assert_eq!((bench.said("job000").as_str(), bench.said("job001").as_str()), ("-", "rejected invalid_field"));
    assert_eq!(bench.trace.iter().filter(|effect| *effect == "ClearResults job000").count(), 1);
}

#[test]
fn an_unparsed_row_is_shown_as_its_user_wrote_it_without_what_no_job_has() {
    let mut bench = Bench::new("");
    bench.write("a", "port=Ethernet0 vlan=4095 ip_proto=tcp zzz=1 expires_at=2024-10-05T00:00:00Z");
    let row = bench.status("a").expect("an outcome").to_fields();
    let shown: Vec<String> = row.iter().take(3).map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["ip_proto@=tcp", "port=Ethernet0", "vlan=4095"]);
    let value =
        |field: StatusField| row.iter().find(|(name, _)| name == field.as_str()).map(|(_, value)| value.as_str());
    assert_eq!(value(StatusField::Reason), Some(Reason::InvalidField.as_str()));
    assert_eq!(row.iter().filter(|(name, _)| name == "zzz" || name == "expires_at").count(), 0);
}
