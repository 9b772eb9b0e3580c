//! Port channels and ports under a session: who is bound, what stays, and what frees it. Facts of the second list, by number.

use telegen_sonic::lab::orchagent::hardware::Fault;

use crate::switch::{Switch, until_is};

const ON_10: &str = "type=SPAN src_port=PortChannel10 dst_port=Ethernet4 direction=RX";

async fn channel(switch: &Switch, name: &str, members: &[&str]) {
    switch.cli(&format!("HSET PORTCHANNEL|{name} admin_status up")).await;
    for member in members {
        switch.cli(&format!("HSET PORTCHANNEL_MEMBER|{name}|{member} NULL NULL")).await;
    }
}

/// PortChannel10 has Ethernet8 and a session, and Ethernet16 has joined PortChannel1.
async fn with_a_stranger() -> Switch {
    let switch = Switch::start().await;
    channel(&switch, "PortChannel10", &["Ethernet8"]).await;
    channel(&switch, "PortChannel1", &["Ethernet12"]).await;
    switch.session("s1", ON_10).await;
    switch.until_active("s1").await;
    assert_eq!(switch.bound(), ["Ethernet8 rx s1>Ethernet4"]);
    channel(&switch, "PortChannel1", &["Ethernet16"]).await;
    switch.until_bound(&["Ethernet16 rx s1>Ethernet4", "Ethernet8 rx s1>Ethernet4"]).await;
    switch
}

#[tokio::test]
async fn fact_s17_members_that_join_and_leave_are_bound_and_unbound() {
    let switch = Switch::start().await;
    channel(&switch, "PortChannel10", &["Ethernet8"]).await;
    switch.session("s1", &ON_10.replace("RX", "BOTH")).await;
    switch.until_active("s1").await;
    channel(&switch, "PortChannel10", &["Ethernet12"]).await;
    let four = [
        "Ethernet12 rx s1>Ethernet4",
        "Ethernet12 tx s1>Ethernet4",
        "Ethernet8 rx s1>Ethernet4",
        "Ethernet8 tx s1>Ethernet4",
    ];
    switch.until_bound(&four).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await.len(), 4);
    switch.cli("DEL PORTCHANNEL_MEMBER|PortChannel10|Ethernet8").await;
    switch.until_bound(&four[..2]).await;
    switch.delete("s1").await;
    switch.until("s1", None).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
}

#[tokio::test]
async fn fact_s17_a_member_of_portchannel1_is_bound_to_a_session_on_portchannel10_and_the_session_cannot_be_deleted() {
    let switch = with_a_stranger().await;
    for _ in 0..3 {
        switch.delete("s1").await;
        switch.settle().await;
        assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
        assert_eq!(switch.bound(), ["Ethernet16 rx s1>Ethernet4"]);
        assert_eq!(switch.asic_db().await, ["Ethernet16 ingress>mirror of Ethernet4"]);
        switch.session("s1", ON_10).await;
        switch.settle().await;
    }
}

#[tokio::test]
async fn fact_s17_a_session_on_that_port_that_comes_and_goes_frees_it() {
    let switch = with_a_stranger().await;
    switch.delete("s1").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    switch.session("cure", "type=SPAN src_port=Ethernet16 dst_port=Ethernet4 direction=RX").await;
    switch.until_active("cure").await;
    switch.delete("cure").await;
    switch.until("cure", None).await;
    assert_eq!(switch.bound(), [""; 0]);
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    // orchagent only acts on a row that it sees go.
    switch.session("s1", ON_10).await;
    switch.delete("s1").await;
    switch.until("s1", None).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
}

#[tokio::test]
async fn fact_s17_a_source_in_the_other_direction_frees_nothing() {
    let switch = with_a_stranger().await;
    switch.delete("s1").await;
    switch.session("other", "type=SPAN src_port=Ethernet16 dst_port=Ethernet4 direction=TX").await;
    switch.until_active("other").await;
    switch.delete("other").await;
    switch.until("other", None).await;
    assert_eq!(switch.bound(), ["Ethernet16 rx s1>Ethernet4"]);
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
}

#[tokio::test]
async fn fact_s16_a_stuck_session_goes_on_being_active_until_swss_restarts() {
    let switch = with_a_stranger().await;
    switch.delete("s1").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    switch.fault(Fault::Restart, None).await;
    switch.until("s1", None).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
    assert_eq!(switch.bound(), [""; 0]);
}

#[tokio::test]
async fn fact_s18_a_session_whose_port_channel_is_gone_cannot_be_deleted_until_one_of_that_name_exists() {
    let switch = Switch::start().await;
    channel(&switch, "PortChannel10", &["Ethernet8"]).await;
    switch.session("s1", ON_10).await;
    switch.until_active("s1").await;
    switch.cli("DEL PORTCHANNEL_MEMBER|PortChannel10|Ethernet8").await;
    switch.cli("DEL PORTCHANNEL|PortChannel10").await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, ["unused mirror of Ethernet4"]);
    switch.delete("s1").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    switch.session("s1", ON_10).await;
    switch.delete("s1").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    // An empty one will do.
    channel(&switch, "PortChannel10", &[]).await;
    switch.session("s1", ON_10).await;
    switch.delete("s1").await;
    switch.until("s1", None).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
}

async fn port_is_kept(switch: &Switch, oid: &str) -> bool {
    !switch.asic.hgetall(&format!("ASIC_STATE:SAI_OBJECT_TYPE_PORT:{oid}")).await.unwrap().is_empty()
}

const ETHERNET0: &str = "oid:0x1000000000001";

#[tokio::test]
async fn fact_s18_a_port_without_a_session_can_be_removed() {
    let switch = Switch::start().await;
    switch.settle().await;
    assert!(port_is_kept(&switch, ETHERNET0).await);
    switch.cli("DEL PORT|Ethernet0").await;
    switch.settle().await;
    assert!(!port_is_kept(&switch, ETHERNET0).await);
    assert_eq!(switch.counters.hget("COUNTERS_PORT_NAME_MAP", "Ethernet0").await.unwrap(), None);
    assert!(switch.appl.hgetall("PORT_TABLE:Ethernet0").await.unwrap().is_empty());
    switch.session("s1", "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX").await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await, None);
    // It comes back as another object.
    switch.cli("HSET PORT|Ethernet0 admin_status up lanes 0,1,2,3").await;
    switch.settle().await;
    let oid = switch.counters.hget("COUNTERS_PORT_NAME_MAP", "Ethernet0").await.unwrap().unwrap();
    assert_ne!(oid, ETHERNET0);
    assert!(port_is_kept(&switch, &oid).await);
}

#[tokio::test]
async fn fact_s18_a_port_under_a_session_is_held_even_when_the_session_is_gone() {
    let switch = Switch::start().await;
    switch.session("s1", "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX").await;
    switch.until_active("s1").await;
    switch.cli("DEL PORT|Ethernet0").await;
    switch.settle().await;
    assert!(port_is_kept(&switch, ETHERNET0).await);
    assert_eq!(switch.counters.hget("COUNTERS_PORT_NAME_MAP", "Ethernet0").await.unwrap(), None);
    assert_eq!(switch.status("s1").await.as_deref(), Some("active"));
    switch.delete("s1").await;
    switch.until("s1", None).await;
    assert_eq!(switch.asic_db().await, [""; 0]);
    assert!(port_is_kept(&switch, ETHERNET0).await);
    switch.hardware(|hardware| assert_eq!(hardware.removed_netdevs, ["Ethernet0"]));
    switch.fault(Fault::Restart, None).await;
    until_is("Ethernet0's object", false, async || port_is_kept(&switch, ETHERNET0).await).await;
}
