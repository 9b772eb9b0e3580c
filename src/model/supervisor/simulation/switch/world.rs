//! The ports of the simulated switch, and the snapshot of its tables.

use std::collections::BTreeMap;

use super::{Random, Switch};
use crate::model::supervisor::Event;
use crate::model::world::{Capability, Port, TapCost, World};

impl Switch {
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
            capability: Capability {
                ingress_mirror: Some(true),
                egress_mirror: Some(true),
                ingress_sample: Some(true),
                egress_sample: Some(true),
                ..Capability::default()
            },
            tap_cost: TapCost { summary_bytes: 1 << 20, flows_bytes: 4 << 20 },
            ..World::default()
        }
    }
}
