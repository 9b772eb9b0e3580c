//! The tap's program gives the same numbers in the kernel and in this process, of the same packets at the same times:
//! all cases of `common/cases.rs` and all captures, with every option, analysing each packet and 1 of 100. Needs root;
//! the captures are in the folder that `TELEGEN_CAPTURES` names.
//!
//! A packet that `BPF_PROG_TEST_RUN` does not take comes over a veth pair. That the numbers are right, not only equal,
//! is shown elsewhere (`tap_programs.rs`, `tap_analysis.rs`, `tap_captures.rs`).

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/cases.rs"]
mod cases;
#[path = "common/mirrors.rs"]
mod mirrors;
#[path = "common/packets.rs"]
mod packets;
#[path = "common/test_run.rs"]
mod test_run;
#[path = "common/twins.rs"]
mod twins;
#[path = "common/veth.rs"]
mod veth;

use std::env;
use std::fs;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use cases::{cases, tagged, tunnel_and_health_cases};
use mirrors::{Carrier, Fields, Header, Wrapping};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use packets::{IPV4, IPV6, Ipv4, Ipv6, QINQ, TCP, UDP, VLAN, ethernet, tcp, udp};
use telegen_sonic::io::capture::Capture;
use telegen_sonic::io::tap::{FlowSlots, Hook, Inputs, Program, Switches, TapPlan};
use telegen_sonic::model::filter::{Dscp, PortRange, VlanId};
use telegen_sonic::model::sample::Sample;
use test_run::{Gso, plan};
use twins::{Pair, Twins, Ways};
use veth::with_veth;

/// Analysing every packet, and some.
const RATES: [u32; 2] = [1, 100];

/// One way to set a tap up.
struct Setting {
    name: String,
    plan: TapPlan,
    switches: Switches,
    wrapping: Option<Wrapping>,
}

/// A way to change a tap from the default.
type Change = (&'static str, fn(&mut TapPlan, &mut Switches));

const OPTIONS: [Change; 17] = [
    ("default", |_, _| ()),
    ("a small table", |plan, _| plan.flows = FlowSlots::per_cpu(8)),
    ("summary", |plan, _| plan.flows = None),
    ("inner", |plan, _| plan.inner = true),
    ("vlan", |plan, _| plan.filter.vlan = VlanId::new(5)),
    ("ip_proto", |plan, _| plan.filter.ip_protos = vec![TCP, 200]),
    ("l4_sport", |plan, _| plan.filter.l4_sports = ranges(1, 1)),
    ("l4_dport", |plan, _| plan.filter.l4_dports = ranges(2, 179)),
    ("src_cidr", |plan, _| plan.filter.src_cidr = "192.0.2.0/24".parse().ok()),
    ("dst_cidr, inner", |plan, _| {
        plan.filter.dst_cidr = "2001:db8::/64".parse().ok();
        plan.inner = true;
    }),
    ("dscp", |plan, _| plan.filter.dscps = Dscp::new(0).into_iter().chain(Dscp::new(4)).collect()),
    ("layers only", |_, switches| switches.layers_only = true),
    ("untimed", |_, switches| switches.untimed = true),
    ("without health and checksums", |_, switches| {
        switches.without_health = true;
        switches.without_checksum = true;
    }),
    ("without sizes and services", |_, switches| {
        switches.without_sizes = true;
        switches.without_services = true;
    }),
    ("bare flows", |_, switches| switches.bare_flows = true),
    ("totals", |plan, switches| {
        *switches = Switches::TOTALS;
        plan.flows = None;
    }),
];

fn ranges(lo: u16, hi: u16) -> telegen_sonic::model::filter::PortRanges {
    vec![PortRange::new(lo, hi).unwrap()].try_into().unwrap()
}

/// Every option and every encapsulation, at each rate.
fn settings() -> Vec<Setting> {
    let mut all = Vec::new();
    for rate in RATES.map(|rate| NonZeroU32::new(rate).unwrap()) {
        let base = TapPlan { sample_rate: rate, flows: FlowSlots::per_cpu(4096), ..plan() };
        for (name, change) in OPTIONS {
            let (mut plan, mut switches) = (base.clone(), Switches::default());
            change(&mut plan, &mut switches);
            all.push(Setting { name: format!("{name}, 1 of {rate}"), plan, switches, wrapping: None });
        }
        for (carrier, header, inner) in [
            (Carrier::V4, Header::Erspan, false),
            (Carrier::V4Options, Header::Erspan3Long, true),
            (Carrier::V6, Header::Long, false),
            (Carrier::V6Options, Header::Bridged, true),
        ] {
            let fields = Fields { checksum: inner, key: inner, sequence: true };
            let wrapping = Wrapping { carrier, fields, header };
            all.push(Setting {
                name: format!("{wrapping:?}, 1 of {rate}"),
                plan: TapPlan { encapsulation: Some(wrapping.addresses()), inner, ..base.clone() },
                switches: Switches::default(),
                wrapping: Some(wrapping),
            });
        }
    }
    all
}

impl Setting {
    fn load<'a>(&self, pair: &'a Pair, ways: &'a Ways) -> Twins<'a> {
        Twins::load(&self.plan, self.switches, pair, ways)
    }

    /// What comes to the tap for this frame to be seen by it.
    fn carry(&self, frame: &[u8], sequence: u32) -> Vec<u8> {
        self.wrapping.map_or_else(|| frame.to_vec(), |wrapping| wrapping.wrap(frame, sequence))
    }
}

/// Counters belong to a CPU, and so do the clock and the random numbers that both homes are given.
fn stay_on_this_cpu() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &here).unwrap();
}

/// Runs `test` where there is a veth pair, and says which ways packets went.
fn on_a_pair(name: &'static str, test: impl FnOnce(&Pair, &Ways) + Send + 'static) {
    with_veth(move || {
        stay_on_this_cpu();
        let ways = Ways::default();
        test(&Pair::new(), &ways);
        ways.print(name);
    });
}

fn frames() -> Vec<Vec<u8>> {
    let named = cases().into_iter().map(|(_, packet, _)| packet);
    let all = named.chain(tunnel_and_health_cases().into_iter().map(|(_, packet)| packet));
    all.flat_map(|packet| [tagged(&packet), packet]).collect()
}

#[track_caller]
fn assert_equal(twins: &Twins<'_>, what: &str) -> Sample {
    let [kernel, native] = twins.samples();
    assert_eq!(kernel, native, "{what}");
    native
}

#[test]
fn both_give_the_same_sample_of_all_cases_with_every_option() {
    on_a_pair("all cases with every option", |pair, ways| {
        for setting in settings() {
            let mut twins = setting.load(pair, ways);
            // Often enough that 1 of 100 is several, and that flows leave the small table.
            for round in 0..4 {
                for (frame, sequence) in frames().iter().zip(round * 1000..) {
                    twins.give(&setting.carry(frame, sequence));
                }
            }
            let sample = assert_equal(&twins, &setting.name);
            assert!(sample.analysed.packets > 0 || !setting.plan.filter.is_empty(), "{}", setting.name);
        }
    });
}

/// All Ethernet frames of all captures, as much of them as was captured.
fn captured(folder: &std::ffi::OsStr) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng"));
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        let mut capture = Capture::open(&path).unwrap();
        // What is behind a flaw is not there for anybody.
        while let Ok(Some(frame)) = capture.next_frame() {
            frames.push(frame.bytes.to_vec());
        }
    }
    frames
}

#[test]
fn both_give_the_same_sample_of_all_captures() {
    const TEST: &str = "both_give_the_same_sample_of_all_captures";
    let Some(folder) = env::var_os("TELEGEN_CAPTURES") else {
        println!("SKIPPED: {TEST}: TELEGEN_CAPTURES is not set");
        return;
    };
    let frames = captured(&folder);
    assert!(frames.len() > 100, "there are few frames in {}", folder.display());
    on_a_pair(TEST, move |pair, ways| {
        let names = ["default", "a small table", "inner", "layers only"];
        let is_chosen = |name: &str| names.iter().any(|chosen| name.starts_with(&format!("{chosen},")));
        for setting in settings().iter().filter(|setting| is_chosen(&setting.name) || setting.wrapping.is_some()) {
            let mut twins = setting.load(pair, ways);
            for (frame, sequence) in frames.iter().zip(0..) {
                // A copy has 64 KiB at most.
                let frame = if setting.wrapping.is_some() { &frame[..frame.len().min(65_000)] } else { frame };
                twins.give(&setting.carry(frame, sequence));
            }
            let sample = assert_equal(&twins, &setting.name);
            assert!(sample.delivered.packets > 100, "{}", setting.name);
        }
    });
}

#[test]
fn both_give_the_same_sample_of_flows_that_throw_each_other_out() {
    on_a_pair("flows that throw each other out", |pair, ways| {
        for rate in RATES.map(|rate| NonZeroU32::new(rate).unwrap()) {
            let plan = TapPlan { sample_rate: rate, flows: FlowSlots::per_cpu(64), ..plan() };
            let mut twins = Twins::load(&plan, Switches::default(), pair, ways);
            for number in 0..20_000_u32 {
                // Some flows come often, most once.
                let flow = if number % 3 == 0 { number % 97 } else { number };
                let ports = [flow / 30_000, flow % 30_000].map(|port| u16::try_from(port).unwrap());
                twins.give(&ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(ports[0], ports[1], b""))));
            }
            twins.give_live(&ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp(1, 2, b""))));
            let sample = assert_equal(&twins, &format!("1 of {rate}"));
            assert!(sample.flows.unwrap().evicted > 0);
        }
    });
}

#[test]
fn both_give_the_same_sample_of_what_no_test_run_takes() {
    on_a_pair("what no test run takes", |pair, ways| {
        let long = vec![0x86; 6000];
        let datagram = udp(5, 6, &long);
        for setting in settings().iter().filter(|setting| setting.wrapping.is_none()) {
            let mut twins = setting.load(pair, ways);
            for frame in frames() {
                // In vlan_tci, and with another tag behind that.
                for tags in [&[0x81, 0, 0, 5][..], &[0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 6]] {
                    twins.give_live(&[&frame[..12], tags, &frame[12..]].concat());
                }
                // The kernel drops a tag that ends the frame before tc sees it (skb_vlan_untag).
                if frame.len() > 16 {
                    twins.give_live(&frame);
                }
            }
            for linear in 14..=80 {
                for tags in [&[][..], &[(VLAN, 5)], &[(QINQ, 5), (VLAN, 6)]] {
                    twins.give_split(&ethernet(tags, IPV4, &Ipv4::new(UDP).around(&datagram)), linear);
                    let options = Ipv4 { options: 10, ..Ipv4::new(UDP) };
                    twins.give_split(&ethernet(tags, IPV4, &options.around(&datagram)), linear);
                    twins.give_split(&ethernet(tags, IPV6, &Ipv6::new(UDP).around(&datagram)), linear);
                }
            }
            let segments = tcp(1, 2, &[0; 4000]);
            let v4 = ethernet(&[], IPV4, &Ipv4::new(TCP).around(&segments));
            let v6 = ethernet(&[], IPV6, &Ipv6::new(TCP).around(&segments));
            for size in [500, 1000, 1448] {
                twins.give_gso_live(&v4, size, false, 14 + 20);
                twins.give_gso_live(&v6, size, true, 14 + 40);
                for frame in [&v4[..3000], &v6[..3000]] {
                    for segments in [0, 3000_u32.div_ceil(size.into())] {
                        twins.give_gso(frame, Gso { segments, size: size.into() });
                    }
                }
            }
            let sample = assert_equal(&twins, &setting.name);
            assert!(sample.delivered.packets > 1000, "{}", setting.name);
        }
    });
}

/// The instructions of a loaded program, as the verifier left them.
fn instructions(program: &Program) -> Vec<u64> {
    let fd = program.fd(Hook::Ingress).unwrap().as_raw_fd();
    let mut instructions = vec![0_u64; 1 << 16];
    let mut info = libbpf_sys::bpf_prog_info {
        xlated_prog_insns: instructions.as_mut_ptr() as u64,
        xlated_prog_len: u32::try_from(size_of_val(instructions.as_slice())).unwrap(),
        ..Default::default()
    };
    let mut length = u32::try_from(size_of_val(&info)).unwrap();
    // SAFETY: info and the instructions' memory live through the call, with their lengths.
    assert_eq!(unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd, (&raw mut info).cast(), &raw mut length) }, 0);
    instructions.truncate(info.xlated_prog_len as usize / 8);
    instructions
}

/// Whether the multiplier of the generator in bpf/platform.h is loaded anywhere: by two instructions, each with a half
/// of it on top.
fn has_the_generator(instructions: &[u64]) -> bool {
    const MULTIPLIER: u64 = 0x2545_f491_4f6c_dd1d;
    instructions.windows(2).any(|pair| pair[0] >> 32 | (pair[1] >> 32) << 32 == MULTIPLIER)
}

#[test]
fn a_jobs_program_has_no_other_clock_and_random_numbers_than_the_kernels() {
    for rate in RATES.map(|rate| NonZeroU32::new(rate).unwrap()) {
        let plan = TapPlan { sample_rate: rate, ..plan() };
        let load = |fixed| instructions(&Program::load_with(&plan, Switches { fixed, ..Switches::default() }).unwrap());
        let (job, test) = (load(None), load(Some(Inputs { seed: 1, opened_ns: 0 })));
        println!("1 of {rate}: {} instructions in a job's program, {} in a test's", job.len(), test.len());
        assert!(has_the_generator(&test) && !has_the_generator(&job), "1 of {rate}");
    }
}
