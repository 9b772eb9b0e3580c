//! The daemon as a process on the switch: started, ended, killed, and what it holds in the kernel.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telegen_sonic::lab::handle::Lab;

use crate::kernel::BpfObjects;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_telegen-sonic");

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    pub log: PathBuf,
}

impl Daemon {
    /// Starts a daemon on the switch; what it says goes to `log`. It is not ready yet. The words of `TELEGEN_DAEMON_WRAPPER` are put
    /// before the command: a program that takes away rights and then becomes the daemon (`make test-capabilities`).
    pub fn spawn(lab: &Lab, arguments: &[&str], log: &Path) -> Daemon {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let wrapper = std::env::var("TELEGEN_DAEMON_WRAPPER").unwrap_or_default();
        let wrapper: Vec<&str> = wrapper.split_whitespace().collect();
        let mut command = lab.run_command(&[&wrapper, &[BINARY, "daemon"][..], arguments].concat());
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Daemon { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    /// `telegen-lab run` replaces itself by the command, so the child is the daemon.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The programs, maps and links that it holds now.
    pub fn bpf_objects(&self) -> BpfObjects {
        BpfObjects::of_process(self.pid())
    }

    /// Lets it do nothing until [`Daemon::resume`].
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        while !self.all_threads_are_stopped() {
            thread::yield_now();
        }
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM; how it ended, and after how long.
    pub fn terminate(self, limit: Duration) -> (ExitStatus, Duration) {
        self.signal(Signal::SIGTERM);
        self.ends(limit)
    }

    /// Waits until it ends; how it does, and after how long.
    pub fn ends(mut self, limit: Duration) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            assert!(begin.elapsed() < limit, "the daemon still lives after {limit:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGKILL at this very moment. Says what it held: the process is stopped first, so that nothing changes while that
    /// is looked up.
    pub fn kill(mut self) -> BpfObjects {
        self.pause();
        let held = self.bpf_objects();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        held
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    fn all_threads_are_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // A thread that has just ended has no stat any more. The state stands behind the name, which ends with the last ')'.
        let states = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        states.map(|stat| stat.rsplit_once(") ").unwrap().1.to_owned()).all(|rest| rest.starts_with(['T', 'Z', 'X']))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
