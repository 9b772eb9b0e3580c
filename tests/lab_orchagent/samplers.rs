//! Who has a port's sampler: sFlow, or a sampled mirror. Facts of the second list, by number.

use crate::switch::{Switch, run_command};

const S1: &str = "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX";

/// sFlow samples a port as the row says.
async fn sflow(switch: &Switch, port: &str, row: &str) {
    run_command(&switch.appl, "HSET SFLOW_TABLE:global admin_state up").await;
    let row = row.replace('=', " ");
    run_command(&switch.appl, &format!("HSET SFLOW_SESSION_TABLE:{port} {row}")).await;
}

async fn no_sflow(switch: &Switch, port: &str) {
    run_command(&switch.appl, &format!("DEL SFLOW_SESSION_TABLE:{port}")).await;
}

#[tokio::test]
async fn fact_s4_ports_of_one_rate_share_a_sampler_that_goes_with_the_last() {
    let switch = Switch::start().await;
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=4000 sample_direction=both").await;
    sflow(&switch, "Ethernet8", "admin_state=up sample_rate=4000").await;
    let both = [
        "Ethernet0 egress sampler>sflow 1/4000",
        "Ethernet0 ingress sampler>sflow 1/4000",
        "Ethernet8 ingress sampler>sflow 1/4000",
    ];
    switch.until_asic_db(&both).await;
    assert_eq!(switch.asic.keys("ASIC_STATE:SAI_OBJECT_TYPE_SAMPLEPACKET").await.unwrap().len(), 1);
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=1000 sample_direction=tx").await;
    switch.until_asic_db(&["Ethernet0 egress sampler>sflow 1/1000", "Ethernet8 ingress sampler>sflow 1/4000"]).await;
    no_sflow(&switch, "Ethernet0").await;
    no_sflow(&switch, "Ethernet8").await;
    switch.until_asic_db(&[]).await;
}

#[tokio::test]
async fn fact_s3_sflow_of_a_port_waits_until_sflow_is_enabled() {
    let switch = Switch::start().await;
    run_command(&switch.appl, "HSET SFLOW_SESSION_TABLE:Ethernet0 admin_state up sample_rate 4000").await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, [""; 0]);
    run_command(&switch.appl, "HSET SFLOW_TABLE:global admin_state up").await;
    switch.until_asic_db(&["Ethernet0 ingress sampler>sflow 1/4000"]).await;
    // Fact 7: it unbinds nothing when it goes down.
    run_command(&switch.appl, "HSET SFLOW_TABLE:global admin_state down").await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress sampler>sflow 1/4000"]);
}

#[tokio::test]
async fn fact_s12_sflow_in_one_direction_leaves_the_other_and_plain_mirrors_alone() {
    let switch = Switch::start().await;
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=4000 sample_direction=rx").await;
    switch.until_asic_db(&["Ethernet0 ingress sampler>sflow 1/4000"]).await;
    switch.session("plain", S1).await;
    switch.session("sampled", &format!("{} sample_rate=256", S1.replace("RX", "TX"))).await;
    switch.until_active("plain").await;
    switch.until_active("sampled").await;
    let all = [
        "Ethernet0 egress sample>mirror of Ethernet4",
        "Ethernet0 egress sampler>mirror 1/256",
        "Ethernet0 ingress sampler>sflow 1/4000",
        "Ethernet0 ingress>mirror of Ethernet4",
    ];
    assert_eq!(switch.asic_db().await, all);
}

#[tokio::test]
async fn fact_s13_a_sampled_session_finds_sflow_there_and_stays_inactive_for_ever() {
    let switch = Switch::start().await;
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=4000 sample_direction=rx").await;
    switch.until_asic_db(&["Ethernet0 ingress sampler>sflow 1/4000"]).await;
    switch.session("s1", &format!("{S1} sample_rate=256")).await;
    switch.until("s1", Some("inactive")).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, ["Ethernet0 ingress sampler>sflow 1/4000"]);
    no_sflow(&switch, "Ethernet0").await;
    switch.until_asic_db(&[]).await;
    switch.settle().await;
    assert_eq!(switch.status("s1").await.as_deref(), Some("inactive"));
    switch.delete("s1").await;
    switch.until("s1", None).await;
}

#[tokio::test]
async fn fact_s14_sflow_finds_a_sampled_session_there_and_binds_once_it_is_gone() {
    let switch = Switch::start().await;
    switch.session("s1", &format!("{S1} sample_rate=256")).await;
    switch.until_active("s1").await;
    let mirrored = ["Ethernet0 ingress sample>mirror of Ethernet4", "Ethernet0 ingress sampler>mirror 1/256"];
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=777 sample_direction=rx").await;
    let refused = [&mirrored[..], &["unused sflow 1/777"]].concat();
    switch.until_asic_db(&refused).await;
    switch.delete("s1").await;
    switch.until_asic_db(&["Ethernet0 ingress sampler>sflow 1/777"]).await;
}

#[tokio::test]
async fn fact_s14_a_refused_sflow_that_is_deleted_leaves_its_sampler_for_good() {
    let switch = Switch::start().await;
    switch.session("s1", &format!("{S1} sample_rate=256")).await;
    switch.until_active("s1").await;
    sflow(&switch, "Ethernet0", "admin_state=up sample_rate=777 sample_direction=rx").await;
    let mirrored = ["Ethernet0 ingress sample>mirror of Ethernet4", "Ethernet0 ingress sampler>mirror 1/256"];
    switch.until_asic_db(&[&mirrored[..], &["unused sflow 1/777"]].concat()).await;
    no_sflow(&switch, "Ethernet0").await;
    switch.delete("s1").await;
    switch.until("s1", None).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, ["unused sflow 1/777"]);
}

#[tokio::test]
async fn fact_s15_a_sampled_session_over_two_ports_stays_half_bound_when_sflow_has_one() {
    let switch = Switch::start().await;
    sflow(&switch, "Ethernet8", "admin_state=up sample_rate=4000 sample_direction=rx").await;
    switch.until_asic_db(&["Ethernet8 ingress sampler>sflow 1/4000"]).await;
    switch
        .session("s1", "type=SPAN src_port=Ethernet4,Ethernet8 dst_port=Ethernet12 direction=RX sample_rate=1000")
        .await;
    switch.until("s1", Some("inactive")).await;
    let half = [
        "Ethernet4 ingress sample>mirror of Ethernet12",
        "Ethernet4 ingress sampler>mirror 1/1000",
        "Ethernet8 ingress sampler>sflow 1/4000",
    ];
    switch.until_asic_db(&half).await;
    assert_eq!(switch.bound(), ["Ethernet4 sampled-rx s1>Ethernet12"]);
    // The deletion takes the row, and nothing else.
    switch.delete("s1").await;
    switch.until("s1", None).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, half);
    assert_eq!(switch.bound(), ["Ethernet4 sampled-rx s1>Ethernet12"]);
    // Neither a sampled session nor sFlow can have the port any more.
    switch.session("later", "type=SPAN src_port=Ethernet4 dst_port=Ethernet12 direction=RX sample_rate=1000").await;
    switch.settle().await;
    assert_eq!(switch.status("later").await.as_deref(), Some("inactive"));
    sflow(&switch, "Ethernet4", "admin_state=up sample_rate=777").await;
    switch.until_asic_db(&[&half[..], &["unused sflow 1/777"]].concat()).await;
    // Plain mirrors can.
    switch.session("plain", "type=SPAN src_port=Ethernet4 dst_port=Ethernet12 direction=RX").await;
    switch.until_active("plain").await;
    switch.delete("plain").await;
    switch.until("plain", None).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, [&half[..], &["unused sflow 1/777"]].concat());
    // A restart of swss frees it.
    switch.delete("later").await;
    switch.until("later", None).await;
    switch.fault(telegen_sonic::lab::orchagent::hardware::Fault::Restart, None).await;
    switch.until_asic_db(&["Ethernet4 ingress sampler>sflow 1/777", "Ethernet8 ingress sampler>sflow 1/4000"]).await;
    assert_eq!(switch.bound(), [""; 0]);
}
