//! The commands around a lab process: start it detached, run something on its switch, end it. `up` itself is `switch`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::{MapHandle, Program};
use nix::sched::{CloneFlags, setns};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;

use super::asic::AsicIds;
use super::state::{LabState, Process, ProcessId};
use super::switch::{UpOptions, remove_files};

/// What `run` sets in its command's environment, so that `down` finds what was started in the lab.
pub const LAB_VARIABLE: &str = "TELEGEN_LAB";

/// How long a process has to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel has to dissolve the namespaces.
const KERNEL_PATIENCE: Duration = Duration::from_secs(30);

/// Fails with a clear message unless the caller is root.
///
/// # Errors
/// The caller is not root.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "telegen-lab needs root: it makes network namespaces and loads BPF programs"
    );
    Ok(())
}

/// Starts a lab process of its own and returns the line that it says when its switch is ready.
///
/// # Errors
/// The lab process's own words about what failed.
pub fn up_detached(options: &UpOptions) -> Result<String> {
    // In memory, so that a start that fails leaves no file, and one in a directory in use does not touch the other's.
    let words =
        File::from(memfd_create("telegen-lab stderr", MFdFlags::MFD_CLOEXEC).context("making a file in memory")?);
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["up", "--serve-detached"])
        .arg("--dir")
        .arg(&options.dir)
        .arg("--ports")
        .arg(options.ports.to_string());
    if let Some(rate) = options.policer {
        command.arg("--policer").arg(rate.to_string());
    }
    // Its own process group: the terminal's Ctrl-C is for whoever started the lab, not for the lab.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words.try_clone()?).process_group(0);
    let mut child = command.spawn().context("starting the lab process")?;
    let stdout = child.stdout.take().context("the lab process has no stdout")?;
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready)?;
    if !ready.is_empty() {
        return Ok(ready);
    }
    let status = child.wait()?;
    let words = read_from_start(words)?;
    match words.trim().trim_start_matches("telegen-lab: ") {
        "" => bail!("the lab process ended with {status} and said nothing"),
        words => bail!("{words}"),
    }
}

fn read_from_start(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces the calling process by `command` on the switch of the lab in `dir`: in its network and mount namespaces, in
/// the current directory if that exists there. Returns only if that fails.
///
/// The calling process must be single-threaded, or the kernel refuses the mount namespace.
///
/// # Errors
/// No lab runs in `dir`, or the command cannot be executed.
pub fn run(dir: &Path, program: &OsStr, arguments: &[impl AsRef<OsStr>]) -> Result<std::convert::Infallible> {
    let (state, process) = LabState::running(dir)?;
    let here = env::current_dir();
    setns(&process, CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("entering the switch")?;
    let is_here = here.is_ok_and(|here| env::set_current_dir(here).is_ok());
    if !is_here {
        env::set_current_dir("/")?;
    }
    let error = Command::new(program).args(arguments).env(LAB_VARIABLE, lab_mark(state.process)).exec();
    Err(error).with_context(|| format!("running '{}' on the switch", program.to_string_lossy()))
}

/// Names a lab process for good, also after another process got its pid.
fn lab_mark(process: ProcessId) -> String {
    format!("{}.{}", process.pid, process.start_time)
}

/// Ends the lab in `dir` and removes what `up` made there. Returns once nothing of it is left: what `run` started, the lab
/// process, the namespaces, the BPF programs. Returns false if there was no lab.
///
/// # Errors
/// Something does not go away; the message says what.
pub fn down(dir: &Path) -> Result<bool> {
    let Some(state) = LabState::read(dir)? else { return Ok(false) };
    // Like a machine that shuts down: first the programs, while what they want to tidy up still answers.
    end(&processes_started_in(state.process)?, "a process that `run` started")?;
    if let Some(process) = state.process.open()? {
        end(&[process], "the lab process")?;
    }
    await_gone(&state.asic)?;
    remove_files(dir, state.made_directory)?;
    Ok(true)
}

/// SIGTERM, and SIGKILL for those that are still there after [`PATIENCE`].
fn end(processes: &[Process], what: &str) -> Result<()> {
    for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, KERNEL_PATIENCE)] {
        let deadline = Instant::now() + patience;
        for process in processes {
            process.signal(signal)?;
        }
        let mut all_ended = true;
        for process in processes {
            all_ended &= process.wait_until(deadline)?;
        }
        if all_ended {
            return Ok(());
        }
    }
    bail!("{what} survived SIGKILL for {} s", KERNEL_PATIENCE.as_secs())
}

/// The processes whose environment says that this lab's `run` started them, or one of their ancestors.
fn processes_started_in(lab: ProcessId) -> Result<Vec<Process>> {
    let mark = format!("{LAB_VARIABLE}={}", lab_mark(lab));
    let is_marked = |pid: i32| {
        // A process that has just ended has no environment any more, and needs no ending.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let own_pid = i32::try_from(std::process::id())?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if pid == own_pid || !is_marked(pid) {
            continue;
        }
        // Asked again with the handle in hand: the pid may have got another process in between.
        if let Some(process) = Process::open(pid)?.filter(|_| is_marked(pid)) {
            found.push(process);
        }
    }
    Ok(found)
}

/// The kernel dissolves namespaces some time after their last process: devices, then filters, programs, and at last maps.
/// Nothing of the namespaces themselves can be seen from outside.
fn await_gone(asic: &AsicIds) -> Result<()> {
    let remains = || {
        let program =
            asic.programs.iter().find(|id| Program::fd_from_id(**id).is_ok()).map(|id| format!("program {id}"));
        let mut maps = [asic.ports, asic.copies, asic.bindings, asic.tunnels].into_iter();
        program.or_else(|| maps.find(|id| MapHandle::from_map_id(*id).is_ok()).map(|id| format!("map {id}")))
    };
    let deadline = Instant::now() + KERNEL_PATIENCE;
    while let Some(remains) = remains() {
        ensure!(
            Instant::now() < deadline,
            "the ASIC's BPF {remains} is still there: something else holds the lab's network"
        );
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
