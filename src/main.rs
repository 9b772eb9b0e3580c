//! `telegen-sonic`: arguments to a subcommand to an exit code.

use std::process::ExitCode;

use clap::Parser;
use telegen_sonic::cli::{self, Cli, Command, DaemonArgs};
use telegen_sonic::daemon;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Daemon(args) => run_daemon(&cli, args),
        Command::Tables(command) => cli::run(&cli.database_config, command),
    }
}

fn run_daemon(cli: &Cli, args: &DaemonArgs) -> ExitCode {
    cli::log_to_stderr("info");
    let options = daemon::Options {
        database_config: cli.database_config.clone(),
        state_dir: args.state_dir.clone(),
        attach: args.attach,
    };
    match daemon::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("telegen-sonic: {error:#}");
            ExitCode::FAILURE
        }
    }
}
