//! What the tap counts on real netdevs. Single packets are judged in `tap_programs.rs`; here is what takes a kernel's receive path: tags
//! in `vlan_tci`, non-linear and GSO buffers, both hooks. Needs root.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/packets.rs"]
mod packets;
#[macro_use]
#[path = "common/veth.rs"]
mod veth;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use packets::{ICMP, IPV4, IPV6, Ipv4, Ipv6, QINQ, TCP, UDP, VLAN, ethernet, tcp, udp};
use telegen_sonic::io::tap::{Attach, Hooks, TapPlan};
use telegen_sonic::model::filter::{Filter, VlanId};
use telegen_sonic::model::sample::Counter;
use telegen_sonic::model::schema::{EthClass, IpClass};
use telegen_sonic::model::traffic::HealthEvent;
use veth::{DEADLINE, EXPERIMENTAL, Wire, close_after, enter_netns, open, plan, run, with_veth};

fn counter(packets: u64, bytes: usize) -> Counter {
    Counter { packets, bytes: bytes as u64 }
}

fn frames_of_every_shape_are_counted_with_their_bytes_and_class(attach: Attach) {
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

by_each_attach!(frames_of_every_shape_are_counted_with_their_bytes_and_class);

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
fn an_icmp_error_is_seen_wherever_the_linear_part_of_its_buffer_ends() {
    const ENDS: std::ops::RangeInclusive<u16> = 14..=60;
    let message = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &[0; 5000]].concat();
    let frame = ethernet(&[], IPV4, &Ipv4::new(ICMP).around(&message));
    let count = ENDS.count() as u64;
    let sample = with_veth(move || {
        let (tap, _dir) = open(&plan(Hooks::Ingress), Attach::Auto);
        let wire = Wire::on("wire", 0);
        ENDS.for_each(|linear| wire.send_split(&frame, linear));
        close_after(tap, count)
    });
    assert_eq!(sample.ip[IpClass::Icmp as usize].packets, count);
    assert_eq!(sample.health.events[HealthEvent::IcmpUnreachable as usize], count);
    let flows = sample.flows.unwrap().flows;
    assert_eq!(flows.iter().map(|flow| (flow.key.ip_proto, flow.packets)).collect::<Vec<_>>(), [(ICMP, count)]);
}

fn all_frames_arrive_as_if_no_tap_were_there(attach: Attach) {
    const FRAMES: usize = 5000;
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

by_each_attach!(all_frames_arrive_as_if_no_tap_were_there);

fn each_hook_sees_its_own_direction(attach: Attach) {
    for (hooks, expected) in [
        (Hooks::Ingress, counter(3, 3 * 114)),
        (Hooks::Egress, counter(5, 5 * 214)),
        (Hooks::Both, counter(8, 3 * 114 + 5 * 214)),
    ] {
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

by_each_attach!(each_hook_sees_its_own_direction);

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

fn gso_tcp_is_counted_as_the_segments_on_the_wire(attach: Attach) {
    const BYTES: usize = 20_000_000;
    let (tid_sender, tid) = mpsc::channel();
    let (port_sender, port) = mpsc::channel();
    let (ready_sender, ready) = mpsc::channel::<()>();
    let listening = thread::spawn(move || {
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
        let (received, tap) = listening.join().unwrap();
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

by_each_attach!(gso_tcp_is_counted_as_the_segments_on_the_wire);
