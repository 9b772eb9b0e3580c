//! telegen-sonic: arguments to a subcommand to an exit code.

use std::process::ExitCode;

use clap::Parser;
use telegen_sonic::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(&Cli::parse())
}
