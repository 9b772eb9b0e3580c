//! What the simulated switch shows of itself: ASIC_DB, and the snapshot of its tables.

use std::collections::BTreeMap;

use super::{Random, Switch};
use crate::model::asic::{Binding, MirrorObject, Question, View};
use crate::model::job::Direction;
use crate::model::supervisor::Event;
use crate::model::world::{Capability, Port, TapCost, World};

impl Switch {
    /// What ASIC_DB shows of a job's ports: orchagent's sessions bind what they name.
    pub(super) fn asic(&self, question: &Question) -> View {
        let mut view = View::default();
        let oid = |port: &str| format!("oid:{port}");
        view.oids = question
            .ports
            .keys()
            .map(String::as_str)
            .chain(question.destination_port())
            .map(|port| (port.to_owned(), oid(port)))
            .collect();
        for (name, session) in &self.bound {
            let object = format!("oid:{name}");
            for port in session.src_ports.iter().filter(|port| question.ports.contains_key(*port)) {
                let direction = Direction::Ingress;
                view.bindings.insert(Binding { port: port.clone(), direction, sampled: false, object: object.clone() });
            }
            let outer = session.outer.map(|outer| (outer.src, outer.dst));
            let monitor_port = session.dst_port.as_deref().map(oid);
            view.objects.insert(object, MirrorObject { monitor_port, outer });
        }
        view
    }

    /// A port joins PortChannel1 or leaves it, or is removed or comes back; whoever follows the tables is told.
    pub(in super::super) fn change_ports(&mut self, random: &mut Random) -> Event {
        if random.chance(70) {
            let port = random.pick(&["Ethernet0", "Ethernet8", "Ethernet12", "Ethernet120"]).to_owned();
            if !self.members.remove(&port) {
                self.members.insert(port);
            }
        } else {
            let port = random.pick(&["Ethernet4", "Ethernet8"]).to_owned();
            if !self.removed.remove(&port) {
                self.removed.insert(port);
            }
        }
        Event::SwitchChanged
    }

    pub(super) fn world(&self) -> World {
        let up = Port { oper_up: Some(true), speed_mbps: Some(100_000) };
        let names = ["Ethernet0", "Ethernet4", "Ethernet8", "Ethernet12", "Ethernet16", "Ethernet120", "Ethernet124"];
        World {
            ports: names
                .iter()
                .filter(|name| !self.removed.contains(**name))
                .map(|name| ((*name).to_owned(), up.clone()))
                .collect(),
            port_channels: BTreeMap::from([("PortChannel1".to_owned(), self.members.clone())]),
            sessions: self.configured.clone(),
            known_states: self.our_states(),
            pool: ["Ethernet120", "Ethernet124"]
                .iter()
                .map(|port| ((*port).to_owned(), Some((*port).to_owned())))
                .collect(),
            netdevs: names.iter().map(|name| (*name).to_owned()).collect(),
            capability: Capability { ingress_mirror: Some(true), egress_mirror: Some(true), ..Capability::default() },
            tap_cost: TapCost { summary_bytes: 1 << 20, flows_bytes: 4 << 20 },
            ..World::default()
        }
    }
}
