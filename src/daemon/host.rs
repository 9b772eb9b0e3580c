//! What the daemon finds out of itself and its host at start: who it is, where it runs, and that it is the only one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};

use crate::model::ability::{Trials, abilities};
use crate::model::job::rfc3339;
use crate::model::report::{DaemonInfo, Device};
use crate::model::schema::{DAEMON_HOLD, DaemonField, config_db};
use crate::model::seed_variables::Variables;
use crate::model::settings::Settings;
use crate::model::world::World;
use crate::sonic::hold::{Hold, HoldError};
use crate::sonic::{Database, DatabaseConfig, RedisConnection};

/// Held as long as the daemon lives; the kernel releases it when the process ends, however it ends.
pub type Lock = Flock<File>;

/// Another daemon has what only one can have.
#[derive(Debug, thiserror::Error)]
#[error("{0}; stop it first")]
pub struct AnotherDaemon(String);

/// Takes the right to be the daemon of the switch whose Redis this is, wherever another one may run and whatever its state directory is; or
/// says who has it.
pub async fn hold(databases: &DatabaseConfig, state_dir: &Path) -> anyhow::Result<Hold> {
    let config = databases.database("CONFIG_DB")?;
    let who = format!(
        "pid {} on {}, state directory {}, since {}",
        std::process::id(),
        kernel_hostname(),
        state_dir.display(),
        rfc3339(Timestamp::now())
    );
    match Hold::take(config, DAEMON_HOLD, &who).await {
        Ok(hold) => Ok(hold),
        Err(HoldError::Held { holders }) => Err(another_daemon(config, &holders).into()),
        Err(HoldError::Redis(error)) => Err(error).context("take the right to be this switch's daemon"),
    }
}

/// The error of one that has found these at the switch.
pub fn another_daemon(config: &Database, holders: &[String]) -> AnotherDaemon {
    let who = if holders.is_empty() { "it does not say which".to_owned() } else { holders.join("; ") };
    AnotherDaemon(format!("another telegen-sonic daemon serves the switch of {} ({who})", config.endpoint()))
}

/// Takes the lock of `state_dir`, or says who has it.
pub fn lock(state_dir: &Path) -> anyhow::Result<Lock> {
    fs::create_dir_all(state_dir).with_context(|| format!("make {}", state_dir.display()))?;
    let path = state_dir.join("daemon.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()))?;
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut pid);
            let who = format!("another telegen-sonic daemon (pid {}) has {}", pid.trim(), path.display());
            Err(AnotherDaemon(who).into())
        }
    }
}

/// Variables of the older seed that are not read (those that are: `model::seed_variables`), and what does their work.
const OLD_VARIABLES: [(&str, &str); 3] = [
    ("TELEGEN_MIRROR_MODE", "set span_method in TELEGEN|global"),
    ("TELEGEN_ERSPAN_DEV", "the port is the job's"),
    ("TELEGEN_ERSPAN_KEY", "SONiC's mirror sessions have no key"),
];

/// Says of each of the older seed's variables that is set what to use instead.
pub fn warn_of_old_variables() {
    for (name, instead) in OLD_VARIABLES {
        if std::env::var_os(name).is_some() {
            tracing::warn!("{name} is set and not read: {instead}");
        }
    }
}

/// Variables of the older seed that stand in for settings.
pub fn seed_variables() -> Variables {
    Variables::read(|name| std::env::var(name).ok())
}

/// What this host and switch can do, for people and programs that ask before they start a job.
pub fn capabilities(world: &World, settings: &Settings, trials: &Trials) -> BTreeMap<String, String> {
    let pool: Vec<&str> = world.pool.keys().map(String::as_str).collect();
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let facts = [
        (DaemonField::Kernel, kernel.unwrap_or_default()),
        (DaemonField::MirrorPorts, pool.join(",")),
        (DaemonField::TapBytesSummary, world.tap_cost.summary_bytes.to_string()),
        (DaemonField::TapBytesFlows, world.tap_cost.flows_bytes.to_string()),
    ];
    let facts = facts.into_iter().map(|(field, value)| (field.to_string(), value));
    let judged = abilities(world, settings, trials).into_iter();
    let judged = judged
        .flat_map(|(ability, can, why)| [(ability.to_string(), can.to_string()), (format!("{ability}_why"), why)]);
    facts.chain(judged).collect()
}

/// Identity of this run.
pub async fn daemon_info(
    config: &RedisConnection,
    capabilities: BTreeMap<String, String>,
    settings_errors: Vec<String>,
) -> anyhow::Result<DaemonInfo> {
    let mut instance = [0_u8; 16];
    getrandom::fill(&mut instance).context("ask the kernel for random bytes")?;
    let instance = u128::from_be_bytes(instance);
    Ok(DaemonInfo {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("TELEGEN_COMMIT"),
        built_at: env!("TELEGEN_BUILT_AT"),
        pid: std::process::id(),
        started_at: Timestamp::now(),
        instance_id: format!("{instance:032x}"),
        device: device(config).await?,
        capabilities,
        settings_errors,
    })
}

async fn device(config: &RedisConnection) -> anyhow::Result<Device> {
    let row = config.hgetall(&config.database().key(config_db::DEVICE_METADATA, "localhost")).await?;
    let field = |name: &str| row.get(name).cloned().unwrap_or_default();
    let platform = field("platform");
    Ok(Device {
        hostname: row.get("hostname").cloned().unwrap_or_else(kernel_hostname),
        machine_id: read_line("/etc/machine-id"),
        arch: match std::env::consts::ARCH {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
        os_version: release().unwrap_or_default(),
        manufacturer: manufacturer(&platform),
        platform,
        hwsku: field("hwsku"),
        namespace: std::env::var("NAMESPACE_ID").map(|id| format!("asic{id}")).unwrap_or_default(),
    })
}

/// SONiC's `build_version`; `None` where this host does not say.
pub fn release() -> Option<String> {
    let version = os_version(&fs::read_to_string("/etc/sonic/sonic_version.yml").ok()?);
    Some(version).filter(|version| !version.is_empty())
}

fn kernel_hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read_line(path: &str) -> String {
    read_or_say(path).trim().to_owned()
}

/// Empty without the file, which need not be there; also if it cannot be read, which is said.
fn read_or_say(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(path, %error, "cannot be read; what it says of this device is left out");
        }
        String::new()
    })
}

/// `build_version: '202505.1'`
fn os_version(yaml: &str) -> String {
    let line = yaml.lines().find_map(|line| line.strip_prefix("build_version:"));
    line.map(|value| value.trim().trim_matches(['\'', '"']).to_owned()).unwrap_or_default()
}

/// ONIE names platforms `<arch>-<vendor>_<model>-r<revision>`.
fn manufacturer(platform: &str) -> String {
    let vendor = platform.split('-').nth(1).and_then(|machine| machine.split('_').next());
    vendor.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{lock, manufacturer, os_version};

    #[test]
    fn platform_and_version_are_read_as_sonic_writes_them() {
        assert_eq!(manufacturer("x86_64-dellemc_s5232f_c3538-r0"), "dellemc");
        assert_eq!(manufacturer(""), "");
        assert_eq!(os_version("build_version: '202505.1-abc'\ndebian_version: '12'\n"), "202505.1-abc");
        assert_eq!(os_version(""), "");
    }

    #[test]
    fn a_second_daemon_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = lock(dir.path()).expect("the first has it");
        let refused = lock(dir.path()).expect_err("the second has not").to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(held);
        lock(dir.path()).expect("free again");
    }
}
