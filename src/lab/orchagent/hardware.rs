//! What the virtual orchagent asks of the virtual ASIC. The ASIC out of tc implements it; tests record it.

use std::time::Duration;

/// The side of a front-panel port on which copies are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSide {
    /// Frames that enter the switch through the port (SAI `INGRESS_MIRROR_SESSION`).
    Rx,
    /// Frames that leave the switch through the port (SAI `EGRESS_MIRROR_SESSION`).
    Tx,
}

/// Where the copies of a bound port go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTarget {
    /// Name of the mirror session.
    pub session: String,
    /// SPAN destination port, `EthernetN`.
    pub destination_port: String,
}

/// One mirror binding per port and side: binding replaces what was bound, unbinding leaves nothing (mirror-orch fact 5).
pub trait MirrorHardware: Send {
    /// Copies of `port`'s `side` go to `target` from now on.
    ///
    /// # Errors
    /// A sentence that says what the hardware refused.
    fn bind(&mut self, port: &str, side: PortSide, target: &MirrorTarget) -> Result<(), String>;

    /// `port`'s `side` is copied nowhere from now on.
    ///
    /// # Errors
    /// A sentence that says what the hardware refused.
    fn unbind(&mut self, port: &str, side: PortSide) -> Result<(), String>;
}

/// A fault that `telegen-lab fault` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// New sessions are refused without a STATE_DB row.
    Reject,
    /// New sessions get a row and stay `inactive`.
    Inactive,
    /// Live sessions lose their binding and go `inactive` now.
    Lose,
    /// Everything is done this much later.
    Slow(Duration),
    /// orchagent stops reading; STATE_DB stays as it is (fact 12).
    Dead,
    /// All faults end; a dead orchagent resumes and reads the current rows.
    Clear,
}
