//! What the switch looked like when a job asked: a snapshot of the rows on which admission depends. Values only; `io` takes it.

use std::collections::{BTreeMap, BTreeSet};

use super::erspan::Outer;
use super::job::{Direction, Fields};
use super::schema::SESSION_PREFIX;

/// Facts about one front-panel port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// APPL_DB `oper_status`; `None` where it does not say.
    pub oper_up: Option<bool>,
    /// Speed in Mbit/s; `None` where it does not say.
    pub speed_mbps: Option<u64>,
}

/// A row of CONFIG_DB `MIRROR_SESSION`, as far as overlaps are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// `src_port`: ports and port channels, exact tokens; empty for a session that only ACL rules use.
    pub src_ports: Vec<String>,
    /// `dst_port`, of SPAN sessions.
    pub dst_port: Option<String>,
    /// `src_ip` and `dst_ip`, of ERSPAN sessions: whoever has the same ones gets both sessions' copies.
    pub outer: Option<Outer>,
    /// `direction`; a row without one counts as both here, because that is what YANG says it means.
    pub direction: Option<Direction>,
    /// `sample_rate` or `truncate_size`: it is bound through the port's sampler, and not as a plain mirror (fact M4). A plain one and a
    /// sampled one of a port and direction are two attributes of it, and leave each other alone (facts S12 and S15).
    pub sampled: bool,
}

impl Session {
    /// Reads a row. Nothing in it can be wrong enough to be ignored: an unknown direction counts as both.
    #[must_use]
    pub fn from_fields(fields: &Fields) -> Session {
        let ports = fields.get("src_port").map(String::as_str).unwrap_or_default();
        let address = |name: &str| fields.get(name)?.parse().ok();
        // 0 is as absent, in any of the forms that orchagent reads (facts S21 and S23).
        let is_set =
            |name: &str| fields.get(name).is_some_and(|value| value.contains(|c: char| ('1'..='9').contains(&c)));
        Session {
            src_ports: ports.split(',').map(str::trim).filter(|port| !port.is_empty()).map(str::to_owned).collect(),
            dst_port: fields.get("dst_port").cloned(),
            outer: address("src_ip").zip(address("dst_ip")).map(|(src, dst)| Outer { src, dst }),
            direction: match fields.get("direction").map(|word| word.to_ascii_uppercase()).as_deref() {
                Some("RX") => Some(Direction::Ingress),
                Some("TX") => Some(Direction::Egress),
                _ => None,
            },
            sampled: is_set("sample_rate") || is_set("truncate_size"),
        }
    }
}

/// STATE_DB `SWITCH_CAPABILITY|switch`: `None` where the switch does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capability {
    /// `PORT_INGRESS_MIRROR_CAPABLE`
    pub ingress_mirror: Option<bool>,
    /// `PORT_EGRESS_MIRROR_CAPABLE`
    pub egress_mirror: Option<bool>,
    /// `PORT_INGRESS_SAMPLE_MIRROR_CAPABLE`: written by releases whose MIRROR_SESSION has `sample_rate`, and by no others.
    pub ingress_sample: Option<bool>,
    /// `PORT_EGRESS_SAMPLE_MIRROR_CAPABLE`
    pub egress_sample: Option<bool>,
    /// `SAMPLEPACKET_TRUNCATION_CAPABLE`
    pub truncation: Option<bool>,
}

/// Bytes of kernel memory that one job's maps take on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCost {
    /// With `result_detail` `summary`.
    pub summary_bytes: u64,
    /// With `result_detail` `flows`.
    pub flows_bytes: u64,
}

/// The snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// PORT, with what APPL_DB says of each.
    pub ports: BTreeMap<String, Port>,
    /// PORTCHANNEL, with the members of each.
    pub port_channels: BTreeMap<String, BTreeSet<String>>,
    /// Ports in any VLAN.
    pub vlan_members: BTreeSet<String>,
    /// Ports with a layer-3 configuration.
    pub routed_ports: BTreeSet<String>,
    /// Ports of which sFlow has a sampler, and in which directions.
    pub sflow_ports: BTreeMap<String, Direction>,
    /// All mirror sessions, ours included.
    pub sessions: BTreeMap<String, Session>,
    /// Names of ours of which STATE_DB has a row.
    pub known_states: BTreeSet<String>,
    /// TELEGEN_MIRROR_PORT: the pool, with the netdev of each.
    pub pool: BTreeMap<String, Option<String>>,
    /// Network devices of this host.
    pub netdevs: BTreeSet<String>,
    /// What the switch says it can do.
    pub capability: Capability,
    /// What a tap costs here.
    pub tap_cost: TapCost,
    /// SONiC's `build_version`; `None` where the host does not say.
    pub release: Option<String>,
}

impl World {
    /// The mirror sessions of others.
    #[must_use]
    pub fn foreign(&self) -> BTreeMap<String, Session> {
        let others = self.sessions.iter().filter(|(name, _)| !name.starts_with(SESSION_PREFIX));
        others.map(|(name, session)| (name.clone(), session.clone())).collect()
    }

    /// The ports, and the members of port channels in their place: what a session on them really binds.
    #[must_use]
    pub fn expand<'a>(&self, ports: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let members = |port: &'a str| match self.port_channels.get(port) {
            Some(members) => members.clone(),
            None => BTreeSet::from([port.to_owned()]),
        };
        ports.into_iter().flat_map(members).collect()
    }
}
