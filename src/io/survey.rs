//! Takes the snapshot on which admission depends, from the tables of CONFIG_DB, APPL_DB and STATE_DB and this host's devices.
//!
//! Reads only. What the rows mean for a job is `model::admission`'s business.

use std::collections::{BTreeMap, BTreeSet};

use super::tap::netdev;
use crate::model::job::{Direction, Fields};
use crate::model::schema::{SESSION_PREFIX, appl_db, config_db, state_db};
use crate::model::world::{Capability, Port, Session, TapCost, World};
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Reconnecting, RedisConnection};

/// Why there is no snapshot. One that lacks what could not be asked for would refuse jobs with a reason that is not so.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Redis is away, or does not answer in time.
    #[error(transparent)]
    Redis(#[from] Error),
    /// The kernel could not be asked which network devices there are.
    #[error("the network devices of this host cannot be listed: {0}")]
    Netdevs(std::io::Error),
}

/// Reads the switch's tables.
#[derive(Debug)]
pub struct Surveyor {
    config: Reconnecting,
    appl: Reconnecting,
    state: Reconnecting,
    tap_cost: TapCost,
    release: Option<String>,
    /// What the ports were like at the latest whole look.
    ports: BTreeMap<String, Port>,
}

impl Surveyor {
    /// A surveyor of the switch that `databases` describes; `tap_cost` is what a tap takes on this host, `release` its SONiC's
    /// `build_version`.
    ///
    /// # Errors
    /// The configuration lacks one of the three databases.
    pub fn new(
        databases: &DatabaseConfig,
        tap_cost: TapCost,
        release: Option<String>,
    ) -> Result<Surveyor, DatabaseConfigError> {
        Ok(Surveyor {
            config: Reconnecting::new(databases, "CONFIG_DB")?,
            appl: Reconnecting::new(databases, "APPL_DB")?,
            state: Reconnecting::new(databases, "STATE_DB")?,
            tap_cost,
            release,
            ports: BTreeMap::new(),
        })
    }

    /// The snapshot.
    ///
    /// # Errors
    /// Redis is away, or does not answer in time; or the kernel cannot be asked for the network devices.
    pub async fn survey(&mut self) -> Result<World, SurveyError> {
        let (config, appl) = (self.config.connection().await?, self.appl.connection().await?);
        self.ports = ports(&config, &appl).await?;
        self.take(self.ports.clone()).await
    }

    /// A snapshot without the two reads per port that make most of [`Surveyor::survey`], for what is looked at again and again: which
    /// ports there are is read, what is said of each may be that of the latest survey.
    ///
    /// # Errors
    /// As [`Surveyor::survey`].
    pub async fn look(&mut self) -> Result<World, SurveyError> {
        let config = self.config.connection().await?;
        let names = config.keys(config_db::PORT).await?;
        let known = |name: String| {
            let port = self.ports.get(&name).cloned().unwrap_or_default();
            (name, port)
        };
        let ports = names.into_iter().map(known).collect();
        self.take(ports).await
    }

    async fn take(&mut self, ports: BTreeMap<String, Port>) -> Result<World, SurveyError> {
        let netdevs = netdev::names().map_err(SurveyError::Netdevs)?;
        let (config, appl) = (self.config.connection().await?, self.appl.connection().await?);
        let state = self.state.connection().await?;
        let mut world =
            World { tap_cost: self.tap_cost, release: self.release.clone(), netdevs, ports, ..World::default() };
        let sflow = appl.rows(appl_db::SFLOW_SESSION).await?;
        world.sflow_ports = sflow.into_iter().filter_map(|(port, row)| Some((port, sampled_by_sflow(&row)?))).collect();
        world.port_channels = port_channels(&config).await?;
        world.vlan_members = second_parts(&config, config_db::VLAN_MEMBER).await?;
        world.routed_ports = first_parts(&config, config_db::INTERFACE).await?;
        world.sessions = sessions(&config).await?;
        world.pool = pool(&config).await?;
        let names = state.keys(state_db::MIRROR_SESSION).await?;
        world.known_states = names.into_iter().filter(|name| name.starts_with(SESSION_PREFIX)).collect();
        let capability = state.database().key(state_db::SWITCH_CAPABILITY, "switch");
        world.capability = read_capability(&state.hgetall(&capability).await?);
        Ok(world)
    }
}

async fn ports(config: &RedisConnection, appl: &RedisConnection) -> Result<BTreeMap<String, Port>, Error> {
    let configured = config.rows(config_db::PORT).await?;
    let keys: Vec<String> = configured.keys().map(|port| appl.database().key(appl_db::PORT, port)).collect();
    let live = appl.hgetall_many(&keys).await?;
    let facts = |configured: &Fields, live: &Fields| Port {
        oper_up: live.get("oper_status").map(|word| word == "up"),
        speed_mbps: live.get("speed").or_else(|| configured.get("speed")).and_then(|speed| speed.parse().ok()),
    };
    Ok(configured.iter().zip(&live).map(|((name, row), live)| (name.clone(), facts(row, live))).collect())
}

/// In which directions orchagent samples a port with this row of SFLOW_SESSION_TABLE: a state that is absent is up, a direction that is absent
/// is rx, and any other word binds nothing (observed fact 5).
fn sampled_by_sflow(row: &Fields) -> Option<Direction> {
    if row.get("admin_state").is_some_and(|state| state != "up") {
        return None;
    }
    match row.get("sample_direction").map(String::as_str) {
        None | Some("rx") => Some(Direction::Ingress),
        Some("tx") => Some(Direction::Egress),
        Some("both") => Some(Direction::Both),
        Some(_) => None,
    }
}

/// PORTCHANNEL, with the members of each.
pub(super) async fn port_channels(config: &RedisConnection) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let names = config.keys(config_db::PORTCHANNEL).await?;
    let mut channels: BTreeMap<String, BTreeSet<String>> =
        names.into_iter().map(|name| (name, BTreeSet::new())).collect();
    for (channel, member) in pairs(config, config_db::PORTCHANNEL_MEMBER).await? {
        channels.entry(channel).or_default().insert(member);
    }
    Ok(channels)
}

/// MIRROR_SESSION.
pub(super) async fn sessions(config: &RedisConnection) -> Result<BTreeMap<String, Session>, Error> {
    let rows = config.rows(config_db::MIRROR_SESSION).await?;
    Ok(rows.into_iter().map(|(name, fields)| (name, Session::from_fields(&fields))).collect())
}

async fn pool(config: &RedisConnection) -> Result<BTreeMap<String, Option<String>>, Error> {
    let rows = config.rows(config_db::MIRROR_PORT).await?;
    let netdev = |fields: &Fields| fields.get(config_db::MIRROR_PORT_NETDEV).filter(|name| !name.is_empty()).cloned();
    Ok(rows.into_iter().map(|(port, fields)| (port, netdev(&fields))).collect())
}

/// Keys of two parts, `Vlan10|Ethernet0`.
async fn pairs(config: &RedisConnection, table: &str) -> Result<Vec<(String, String)>, Error> {
    let separator = config.database().separator.clone();
    let keys = config.keys(table).await?;
    let split = |key: String| key.split_once(&separator).map(|(one, other)| (one.to_owned(), other.to_owned()));
    Ok(keys.into_iter().filter_map(split).collect())
}

async fn second_parts(config: &RedisConnection, table: &str) -> Result<BTreeSet<String>, Error> {
    Ok(pairs(config, table).await?.into_iter().map(|(_, member)| member).collect())
}

/// The names before the first separator: `INTERFACE|Ethernet0` and `INTERFACE|Ethernet0|10.0.0.1/31` are one port.
async fn first_parts(config: &RedisConnection, table: &str) -> Result<BTreeSet<String>, Error> {
    let separator = config.database().separator.clone();
    let first = |key: String| key.split(&separator).next().unwrap_or_default().to_owned();
    Ok(config.keys(table).await?.into_iter().map(first).collect())
}

fn read_capability(fields: &Fields) -> Capability {
    let word = |name: &str| match fields.get(name).map(String::as_str) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) | None => None,
    };
    Capability {
        ingress_mirror: word("PORT_INGRESS_MIRROR_CAPABLE"),
        egress_mirror: word("PORT_EGRESS_MIRROR_CAPABLE"),
        ingress_sample: word("PORT_INGRESS_SAMPLE_MIRROR_CAPABLE"),
        egress_sample: word("PORT_EGRESS_SAMPLE_MIRROR_CAPABLE"),
        truncation: word("SAMPLEPACKET_TRUNCATION_CAPABLE"),
    }
}
