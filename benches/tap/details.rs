//! What is measured: the tap at each level of detail, the programs beside it, and the packets.

use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use telegen_sonic::io::tap::{DEFAULT_MEMORY, FlowSlots, Hook, Hooks, Program, Switches, TapPlan, possible_cpus};
use telegen_sonic::model::filter::{Filter, PortRange};

use crate::draws::Mix;
use crate::measure::{self, Runs};
use crate::packets::{
    DESTINATION, HOP_BY_HOP, IPV4, IPV6, Ipv4, Ipv6, QINQ, TCP, UDP, VLAN, ethernet, extension, tcp, udp,
};

#[allow(clippy::all, clippy::pedantic, clippy::unwrap_used, dead_code, unused_qualifications, missing_docs)]
mod bpf {
    include!(concat!(env!("OUT_DIR"), "/bench.skel.rs"));
}

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

    /// In nanoseconds over the empty program, for this kind of packet.
    pub fn goal(self, kind: &str) -> Option<f64> {
        match (self, kind) {
            (Detail::Totals, "QinQ") => Some(6.0),
            (Detail::Totals, "3 extensions") => Some(10.0),
            (Detail::Totals, _) => Some(5.0),
            (Detail::Health, "QinQ" | "3 extensions") => None,
            (Detail::Health, _) => Some(7.0),
            (Detail::Sizes, "QinQ" | "3 extensions") => None,
            (Detail::Sizes, _) => Some(8.0),
            (Detail::Checksum, "QinQ" | "3 extensions") => None,
            (Detail::Checksum, _) => Some(10.0),
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

    fn plan(self) -> TapPlan {
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
            netdev: "none".to_owned(),
            hooks: Hooks::Ingress,
            filter,
            sample_rate: NonZeroU32::new(one_of).unwrap(),
            flows: flows.then(|| FlowSlots::within(DEFAULT_MEMORY, possible_cpus().unwrap())).flatten(),
            inner: false,
            encapsulation: None,
        }
    }
}

/// A loaded tap.
pub struct Subject {
    program: Program,
    pub load_millis: f64,
}

impl Subject {
    pub fn load(detail: Detail) -> Subject {
        let (switches, plan) = (detail.switches(), detail.plan());
        let begin = Instant::now();
        let program = Program::load_with(&plan, switches).unwrap();
        Subject { program, load_millis: begin.elapsed().as_secs_f64() * 1e3 }
    }

    pub fn verified_instructions(&self) -> u32 {
        let mut info = libbpf_sys::bpf_prog_info::default();
        let mut len = u32::try_from(size_of_val(&info)).unwrap();
        // SAFETY: info is a bpf_prog_info, and its length is right.
        let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(self.fd().as_raw_fd(), &raw mut info, &raw mut len) };
        assert_eq!(result, 0);
        info.verified_insns
    }
}

impl Runs for Subject {
    fn fd(&self) -> BorrowedFd<'_> {
        self.program.fd(Hook::Ingress).unwrap()
    }
}

impl Runs for OwnedFd {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// The programs of bpf/bench.bpf.c.
pub struct Baselines {
    pub empty: OwnedFd,
    pub counter: OwnedFd,
    pub clock: OwnedFd,
    flows: OwnedFd,
    draws: MapHandle,
    next: MapHandle,
}

impl Baselines {
    pub fn load() -> Baselines {
        let mut storage = MaybeUninit::uninit();
        let loaded = bpf::BenchSkelBuilder::default().open(&mut storage).unwrap().load().unwrap();
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        Baselines {
            empty: own(loaded.progs.bench_empty.as_fd()),
            counter: own(loaded.progs.bench_one_counter.as_fd()),
            clock: own(loaded.progs.bench_clock.as_fd()),
            flows: own(loaded.progs.bench_flows.as_fd()),
            draws: MapHandle::try_from(&loaded.maps.bench_draws).unwrap(),
            next: MapHandle::try_from(&loaded.maps.bench_next).unwrap(),
        }
    }

    /// Sets which flow each packet of [`Self::run_flows`] is of.
    pub fn draw(&self, draws: &[u32]) {
        let keys: Vec<u8> = (0..u32::try_from(draws.len()).unwrap()).flat_map(u32::to_ne_bytes).collect();
        // In 10.0.0.0/8, as it lies in the packet.
        let addresses: Vec<u8> = draws.iter().flat_map(|flow| (10 << 24 | flow).to_be_bytes()).collect();
        let count = u32::try_from(draws.len()).unwrap();
        self.draws.update_batch(&keys, &addresses, count, MapFlags::ANY, MapFlags::ANY).unwrap();
    }

    /// Runs the program behind the one that changes the packet's flow.
    pub fn run_flows(&self, program: &dyn Runs, packet: &[u8], repeat: usize) -> f64 {
        let fd = program.fd().as_raw_fd().to_ne_bytes();
        self.next.update(&0_u32.to_ne_bytes(), &fd, MapFlags::ANY).unwrap();
        measure::run(&self.flows, packet, repeat)
    }
}

/// Frames by name; lengths without FCS.
pub fn packet_kinds() -> Vec<(&'static str, Vec<u8>)> {
    let dns = Ipv4::new(UDP).around(&udp(1000, 53, &[0; 22]));
    let payload = |frame: usize, headers: usize| vec![0; frame - headers];
    let last = extension(TCP, 0, &tcp(1000, 179, &[0; 20]));
    let options = (0..2).fold(last, |inner, _| extension(DESTINATION, 0, &inner));
    vec![
        ("64 B UDP", ethernet(&[], IPV4, &dns)),
        ("512 B TCP", ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp(1000, 179, &payload(512, 54))))),
        ("1500 B IPv6", ethernet(&[], IPV6, &Ipv6::new(UDP).around(&udp(1000, 53, &payload(1500, 62))))),
        ("VLAN", ethernet(&[(VLAN, 10)], IPV4, &dns)),
        ("QinQ", ethernet(&[(QINQ, 10), (VLAN, 20)], IPV4, &dns)),
        ("3 extensions", ethernet(&[], IPV6, &Ipv6::new(HOP_BY_HOP).around(&options))),
    ]
}
