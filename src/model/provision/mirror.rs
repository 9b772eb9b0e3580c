//! The mirror sessions that a job asks orchagent for, as CONFIG_DB rows and as other jobs' admission sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::model::erspan::{Outer, Tunnel};
use crate::model::job::{Direction, JobId, JobSpec};
use crate::model::settings::Settings;
use crate::model::source_ports::natural;
use crate::model::world::{Session, World};

/// All mirror sessions of a job. They differ in their ports and directions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPlan {
    /// Each of them; never none.
    pub sessions: Vec<SessionPlan>,
    /// Where the copies go.
    pub target: MirrorTarget,
    /// Which of the ports' traffic, all sessions together.
    pub direction: Direction,
    /// 1 of this many packets is copied; `None`: every one.
    pub sample_rate: Option<NonZeroU32>,
    /// Copies are cut to this many bytes; `None`: they stay whole.
    pub truncate: Option<u16>,
}

/// One mirror session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    /// By `JobId::session_name`.
    pub name: String,
    /// The ports whose traffic is copied. A port channel is never here, its members are: what a session on a port channel does when
    /// members change, and when the port channel goes, cannot be undone (observed facts S16 to S18).
    pub sources: Vec<String>,
    /// Which of their traffic.
    pub direction: Direction,
}

/// Where a session's copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorTarget {
    /// SPAN: to the leased port of the pool.
    Port(String),
    /// ERSPAN: in GRE between these addresses, of which the source is leased.
    Tunnel(Tunnel),
}

impl MirrorTarget {
    /// Where a session sends its copies, as far as its row says it; of a tunnel what tells it from others, which is its addresses.
    #[must_use]
    pub fn of(session: &Session) -> Option<MirrorTarget> {
        let tunnel = |Outer { src, dst }| MirrorTarget::Tunnel(Settings::default().erspan.tunnel(src, dst));
        session.outer.map(tunnel).or_else(|| session.dst_port.clone().map(MirrorTarget::Port))
    }
}

impl MirrorPlan {
    /// The sessions that copy `spec`'s traffic of `sources` to `target`.
    ///
    /// A session whose copies the ASIC samples or cuts has one port and one direction. Of several, orchagent leaves the first ones bound
    /// for good when sFlow takes the sampler of the next in the same moment (observed fact S15).
    #[must_use]
    pub fn new(id: &JobId, spec: &JobSpec, sources: Vec<String>, target: MirrorTarget) -> MirrorPlan {
        let slots: Vec<(Vec<String>, Direction)> = if is_sampled(spec) {
            let directions = spec.direction.each();
            let each = |port: String| directions.iter().map(move |direction| (vec![port.clone()], *direction));
            sources.into_iter().flat_map(each).collect()
        } else {
            vec![(sources, spec.direction)]
        };
        let session = |(index, (sources, direction)): (usize, (Vec<String>, Direction))| SessionPlan {
            name: id.session_name(index + 1),
            sources,
            direction,
        };
        MirrorPlan {
            sessions: slots.into_iter().enumerate().map(session).collect(),
            target,
            direction: spec.direction,
            sample_rate: spec.mirror_sample_rate,
            truncate: spec.mirror_truncate,
        }
    }

    /// The row of one of the sessions for CONFIG_DB: only attributes that orchagent knows, `direction` in upper case.
    #[must_use]
    pub fn row(&self, session: &SessionPlan) -> Vec<(&'static str, String)> {
        let direction = match session.direction {
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
        fields.extend([("src_port", session.sources.join(",")), ("direction", direction.to_owned())]);
        fields.extend(self.sample_rate.map(|rate| ("sample_rate", rate.to_string())));
        fields.extend(self.truncate.map(|bytes| ("truncate_size", bytes.to_string())));
        fields
    }

    /// The sessions as other jobs' admission sees them.
    #[must_use]
    pub fn as_sessions(&self) -> BTreeMap<String, Session> {
        let as_session = |session: &SessionPlan| Session {
            src_ports: session.sources.clone(),
            dst_port: self.port().map(str::to_owned),
            outer: self.tunnel().map(|tunnel| tunnel.outer),
            direction: Some(session.direction),
            sampled: self.is_sampled(),
        };
        self.sessions.iter().map(|session| (session.name.clone(), as_session(session))).collect()
    }

    /// The names of the sessions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sessions.iter().map(|session| session.name.as_str())
    }

    /// The names with commas between, as a status says them.
    #[must_use]
    pub fn listed(&self) -> String {
        self.names().collect::<Vec<_>>().join(",")
    }

    /// The sessions in a sentence: `mirror session telegen_a`, `mirror sessions telegen_a, telegen__2_a`.
    #[must_use]
    pub fn words(&self) -> String {
        let plural = if self.sessions.len() > 1 { "s" } else { "" };
        format!("mirror session{plural} {}", self.names().collect::<Vec<_>>().join(", "))
    }

    /// Every port whose traffic is copied.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<String> {
        self.sessions.iter().flat_map(|session| session.sources.iter().cloned()).collect()
    }

    /// Whether the copies go through the ports' samplers.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sample_rate.is_some() || self.truncate.is_some()
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

/// Whether the job's copies go through the ports' samplers: cutting is the sampler's work, too (observed fact M4).
#[must_use]
pub fn is_sampled(spec: &JobSpec) -> bool {
    spec.mirror_sample_rate.is_some() || spec.mirror_truncate.is_some()
}

/// The ports that the job's sessions name, in the order of the job: members in the place of their port channel.
#[must_use]
pub fn sources(spec: &JobSpec, world: &World) -> Vec<String> {
    let members = |port: &str| -> Vec<String> {
        let mut members: Vec<String> = world.expand([port]).into_iter().collect();
        members.sort_by_key(|name| natural(name));
        members
    };
    spec.ports.names().flat_map(members).collect()
}
