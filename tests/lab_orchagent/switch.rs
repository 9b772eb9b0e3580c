//! A switch without an ASIC: Redis, its contents, the virtual orchagent, and hardware that only remembers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::cmd;
use telegen_sonic::lab::orchagent::hardware::{CopyDestination, Fault, MirrorHardware, MirrorTarget, PortSide};
use telegen_sonic::lab::orchagent::run;
use telegen_sonic::lab::switch_db::{SwitchLayout, fill};
use telegen_sonic::sonic::pubsub::Subscription;
use telegen_sonic::sonic::{Fields, RedisConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::redis_common::{DEADLINE, Redis, fields, within};

/// What is bound where, and what the hardware is to refuse.
#[derive(Default)]
pub struct Hardware {
    pub bound: BTreeMap<(String, PortSide), MirrorTarget>,
    pub refused_port: Option<String>,
    pub removed_netdevs: Vec<String>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Hardware>>);

impl MirrorHardware for Recorder {
    fn bind(&mut self, port: &str, side: PortSide, target: &MirrorTarget) -> Result<(), String> {
        let mut hardware = self.0.lock().unwrap();
        if hardware.refused_port.as_deref() == Some(port) {
            return Err(format!("{port} cannot be mirrored"));
        }
        hardware.bound.insert((port.to_owned(), side), target.clone());
        Ok(())
    }

    fn retarget(&mut self, target: &MirrorTarget) -> Result<(), String> {
        let mut hardware = self.0.lock().unwrap();
        hardware
            .bound
            .values_mut()
            .filter(|known| known.session == target.session)
            .for_each(|known| known.clone_from(target));
        Ok(())
    }

    fn unbind(&mut self, port: &str, side: PortSide) -> Result<(), String> {
        self.0.lock().unwrap().bound.remove(&(port.to_owned(), side));
        Ok(())
    }

    fn remove_netdev(&mut self, port: &str) {
        self.0.lock().unwrap().removed_netdevs.push(port.to_owned());
    }
}

/// The switch. `config`, `appl`, `state`, `asic` and `counters` are connections to the databases of that name.
pub struct Switch {
    pub redis: Redis,
    pub config: RedisConnection,
    pub appl: RedisConnection,
    pub state: RedisConnection,
    pub asic: RedisConnection,
    pub counters: RedisConnection,
    faults: mpsc::Sender<(Fault, Option<String>)>,
    recorder: Recorder,
    orchagent: JoinHandle<()>,
}

pub fn layout() -> SwitchLayout {
    SwitchLayout {
        ports: (0..8).map(|port| format!("Ethernet{}", 4 * port)).collect(),
        pool: vec![("Ethernet28".to_owned(), "Ethernet28".to_owned())],
        collector: None,
    }
}

impl Switch {
    /// A switch that has booted.
    pub async fn start() -> Switch {
        let redis = Redis::start();
        fill(&redis.config, &layout()).await.unwrap();
        Switch::on(redis).await
    }

    /// A virtual orchagent on what this Redis holds.
    pub async fn on(redis: Redis) -> Switch {
        let recorder = Recorder::default();
        let (faults, receiver) = mpsc::channel(1);
        let running = run(redis.config.clone(), Box::new(recorder.clone()), receiver);
        let orchagent = tokio::spawn(async { running.await.unwrap() });
        let (config, appl) = (redis.connect("CONFIG_DB").await, redis.connect("APPL_DB").await);
        let (state, asic) = (redis.connect("STATE_DB").await, redis.connect("ASIC_DB").await);
        let counters = redis.connect("COUNTERS_DB").await;
        Switch { redis, config, appl, state, asic, counters, faults, recorder, orchagent }
    }

    /// Kills orchagent and starts another.
    pub async fn restart_orchagent(self) -> Switch {
        Switch::on(self.kill_orchagent().await).await
    }

    pub async fn kill_orchagent(self) -> Redis {
        self.orchagent.abort();
        let _cancelled = self.orchagent.await;
        self.redis
    }

    /// Runs a command as `redis-cli -n 4` would.
    pub async fn cli(&self, command: &str) {
        run_command(&self.config, command).await;
    }

    /// Writes a whole session with one HSET: `field=value` words.
    pub async fn session(&self, name: &str, row: &str) {
        run_command(&self.config, &format!("HSET MIRROR_SESSION|{name} {}", row.replace('=', " "))).await;
    }

    pub async fn delete(&self, name: &str) {
        self.cli(&format!("DEL MIRROR_SESSION|{name}")).await;
    }

    pub async fn fault(&self, fault: Fault, session: Option<&str>) {
        self.faults.send((fault, session.map(str::to_owned))).await.unwrap();
        // The channel holds one: when it has room again, orchagent has taken this one.
        drop(within("orchagent to take the fault", self.faults.reserve()).await.unwrap());
    }

    /// The STATE_DB row, empty if there is none.
    pub async fn row(&self, name: &str) -> Fields {
        self.state.hgetall(&format!("MIRROR_SESSION_TABLE|{name}")).await.unwrap()
    }

    pub async fn status(&self, name: &str) -> Option<String> {
        self.row(name).await.remove("status")
    }

    /// Waits until the session has this status; `None`: no row.
    pub async fn until(&self, name: &str, status: Option<&str>) {
        until_is(&format!("status of {name}"), status.map(str::to_owned), async || self.status(name).await).await;
    }

    pub async fn until_active(&self, name: &str) {
        self.until(name, Some("active")).await;
    }

    /// Waits until orchagent has done everything that was written to CONFIG_DB before this call: it works in order.
    pub async fn settle(&self) {
        self.session("settle", "type=SPAN dst_port=Ethernet28").await;
        self.until_active("settle").await;
        self.delete("settle").await;
        self.until("settle", None).await;
    }

    /// ASIC_DB in short: what each port refers to, `Ethernet0 ingress>mirror of Ethernet4` or `Ethernet0 ingress sample>1/256`, and the mirror
    /// sessions and samplers to which nothing refers, `unused mirror of Ethernet4`.
    pub async fn asic_db(&self) -> Vec<String> {
        let mirrors = self.asic.rows("ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION").await.unwrap();
        let samplers = self.asic.rows("ASIC_STATE:SAI_OBJECT_TYPE_SAMPLEPACKET").await.unwrap();
        let ports = self.asic.rows("ASIC_STATE:SAI_OBJECT_TYPE_PORT").await.unwrap();
        let names = self.counters.hgetall("COUNTERS_PORT_NAME_MAP").await.unwrap();
        let name_of = |oid: &str| {
            names.iter().find(|(_, known)| *known == oid).map_or_else(|| oid.to_owned(), |(name, _)| name.clone())
        };
        let mut unused: BTreeMap<String, String> = BTreeMap::new();
        for (oid, row) in &mirrors {
            unused.insert(oid.clone(), format!("mirror of {}", name_of(&row["SAI_MIRROR_SESSION_ATTR_MONITOR_PORT"])));
        }
        for (oid, row) in &samplers {
            let kind = row.get("SAI_SAMPLEPACKET_ATTR_TYPE").map_or("sflow", |_| "mirror");
            unused.insert(oid.clone(), format!("{kind} 1/{}", row["SAI_SAMPLEPACKET_ATTR_SAMPLE_RATE"]));
        }
        let objects = unused.clone();
        let mut found = Vec::new();
        for (oid, row) in &ports {
            for (field, value) in row {
                let Some(side) = field.strip_prefix("SAI_PORT_ATTR_").filter(|name| name.contains("GRESS")) else {
                    continue;
                };
                if let Some(target) = value
                    .strip_prefix("1:")
                    .or(Some(value.as_str()).filter(|oid| *oid != "oid:0x0" && *oid != "0:null"))
                {
                    let side = side
                        .replace("_MIRROR_SESSION", "")
                        .replace("PACKET_ENABLE", "r")
                        .replace('_', " ")
                        .to_lowercase();
                    // While orchagent works, a table may have been read before a change and another one after it.
                    let what = objects.get(target).map_or("what is not there", String::as_str);
                    unused.remove(target);
                    found.push(format!("{} {side}>{what}", name_of(oid)));
                }
            }
        }
        found.extend(unused.into_values().map(|what| format!("unused {what}")));
        found.sort();
        found
    }

    /// The bound ports, as `Ethernet0 rx s1>Ethernet4`.
    pub fn bound(&self) -> Vec<String> {
        let hardware = self.recorder.0.lock().unwrap();
        let word = |side| match side {
            PortSide::Rx => "rx",
            PortSide::Tx => "tx",
            PortSide::SampledRx => "sampled-rx",
            PortSide::SampledTx => "sampled-tx",
        };
        hardware
            .bound
            .iter()
            .map(|((port, side), target)| {
                let destination = match &target.destination {
                    CopyDestination::Port(port) => port.clone(),
                    CopyDestination::Tunnel(tunnel) => format!("{}@{}", tunnel.dst, tunnel.interface),
                };
                format!("{port} {} {}>{destination}", word(*side), target.session)
            })
            .collect()
    }

    /// Waits until [`Switch::bound`] says this.
    pub async fn until_bound(&self, expected: &[&str]) {
        until_is("bound ports", expected, async || self.bound()).await;
    }

    /// Waits until [`Switch::asic_db`] says this.
    pub async fn until_asic_db(&self, expected: &[&str]) {
        until_is("ASIC_DB", expected, async || self.asic_db().await).await;
    }

    /// Changes what the hardware does.
    pub fn hardware(&self, change: impl FnOnce(&mut Hardware)) {
        change(&mut self.recorder.0.lock().unwrap());
    }

    /// Everything that happens to STATE_DB session rows from now on.
    pub async fn state_events(&self) -> Subscription {
        let patterns = ["__keyspace@6__:MIRROR_SESSION_TABLE|*".to_owned()];
        let database = self.redis.config.database("STATE_DB").unwrap();
        Subscription::open(database, &patterns, &[], Duration::from_secs(2)).await.unwrap()
    }
}

/// Waits until a look at `what` shows what is expected; a failure says what it showed last.
pub async fn until_is<Seen, Expected>(what: &str, expected: Expected, mut look: impl AsyncFnMut() -> Seen)
where
    Seen: PartialEq<Expected> + Debug,
    Expected: Debug,
{
    let mut last = None;
    let reached = tokio::time::timeout(DEADLINE, async {
        loop {
            let seen = look().await;
            if seen == expected {
                return;
            }
            last = Some(seen);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let timed_out = reached.await.is_err();
    assert!(!timed_out, "{what}: {last:?} is not {expected:?}");
}

pub async fn run_command(connection: &RedisConnection, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let _answer: redis::Value = connection.query("test", cmd(words[0]).arg(&words[1..])).await.unwrap();
}

/// The event names of the next `count` notifications.
pub async fn next_events(events: &mut Subscription, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(within("an event", events.next()).await.unwrap().payload);
    }
    names
}

/// The row of an active SPAN session: fact M1.
pub fn active_span() -> Fields {
    fields([
        ("status", "active"),
        ("monitor_port", ""),
        ("dst_mac", "00:00:00:00:00:00"),
        ("route_prefix", "0.0.0.0/0"),
        ("vlan_id", "0"),
        ("next_hop_ip", "0.0.0.0@"),
    ])
}
