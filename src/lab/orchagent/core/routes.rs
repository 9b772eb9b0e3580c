//! The way of ERSPAN sessions: routes, their next hops, and neighbours (`updateNextHop`, `updateNeighbor`, `updateSession`; fact S20).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Orchagent;
use crate::lab::orchagent::hardware::{CopyDestination, MirrorTarget, Tunnel};
use crate::lab::orchagent::messages::{OrderedFields, Output};
use crate::lab::orchagent::prefix::{NextHop, Prefix};
use crate::lab::orchagent::session::{Destination, Erspan};

/// A neighbour that a session's copies can go to.
struct Neighbour {
    interface: String,
    /// The interface, or the first member of the LAG that it is.
    monitor_port: String,
    mac: String,
}

impl Orchagent {
    /// The route that leads to an address: the longest prefix that covers it, and its next hops. The default route is always there.
    pub(super) fn best_route(&self, address: IpAddr) -> (Prefix, BTreeSet<NextHop>) {
        let covering = self.routes.iter().filter(|(prefix, _)| prefix.covers(address));
        let best = covering.max_by_key(|(prefix, _)| prefix.bits());
        best.map_or_else(|| (Prefix::default_for(address), BTreeSet::new()), |(prefix, hops)| (*prefix, hops.clone()))
    }

    /// A route was written or deleted: those who follow it are told, and then neighbours that no route uses any more go.
    pub(super) fn route(&mut self, prefix: Prefix, next_hops: Option<Vec<NextHop>>, out: &mut Vec<Output>) {
        let concerned: Vec<(String, IpAddr)> = self
            .sessions
            .iter()
            .filter_map(|(name, session)| Some((name.clone(), session.destination()?)))
            .filter(|(_, destination)| prefix.covers(*destination))
            .collect();
        let before: Vec<_> = concerned.iter().map(|(_, destination)| self.best_route(*destination)).collect();
        match next_hops {
            Some(hops) => drop(self.routes.insert(prefix, hops.into_iter().collect())),
            None => drop(self.routes.remove(&prefix)),
        }
        for ((name, destination), before) in concerned.into_iter().zip(before) {
            let best = self.best_route(destination);
            if best != before {
                self.follow_route(&name, best, out);
            }
        }
        let unused: Vec<NextHop> = self.leaving.iter().filter(|hop| !self.is_next_hop(hop)).cloned().collect();
        for hop in unused {
            self.neighbour(hop, None, out);
        }
    }

    fn is_next_hop(&self, neighbour: &NextHop) -> bool {
        self.routes.values().any(|hops| hops.contains(neighbour))
    }

    /// The session's route is this one now. It keeps its next hop if that is still one of the route's, and takes the first otherwise.
    pub(super) fn follow_route(&mut self, name: &str, route: (Prefix, BTreeSet<NextHop>), out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        let Some(destination) = session.destination() else { return };
        let (prefix, hops) = route;
        session.way.prefix = prefix;
        write(name, vec![("route_prefix", prefix.to_string())], out);
        if hops.contains(&session.way.next_hop) {
            return;
        }
        session.way.next_hop = hops.into_iter().next().unwrap_or_else(|| NextHop::none_for(destination));
        write(name, vec![("next_hop_ip", session.way.next_hop.to_string())], out);
        self.update(name, out);
    }

    /// A neighbour has come, changed its MAC address, or gone; one that a route uses stays as long as the route.
    pub(super) fn neighbour(&mut self, hop: NextHop, mac: Option<String>, out: &mut Vec<Output>) {
        let address = hop.address;
        match mac {
            Some(mac) => {
                self.leaving.remove(&hop);
                self.neighbours.insert(hop, mac);
            }
            None if self.is_next_hop(&hop) => {
                self.leaving.insert(hop);
                return;
            }
            None => {
                self.leaving.remove(&hop);
                self.neighbours.remove(&hop);
            }
        }
        for name in self.sessions_through(address) {
            self.update(&name, out);
        }
    }

    /// The members of a LAG have changed: ERSPAN sessions whose copies leave by it leave by its first member.
    pub(super) fn update_through(&mut self, lag: &str, out: &mut Vec<Output>) {
        let addresses = self.neighbours.keys().filter(|hop| hop.interface == lag).map(|hop| hop.address);
        let concerned: BTreeSet<String> = addresses.flat_map(|address| self.sessions_through(address)).collect();
        for name in concerned {
            self.update(&name, out);
        }
    }

    /// Makes the session agree with what is known of its way.
    pub(super) fn update(&mut self, name: &str, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(name) else { return };
        let active = session.active;
        match (self.resolve(name), active) {
            (Some(neighbour), true) => self.move_to(name, &neighbour, out),
            (Some(_), false) => {
                if !self.resolved.iter().any(|waiting| waiting == name) {
                    self.resolved.push_back(name.to_owned());
                }
            }
            (None, true) => drop(self.deactivate(name, out)),
            (None, false) => self.resolved.retain(|waiting| waiting != name),
        }
    }

    /// Who the session's copies go to next: the destination itself, or else the route's next hop.
    fn resolve(&self, name: &str) -> Option<Neighbour> {
        let session = self.sessions.get(name).filter(|_| !self.faults.of(Some(name)).unresolved)?;
        let destination = session.destination()?;
        let next_hop = &session.way.next_hop;
        let direct = self.neighbours.iter().find(|(hop, _)| hop.address == destination);
        let (hop, mac) =
            direct.or_else(|| self.neighbours.get_key_value(next_hop).filter(|(hop, _)| hop.is_somebody()))?;
        let monitor_port = match self.topology.lags.get(&hop.interface) {
            Some(members) => members.first()?.clone(),
            None => hop.interface.clone(),
        };
        Some(Neighbour { interface: hop.interface.clone(), monitor_port, mac: mac.clone() })
    }

    /// The tunnel that an ERSPAN session that is about to be activated makes; its way is known from now on.
    pub(super) fn tunnel(&mut self, name: &str, erspan: &Erspan) -> Option<Tunnel> {
        let neighbour = self.resolve(name)?;
        let tunnel = self.tunnel_to(name, erspan, &neighbour);
        let session = self.sessions.get_mut(name)?;
        (session.way.monitor_port, session.way.mac) = (neighbour.monitor_port, neighbour.mac);
        Some(tunnel)
    }

    fn tunnel_to(&self, name: &str, erspan: &Erspan, neighbour: &Neighbour) -> Tunnel {
        let Erspan { src, dst, gre_type, dscp, ttl } = *erspan;
        let (interface, monitor_port) = (neighbour.interface.clone(), neighbour.monitor_port.clone());
        let options = self.faults.of(Some(name)).gre.unwrap_or_default();
        Tunnel { src, dst, gre_type, dscp, ttl, interface, monitor_port, neighbour_mac: neighbour.mac.clone(), options }
    }

    /// An active session goes on by another neighbour, or by the same with another MAC address: in place, without becoming inactive.
    fn move_to(&mut self, name: &str, neighbour: &Neighbour, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(name) else { return };
        let Destination::Erspan(erspan) = session.spec.destination.clone() else { return };
        let Some(mirror) = session.held.mirror else { return };
        let (new_mac, new_port) =
            (session.way.mac != neighbour.mac, session.way.monitor_port != neighbour.monitor_port);
        if !new_mac && !new_port {
            return;
        }
        let tunnel = self.tunnel_to(name, &erspan, neighbour);
        if new_mac {
            self.objects.set_mirror_mac(mirror, &neighbour.mac, out);
            write(name, vec![("dst_mac", neighbour.mac.clone())], out);
        }
        if new_port {
            self.objects.set_mirror_port(mirror, &neighbour.monitor_port, out);
            write(name, vec![("monitor_port", neighbour.monitor_port.clone())], out);
        }
        let Some(session) = self.sessions.get_mut(name) else { return };
        (session.way.mac, session.way.monitor_port) = (neighbour.mac.clone(), neighbour.monitor_port.clone());
        let destination = CopyDestination::Tunnel(tunnel);
        let target = MirrorTarget { session: name.to_owned(), destination, sampling: session.spec.sampling };
        session.held.target = Some(target.clone());
        out.push(Output::Retarget { target });
    }
}

fn write(session: &str, fields: Vec<(&str, String)>, out: &mut Vec<Output>) {
    let fields: OrderedFields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    out.push(Output::WriteState { session: session.to_owned(), fields });
}
