//! Faults that are asked for, and orchagent's own end.

use std::time::Instant;

use super::{Orchagent, Session};
use crate::lab::orchagent::hardware::Fault;
use crate::lab::orchagent::messages::Output;
use crate::lab::orchagent::session::Destination;

impl Orchagent {
    pub(super) fn fault(&mut self, fault: &Fault, session: Option<&str>, now: Instant, out: &mut Vec<Output>) {
        let waits = |(name, known): &(&String, &Session)| {
            matches!(known.spec.destination, Destination::Erspan(_)) && self.faults.of(Some(name)).unresolved
        };
        let unresolved: Vec<String> = self.sessions.iter().filter(waits).map(|(name, _)| name.clone()).collect();
        self.faults.apply(fault, session);
        let concerned = |(name, known): &(&String, &Session)| {
            let lost = match fault {
                Fault::Lose => true,
                Fault::Unresolved => matches!(known.spec.destination, Destination::Erspan(_)),
                Fault::Reject
                | Fault::Inactive
                | Fault::Slow(_)
                | Fault::Dead
                | Fault::Erspan(_)
                | Fault::Sessions { .. }
                | Fault::Restart
                | Fault::Clear => false,
            };
            lost && known.active && session.is_none_or(|wanted| wanted == *name)
        };
        if !self.ended {
            let lost: Vec<String> = self.sessions.iter().filter(concerned).map(|(name, _)| name.clone()).collect();
            for name in &lost {
                self.deactivate(name, out);
            }
        }
        match fault {
            Fault::Restart => out.push(Output::Restart),
            Fault::Clear if self.ended => out.push(Output::Restart),
            Fault::Clear => {
                self.queue.hasten(&self.faults, now);
                for name in unresolved {
                    self.update(&name, out);
                }
            }
            Fault::Reject
            | Fault::Inactive
            | Fault::Unresolved
            | Fault::Erspan(_)
            | Fault::Lose
            | Fault::Slow(_)
            | Fault::Dead
            | Fault::Sessions { .. } => {}
        }
    }
}
