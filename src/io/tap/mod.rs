//! The tap: a BPF program on a netdev that counts what arrives there, and disturbs nothing.
//!
//! [`TapPlan`] says what to count (pure), [`TapHost`] where this daemon keeps its books and how it attaches, [`Tap`] is the running
//! thing. All calls block (a load takes 10 to 30 ms, a detach as long as an RCU grace period): async code calls them through
//! `spawn_blocking`; a [`Tap`] is `Send` and may be read on another thread each time. All act in the network namespace of
//! the calling thread.
//!
//! Nothing here decides when a tap is opened or closed, or what the numbers mean.

mod attach;
mod clsact;
mod distinct;
mod inputs;
mod mapped;
mod native;
pub mod netdev;
mod netlink;
mod plan;
mod program;
mod reader;
mod tables;

use std::io;
use std::path::PathBuf;

pub use inputs::Inputs;
pub use native::{Buffer, Native};
pub use plan::{DEFAULT_MEMORY, Encapsulation, FlowSlots, Hook, Hooks, Switches, TapPlan};
pub use program::{Program, possible_cpus};

use crate::model::sample::Sample;
use crate::model::schema::Reason;

#[allow(clippy::all, clippy::pedantic, clippy::unwrap_used, unused_qualifications, missing_docs)]
mod bpf {
    include!(concat!(env!("OUT_DIR"), "/observe.skel.rs"));
}

/// How a tap hangs on its netdev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// A TCX link (Linux 6.6 and later), in front of all other programs. It ends with the process.
    Tcx,
    /// A filter on the clsact qdisc. It survives the process, see [`TapHost::sweep`].
    Clsact,
}

/// What does not depend on the job: how this daemon attaches, and where it notes which qdiscs it made.
#[derive(Clone, Debug)]
pub struct TapHost {
    /// How to attach.
    pub attach: Attach,
    /// A directory of this daemon (of this network namespace) that lives as long as the netdevs do, such as
    /// `/run/telegen`. It is made when needed.
    pub state_dir: PathBuf,
}

/// What [`TapHost::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Filters of ours.
    pub filters: usize,
    /// clsact qdiscs that we had made.
    pub qdiscs: usize,
}

impl TapHost {
    /// Removes what a killed daemon left on netdevs: its clsact filters (our priority, our handles, a program named
    /// `telegen_…`) and the clsact qdiscs that it had made, if they are empty. To be called at start-up only: a live tap's filters look the same.
    ///
    /// # Errors
    /// [`TapError::Netlink`] or [`TapError::Journal`]; what could be removed before is removed.
    pub fn sweep(&self) -> Result<Swept, TapError> {
        clsact::sweep(&self.state_dir)
    }
}

/// Why a tap cannot be opened, read or closed.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The netdev to tap is not in this network namespace.
    #[error("netdev {netdev} does not exist")]
    NoNetdev {
        /// As planned.
        netdev: String,
    },
    /// Whether the netdev is there is not known.
    #[error("the kernel cannot be asked for netdev {netdev}: {source}")]
    Netdev {
        /// As planned.
        netdev: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Whether a TCX link still hangs on its netdev is not known.
    #[error("the kernel cannot be asked for the TCX link on {netdev}: {source}")]
    Link {
        /// The netdev.
        netdev: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused the program or its maps.
    #[error("the kernel does not load the tap's program: {0}")]
    Load(#[source] libbpf_rs::Error),
    /// A map cannot be mapped into memory.
    #[error("map {map} cannot be mapped: {source}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// mmap's error.
        source: io::Error,
    },
    /// The kernel refused the hook.
    #[error("cannot attach to the {hook} hook of {netdev} by {by}: {source}")]
    Attach {
        /// The netdev.
        netdev: String,
        /// Which of its hooks.
        hook: Hook,
        /// `TCX` or `clsact`.
        by: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A hook could not be left.
    #[error("cannot detach from {netdev}: {source}")]
    Detach {
        /// The netdev.
        netdev: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Qdiscs and filters cannot be listed or removed.
    #[error("cannot {what} over rtnetlink: {source}")]
    Netlink {
        /// What was asked for.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The note of a qdisc that we make cannot be kept.
    #[error("cannot keep the note {path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// No random numbers for the flow table's keys.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

impl TapError {
    /// The reason that a job fails with.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            TapError::NoNetdev { .. } => Reason::TapMissing,
            TapError::Load(_) | TapError::Map { .. } | TapError::Attach { .. } => Reason::AttachFailed,
            TapError::Netdev { .. }
            | TapError::Link { .. }
            | TapError::Detach { .. }
            | TapError::Netlink { .. }
            | TapError::Journal { .. }
            | TapError::Random(_) => Reason::Internal,
        }
    }
}

/// A running tap. Dropping it detaches it and frees all it had; [`Tap::close`] does that and says what was counted.
#[derive(Debug)]
pub struct Tap {
    // Dropped first: nothing may run when the maps go.
    attached: Vec<attach::Attached>,
    program: Program,
    netdev: String,
    ifindex: i32,
}

impl Tap {
    /// Loads a program of its own for this plan and attaches it.
    ///
    /// # Errors
    /// Any [`TapError`]; then nothing is left behind.
    pub fn open(plan: &TapPlan, host: &TapHost) -> Result<Tap, TapError> {
        let ifindex = attach::ifindex(&plan.netdev)?;
        let program = Program::load(plan)?;
        let attached = plan
            .hooks
            .each()
            .iter()
            .map(|&hook| attach::attach(&program, hook, &plan.netdev, ifindex, host))
            .collect::<Result<Vec<_>, TapError>>()?;
        Ok(Tap { attached, program, netdev: plan.netdev.clone(), ifindex })
    }

    /// What became of the tap, in words, if it does not hang where it was hung; `None` while it counts. Microseconds.
    ///
    /// # Errors
    /// [`TapError::Netdev`], [`TapError::Link`] or [`TapError::Netlink`]: the kernel could not be asked, so nothing is known.
    pub fn loss(&self) -> Result<Option<String>, TapError> {
        let netdev = netdev::loss(&self.netdev, self.ifindex);
        let netdev = netdev.map_err(|source| TapError::Netdev { netdev: self.netdev.clone(), source })?;
        if netdev.is_some() {
            return Ok(netdev);
        }
        for attached in &self.attached {
            if let Some(what) = attached.loss()? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// What was counted so far; with the flow table if `flows` (some hundred microseconds for a full one) and the plan has one.
    #[must_use]
    pub fn read(&self, flows: bool) -> Sample {
        self.program.read(flows)
    }

    /// How it is attached, for people: `tcx` or `clsact`.
    #[must_use]
    pub fn attached_by(&self) -> &'static str {
        self.attached.first().map_or("nothing", attach::Attached::by)
    }

    /// Detaches, waits until no CPU runs the program any more, and then reads: the last packet is in the sample, and
    /// everything in it agrees to the packet.
    ///
    /// # Errors
    /// [`TapError::Detach`] or [`TapError::Netlink`], [`TapError::Journal`]; as much as possible is given back all the same.
    pub fn close(self) -> Result<Sample, TapError> {
        let Tap { attached, program, .. } = self;
        attached.into_iter().map(attach::Attached::detach).fold(Ok(()), Result::and)?;
        attach::wait_for_running_programs();
        Ok(program.read(true))
    }
}
