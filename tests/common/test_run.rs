//! Runs a loaded tap program on single packets, through `BPF_PROG_TEST_RUN`: nothing is attached, no traffic is needed.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use telegen_sonic::io::tap::{FlowSlots, Hook, Hooks, Program, TapPlan};
use telegen_sonic::model::filter::Filter;

const TCX_NEXT: u32 = u32::MAX;

/// The longest frame that fits the kernel's page together with what it adds (`bpf_test_init` in net/bpf/test_run.c; caches of up to 64 bytes a line).
pub const LONGEST: usize = 3500;

/// Whether the kernel takes it: a frame with more than its Ethernet header and, if it says that it is IP, with the fixed header of that.
pub fn can_run(packet: &[u8]) -> bool {
    let headers = match packet.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 15,
    };
    (headers..=LONGEST).contains(&packet.len())
}

/// Everything is analysed, nothing is filtered.
pub fn plan() -> TapPlan {
    TapPlan {
        netdev: "none".to_owned(),
        hooks: Hooks::Ingress,
        filter: Filter::default(),
        sample_rate: NonZeroU32::MIN,
        flows: FlowSlots::per_cpu(1024),
        inner: false,
        encapsulation: None,
    }
}

/// What the kernel is told of a buffer besides its bytes.
#[derive(Clone, Copy, Default)]
pub struct Gso {
    /// `gso_segs`.
    pub segments: u32,
    /// `gso_size`.
    pub size: u32,
}

/// Runs the ingress program `repeat` times on one packet. Panics unless every run lets the packet go on, as it was.
pub fn run_repeated(program: &Program, packet: &[u8], gso: Gso, repeat: i32) {
    // struct __sk_buff has 192 bytes; these two fields of it may be set (linux/bpf.h).
    let mut context = [0_u32; 48];
    context[41] = gso.segments;
    context[44] = gso.size;
    let mut out = vec![0; packet.len() + 64];
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        ctx_in: context.as_ptr().cast(),
        ctx_size_in: u32::try_from(size_of_val(&context)).unwrap(),
        data_out: out.as_mut_ptr().cast(),
        data_size_out: u32::try_from(out.len()).unwrap(),
        repeat,
        ..Default::default()
    };
    let fd = program.fd(Hook::Ingress).unwrap().as_raw_fd();
    // SAFETY: all pointers are to locals that live through the call, with their lengths.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(fd, &raw mut options) };
    assert_eq!((result, options.retval), (0, TCX_NEXT), "{} bytes: {packet:02x?}", packet.len());
    assert_eq!(out.get(..options.data_size_out as usize), Some(packet), "the packet was changed");
}

/// As [`run_repeated`], once.
pub fn run(program: &Program, packet: &[u8]) {
    run_repeated(program, packet, Gso::default(), 1);
}
