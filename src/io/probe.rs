//! Finds out by trying what the switch's tables do not say: whether a SPAN session may go to the CPU port, and whether one may have a
//! policer. Once after each boot, before any job, and only where `model::ability` has no objection.
//!
//! A trial session has no source: it binds no port and copies nothing. It is named like a job's, so that the sweep removes it if this process
//! is killed in between. One that orchagent refuses leaves three lines in its log: two when it is written, and one when it is deleted.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::ability::{Trial, Trials, objection};
use crate::model::schema::{SESSION_PREFIX, config_db, state_db};
use crate::model::settings::Settings;
use crate::model::world::World;
use crate::sonic::{DatabaseConfig, Error, Fields, RedisConnection, connect};

/// How long orchagent has to make or to remove a session: two hundred times what was observed (`lab::orchagent::core`).
const PATIENCE: Duration = Duration::from_secs(1);
/// A session that orchagent refuses has no row, however long one waits: so many times as long as the plain one took, but at least …
const REFUSED_AFTER: u32 = 20;
/// … this long.
const REFUSED_AT_LEAST: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(5);
/// What was found, until the next boot: the state directory does not outlive it.
const NOTE: &str = "switch-trials";

/// What was found, now or by an earlier daemon since the last boot.
pub async fn trials(databases: &DatabaseConfig, world: &World, settings: &Settings, state_dir: &Path) -> Trials {
    let note = state_dir.join(NOTE);
    match fs::read_to_string(&note) {
        Ok(text) => {
            if let Some(known) = read_note(&text) {
                return known;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        // What was found before is not known to be nothing.
        Err(error) => return Trials::none(&format!("{} cannot be read: {error}", note.display())),
    }
    let probe = match Probe::open(databases).await {
        Ok(probe) => probe,
        Err(error) => return Trials::none(&format!("Redis did not answer: {error}")),
    };
    if let Some(why) = objection(world, settings) {
        return Trials::none(&why);
    }
    match free_port(world) {
        Some(port) => probe.run(&port, &note).await,
        None => Trials::none("no port of TELEGEN_MIRROR_PORT is free to try with"),
    }
}

/// A port that is nothing else's: no member of a VLAN or port channel, not routed.
fn free_port(world: &World) -> Option<String> {
    let is_taken = |port: &String| {
        world.vlan_members.contains(port)
            || world.routed_ports.contains(port)
            || world.port_channels.values().any(|members| members.contains(port))
    };
    world.pool.keys().find(|port| world.ports.contains_key(*port) && !is_taken(port)).cloned()
}

struct Probe {
    config: RedisConnection,
    state: RedisConnection,
    /// Of the session and of the policer.
    name: String,
    session: String,
    policer: String,
}

impl Probe {
    async fn open(databases: &DatabaseConfig) -> Result<Probe, Error> {
        let name = format!("{SESSION_PREFIX}probe");
        let (config, state) = (connect(databases, "CONFIG_DB").await?, connect(databases, "STATE_DB").await?);
        let session = config.database().key(config_db::MIRROR_SESSION, &name);
        let policer = config.database().key(config_db::POLICER, &name);
        // Of a daemon that was killed in between; its session is for the sweep.
        config.del(&policer).await?;
        Ok(Probe { config, state, name, session, policer })
    }

    async fn run(&self, port: &str, note: &Path) -> Trials {
        match self.try_all(port).await {
            Ok(trials) => {
                if let Err(error) = fs::write(note, write_note(&trials)) {
                    tracing::warn!(%error, "{} cannot be written; the next start of the daemon tries again", note.display());
                }
                trials
            }
            Err(Trouble::Redis(error)) => Trials::none(&format!("Redis did not answer: {error}")),
            Err(Trouble::Orchagent(what)) => Trials::none(what),
        }
    }

    async fn try_all(&self, port: &str) -> Result<Trials, Trouble> {
        let plain = [("type", "SPAN"), ("dst_port", port), ("direction", "RX")];
        let (trial, took) = self.attempt(&plain, PATIENCE).await?;
        if trial != Trial::Active {
            return Err(Trouble::Orchagent("orchagent did not make even a plain session active within 1 s"));
        }
        let limit = (took * REFUSED_AFTER).clamp(REFUSED_AT_LEAST, PATIENCE);
        let to_cpu = [("type", "SPAN"), ("dst_port", "CPU"), ("direction", "RX")];
        let (span_to_cpu, _) = self.attempt(&to_cpu, limit).await?;
        let policer = self.attempt_policer(port, limit).await?;
        Ok(Trials { span_to_cpu, policer })
    }

    async fn attempt_policer(&self, port: &str, limit: Duration) -> Result<Trial, Trouble> {
        // What sonic-policer.yang requires; red is forwarded unless it is dropped.
        let policer = [
            ("meter_type", "packets"),
            ("mode", "sr_tcm"),
            ("cir", "600"),
            ("cbs", "600"),
            ("red_packet_action", "drop"),
        ];
        self.config.hset_whole(&self.policer, &owned(&policer)).await?;
        let with = [("type", "SPAN"), ("dst_port", port), ("direction", "RX"), ("policer", self.name.as_str())];
        let attempted = self.attempt(&with, limit).await;
        // Orchagent lets a policer go only after its session, which is gone by now.
        self.config.del(&self.policer).await?;
        Ok(attempted?.0)
    }

    /// Writes the session, waits what becomes of it, and removes it, whatever came of it.
    async fn attempt(&self, fields: &[(&str, &str)], limit: Duration) -> Result<(Trial, Duration), Trouble> {
        let began = Instant::now();
        self.config.hset_whole(&self.session, &owned(fields)).await?;
        let seen = self.wait_for(limit, |status| status == Some("active")).await;
        let took = began.elapsed();
        self.config.del(&self.session).await?;
        let gone = self.wait_for(PATIENCE, |status| status.is_none()).await?;
        if gone.is_some() {
            return Err(Trouble::Orchagent(
                "orchagent did not confirm the removal of the session that was tried within 1 s",
            ));
        }
        let trial = match seen?.as_deref() {
            Some("active") => Trial::Active,
            Some(_) => Trial::Inactive,
            None => Trial::Refused,
        };
        Ok((trial, took))
    }

    /// The session's `status` in STATE_DB once it is as wanted, or at the end of the limit.
    async fn wait_for(&self, limit: Duration, wanted: impl Fn(Option<&str>) -> bool) -> Result<Option<String>, Error> {
        let key = self.state.database().key(state_db::MIRROR_SESSION, &self.name);
        let end = Instant::now() + limit;
        loop {
            let row = self.state.hgetall(&key).await?;
            let status = (!row.is_empty()).then(|| row.get("status").cloned().unwrap_or_default());
            if wanted(status.as_deref()) || Instant::now() >= end {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

enum Trouble {
    Redis(Error),
    Orchagent(&'static str),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Redis(error)
    }
}

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const WORDS: [(&str, Trial); 3] =
    [("active", Trial::Active), ("inactive", Trial::Inactive), ("refused", Trial::Refused)];

/// `refused active`: the CPU port, then the policer.
fn write_note(trials: &Trials) -> String {
    let word = |trial: &Trial| WORDS.iter().find(|(_, known)| known == trial).map_or("", |(word, _)| word);
    format!("{} {}\n", word(&trials.span_to_cpu), word(&trials.policer))
}

fn read_note(text: &str) -> Option<Trials> {
    let trial = |word: &str| WORDS.iter().find(|(known, _)| *known == word).map(|(_, trial)| trial.clone());
    let (span_to_cpu, policer) = text.trim().split_once(' ')?;
    Some(Trials { span_to_cpu: trial(span_to_cpu)?, policer: trial(policer)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::world::Port;

    #[test]
    fn what_was_found_is_known_to_the_next_daemon_and_a_damaged_note_is_not_believed() {
        let trials = Trials { span_to_cpu: Trial::Refused, policer: Trial::Inactive };
        assert_eq!(write_note(&trials), "refused inactive\n");
        assert_eq!(read_note("refused inactive\n"), Some(trials));
        for damaged in ["", "refused", "refused perhaps", "x active"] {
            assert_eq!(read_note(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_port_that_is_something_elses_is_not_tried_with() {
        let names = ["Ethernet0", "Ethernet4", "Ethernet8", "Ethernet12"];
        let mut world = World {
            ports: names.map(|name| (name.to_owned(), Port::default())).into(),
            pool: ["CPU", "Ethernet0", "Ethernet4", "Ethernet8", "Ethernet12"]
                .map(|name| (name.to_owned(), None))
                .into(),
            vlan_members: ["Ethernet0".to_owned()].into(),
            routed_ports: ["Ethernet12".to_owned()].into(),
            port_channels: BTreeMap::from([("PortChannel1".to_owned(), ["Ethernet4".to_owned()].into())]),
            ..World::default()
        };
        assert_eq!(free_port(&world).as_deref(), Some("Ethernet8"));
        world.routed_ports.insert("Ethernet8".to_owned());
        assert_eq!(free_port(&world), None);
    }
}
