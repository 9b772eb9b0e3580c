//! A lab for tests and demonstrations: started by the `telegen-lab` binary, ended when the handle is dropped.

use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::asic_maps::AsicMaps;
use super::control::{self, FaultName, FaultRequest};
use super::layout::PortCount;
use super::namespaces::REDIS_DIR;
use super::send::{Pace, Source};
use super::sent::Sent;
use super::state::LabState;

/// How to start a lab.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The `telegen-lab` binary; tests have it from `env!("CARGO_BIN_EXE_telegen-lab")`.
    pub binary: PathBuf,
    /// Front-panel ports.
    pub ports: PortCount,
    /// Copies per second and destination; all if absent.
    pub policer: Option<NonZeroU32>,
}

impl LabOptions {
    /// A switch of the default size without a policer.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> LabOptions {
        LabOptions { binary: binary.into(), ports: PortCount::default(), policer: None }
    }
}

/// A running lab. Dropping it is `telegen-lab down`.
#[derive(Debug)]
pub struct Lab {
    binary: PathBuf,
    dir: PathBuf,
    state: LabState,
}

impl Lab {
    /// Starts a lab in `dir` and returns when its switch is ready.
    ///
    /// # Errors
    /// What `telegen-lab up` said.
    pub fn start(dir: impl Into<PathBuf>, options: &LabOptions) -> Result<Lab> {
        let dir = dir.into();
        let mut up = Command::new(&options.binary);
        up.arg("up").arg("--dir").arg(&dir).arg("--detach").arg("--ports").arg(options.ports.to_string());
        if let Some(rate) = options.policer {
            up.arg("--policer").arg(rate.to_string());
        }
        output_of(up)?;
        let state = LabState::read(&dir)?.context("the lab has ended again")?;
        Ok(Lab { binary: options.binary.clone(), dir, state })
    }

    /// The lab's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the lab's processes, maps and programs are.
    #[must_use]
    pub fn state(&self) -> &LabState {
        &self.state
    }

    /// The socket of the switch's Redis, as it is reached from outside of the lab.
    #[must_use]
    pub fn redis_socket(&self) -> PathBuf {
        self.path_inside(Path::new(REDIS_DIR).join("redis.sock"))
    }

    /// A file of the switch (`/run/telegen/rest.sock`), as it is reached from outside of the lab.
    #[must_use]
    pub fn path_inside(&self, path: impl AsRef<Path>) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.state.process.pid));
        root.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    /// A command that runs on the switch, ready to be spawned; its exit status is the command's.
    #[must_use]
    pub fn run_command(&self, command: &[impl AsRef<OsStr>]) -> Command {
        let mut run = self.command("run");
        run.arg("--").args(command);
        run
    }

    /// Puts traffic on a port's wire; returns when every frame has left and every copy is delivered or dropped.
    ///
    /// # Errors
    /// What `telegen-lab send` said.
    pub fn send(&self, port: &str, source: &Source, pace: Pace) -> Result<Sent> {
        let mut send = self.command("send");
        send.arg("--port").arg(port).arg("--seed").arg(pace.seed.to_string());
        match source {
            Source::Capture(path) => send.arg("--pcap").arg(path),
            Source::Profile(profile) => send.arg("--profile").arg(profile.as_str()),
        };
        if let Some(pps) = pace.pps {
            send.arg("--pps").arg(pps.to_string());
        }
        if let Some(count) = pace.count {
            send.arg("--count").arg(count.to_string());
        }
        serde_json::from_slice(&output_of(send)?).context("reading what `telegen-lab send` printed")
    }

    /// Makes the virtual orchagent misbehave, for one mirror session or for all.
    ///
    /// # Errors
    /// The lab process refused or does not answer.
    pub fn fault(&self, fault: FaultName, session: Option<&str>) -> Result<()> {
        control::request(&self.dir, &FaultRequest { fault, session: session.map(str::to_owned) })
    }

    /// The ASIC's counters, and its mirror bindings, which a test may set past the orchagent.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn asic(&self) -> Result<AsicMaps> {
        AsicMaps::open(&self.state.asic, self.state.ports)
    }

    /// Ends the lab and says what went wrong, if anything did; dropping the handle can only print it.
    ///
    /// # Errors
    /// What `telegen-lab down` said.
    pub fn end(self) -> Result<()> {
        let outcome = output_of(self.command("down"));
        std::mem::forget(self);
        outcome.map(drop)
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(subcommand).arg("--dir").arg(&self.dir);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = output_of(self.command("down")) {
            eprintln!("the lab in {} could not be ended: {error:#}", self.dir.display());
        }
    }
}

/// What the command prints, if it succeeds; what it says on stderr is the error otherwise.
fn output_of(mut command: Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(output.stdout)
}
