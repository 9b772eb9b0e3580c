//! `telegen-lab`: a SONiC virtual switch for a laptop and for CI. The commands are in `telegen_sonic::lab`; this is their
//! command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use telegen_sonic::lab::collector;
use telegen_sonic::lab::control::{self, FaultName, FaultRequest};
use telegen_sonic::lab::gre::{GreOptions, Header};
use telegen_sonic::lab::layout::PortCount;
use telegen_sonic::lab::lifecycle;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source, send};
use telegen_sonic::lab::state::LabState;
use telegen_sonic::lab::switch::{self, UpOptions};

/// A SONiC virtual switch in a box: real Redis conventions, a virtual orchagent, and an ASIC out of tc and BPF that
/// forwards traffic where the host cannot see it. Needs root.
#[derive(Parser)]
#[command(name = "telegen-lab")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a switch and serves it until Ctrl-C.
    Up(Up),
    /// Ends the switch and everything that runs on it.
    Down {
        #[command(flatten)]
        lab: Lab,
    },
    /// Runs a command on the switch, in its network and with its /run.
    Run {
        #[command(flatten)]
        lab: Lab,
        /// The command and its arguments.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Puts traffic on a port's wire and prints, as JSON, exactly what was sent.
    Send(Send),
    /// Makes the virtual orchagent misbehave.
    Fault {
        #[command(flatten)]
        lab: Lab,
        #[command(subcommand)]
        fault: FaultCommand,
        /// Only this mirror session; all without it.
        #[arg(long, global = true)]
        session: Option<String>,
    },
    /// Takes OTLP over HTTP and prints a line per metric, log record and span; run it on the switch.
    Collect {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4318")]
        listen: SocketAddr,
    },
}

#[derive(Clone, Copy, Subcommand)]
enum FaultCommand {
    /// Refuse new sessions without a word in STATE_DB.
    Reject,
    /// Keep new sessions inactive.
    Inactive,
    /// Let nobody be known at the destination of ERSPAN sessions.
    Unresolved,
    /// Wrap the copies of ERSPAN sessions that become active from now on in another way.
    Erspan {
        /// What stands behind the GRE header: plain, type2, type3, type3-long, teb or 8949; by default what goes with gre_type.
        #[arg(long)]
        header: Option<Header>,
        /// A key in the GRE header.
        #[arg(long)]
        key: Option<u32>,
        /// A sequence number in the GRE header; type2 and type3 have it anyway.
        #[arg(long)]
        sequence: bool,
        /// A checksum in the GRE header.
        #[arg(long)]
        checksum: bool,
        /// Lose every N-th copy after it has got its number.
        #[arg(long, value_name = "N")]
        drop: Option<NonZeroU32>,
    },
    /// Take live sessions out of the hardware now.
    Lose,
    /// Do everything this many milliseconds later.
    Slow {
        /// Milliseconds.
        #[arg(value_name = "MS")]
        milliseconds: u64,
    },
    /// Stop reading CONFIG_DB.
    Dead,
    /// Have room for so many mirror sessions: one more is refused without a word in STATE_DB.
    Sessions {
        /// How many.
        #[arg(value_name = "N")]
        room: usize,
        /// One more ends orchagent, as up to SONiC 202411; STATE_DB and ASIC_DB stay as they are until `fault clear` or `fault restart`.
        #[arg(long)]
        orchagent_ends: bool,
    },
    /// Start orchagent anew, as `systemctl restart swss` does; the faults stay in force.
    Restart,
    /// End all faults.
    Clear,
}

#[derive(Args)]
struct Lab {
    /// The lab's directory.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    lab: Lab,
    /// Front-panel ports, even, 4 to 128; the last two are the mirror pool.
    #[arg(long, default_value_t)]
    ports: PortCount,
    /// Mirror copies per second and destination; without it all copies arrive.
    #[arg(long, value_name = "PPS")]
    policer: Option<NonZeroU32>,
    /// Return as soon as the switch is ready.
    #[arg(long)]
    detach: bool,
    /// What `--detach` starts.
    #[arg(long, hide = true, conflicts_with = "detach")]
    serve_detached: bool,
}

#[derive(Args)]
#[group(id = "source", required = true, multiple = false)]
struct SourceArgs {
    /// Replay a pcap or pcapng file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Make traffic up: mixed, udp64, tcp512, ipv6, vlan, jumbo, flood, malformed, tunnels, rocev2, tcp-health or health.
    #[arg(long, value_name = "NAME", value_parser = parse_profile)]
    profile: Option<Profile>,
}

#[derive(Args)]
struct Send {
    #[command(flatten)]
    lab: Lab,
    /// The port whose wire the frames enter, EthernetN.
    #[arg(long)]
    port: String,
    #[command(flatten)]
    source: SourceArgs,
    /// Frames per second; as fast as possible without it.
    #[arg(long)]
    pps: Option<NonZeroU32>,
    /// Frames to send, repeating the source if need be; without it a capture once, or 1000 frames of a profile.
    #[arg(long)]
    count: Option<u64>,
    /// The same seed makes the same frames.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn parse_profile(word: &str) -> Result<Profile, String> {
    Profile::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.as_str()).collect();
        format!("there is no such profile; there are {}", known.join(", "))
    })
}

impl From<FaultCommand> for FaultName {
    fn from(command: FaultCommand) -> FaultName {
        match command {
            FaultCommand::Reject => FaultName::Reject,
            FaultCommand::Inactive => FaultName::Inactive,
            FaultCommand::Unresolved => FaultName::Unresolved,
            FaultCommand::Erspan { header, key, sequence, checksum, drop: drop_every } => {
                FaultName::Erspan(GreOptions { header, key, sequence, checksum, drop_every })
            }
            FaultCommand::Lose => FaultName::Lose,
            FaultCommand::Slow { milliseconds } => FaultName::Slow(milliseconds),
            FaultCommand::Dead => FaultName::Dead,
            FaultCommand::Sessions { room, orchagent_ends } => FaultName::Sessions { room, orchagent_ends },
            FaultCommand::Restart => FaultName::Restart,
            FaultCommand::Clear => FaultName::Clear,
        }
    }
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("telegen-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).with_ansi(false).init();
    lifecycle::require_root()?;
    match command {
        Command::Up(Up { lab, ports, policer, detach, serve_detached }) => {
            let options = UpOptions { dir: lab.dir, ports, policer, detached: serve_detached };
            if detach {
                print!("{}", lifecycle::up_detached(&options)?);
                Ok(())
            } else {
                switch::up(&options)
            }
        }
        Command::Down { lab } => {
            if !lifecycle::down(&lab.dir)? {
                eprintln!("there is no lab in {}", lab.dir.display());
            }
            Ok(())
        }
        Command::Run { lab, command } => match command.split_first() {
            Some((program, arguments)) => match lifecycle::run(&lab.dir, program, arguments)? {},
            None => bail!("run needs a command"),
        },
        Command::Send(Send { lab, port, source, pps, count, seed }) => {
            let source = match (source.pcap, source.profile) {
                (Some(path), None) => Source::Capture(path),
                (None, Some(profile)) => Source::Profile(profile),
                (Some(_), Some(_)) | (None, None) => bail!("send needs either --pcap or --profile"),
            };
            let sent = send(&lab.dir, &port, &source, Pace { pps, count, seed })?;
            println!("{}", serde_json::to_string(&sent)?);
            Ok(())
        }
        Command::Fault { lab, fault, session } => {
            LabState::running(&lab.dir)?;
            control::request(&lab.dir, &FaultRequest { fault: fault.into(), session })
        }
        Command::Collect { listen } => Ok(collector::print(listen)?),
    }
}
