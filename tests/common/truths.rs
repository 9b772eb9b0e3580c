//! Compares what a tap counted with the truth about the frames that it was given (`lab::truth`).

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use telegen_sonic::io::tap::Program;
use telegen_sonic::lab::truth::{Truth, View};
use telegen_sonic::model::measure::{Cell, scalars};
use telegen_sonic::model::sample::{Counter, FlowKey, FlowTable, Histogram, Sample};
use telegen_sonic::model::schema::{ErrorKind, EthClass, IpClass};
use telegen_sonic::model::traffic::{
    Cast, Ecn, Health, HealthEvent, Inner, Rocev2Op, Service, TCP_FLAG_SETS, Traffic, Tunnel, tcp_flags_name,
};

/// Everything in which a sample is not the truth, in words; of a tap that analyses every packet into a table with room for every flow.
/// Of [`Sample::copies`], which are not about frames, nothing.
pub fn differences(sample: &Sample, truth: &Truth, view: View) -> Vec<String> {
    let mut wrong = Wrong::default();
    wrong.scalars(sample, truth, view);
    wrong.all("eth", EthClass::ALL, &sample.eth, &truth.eth);
    wrong.all("ip", IpClass::ALL, &sample.ip, &truth.ip);
    wrong.all("error", ErrorKind::ALL, &sample.errors, &truth.errors);
    wrong.all("service", Service::ALL, &sample.services, &truth.services);
    wrong.health(&sample.health, &truth.health);
    wrong.sizes(&sample.packet_size, truth);
    let inner = truth.inner.as_ref().filter(|_| view == View::Inner);
    match (&sample.inner, inner) {
        (Some(inner), Some(truth)) => wrong.inner(inner, truth),
        (inner, truth) => wrong.one("inner", &inner.is_some(), &truth.is_some()),
    }
    match &sample.flows {
        Some(table) => wrong.flows(table, truth, view),
        None => wrong.0.push("flows: there is no table".to_owned()),
    }
    wrong.0
}

/// Where more flows meet in a set of the flow table than there is room for, one is evicted, and nothing can be said of flows any more.
pub fn has_evicted(program: &Program) -> bool {
    program.read(true).flows.is_some_and(|table| table.evicted > 0)
}

/// What `attempt` found, with the program that it used. That flows are evicted is chance, and another attempt has other hash keys.
pub fn with_room<T>(mut attempt: impl FnMut() -> (Program, T)) -> T {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let (program, outcome) = attempt();
        if !has_evicted(&program) {
            return outcome;
        }
    }
    panic!("there are more flows than fit the table");
}

/// Keeps this thread where it is: each CPU has a flow table of its own, and follows TCP by what it has seen itself.
pub fn stay_on_this_cpu() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
}

#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn one<T: PartialEq + Debug>(&mut self, what: &str, counted: &T, truth: &T) {
        if counted != truth {
            self.0.push(format!("{what}: counted {counted:?}, but it is {truth:?}"));
        }
    }

    fn all<N: Debug, T: PartialEq + Debug>(&mut self, family: &str, names: &[N], counted: &[T], truth: &[T]) {
        assert!(names.len() == counted.len() && counted.len() == truth.len(), "{family}");
        for ((name, counted), truth) in names.iter().zip(counted).zip(truth) {
            self.one(&format!("{family} {name:?}"), counted, truth);
        }
    }

    /// Every number of the table of measures that is counted of packets.
    fn scalars(&mut self, sample: &Sample, truth: &Truth, view: View) {
        let segments = Some(truth.flows(view).segments());
        let truth = Traffic { segments, copies: sample.copies, ..truth.traffic.clone() };
        for scalar in scalars() {
            if let Cell::Traffic { of, .. } = scalar.cell {
                self.one(scalar.name, &of(&sample.traffic), &of(&truth));
            }
        }
        self.one("bytes_analysed", &sample.analysed.bytes, &truth.analysed.bytes);
    }

    fn health(&mut self, counted: &Health, truth: &Health) {
        let code_points: Vec<usize> = (0..truth.dscp.len()).collect();
        let flags: Vec<String> = (0..TCP_FLAG_SETS).map(tcp_flags_name).collect();
        self.all("event", HealthEvent::ALL, &counted.events, &truth.events);
        self.all("cast", Cast::ALL, &counted.cast, &truth.cast);
        self.all("dscp", &code_points, &counted.dscp, &truth.dscp);
        self.all("ecn", Ecn::ALL, &counted.ecn, &truth.ecn);
        self.all("tcp flags", &flags, &counted.tcp_flags, &truth.tcp_flags);
        self.all("rocev2", Rocev2Op::ALL, &counted.rocev2, &truth.rocev2);
        self.all("rocev2 ecn", Ecn::ALL, &counted.rocev2_ecn, &truth.rocev2_ecn);
    }

    fn sizes(&mut self, counted: &Histogram, truth: &Truth) {
        self.one("packet_size", &counted.counts.as_slice(), &truth.sizes.as_slice());
        self.one("packet_size sum", &counted.sum, &truth.total.bytes);
        self.one("packet_size count", &counted.count, &truth.total.packets);
    }

    fn inner(&mut self, counted: &Inner, truth: &Inner) {
        self.all("tunnel", Tunnel::ALL, &counted.tunnels, &truth.tunnels);
        self.all("inner ip", IpClass::ALL, &counted.ip, &truth.ip);
        self.one("inner non_ip", &counted.non_ip, &truth.non_ip);
    }

    fn flows(&mut self, table: &FlowTable, truth: &Truth, view: View) {
        let truth = truth.flows(view);
        self.one("flows: without", &table.non_ip, &truth.none);
        self.one("flows: others", &table.other, &Counter::default());
        self.one("flows: evicted", &table.evicted, &0);
        self.one("flows: seen", &table.seen, &(truth.by_key.len() as u64));
        let counted: BTreeMap<FlowKey, Counter> =
            table.flows.iter().map(|flow| (flow.key, Counter { packets: flow.packets, bytes: flow.bytes })).collect();
        self.one("flows: listed", &table.flows.len(), &counted.len());
        let keys: BTreeSet<&FlowKey> = counted.keys().chain(truth.by_key.keys()).collect();
        for key in keys {
            self.one(&format!("{key:?}"), &counted.get(key), &truth.by_key.get(key));
        }
    }
}
