//! Runs a loaded tap program on single packets, through `BPF_PROG_TEST_RUN`: nothing is attached, no traffic is needed.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use telegen_sonic::io::tap::{FlowSlots, Hook, Hooks, Program, TapPlan};
use telegen_sonic::model::filter::Filter;

const TCX_NEXT: u32 = u32::MAX;

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

/// Runs the ingress program `repeat` times on one packet. Panics unless every run lets the packet go on.
pub fn run_repeated(program: &Program, packet: &[u8], gso: Gso, repeat: i32) {
    // struct __sk_buff has 192 bytes; these two fields of it may be set (linux/bpf.h).
    let mut context = [0_u32; 48];
    context[41] = gso.segments;
    context[44] = gso.size;
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        ctx_in: context.as_ptr().cast(),
        ctx_size_in: u32::try_from(size_of_val(&context)).unwrap(),
        repeat,
        ..Default::default()
    };
    let fd = program.fd(Hook::Ingress).unwrap().as_raw_fd();
    // SAFETY: all pointers are to locals that live through the call, with their lengths.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(fd, &raw mut options) };
    assert_eq!((result, options.retval), (0, TCX_NEXT), "{} bytes: {packet:02x?}", packet.len());
}

/// As [`run_repeated`], once.
pub fn run(program: &Program, packet: &[u8]) {
    run_repeated(program, packet, Gso::default(), 1);
}
