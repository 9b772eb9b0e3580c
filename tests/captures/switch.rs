//! The lab, the daemon in it, and one job after the other, by the tables alone: rows in, rows out.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::{Commands, Connection};
use telegen_sonic::lab::handle::{Lab, LabOptions};
use telegen_sonic::lab::layout::PortCount;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::sent::{Count, Sent};
use telegen_sonic::model::sample::FlowKey;
use tempfile::TempDir;

use crate::view::View;

/// For what takes a fraction of a second on an idle machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at a row.
const LOOK: Duration = Duration::from_millis(10);
/// The most rows of flows that a job can be told to write.
pub const STATE_FLOWS: usize = 100;
/// Database numbers of every `database_config.json` that SONiC ships.
const ASIC_DB: u32 = 1;
const CONFIG_DB: u32 = 4;
const STATE_DB: u32 = 6;

type Row = redis::RedisResult<std::collections::HashMap<String, String>>;

/// A switch with a daemon. The daemon is first, so that it ends before the lab goes.
pub struct Switch {
    daemon: Daemon,
    lab: Lab,
    home: TempDir,
}

struct Daemon(Child);

impl Daemon {
    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `telegen-lab run` has become the daemon, so the child is the daemon itself.
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        if self.is_running() {
            kill(pid, Signal::SIGTERM).unwrap();
        }
        self.0.wait().unwrap();
    }
}

/// What became of one capture.
pub struct Observed {
    pub sent: Sent,
    pub seen: View,
    /// `results --json`.
    pub results: serde_json::Value,
}

impl Switch {
    pub fn start() -> Switch {
        let home = tempfile::tempdir().unwrap();
        let options = LabOptions {
            ports: PortCount::try_from(12).unwrap(),
            ..LabOptions::new(env!("CARGO_BIN_EXE_telegen-lab"))
        };
        let lab = Lab::start(home.path().join("lab"), &options).unwrap();
        let settings = [("state_flows", STATE_FLOWS.to_string()), ("topk_flows", "4096".to_owned())];
        let _: () = connect(&lab, CONFIG_DB).hset_multiple("TELEGEN|global", &settings).unwrap();
        let log = File::create(home.path().join("daemon.log")).unwrap();
        let child = lab
            .run_command(&[env!("CARGO_BIN_EXE_telegen-sonic"), "daemon"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut switch = Switch { daemon: Daemon(child), lab, home };
        let mut state = connect(&switch.lab, STATE_DB);
        let started = Instant::now();
        while !state.exists::<_, bool>("TELEGEN_DAEMON_TABLE|localhost").unwrap() {
            let is_waiting = switch.daemon.is_running() && started.elapsed() < DEADLINE;
            assert!(is_waiting, "the daemon does not start:\n{}", switch.log());
            thread::sleep(LOOK);
        }
        switch
    }

    /// Ends everything, and says what went wrong in that. Nobody but the daemon asked for sessions: none is left in ASIC_DB.
    pub fn end(self) {
        let Switch { daemon, lab, home } = self;
        drop(daemon);
        let mut asic = connect(&lab, ASIC_DB);
        for kind in ["MIRROR_SESSION", "SAMPLEPACKET"] {
            let left: Vec<String> = asic.keys(format!("ASIC_STATE:SAI_OBJECT_TYPE_{kind}:*")).unwrap();
            assert_eq!(left, [""; 0]);
        }
        lab.end().unwrap();
        home.close().unwrap();
    }

    /// Who runs jobs on one port.
    pub fn client(&self, port: &'static str) -> Client<'_> {
        let (config, state) = (connect(&self.lab, CONFIG_DB), connect(&self.lab, STATE_DB));
        Client { switch: self, port, jobs: 0, config, state }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("daemon.log")).unwrap()
    }
}

fn connect(lab: &Lab, database: u32) -> Connection {
    let address = format!("redis+unix://{}?db={database}", lab.redis_socket().display());
    redis::Client::open(address).unwrap().get_connection().unwrap()
}

/// Runs one job after the other on a port.
pub struct Client<'switch> {
    switch: &'switch Switch,
    port: &'static str,
    jobs: usize,
    config: Connection,
    state: Connection,
}

impl Client<'_> {
    /// A job from its row to its results, with the capture sent while it runs.
    pub fn replay(&mut self, capture: &Path) -> Result<Observed, String> {
        self.jobs += 1;
        let id = format!("{}-{}", self.port, self.jobs);
        let key = format!("TELEGEN_JOB|{id}");
        // A row that says when it expires is taken up at once.
        let expires_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(5)).to_string();
        let row = [
            ("port", self.port),
            ("sample_rate", "1"),
            ("duration", "120"),
            ("otlp_export", "false"),
            ("expires_at", &expires_at),
        ];
        let _: () = self.config.hset_multiple(&key, &row).map_err(|error| error.to_string())?;
        self.wait_for(&id, "running")?;
        let sent = self.switch.lab.send(self.port, &Source::Capture(capture.to_owned()), Pace::default());
        let sent = sent.map_err(|error| format!("{error:#}"))?;
        let _: () = self.config.del(&key).map_err(|error| error.to_string())?;
        self.wait_for(&id, "stopped")?;
        let seen = self.results(&id, sent.flows.len())?;
        Ok(Observed { sent, seen, results: self.results_json(&id)? })
    }

    fn results_json(&self, id: &str) -> Result<serde_json::Value, String> {
        let command = [env!("CARGO_BIN_EXE_telegen-sonic"), "results", id, "--json"];
        let output = self.switch.lab.run_command(&command).output().map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("results: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn wait_for(&mut self, id: &str, wanted: &str) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let row = self.row(&format!("TELEGEN_JOB_TABLE|{id}"))?;
            let status = row.get("status").map_or("none", String::as_str);
            let is_over = matches!(status, "done" | "stopped" | "failed" | "rejected" | "expired");
            if status == wanted {
                return Ok(());
            }
            if is_over || started.elapsed() > DEADLINE {
                return Err(format!("not {wanted} after {:?}: {row:?}\n{}", started.elapsed(), self.switch.log()));
            }
            thread::sleep(LOOK);
        }
    }

    fn row(&mut self, key: &str) -> Result<Fields, String> {
        let row: Row = self.state.hgetall(key);
        row.map(Fields).map_err(|error| format!("{key}: {error}"))
    }

    /// What the job's rows say, when it is over.
    fn results(&mut self, id: &str, flows: usize) -> Result<View, String> {
        let row = self.row(&format!("TELEGEN_RESULT_TABLE|{id}"))?;
        let mut view = View { total: row.counter("packets_total", "bytes_total")?, ..View::default() };
        // Nothing is filtered, and everything is analysed.
        for name in ["packets_delivered", "packets_analysed"] {
            if row.number(name)? != view.total.packets {
                return Err(format!("{name} is not packets_total: {row:?}"));
            }
        }
        let classes = row.0.keys().filter(|name| name.starts_with("eth_") || name.starts_with("ip_"));
        for class in classes.filter_map(|name| name.strip_suffix("_packets")) {
            let count = row.counter(&format!("{class}_packets"), &format!("{class}_bytes"))?;
            view.classes.insert(class.to_owned(), count);
        }
        if row.number("flows_evicted")? != 0 || row.number("flows_seen")? != flows as u64 {
            return Err(format!("{flows} flows were sent, but: {row:?}"));
        }
        if flows > STATE_FLOWS {
            return Err(format!("{flows} flows do not fit {STATE_FLOWS} rows"));
        }
        for rank in 1..=flows {
            let row = self.row(&format!("TELEGEN_FLOW_TABLE|{id}|{rank}"))?;
            if view.flows.insert(row.flow()?, row.counter("packets", "bytes")?).is_some() {
                return Err(format!("rank {rank} is a flow that another rank is: {row:?}"));
            }
        }
        Ok(view)
    }
}

#[derive(Debug)]
struct Fields(std::collections::HashMap<String, String>);

impl Fields {
    fn get(&self, name: &str) -> Option<&String> {
        self.0.get(name)
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let value = self.get(name).ok_or_else(|| format!("there is no {name} in {self:?}"))?;
        value.parse().map_err(|_| format!("{name} is {value}"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.parsed(name)
    }

    fn counter(&self, packets: &str, bytes: &str) -> Result<Count, String> {
        Ok(Count { packets: self.number(packets)?, bytes: self.number(bytes)? })
    }

    fn flow(&self) -> Result<FlowKey, String> {
        Ok(FlowKey {
            src: self.parsed("src")?,
            dst: self.parsed("dst")?,
            ip_proto: self.parsed("ip_proto")?,
            sport: self.parsed("l4_sport")?,
            dport: self.parsed("l4_dport")?,
            vlan: self.parsed("vlan")?,
        })
    }
}
