//! The mirror session that a job asks orchagent for, as a CONFIG_DB row and as other jobs' admission sees it.

use std::num::NonZeroU32;

use crate::model::erspan::Tunnel;
use crate::model::job::Direction;
use crate::model::source_ports::SourcePorts;
use crate::model::world::Session;

/// The mirror session of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPlan {
    /// `telegen_<id>`.
    pub session: String,
    /// The ports and port channels whose traffic is copied.
    pub sources: SourcePorts,
    /// Where the copies go.
    pub target: MirrorTarget,
    /// Which of its traffic.
    pub direction: Direction,
    /// 1 of this many packets is copied; `None`: every one.
    pub sample_rate: Option<NonZeroU32>,
    /// Copies are cut to this many bytes; `None`: they stay whole.
    pub truncate: Option<u16>,
}

/// Where a session's copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorTarget {
    /// SPAN: to the leased port of the pool.
    Port(String),
    /// ERSPAN: in GRE between these addresses, of which the source is leased.
    Tunnel(Tunnel),
}

impl MirrorPlan {
    /// The row for CONFIG_DB: only attributes that orchagent knows, `direction` in upper case.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, String)> {
        let direction = match self.direction {
            Direction::Ingress => "RX",
            Direction::Egress => "TX",
            Direction::Both => "BOTH",
        };
        let mut fields = match &self.target {
            MirrorTarget::Port(port) => vec![("type", "SPAN".to_owned()), ("dst_port", port.clone())],
            MirrorTarget::Tunnel(tunnel) => vec![
                ("type", "ERSPAN".to_owned()),
                ("src_ip", tunnel.outer.src.to_string()),
                ("dst_ip", tunnel.outer.dst.to_string()),
                ("gre_type", tunnel.gre_type.to_string()),
                ("dscp", tunnel.dscp.to_string()),
                ("ttl", tunnel.ttl.to_string()),
            ],
        };
        fields.extend([("src_port", self.sources.to_string()), ("direction", direction.to_owned())]);
        fields.extend(self.sample_rate.map(|rate| ("sample_rate", rate.to_string())));
        fields.extend(self.truncate.map(|bytes| ("truncate_size", bytes.to_string())));
        fields
    }

    /// This plan as other jobs' admission sees it.
    #[must_use]
    pub fn as_session(&self) -> Session {
        Session {
            src_ports: self.sources.names().map(str::to_owned).collect(),
            dst_port: self.port().map(str::to_owned),
            outer: self.tunnel().map(|tunnel| tunnel.outer),
            direction: Some(self.direction),
        }
    }

    /// The leased port of a SPAN session.
    #[must_use]
    pub fn port(&self) -> Option<&str> {
        match &self.target {
            MirrorTarget::Port(port) => Some(port),
            MirrorTarget::Tunnel(_) => None,
        }
    }

    /// What an ERSPAN session wraps copies into.
    #[must_use]
    pub fn tunnel(&self) -> Option<&Tunnel> {
        match &self.target {
            MirrorTarget::Port(_) => None,
            MirrorTarget::Tunnel(tunnel) => Some(tunnel),
        }
    }
}
