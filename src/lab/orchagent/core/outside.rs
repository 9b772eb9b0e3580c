//! What happens to sessions from outside of their rows: neighbours that come and go, and faults.

use std::net::IpAddr;
use std::time::Instant;

use super::{Orchagent, Session};
use crate::lab::orchagent::hardware::{Fault, Tunnel};
use crate::lab::orchagent::messages::Output;
use crate::lab::orchagent::session::{Destination, Erspan, SessionSpec};

impl Session {
    fn leads_to(&self, address: IpAddr) -> bool {
        matches!(self.spec.destination, Destination::Erspan(erspan) if erspan.dst == address)
    }
}

impl Orchagent {
    pub(super) fn fault(&mut self, fault: &Fault, session: Option<&str>, now: Instant, out: &mut Vec<Output>) {
        let unresolved: Vec<String> =
            self.sessions.keys().filter(|name| self.faults.of(Some(name)).unresolved).cloned().collect();
        self.faults.apply(fault, session);
        let concerned = |(name, known): &(&String, &Session)| {
            let lost = match fault {
                Fault::Lose => true,
                Fault::Unresolved => matches!(known.spec.destination, Destination::Erspan(_)),
                Fault::Reject | Fault::Inactive | Fault::Slow(_) | Fault::Dead | Fault::Erspan(_) | Fault::Clear => {
                    false
                }
            };
            lost && known.active && session.is_none_or(|wanted| wanted == *name)
        };
        let lost: Vec<String> = self.sessions.iter().filter(concerned).map(|(name, _)| name.clone()).collect();
        for name in &lost {
            self.deactivate(name, out);
        }
        if *fault == Fault::Clear {
            self.queue.hasten(&self.faults, now);
            let is_back = |name: &String| match self.sessions.get(name) {
                Some(Session { spec: SessionSpec { destination: Destination::Erspan(erspan), .. }, active: false }) => {
                    self.is_resolved(name, erspan.dst)
                }
                _ => false,
            };
            let back: Vec<String> = unresolved.into_iter().filter(is_back).collect();
            self.resolved.extend(back);
        }
    }

    pub(super) fn is_resolved(&self, session: &str, address: IpAddr) -> bool {
        !self.faults.of(Some(session)).unresolved && self.neighbours.contains_key(&address)
    }

    pub(super) fn tunnel(&self, session: &str, erspan: &Erspan) -> Option<Tunnel> {
        let Erspan { src, dst, gre_type, dscp, ttl } = *erspan;
        let condition = self.faults.of(Some(session));
        let (interface, mac) = self.neighbours.get(&dst).filter(|_| !condition.unresolved)?;
        let (interface, neighbour_mac) = (interface.clone(), mac.clone());
        let options = condition.gre.unwrap_or_default();
        Some(Tunnel { src, dst, gre_type, dscp, ttl, interface, neighbour_mac, options })
    }

    pub(super) fn neighbour(&mut self, address: IpAddr, interface: String, mac: Option<String>, out: &mut Vec<Output>) {
        let resolved = mac.is_some();
        match mac {
            Some(mac) => drop(self.neighbours.insert(address, (interface, mac))),
            None => drop(self.neighbours.remove(&address)),
        }
        let concerned = self.sessions.iter().filter(|(name, session)| {
            session.leads_to(address) && session.active != resolved && !self.faults.of(Some(name)).unresolved
        });
        let names: Vec<String> = concerned.map(|(name, _)| name.clone()).collect();
        if resolved {
            self.resolved.extend(names);
        } else {
            for name in names {
                self.deactivate(&name, out);
            }
        }
    }
}
