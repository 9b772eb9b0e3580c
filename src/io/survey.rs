//! Takes the snapshot on which admission depends, from the tables of CONFIG_DB, APPL_DB and STATE_DB and this host's devices.
//!
//! Reads only. What the rows mean for a job is `model::admission`'s business.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{self, Names};
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
    /// What the ports were like at the latest whole look, and in which directions sFlow sampled them.
    ports: BTreeMap<String, Port>,
    sflow: BTreeMap<String, Direction>,
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
            sflow: BTreeMap::new(),
        })
    }

    /// The snapshot.
    ///
    /// # Errors
    /// Redis is away, or does not answer in time; or the kernel cannot be asked for the network devices.
    pub async fn survey(&mut self) -> Result<World, SurveyError> {
        let (config, appl) = (self.config.connection().await?, self.appl.connection().await?);
        let listed = Listed::read(&config).await?;
        (self.ports, self.sflow) = ports(&config, &appl, listed.ports.clone()).await?;
        self.take(listed, self.ports.clone()).await
    }

    /// A snapshot without the three reads per port that make most of [`Surveyor::survey`], for what is looked at again and again: which
    /// ports there are is read, what is said of each may be that of the latest survey.
    ///
    /// # Errors
    /// As [`Surveyor::survey`].
    pub async fn look(&mut self) -> Result<World, SurveyError> {
        let config = self.config.connection().await?;
        let listed = Listed::read(&config).await?;
        let known = |name: &String| {
            let port = self.ports.get(name).cloned().unwrap_or_default();
            (name.clone(), port)
        };
        let ports = listed.ports.iter().map(known).collect();
        self.take(listed, ports).await
    }

    async fn take(&mut self, listed: Listed, ports: BTreeMap<String, Port>) -> Result<World, SurveyError> {
        let netdevs = netdev::names().map_err(SurveyError::Netdevs)?;
        let (config, state) = (self.config.connection().await?, self.state.connection().await?);
        let mut world =
            World { tap_cost: self.tap_cost, release: self.release.clone(), netdevs, ports, ..World::default() };
        world.sflow_ports.clone_from(&self.sflow);
        let separator = &config.database().separator;
        let there: BTreeSet<String> = listed.port_channels.iter().cloned().collect();
        world.port_channels = port_channels(listed.port_channels, &listed.members, separator);
        // Of one that was deleted the rows of its members may stay behind.
        world.port_channels.retain(|channel, _| there.contains(channel));
        world.vlan_members = pairs(&listed.vlan_members, separator).map(|(_, member)| member.to_owned()).collect();
        world.routed_ports = listed.interfaces.iter().map(|key| first_part(key, separator).to_owned()).collect();
        world.sessions = sessions(&config, listed.sessions).await?;
        world.pool = pool(&config, listed.pool).await?;
        let names = state.keys(state_db::MIRROR_SESSION).await?;
        world.known_states = names.into_iter().filter(|name| name.starts_with(SESSION_PREFIX)).collect();
        let capability = state.database().key(state_db::SWITCH_CAPABILITY, "switch");
        world.capability = read_capability(&state.hgetall(&capability).await?);
        Ok(world)
    }
}

/// The row keys of CONFIG_DB's tables.
struct Listed {
    ports: Vec<String>,
    port_channels: Vec<String>,
    members: Vec<String>,
    vlan_members: Vec<String>,
    interfaces: Vec<String>,
    sessions: Vec<String>,
    pool: Vec<String>,
}

impl Listed {
    /// In two passes, however many rows of other tables there are: the pool's table begins like that of jobs, whose rows may be many.
    async fn read(config: &RedisConnection) -> Result<Listed, Error> {
        let tables = [
            config_db::PORT,
            config_db::PORTCHANNEL,
            config_db::PORTCHANNEL_MEMBER,
            config_db::VLAN_MEMBER,
            config_db::INTERFACE,
            config_db::MIRROR_SESSION,
        ];
        let (switch, pool) = tokio::try_join!(config.keys_of(tables), config.keys(config_db::MIRROR_PORT))?;
        let [ports, port_channels, members, vlan_members, interfaces, sessions] = switch;
        Ok(Listed { ports, port_channels, members, vlan_members, interfaces, sessions, pool })
    }
}

/// What the ports are like, and in which directions sFlow samples them. APPL_DB is read by points: to list its few rows of sFlow is to pass
/// by each of its routes.
async fn ports(
    config: &RedisConnection,
    appl: &RedisConnection,
    names: Vec<String>,
) -> Result<(BTreeMap<String, Port>, BTreeMap<String, Direction>), Error> {
    let configured = config.rows_at(config_db::PORT, names).await?;
    let key = |table| configured.keys().map(move |port| appl.database().key(table, port));
    let keys: Vec<String> = key(appl_db::PORT).chain(key(appl_db::SFLOW_SESSION)).collect();
    let mut live = appl.hgetall_many(&keys).await?;
    let sampled = live.split_off(configured.len());
    let sflow = configured.keys().zip(&sampled);
    let sflow = sflow.filter(|(_, row)| !row.is_empty());
    let facts = |configured: &Fields, live: &Fields| Port {
        oper_up: live.get("oper_status").map(|word| word == "up"),
        speed_mbps: live.get("speed").or_else(|| configured.get("speed")).and_then(|speed| speed.parse().ok()),
    };
    let ports = configured.iter().zip(&live).map(|((name, row), live)| (name.clone(), facts(row, live))).collect();
    Ok((ports, sflow.filter_map(|(port, row)| Some((port.clone(), sampled_by_sflow(row)?))).collect()))
}

/// In which directions orchagent samples a port with this row of SFLOW_SESSION_TABLE: a state that is absent is up, a direction that is absent
/// is rx, and any other word binds nothing (observed fact S5).
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

/// A [`World`] with the mirror sessions of others and PORTCHANNEL with the members of each: against these, sessions of ours are judged. The
/// rows of ours are not read, of which there may be thousands to delete. What is known of the names is not listed.
pub(super) async fn foreign_sessions(config: &RedisConnection, known: Option<Names>) -> Result<World, Error> {
    let [mut names, channels, members] = match known {
        Some(names) => names.map(|keys| keys.into_iter().collect::<Vec<_>>()),
        None => config.keys_of(known::TABLES).await?,
    };
    names.retain(|name| !name.starts_with(SESSION_PREFIX));
    let port_channels = port_channels(channels, &members, &config.database().separator);
    Ok(World { sessions: sessions(config, names).await?, port_channels, ..World::default() })
}

fn port_channels(names: Vec<String>, members: &[String], separator: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut channels: BTreeMap<String, BTreeSet<String>> =
        names.into_iter().map(|name| (name, BTreeSet::new())).collect();
    for (channel, member) in pairs(members, separator) {
        channels.entry(channel.to_owned()).or_default().insert(member.to_owned());
    }
    channels
}

/// The mirror sessions of these names that are in CONFIG_DB.
pub(super) async fn sessions(config: &RedisConnection, names: Vec<String>) -> Result<BTreeMap<String, Session>, Error> {
    let rows = config.rows_at(config_db::MIRROR_SESSION, names).await?;
    Ok(rows.into_iter().map(|(name, fields)| (name, Session::from_fields(&fields))).collect())
}

async fn pool(config: &RedisConnection, ports: Vec<String>) -> Result<BTreeMap<String, Option<String>>, Error> {
    let rows = config.rows_at(config_db::MIRROR_PORT, ports).await?;
    let netdev = |fields: &Fields| fields.get(config_db::MIRROR_PORT_NETDEV).filter(|name| !name.is_empty()).cloned();
    Ok(rows.into_iter().map(|(port, fields)| (port, netdev(&fields))).collect())
}

/// Keys of two parts, `Vlan10|Ethernet0`.
fn pairs<'a>(keys: &'a [String], separator: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    keys.iter().filter_map(move |key| key.split_once(separator))
}

/// The name before the first separator: `INTERFACE|Ethernet0` and `INTERFACE|Ethernet0|10.0.0.1/31` are one port.
fn first_part<'a>(key: &'a str, separator: &str) -> &'a str {
    key.split(separator).next().unwrap_or_default()
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
