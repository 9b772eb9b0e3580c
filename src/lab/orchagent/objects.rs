//! The SAI objects that the virtual orchagent holds, as ASIC_DB shows them: ports, mirror sessions, samplers, and which refers to which.
//!
//! Pure. Every change is an [`Output`] that writes ASIC_DB. As in the real one an object that is referred to cannot be removed, and nothing
//! remembers who made the reference: that is what facts S15 to S18 of the observed orchagent come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::hardware::{CopyDestination, MirrorTarget, PortSide, Tunnel};
use super::messages::{OrderedFields, Output};
use super::session::Sampling;
use crate::lab::layout::SWITCH_MAC;
use crate::model::schema::asic_db;
use crate::row::NULL;

/// Tables and fields that only the lab writes.
const POLICER: &str = "ASIC_STATE:SAI_OBJECT_TYPE_POLICER";
const ADMIN_STATE: &str = "SAI_PORT_ATTR_ADMIN_STATE";
const SAMPLE_RATE: &str = "SAI_SAMPLEPACKET_ATTR_SAMPLE_RATE";
const SAMPLER_TYPE: &str = "SAI_SAMPLEPACKET_ATTR_TYPE";
const SAMPLER_OF_A_MIRROR: &str = "SAI_SAMPLEPACKET_TYPE_MIRROR_SESSION";
const TRUNCATE: &str = "SAI_SAMPLEPACKET_ATTR_TRUNCATE_ENABLE";
const TRUNCATE_SIZE: &str = "SAI_SAMPLEPACKET_ATTR_TRUNCATE_SIZE";
const DST_MAC: &str = "SAI_MIRROR_SESSION_ATTR_DST_MAC_ADDRESS";
/// Numbers from here on are of ports that came after the start, and of everything that is no port.
const FIRST_NEW: u64 = 0x1000;

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `SAI_OBJECT_TYPE_PORT`
    Port,
    /// `SAI_OBJECT_TYPE_MIRROR_SESSION`
    MirrorSession,
    /// `SAI_OBJECT_TYPE_SAMPLEPACKET`
    Samplepacket,
    /// `SAI_OBJECT_TYPE_POLICER`
    Policer,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [ObjectKind; 4] =
        [ObjectKind::Port, ObjectKind::MirrorSession, ObjectKind::Samplepacket, ObjectKind::Policer];

    /// Its table in ASIC_DB.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            ObjectKind::Port => asic_db::PORT,
            ObjectKind::MirrorSession => asic_db::MIRROR_SESSION,
            ObjectKind::Samplepacket => asic_db::SAMPLEPACKET,
            ObjectKind::Policer => POLICER,
        }
    }

    /// Its number in the upper 16 bits of an id (`saitypes.h`, `sai_object_type_t`), as the virtual-switch SAI composes them.
    const fn number(self) -> u64 {
        match self {
            ObjectKind::Port => 1,
            ObjectKind::MirrorSession => 14,
            ObjectKind::Samplepacket => 15,
            ObjectKind::Policer => 18,
        }
    }
}

/// An object's id, `oid:0x1000000000002`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(u64);

impl Oid {
    /// The `number`th object of its kind.
    #[must_use]
    pub const fn new(kind: ObjectKind, number: u64) -> Oid {
        Oid((kind.number() << 48) | number)
    }

    /// Reads what [`Oid`]'s `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Oid> {
        u64::from_str_radix(text.strip_prefix("oid:0x")?, 16).ok().map(Oid)
    }
}

/// The CPU port: the port of whatever leads to no front-panel port.
pub const CPU_PORT: Oid = Oid::new(ObjectKind::Port, 0);

impl fmt::Display for Oid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "oid:{:#x}", self.0)
    }
}

/// All objects.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    ports: BTreeMap<String, Oid>,
    /// The port by which each mirror session's copies leave.
    mirrors: BTreeMap<Oid, Oid>,
    samplers: BTreeSet<Oid>,
    policers: BTreeMap<String, Oid>,
    /// Which mirror session a port's side refers to.
    mirrored: BTreeMap<(String, PortSide), Oid>,
    /// Which sampler a port's side refers to, by [`PortSide::SampledRx`] and [`PortSide::SampledTx`].
    sampled: BTreeMap<(String, PortSide), Oid>,
    made: u64,
}

impl Objects {
    /// A port is there: under the id by which COUNTERS_DB knows it, or under a new one, which COUNTERS_DB is told.
    pub fn add_port(&mut self, name: &str, known: Option<Oid>, out: &mut Vec<Output>) {
        if self.ports.contains_key(name) {
            return;
        }
        let oid = known.unwrap_or_else(|| {
            let oid = self.new_oid(ObjectKind::Port);
            out.push(Output::NamePort { port: name.to_owned(), oid });
            oid
        });
        self.ports.insert(name.to_owned(), oid);
        out.push(set(ObjectKind::Port, oid, vec![field(ADMIN_STATE, "true")]));
    }

    /// Removes a port, and says whether it could: not while it is mirrored, sampled, or a mirror session's way out.
    pub fn remove_port(&mut self, name: &str, out: &mut Vec<Output>) -> bool {
        let Some(&oid) = self.ports.get(name) else { return true };
        let refers = |((port, _), _): (&(String, PortSide), &Oid)| port == name;
        if self.mirrored.iter().any(refers)
            || self.sampled.iter().any(refers)
            || self.mirrors.values().any(|way_out| *way_out == oid)
        {
            return false;
        }
        self.ports.remove(name);
        out.push(Output::RemoveObject { kind: ObjectKind::Port, oid });
        true
    }

    /// Makes a mirror session that does what `target` says.
    pub fn create_mirror(&mut self, target: &MirrorTarget, out: &mut Vec<Output>) -> Oid {
        let oid = self.new_oid(ObjectKind::MirrorSession);
        let (way_out, fields) = self.mirror_fields(&target.destination);
        self.mirrors.insert(oid, way_out);
        out.push(set(ObjectKind::MirrorSession, oid, fields));
        oid
    }

    /// Removes a mirror session, and says whether it could: not while a port refers to it.
    pub fn remove_mirror(&mut self, oid: Oid, out: &mut Vec<Output>) -> bool {
        if self.mirrored.values().any(|bound| *bound == oid) {
            return false;
        }
        self.mirrors.remove(&oid);
        out.push(Output::RemoveObject { kind: ObjectKind::MirrorSession, oid });
        true
    }

    /// The next hop of a mirror session has another MAC address.
    pub fn set_mirror_mac(&self, oid: Oid, mac: &str, out: &mut Vec<Output>) {
        out.push(set(ObjectKind::MirrorSession, oid, vec![field(DST_MAC, &mac.to_uppercase())]));
    }

    /// A mirror session's copies leave by another port.
    pub fn set_mirror_port(&mut self, oid: Oid, interface: &str, out: &mut Vec<Output>) {
        let way_out = self.port_oid(interface);
        self.mirrors.insert(oid, way_out);
        out.push(set(ObjectKind::MirrorSession, oid, vec![field(asic_db::MIRROR_MONITOR_PORT, &way_out.to_string())]));
    }

    /// A policer is there. What it measures is not kept: the lab's mirror sessions know none.
    pub fn add_policer(&mut self, name: &str, out: &mut Vec<Output>) {
        if !self.policers.contains_key(name) {
            let oid = self.new_oid(ObjectKind::Policer);
            self.policers.insert(name.to_owned(), oid);
            out.push(set(ObjectKind::Policer, oid, vec![field(NULL, NULL)]));
        }
    }

    /// A policer that nobody uses goes.
    pub fn remove_policer(&mut self, name: &str, out: &mut Vec<Output>) {
        if let Some(oid) = self.policers.remove(name) {
            out.push(Output::RemoveObject { kind: ObjectKind::Policer, oid });
        }
    }

    /// How many mirror sessions there are, forgotten ones included.
    #[must_use]
    pub fn mirrors(&self) -> usize {
        self.mirrors.len()
    }

    /// Makes a mirror session's sampler.
    pub fn create_mirror_sampler(&mut self, sampling: Sampling, out: &mut Vec<Output>) -> Oid {
        let mut fields = vec![field(SAMPLE_RATE, &sampling.rate.to_string()), field(SAMPLER_TYPE, SAMPLER_OF_A_MIRROR)];
        if sampling.truncate > 0 {
            fields.push(field(TRUNCATE, "true"));
            fields.push(field(TRUNCATE_SIZE, &sampling.truncate.to_string()));
        }
        self.create_sampler(fields, out)
    }

    /// Makes sFlow's sampler of a rate.
    pub fn create_sflow_sampler(&mut self, rate: u32, out: &mut Vec<Output>) -> Oid {
        self.create_sampler(vec![field(SAMPLE_RATE, &rate.to_string())], out)
    }

    fn create_sampler(&mut self, fields: OrderedFields, out: &mut Vec<Output>) -> Oid {
        let oid = self.new_oid(ObjectKind::Samplepacket);
        self.samplers.insert(oid);
        out.push(set(ObjectKind::Samplepacket, oid, fields));
        oid
    }

    /// Removes a sampler, and says whether it could: not while a port refers to it.
    pub fn remove_sampler(&mut self, oid: Oid, out: &mut Vec<Output>) -> bool {
        if self.sampled.values().any(|bound| *bound == oid) {
            return false;
        }
        self.samplers.remove(&oid);
        out.push(Output::RemoveObject { kind: ObjectKind::Samplepacket, oid });
        true
    }

    /// The sampler of a port's side.
    #[must_use]
    pub fn sampler_of(&self, port: &str, side: PortSide) -> Option<Oid> {
        self.sampled.get(&(port.to_owned(), side)).copied()
    }

    /// A port's side refers to this mirror session from now on, and to this sampler if it is a sampled one; to whatever it referred before.
    pub fn bind(&mut self, port: &str, side: PortSide, mirror: Oid, sampler: Option<Oid>, out: &mut Vec<Output>) {
        if let (Some(sampler), Some(_)) = (sampler, sampler_field(side)) {
            self.set_sampler(port, side, Some(sampler), out);
        }
        self.mirrored.insert((port.to_owned(), side), mirror);
        self.set_port(port, field(mirror_field(side), &format!("1:{mirror}")), out);
    }

    /// A port's side refers to no mirror session from now on, and to no sampler if it is a sampled one.
    pub fn unbind(&mut self, port: &str, side: PortSide, out: &mut Vec<Output>) {
        self.mirrored.remove(&(port.to_owned(), side));
        self.set_port(port, field(mirror_field(side), asic_db::NO_OBJECTS), out);
        self.set_sampler(port, side, None, out);
    }

    /// A port's side refers to this sampler from now on. Nothing happens on a side that has none.
    pub fn set_sampler(&mut self, port: &str, side: PortSide, sampler: Option<Oid>, out: &mut Vec<Output>) {
        let Some(name) = sampler_field(side) else { return };
        match sampler {
            Some(sampler) => drop(self.sampled.insert((port.to_owned(), side), sampler)),
            None => drop(self.sampled.remove(&(port.to_owned(), side))),
        }
        let value = sampler.map_or_else(|| asic_db::NO_OBJECT.to_owned(), |sampler| sampler.to_string());
        self.set_port(port, field(name, &value), out);
    }

    fn set_port(&self, port: &str, field: (String, String), out: &mut Vec<Output>) {
        if let Some(&oid) = self.ports.get(port) {
            out.push(set(ObjectKind::Port, oid, vec![field]));
        }
    }

    fn new_oid(&mut self, kind: ObjectKind) -> Oid {
        self.made += 1;
        Oid::new(kind, FIRST_NEW + self.made)
    }

    /// The port of an interface.
    #[must_use]
    pub fn port_oid(&self, interface: &str) -> Oid {
        self.ports.get(interface).copied().unwrap_or(CPU_PORT)
    }

    fn mirror_fields(&self, destination: &CopyDestination) -> (Oid, OrderedFields) {
        let (way_out, kind) = match destination {
            CopyDestination::Port(port) => (self.port_oid(port), asic_db::MIRROR_LOCAL),
            CopyDestination::Tunnel(tunnel) => (self.port_oid(&tunnel.monitor_port), asic_db::MIRROR_ENHANCED_REMOTE),
        };
        let mut fields =
            vec![field(asic_db::MIRROR_MONITOR_PORT, &way_out.to_string()), field(asic_db::MIRROR_TYPE, kind)];
        if let CopyDestination::Tunnel(tunnel) = destination {
            fields.extend(tunnel_fields(tunnel));
        }
        (way_out, fields)
    }
}

fn tunnel_fields(tunnel: &Tunnel) -> OrderedFields {
    let version = match tunnel.dst {
        IpAddr::V4(_) => "4",
        IpAddr::V6(_) => "6",
    };
    vec![
        field(
            "SAI_MIRROR_SESSION_ATTR_ERSPAN_ENCAPSULATION_TYPE",
            "SAI_ERSPAN_ENCAPSULATION_TYPE_MIRROR_L3_GRE_TUNNEL",
        ),
        field("SAI_MIRROR_SESSION_ATTR_IPHDR_VERSION", version),
        // Six bits of DSCP and two of ECN.
        field("SAI_MIRROR_SESSION_ATTR_TOS", &(u16::from(tunnel.dscp) << 2).to_string()),
        field("SAI_MIRROR_SESSION_ATTR_TTL", &tunnel.ttl.to_string()),
        field(asic_db::MIRROR_SRC_IP, &tunnel.src.to_string()),
        field(asic_db::MIRROR_DST_IP, &tunnel.dst.to_string()),
        field("SAI_MIRROR_SESSION_ATTR_SRC_MAC_ADDRESS", &SWITCH_MAC.map(|octet| format!("{octet:02X}")).join(":")),
        field(DST_MAC, &tunnel.neighbour_mac.to_uppercase()),
        field("SAI_MIRROR_SESSION_ATTR_GRE_PROTOCOL_TYPE", &tunnel.gre_type.to_string()),
    ]
}

fn set(kind: ObjectKind, oid: Oid, fields: OrderedFields) -> Output {
    Output::SetObject { kind, oid, fields }
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn mirror_field(side: PortSide) -> &'static str {
    match side {
        PortSide::Rx => asic_db::INGRESS_MIRROR_SESSION,
        PortSide::Tx => asic_db::EGRESS_MIRROR_SESSION,
        PortSide::SampledRx => asic_db::INGRESS_SAMPLE_MIRROR_SESSION,
        PortSide::SampledTx => asic_db::EGRESS_SAMPLE_MIRROR_SESSION,
    }
}

fn sampler_field(side: PortSide) -> Option<&'static str> {
    match side {
        PortSide::Rx | PortSide::Tx => None,
        PortSide::SampledRx => Some(asic_db::INGRESS_SAMPLEPACKET_ENABLE),
        PortSide::SampledTx => Some(asic_db::EGRESS_SAMPLEPACKET_ENABLE),
    }
}
