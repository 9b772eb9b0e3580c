//! Ports that come and go, and the LAGs that they join and leave: `updateLagMember`, and what of `portsorch.cpp` a mirror session meets.

use std::time::Instant;

use super::{Orchagent, RETRY};
use crate::lab::orchagent::messages::Output;
use crate::lab::orchagent::objects::Oid;
use crate::lab::orchagent::session::Slots;

impl Orchagent {
    /// A port's row is there. A port that could not be removed has its name again, and its object.
    pub(super) fn add_port(&mut self, name: String, oid: Option<Oid>, out: &mut Vec<Output>) {
        self.objects.add_port(&name, oid, out);
        if self.kept_ports.remove(&name).is_some() {
            out.push(Output::NamePort { oid: self.objects.port_oid(&name), port: name.clone() });
        }
        self.topology.ports.insert(name);
    }

    /// A port's row has gone. COUNTERS_DB forgets the port at once; its object goes if nothing refers to it. Otherwise orchagent holds the port,
    /// and tries again and again in vain, even when nothing refers to it any more (fact S18).
    pub(super) fn remove_port(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        if !self.topology.ports.contains(&name) || self.kept_ports.contains_key(&name) {
            return;
        }
        out.push(Output::UnnamePort { port: name.clone() });
        if self.objects.remove_port(&name, out) {
            self.topology.ports.remove(&name);
        } else {
            out.push(Output::Log(format!("Unable to remove port {name}: the object is in use")));
            self.kept_ports.insert(name, now + RETRY);
        }
    }

    /// Tries again to remove a port whose time has come, and says whether there was one.
    pub(super) fn try_to_remove_ports(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some((name, at)) = self.kept_ports.iter_mut().find(|(_, at)| **at <= now) else { return false };
        *at = now + RETRY;
        out.push(Output::Log(format!("Unable to remove port {name}: the object is in use")));
        true
    }

    /// Without its row a LAG has no members either: teamd ends, and they leave one by one.
    pub(super) fn remove_lag(&mut self, name: &str, out: &mut Vec<Output>) {
        for port in self.topology.lags.get(name).cloned().unwrap_or_default() {
            self.leave(name, &port, out);
        }
        self.topology.lags.remove(name);
    }

    pub(super) fn join(&mut self, lag: &str, port: String, out: &mut Vec<Output>) {
        let following = self.followers(lag, &port);
        if self.topology.lags.entry(lag.to_owned()).or_default().insert(port) {
            self.joined.extend(following);
            self.update_through(lag, out);
        }
    }

    pub(super) fn leave(&mut self, lag: &str, port: &str, out: &mut Vec<Output>) {
        let Some(members) = self.topology.lags.get_mut(lag) else { return };
        if !members.remove(port) {
            return;
        }
        for (_, slots) in self.followers(lag, port) {
            for (port, side) in slots.found {
                self.unbind(port, side, out);
            }
        }
        self.update_through(lag, out);
    }

    /// The sessions that a change of the LAG's membership concerns, and what of the port is theirs.
    fn followers(&self, lag: &str, port: &str) -> Vec<(String, Slots)> {
        let following = self.sessions.iter().filter(|(_, session)| session.active && session.spec.follows(lag, port));
        let slots = following.map(|(name, session)| {
            let found = session.spec.sides.iter().map(|side| (port.to_owned(), *side)).collect();
            (name.clone(), Slots { found, missing: None })
        });
        slots.collect()
    }
}
