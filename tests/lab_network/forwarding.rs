//! Frames in are frames out at the peer, and the host sees none of them.

use telegen_sonic::lab::asic_maps::PortCounts;
use telegen_sonic::lab::drain::Drain;
use telegen_sonic::lab::frames::{Skip, Skipped, check};
use telegen_sonic::lab::packet_socket::Receive;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};

use super::{TestLab, assert_nothing_more, in_namespace, is_root, receive, small};

fn frame(ethertype: u16, length: usize) -> Vec<u8> {
    let mut frame = [[2; 12].as_slice(), &ethertype.to_be_bytes()].concat();
    frame.extend((frame.len()..length.max(14)).map(|at| at.to_le_bytes()[0]));
    frame
}

#[test]
fn every_frame_leaves_at_the_peer_and_none_reaches_a_cpu_netdev() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let outside = test.wire("wire4", Receive::All);
    let pace = Pace { count: Some(3000), seed: 11, ..Pace::default() };
    let sent = test.lab().send("Ethernet0", &Source::Profile(Profile::Mixed), pace).unwrap();

    let frames: Vec<Vec<u8>> = Profile::Mixed.frames(11, 3000).iter().map(<[u8]>::to_vec).collect();
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
    assert_eq!((sent.packets, sent.bytes), (3000, bytes));
    assert_eq!(receive(&outside, 3000), frames);
    assert_nothing_more(&outside);

    let asic = test.lab().asic().unwrap();
    let multicast = frames.iter().filter(|frame| frame[0] & 1 == 1).count() as u64;
    let unicast = 3000 - multicast;
    let entered = PortCounts { rx_unicast: unicast, rx_other: multicast, rx_octets: bytes, ..PortCounts::default() };
    assert_eq!(asic.port(test.port("Ethernet0")), entered);
    let left = PortCounts {
        tx_unicast: unicast,
        tx_other: multicast,
        tx_octets: bytes,
        left_packets: 3000,
        left_octets: bytes,
        ..PortCounts::default()
    };
    assert_eq!(asic.port(test.port("Ethernet4")), left);
    for quiet in ["Ethernet8", "Ethernet12"] {
        assert_eq!(asic.port(test.port(quiet)), PortCounts::default(), "{quiet}");
    }
    let ports = ["Ethernet0", "Ethernet4", "Ethernet8", "Ethernet12"];
    assert_eq!(test.received_by_cpu(), ports.map(|port| (port.to_owned(), 0)));
}

#[test]
fn a_switch_without_traffic_carries_not_a_single_frame() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    // Behind a drained send on the other pair, anything that the devices said at their start has arrived.
    test.lab().send("Ethernet8", &Source::Profile(Profile::Udp64), Pace::default()).unwrap();
    let asic = test.lab().asic().unwrap();
    for port in ["Ethernet0", "Ethernet4"] {
        assert_eq!(asic.port(test.port(port)), PortCounts::default());
    }
}

#[test]
fn what_the_host_sends_leaves_by_the_ports_wire() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let (host, outside) = (test.tap("Ethernet4"), test.wire("wire4", Receive::All));
    let from_host = frame(0x88cc, 100);
    assert_eq!(host.send(&[&from_host]).unwrap(), 1);
    assert_eq!(receive(&outside, 1), [from_host]);
    let counts = test.lab().asic().unwrap().port(test.port("Ethernet4"));
    assert_eq!((counts.tx_unicast, counts.tx_octets, counts.rx_octets), (1, 100, 0));
}

#[test]
fn a_capture_is_repeated_until_the_count_and_what_is_no_frame_is_skipped() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let outside = test.wire("wire4", Receive::All);
    let (short, long) = (frame(0x0800, 60), frame(0x0800, 70));
    let path = test.capture(&[short.clone(), vec![1; 13], frame(0x0800, 9315), frame(0x8100, 19), long.clone()]);
    let pace = Pace { count: Some(5), ..Pace::default() };
    let sent = test.lab().send("Ethernet0", &Source::Capture(path), pace).unwrap();
    assert_eq!((sent.packets, sent.bytes), (5, 60 + 70 + 60 + 70 + 60));
    assert_eq!(sent.skipped, Skipped::from([(Skip::TooShort, 1), (Skip::TooLong, 1), (Skip::CutVlanTag, 1)]));
    assert_eq!(receive(&outside, 5), [&short, &long, &short, &long, &short].map(Clone::clone));
    assert_nothing_more(&outside);
}

/// `frames::check` says what the kernel does; here the kernel is asked.
#[test]
fn the_kernel_carries_exactly_what_check_allows() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let wire = test.wire("wire0", Receive::Nothing);
    let asic = test.lab().asic().unwrap();
    let port = test.port("Ethernet0");
    let drain = in_namespace(test.lab().state().open_asic_namespace().unwrap(), || Drain::open().unwrap());
    let mut expected = 0;
    for ethertype in [0x0800, 0x8100, 0x88a8, 0x9100] {
        for length in [14, 15, 16, 17, 18, 19, 20, 21, 9314, 9315, 9318, 9319] {
            let frame = frame(ethertype, length);
            let accepted = wire.send(&[&frame]).is_ok();
            drain.wait().unwrap();
            let counts = asic.port(port);
            let arrived = counts.rx_unicast + counts.rx_other > expected;
            assert_eq!(arrived, check(&frame).is_ok(), "{length} bytes of {ethertype:#06x}, accepted: {accepted}");
            expected += u64::from(arrived);
        }
    }
    assert!(wire.send(&[&[2; 13]]).is_err());
}

#[test]
fn a_paced_send_takes_its_time() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let start = std::time::Instant::now();
    let pace = Pace { pps: std::num::NonZeroU32::new(500), count: Some(101), seed: 1 };
    test.lab().send("Ethernet0", &Source::Profile(Profile::Udp64), pace).unwrap();
    // The first frame is due at once, the last one 100 intervals of 2 ms later.
    assert!(start.elapsed() >= std::time::Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn sends_into_one_port_at_the_same_time_are_each_exact() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let lab = test.lab();
    std::thread::scope(|scope| {
        for (port, seed) in [("Ethernet0", 1), ("Ethernet0", 2), ("Ethernet4", 3), ("Ethernet8", 4)] {
            scope.spawn(move || {
                let pace = Pace { count: Some(20_000), seed, ..Pace::default() };
                assert_eq!(lab.send(port, &Source::Profile(Profile::Mixed), pace).unwrap().packets, 20_000);
            });
        }
    });
    let asic = lab.asic().unwrap();
    let received = ["Ethernet0", "Ethernet4", "Ethernet8"].map(|name| {
        let counts = asic.port(test.port(name));
        counts.rx_unicast + counts.rx_other
    });
    assert_eq!(received, [40_000, 20_000, 20_000]);
    assert_eq!(asic.port(test.port("Ethernet4")).left_packets, 40_000);
}
