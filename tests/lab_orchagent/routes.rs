//! The way of ERSPAN sessions: routes, next hops and neighbours. Fact 20 of the second list.

use std::time::Duration;

use telegen_sonic::sonic::pubsub::Subscription;

use crate::redis_common::within;
use crate::switch::{Switch, next_events, run_command, until_is};

const E1: &str = "type=ERSPAN src_ip=10.0.0.1 dst_ip=10.0.5.1 src_port=Ethernet0 direction=RX";

async fn neighbour(switch: &Switch, interface: &str, address: &str, mac: &str) {
    run_command(&switch.appl, &format!("HSET NEIGH_TABLE:{interface}:{address} neigh {mac} family IPv4")).await;
}

async fn route(switch: &Switch, prefix: &str, next_hops: &str, interfaces: &str) {
    run_command(&switch.appl, &format!("HSET ROUTE_TABLE:{prefix} nexthop {next_hops} ifname {interfaces}")).await;
}

/// Waits until the way is this: the monitor port, the MAC address, the prefix, and the next hop.
async fn until_way(switch: &Switch, expected: [&str; 5]) {
    let names = ["status", "monitor_port", "dst_mac", "route_prefix", "next_hop_ip"];
    let way = async || {
        let row = switch.row("e1").await;
        names.map(|name| row.get(name).cloned().unwrap_or_default())
    };
    until_is("the way of e1", expected, way).await;
}

/// orchagent has done what was written to APPL_DB, as far as that can be seen from outside: a session that follows it has its way.
async fn settle_appl(switch: &Switch) {
    run_command(&switch.appl, "HSET NEIGH_TABLE:Ethernet28:10.9.9.9 neigh 02:00:00:00:00:99 family IPv4").await;
    switch.session("witness", "type=ERSPAN src_ip=10.0.0.1 dst_ip=10.9.9.9").await;
    switch.until_active("witness").await;
    run_command(&switch.appl, "DEL NEIGH_TABLE:Ethernet28:10.9.9.9").await;
    switch.until("witness", Some("inactive")).await;
    switch.delete("witness").await;
    switch.until("witness", None).await;
}

const MAC_1: &str = "02:00:00:00:00:01";
const MAC_2: &str = "02:00:00:00:00:02";

#[tokio::test]
async fn fact_s20_a_session_is_active_through_a_route_and_its_next_hop() {
    let switch = Switch::start().await;
    neighbour(&switch, "Ethernet8", "10.0.1.1", MAC_1).await;
    route(&switch, "10.0.5.0/24", "10.0.1.1", "Ethernet8").await;
    switch.session("e1", E1).await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.0/24", "10.0.1.1@Ethernet8"]).await;
    assert_eq!(switch.bound(), ["Ethernet0 rx e1>10.0.5.1@Ethernet8"]);
    // The neighbour goes, and is kept as long as a route has it as next hop.
    run_command(&switch.appl, "DEL NEIGH_TABLE:Ethernet8:10.0.1.1").await;
    settle_appl(&switch).await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.0/24", "10.0.1.1@Ethernet8"]).await;
    run_command(&switch.appl, "DEL ROUTE_TABLE:10.0.5.0/24").await;
    until_way(&switch, ["inactive", "Ethernet8", MAC_1, "0.0.0.0/0", "0.0.0.0@"]).await;
    assert_eq!(switch.bound(), [""; 0]);
    assert_eq!(switch.asic_db().await, [""; 0]);
    // The neighbour has gone with it: the route alone is not enough.
    route(&switch, "10.0.5.0/24", "10.0.1.1", "Ethernet8").await;
    until_way(&switch, ["inactive", "Ethernet8", MAC_1, "10.0.5.0/24", "10.0.1.1@Ethernet8"]).await;
    settle_appl(&switch).await;
    assert_eq!(switch.status("e1").await.as_deref(), Some("inactive"));
    neighbour(&switch, "Ethernet8", "10.0.1.1", MAC_2).await;
    until_way(&switch, ["active", "Ethernet8", MAC_2, "10.0.5.0/24", "10.0.1.1@Ethernet8"]).await;
}

#[tokio::test]
async fn fact_s20_of_several_next_hops_the_first_is_taken_and_the_session_moves_in_three_events() {
    let switch = Switch::start().await;
    neighbour(&switch, "Ethernet8", "10.0.1.1", MAC_1).await;
    neighbour(&switch, "Ethernet12", "10.0.1.3", MAC_1).await;
    route(&switch, "10.0.5.0/24", "10.0.1.3,10.0.1.1", "Ethernet12,Ethernet8").await;
    switch.session("e1", E1).await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.0/24", "10.0.1.1@Ethernet8"]).await;
    let mut events = switch.state_events().await;
    route(&switch, "10.0.5.0/24", "10.0.1.3", "Ethernet12").await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        assert_eq!(next_events(&mut events, 1).await, ["hset"]);
        statuses.push(switch.status("e1").await.unwrap());
    }
    assert_eq!(statuses, ["active"; 3]);
    until_way(&switch, ["active", "Ethernet12", MAC_1, "10.0.5.0/24", "10.0.1.3@Ethernet12"]).await;
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress>mirror of Ethernet12"]);
    assert_eq!(switch.bound(), ["Ethernet0 rx e1>10.0.5.1@Ethernet12"]);
    // Its next hop stays when the other comes back: only the prefix is said again.
    route(&switch, "10.0.5.0/24", "10.0.1.3,10.0.1.1", "Ethernet12,Ethernet8").await;
    assert_eq!(next_events(&mut events, 1).await, ["hset"]);
    settle_appl(&switch).await;
    until_way(&switch, ["active", "Ethernet12", MAC_1, "10.0.5.0/24", "10.0.1.3@Ethernet12"]).await;
}

#[tokio::test]
async fn fact_s20_a_directly_connected_destination_needs_no_route() {
    let switch = Switch::start().await;
    neighbour(&switch, "Ethernet8", "10.0.5.1", MAC_1).await;
    switch.session("e1", E1).await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "0.0.0.0/0", "0.0.0.0@"]).await;
    route(&switch, "10.0.5.0/31", "0.0.0.0", "Ethernet8").await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.0/31", "0.0.0.0@Ethernet8"]).await;
    route(&switch, "10.0.5.1/32", "10.0.5.1", "Ethernet8").await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.1/32", "10.0.5.1@Ethernet8"]).await;
    run_command(&switch.appl, "DEL ROUTE_TABLE:10.0.5.1/32").await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "10.0.5.0/31", "0.0.0.0@Ethernet8"]).await;
    run_command(&switch.appl, "DEL NEIGH_TABLE:Ethernet8:10.0.5.1").await;
    until_way(&switch, ["inactive", "Ethernet8", MAC_1, "10.0.5.0/31", "0.0.0.0@Ethernet8"]).await;
}

#[tokio::test]
async fn a_neighbour_behind_a_port_channel_is_reached_through_its_first_member() {
    let switch = Switch::start().await;
    switch.cli("HSET PORTCHANNEL|PortChannel1 admin_status up").await;
    neighbour(&switch, "PortChannel1", "10.0.5.1", MAC_1).await;
    switch.session("e1", E1).await;
    switch.settle().await;
    assert_eq!(switch.status("e1").await.as_deref(), Some("inactive"));
    switch.cli("HSET PORTCHANNEL_MEMBER|PortChannel1|Ethernet8 NULL NULL").await;
    until_way(&switch, ["active", "Ethernet8", MAC_1, "0.0.0.0/0", "0.0.0.0@"]).await;
    switch.cli("HSET PORTCHANNEL_MEMBER|PortChannel1|Ethernet12 NULL NULL").await;
    until_way(&switch, ["active", "Ethernet12", MAC_1, "0.0.0.0/0", "0.0.0.0@"]).await;
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress>mirror of Ethernet12"]);
    for member in ["Ethernet8", "Ethernet12"] {
        switch.cli(&format!("DEL PORTCHANNEL_MEMBER|PortChannel1|{member}")).await;
    }
    until_way(&switch, ["inactive", "Ethernet12", MAC_1, "0.0.0.0/0", "0.0.0.0@"]).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
}

async fn none_for(events: &mut Subscription, time: Duration) {
    let event = tokio::time::timeout(time, events.next()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test]
async fn fact_s20_a_neighbours_new_mac_is_followed_in_place() {
    let switch = Switch::start().await;
    neighbour(&switch, "Ethernet8", "10.0.5.1", MAC_1).await;
    switch.session("e1", E1).await;
    switch.until_active("e1").await;
    let object = switch.asic.keys("ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION").await.unwrap();
    let mut events = switch.state_events().await;
    neighbour(&switch, "Ethernet8", "10.0.5.1", MAC_2).await;
    assert_eq!(within("an event", next_events(&mut events, 1)).await, ["hset"]);
    until_way(&switch, ["active", "Ethernet8", MAC_2, "0.0.0.0/0", "0.0.0.0@"]).await;
    assert_eq!(switch.asic.keys("ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION").await.unwrap(), object);
    let key = format!("ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION:{}", object[0]);
    let mac = switch.asic.hget(&key, "SAI_MIRROR_SESSION_ATTR_DST_MAC_ADDRESS").await.unwrap();
    assert_eq!(mac.as_deref(), Some("02:00:00:00:00:02"));
    assert_eq!(switch.bound(), ["Ethernet0 rx e1>10.0.5.1@Ethernet8"]);
    none_for(&mut events, Duration::from_millis(50)).await;
}
