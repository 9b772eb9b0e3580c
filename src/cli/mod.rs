//! The command line: `start`, `status`, `list`, `results`, `stop`, `watch`, `drain`, `dump`, on the same tables as everybody else.
//!
//! [`Cli`] says what can be asked, [`run`] does it and returns the exit code. Everything that is printed is made by the pure functions
//! of [`render`]. The daemon itself is not here: `main` starts it.

mod args;
mod inspect;
mod launch;
mod output;
pub mod render;
mod shutdown;
mod watch;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

pub use args::{Cli, Command};
pub use output::{Failure, Out};

use crate::io::tables::{JobTables, TablesError};
use crate::sonic::DatabaseConfig;

/// Carries `cli` out and says why, on stderr, if it could not: 0 done; 1 the job failed, was refused or is unknown, or the tables cannot be
/// reached; 2 usage.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::trouble("internal", format!("no runtime: {error}")).report(),
    };
    match runtime.block_on(execute(cli, &mut Out::standard())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(cli: &Cli, out: &mut Out) -> Result<(), Failure> {
    let config = DatabaseConfig::load(&cli.database_config).map_err(TablesError::from)?;
    let tables = JobTables::connect(&config).await?;
    match &cli.command {
        Command::Start(args) => launch::start(&tables, args, out).await,
        Command::Status(args) => inspect::status(&tables, args, out).await,
        Command::List(args) => inspect::list(&tables, args, out).await,
        Command::Results(args) => inspect::results(&tables, args, out).await,
        Command::Stop(args) => shutdown::stop(&tables, args, out).await,
        Command::Watch(args) => watch::watch(&tables, args, out).await,
        Command::Drain(args) => shutdown::drain(&tables, args, out).await,
        Command::Dump(_) => inspect::dump(&tables, cli, out).await,
    }
}
