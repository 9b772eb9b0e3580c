//! The lab process: builds the switch, then serves it until it is told to end. Everything it makes is held by its own
//! descriptors and namespaces, so that whatever ends the process ends the switch.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::dup2_stderr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::asic::{self, Policer};
use super::control::{self, Answer, FaultRequest};
use super::control_plane::{ControlPlane, FaultSender};
use super::layout::PortCount;
use super::namespaces::{NetworkNamespaces, create_network, create_private_run, enter_network};
use super::network::create_devices;
use super::state::{LabState, ProcessId, files};

/// What `telegen-lab up` is asked for.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The lab's directory.
    pub dir: PathBuf,
    /// Front-panel ports.
    pub ports: PortCount,
    /// Copies per second and destination.
    pub policer: Policer,
    /// Whether nobody looks at this process's stderr once it has said that it is ready.
    pub detached: bool,
}

/// Builds the switch, says one line on stdout when it is ready, and serves it until SIGINT, SIGTERM or SIGHUP.
///
/// The calling process must be single-threaded: it moves itself into the switch's namespaces.
///
/// # Errors
/// What could not be built; nothing of it stays.
pub fn up(options: &UpOptions) -> Result<()> {
    let directory = LabDirectory::claim(&options.dir)?;
    let started = build(options, &directory).and_then(|(state, namespaces)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let switch = runtime.block_on(Switch::start(&directory, &state))?;
        Ok((runtime, switch, namespaces))
    });
    let (runtime, switch, _namespaces) = started.inspect_err(|_| directory.clean_up_after_failure())?;
    if options.detached {
        directory.log_instead_of_stderr()?;
    }
    // Whoever waits for this line and goes away has not got a lab.
    writeln!(io::stdout(), "{}", ready_line(&directory.path, options.ports))
        .context("saying that the switch is ready")?;
    // If the switch fails, its files stay: they tell `down` what to wait for, and the user why.
    runtime.block_on(switch.serve())?;
    remove_files(&directory.path, directory.made)
}

fn ready_line(dir: &Path, ports: PortCount) -> String {
    let dir = dir.display();
    format!("{ports} ports are up; `telegen-lab run --dir {dir} -- COMMAND` runs a command on the switch")
}

/// Builds the switch's network. The returned handles keep it alive.
fn build(options: &UpOptions, directory: &LabDirectory) -> Result<(LabState, NetworkNamespaces)> {
    create_private_run()?;
    let namespaces = create_network()?;
    create_devices(&namespaces, options.ports)?;
    enter_network(&namespaces.asic)?;
    let asic = asic::install(options.ports, options.policer)?;
    enter_network(&namespaces.switch)?;
    let state = LabState {
        process: ProcessId::of_self()?,
        asic_fd: namespaces.asic.as_raw_fd(),
        made_directory: directory.made,
        ports: options.ports,
        asic,
    };
    Ok((state, namespaces))
}

/// A complete switch.
struct Switch {
    signals: [Signal; 3],
    listener: UnixListener,
    control_plane: ControlPlane,
}

impl Switch {
    async fn start(directory: &LabDirectory, state: &LabState) -> Result<Switch> {
        // From here on a signal ends the lab in order. Before, it kills the process, and there is nothing to tidy up.
        let on = |kind| signal(kind).context("listening to signals");
        let signals = [on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?];
        let listener = directory.bind_control_socket()?;
        let control_plane = ControlPlane::start(state).await?;
        state.write(&directory.path)?;
        Ok(Switch { signals, listener, control_plane })
    }

    /// Runs the control plane and answers the control socket until a signal comes.
    ///
    /// # Errors
    /// A part of the switch failed.
    async fn serve(mut self) -> Result<()> {
        let faults = self.control_plane.faults();
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = hangup.recv() => Ok(()),
            outcome = self.control_plane.run() => outcome,
            outcome = answer_requests(&self.listener, &faults) => outcome,
        }
    }
}

/// One after the other: a fault takes microseconds, and the order in which they were asked for is kept.
async fn answer_requests(listener: &UnixListener, faults: &FaultSender) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    loop {
        let (stream, _) = listener.accept().await.context("accepting on the control socket")?;
        match timeout(PATIENCE, answer(stream, faults)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("a request on the control socket failed: {error:#}"),
            Err(_) => tracing::warn!("a client of the control socket said nothing for {} s", PATIENCE.as_secs()),
        }
    }
}

async fn answer(stream: UnixStream, faults: &FaultSender) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let outcome = match serde_json::from_str::<FaultRequest>(&line) {
        Ok(FaultRequest { fault, session }) => faults.send(fault.into(), session).await,
        Err(error) => Err(format!("'{}' is no request: {error}", line.trim_end())),
    };
    let answer = outcome.map_or_else(Answer::Error, |()| Answer::Done);
    let text = serde_json::to_string(&answer)? + "\n";
    Ok(stream.get_mut().write_all(text.as_bytes()).await?)
}

/// The lab's directory, locked: two labs cannot have the same one. The kernel drops the lock with the process.
struct LabDirectory {
    path: PathBuf,
    handle: Flock<File>,
    made: bool,
}

impl LabDirectory {
    fn claim(path: &Path) -> Result<LabDirectory> {
        // A lab that was killed may have made it; then it is ours to remove as it was that lab's.
        let made =
            !path.exists() || LabState::read(path).is_ok_and(|dead| dead.is_some_and(|dead| dead.made_directory));
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let path = fs::canonicalize(path)?;
        let handle = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(handle) => Ok(LabDirectory { path, handle, made }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let dir = path.display();
                bail!(
                    "a lab already runs in {dir}; end it with `telegen-lab down --dir {dir}` or choose another directory"
                )
            }
            Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    fn bind_control_socket(&self) -> Result<UnixListener> {
        let path = control::socket_path(&self.handle);
        unless_missing(fs::remove_file(&path)).context("removing the control socket of a lab that died")?;
        UnixListener::bind(&path).with_context(|| format!("making {} in {}", files::CONTROL, self.path.display()))
    }

    /// Nobody reads a detached lab's stderr once it has started.
    fn log_instead_of_stderr(&self) -> Result<()> {
        let path = self.path.join(files::LOG);
        let log = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        dup2_stderr(log).with_context(|| format!("logging to {}", path.display()))
    }

    /// The failure itself is what the user must hear; if this fails too, a file stays that the next `up` replaces.
    fn clean_up_after_failure(&self) {
        let _ = remove_files(&self.path, self.made);
    }
}

/// Removes the lab's files from its directory, and the directory if `up` made it and nobody else put anything there.
pub(super) fn remove_files(dir: &Path, made_directory: bool) -> Result<()> {
    for name in files::ALL {
        let path = dir.join(name);
        unless_missing(fs::remove_file(&path)).with_context(|| format!("removing {}", path.display()))?;
    }
    if !made_directory {
        return Ok(());
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => unless_missing(removed).with_context(|| format!("removing {}", dir.display())),
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
