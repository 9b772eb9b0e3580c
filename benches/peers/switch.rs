//! The virtual switch whose port's netdev the traffic is on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// The netdev of the first port.
pub const NETDEV: &str = "Ethernet0";

/// Its other end, out of the switch's sight.
pub const PEER: &str = "cpu0";

const DEADLINE: Duration = Duration::from_secs(30);

/// A running switch; dropping it ends everything on it.
pub struct Switch {
    bin: PathBuf,
    dir: tempfile::TempDir,
    /// A process on it.
    pub pid: i32,
    /// The descriptor of that process that is the namespace of the ports' other ends.
    asic_fd: u64,
}

impl Switch {
    /// With the release binaries, or those in `TELEGEN_BIN_DIR`.
    pub fn up() -> Switch {
        let bin = PathBuf::from(std::env::var_os("TELEGEN_BIN_DIR").unwrap_or("target/release".into()));
        let bin = bin.canonicalize().expect("the release binaries are needed: make build");
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("lab");
        let up =
            Command::new(bin.join("telegen-lab")).args(["up", "--ports", "4", "--detach", "--dir"]).arg(&lab).output();
        let up = up.unwrap();
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        let lab: Value = serde_json::from_slice(&fs::read(lab.join("lab.json")).unwrap()).unwrap();
        let pid = i32::try_from(lab["process"]["pid"].as_i64().unwrap()).unwrap();
        Switch { bin, pid, asic_fd: lab["asic_fd"].as_u64().unwrap(), dir }
    }

    /// A directory that goes with the switch.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One of our programs.
    pub fn binary(&self, name: &str) -> String {
        self.bin.join(name).to_str().unwrap().to_owned()
    }

    /// A command to be run on the switch.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("telegen-lab"));
        command.args(["run", "--dir"]).arg(self.dir.path().join("lab")).arg("--").args(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What a command on the switch prints.
    pub fn ask(&self, words: &[&str]) -> String {
        let output = self.command(words).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs something in the switch's network namespace.
    pub fn in_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&format!("/proc/{}/ns/net", self.pid), work)
    }

    /// Runs something in the network namespace of the other ends of the ports' netdevs.
    pub fn behind_the_port<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&format!("/proc/{}/fd/{}", self.pid, self.asic_fd), work)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let lab = self.dir.path().join("lab");
        let _ = Command::new(self.bin.join("telegen-lab")).args(["down", "--dir"]).arg(lab).output();
    }
}

fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(namespace).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Waits until something is so.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
