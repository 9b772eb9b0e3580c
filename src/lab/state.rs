//! `lab.json`: how other commands find a running lab, and whether the process it names is still that lab.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::asic::AsicIds;
use super::layout::PortCount;

/// Files that `up` makes in the lab's directory; nothing else in it is the lab's.
pub mod files {
    /// [`super::LabState`] as JSON.
    pub const STATE: &str = "lab.json";
    /// Unix socket of the lab process, see `control`.
    pub const CONTROL: &str = "control.sock";
    /// What a detached lab says, the orchagent's log lines among it.
    pub const LOG: &str = "lab.log";
    /// All of them.
    pub const ALL: [&str; 3] = [STATE, CONTROL, LOG];
}

/// A running lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// The lab process.
    pub process: ProcessId,
    /// Number of the lab process's descriptor that holds the network namespace "asic".
    pub asic_fd: i32,
    /// Whether `up` made the lab's directory, so that `down` removes it.
    pub made_directory: bool,
    /// How many ports the switch has.
    pub ports: PortCount,
    /// The ASIC's programs and maps.
    pub asic: AsicIds,
}

/// A process for good: a pid alone may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: i32,
    /// Clock ticks between boot and its start: field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    pub start_time: u64,
}

impl LabState {
    /// Reads the state of the lab in `dir`, whether it still runs or not; `None` if there never was one.
    ///
    /// # Errors
    /// The file cannot be read or is not a lab's.
    pub fn read(dir: &Path) -> Result<Option<LabState>> {
        let path = dir.join(files::STATE);
        match fs::read(&path) {
            Ok(text) => {
                let state =
                    serde_json::from_slice(&text).with_context(|| format!("{} is not a lab's", path.display()))?;
                Ok(Some(state))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// The lab in `dir`, which must be running.
    ///
    /// # Errors
    /// There is none, or it has died; the message says how to start one.
    pub fn running(dir: &Path) -> Result<(LabState, Process)> {
        let advice = format!("start one with `telegen-lab up --dir {} --detach`", dir.display());
        let Some(state) = LabState::read(dir)? else { bail!("no lab runs in {}; {advice}", dir.display()) };
        let Some(process) = state.process.open()? else {
            bail!("the lab in {} has died, perhaps its {} says why; {advice}", dir.display(), files::LOG)
        };
        Ok((state, process))
    }

    /// Writes the state, all or nothing.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let (path, new) = (dir.join(files::STATE), dir.join("lab.json.new"));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&new, text + "\n")
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// The network namespace "asic" of the running lab.
    ///
    /// # Errors
    /// The lab has gone, or the caller is not root.
    pub fn open_asic_namespace(&self) -> Result<OwnedFd> {
        let path = PathBuf::from(format!("/proc/{}/fd/{}", self.process.pid, self.asic_fd));
        Ok(File::open(&path)
            .with_context(|| format!("opening the ASIC's network namespace {}", path.display()))?
            .into())
    }
}

impl ProcessId {
    /// The calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_self() -> Result<ProcessId> {
        let pid = i32::try_from(std::process::id())?;
        let start_time = start_time(pid)?.context("/proc does not show this process")?;
        Ok(ProcessId { pid, start_time })
    }

    /// A handle of the process if it still runs.
    ///
    /// # Errors
    /// The kernel refuses for another reason than that the process is gone.
    pub fn open(self) -> Result<Option<Process>> {
        let Some(process) = Process::open(self.pid)? else { return Ok(None) };
        // Opened first: if the start time agrees now, the handle is of the process that was meant.
        Ok((start_time(self.pid)? == Some(self.start_time)).then_some(process))
    }
}

/// A process that cannot be mistaken for a later one with the same pid: a pidfd (pidfd_open(2)).
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
}

impl Process {
    /// Opens the process that has this pid now, or `None` if there is none.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn open(pid: i32) -> Result<Option<Process>> {
        // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd >= 0 {
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            return Ok(Some(Process { fd: unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) } }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ESRCH | libc::EINVAL) => Ok(None),
            _ => Err(error).with_context(|| format!("opening process {pid}")),
        }
    }

    /// Sends a signal; a process that has gone already is fine.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // SAFETY: integers and a null siginfo, which asks for what kill(2) would send.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal as i32,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            Ok(())
        } else {
            Err(error).context("sending a signal to the lab")
        }
    }

    /// Waits until the process has ended, at most until `deadline`. Returns whether it has.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn wait_until(&self, deadline: Instant) -> Result<bool> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.min(Duration::from_secs(60)) + Duration::from_millis(1))?;
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error).context("waiting for a process"),
            }
        }
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> OwnedFd {
        process.fd
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Field 22 of `/proc/PID/stat`; `None` if there is no such process, or if it has ended and only awaits its parent.
fn start_time(pid: i32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(stat) => {
            let (state, start_time) =
                parse_stat(&stat).with_context(|| format!("{path} has an unknown form: {stat}"))?;
            Ok((!matches!(state, 'Z' | 'X')).then_some(start_time))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {path}")),
    }
}

/// State and start time. The second field, the name, may hold spaces and parentheses; the last parenthesis ends it.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    const FIELDS_BETWEEN: usize = 22 - 3 - 1;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(FIELDS_BETWEEN)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_look_like_anything() {
        let stat = "12 (a) R 1 (b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
    }

    #[test]
    fn a_reused_pid_is_not_taken_for_the_lab() {
        let me = ProcessId::of_self().unwrap();
        assert!(me.open().unwrap().is_some());
        let earlier = ProcessId { start_time: me.start_time - 1, ..me };
        assert!(earlier.open().unwrap().is_none());
    }
}
