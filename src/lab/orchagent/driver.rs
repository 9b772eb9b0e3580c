//! Connects the virtual orchagent with Redis and the hardware. It translates and decides nothing.
//!
//! It reads tables as sonic-swss-common's C++ SubscriberStateTable does, on purpose, and not as `sonic::subscriber_table`: only the event
//! `del` is a removal, any other makes it read the row and forget an empty one, nothing is listed twice (facts M8 and M10). When Redis
//! goes away it dies as the real one does, and its container with it: the next one finds what the container's start script (`swss.sh`)
//! left of the databases, and programs the hardware anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use super::core::Orchagent;
use super::faults::Faults;
use super::hardware::{Fault, MirrorHardware, PortSide};
use super::messages::{Change, Input, OrderedFields, Output};
use super::objects::{ObjectKind, Oid};
use super::prefix::{NextHop, Prefix};
use crate::lab::switch_db::{NEIGHBOUR, PORT_INIT_DONE, ROUTE, SFLOW, name_port, unname_port};
use crate::model::schema::{appl_db, config_db, counters_db, state_db};
use crate::sonic::backoff::Backoff;
use crate::sonic::connection::COMMAND_TIMEOUT;
use crate::sonic::pubsub::{Message, Subscription, keyspace_prefix, table_pattern};
use crate::sonic::{Database, DatabaseConfig, DatabaseConfigError, Error, RedisConnection};

/// CONFIG_DB tables it reads, in the order of the first listing: a session finds its ports and its policer.
const CONFIG_TABLES: [&str; 5] = [
    config_db::PORT,
    config_db::PORTCHANNEL,
    config_db::PORTCHANNEL_MEMBER,
    config_db::POLICER,
    config_db::MIRROR_SESSION,
];
/// APPL_DB tables it reads.
const APPL_TABLES: [&str; 5] = [ROUTE, NEIGHBOUR, SFLOW, appl_db::SFLOW_SESSION, appl_db::PORT];

/// Runs the virtual orchagent until it is dropped, which is what killing the real one without its container is: the databases and the
/// hardware stay as they are, and a successor finds them so.
///
/// # Errors
/// The configuration lacks one of the five databases that orchagent uses.
pub async fn run(
    config: DatabaseConfig,
    mut hardware: Box<dyn MirrorHardware>,
    mut faults: mpsc::Receiver<(Fault, Option<String>)>,
) -> Result<(), DatabaseConfigError> {
    let databases = Databases {
        config: config.database("CONFIG_DB")?.clone(),
        appl: config.database("APPL_DB")?.clone(),
        state: config.database("STATE_DB")?.clone(),
        asic: config.database("ASIC_DB")?.clone(),
        counters: config.database("COUNTERS_DB")?.clone(),
    };
    let mut backoff = Backoff::new();
    let mut in_force = Faults::default();
    let mut with_container = false;
    loop {
        let mut bound = BTreeSet::new();
        let mut core = Orchagent::new(in_force);
        let ending = match Running::start(&databases, with_container).await {
            Ok(mut running) => {
                backoff.succeeded();
                running.serve(&mut core, &mut *hardware, &mut bound, &mut faults).await
            }
            Err(error) => Ending::Redis(error),
        };
        in_force = core.faults().clone();
        for (port, side) in bound {
            unbind(&mut *hardware, &port, side);
        }
        match ending {
            Ending::Restart => {}
            Ending::Redis(error) => {
                tracing::warn!(%error, "virtual orchagent: Redis is away, starting afresh");
                sleep(backoff.failed()).await;
            }
        }
        with_container = true;
    }
}

struct Databases {
    config: Database,
    appl: Database,
    state: Database,
    asic: Database,
    counters: Database,
}

/// How one life of orchagent ends.
enum Ending {
    Redis(Error),
    Restart,
}

impl From<Error> for Ending {
    fn from(error: Error) -> Ending {
        Ending::Redis(error)
    }
}

/// The connections of one life of orchagent.
struct Running {
    config: Table,
    appl: Table,
    writes: Connections,
}

/// What it writes to, clones of one connection each.
#[derive(Clone)]
struct Connections {
    appl: RedisConnection,
    state: RedisConnection,
    asic: RedisConnection,
    counters: RedisConnection,
}

/// A database that is read and listened to.
struct Table {
    events: Subscription,
    rows: RedisConnection,
    prefix: String,
}

impl Table {
    async fn open(database: &Database, tables: &[&str]) -> Result<Table, Error> {
        let patterns: Vec<String> = tables.iter().map(|table| table_pattern(database, table)).collect();
        let events = Subscription::open(database, &patterns, &[], COMMAND_TIMEOUT).await?;
        let rows = RedisConnection::open(database, COMMAND_TIMEOUT).await?;
        Ok(Table { events, rows, prefix: keyspace_prefix(database) })
    }

    /// The current row of the key that an event is about, or `None` where C++ drops the event.
    async fn read(&self, message: &Message) -> Result<Option<(String, String, Option<OrderedFields>)>, Error> {
        let database = self.rows.database();
        let Some((table, key)) = message.channel.strip_prefix(&self.prefix).and_then(|key| database.split_key(key))
        else {
            return Ok(None);
        };
        let (table, key) = (table.to_owned(), key.to_owned());
        if message.payload == "del" {
            return Ok(Some((table, key, None)));
        }
        let row = self.rows.hgetall_in_order(&database.key(&table, &key)).await?;
        Ok((!row.is_empty()).then_some((table, key, Some(row))))
    }
}

impl Running {
    /// `with_container`: of what swss' start script does away with, the table of sessions in STATE_DB is emptied; ASIC_DB is made anew by
    /// every orchagent.
    async fn start(databases: &Databases, with_container: bool) -> Result<Running, Error> {
        let open = |database| RedisConnection::open(database, COMMAND_TIMEOUT);
        let running = Running {
            config: Table::open(&databases.config, &CONFIG_TABLES).await?,
            appl: Table::open(&databases.appl, &APPL_TABLES).await?,
            writes: Connections {
                appl: open(&databases.appl).await?,
                state: open(&databases.state).await?,
                asic: open(&databases.asic).await?,
                counters: open(&databases.counters).await?,
            },
        };
        for kind in ObjectKind::ALL {
            empty(&running.writes.asic, kind.table()).await?;
        }
        if with_container {
            empty(&running.writes.state, state_db::MIRROR_SESSION).await?;
        }
        Ok(running)
    }

    /// Until Redis goes away, or the container is started anew.
    async fn serve(
        &mut self,
        core: &mut Orchagent,
        hardware: &mut dyn MirrorHardware,
        bound: &mut BTreeSet<(String, PortSide)>,
        faults: &mut mpsc::Receiver<(Fault, Option<String>)>,
    ) -> Ending {
        let mut hands = Hands { to: self.writes.clone(), hardware, bound };
        let inputs = match self.first_inputs().await {
            Ok(inputs) => inputs,
            Err(error) => return error.into(),
        };
        for input in inputs {
            if let Err(ending) = hands.carry_out(core, input).await {
                return ending;
            }
        }
        loop {
            let input = match self.next_input(core, faults).await {
                Ok(Some(input)) => input,
                Ok(None) => continue,
                Err(error) => return error.into(),
            };
            if let Err(ending) = hands.carry_out(core, input).await {
                return ending;
            }
        }
    }

    async fn next_input(
        &mut self,
        core: &Orchagent,
        faults: &mut mpsc::Receiver<(Fault, Option<String>)>,
    ) -> Result<Option<Input>, Error> {
        // Without a deadline, an hour is as good as any: a tick does no harm.
        let deadline = core.next_deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            Some((fault, session)) = faults.recv() => Ok(Some(Input::Fault(fault, session))),
            message = self.config.events.next() => {
                let Some((table, key, row)) = self.config.read(&message?).await? else { return Ok(None) };
                let oid = self.known_oid(&table, &key).await?;
                Ok(config_change(&self.config, &table, &key, row, oid).map(Input::Change))
            }
            message = self.appl.events.next() => {
                let Some((table, key, row)) = self.appl.read(&message?).await? else { return Ok(None) };
                Ok(appl_input(&table, &key, row, false))
            }
            () = sleep_until(deadline.into()) => Ok(Some(Input::Tick)),
        }
    }

    /// What is there already, as if it were written now.
    async fn first_inputs(&self) -> Result<Vec<Input>, Error> {
        let mut inputs = Vec::new();
        let oids: BTreeMap<String, String> = self.writes.counters.hgetall(counters_db::PORT_NAME_MAP).await?;
        for table in CONFIG_TABLES {
            for (key, row) in list(&self.config.rows, table).await? {
                let oid = oids.get(&key).and_then(|oid| Oid::parse(oid));
                inputs.extend(config_change(&self.config, table, &key, Some(row), oid).map(Input::Change));
            }
        }
        for table in APPL_TABLES {
            for (key, row) in list(&self.appl.rows, table).await? {
                inputs.extend(appl_input(table, &key, Some(row), true));
            }
        }
        Ok(inputs)
    }

    /// The id that a port has in COUNTERS_DB.
    async fn known_oid(&self, table: &str, port: &str) -> Result<Option<Oid>, Error> {
        if table != config_db::PORT {
            return Ok(None);
        }
        let known = self.writes.counters.hget(counters_db::PORT_NAME_MAP, port).await?;
        Ok(known.and_then(|oid| Oid::parse(&oid)))
    }
}

async fn empty(connection: &RedisConnection, table: &str) -> Result<(), Error> {
    for key in connection.keys(table).await? {
        connection.del(&connection.database().key(table, &key)).await?;
    }
    Ok(())
}

async fn list(connection: &RedisConnection, table: &str) -> Result<Vec<(String, OrderedFields)>, Error> {
    let mut rows = Vec::new();
    for key in connection.keys(table).await? {
        let row = connection.hgetall_in_order(&connection.database().key(table, &key)).await?;
        if !row.is_empty() {
            rows.push((key, row));
        }
    }
    Ok(rows)
}

fn config_change(from: &Table, table: &str, key: &str, row: Option<OrderedFields>, oid: Option<Oid>) -> Option<Change> {
    let exists = row.is_some();
    let name = key.to_owned();
    match table {
        config_db::MIRROR_SESSION => Some(Change::Session { name, row }),
        config_db::PORT => Some(Change::Port { name, exists, oid }),
        config_db::PORTCHANNEL => Some(Change::Lag { name, exists }),
        config_db::PORTCHANNEL_MEMBER => {
            let (lag, port) = from.rows.database().split_key(key)?;
            Some(Change::LagMember { lag: lag.to_owned(), port: port.to_owned(), exists })
        }
        config_db::POLICER => Some(Change::Policer { name, exists }),
        _ => None,
    }
}

fn appl_input(table: &str, key: &str, row: Option<OrderedFields>, settled: bool) -> Option<Input> {
    let field =
        |row: &OrderedFields, name: &str| row.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    let change = match table {
        appl_db::PORT => {
            return (key == PORT_INIT_DONE && row.is_some()).then_some(Input::PortInitDone { settled });
        }
        appl_db::SFLOW_SESSION => Change::SflowPort { port: key.to_owned(), row },
        SFLOW => Change::Sflow { up: row.and_then(|row| field(&row, "admin_state")).as_deref() == Some("up") },
        ROUTE => {
            let hops = |row: OrderedFields| {
                let [addresses, interfaces] = ["nexthop", "ifname"].map(|name| field(&row, name).unwrap_or_default());
                NextHop::read_all(&addresses, &interfaces)
            };
            // A route of another VRF is `Vrf1:<prefix>`, and no prefix.
            Change::Route { prefix: Prefix::parse(key)?, next_hops: row.map(hops) }
        }
        NEIGHBOUR => {
            // `Ethernet0:fc00::1`: the interface ends at the first colon.
            let (interface, address) = key.split_once(':')?;
            let address: IpAddr = address.parse().ok()?;
            let mac = row.map(|row| field(&row, "neigh").unwrap_or_default());
            Change::Neighbour { address, interface: interface.to_owned(), mac }
        }
        _ => return None,
    };
    Some(Input::Change(change))
}

/// Carries outputs out.
struct Hands<'a> {
    to: Connections,
    hardware: &'a mut dyn MirrorHardware,
    bound: &'a mut BTreeSet<(String, PortSide)>,
}

impl Hands<'_> {
    async fn carry_out(&mut self, core: &mut Orchagent, input: Input) -> Result<(), Ending> {
        let mut outputs = VecDeque::from(core.on(input, Instant::now()));
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Bind { port, side, target } => {
                    let refused = self.hardware.bind(&port, side, &target).err();
                    if refused.is_none() {
                        self.bound.insert((port, side));
                    }
                    outputs.extend(core.on(Input::Bound { refused }, Instant::now()));
                }
                Output::Unbind { port, side } => {
                    unbind(self.hardware, &port, side);
                    self.bound.remove(&(port, side));
                }
                Output::Retarget { target } => {
                    if let Err(error) = self.hardware.retarget(&target) {
                        tracing::warn!(session = target.session, error, "virtual orchagent: cannot redirect");
                    }
                }
                Output::UnnamePort { port } => {
                    unname_port(&self.to.counters, &self.to.appl, &self.to.state, &port).await?;
                    self.hardware.remove_netdev(&port);
                }
                Output::Log(line) => tracing::warn!("virtual orchagent: {line}"),
                Output::Restart => return Err(Ending::Restart),
                output => self.to.write(output).await?,
            }
        }
        Ok(())
    }
}

impl Connections {
    async fn write(&self, output: Output) -> Result<(), Error> {
        match output {
            Output::SetObject { kind, oid, fields } => {
                let key = self.asic.database().key(kind.table(), &oid.to_string());
                self.asic.hset_whole(&key, &fields.into_iter().collect()).await
            }
            Output::RemoveObject { kind, oid } => {
                self.asic.del(&self.asic.database().key(kind.table(), &oid.to_string())).await.map(drop)
            }
            Output::WriteState { session, fields } => {
                let key = self.state.database().key(state_db::MIRROR_SESSION, &session);
                self.state.hset_whole(&key, &fields.into_iter().collect()).await
            }
            Output::DeleteState { session } => {
                self.state.del(&self.state.database().key(state_db::MIRROR_SESSION, &session)).await.map(drop)
            }
            Output::NamePort { port, oid } => name_port(&self.counters, &self.appl, &self.state, &port, oid).await,
            Output::UnnamePort { .. }
            | Output::Bind { .. }
            | Output::Unbind { .. }
            | Output::Retarget { .. }
            | Output::Restart
            | Output::Log(_) => Ok(()),
        }
    }
}

fn unbind(hardware: &mut dyn MirrorHardware, port: &str, side: PortSide) {
    if let Err(error) = hardware.unbind(port, side) {
        tracing::warn!(port, ?side, error, "virtual orchagent: cannot unbind");
    }
}
