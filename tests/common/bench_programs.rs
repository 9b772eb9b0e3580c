//! The programs of `bpf/bench.bpf.c`: baselines, a source of many flows, and senders of live frames.

// Each target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

#[allow(clippy::all, clippy::pedantic, clippy::unwrap_used, dead_code, unused_qualifications, missing_docs)]
mod bpf {
    include!(concat!(env!("OUT_DIR"), "/bench.skel.rs"));
}

/// How many flow numbers can be drawn at once (`BENCH_DRAWS`).
pub const DRAWS: usize = 1 << 20;

/// The length of a live frame (`BENCH_FRAME`).
pub const FRAME: usize = 128;

const TCX_NEXT: u32 = u32::MAX;

/// The loaded programs, attached to nothing.
pub struct BenchPrograms {
    /// Does nothing.
    pub empty: OwnedFd,
    /// Adds to one counter of its CPU.
    pub counter: OwnedFd,
    /// Reads the clock.
    pub clock: OwnedFd,
    /// Sends the frame as it is.
    pub send: OwnedFd,
    /// Sends frames of the drawn flows, each of the kind that the lowest bits of its flow's number say.
    pub send_mixed: OwnedFd,
    flows: OwnedFd,
    draws: MapHandle,
    next: MapHandle,
    kinds: MapHandle,
}

impl BenchPrograms {
    /// Loads them; live frames leave by this netdev.
    pub fn load(wire: u32) -> BenchPrograms {
        let mut storage = MaybeUninit::uninit();
        let mut open = bpf::BenchSkelBuilder::default().open(&mut storage).unwrap();
        open.maps.rodata_data.as_deref_mut().unwrap().bench_wire = wire;
        let loaded = open.load().unwrap();
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        BenchPrograms {
            empty: own(loaded.progs.bench_empty.as_fd()),
            counter: own(loaded.progs.bench_one_counter.as_fd()),
            clock: own(loaded.progs.bench_clock.as_fd()),
            send: own(loaded.progs.bench_send.as_fd()),
            send_mixed: own(loaded.progs.bench_send_mixed.as_fd()),
            flows: own(loaded.progs.bench_flows.as_fd()),
            draws: MapHandle::try_from(&loaded.maps.bench_draws).unwrap(),
            next: MapHandle::try_from(&loaded.maps.bench_next).unwrap(),
            kinds: MapHandle::try_from(&loaded.maps.bench_kinds).unwrap(),
        }
    }

    /// Sets which flow each of the next [`DRAWS`] packets is of, over and over. If as many were used since the last call, the first is next.
    pub fn draw(&self, flows: &[u32]) {
        assert_eq!(flows.len(), DRAWS);
        let keys: Vec<u8> = (0..u32::try_from(DRAWS).unwrap()).flat_map(u32::to_ne_bytes).collect();
        // As they lie in the packet.
        let values: Vec<u8> = flows.iter().flat_map(|flow| flow.to_be_bytes()).collect();
        let count = u32::try_from(DRAWS).unwrap();
        self.draws.update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY).unwrap();
    }

    /// Runs the program as often on an untagged IPv4 packet; each time the packet's source address is the next drawn flow's number.
    pub fn run_flows(&self, program: BorrowedFd<'_>, packet: &[u8], repeat: usize) {
        let fd = program.as_raw_fd().to_ne_bytes();
        self.next.update(&0_u32.to_ne_bytes(), &fd, MapFlags::ANY).unwrap();
        run(self.flows.as_fd(), packet, repeat);
    }

    /// Sets the kinds of [`Self::send_mixed`], and where in each the number of its flow goes.
    pub fn set_kinds(&self, kinds: &[(Vec<u8>, u64)]) {
        for (number, (frame, at)) in (0_u32..).zip(kinds) {
            assert_eq!(frame.len(), FRAME);
            let value = [&frame[..], &at.to_ne_bytes()].concat();
            self.kinds.update(&number.to_ne_bytes(), &value, MapFlags::ANY).unwrap();
        }
    }
}

/// Runs a tc program as often on this packet. Panics if it does not let the packet go on.
pub fn run(program: BorrowedFd<'_>, packet: &[u8], repeat: usize) {
    assert_eq!(test_run(program, packet, repeat, 0), (0, TCX_NEXT), "a program does not run");
}

/// Sends as many live frames by a sending program, in batches. They are on their way when it returns.
pub fn send_live(sender: BorrowedFd<'_>, frame: &[u8], count: usize) {
    let (result, _) = test_run(sender, frame, count, libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES);
    assert_eq!(result, 0, "live frames are refused");
}

fn test_run(program: BorrowedFd<'_>, packet: &[u8], repeat: usize, flags: u32) -> (i32, u32) {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        repeat: i32::try_from(repeat).unwrap(),
        flags,
        ..Default::default()
    };
    // SAFETY: the packet lives through the call, and its length is right.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    (result, options.retval)
}

/// Keeps this thread on the CPU that it is on: each CPU has its own flow table. Which CPU that is.
pub fn pin_to_this_cpu() -> usize {
    let cpu = sched_getcpu().unwrap();
    pin_to(cpu);
    cpu
}

/// Moves this thread to a CPU and keeps it there.
pub fn pin_to(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}
