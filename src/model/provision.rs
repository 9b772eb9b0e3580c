//! What is written into the switch before a job's packets come, and undone after them.
//!
//! A way to get packets that needs something of its own in the switch is another variant here; whoever must know which
//! one it is takes it apart without a wildcard, so that the compiler finds them all.

pub mod mirror;

use mirror::MirrorPlan;

/// What a job has in the switch. A job that needs nothing there has no provision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provision {
    /// Mirror sessions, which orchagent pushes to the ASIC.
    Mirror(MirrorPlan),
}

impl Provision {
    /// The names of its parts, each of which orchagent says a word on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let Provision::Mirror(mirror) = self;
        mirror.names()
    }

    /// The names with commas between, as a status says them.
    #[must_use]
    pub fn listed(&self) -> String {
        let Provision::Mirror(mirror) = self;
        mirror.listed()
    }

    /// It in a sentence: `mirror session telegen_a`, `mirror sessions telegen_a, telegen__2_a`.
    #[must_use]
    pub fn words(&self) -> String {
        let Provision::Mirror(mirror) = self;
        mirror.words()
    }
}
