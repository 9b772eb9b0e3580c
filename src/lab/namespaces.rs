//! The lab's namespaces: two of the network, one of mounts. They live as long as a process or a descriptor holds them,
//! so nothing of them survives the lab process; nothing is written outside them.

use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Where the switch's Redis lives, inside its private `/run` (`/var/run` on a SONiC switch is the same directory).
pub const REDIS_DIR: &str = "/run/redis";
/// Where the daemon's REST socket lives.
const DAEMON_DIR: &str = "/run/telegen";

/// Handles of the two network namespaces.
pub struct NetworkNamespaces {
    /// Wires and the ASIC.
    pub asic: OwnedFd,
    /// The switch's own: Redis, the daemon and the CPU netdevs.
    pub switch: OwnedFd,
}

/// Makes both network namespaces and leaves the calling thread in "switch".
///
/// # Errors
/// The kernel's refusal, usually that the caller is not root.
pub fn create_network() -> Result<NetworkNamespaces> {
    let asic = new_network_namespace().context("making the network namespace of the ASIC")?;
    let switch = new_network_namespace().context("making the network namespace of the switch")?;
    Ok(NetworkNamespaces { asic, switch })
}

/// Without router solicitations and neighbour discovery the devices carry exactly the frames that a test sends. The
/// default is set before any device exists; `lo` keeps its `::1`, as on a switch.
fn new_network_namespace() -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let disable_ipv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if Path::new(disable_ipv6).exists() {
        fs::write(disable_ipv6, "1").with_context(|| format!("writing {disable_ipv6}"))?;
    }
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// The kernel's refusal.
pub fn enter_network(namespace: &OwnedFd) -> Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).context("entering a network namespace")
}

/// Gives the calling process a mount namespace whose `/run` holds everything of the real one, but a `redis` and a
/// `telegen` of its own. `/sys` stays as it is, so bpffs is not hidden.
///
/// # Errors
/// Says which mount the kernel refused.
pub fn create_private_run() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    // Not private but slave: what the host unmounts later must not stay busy because of the lab.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("cutting the mount namespace off from the host's")?;
    let host_run = File::open("/run").context("opening the host's /run")?;
    mount(Some("telegen-lab"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))
        .context("mounting a private /run")?;
    let host_run_path = PathBuf::from(format!("/proc/self/fd/{}", host_run.as_raw_fd()));
    for entry in fs::read_dir(&host_run_path).context("listing the host's /run")? {
        let entry = entry?;
        if entry.file_name() != "redis" && entry.file_name() != "telegen" {
            adopt(&entry.path(), &entry.file_name(), entry.file_type()?)?;
        }
    }
    for private in [REDIS_DIR, DAEMON_DIR] {
        fs::create_dir(private).with_context(|| format!("making {private}"))?;
    }
    if fs::canonicalize("/var/run").is_ok_and(|target| target != Path::new("/run")) {
        mount(Some("/run"), "/var/run", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .context("making /var/run the same as /run")?;
    }
    Ok(())
}

/// Shows one entry of the host's /run in the private one.
fn adopt(source: &Path, name: &OsStr, kind: FileType) -> Result<()> {
    let target = Path::new("/run").join(name);
    if kind.is_symlink() {
        let destination = fs::read_link(source)?;
        return symlink(destination, &target).with_context(|| format!("making the link {}", target.display()));
    }
    if kind.is_dir() {
        fs::create_dir(&target)?;
    } else {
        ensure!(
            kind.is_file() || kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device(),
            "{} is of an unknown kind",
            target.display()
        );
        File::create(&target)?;
    }
    mount(Some(source), &target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("showing the host's {}", target.display()))
}
