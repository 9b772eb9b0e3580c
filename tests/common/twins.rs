//! One tap in both of its homes: in the kernel and in this process, given the same packets at the same times. Needs
//! root.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use telegen_sonic::io::tap::{Buffer, Hook, Inputs, Native, Program, Switches, TapPlan};
use telegen_sonic::model::sample::Sample;

use super::packets::{QINQ, VLAN, ethernet};
use super::test_run::{Gso, can_run, run_repeated};
use super::veth::{EXPERIMENTAL, Wire, run};

/// How many packets went which way into the kernel's program.
#[derive(Debug, Default)]
pub struct Ways {
    pub by_test_run: AtomicU64,
    pub by_veth: AtomicU64,
    pub by_neither: AtomicU64,
    /// Not packets to any kernel: without an Ethernet header, or with a tag that ends them (`skb_vlan_untag` drops
    /// those).
    pub not_carried: AtomicU64,
}

impl Ways {
    /// Says it; no packet may have gone neither way.
    pub fn print(&self, test: &str) {
        let [run, veth, neither, others] = [&self.by_test_run, &self.by_veth, &self.by_neither, &self.not_carried]
            .map(|count| count.load(Ordering::Relaxed));
        println!("{test}: {run} packets by a test run, {veth} over a veth pair, {neither} neither way");
        if others > 0 {
            println!("{test}: {others} pieces that no netdev carries: under 14 bytes, or ended by a VLAN tag");
        }
        assert_eq!(neither, 0, "{test}");
        assert!(run > 0 && veth > 0, "{test}");
    }
}

/// Both ends of the pair that `veth::with_veth` makes.
pub struct Pair {
    wire: Wire,
    /// Its packets begin with a header of virtio.
    wire_of_buffers: Wire,
    end: Wire,
}

impl Pair {
    /// Of this thread's namespace; both ends get the largest MTU, and `tap` a clsact qdisc.
    pub fn new() -> Pair {
        for end in ["wire", "tap"] {
            run(&format!("ip link set {end} mtu 65535"));
        }
        let mut hook = hook();
        // SAFETY: the struct lives through the call, and its sz is right.
        assert_eq!(unsafe { libbpf_sys::bpf_tc_hook_create(&raw mut hook) }, 0);
        Pair { wire: Wire::on("wire", 0), wire_of_buffers: Wire::on("wire", 0), end: Wire::on("tap", EXPERIMENTAL) }
    }
}

/// The two.
pub struct Twins<'a> {
    program: Program,
    native: Native,
    pair: &'a Pair,
    ways: &'a Ways,
    now_ns: u64,
}

/// With the largest MTU of a veth pair.
pub const LONGEST_LIVE: usize = 65_535 + 14;

/// Every packet comes this long after the one before: in some ticks of the flows' times there are many, in others none.
const STEP_NS: u64 = 333_333;

impl<'a> Twins<'a> {
    /// Both with the same inputs, and the kernel's on the ingress of `tap`.
    pub fn load(plan: &TapPlan, switches: Switches, pair: &'a Pair, ways: &'a Ways) -> Twins<'a> {
        let inputs = Inputs { seed: 0x7e1e_6e11, opened_ns: 1_234_567_890 };
        let switches = Switches { fixed: Some(inputs), ..switches };
        let program = Program::load_with(plan, switches).unwrap();
        attach(&program);
        let native = Native::open_with(plan, switches, inputs).unwrap();
        Twins { program, native, pair, ways, now_ns: inputs.opened_ns }
    }

    /// A frame as it is on a wire.
    pub fn give(&mut self, frame: &[u8]) {
        self.tick();
        if can_run(frame) {
            self.ways.by_test_run.fetch_add(1, Ordering::Relaxed);
            run_repeated(&self.program, frame, Gso::default(), 1);
            self.native.observe(&Buffer::of(frame, self.now_ns));
        } else if frame.len() < 14 || (is_tag(frame) && frame.len() < 20) {
            self.ways.not_carried.fetch_add(1, Ordering::Relaxed);
        } else if frame.len() <= LONGEST_LIVE {
            self.pair.wire.send(frame);
            self.sent(&received(frame, self.now_ns));
        } else {
            self.ways.by_neither.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A frame over the pair, even if a test run takes it: its outermost tag is then not among the bytes.
    pub fn give_live(&mut self, frame: &[u8]) {
        self.tick();
        self.pair.wire.send(frame);
        self.sent(&received(frame, self.now_ns));
    }

    /// A frame of more than a page, of which so many bytes are in the linear part of the kernel's buffer.
    pub fn give_split(&mut self, frame: &[u8], linear: u16) {
        self.tick();
        self.pair.wire_of_buffers.send_split(frame, linear);
        let whole = received(frame, self.now_ns);
        self.sent(&Buffer { linear: linear.into(), ..whole });
    }

    /// A buffer of several TCP segments, as a test run has it.
    pub fn give_gso(&mut self, frame: &[u8], gso: Gso) {
        self.tick();
        self.ways.by_test_run.fetch_add(1, Ordering::Relaxed);
        run_repeated(&self.program, frame, gso, 1);
        let whole = Buffer::of(frame, self.now_ns);
        self.native.observe(&Buffer { gso_size: gso.size, gso_segs: gso.segments, ..whole });
    }

    /// The same over the pair; the TCP header is at `tcp_at`, of 20 bytes.
    pub fn give_gso_live(&mut self, frame: &[u8], size: u16, is_ipv6: bool, tcp_at: u16) {
        self.tick();
        self.pair.wire_of_buffers.send_gso(frame, size, is_ipv6, tcp_at);
        let payload = u32::try_from(frame.len()).unwrap() - u32::from(tcp_at) - 20;
        let gso_segs = payload.div_ceil(size.into());
        self.sent(&Buffer { gso_size: size.into(), gso_segs, ..received(frame, self.now_ns) });
    }

    /// What both counted.
    pub fn samples(&self) -> [Sample; 2] {
        [self.program.read(true), self.native.read(true)].map(|mut sample| {
            if let Some(table) = &mut sample.flows {
                // In the order of the table, which is by CPU.
                table.flows.sort_by_key(|flow| flow.key);
            }
            sample
        })
    }

    fn tick(&mut self) {
        self.now_ns += STEP_NS;
        self.program.set_clock(self.now_ns);
    }

    /// Waits until the kernel has counted what was sent: what is sent behind it is then there.
    fn sent(&mut self, buffer: &Buffer<'_>) {
        self.ways.by_veth.fetch_add(1, Ordering::Relaxed);
        self.native.observe(buffer);
        let mark = ethernet(&[], EXPERIMENTAL, &[0; 46]);
        self.pair.wire.send(&mark);
        assert_eq!(self.pair.end.received(1), 1, "the veth pair lost a frame");
        self.native.observe(&Buffer::of(&mark, self.now_ns));
    }
}

/// Whether the outermost header behind the addresses is a tag that the kernel takes out.
fn is_tag(frame: &[u8]) -> bool {
    [VLAN, QINQ].contains(&u16::from_be_bytes([frame[12], frame[13]]))
}

/// As the receiving kernel sees it: with the outermost tag, if it is 802.1Q or 802.1ad, in `vlan_tci`
/// (`skb_vlan_untag`).
fn received(frame: &[u8], at_ns: u64) -> Buffer<'_> {
    if !is_tag(frame) {
        return Buffer::of(frame, at_ns);
    }
    let vlan_tci = Some(u16::from_be_bytes([frame[14], frame[15]]));
    // Not freed: a test has few of them.
    let bytes: &[u8] = [&frame[..12], &frame[16..]].concat().leak();
    Buffer { vlan_tci, ..Buffer::of(bytes, at_ns) }
}

/// The ingress of `tap`.
fn hook() -> libbpf_sys::bpf_tc_hook {
    libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex: i32::try_from(nix::net::if_::if_nametoindex("tap").unwrap()).unwrap(),
        attach_point: libbpf_sys::BPF_TC_INGRESS,
        ..Default::default()
    }
}

/// As a filter on clsact, which every kernel has, in the place of the one before.
fn attach(program: &Program) {
    let mut options = libbpf_sys::bpf_tc_opts {
        sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
        prog_fd: program.fd(Hook::Ingress).unwrap().as_raw_fd(),
        handle: 1,
        priority: 1,
        flags: libbpf_sys::BPF_TC_F_REPLACE,
        ..Default::default()
    };
    let hook = hook();
    // SAFETY: both structs live through the call, and their sz is right.
    assert_eq!(unsafe { libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut options) }, 0);
}
