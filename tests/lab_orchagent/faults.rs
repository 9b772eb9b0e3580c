//! What the facts do not number: LAGs, the hardware's limits, faults on request, and the contents of the databases.

use std::time::{Duration, Instant};

use telegen_sonic::lab::orchagent::hardware::{Fault, NoRoom};
use telegen_sonic::lab::switch_db::{PortCounters, write_counters};
use telegen_sonic::sonic::wait_for_config_db;

use crate::redis_common::{fields, within};
use crate::switch::{Switch, layout, run_command};

const S1: &str = "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX";
const S2: &str = "type=SPAN src_port=Ethernet8 dst_port=Ethernet12 direction=RX";

#[tokio::test]
async fn a_lag_is_mirrored_by_its_members() {
    let switch = Switch::start().await;
    switch.cli("HSET PORTCHANNEL|PortChannel1 admin_status up").await;
    switch.session("empty", &S1.replace("Ethernet0", "PortChannel1")).await;
    switch.settle().await;
    assert_eq!(switch.status("empty").await, None);
    for member in ["Ethernet8", "Ethernet16"] {
        switch.cli(&format!("HSET PORTCHANNEL_MEMBER|PortChannel1|{member} NULL NULL")).await;
    }
    switch.session("s1", &S1.replace("Ethernet0", "PortChannel1,Ethernet0")).await;
    switch.until_active("s1").await;
    let bound = ["Ethernet0 rx s1>Ethernet4", "Ethernet16 rx s1>Ethernet4", "Ethernet8 rx s1>Ethernet4"];
    assert_eq!(switch.bound(), bound);
    switch.session("twice", &S1.replace("Ethernet0", "PortChannel1,Ethernet8")).await;
    switch.settle().await;
    assert_eq!(switch.status("twice").await, None);
}

#[tokio::test]
async fn a_session_that_the_hardware_refuses_stays_inactive_and_what_it_has_bound_stays_bound() {
    let switch = Switch::start().await;
    switch.hardware(|hardware| hardware.refused_port = Some("Ethernet8".to_owned()));
    switch.session("alone", &S1.replace("Ethernet0", "Ethernet8")).await;
    switch.settle().await;
    assert_eq!(switch.status("alone").await.as_deref(), Some("inactive"));
    assert_eq!(switch.asic_db().await, [""; 0]);
    // As in fact S15, nothing is rolled back.
    switch.session("s1", &S1.replace("Ethernet0", "Ethernet0,Ethernet8")).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("inactive"));
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress>mirror of Ethernet4"]);
}

#[tokio::test]
async fn the_fault_sessions_refuses_one_more_without_a_row() {
    let switch = Switch::start().await;
    switch.fault(Fault::Sessions { room: 2, outcome: NoRoom::Refused }, None).await;
    switch.session("s1", S1).await;
    switch.session("s2", S2).await;
    switch.until_active("s1").await;
    switch.until_active("s2").await;
    switch.session("s3", &S1.replace("RX", "TX")).await;
    switch.delete("s1").await;
    switch.until("s1", None).await;
    switch.settle().await;
    assert_eq!(switch.status("s3").await, None);
    // There is room again, for who asks again.
    switch.delete("s3").await;
    switch.session("s3", &S1.replace("RX", "TX")).await;
    switch.until_active("s3").await;
}

#[tokio::test]
async fn the_fault_sessions_may_end_orchagent_with_everything_as_it_is_until_it_is_started_anew() {
    let switch = Switch::start().await;
    switch.fault(Fault::Sessions { room: 1, outcome: NoRoom::OrchagentEnds }, None).await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    switch.session("s2", S2).await;
    switch.until("s2", Some("inactive")).await;
    switch.delete("s1").await;
    let noticed = tokio::time::timeout(Duration::from_millis(300), switch.until("s1", None)).await;
    assert!(noticed.is_err(), "an orchagent that has ended does nothing");
    assert_eq!(switch.status("s2").await.as_deref(), Some("inactive"));
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress>mirror of Ethernet4"]);
    assert_eq!(switch.bound(), ["Ethernet0 rx s1>Ethernet4"]);
    switch.fault(Fault::Clear, None).await;
    switch.until_active("s2").await;
    assert_eq!(switch.status("s1").await, None);
    assert_eq!(switch.asic_db().await, ["Ethernet8 ingress>mirror of Ethernet12"]);
    assert_eq!(switch.bound(), ["Ethernet8 rx s2>Ethernet12"]);
}

#[tokio::test]
async fn the_fault_reject_leaves_no_row_until_it_is_cleared() {
    let switch = Switch::start().await;
    switch.fault(Fault::Reject, Some("s1")).await;
    switch.session("s1", S1).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await, None);
    switch.session("s2", S2).await;
    switch.until_active("s2").await;
    switch.fault(Fault::Clear, Some("s1")).await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
}

#[tokio::test]
async fn the_fault_inactive_leaves_a_row_and_no_binding() {
    let switch = Switch::start().await;
    switch.fault(Fault::Inactive, Some("s1")).await;
    switch.session("s1", S1).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("inactive"));
    assert_eq!(switch.bound(), [""; 0]);
    switch.delete("s1").await;
    switch.until("s1", None).await;
}

#[tokio::test]
async fn the_fault_lose_unbinds_live_sessions_at_once() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.session("s2", S2).await;
    switch.until_active("s1").await;
    switch.until_active("s2").await;
    switch.fault(Fault::Lose, Some("s1")).await;
    switch.until("s1", Some("inactive")).await;
    assert_eq!(switch.bound(), ["Ethernet8 rx s2>Ethernet12"]);
    switch.fault(Fault::Lose, None).await;
    switch.until("s2", Some("inactive")).await;
    assert_eq!(switch.bound(), [""; 0]);
    // It is a moment and not a state: a new session lives.
    switch.delete("s1").await;
    switch.until("s1", None).await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
}

#[tokio::test]
async fn the_fault_slow_does_everything_later_and_in_order() {
    let switch = Switch::start().await;
    let delay = Duration::from_millis(300);
    switch.fault(Fault::Slow(delay), Some("s1")).await;
    let written = Instant::now();
    switch.session("s1", S1).await;
    switch.session("s2", S2).await;
    switch.until_active("s2").await;
    assert!(switch.status("s1").await.is_none() || written.elapsed() >= delay);
    switch.until_active("s1").await;
    assert!(written.elapsed() >= delay, "{:?}", written.elapsed());
    let deleted = Instant::now();
    switch.delete("s1").await;
    switch.until("s1", None).await;
    assert!(deleted.elapsed() >= delay, "{:?}", deleted.elapsed());
}

#[tokio::test]
async fn what_a_slow_orchagent_has_put_off_is_done_at_once_when_the_fault_is_cleared() {
    let switch = Switch::start().await;
    switch.fault(Fault::Slow(Duration::from_secs(3600)), None).await;
    switch.session("s1", S1).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), switch.until_active("s1")).await.is_err());
    switch.fault(Fault::Clear, None).await;
    switch.until_active("s1").await;
}

#[tokio::test]
async fn the_fault_dead_of_one_session_leaves_the_others_alone() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    switch.fault(Fault::Dead, Some("s1")).await;
    switch.delete("s1").await;
    switch.session("s2", S2).await;
    switch.until_active("s2").await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    assert_eq!(switch.bound().len(), 2);
    switch.fault(Fault::Clear, Some("s1")).await;
    switch.until("s1", None).await;
    assert_eq!(switch.bound(), ["Ethernet8 rx s2>Ethernet12"]);
}

#[tokio::test]
async fn a_redis_that_restarts_takes_orchagent_along_and_the_sessions_come_back() {
    let mut switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    switch.redis.server.restart(true).unwrap();
    switch.state = switch.redis.connect("STATE_DB").await;
    switch.config = switch.redis.connect("CONFIG_DB").await;
    // Written while orchagent may be away: it takes up what is there.
    switch.session("after", "type=SPAN dst_port=Ethernet28").await;
    switch.until_active("after").await;
    switch.until_bound(&["Ethernet0 rx s1>Ethernet4"]).await;
    switch.until_active("s1").await;
    switch.redis.server.restart(false).unwrap();
    // The hardware is programmed anew, with nothing.
    switch.until_bound(&[]).await;
}

#[tokio::test]
async fn an_orchagent_that_loses_redis_comes_back_with_its_container_whose_start_forgets_the_sessions_of_before() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.session("s2", S2).await;
    switch.until_active("s1").await;
    switch.until_active("s2").await;
    // Nobody hears of the deletion: in one transaction with it, orchagent's subscriptions are ended.
    let mut lost = redis::pipe();
    lost.atomic().cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).ignore();
    lost.cmd("DEL").arg("MIRROR_SESSION|s1").ignore();
    let () = switch.config.run("test", &lost).await.unwrap();
    switch.until("s1", None).await;
    switch.until_bound(&["Ethernet8 rx s2>Ethernet12"]).await;
    switch.until_active("s2").await;
    switch.until_asic_db(&["Ethernet8 ingress>mirror of Ethernet12"]).await;
}

#[tokio::test]
async fn the_databases_hold_what_a_booted_switch_holds() {
    let switch = Switch::start().await;
    within("the configuration", wait_for_config_db(&switch.redis.config)).await.unwrap();
    let port = fields([
        ("admin_status", "up"),
        ("alias", "etp3"),
        ("index", "3"),
        ("lanes", "8,9,10,11"),
        ("mtu", "9100"),
        ("speed", "100000"),
    ]);
    assert_eq!(switch.config.hgetall("PORT|Ethernet8").await.unwrap(), port);
    assert_eq!(switch.config.keys("PORT").await.unwrap().len(), 8);
    assert_eq!(
        switch.config.hget("DEVICE_METADATA|localhost", "hwsku").await.unwrap().as_deref(),
        Some("Force10-S6000")
    );
    let pool = switch.config.rows("TELEGEN_MIRROR_PORT").await.unwrap();
    assert_eq!(pool.into_iter().collect::<Vec<_>>(), [("Ethernet28".to_owned(), fields([("netdev", "Ethernet28")]))]);
    assert_eq!(switch.appl.hget("PORT_TABLE:Ethernet8", "oper_status").await.unwrap().as_deref(), Some("up"));
    assert_eq!(switch.appl.hget("PORT_TABLE:PortConfigDone", "count").await.unwrap().as_deref(), Some("8"));
    assert_eq!(switch.state.hget("PORT_TABLE|Ethernet8", "state").await.unwrap().as_deref(), Some("ok"));
}

#[tokio::test]
async fn counters_are_found_through_the_map_of_port_names() {
    let switch = Switch::start().await;
    let counters = switch.redis.connect("COUNTERS_DB").await;
    let map = counters.hgetall("COUNTERS_PORT_NAME_MAP").await.unwrap();
    assert_eq!(map.len(), layout().ports.len());
    assert_eq!(map["Ethernet8"], "oid:0x1000000000003");
    let counted =
        PortCounters { in_ucast: 1, in_non_ucast: 2, out_ucast: 3, out_non_ucast: 4, in_octets: 5, out_octets: 6 };
    let written = [("Ethernet8".to_owned(), counted), ("Ethernet999".to_owned(), counted)];
    write_counters(&counters, &written).await.unwrap();
    let expected = fields([
        ("SAI_PORT_STAT_IF_IN_UCAST_PKTS", "1"),
        ("SAI_PORT_STAT_IF_IN_NON_UCAST_PKTS", "2"),
        ("SAI_PORT_STAT_IF_OUT_UCAST_PKTS", "3"),
        ("SAI_PORT_STAT_IF_OUT_NON_UCAST_PKTS", "4"),
        ("SAI_PORT_STAT_IF_IN_OCTETS", "5"),
        ("SAI_PORT_STAT_IF_OUT_OCTETS", "6"),
    ]);
    assert_eq!(counters.hgetall("COUNTERS:oid:0x1000000000003").await.unwrap(), expected);
    let untouched = counters.hget("COUNTERS:oid:0x1000000000001", "SAI_PORT_STAT_IF_IN_UCAST_PKTS").await.unwrap();
    assert_eq!(untouched.as_deref(), Some("0"));
    assert_eq!(counters.keys("COUNTERS").await.unwrap().len(), layout().ports.len());
}

#[tokio::test]
async fn an_erspan_session_is_bound_towards_its_neighbour_unless_nobody_is_known_there() {
    let switch = Switch::start().await;
    let neighbour = "HSET NEIGH_TABLE:Ethernet8:10.0.0.5 neigh 02:00:00:00:00:05 family IPv4";
    run_command(&switch.appl, neighbour).await;
    let row = "type=ERSPAN src_ip=10.0.0.1 dst_ip=10.0.0.5 src_port=Ethernet0 direction=RX";
    switch.session("e1", row).await;
    switch.until_active("e1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx e1>10.0.0.5@Ethernet8"]);
    switch.fault(Fault::Unresolved, Some("e1")).await;
    switch.until("e1", Some("inactive")).await;
    assert_eq!(switch.bound(), [""; 0]);
    // The neighbour is announced again: the fault stays in force, for this session.
    run_command(&switch.appl, neighbour).await;
    switch.session("e2", &row.replace("Ethernet0", "Ethernet4")).await;
    switch.until_active("e2").await;
    assert_eq!(switch.status("e1").await.as_deref(), Some("inactive"));
    switch.fault(Fault::Clear, None).await;
    switch.until_active("e1").await;
    assert_eq!(switch.bound(), ["Ethernet0 rx e1>10.0.0.5@Ethernet8", "Ethernet4 rx e2>10.0.0.5@Ethernet8"]);
}
