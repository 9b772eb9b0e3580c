//! sFlow as far as mirror sessions meet it: who has a port's sampler (`sfloworch.cpp`; facts S1 to S7 and S12 to S15).
//!
//! Unlike the real one, the lab reads plain rows: nobody there writes `SFLOW_SESSION_TABLE` by the ProducerStateTable protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Orchagent, RETRY};
use crate::lab::orchagent::hardware::PortSide;
use crate::lab::orchagent::messages::{OrderedFields, Output};
use crate::lab::orchagent::objects::Oid;

/// What SflowOrch knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Sflow {
    up: bool,
    ports: BTreeMap<String, Sampled>,
    /// A sampler for each rate, and how many ports have it.
    rates: BTreeMap<u32, (Oid, usize)>,
    /// What could not be done: the row, and when it is tried again; `None`: next.
    waiting: BTreeMap<String, (OrderedFields, Option<Instant>)>,
}

#[derive(Clone, Debug)]
struct Sampled {
    up: bool,
    rate: u32,
    direction: String,
}

impl Sflow {
    /// When something is to be tried again; never while sFlow is disabled.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|(_, at)| *at).min().filter(|_| self.up)
    }

    /// What waits is tried again next. The real one tries with every event (fact S14), this one when there is a chance, and every second.
    pub(super) fn hasten(&mut self) {
        self.waiting.values_mut().for_each(|(_, at)| *at = None);
    }
}

impl Orchagent {
    /// Only rows that are written wait for it to be up; nothing is unbound when it is down (fact S7).
    pub(super) fn enable_sflow(&mut self, up: bool) {
        self.sflow.up = up;
        self.sflow.hasten();
    }

    pub(super) fn sflow_port(&mut self, port: String, row: Option<OrderedFields>, now: Instant, out: &mut Vec<Output>) {
        match row {
            Some(row) => self.set_sflow_port(port, row, now, out),
            None => self.delete_sflow_port(&port, out),
        }
    }

    /// Tries again what waits and whose time has come, and says whether there was something.
    pub(super) fn try_sflow_again(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        if !self.sflow.up {
            return false;
        }
        let due = |at: &Option<Instant>| at.is_none_or(|at| at <= now);
        let Some(port) = self.sflow.waiting.iter().find(|(_, (_, at))| due(at)).map(|(port, _)| port.clone()) else {
            return false;
        };
        if let Some((row, _)) = self.sflow.waiting.remove(&port) {
            self.set_sflow_port(port, row, now, out);
        }
        true
    }

    fn set_sflow_port(&mut self, port: String, row: OrderedFields, now: Instant, out: &mut Vec<Output>) {
        let done = self.sflow.up && self.apply_sflow_row(&port, &row, out);
        if done {
            self.sflow.waiting.remove(&port);
        } else {
            self.sflow.waiting.insert(port, (row, Some(now + RETRY)));
        }
    }

    /// Does what a row says, and says whether it could.
    fn apply_sflow_row(&mut self, port: &str, row: &OrderedFields, out: &mut Vec<Output>) -> bool {
        let said = |name: &str| row.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        if !self.topology.ports.contains(port) {
            // Fact 9.
            out.push(Output::Log(format!("sFlow of {port}: not a front-panel port")));
            return true;
        }
        let known = self.sflow.ports.get(port).cloned();
        let up = match said("admin_state") {
            Some("up") => true,
            Some("down") => false,
            Some(_) | None => known.as_ref().is_none_or(|known| known.up),
        };
        let rate = said("sample_rate").and_then(|rate| rate.parse().ok());
        let Some(rate) = rate.or(known.as_ref().map(|known| known.rate)).filter(|rate| *rate > 0) else { return false };
        // Fact 6: a direction that is not said is rx again.
        let direction = said("sample_direction").unwrap_or("rx").to_owned();
        let sampler = self.sflow_sampler(rate, out);
        let wanted = Sampled { up, rate, direction };
        let Some(taken) = self.taken_by_a_mirror(port, &wanted) else {
            self.sample(port, known.as_ref(), wanted, sampler, out);
            return true;
        };
        // Fact 14.
        out.push(Output::Log(format!("sFlow of {port}: it has the sampler {taken} already")));
        false
    }

    fn sflow_sampler(&mut self, rate: u32, out: &mut Vec<Output>) -> Oid {
        if let Some((sampler, _)) = self.sflow.rates.get(&rate) {
            return *sampler;
        }
        let sampler = self.objects.create_sflow_sampler(rate, out);
        self.sflow.rates.insert(rate, (sampler, 0));
        sampler
    }

    /// The sampler of somebody else's that is where sFlow's is wanted.
    fn taken_by_a_mirror(&self, port: &str, wanted: &Sampled) -> Option<Oid> {
        let sides = wanted.sides().into_iter().filter(|(_, sampled)| *sampled);
        let mut samplers = sides.filter_map(|(side, _)| self.objects.sampler_of(port, side));
        samplers.find(|sampler| !self.sflow.rates.values().any(|(own, _)| own == sampler))
    }

    fn sample(&mut self, port: &str, known: Option<&Sampled>, wanted: Sampled, sampler: Oid, out: &mut Vec<Output>) {
        let had = known.map(Sampled::sides).unwrap_or_default();
        for (side, sampled) in wanted.sides() {
            let was = had.iter().any(|(known, sampled)| *known == side && *sampled);
            if sampled {
                self.objects.set_sampler(port, side, Some(sampler), out);
            } else if was {
                self.objects.set_sampler(port, side, None, out);
            }
        }
        let (old, new) = (known.map(|known| known.rate), wanted.rate);
        self.sflow.ports.insert(port.to_owned(), wanted);
        if old != Some(new) {
            if let Some((_, users)) = self.sflow.rates.get_mut(&new) {
                *users += 1;
            }
            if let Some(old) = old {
                self.give_sampler_back(old, out);
            }
        }
    }

    fn give_sampler_back(&mut self, rate: u32, out: &mut Vec<Output>) {
        let Some((sampler, users)) = self.sflow.rates.get_mut(&rate) else { return };
        *users = users.saturating_sub(1);
        let sampler = *sampler;
        if *users == 0 && self.objects.remove_sampler(sampler, out) {
            self.sflow.rates.remove(&rate);
        }
    }

    /// What waits is forgotten; the sampler that was made for it stays, for good (fact S14).
    fn delete_sflow_port(&mut self, port: &str, out: &mut Vec<Output>) {
        self.sflow.waiting.remove(port);
        let Some(known) = self.sflow.ports.remove(port) else { return };
        for (side, sampled) in known.sides() {
            if sampled {
                self.objects.set_sampler(port, side, None, out);
            }
        }
        self.give_sampler_back(known.rate, out);
    }
}

impl Sampled {
    /// Whether each side is sampled. Any other word than `rx`, `tx` and `both` samples nothing (fact S5).
    fn sides(&self) -> Vec<(PortSide, bool)> {
        let is = |words: [&str; 2]| self.up && words.contains(&self.direction.as_str());
        vec![(PortSide::SampledRx, is(["rx", "both"])), (PortSide::SampledTx, is(["tx", "both"]))]
    }
}
