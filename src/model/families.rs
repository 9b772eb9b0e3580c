//! The families of a job's counters: which names each has, and where in [`Results`] its values stand. Every sink goes through them, so
//! a counter that is added here is in the tables, in JSON and in the metrics at once.
//!
//! How a family is called is in `schema`; what its numbers mean is said where they are made, in `sample` and `traffic`. Pure.

use std::borrow::Cow;

use super::counter::Counter;
use super::report::Results;
use super::schema::{CountFamily, CounterFamily, ErrorKind, EthClass, IpClass};
use super::traffic::{Cast, Ecn, HealthEvent, Inner, Rocev2Op, Service, TCP_FLAG_SETS, Tunnel, tcp_flags_name};

/// The name of what is in a tunnel and not IP, or could not be read.
pub const INNER_NON_IP: &str = "non_ip";

impl CounterFamily {
    /// The names of its counters.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        match self {
            CounterFamily::Eth => words(EthClass::ALL),
            CounterFamily::Ip => words(IpClass::ALL),
            CounterFamily::Service => words(Service::ALL),
            CounterFamily::Tunnel => words(Tunnel::ALL),
            CounterFamily::Inner => words(IpClass::ALL).into_iter().chain([INNER_NON_IP]).collect(),
        }
    }

    /// The counters that are not 0, by name.
    #[must_use]
    pub fn seen(self, results: &Results) -> Vec<(&'static str, Counter)> {
        let named = self.names().into_iter().zip(self.counters(results));
        named.filter(|(_, counter)| *counter != Counter::default()).collect()
    }

    /// Sets the counters, asking for each by its name. A family of which all are 0 is left as it is: whether it was measured cannot be told.
    ///
    /// # Errors
    /// The first that `read` has; `results` are unchanged then.
    pub fn set<E>(self, results: &mut Results, read: impl FnMut(&str) -> Result<Counter, E>) -> Result<(), E> {
        let values: Vec<Counter> = self.names().into_iter().map(read).collect::<Result<_, _>>()?;
        if values.iter().any(|value| *value != Counter::default()) {
            for (cell, value) in self.cells_mut(results).into_iter().zip(values) {
                *cell = value;
            }
        }
        Ok(())
    }

    fn counters(self, results: &Results) -> Vec<Counter> {
        match self {
            CounterFamily::Eth => results.eth.to_vec(),
            CounterFamily::Ip => results.ip.to_vec(),
            CounterFamily::Service => results.services.to_vec(),
            CounterFamily::Tunnel => results.inner.iter().flat_map(|inner| inner.tunnels).collect(),
            CounterFamily::Inner => {
                results.inner.iter().flat_map(|inner| inner.ip.into_iter().chain([inner.non_ip])).collect()
            }
        }
    }

    /// In the order of [`CounterFamily::names`].
    fn cells_mut(self, results: &mut Results) -> Vec<&mut Counter> {
        match self {
            CounterFamily::Eth => results.eth.iter_mut().collect(),
            CounterFamily::Ip => results.ip.iter_mut().collect(),
            CounterFamily::Service => results.services.iter_mut().collect(),
            CounterFamily::Tunnel => results.inner.get_or_insert_with(Inner::default).tunnels.iter_mut().collect(),
            CounterFamily::Inner => {
                let inner = results.inner.get_or_insert_with(Inner::default);
                inner.ip.iter_mut().chain([&mut inner.non_ip]).collect()
            }
        }
    }
}

impl CountFamily {
    /// The names of its counts.
    #[must_use]
    pub fn names(self) -> Vec<Cow<'static, str>> {
        let fixed = |names: Vec<&'static str>| names.into_iter().map(Cow::Borrowed).collect();
        match self {
            CountFamily::Error => fixed(words(ErrorKind::ALL)),
            CountFamily::Health => fixed(words(HealthEvent::ALL)),
            CountFamily::Cast => fixed(words(Cast::ALL)),
            CountFamily::Ecn | CountFamily::Rocev2Ecn => fixed(words(Ecn::ALL)),
            CountFamily::Dscp => (0..DSCPS).map(|dscp| Cow::Owned(dscp.to_string())).collect(),
            CountFamily::TcpFlags => (0..TCP_FLAG_SETS).map(|flags| Cow::Owned(tcp_flags_name(flags))).collect(),
            CountFamily::Rocev2 => fixed(words(Rocev2Op::ALL)),
        }
    }

    /// The counts that are not 0, by name.
    #[must_use]
    pub fn seen(self, results: &Results) -> Vec<(Cow<'static, str>, u64)> {
        let named = self.names().into_iter().zip(self.counts(results).iter().copied());
        named.filter(|(_, count)| *count > 0).collect()
    }

    /// Sets the counts, asking for each by its name.
    ///
    /// # Errors
    /// The first that `read` has.
    pub fn set<E>(self, results: &mut Results, mut read: impl FnMut(&str) -> Result<u64, E>) -> Result<(), E> {
        for (cell, name) in self.counts_mut(results).iter_mut().zip(self.names()) {
            *cell = read(&name)?;
        }
        Ok(())
    }

    fn counts(self, results: &Results) -> &[u64] {
        match self {
            CountFamily::Error => &results.errors,
            CountFamily::Health => &results.health.events,
            CountFamily::Cast => &results.health.cast,
            CountFamily::Ecn => &results.health.ecn,
            CountFamily::Dscp => &results.health.dscp,
            CountFamily::TcpFlags => &results.health.tcp_flags,
            CountFamily::Rocev2 => &results.health.rocev2,
            CountFamily::Rocev2Ecn => &results.health.rocev2_ecn,
        }
    }

    fn counts_mut(self, results: &mut Results) -> &mut [u64] {
        match self {
            CountFamily::Error => &mut results.errors,
            CountFamily::Health => &mut results.health.events,
            CountFamily::Cast => &mut results.health.cast,
            CountFamily::Ecn => &mut results.health.ecn,
            CountFamily::Dscp => &mut results.health.dscp,
            CountFamily::TcpFlags => &mut results.health.tcp_flags,
            CountFamily::Rocev2 => &mut results.health.rocev2,
            CountFamily::Rocev2Ecn => &mut results.health.rocev2_ecn,
        }
    }
}

/// How many code points six bits have.
const DSCPS: usize = 64;

fn words<W: Copy + Into<&'static str>>(all: &[W]) -> Vec<&'static str> {
    all.iter().map(|word| (*word).into()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;
    use crate::model::measure::scalars;

    fn results() -> Results {
        Results::empty("2026-01-31T03:00:00Z".parse().expect("a time"))
    }

    /// Every field of a result row but the fixed ones, with a number of its own.
    fn numbered() -> Results {
        let mut results = results();
        let mut next = 0;
        let mut number = || {
            next += 1;
            next
        };
        for family in CounterFamily::ALL {
            let counter = |_: &str| Ok::<_, Infallible>(Counter { packets: number(), bytes: number() });
            family.set(&mut results, counter).expect("nothing can fail");
        }
        for family in CountFamily::ALL {
            family.set(&mut results, |_| Ok::<_, Infallible>(number())).expect("nothing can fail");
        }
        results
    }

    #[test]
    fn every_counter_has_a_field_of_its_own() {
        let mut fields: Vec<String> = scalars().map(|scalar| scalar.name.to_owned()).collect();
        for family in CounterFamily::ALL {
            fields.extend(
                family
                    .names()
                    .iter()
                    .flat_map(|name| ["packets", "bytes"].map(|unit| format!("{family}_{name}_{unit}"))),
            );
        }
        for family in CountFamily::ALL {
            fields.extend(family.names().iter().map(|name| format!("{family}_{name}")));
        }
        assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len());
        // 2 x (14 + 21 + 32 + 5 + 22) counters of packets and bytes, 7 + 9 + 3 + 4 + 64 + 64 + 9 + 4 counts.
        assert_eq!(fields.len(), scalars().count() + 188 + 164);
    }

    #[test]
    fn what_is_set_by_name_is_seen_under_that_name_and_stands_where_it_belongs() {
        let results = numbered();
        let mut seen: Vec<u64> = Vec::new();
        for family in CounterFamily::ALL {
            let counters = family.seen(&results);
            assert_eq!(counters.iter().map(|(name, _)| *name).collect::<Vec<_>>(), family.names());
            seen.extend(counters.iter().flat_map(|(_, counter)| [counter.packets, counter.bytes]));
        }
        for family in CountFamily::ALL {
            let counts = family.seen(&results);
            assert_eq!(counts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), family.names());
            seen.extend(counts.iter().map(|(_, count)| *count));
        }
        assert_eq!(seen, (1..=352).collect::<Vec<u64>>());
        let inner = results.inner.as_ref().expect("numbers of what is in tunnels");
        assert_eq!(inner.tunnels[Tunnel::Vxlan as usize], Counter { packets: 135, bytes: 136 });
        assert_eq!(inner.non_ip, Counter { packets: 187, bytes: 188 });
        assert_eq!(results.health.tcp_flags[0x12], 188 + 7 + 9 + 3 + 4 + 64 + 0x12 + 1);
    }

    #[test]
    fn zeros_are_not_seen_and_do_not_invent_a_look_into_tunnels() {
        let mut results = results();
        for family in CounterFamily::ALL {
            family.set(&mut results, |_| Ok::<_, Infallible>(Counter::default())).expect("nothing can fail");
            assert_eq!(family.seen(&results), []);
        }
        assert!(CountFamily::ALL.iter().all(|family| family.seen(&results).is_empty()));
        assert_eq!(results.inner, None);
    }
}
