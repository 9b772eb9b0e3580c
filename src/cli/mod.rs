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

use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

pub use args::{Cli, Command, DaemonArgs, TableCommand};
pub use output::{Failure, Out};

use crate::io::tables::{JobTables, TablesError};
use crate::sonic::DatabaseConfig;

/// Log lines go to stderr; `RUST_LOG` says which, `level` where it says nothing.
pub fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// Carries `command` out on the databases of the file `databases`, and says on stderr why it could not: 0 done; 1 the job failed, was
/// refused or is unknown, or the tables cannot be reached; 2 usage.
#[must_use]
pub fn run(databases: &Path, command: &TableCommand) -> ExitCode {
    log_to_stderr("warn");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::trouble("internal", format!("no runtime: {error}")).report(),
    };
    match runtime.block_on(execute(databases, command, &mut Out::standard())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn execute(databases: &Path, command: &TableCommand, out: &mut Out) -> Result<(), Failure> {
    let config = DatabaseConfig::load(databases).map_err(TablesError::from)?;
    let tables = JobTables::connect(&config).await?;
    match command {
        TableCommand::Start(args) => launch::start(&tables, args, out).await,
        TableCommand::Status(args) => inspect::status(&tables, args, out).await,
        TableCommand::List(args) => inspect::list(&tables, args, out).await,
        TableCommand::Results(args) => inspect::results(&tables, args, out).await,
        TableCommand::Stop(args) => shutdown::stop(&tables, args, out).await,
        TableCommand::Watch(args) => watch::watch(&tables, args, out).await,
        TableCommand::Drain(args) => shutdown::drain(&tables, args, out).await,
        TableCommand::Dump(_) => inspect::dump(&tables, databases, out).await,
    }
}
