//! The tap on real netdevs: veth pairs in network namespaces of their own, which end with the threads that made them.
//!
//! Needs root, `ip` and `tc`. Single packets are judged in `tap_programs.rs`; here is what takes a kernel's receive path: tags
//! in `vlan_tci`, non-linear and GSO buffers, both hooks, both ways to attach, and what is left when a tap ends.

#[path = "common/packets.rs"]
mod packets;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use packets::{IPV4, IPV6, Ipv4, Ipv6, QINQ, TCP, UDP, VLAN, ethernet, tcp, udp};
use telegen_sonic::io::tap::{Attach, FlowSlots, Hooks, Swept, Tap, TapError, TapHost, TapPlan};
use telegen_sonic::model::filter::{Filter, VlanId};
use telegen_sonic::model::sample::{Counter, Sample};
use telegen_sonic::model::schema::{EthClass, IpClass, Reason};

const DEADLINE: Duration = Duration::from_secs(20);

/// Ours alone among `EtherTypes` (IEEE 802, local experimental).
const EXPERIMENTAL: u16 = 0x88b5;

/// Runs a test in a network namespace of its own, with a veth pair `wire`-`tap` in it that nothing talks over.
fn with_veth<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
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
fn wait_until_up(netdev: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !run(&format!("ip -oneline link show {netdev}")).contains("state UP") {
        assert!(Instant::now() < deadline, "{netdev} does not come up");
    }
}

/// A new namespace for this thread, without IPv6, which would send by itself.
fn enter_netns() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for conf in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1").unwrap();
    }
}

/// Runs a command in this thread's namespace; its output.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn plan(hooks: Hooks) -> TapPlan {
    TapPlan {
        netdev: "tap".to_owned(),
        hooks,
        filter: Filter::default(),
        sample_rate: NonZeroU32::MIN,
        flows: FlowSlots::per_cpu(1024),
    }
}

fn host(attach: Attach, state_dir: &Path) -> TapHost {
    TapHost { attach, state_dir: state_dir.to_owned() }
}

/// Opens with a state directory that is only looked at by clsact.
fn open(plan: &TapPlan, attach: Attach) -> (Tap, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Tap::open(plan, &host(attach, dir.path())).unwrap(), dir)
}

/// A packet socket on a netdev of this namespace. It receives frames of one `EtherType`, after tc has seen them.
struct Wire(OwnedFd);

impl Wire {
    fn on(netdev: &str, ethertype: u16) -> Wire {
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

    fn send(&self, frame: &[u8]) {
        assert_eq!(nix::unistd::write(&self.0, frame), Ok(frame.len()), "{} bytes", frame.len());
    }

    /// How many frames have come since the last call; waits until they are `expected` or the deadline.
    fn received(&self, expected: usize) -> usize {
        let mut count = 0;
        let mut buffer = [0; 10_000];
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
fn close_after(tap: Tap, packets: u64) -> Sample {
    let deadline = Instant::now() + DEADLINE;
    while tap.read(false).delivered.packets < packets && Instant::now() < deadline {
        thread::yield_now();
    }
    tap.close().unwrap()
}

fn counter(packets: u64, bytes: usize) -> Counter {
    Counter { packets, bytes: bytes as u64 }
}

#[test]
fn frames_of_every_shape_are_counted_with_their_bytes_and_class() {
    let frames = [
        (ethernet(&[], EXPERIMENTAL, &[]), EthClass::Other, None),
        (ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(1, 2, b""))), EthClass::Ipv4, Some(IpClass::Udp)),
        // The tag goes to vlan_tci.
        (ethernet(&[(VLAN, 10)], IPV4, &Ipv4::new(UDP).around(&udp(1, 2, b""))), EthClass::Ipv4, Some(IpClass::Udp)),
        // The outer one does, the inner one stays; twice.
        (
            ethernet(&[(QINQ, 10), (VLAN, 20)], IPV6, &Ipv6::new(TCP).around(&tcp(1, 2, b""))),
            EthClass::Ipv6,
            Some(IpClass::Tcp),
        ),
        (ethernet(&[(VLAN, 1), (VLAN, 2), (VLAN, 3)], 0x0806, &[0; 28]), EthClass::Arp, None),
        (ethernet(&[(VLAN, 1), (VLAN, 2), (VLAN, 3), (VLAN, 4)], 0x0806, &[0; 28]), EthClass::Other, None),
        // More than a page: all but the Ethernet header is outside of the linear part.
        (
            ethernet(&[], IPV4, &Ipv4 { options: 10, ..Ipv4::new(TCP) }.around(&tcp(1, 2, &[0; 9000]))),
            EthClass::Ipv4,
            Some(IpClass::Tcp),
        ),
        (
            ethernet(&[(VLAN, 9)], IPV6, &Ipv6::new(UDP).around(&udp(1, 2, &[0; 9000]))),
            EthClass::Ipv6,
            Some(IpClass::Udp),
        ),
        // What BPF_PROG_TEST_RUN does not take: IP without its header.
        (ethernet(&[], IPV4, &[]), EthClass::Ipv4, Some(IpClass::Truncated)),
        (ethernet(&[], IPV6, &[0x60; 39]), EthClass::Ipv6, Some(IpClass::Truncated)),
    ];
    for attach in [Attach::Tcx, Attach::Clsact] {
        for (frame, eth, ip) in frames.clone() {
            let sample = with_veth({
                let frame = frame.clone();
                move || {
                    let (tap, _dir) = open(&plan(Hooks::Ingress), attach);
                    Wire::on("wire", 0).send(&frame);
                    close_after(tap, 1)
                }
            });
            let one = counter(1, frame.len());
            let name = format!("{attach:?}, {eth}, {} bytes", frame.len());
            assert_eq!([sample.delivered, sample.total, sample.analysed, sample.eth[eth as usize]], [one; 4], "{name}");
            let known = ip.map_or(Counter::default(), |ip| sample.ip[ip as usize]);
            assert_eq!(known, if ip.is_some() { one } else { Counter::default() }, "{name}");
        }
    }
}

#[test]
fn a_non_linear_packet_is_the_flow_that_it_says() {
    let sample = with_veth(|| {
        let filter = Filter { vlan: VlanId::new(9), src_cidr: "2001:db8::1/128".parse().ok(), ..Filter::default() };
        let (tap, _dir) = open(&TapPlan { filter, ..plan(Hooks::Ingress) }, Attach::Auto);
        Wire::on("wire", 0).send(&ethernet(&[(VLAN, 9)], IPV6, &Ipv6::new(UDP).around(&udp(7, 8, &[0; 9000]))));
        close_after(tap, 1)
    });
    let key = sample.flows.unwrap().flows[0].key;
    assert_eq!((key.src.to_string(), key.dst.to_string()), ("2001:db8::1".to_owned(), "2001:db8::2".to_owned()));
    assert_eq!((key.ip_proto, key.sport, key.dport, key.vlan), (UDP, 7, 8, 9));
}

#[test]
fn all_frames_arrive_as_if_no_tap_were_there() {
    const FRAMES: usize = 5000;
    for attach in [Attach::Tcx, Attach::Clsact] {
        let (received, sample) = with_veth(move || {
            let (tap, _dir) = open(&plan(Hooks::Both), attach);
            let (near, far) = (Wire::on("wire", EXPERIMENTAL), Wire::on("tap", EXPERIMENTAL));
            let mut received = [0; 2];
            // In batches that fit a socket's buffer.
            for _ in 0..FRAMES / 50 {
                for _ in 0..50 {
                    near.send(&ethernet(&[], EXPERIMENTAL, &[0; 100]));
                    far.send(&ethernet(&[], EXPERIMENTAL, &[0; 200]));
                }
                received[0] += far.received(50);
                received[1] += near.received(50);
            }
            (received, close_after(tap, 2 * FRAMES as u64))
        });
        assert_eq!(received, [FRAMES; 2], "{attach:?}");
        assert_eq!(sample.total, counter(2 * FRAMES as u64, FRAMES * (114 + 214)), "{attach:?}");
    }
}

#[test]
fn each_hook_sees_its_own_direction() {
    for (hooks, expected) in [
        (Hooks::Ingress, counter(3, 3 * 114)),
        (Hooks::Egress, counter(5, 5 * 214)),
        (Hooks::Both, counter(8, 3 * 114 + 5 * 214)),
    ] {
        for attach in [Attach::Tcx, Attach::Clsact] {
            let sample = with_veth(move || {
                let (tap, _dir) = open(&plan(hooks), attach);
                let (near, far) = (Wire::on("wire", EXPERIMENTAL), Wire::on("tap", EXPERIMENTAL));
                (0..3).for_each(|_| near.send(&ethernet(&[], EXPERIMENTAL, &[0; 100])));
                (0..5).for_each(|_| far.send(&ethernet(&[], EXPERIMENTAL, &[0; 200])));
                assert_eq!((far.received(3), near.received(5)), (3, 5));
                tap.close().unwrap()
            });
            assert_eq!(sample.total, expected, "{hooks:?} by {attach:?}");
        }
    }
}

/// Segments and payload bytes that this socket has sent, those of a GSO buffer and of retransmissions one by one.
fn tcp_sent(stream: &TcpStream) -> (u64, usize) {
    // struct tcp_info, linux/tcp.h: tcpi_segs_out and tcpi_bytes_sent.
    let mut info = [0_u64; 32];
    let mut length = u32::try_from(size_of_val(&info)).unwrap();
    // SAFETY: info and length live through the call, and length is the length of info.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert!(result == 0 && length >= 208, "TCP_INFO of {length} bytes");
    let [segments, bytes] = [info[136 / 8].to_ne_bytes(), info[200 / 8].to_ne_bytes()];
    (u32::from_ne_bytes(*segments.first_chunk().unwrap()).into(), usize::from_ne_bytes(bytes))
}

#[test]
fn gso_tcp_is_counted_as_the_segments_on_the_wire() {
    const BYTES: usize = 20_000_000;
    for attach in [Attach::Tcx, Attach::Clsact] {
        let (tid_sender, tid) = mpsc::channel();
        let (port_sender, port) = mpsc::channel();
        let (ready_sender, ready) = mpsc::channel::<()>();
        let receiver = thread::spawn(move || {
            enter_netns();
            tid_sender.send(nix::unistd::gettid()).unwrap();
            ready.recv().unwrap();
            run("ip address add 192.0.2.2/24 dev tap");
            run("ip link set tap up");
            let (tap, _dir) = open(&plan(Hooks::Ingress), attach);
            let listener = TcpListener::bind("192.0.2.2:0").unwrap();
            port_sender.send(listener.local_addr().unwrap().port()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = 0;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    bytes => received += bytes,
                }
            }
            (received, tap)
        });
        let tid = tid.recv().unwrap();
        let ((segments, payload), received, sample) = thread::spawn(move || {
            enter_netns();
            run(&format!("ip link add wire type veth peer name tap netns {tid}"));
            run("ip address add 192.0.2.1/24 dev wire");
            run("ip link set wire up");
            ready_sender.send(()).unwrap();
            let mut stream = TcpStream::connect(("192.0.2.2", port.recv().unwrap())).unwrap();
            stream.write_all(&vec![0; BYTES]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let (received, tap) = receiver.join().unwrap();
            // The receiver has seen the end, so all that the sender sent but its last acknowledgement is there.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            let deadline = Instant::now() + DEADLINE;
            let (sample, sent) = loop {
                let (sample, sent) = (tap.read(false), tcp_sent(&stream));
                if sample.ip[IpClass::Tcp as usize].packets == sent.0 || Instant::now() > deadline {
                    break (sample, sent);
                }
            };
            (sent, received, sample)
        })
        .join()
        .unwrap();
        assert_eq!(received, BYTES);
        // Ethernet, IPv4, TCP with its timestamp option; the SYN has 8 bytes of options more.
        let tcp = sample.ip[IpClass::Tcp as usize];
        assert_eq!(tcp, counter(segments, payload + 66 * usize::try_from(segments).unwrap() + 8), "{attach:?}");
        // It did come in buffers of many segments: each is one arrival.
        assert!(sample.interarrival.count * 4 < sample.analysed.packets, "{:?}", sample.interarrival.count);
        assert_eq!(sample.packet_size.count, sample.analysed.packets);
        assert_eq!(sample.packet_size.sum, sample.analysed.bytes);
    }
}

fn filters_on_tap() -> String {
    ["qdisc show dev tap", "filter show dev tap ingress", "filter show dev tap egress"]
        .map(|show| run(&format!("tc {show}")))
        .join("--\n")
}

#[test]
fn other_peoples_filters_are_bit_identical_before_and_after() {
    for attach in [Attach::Tcx, Attach::Clsact] {
        with_veth(move || {
            run("tc qdisc add dev tap clsact");
            run("tc filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
            run("tc filter add dev tap egress prio 9 handle 0x10 protocol all u32 match u32 0 0 classid 1:2");
            let before = filters_on_tap();
            // A filter of another kind at our priority on egress: there we may fail, but must not harm.
            let (tap, dir) = open(&plan(Hooks::Ingress), attach);
            assert_eq!(filters_on_tap() == before, attach == Attach::Tcx);
            tap.close().unwrap();
            assert_eq!(filters_on_tap(), before);
            let refused = Tap::open(&plan(Hooks::Both), &host(Attach::Clsact, dir.path())).unwrap_err();
            assert_eq!(refused.reason(), Reason::AttachFailed, "{refused}");
            assert_eq!(filters_on_tap(), before);
            assert_eq!(host(attach, dir.path()).sweep().unwrap(), Swept::default());
            assert_eq!(filters_on_tap(), before);
        });
    }
}

#[test]
fn a_qdisc_that_we_made_goes_with_the_last_filter_on_it_whoevers_it_is() {
    with_veth(|| {
        let before = filters_on_tap();
        let dir = tempfile::tempdir().unwrap();
        let host = host(Attach::Clsact, dir.path());
        let first = Tap::open(&plan(Hooks::Both), &host).unwrap();
        let second = Tap::open(&plan(Hooks::Ingress), &host).unwrap();
        assert_eq!(first.attached_by(), "clsact");
        Wire::on("wire", 0).send(&ethernet(&[], EXPERIMENTAL, &[]));
        assert_eq!(close_after(first, 1).total.packets, 1);
        assert_ne!(filters_on_tap(), before);
        run("tc filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
        let foreign = || run("tc filter show dev tap ingress prio 5");
        let foreign_before = foreign();
        assert_eq!(close_after(second, 1).total.packets, 1);
        // Somebody uses it now.
        assert_eq!((foreign(), filters_on_tap().contains("telegen_")), (foreign_before, false));
        run("tc filter del dev tap ingress prio 5");
        assert_eq!(host.sweep().unwrap(), Swept { filters: 0, qdiscs: 1 });
        assert_eq!(filters_on_tap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // And without anybody else, or by a mere drop, at once.
        drop(Tap::open(&plan(Hooks::Both), &host).unwrap());
        assert_eq!(filters_on_tap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_tap_on_a_netdev_that_is_not_there_says_so() {
    with_veth(|| {
        let dir = tempfile::tempdir().unwrap();
        let missing = TapPlan { netdev: "Ethernet999".to_owned(), ..plan(Hooks::Ingress) };
        let error = Tap::open(&missing, &host(Attach::Auto, dir.path())).unwrap_err();
        assert!(matches!(&error, TapError::NoNetdev { netdev } if netdev == "Ethernet999"));
        assert_eq!(error.reason(), Reason::TapMissing);
    });
}

#[test]
fn a_tap_survives_its_netdev_and_keeps_what_it_counted() {
    for attach in [Attach::Tcx, Attach::Clsact] {
        let (sample, left) = with_veth(move || {
            let (tap, dir) = open(&plan(Hooks::Both), attach);
            let far = Wire::on("tap", EXPERIMENTAL);
            Wire::on("wire", 0).send(&ethernet(&[], EXPERIMENTAL, &[]));
            assert_eq!(far.received(1), 1);
            run("ip link del tap");
            (tap.close().unwrap(), fs::read_dir(dir.path()).unwrap().count())
        });
        assert_eq!((sample.total.packets, left), (1, 0), "{attach:?}");
    }
}

/// How many TCX programs hang on the ingress of `tap`.
fn tcx_programs() -> u32 {
    let index = i32::try_from(nix::net::if_::if_nametoindex("tap").unwrap()).unwrap();
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: options lives through the call, and its sz is right.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(index, libbpf_sys::BPF_TCX_INGRESS, &raw mut options) };
    assert_eq!(result, 0);
    // SAFETY: the kernel fills count, the only member of its union that this query has.
    unsafe { options.__bindgen_anon_1.count }
}

const CHILD: &str = "TELEGEN_TEST_TAP_CHILD";

/// Not a test: what [`a_killed_process_leaves_nothing_that_is_not_swept`] runs as a child.
#[test]
fn child_that_holds_a_tap() {
    let Ok(state_dir) = std::env::var(CHILD) else { return };
    let attach = if state_dir.ends_with("clsact") { Attach::Clsact } else { Attach::Tcx };
    let _tap = Tap::open(&plan(Hooks::Both), &host(attach, Path::new(&state_dir))).unwrap();
    println!("\nattached");
    loop {
        thread::park();
    }
}

/// Starts a process that holds a tap in this namespace, and kills it.
fn hold_and_kill(state_dir: &Path, look: impl FnOnce()) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_a_tap", "--nocapture"])
        .env(CHILD, state_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "attached");
    look();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "the child did not attach");
}

#[test]
fn a_killed_process_leaves_nothing_that_is_not_swept() {
    with_veth(|| {
        let dir = tempfile::tempdir().unwrap();
        let before = filters_on_tap();
        hold_and_kill(&dir.path().join("tcx"), || assert_eq!(tcx_programs(), 1));
        let deadline = Instant::now() + DEADLINE;
        while tcx_programs() > 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!((tcx_programs(), filters_on_tap()), (0, before.clone()));

        let state_dir = dir.path().join("clsact");
        let host = host(Attach::Clsact, &state_dir);
        hold_and_kill(&state_dir, || ());
        assert!(filters_on_tap().contains("telegen_ingress"));
        assert_eq!(host.sweep().unwrap(), Swept { filters: 2, qdiscs: 1 });
        assert_eq!(filters_on_tap(), before);

        // The same where somebody else has the qdisc, and a filter on it.
        run("tc qdisc add dev tap clsact");
        run("tc filter add dev tap egress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
        let foreign = filters_on_tap();
        hold_and_kill(&state_dir, || ());
        assert_eq!(host.sweep().unwrap(), Swept { filters: 2, qdiscs: 0 });
        assert_eq!(filters_on_tap(), foreign);
        assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 0);
    });
}
