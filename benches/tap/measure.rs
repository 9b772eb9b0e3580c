//! Time per packet, and medians of it.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// How often a packet is repeated for one measurement.
pub const REPEAT: usize = 200_000;

const TCX_NEXT: u32 = u32::MAX;

/// A loaded program.
pub trait Runs {
    fn fd(&self) -> BorrowedFd<'_>;
}

/// Of several measurements.
#[derive(Clone, Copy)]
pub struct Median {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Median {
    /// Panics without samples.
    pub fn of(mut samples: Vec<f64>) -> Median {
        samples.sort_by(f64::total_cmp);
        Median { middle: samples[samples.len() / 2], least: samples[0], most: samples[samples.len() - 1] }
    }
}

/// Stays on one CPU from here on: each CPU has its own flow table.
pub fn pin_to_this_cpu() {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}

/// CPU time of this thread per run of the program, in nanoseconds. It has fractions, unlike what the kernel reports, and
/// leaves out the time in which somebody else had the CPU.
pub fn ns_per_packet(program: &dyn Runs, packet: &[u8]) -> f64 {
    run(program, packet, REPEAT)
}

/// As [`ns_per_packet`], with another number of runs.
pub fn run(program: &dyn Runs, packet: &[u8], repeat: usize) -> f64 {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        repeat: i32::try_from(repeat).unwrap(),
        ..Default::default()
    };
    let before = cpu_ns();
    // SAFETY: the packet lives through the call, and its length is right.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.fd().as_raw_fd(), &raw mut options) };
    let after = cpu_ns();
    assert_eq!((result, options.retval), (0, TCX_NEXT), "a program does not run");
    #[allow(clippy::cast_precision_loss)] // some millions of runs
    let repeat = repeat as f64;
    (after - before) / repeat
}

#[allow(clippy::cast_precision_loss)] // 2^53 ns are a hundred days of CPU time
fn cpu_ns() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a timespec, and every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}
