//! Where the packets come from that a job counts.

use super::erspan::Outer;
use super::job::Direction;

/// A way in for packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The tc hooks of a network device.
    Hooks(HooksFeed),
}

/// Packets at the tc hooks of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HooksFeed {
    /// The network device.
    pub netdev: String,
    /// At which of its hooks: copies are tapped at ingress only, whatever the job's direction.
    pub hooks: Direction,
    /// In which GRE the copies come; `None`: as they are.
    pub outer: Option<Outer>,
}

impl Feed {
    /// What it reads, as a status says it: the network device.
    #[must_use]
    pub fn name(&self) -> &str {
        let Feed::Hooks(hooks) = self;
        &hooks.netdev
    }
}
