//! What reaches the virtual orchagent, and what it does: values, so that its mind needs no Redis and no hardware.

use std::net::IpAddr;

use super::hardware::{Fault, MirrorTarget, PortSide};
use super::objects::{ObjectKind, Oid};
use super::prefix::{NextHop, Prefix};

/// A row's fields in the order in which Redis holds them.
pub type OrderedFields = Vec<(String, String)>;

/// What reaches orchagent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A change in a table that it reads.
    Change(Change),
    /// portsyncd has told all ports, just now or (`settled`) long ago.
    PortInitDone {
        /// Whether orchagent started after the ports.
        settled: bool,
    },
    /// What the hardware said to one [`Output::Bind`].
    Bound {
        /// Why it refused, if it did.
        refused: Option<String>,
    },
    /// A fault, for one session or for all.
    Fault(Fault, Option<String>),
    /// Time has passed.
    Tick,
}

/// A change in a table that orchagent reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A mirror session was written or deleted.
    Session {
        /// Its name.
        name: String,
        /// The whole row; `None` after a `del` event.
        row: Option<OrderedFields>,
    },
    /// A front-panel port came or went.
    Port {
        /// Its name.
        name: String,
        /// Whether it is there now.
        exists: bool,
        /// The id by which COUNTERS_DB knows it already.
        oid: Option<Oid>,
    },
    /// A link aggregation group came or went.
    Lag {
        /// Its name.
        name: String,
        /// Whether it is there now.
        exists: bool,
    },
    /// A port joined or left a link aggregation group.
    LagMember {
        /// The group.
        lag: String,
        /// The port.
        port: String,
        /// Whether it is a member now.
        exists: bool,
    },
    /// A policer came or went.
    Policer {
        /// Its name.
        name: String,
        /// Whether it is there now.
        exists: bool,
    },
    /// An address was resolved, or is no longer.
    Neighbour {
        /// The neighbour's address.
        address: IpAddr,
        /// The interface that leads to it.
        interface: String,
        /// Its MAC address; `None` once it is gone.
        mac: Option<String>,
    },
    /// A route was written or deleted.
    Route {
        /// Its prefix.
        prefix: Prefix,
        /// Its next hops; `None` once it is gone.
        next_hops: Option<Vec<NextHop>>,
    },
    /// sFlow was enabled or disabled.
    Sflow {
        /// Whether it is enabled now.
        up: bool,
    },
    /// sFlow is to sample a port, or no longer.
    SflowPort {
        /// The port.
        port: String,
        /// The whole row; `None` once it is gone.
        row: Option<OrderedFields>,
    },
}

impl Change {
    /// The mirror session that is concerned, if it is about one.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        match self {
            Change::Session { name, .. } => Some(name),
            Change::Port { .. }
            | Change::Lag { .. }
            | Change::LagMember { .. }
            | Change::Policer { .. }
            | Change::Neighbour { .. }
            | Change::Route { .. }
            | Change::Sflow { .. }
            | Change::SflowPort { .. } => None,
        }
    }
}

/// What orchagent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Asks the hardware; to be answered by [`Input::Bound`].
    Bind {
        /// The port whose traffic is copied.
        port: String,
        /// Which of its traffic.
        side: PortSide,
        /// Where the copies go.
        target: MirrorTarget,
    },
    /// Tells the hardware.
    Unbind {
        /// The port.
        port: String,
        /// Which of its traffic.
        side: PortSide,
    },
    /// Tells the hardware that a session's copies go elsewhere, wherever it is bound.
    Retarget {
        /// Where they go now.
        target: MirrorTarget,
    },
    /// Sets fields of an object in ASIC_DB, with one HSET.
    SetObject {
        /// What it is.
        kind: ObjectKind,
        /// Which one.
        oid: Oid,
        /// The fields; others stay.
        fields: OrderedFields,
    },
    /// Removes an object from ASIC_DB.
    RemoveObject {
        /// What it is.
        kind: ObjectKind,
        /// Which one.
        oid: Oid,
    },
    /// A port has come: it has this id in COUNTERS_DB from now on.
    NamePort {
        /// The port.
        port: String,
        /// Its object.
        oid: Oid,
    },
    /// A port has gone, or is on its way: COUNTERS_DB, APPL_DB and STATE_DB no longer have it.
    UnnamePort {
        /// The port.
        port: String,
    },
    /// orchagent's container is started anew: nothing in ASIC_DB and no session's row in STATE_DB outlives that.
    Restart,
    /// Sets fields of the session's STATE_DB row, with one HSET.
    WriteState {
        /// The session.
        session: String,
        /// The fields; others stay.
        fields: OrderedFields,
    },
    /// Deletes the session's STATE_DB row.
    DeleteState {
        /// The session.
        session: String,
    },
    /// Says something in the log, and nowhere else.
    Log(String),
}
