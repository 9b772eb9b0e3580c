//! Live frames into a netdev, as fast as one CPU can send and receive them, and the CPU time of it. Needs root.

// Each target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::bench_programs::send_live;

const SIOCETHTOOL: u32 = 0x8946;
const ETHTOOL_SGRO: u32 = 0x2c;

/// Turns GRO on, without which a veth end takes no live frames.
pub fn turn_gro_on(netdev: &str) {
    // struct ethtool_value.
    let mut value = [ETHTOOL_SGRO, 1];
    // SAFETY: all-zero is a value of this struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(netdev.as_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: request and what it points to live through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL.into(), &raw mut request) };
    assert_eq!(result, 0, "GRO of {netdev}: {}", std::io::Error::last_os_error());
}

/// A netdev that live frames come to, on the CPU that this thread is pinned to: that one sends and receives.
pub struct Road {
    netdev: String,
    /// Where the netdevs of its namespace are counted.
    netdevs: PathBuf,
    /// The kernel's thread that takes over when receiving takes long.
    ksoftirqd: Option<u32>,
}

/// What became of some frames.
pub struct Passage {
    /// How many the netdev received.
    pub received: u64,
    /// CPU time of sending and receiving them, in nanoseconds.
    pub cpu_ns: u64,
}

impl Road {
    /// To a netdev with GRO, in this thread's namespace.
    pub fn new(netdev: &str, cpu: usize) -> Road {
        Self::on(netdev, cpu, "/proc/thread-self/net/dev".into())
    }

    /// The same in the namespace of another process.
    pub fn of(netdev: &str, cpu: usize, pid: i32) -> Road {
        Self::on(netdev, cpu, format!("/proc/{pid}/net/dev").into())
    }

    fn on(netdev: &str, cpu: usize, netdevs: PathBuf) -> Road {
        let name = format!("ksoftirqd/{cpu}");
        let is_it = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        let pids = fs::read_dir("/proc").unwrap();
        let ksoftirqd = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it);
        Road { netdev: netdev.to_owned(), netdevs, ksoftirqd }
    }

    /// Sends frames at once, and waits until they are there or cannot come any more.
    pub fn send(&self, sender: BorrowedFd<'_>, frame: &[u8], count: usize) -> Passage {
        self.watch(count, || send_live(sender, frame, count))
    }

    /// The same for frames that this work sends.
    pub fn watch(&self, count: usize, work: impl FnOnce()) -> Passage {
        let received = self.received();
        let before = thread_cpu_ns() + self.ksoftirqd_ns();
        work();
        let mut cpu_ns = thread_cpu_ns() + self.ksoftirqd_ns() - before;
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.received() < received + count as u64 && Instant::now() < deadline {
            let waiting = self.ksoftirqd_ns();
            std::thread::yield_now();
            cpu_ns += self.ksoftirqd_ns() - waiting;
        }
        Passage { received: self.received() - received, cpu_ns }
    }

    fn received(&self) -> u64 {
        let netdevs = fs::read_to_string(&self.netdevs).unwrap();
        let is_ours =
            |line: &&str| line.trim_start().strip_prefix(&self.netdev).is_some_and(|rest| rest.starts_with(':'));
        let line = netdevs.lines().find(is_ours).unwrap();
        line.split(':').next_back().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn ksoftirqd_ns(&self) -> u64 {
        let stat = self.ksoftirqd.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/schedstat")).ok());
        stat.map_or(0, |stat| stat.split_whitespace().next().unwrap().parse().unwrap())
    }
}

/// CPU time of this thread, in nanoseconds. It has the softirqs that ran in its place, unless the kernel counts them apart
/// (`CONFIG_IRQ_TIME_ACCOUNTING`).
pub fn thread_cpu_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a timespec, and every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(i64::unsigned_abs);
    seconds * 1_000_000_000 + nanoseconds
}
