//! Veth pairs in network namespaces of their own, which end with the threads that made them. Needs root and `ip`.

// Each test target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use telegen_sonic::io::tap::{Attach, FlowSlots, Hook, Hooks, Program, Tap, TapHost, TapPlan};
use telegen_sonic::model::filter::Filter;
use telegen_sonic::model::sample::Sample;

#[path = "bpf_link.rs"]
mod bpf_link;

/// Nothing here takes this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Makes two tests of `fn name(attach: Attach)`: `name::by_tcx`, skipped where the kernel has no TCX, and `name::by_clsact`.
#[allow(unused_macros)]
macro_rules! by_each_attach {
    ($name:ident) => {
        mod $name {
            use telegen_sonic::io::tap::Attach;

            #[test]
            fn by_tcx() {
                if !crate::veth::lacks_tcx(concat!(stringify!($name), "::by_tcx")) {
                    super::$name(Attach::Tcx);
                }
            }

            #[test]
            fn by_clsact() {
                super::$name(Attach::Clsact);
            }
        }
    };
}

/// How many TCX programs hang on the ingress of a netdev of this namespace.
///
/// # Errors
/// `EINVAL` from a kernel without TCX (it came with Linux 6.6).
pub fn tcx_programs(netdev: &str) -> nix::Result<u32> {
    let index = i32::try_from(nix::net::if_::if_nametoindex(netdev)?).unwrap();
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: options lives through the call, and its sz is right.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(index, libbpf_sys::BPF_TCX_INGRESS, &raw mut options) };
    if result < 0 {
        return Err(nix::errno::Errno::from_raw(-result));
    }
    // SAFETY: the kernel fills count, the only member of its union that this query has.
    Ok(unsafe { options.__bindgen_anon_1.count })
}

/// `BPF_LINK_DETACH` of every TCX link on one hook of a netdev.
pub fn detach_tcx_links(netdev: &str, hook: libbpf_sys::bpf_attach_type) {
    let index = nix::net::if_::if_nametoindex(netdev).unwrap();
    let on_hook = |info: &libbpf_rs::query::LinkInfo| match &info.info {
        libbpf_rs::query::LinkTypeInfo::Tcx(tcx) => {
            tcx.ifindex == index && tcx.attach_type.clone() as libbpf_sys::bpf_attach_type == hook
        }
        _ => false,
    };
    let ids: Vec<u32> = libbpf_rs::query::LinkInfoIter::default().filter(on_hook).map(|info| info.id).collect();
    assert!(!ids.is_empty(), "no TCX link on {netdev}");
    ids.into_iter().for_each(bpf_link::detach);
}

/// Puts a program of somebody else in the place of a filter on the ingress of a netdev.
pub fn replace_filter(netdev: &str, priority: u32, handle: u32) {
    let program = Program::load(&plan(Hooks::Ingress)).unwrap();
    let hook = libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex: i32::try_from(nix::net::if_::if_nametoindex(netdev).unwrap()).unwrap(),
        attach_point: libbpf_sys::BPF_TC_INGRESS,
        ..Default::default()
    };
    let mut options = libbpf_sys::bpf_tc_opts {
        sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
        prog_fd: program.fd(Hook::Ingress).unwrap().as_raw_fd(),
        handle,
        priority,
        flags: libbpf_sys::BPF_TC_F_REPLACE,
        ..Default::default()
    };
    // SAFETY: both structs live through the call, and their sz is right.
    assert_eq!(unsafe { libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut options) }, 0);
}

/// Whether the kernel can attach by TCX, asked in another way than the product does.
pub fn has_tcx() -> bool {
    match tcx_programs("lo") {
        Ok(_) => true,
        Err(nix::errno::Errno::EINVAL) => false,
        Err(error) => panic!("BPF_PROG_QUERY: {error}"),
    }
}

/// Whether this test must be skipped for want of TCX; then says so, in the words that `scripts/run_tests.py` counts.
pub fn lacks_tcx(test: &str) -> bool {
    let lacks = !has_tcx();
    if lacks {
        println!("SKIPPED: {test}: this kernel has no TCX");
    }
    lacks
}

/// Ours alone among `EtherTypes` (IEEE 802, local experimental).
pub const EXPERIMENTAL: u16 = 0x88b5;

/// Runs a test in a network namespace of its own, with a veth pair `wire`-`tap` in it that nothing talks over.
pub fn with_veth<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(|| {
        enter_netns();
        run("ip link add wire mtu 9200 type veth peer name tap mtu 9200");
        run("ip link set wire up");
        run("ip link set tap up");
        wait_until_up("wire");
        wait_until_up("tap");
        test()
    });
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The carrier of a new pair is noticed in the background; until then, what is sent is silently dropped.
pub fn wait_until_up(netdev: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !run(&format!("ip -oneline link show {netdev}")).contains("state UP") {
        assert!(Instant::now() < deadline, "{netdev} does not come up");
    }
}

/// A new namespace for this thread, without IPv6, which would send by itself.
pub fn enter_netns() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for conf in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1").unwrap();
    }
}

/// Runs a command in this thread's namespace; its output.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that `tap` sees is analysed.
pub fn plan(hooks: Hooks) -> TapPlan {
    TapPlan {
        netdev: "tap".to_owned(),
        hooks,
        filter: Filter::default(),
        sample_rate: NonZeroU32::MIN,
        flows: FlowSlots::per_cpu(1024),
        inner: false,
        encapsulation: None,
    }
}

/// A daemon of its own.
pub fn host(attach: Attach, state_dir: &Path) -> TapHost {
    TapHost { attach, state_dir: state_dir.to_owned() }
}

/// Opens with a state directory that is only looked at by clsact.
pub fn open(plan: &TapPlan, attach: Attach) -> (Tap, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Tap::open(plan, &host(attach, dir.path())).unwrap(), dir)
}

/// A packet socket on a netdev of this namespace. It receives frames of one `EtherType`, after tc has seen them.
pub struct Wire(OwnedFd);

impl Wire {
    /// The socket.
    pub fn on(netdev: &str, ethertype: u16) -> Wire {
        let index = nix::net::if_::if_nametoindex(netdev).unwrap();
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a new descriptor.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero is a value of this struct.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = ethertype.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap();
        let length = u32::try_from(size_of_val(&address)).unwrap();
        // SAFETY: address lives through the call, and its length is right.
        assert_eq!(unsafe { libc::bind(fd, (&raw const address).cast(), length) }, 0);
        Wire(socket)
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(nix::unistd::write(&self.0, frame), Ok(frame.len()), "{} bytes", frame.len());
    }

    /// Sends a frame of more than a page, of which so many bytes are in the buffer's linear part: at least the Ethernet header.
    pub fn send_split(&self, frame: &[u8], linear: u16) {
        const PAGE: usize = 4096;
        assert!(frame.len() > PAGE, "the kernel only splits what is longer than a page");
        // struct virtio_net_hdr: no GSO, no checksum, hdr_len.
        let mut header = [0; 10];
        header[2..4].copy_from_slice(&linear.to_le_bytes());
        self.send_with(header, frame);
    }

    /// Sends a buffer of TCP segments of `size` bytes each, which the kernel hands over as it is. The TCP header is at
    /// `tcp_at`.
    pub fn send_gso(&self, frame: &[u8], size: u16, is_ipv6: bool, tcp_at: u16) {
        // The checksum is to be completed (1), in TCP's field at 16; TCPv4 is 1, TCPv6 is 4.
        let mut header = [1, if is_ipv6 { 4 } else { 1 }, 0, 0, 0, 0, 0, 0, 16, 0];
        for (at, value) in [(2, tcp_at + 20), (4, size), (6, tcp_at)] {
            header[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        self.send_with(header, frame);
    }

    fn send_with(&self, header: [u8; 10], frame: &[u8]) {
        let on: libc::c_int = 1;
        let size = u32::try_from(size_of_val(&on)).unwrap();
        let value = (&raw const on).cast();
        // SAFETY: the value lives through the call, and its size is right.
        let set = unsafe { libc::setsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, value, size) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        self.send(&[&header, frame].concat());
    }

    /// How many frames have come since the last call; waits until they are `expected` or the deadline.
    pub fn received(&self, expected: usize) -> usize {
        let mut count = 0;
        let mut buffer = vec![0; 10_000];
        let deadline = Instant::now() + DEADLINE;
        while count < expected && Instant::now() < deadline {
            let flags = libc::MSG_DONTWAIT;
            // SAFETY: the buffer is as long as said.
            if unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) } >= 0 {
                count += 1;
            }
        }
        count
    }
}

/// Waits until the tap has counted as many packets as were sent, and closes it.
pub fn close_after(tap: Tap, packets: u64) -> Sample {
    let deadline = Instant::now() + DEADLINE;
    while tap.read(false).delivered.packets < packets && Instant::now() < deadline {
        thread::yield_now();
    }
    tap.close().unwrap()
}
