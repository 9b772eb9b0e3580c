//! What ASIC_DB shows of mirroring: what orchagent asked the SAI for, which is the only evidence that a port is free again.
//!
//! Values only. STATE_DB says what orchagent thinks of a session; a port that it left bound stands here and in no other table
//! (observed facts S15 to S18). Attribute values are as sairedis writes them: object lists `1:oid:0x…`, nothing `0:null` or `oid:0x0`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::job::{Direction, Fields};
use super::provision::mirror::MirrorTarget;
use super::schema::asic_db;

/// The name of an object: `oid:0x1000000000002`.
pub type Oid = String;

/// What is asked: at most two commands for each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The ports; with their oids where they are known already, since a removed port is not in COUNTERS_PORT_NAME_MAP any more.
    pub ports: BTreeMap<String, Option<Oid>>,
    /// Where the job's copies go, to tell its mirror objects from others.
    pub target: MirrorTarget,
    /// Whether the copies go through the ports' samplers: then those are read, else the mirror objects of every packet.
    pub sampled: bool,
}

impl Question {
    /// The port to which a job's SPAN copies go: its oid is needed, too.
    #[must_use]
    pub fn destination_port(&self) -> Option<&str> {
        match &self.target {
            MirrorTarget::Port(port) => Some(port),
            MirrorTarget::Tunnel(_) => None,
        }
    }

    /// The four attributes that are read of each port.
    #[must_use]
    pub const fn attributes(&self) -> [&'static str; 4] {
        if self.sampled {
            [
                asic_db::INGRESS_SAMPLE_MIRROR_SESSION,
                asic_db::EGRESS_SAMPLE_MIRROR_SESSION,
                asic_db::INGRESS_SAMPLEPACKET_ENABLE,
                asic_db::EGRESS_SAMPLEPACKET_ENABLE,
            ]
        } else {
            [
                asic_db::INGRESS_MIRROR_SESSION,
                asic_db::EGRESS_MIRROR_SESSION,
                asic_db::INGRESS_SAMPLE_MIRROR_SESSION,
                asic_db::EGRESS_SAMPLE_MIRROR_SESSION,
            ]
        }
    }
}

/// A port that is bound to a mirror object, in one direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The port.
    pub port: String,
    /// The direction: ingress or egress.
    pub direction: Direction,
    /// Whether it gets what the port's sampler takes, instead of every packet.
    pub sampled: bool,
    /// The mirror object.
    pub object: Oid,
}

impl fmt::Display for Binding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, {})", self.port, self.direction, self.object)
    }
}

/// A mirror object, as far as it can be told from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorObject {
    /// The port to which it sends.
    pub monitor_port: Option<Oid>,
    /// Its outer addresses, if it encapsulates.
    pub outer: Option<(IpAddr, IpAddr)>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The oids of the ports that were asked for and of the destination, where they are known.
    pub oids: BTreeMap<String, Oid>,
    /// Every binding of the ports that were asked for.
    pub bindings: BTreeSet<Binding>,
    /// The samplers of those ports.
    pub samplers: BTreeMap<(String, Direction), Oid>,
    /// The mirror objects of the bindings. One that went in between is not here.
    pub objects: BTreeMap<Oid, MirrorObject>,
}

impl View {
    /// Takes a port's attributes in, as far as they were read.
    pub fn add_port(&mut self, port: &str, attributes: &Fields) {
        for (name, value) in attributes {
            let (direction, sampled) = match name.as_str() {
                asic_db::INGRESS_MIRROR_SESSION => (Direction::Ingress, false),
                asic_db::EGRESS_MIRROR_SESSION => (Direction::Egress, false),
                asic_db::INGRESS_SAMPLE_MIRROR_SESSION => (Direction::Ingress, true),
                asic_db::EGRESS_SAMPLE_MIRROR_SESSION => (Direction::Egress, true),
                asic_db::INGRESS_SAMPLEPACKET_ENABLE | asic_db::EGRESS_SAMPLEPACKET_ENABLE => {
                    let ingress = name == asic_db::INGRESS_SAMPLEPACKET_ENABLE;
                    let direction = if ingress { Direction::Ingress } else { Direction::Egress };
                    self.samplers.extend(object(value).map(|oid| ((port.to_owned(), direction), oid)));
                    continue;
                }
                _ => continue,
            };
            let binding = |object| Binding { port: port.to_owned(), direction, sampled, object };
            self.bindings.extend(objects(value).map(binding));
        }
    }

    /// Takes a mirror object's attributes in.
    pub fn add_object(&mut self, oid: &str, attributes: &Fields) {
        let address = |name: &str| attributes.get(name).and_then(|text| text.parse::<IpAddr>().ok());
        let found = MirrorObject {
            monitor_port: attributes.get(asic_db::MIRROR_MONITOR_PORT).and_then(|value| object(value)),
            outer: address(asic_db::MIRROR_SRC_IP).zip(address(asic_db::MIRROR_DST_IP)),
        };
        self.objects.insert(oid.to_owned(), found);
    }

    /// The bindings to mirror objects that send where a session with this target does; `None` if it cannot be told, because the
    /// destination's oid is not known. Only one session at a time has a target: `admission` leases it.
    #[must_use]
    pub fn bound_to(&self, target: &MirrorTarget) -> Option<Vec<&Binding>> {
        let is_target: Box<dyn Fn(&MirrorObject) -> bool> = match target {
            MirrorTarget::Port(port) => {
                let oid = self.oids.get(port)?.clone();
                Box::new(move |object| object.outer.is_none() && object.monitor_port.as_ref() == Some(&oid))
            }
            MirrorTarget::Tunnel(tunnel) => {
                let outer = tunnel.outer;
                Box::new(move |object| object.outer == Some((outer.src, outer.dst)))
            }
        };
        let ours = |binding: &&Binding| self.objects.get(&binding.object).is_some_and(&is_target);
        Some(self.bindings.iter().filter(ours).collect())
    }
}

/// `oid:0x5`, unless it is the null object.
fn object(value: &str) -> Option<Oid> {
    (value.starts_with("oid:") && value != asic_db::NO_OBJECT).then(|| value.to_owned())
}

/// `2:oid:0x5,oid:0x6`; `0:null` is none.
fn objects(value: &str) -> impl Iterator<Item = Oid> {
    let list = value.split_once(':').map_or("", |(_, list)| list);
    list.split(',').filter_map(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::erspan::Outer;
    use crate::model::settings::Settings;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn binding(port: &str, direction: Direction, object: &str) -> Binding {
        Binding { port: port.to_owned(), direction, sampled: false, object: object.to_owned() }
    }

    #[test]
    fn attributes_are_read_as_sairedis_writes_them() {
        let mut view = View::default();
        view.add_port(
            "Ethernet0",
            &fields(&[
                (asic_db::INGRESS_MIRROR_SESSION, "2:oid:0xe1,oid:0xe2"),
                (asic_db::EGRESS_MIRROR_SESSION, "0:null"),
                (asic_db::EGRESS_SAMPLE_MIRROR_SESSION, "1:oid:0xe3"),
                (asic_db::INGRESS_SAMPLEPACKET_ENABLE, "oid:0x0"),
                (asic_db::EGRESS_SAMPLEPACKET_ENABLE, "oid:0x51"),
                ("SAI_PORT_ATTR_MTU", "9122"),
            ]),
        );
        let bound = [
            binding("Ethernet0", Direction::Ingress, "oid:0xe1"),
            binding("Ethernet0", Direction::Ingress, "oid:0xe2"),
            Binding { sampled: true, ..binding("Ethernet0", Direction::Egress, "oid:0xe3") },
        ];
        assert_eq!(view.bindings, BTreeSet::from(bound));
        let sampler = (("Ethernet0".to_owned(), Direction::Egress), "oid:0x51".to_owned());
        assert_eq!(view.samplers, BTreeMap::from([sampler]));
    }

    #[test]
    fn a_binding_is_ours_if_its_object_sends_where_the_job_leased() {
        let mut view = View::default();
        for (port, object) in [("Ethernet0", "oid:0xe1"), ("Ethernet4", "oid:0xe2"), ("Ethernet8", "oid:0xe3")] {
            view.add_port(port, &fields(&[(asic_db::INGRESS_MIRROR_SESSION, &format!("1:{object}"))]));
        }
        view.add_object("oid:0xe1", &fields(&[(asic_db::MIRROR_MONITOR_PORT, "oid:0x12")]));
        view.add_object("oid:0xe2", &fields(&[(asic_db::MIRROR_MONITOR_PORT, "oid:0x13")]));
        let encapsulated = [
            (asic_db::MIRROR_MONITOR_PORT, "oid:0x12"),
            (asic_db::MIRROR_SRC_IP, "10.0.0.1"),
            (asic_db::MIRROR_DST_IP, "10.0.0.9"),
        ];
        view.add_object("oid:0xe3", &fields(&encapsulated));
        let span = MirrorTarget::Port("Ethernet12".to_owned());
        assert_eq!(view.bound_to(&span), None, "the destination's oid is not known");
        view.oids.insert("Ethernet12".to_owned(), "oid:0x12".to_owned());
        assert_eq!(view.bound_to(&span), Some(vec![&binding("Ethernet0", Direction::Ingress, "oid:0xe1")]));
        let outer =
            Outer { src: "10.0.0.1".parse().expect("an address"), dst: "10.0.0.9".parse().expect("an address") };
        let tunnel = MirrorTarget::Tunnel(Settings::default().erspan.tunnel(outer.src, outer.dst));
        assert_eq!(view.bound_to(&tunnel), Some(vec![&binding("Ethernet8", Direction::Ingress, "oid:0xe3")]));
    }
}
