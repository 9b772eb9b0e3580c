//! How much a tap is asked for, and what that may cost.

use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use telegen_sonic::io::tap::{DEFAULT_MEMORY, FlowSlots, Hook, Hooks, Program, Switches, TapPlan, possible_cpus};
use telegen_sonic::model::filter::{Filter, PortRange};

use crate::draws::Mix;
use crate::frames::{self, Form};
use crate::packets::{TCP, UDP};

/// How much the tap is asked for. The first five add to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Totals,
    Health,
    Sizes,
    Checksum,
    Everything,
    Filtered,
    Sampled,
    SampledEverything,
    Flows,
    FlowsEverything,
}

impl Detail {
    pub const ALL: [Detail; 10] = [
        Detail::Totals,
        Detail::Health,
        Detail::Sizes,
        Detail::Checksum,
        Detail::Everything,
        Detail::Filtered,
        Detail::Sampled,
        Detail::SampledEverything,
        Detail::Flows,
        Detail::FlowsEverything,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Detail::Totals => "totals",
            Detail::Health => "+ health",
            Detail::Sizes => "+ lengths",
            Detail::Checksum => "+ IPv4 checksum",
            Detail::Everything => "+ services, gaps: a summary job",
            Detail::Filtered => "totals, filters",
            Detail::Sampled => "totals, analysis 1:100",
            Detail::SampledEverything => "a job at 1:100",
            Detail::Flows => "totals, analysis 1:1",
            Detail::FlowsEverything => "a job at 1:1, TCP followed",
        }
    }

    /// In nanoseconds over the empty program, for this kind of frame.
    pub fn goal(self, frame: &str) -> Option<f64> {
        let is_common = !matches!(frame, frames::QINQ | frames::EXTENSIONS);
        match (self, frame) {
            (_, frames::VXLAN_INSIDE) => None,
            (Detail::Totals, frames::QINQ) => Some(6.0),
            (Detail::Totals, frames::EXTENSIONS) => Some(10.0),
            (Detail::Totals, _) => Some(5.0),
            (Detail::Health, _) => is_common.then_some(7.0),
            (Detail::Sizes, _) => is_common.then_some(8.0),
            (Detail::Checksum, _) => is_common.then_some(10.0),
            (Detail::Sampled, _) => Some(8.0),
            _ => None,
        }
    }

    /// In nanoseconds over the empty program, for this number of flows.
    pub fn flow_goal(self, mix: Mix) -> Option<f64> {
        match (self, mix) {
            (Detail::Sampled, _) => Some(8.0),
            (Detail::Flows, Mix::One) => Some(20.0),
            (Detail::Flows, Mix::Uniform(10_000)) => Some(35.0),
            (Detail::Flows, Mix::Uniform(_)) => Some(70.0),
            (Detail::Flows, Mix::Zipf) => Some(45.0),
            _ => None,
        }
    }

    fn switches(self) -> Switches {
        let totals = Switches::TOTALS;
        match self {
            Detail::Totals | Detail::Filtered => totals,
            Detail::Health => Switches { without_health: false, ..totals },
            Detail::Sizes => Switches { without_health: false, without_sizes: false, ..totals },
            Detail::Checksum => {
                Switches { without_health: false, without_sizes: false, without_checksum: false, ..totals }
            }
            Detail::Sampled | Detail::Flows => Switches { untimed: false, ..totals },
            Detail::Everything | Detail::SampledEverything | Detail::FlowsEverything => Switches::default(),
        }
    }

    /// A tap on `netdev` for packets of this form. Its flow table is the default one.
    pub fn plan(self, form: Form, netdev: &str) -> TapPlan {
        let (one_of, flows) = match self {
            Detail::Sampled | Detail::SampledEverything => (100, true),
            Detail::Flows | Detail::FlowsEverything => (1, true),
            _ => (1_000_000, false),
        };
        let ports = |lo, hi| vec![PortRange::new(lo, hi).unwrap()].try_into().unwrap();
        let filter = match self {
            Detail::Filtered => Filter { ip_protos: vec![TCP, UDP], l4_dports: ports(53, 179), ..Filter::default() },
            _ => Filter::default(),
        };
        TapPlan {
            netdev: netdev.to_owned(),
            hooks: Hooks::Ingress,
            filter,
            sample_rate: NonZeroU32::new(one_of).unwrap(),
            flows: flows.then(|| FlowSlots::within(DEFAULT_MEMORY, possible_cpus().unwrap())).flatten(),
            inner: form == Form::Inside,
            encapsulation: (form == Form::Erspan).then_some(frames::ENCAPSULATION),
        }
    }
}

/// A loaded tap.
pub struct Subject {
    pub program: Program,
    pub load_millis: f64,
}

impl Subject {
    pub fn load(detail: Detail, form: Form) -> Subject {
        let (switches, plan) = (detail.switches(), detail.plan(form, "none"));
        let begin = Instant::now();
        let program = Program::load_with(&plan, switches).unwrap();
        Subject { program, load_millis: begin.elapsed().as_secs_f64() * 1e3 }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.fd(Hook::Ingress).unwrap()
    }
}
