//! Copies arrive at the destination's CPU netdev, exactly, and nowhere else.

use std::num::NonZeroU32;
use std::time::Instant;

use telegen_sonic::lab::asic_maps::CopyCounts;
use telegen_sonic::lab::frames::check;
use telegen_sonic::lab::handle::LabOptions;
use telegen_sonic::lab::orchagent::hardware::{CopyDestination, MirrorHardware, MirrorTarget, PortSide};
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::sent::Copies;

use super::{TestLab, assert_nothing_more, is_root, receive, small};

fn to(destination_port: &str) -> MirrorTarget {
    MirrorTarget {
        session: "test".to_owned(),
        destination: CopyDestination::Port(destination_port.to_owned()),
        sampling: None,
    }
}

/// Frames of every kind of length, plain, tagged once and twice, with contents that tell them apart. Without the four whose
/// only tag is cut: no kernel receives these.
pub(super) fn all_lengths() -> Vec<Vec<u8>> {
    let lengths = (14..200).chain([300, 511, 512, 1500, 1514, 1515, 1518, 2048, 4096, 9000, 9014, 9215, 9216]);
    let heads: [&[u8]; 4] = [
        &[0x08, 0x00],
        &[0x81, 0x00, 0x20, 0x07, 0x08, 0x00],
        &[0x88, 0xa8, 0x00, 0x08, 0x81, 0x00, 0x00, 0x09, 0x86, 0xdd],
        &[0x91, 0x00, 0x00, 0x0a, 0x81, 0x00, 0x00, 0x0b, 0x08, 0x06],
    ];
    let mut frames = Vec::new();
    for length in lengths {
        for head in heads {
            let mut frame = [[2; 12].as_slice(), head].concat();
            if frame.len() <= length {
                frame.extend((frame.len()..length).map(|at| (at * 7 + length).to_le_bytes()[0]));
                frames.push(frame);
            }
        }
    }
    frames.retain(|frame| check(frame).is_ok());
    frames
}

#[test]
fn frames_of_14_to_9216_bytes_with_and_without_tags_are_copied_bit_by_bit() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet12")).unwrap();
    let tap = test.tap("Ethernet12");
    let frames = all_lengths();
    let count = frames.len() as u64;
    let sent = test.lab().send("Ethernet0", &Source::Capture(test.capture(&frames)), Pace::default()).unwrap();

    assert_eq!((sent.packets, sent.copies), (count, Copies { delivered: count, policed: 0, refused: 0 }));
    for (copied, frame) in receive(&tap, frames.len()).iter().zip(&frames) {
        assert_eq!(copied, frame);
    }
    assert_nothing_more(&tap);
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
    let fate = CopyCounts { delivered: count, delivered_octets: bytes, policed: 0, refused: 0, lost: 0 };
    assert_eq!(asic.copies_for(test.port("Ethernet12")), fate);
    let expected = [("Ethernet0", 0), ("Ethernet4", 0), ("Ethernet8", 0), ("Ethernet12", count)];
    assert_eq!(test.received_by_cpu(), expected.map(|(port, packets)| (port.to_owned(), packets)));
    // Mirroring takes nothing from forwarding.
    assert_eq!(asic.port(test.port("Ethernet4")).left_octets, bytes);
}

#[test]
fn a_binding_copies_its_side_of_its_port_only_and_unbinding_ends_it() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let udp = Source::Profile(Profile::Udp64);
    let copies_of_100 = |port: &str| {
        let pace = Pace { count: Some(100), ..Pace::default() };
        test.lab().send(port, &udp, pace).unwrap().copies.delivered
    };

    asic.bind("Ethernet4", PortSide::Tx, &to("Ethernet8")).unwrap();
    assert_eq!((copies_of_100("Ethernet0"), copies_of_100("Ethernet4")), (100, 0));
    asic.bind("Ethernet4", PortSide::Rx, &to("Ethernet12")).unwrap();
    assert_eq!((copies_of_100("Ethernet0"), copies_of_100("Ethernet4")), (100, 100));
    // A frame through two bound ports is copied twice.
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet12")).unwrap();
    assert_eq!(copies_of_100("Ethernet0"), 200);
    // Binding again replaces.
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet8")).unwrap();
    assert_eq!(copies_of_100("Ethernet0"), 200);
    assert_eq!(asic.copies_for(test.port("Ethernet8")).delivered, 100 + 100 + 100 + 200);
    assert_eq!(asic.copies_for(test.port("Ethernet12")).delivered, 100 + 100);

    for (port, side) in [("Ethernet0", PortSide::Rx), ("Ethernet4", PortSide::Tx), ("Ethernet4", PortSide::Rx)] {
        asic.unbind(port, side).unwrap();
    }
    assert_eq!((copies_of_100("Ethernet0"), copies_of_100("Ethernet4")), (0, 0));
}

#[test]
fn a_binding_needs_ports_that_exist() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let refusal = asic.bind("Ethernet0", PortSide::Rx, &to("CPU")).unwrap_err();
    assert_eq!(refusal, "port 'CPU' does not exist; this switch has Ethernet0, Ethernet4, … Ethernet12");
    assert!(asic.bind("Ethernet16", PortSide::Rx, &to("Ethernet8")).is_err());
}

/// Copies per second.
const RATE: u32 = 200;

#[test]
fn the_policer_lets_a_burst_and_its_rate_through_and_counts_the_rest() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&LabOptions { policer: NonZeroU32::new(RATE), ..small() });
    let mut asic = test.lab().asic().unwrap();
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet12")).unwrap();
    asic.bind("Ethernet8", PortSide::Rx, &to("Ethernet4")).unwrap();
    let tap = test.tap("Ethernet12");
    for (port, count) in [("Ethernet0", 5000), ("Ethernet8", 10)] {
        let start = Instant::now();
        let pace = Pace { count: Some(count), ..Pace::default() };
        let copies = test.lab().send(port, &Source::Profile(Profile::Udp64), pace).unwrap().copies;
        let most = u64::from(RATE) / 10
            + u64::try_from(start.elapsed().as_millis()).expect("a short test") * u64::from(RATE) / 1000
            + 2;
        let least = count.min(u64::from(RATE) / 10);
        assert!((least..=most).contains(&copies.delivered), "{copies:?}, at least {least}, at most {most}");
        assert_eq!((copies.delivered + copies.policed, copies.refused), (count, 0));
    }
    // Each destination has its own bucket: the few copies for Ethernet4 all arrived, whatever Ethernet12 got.
    assert_eq!(asic.copies_for(test.port("Ethernet4")).delivered, 10);
    receive(&tap, usize::try_from(asic.copies_for(test.port("Ethernet12")).delivered).unwrap());
    assert_nothing_more(&tap);
}

#[test]
fn a_copy_longer_than_the_destination_allows_is_refused_and_forwarded_all_the_same() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    test.on_switch(&["ip", "link", "set", "Ethernet12", "mtu", "1500"]);
    let mut asic = test.lab().asic().unwrap();
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet12")).unwrap();
    // MTU + 14 bytes of Ethernet + 4 of a tag (net/core/dev.c: is_skb_forwardable).
    let frames = [1517, 1518, 1519, 9000].map(|length| vec![2; length]);
    let sent = test.lab().send("Ethernet0", &Source::Capture(test.capture(&frames)), Pace::default()).unwrap();
    assert_eq!(sent.copies, Copies { delivered: 2, policed: 0, refused: 2 });
    assert_eq!(asic.port(test.port("Ethernet4")).left_packets, 4);
}

#[test]
fn a_fast_flood_is_copied_without_a_loss() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    asic.bind("Ethernet0", PortSide::Rx, &to("Ethernet8")).unwrap();
    asic.bind("Ethernet4", PortSide::Tx, &to("Ethernet12")).unwrap();
    let pace = Pace { count: Some(200_000), ..Pace::default() };
    let sent = test.lab().send("Ethernet0", &Source::Profile(Profile::Flood), pace).unwrap();
    assert_eq!((sent.flows.len(), sent.copies), (200_000, Copies { delivered: 400_000, policed: 0, refused: 0 }));
    let expected = [("Ethernet0", 0), ("Ethernet4", 0), ("Ethernet8", 200_000), ("Ethernet12", 200_000)];
    assert_eq!(test.received_by_cpu(), expected.map(|(port, packets)| (port.to_owned(), packets)));
}
