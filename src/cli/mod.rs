//! The command line: `start`, `status`, `list`, `results`, `stop`, `watch`, `drain`, `dump`, on the same tables as
//! everybody else; and `analyze`, on capture files.
//!
//! [`Cli`] says what can be asked, [`run`] does it and returns the exit code. Everything that is printed is made by the pure functions
//! of [`render`]. The daemon itself is not here: `main` starts it.

mod analyze;
mod args;
mod inspect;
mod launch;
mod output;
pub mod render;
mod shutdown;
mod watch;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

pub use analyze::analyze;
pub use args::{AnalyzeArgs, Cli, Command, DaemonArgs, TableCommand};
pub use output::{Failure, Out};

use crate::io::tables::{JobTables, TablesError};
use crate::sonic::DatabaseConfig;
use crate::sonic::syslog::one_line;

/// What a developer wants to see; empty is as unset, as it is for other variables that a unit or a shell may set to nothing.
#[must_use]
pub fn rust_log() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|directives| asks_for_something(directives))
}

fn asks_for_something(directives: &str) -> bool {
    directives.contains(|c: char| !c.is_whitespace() && c != ',')
}

/// Log lines go to stderr; `RUST_LOG` says which, `level` where it says nothing.
pub fn log_to_stderr(level: &str) {
    let filter = rust_log().and_then(|directives| EnvFilter::try_new(directives).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| OneLine(io::stderr())).with_ansi(false).init();
}

/// Each write is a line with its line break; no other gets out.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(format!("{}\n", one_line(text.trim_end_matches('\n'))).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_rust_log_is_as_unset() {
        assert_eq!(["", " ", ",", " , "].map(asks_for_something), [false; 4]);
        assert_eq!(["off", "debug", "telegen_sonic=trace,", "0"].map(asks_for_something), [true; 4]);
    }

    #[test]
    fn what_a_value_has_of_line_breaks_makes_no_line() {
        let mut out = Vec::new();
        OneLine(&mut out).write_all(b"WARN a\nINFO forged\x1b[0m\n").expect("written");
        assert_eq!(out, b"WARN a\\nINFO forged\\u{1b}[0m\n");
    }
}
