//! The switch's control plane: its Redis, the virtual orchagent, and the port counters in COUNTERS_DB.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::asic_maps::{AsicMaps, PortCounts};
use super::layout::{COLLECTOR_ADDRESSES, COLLECTOR_MAC, ERSPAN_SOURCES, Port, PortCount, TUNNEL_DEVICES};
use super::namespaces::REDIS_DIR;
use super::orchagent::{self, hardware::Fault};
use super::redis_server::{RedisConfig, RedisServer};
use super::state::{LabState, Process};
use super::switch_db::{self, Collector, PortCounters, SwitchLayout, mac_text};
use crate::sonic::ready::INITIALIZED_KEY;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, RedisConnection, connect};

/// How often COUNTERS_DB follows the ASIC; SONiC's flex counters poll ports once per second too.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the orchagent may take to take a fault up.
const FAULT_PATIENCE: Duration = Duration::from_secs(5);

/// Everything of the switch that is not forwarding.
pub struct ControlPlane {
    layout: PortCount,
    redis: RedisServer,
    databases: DatabaseConfig,
    asic: AsicMaps,
    orchagent: JoinHandle<Result<(), DatabaseConfigError>>,
    faults: FaultSender,
}

impl ControlPlane {
    /// Starts Redis, fills it, starts the orchagent; returns when it is ready for sessions.
    ///
    /// # Errors
    /// Says which part did not start.
    pub async fn start(state: &LabState) -> Result<ControlPlane> {
        let redis_dir = Path::new(REDIS_DIR);
        let unix_socket = redis_dir.join("redis.sock");
        let config_path = redis_dir.join("sonic-db/database_config.json");
        fs::create_dir_all(redis_dir.join("sonic-db"))?;
        fs::write(&config_path, switch_db::database_config_json(&unix_socket))?;
        let tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 6379)));
        let redis = RedisServer::start(&RedisConfig { unix_socket, tcp, dir: redis_dir.to_owned() })
            .context("starting the switch's Redis")?;
        let databases = DatabaseConfig::load(&config_path)?;
        switch_db::fill(&databases, &switch_layout(state.ports)).await.context("filling the switch's databases")?;
        // Of capacity 1, see `FaultSender::send`.
        let (sender, receiver) = mpsc::channel(1);
        let hardware = Box::new(AsicMaps::open(&state.asic, state.ports)?);
        let orchagent = tokio::spawn(orchagent::run(databases.clone(), hardware, receiver));
        let faults = FaultSender(sender);
        // Its first look at a channel follows its first look at the databases.
        faults.send(Fault::Clear, None).await.map_err(|reason| anyhow!("starting the virtual orchagent: {reason}"))?;
        let asic = AsicMaps::open(&state.asic, state.ports)?;
        Ok(ControlPlane { layout: state.ports, redis, databases, asic, orchagent, faults })
    }

    /// Where faults go.
    #[must_use]
    pub fn faults(&self) -> FaultSender {
        self.faults.clone()
    }

    /// Keeps the control plane running. Returns only if a part of it ends for good.
    ///
    /// # Errors
    /// Says which part ended.
    pub async fn run(&mut self) -> Result<()> {
        let ControlPlane { layout, redis, databases, asic, orchagent, .. } = self;
        tokio::select! {
            ended = orchagent => ended.context("the virtual orchagent panicked")?.context("the virtual orchagent ended"),
            ended = keep_redis(redis, databases, *layout) => ended.context("keeping Redis running"),
            () = keep_counters(databases, asic, *layout) => Ok(()),
        }
    }
}

/// Hands faults to the orchagent.
#[derive(Clone)]
pub struct FaultSender(mpsc::Sender<(Fault, Option<String>)>);

impl FaultSender {
    /// Returns once the orchagent has taken the fault up: what is written to CONFIG_DB afterwards meets it.
    ///
    /// # Errors
    /// A sentence that says why it has not.
    pub async fn send(&self, fault: Fault, session: Option<String>) -> Result<(), String> {
        let taken = async {
            // The channel has room for one: that there is room again says that the orchagent has received it.
            self.0.send((fault, session)).await.is_ok() && self.0.reserve().await.is_ok()
        };
        match timeout(FAULT_PATIENCE, taken).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the virtual orchagent has ended".to_owned()),
            Err(_) => Err(format!(
                "the virtual orchagent did not take it up within {} s; is Redis away?",
                FAULT_PATIENCE.as_secs()
            )),
        }
    }
}

fn switch_layout(ports: PortCount) -> SwitchLayout {
    SwitchLayout {
        ports: ports.ports().map(Port::name).collect(),
        // Copies for a pool port come back to the CPU on the port's own netdev.
        pool: ports.pool().map(|port| (port.name(), port.name())).to_vec(),
        collector: Some(Collector {
            netdev: TUNNEL_DEVICES.1.to_owned(),
            addresses: COLLECTOR_ADDRESSES,
            mac: mac_text(COLLECTOR_MAC),
            sources: ERSPAN_SOURCES.to_vec(),
        }),
    }
}

/// Starts Redis again whenever it ends, as the database container's supervisor does, with what it saved. If that is
/// nothing, the switch's own rows are written anew, as a switch loads its configuration.
async fn keep_redis(redis: &mut RedisServer, databases: &DatabaseConfig, ports: PortCount) -> Result<()> {
    loop {
        let pid = redis.pid().context("Redis has no process")?.try_into()?;
        if let Some(process) = Process::open(pid)? {
            // SAFETY: an OwnedFd is open and the same as long as it lives, and the AsyncFd owns it.
            let ended = unsafe { AsyncFd::register(OwnedFd::from(process)) }?;
            drop(ended.readable().await?);
        }
        // Its parent has to ask how it ended, or it stays in the process table.
        waitpid(Pid::from_raw(pid), None)?;
        redis.start_again()?;
        let config_db = connect(databases, "CONFIG_DB").await?;
        if config_db.get(INITIALIZED_KEY).await?.is_none() {
            switch_db::fill(databases, &switch_layout(ports)).await?;
        }
    }
}

/// Follows the ASIC for ever. Redis being away is not its business: it goes on when Redis is back.
async fn keep_counters(databases: &DatabaseConfig, asic: &AsicMaps, ports: PortCount) {
    let mut ticks = interval(COUNTERS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection: Option<RedisConnection> = None;
    loop {
        ticks.tick().await;
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => connect(databases, "COUNTERS_DB").await,
        };
        let Ok(open) = open else { continue };
        let counters: Vec<_> = ports.ports().map(|port| (port.name(), in_sonic_words(&asic.port(port)))).collect();
        if switch_db::write_counters(&open, &counters).await.is_ok() {
            connection = Some(open);
        }
    }
}

fn in_sonic_words(counts: &PortCounts) -> PortCounters {
    PortCounters {
        in_ucast: counts.rx_unicast,
        in_non_ucast: counts.rx_other,
        out_ucast: counts.tx_unicast,
        out_non_ucast: counts.tx_other,
        in_octets: counts.rx_octets,
        out_octets: counts.tx_octets,
    }
}
