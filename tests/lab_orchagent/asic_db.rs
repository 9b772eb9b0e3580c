//! ASIC_DB, as sairedis writes it: tables, keys, fields and values to the letter.

use telegen_sonic::sonic::Fields;

use crate::redis_common::fields;
use crate::switch::{Switch, run_command, until_is};

const S1: &str = "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX";
const PORT: &str = "ASIC_STATE:SAI_OBJECT_TYPE_PORT";
const MIRROR: &str = "ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION";
const SAMPLER: &str = "ASIC_STATE:SAI_OBJECT_TYPE_SAMPLEPACKET";

async fn port(switch: &Switch, name: &str) -> Fields {
    let oid = switch.counters.hget("COUNTERS_PORT_NAME_MAP", name).await.unwrap().unwrap();
    let mut row = switch.asic.hgetall(&format!("{PORT}:{oid}")).await.unwrap();
    assert_eq!(row.remove("SAI_PORT_ATTR_ADMIN_STATE").as_deref(), Some("true"), "{name}");
    row
}

async fn only(switch: &Switch, table: &str) -> (String, Fields) {
    let rows = switch.asic.rows(table).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_span_session_is_an_object_and_an_attribute_of_its_port() {
    let switch = Switch::start().await;
    switch.settle().await;
    assert_eq!(switch.asic.keys(PORT).await.unwrap().len(), 8);
    assert_eq!(port(&switch, "Ethernet0").await, Fields::new());
    switch.session("s1", &S1.replace("RX", "BOTH")).await;
    switch.until_active("s1").await;
    let (oid, mirror) = only(&switch, MIRROR).await;
    let expected = fields([
        ("SAI_MIRROR_SESSION_ATTR_MONITOR_PORT", "oid:0x1000000000002"),
        ("SAI_MIRROR_SESSION_ATTR_TYPE", "SAI_MIRROR_SESSION_TYPE_LOCAL"),
    ]);
    assert_eq!(mirror, expected);
    assert!(oid.starts_with("oid:0xe00000000"), "{oid}");
    let list = format!("1:{oid}");
    let bound = fields([
        ("SAI_PORT_ATTR_INGRESS_MIRROR_SESSION", list.as_str()),
        ("SAI_PORT_ATTR_EGRESS_MIRROR_SESSION", list.as_str()),
    ]);
    assert_eq!(port(&switch, "Ethernet0").await, bound);
    switch.delete("s1").await;
    switch.until("s1", None).await;
    let unbound =
        fields([("SAI_PORT_ATTR_INGRESS_MIRROR_SESSION", "0:null"), ("SAI_PORT_ATTR_EGRESS_MIRROR_SESSION", "0:null")]);
    assert_eq!(port(&switch, "Ethernet0").await, unbound);
    assert_eq!(switch.asic.keys(MIRROR).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_sampled_session_has_a_sampler_too() {
    let switch = Switch::start().await;
    switch.session("s1", &format!("{S1} sample_rate=256 truncate_size=128")).await;
    switch.until_active("s1").await;
    let (mirror, _) = only(&switch, MIRROR).await;
    let (sampler, row) = only(&switch, SAMPLER).await;
    let expected = fields([
        ("SAI_SAMPLEPACKET_ATTR_SAMPLE_RATE", "256"),
        ("SAI_SAMPLEPACKET_ATTR_TYPE", "SAI_SAMPLEPACKET_TYPE_MIRROR_SESSION"),
        ("SAI_SAMPLEPACKET_ATTR_TRUNCATE_ENABLE", "true"),
        ("SAI_SAMPLEPACKET_ATTR_TRUNCATE_SIZE", "128"),
    ]);
    assert_eq!(row, expected);
    let list = format!("1:{mirror}");
    let bound = fields([
        ("SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE", sampler.as_str()),
        ("SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION", list.as_str()),
    ]);
    assert_eq!(port(&switch, "Ethernet0").await, bound);
    switch.delete("s1").await;
    switch.until("s1", None).await;
    let unbound = fields([
        ("SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE", "oid:0x0"),
        ("SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION", "0:null"),
    ]);
    assert_eq!(port(&switch, "Ethernet0").await, unbound);
    assert_eq!(switch.asic_db().await, [""; 0]);
}

#[tokio::test]
async fn an_erspan_session_is_an_object_with_its_addresses() {
    let switch = Switch::start().await;
    run_command(&switch.appl, "HSET NEIGH_TABLE:Ethernet8:fc00::5 neigh 02:00:00:00:00:5a family IPv6").await;
    let row = "type=ERSPAN src_ip=fc00::1 dst_ip=fc00::5 gre_type=0x8949 dscp=8 ttl=64 src_port=Ethernet0 direction=TX";
    switch.session("e1", row).await;
    switch.until_active("e1").await;
    let expected = fields([
        ("SAI_MIRROR_SESSION_ATTR_TYPE", "SAI_MIRROR_SESSION_TYPE_ENHANCED_REMOTE"),
        ("SAI_MIRROR_SESSION_ATTR_MONITOR_PORT", "oid:0x1000000000003"),
        ("SAI_MIRROR_SESSION_ATTR_SRC_IP_ADDRESS", "fc00::1"),
        ("SAI_MIRROR_SESSION_ATTR_DST_IP_ADDRESS", "fc00::5"),
        ("SAI_MIRROR_SESSION_ATTR_TOS", "32"),
        ("SAI_MIRROR_SESSION_ATTR_TTL", "64"),
        ("SAI_MIRROR_SESSION_ATTR_GRE_PROTOCOL_TYPE", "35145"),
        ("SAI_MIRROR_SESSION_ATTR_SRC_MAC_ADDRESS", "02:54:45:4C:00:01"),
        ("SAI_MIRROR_SESSION_ATTR_DST_MAC_ADDRESS", "02:00:00:00:00:5A"),
        ("SAI_MIRROR_SESSION_ATTR_IPHDR_VERSION", "6"),
        ("SAI_MIRROR_SESSION_ATTR_ERSPAN_ENCAPSULATION_TYPE", "SAI_ERSPAN_ENCAPSULATION_TYPE_MIRROR_L3_GRE_TUNNEL"),
    ]);
    assert_eq!(only(&switch, MIRROR).await.1, expected);
    assert_eq!(switch.asic_db().await, ["Ethernet0 egress>mirror of Ethernet8"]);
}

#[tokio::test]
async fn a_restarted_orchagent_and_a_restarted_redis_begin_with_the_ports_alone() {
    let switch = Switch::start().await;
    switch.session("s1", S1).await;
    switch.until_active("s1").await;
    let redis = switch.kill_orchagent().await;
    let config = redis.connect("CONFIG_DB").await;
    run_command(&config, "DEL MIRROR_SESSION|s1").await;
    let mut switch = Switch::on(redis).await;
    switch.settle().await;
    assert_eq!(switch.asic_db().await, [""; 0]);
    assert_eq!(port(&switch, "Ethernet0").await, Fields::new());
    switch.session("s2", S1).await;
    switch.until_active("s2").await;
    switch.redis.server.restart(true).unwrap();
    switch.asic = switch.redis.connect("ASIC_DB").await;
    switch.counters = switch.redis.connect("COUNTERS_DB").await;
    until_is("ports in ASIC_DB", 8, async || switch.asic.keys(PORT).await.unwrap().len()).await;
    switch.until_asic_db(&["Ethernet0 ingress>mirror of Ethernet4"]).await;
}
