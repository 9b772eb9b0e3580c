//! `telegen-sonic`: arguments to a subcommand to an exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use telegen_sonic::cli::{self, Cli, Command, DaemonArgs};
use telegen_sonic::daemon::{self, AnotherDaemon, log::Log};

/// How a daemon ends that finds another one at its switch.
const ANOTHER_DAEMON: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Daemon(args) => run_daemon(&cli, args),
        Command::Analyze(args) => cli::analyze(args),
        Command::Tables(command) => cli::run(&cli.database_config, command),
    }
}

fn run_daemon(cli: &Cli, args: &DaemonArgs) -> ExitCode {
    let log = match log(&args.syslog) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    let options = daemon::Options {
        database_config: cli.database_config.clone(),
        state_dir: args.state_dir.path.clone(),
        attach: args.attach,
        log,
    };
    match daemon::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// The log that CONFIG_DB `LOGGER` sets; with `RUST_LOG`, a developer's on stderr, which it leaves alone.
fn log(syslog: &Path) -> anyhow::Result<Option<Arc<Log>>> {
    if cli::rust_log().is_some() {
        cli::log_to_stderr("info");
        return Ok(None);
    }
    // systemd sets it for what it reads itself (systemd.exec(5)).
    Log::new(syslog, std::env::var_os("JOURNAL_STREAM").is_some()).install().map(Some)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("telegen-sonic: {error:#}");
    if error.is::<AnotherDaemon>() { ExitCode::from(ANOTHER_DAEMON) } else { ExitCode::FAILURE }
}
