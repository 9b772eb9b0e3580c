//! Fills the databases as a SONiC switch that has booted fills them, and keeps the port counters.
//!
//! Sources: sonic-swss `portsorch.cpp` and `portsyncd` (PORT_TABLE, COUNTERS), `switchorch.cpp` (SWITCH_CAPABILITY), sonic-buildimage
//! `init_cfg.json.j2` and `database_config.json.j2`. What the daemon under test never reads is left out.

use std::net::IpAddr;
use std::path::Path;

use redis::Pipeline;
use serde_json::json;

use super::layout::SWITCH_MAC;
use super::orchagent::objects::{ObjectKind, Oid};
use crate::model::schema::{appl_db, config_db, counters_db, state_db};
use crate::sonic::connection::Write;
use crate::sonic::ready::INITIALIZED_KEY;
use crate::sonic::{DatabaseConfig, Error, Fields, RedisConnection, connect};

/// APPL_DB `PORT_TABLE` key that portsyncd writes once the kernel has all ports: orchagent waits for it.
pub const PORT_INIT_DONE: &str = "PortInitDone";
/// APPL_DB `PORT_TABLE` key that says how many ports there will be.
pub const PORT_CONFIG_DONE: &str = "PortConfigDone";
/// STATE_DB `SWITCH_CAPABILITY` fields, all `true` on the virtual switch (fact M11).
pub const CAPABILITIES: [&str; 7] = [
    "PORT_INGRESS_MIRROR_CAPABLE",
    "PORT_EGRESS_MIRROR_CAPABLE",
    "PORT_INGRESS_SAMPLE_MIRROR_CAPABLE",
    "PORT_EGRESS_SAMPLE_MIRROR_CAPABLE",
    "SAMPLEPACKET_TRUNCATION_CAPABLE",
    "MIRROR",
    "MIRRORV6",
];
/// APPL_DB table of resolved neighbours, `NEIGH_TABLE:<interface>:<address>`.
pub const NEIGHBOUR: &str = "NEIGH_TABLE";
/// APPL_DB table of routes, `ROUTE_TABLE:<prefix>`.
pub const ROUTE: &str = "ROUTE_TABLE";
/// APPL_DB table with sFlow's one row, `global`.
pub const SFLOW: &str = "SFLOW_TABLE";
/// `COUNTERS` fields that the schema does not name, because only the lab writes them.
const IN_OCTETS: &str = "SAI_PORT_STAT_IF_IN_OCTETS";
const OUT_OCTETS: &str = "SAI_PORT_STAT_IF_OUT_OCTETS";
const LANES_PER_PORT: usize = 4;

/// The ports of the virtual switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchLayout {
    /// Front-panel ports, in order.
    pub ports: Vec<String>,
    /// The pool of SPAN destinations: port, and the netdev on which its copies come back.
    pub pool: Vec<(String, String)>,
    /// Where ERSPAN copies can go; nowhere if absent.
    pub collector: Option<Collector>,
}

/// Who receives ERSPAN copies: the switch itself, through a netdev that only they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// The netdev on which they arrive, and the interface by which the switch knows its neighbours.
    pub netdev: String,
    /// The neighbours, one of each IP version; `erspan_dst_ip` is the first.
    pub addresses: [IpAddr; 2],
    /// Their MAC address.
    pub mac: String,
    /// `erspan_src_ip`: one for each job that the daemon runs at once.
    pub sources: Vec<IpAddr>,
}

/// What a port has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Unicast frames received.
    pub in_ucast: u64,
    /// Multicast and broadcast frames received.
    pub in_non_ucast: u64,
    /// Unicast frames sent.
    pub out_ucast: u64,
    /// Multicast and broadcast frames sent.
    pub out_non_ucast: u64,
    /// Bytes received.
    pub in_octets: u64,
    /// Bytes sent.
    pub out_octets: u64,
}

/// SONiC's `database_config.json` for one server on a unix socket and on 127.0.0.1:6379.
#[must_use]
pub fn database_config_json(unix_socket: &Path) -> String {
    const DATABASES: [(&str, u32, &str); 18] = [
        ("APPL_DB", 0, ":"),
        ("ASIC_DB", 1, ":"),
        ("COUNTERS_DB", 2, ":"),
        ("LOGLEVEL_DB", 3, ":"),
        ("CONFIG_DB", 4, "|"),
        ("PFC_WD_DB", 5, ":"),
        ("FLEX_COUNTER_DB", 5, ":"),
        ("STATE_DB", 6, "|"),
        ("SNMP_OVERLAY_DB", 7, "|"),
        ("RESTAPI_DB", 8, "|"),
        ("GB_ASIC_DB", 9, ":"),
        ("GB_COUNTERS_DB", 10, ":"),
        ("GB_FLEX_COUNTER_DB", 11, ":"),
        ("CHASSIS_APP_DB", 12, "|"),
        ("CHASSIS_STATE_DB", 13, "|"),
        ("APPL_STATE_DB", 14, ":"),
        ("EVENT_DB", 19, "|"),
        ("BMP_STATE_DB", 20, "|"),
    ];
    let databases: serde_json::Map<String, serde_json::Value> = DATABASES
        .iter()
        .map(|(name, id, separator)| {
            ((*name).to_owned(), json!({"id": id, "separator": separator, "instance": "redis"}))
        })
        .collect();
    let instance = json!({
        "hostname": "127.0.0.1", "port": 6379, "unix_socket_path": unix_socket, "persistence_for_warm_boot": "yes",
    });
    format!("{:#}\n", json!({"INSTANCES": {"redis": instance}, "DATABASES": databases, "VERSION": "1.0"}))
}

/// Writes everything that a booted switch with these ports would hold; `CONFIG_DB_INITIALIZED` last.
///
/// # Errors
/// Redis is away, or the configuration lacks one of the five databases.
pub async fn fill(config: &DatabaseConfig, layout: &SwitchLayout) -> Result<(), Error> {
    fill_state_db(&connect(config, "STATE_DB").await?, layout).await?;
    fill_counters_db(&connect(config, "COUNTERS_DB").await?, layout).await?;
    let config_db = connect(config, "CONFIG_DB").await?;
    fill_config_db(&config_db, layout).await?;
    fill_appl_db(&connect(config, "APPL_DB").await?, layout).await?;
    config_db.set(INITIALIZED_KEY, "1").await
}

/// Writes the counters of these ports, in one pipeline. Ports that `COUNTERS_PORT_NAME_MAP` does not name are left out.
///
/// # Errors
/// Redis is away.
pub async fn write_counters(counters_db: &RedisConnection, counters: &[(String, PortCounters)]) -> Result<(), Error> {
    let oids = counters_db.hgetall(counters_db::PORT_NAME_MAP).await?;
    let mut pipeline = Pipeline::with_capacity(counters.len());
    for (port, counted) in counters {
        let Some(oid) = oids.get(port) else { continue };
        let hset = pipeline.cmd("HSET").arg(counters_db.database().key(counters_db::COUNTERS, oid));
        for (field, value) in counter_fields(counted) {
            hset.arg(field).arg(value);
        }
        hset.ignore();
    }
    if pipeline.is_empty() {
        return Ok(());
    }
    counters_db.run("HSET", &pipeline).await
}

/// What orchagent and portsyncd write about a port that comes while they run.
///
/// # Errors
/// Redis is away.
pub async fn name_port(
    counters_db: &RedisConnection,
    appl_db: &RedisConnection,
    state_db: &RedisConnection,
    port: &str,
    oid: Oid,
) -> Result<(), Error> {
    let live = row([("admin_status", "up"), ("mtu", "9100"), ("oper_status", "up"), ("speed", "100000")]);
    appl_db.hset_whole(&appl_db.database().key(appl_db::PORT, port), &live).await?;
    state_db.hset_whole(&state_db.database().key(appl_db::PORT, port), &row([("state", "ok")])).await?;
    counters_db.hset_whole(counters_db::PORT_NAME_MAP, &row([(port, &oid.to_string())])).await
}

/// What they take away when a port's row goes, whether or not its object does.
///
/// # Errors
/// Redis is away.
pub async fn unname_port(
    counters_db: &RedisConnection,
    appl_db: &RedisConnection,
    state_db: &RedisConnection,
    port: &str,
) -> Result<(), Error> {
    if let Some(oid) = counters_db.hget(counters_db::PORT_NAME_MAP, port).await? {
        counters_db.query::<()>("HDEL", redis::cmd("HDEL").arg(counters_db::PORT_NAME_MAP).arg(port)).await?;
        counters_db.del(&counters_db.database().key(counters_db::COUNTERS, &oid)).await?;
    }
    appl_db.del(&appl_db.database().key(appl_db::PORT, port)).await?;
    state_db.del(&state_db.database().key(appl_db::PORT, port)).await.map(drop)
}

fn counter_fields(counters: &PortCounters) -> [(&'static str, u64); 6] {
    [
        (counters_db::IN_UCAST, counters.in_ucast),
        (counters_db::IN_NON_UCAST, counters.in_non_ucast),
        (counters_db::OUT_UCAST, counters.out_ucast),
        (counters_db::OUT_NON_UCAST, counters.out_non_ucast),
        (IN_OCTETS, counters.in_octets),
        (OUT_OCTETS, counters.out_octets),
    ]
}

fn row<const N: usize>(fields: [(&str, &str); N]) -> Fields {
    fields.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
}

/// `02:00:00:00:00:05`
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn lanes(index: usize) -> String {
    let first = index * LANES_PER_PORT;
    crate::row::join_list((first..first + LANES_PER_PORT).map(|lane| lane.to_string()))
}

async fn fill_config_db(config_db: &RedisConnection, layout: &SwitchLayout) -> Result<(), Error> {
    let key = |table: &str, key: &str| config_db.database().key(table, key);
    let metadata = row([
        ("bgp_asn", "65100"),
        ("hostname", "telegen-lab"),
        ("hwsku", "Force10-S6000"),
        ("mac", &mac_text(SWITCH_MAC)),
        ("platform", "x86_64-kvm_x86_64-r0"),
        ("type", "LeafRouter"),
    ]);
    let mut writes = vec![Write::Replace { key: key(config_db::DEVICE_METADATA, "localhost"), fields: metadata }];
    for (index, port) in layout.ports.iter().enumerate() {
        let fields = row([
            ("admin_status", "up"),
            ("alias", &format!("etp{}", index + 1)),
            ("index", &(index + 1).to_string()),
            ("lanes", &lanes(index)),
            ("mtu", "9100"),
            ("speed", "100000"),
        ]);
        writes.push(Write::Replace { key: key(config_db::PORT, port), fields });
    }
    for (port, netdev) in &layout.pool {
        let fields = row([(config_db::MIRROR_PORT_NETDEV, netdev.as_str())]);
        writes.push(Write::Replace { key: key(config_db::MIRROR_PORT, port), fields });
    }
    if let Some(collector) = &layout.collector {
        let sources = crate::row::join_list(collector.sources.iter().map(ToString::to_string));
        let fields = row([
            ("erspan_src_ip@", &sources),
            ("erspan_dst_ip", &collector.addresses[0].to_string()),
            ("erspan_netdev", &collector.netdev),
        ]);
        writes.push(Write::Replace { key: key(config_db::SETTINGS, config_db::SETTINGS_KEY), fields });
    }
    config_db.write_in_chunks(&writes).await
}

async fn fill_appl_db(appl_db: &RedisConnection, layout: &SwitchLayout) -> Result<(), Error> {
    let key = |key: &str| appl_db.database().key(appl_db::PORT, key);
    let count = layout.ports.len().to_string();
    let mut writes = vec![Write::Replace { key: key(PORT_CONFIG_DONE), fields: row([("count", &count)]) }];
    for (index, port) in layout.ports.iter().enumerate() {
        let fields = row([
            ("admin_status", "up"),
            ("alias", &format!("etp{}", index + 1)),
            ("flap_count", "1"),
            ("index", &(index + 1).to_string()),
            ("lanes", &lanes(index)),
            ("mtu", "9100"),
            ("oper_status", "up"),
            ("speed", "100000"),
        ]);
        writes.push(Write::Replace { key: key(port), fields });
    }
    if let Some(collector) = &layout.collector {
        for address in collector.addresses {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let fields = row([("neigh", &collector.mac), ("family", family)]);
            let key = appl_db.database().key(NEIGHBOUR, &format!("{}:{address}", collector.netdev));
            writes.push(Write::Replace { key, fields });
        }
    }
    writes.push(Write::Replace { key: key(PORT_INIT_DONE), fields: row([("lanes", "0")]) });
    appl_db.write_in_chunks(&writes).await
}

async fn fill_counters_db(counters_db: &RedisConnection, layout: &SwitchLayout) -> Result<(), Error> {
    let numbered = layout.ports.iter().zip(1..);
    let oids = numbered.map(|(port, number)| (port.clone(), Oid::new(ObjectKind::Port, number).to_string())).collect();
    counters_db.replace(counters_db::PORT_NAME_MAP, &oids).await?;
    let zeros: Vec<(String, PortCounters)> =
        layout.ports.iter().map(|port| (port.clone(), PortCounters::default())).collect();
    write_counters(counters_db, &zeros).await
}

async fn fill_state_db(state_db: &RedisConnection, layout: &SwitchLayout) -> Result<(), Error> {
    let key = |table: &str, key: &str| state_db.database().key(table, key);
    let capabilities = CAPABILITIES.iter().map(|&name| (name.to_owned(), "true".to_owned())).collect();
    let mut writes = vec![Write::Replace { key: key(state_db::SWITCH_CAPABILITY, "switch"), fields: capabilities }];
    for port in &layout.ports {
        let fields = row([
            ("host_tx_ready", "true"),
            ("mtu", "9100"),
            ("netdev_oper_status", "up"),
            ("speed", "100000"),
            ("state", "ok"),
            ("supported_speeds", "40000,100000"),
        ]);
        writes.push(Write::Replace { key: key(appl_db::PORT, port), fields });
    }
    state_db.write_in_chunks(&writes).await
}
