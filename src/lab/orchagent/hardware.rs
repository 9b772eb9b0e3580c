//! What the virtual orchagent asks of the virtual ASIC. The ASIC out of tc implements it; tests record it.

use std::net::IpAddr;
use std::time::Duration;

use super::session::Sampling;
use crate::lab::gre::GreOptions;

/// Where on a front-panel port copies are taken, and how. A port has one mirror session for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSide {
    /// Frames that enter the switch through the port (SAI `INGRESS_MIRROR_SESSION`).
    Rx,
    /// Frames that leave the switch through the port (SAI `EGRESS_MIRROR_SESSION`).
    Tx,
    /// Those of the frames that enter which the port's sampler chooses (SAI `INGRESS_SAMPLE_MIRROR_SESSION`).
    SampledRx,
    /// Those of the frames that leave which the port's sampler chooses (SAI `EGRESS_SAMPLE_MIRROR_SESSION`).
    SampledTx,
}

/// Where the copies of a bound port go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTarget {
    /// Name of the mirror session.
    pub session: String,
    /// Where to, and in what.
    pub destination: CopyDestination,
    /// Which frames the sampler chooses, and how much of them it leaves; `None` where there is none.
    pub sampling: Option<Sampling>,
}

/// Where copies go, and in what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyDestination {
    /// SPAN: as they are, to this port, `EthernetN`.
    Port(String),
    /// ERSPAN: in GRE.
    Tunnel(Tunnel),
}

/// An ERSPAN session with its resolved neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Outer source address.
    pub src: IpAddr,
    /// Outer destination address.
    pub dst: IpAddr,
    /// GRE protocol type.
    pub gre_type: u16,
    /// Outer DSCP.
    pub dscp: u8,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// The interface that leads to the neighbour.
    pub interface: String,
    /// The port by which the copies leave: the interface, or the first member of the LAG that it is.
    pub monitor_port: String,
    /// The neighbour's MAC address.
    pub neighbour_mac: String,
    /// How copies are wrapped, where it is not as `gre_type` says.
    pub options: GreOptions,
}

/// One mirror binding per port and side: binding replaces what was bound, unbinding leaves nothing (fact M5).
pub trait MirrorHardware: Send {
    /// Copies of `port`'s `side` go to `target` from now on.
    ///
    /// # Errors
    /// A sentence that says what the hardware refused.
    fn bind(&mut self, port: &str, side: PortSide, target: &MirrorTarget) -> Result<(), String>;

    /// Copies of the session that `target` names go there from now on, wherever it is bound.
    ///
    /// # Errors
    /// A sentence that says what the hardware refused.
    fn retarget(&mut self, target: &MirrorTarget) -> Result<(), String>;

    /// `port`'s `side` is copied nowhere from now on.
    ///
    /// # Errors
    /// A sentence that says what the hardware refused.
    fn unbind(&mut self, port: &str, side: PortSide) -> Result<(), String>;

    /// `port`'s row has gone, and its netdev goes with it, whether or not the port's object does.
    fn remove_netdev(&mut self, port: &str);
}

/// What comes of a session for which the ASIC has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The SAI has said beforehand that there is none: refused without a STATE_DB row.
    Refused,
    /// It says so when asked for the object, and orchagent ends, as up to release 202411: STATE_DB and ASIC_DB stay as they are.
    OrchagentEnds,
}

/// A fault that `telegen-lab fault` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// New sessions are refused without a STATE_DB row.
    Reject,
    /// New sessions get a row and stay `inactive`.
    Inactive,
    /// Nobody is known any more at the destination of ERSPAN sessions: live ones go `inactive`, new ones stay so.
    Unresolved,
    /// ERSPAN sessions that become active from now on wrap their copies so.
    Erspan(GreOptions),
    /// Live sessions lose their binding and go `inactive` now.
    Lose,
    /// Everything is done this much later.
    Slow(Duration),
    /// orchagent stops reading; STATE_DB stays as it is (fact M12).
    Dead,
    /// The ASIC has room for so many mirror sessions.
    Sessions {
        /// How many.
        room: usize,
        /// What comes of one more.
        outcome: NoRoom,
    },
    /// orchagent's container is started anew (`systemctl restart swss`): ASIC_DB and the sessions' rows in STATE_DB are emptied, and the
    /// rows in CONFIG_DB taken up. A moment, not a state.
    Restart,
    /// All faults end; a dead orchagent resumes and reads the current rows, and one that has ended is started anew.
    Clear,
}
