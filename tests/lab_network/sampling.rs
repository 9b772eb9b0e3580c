//! What the ASIC leaves out of copies: frames that its sampler does not choose, and bytes behind its limit.

use telegen_sonic::lab::gre::{GreOptions, Header};
use telegen_sonic::lab::orchagent::hardware::{CopyDestination, MirrorHardware, MirrorTarget, PortSide};
use telegen_sonic::lab::orchagent::session::Sampling;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};

use crate::erspan::{COLLECTOR, to, unwrap};
use crate::{TestLab, assert_nothing_more, is_root, receive, small};

const ADDRESSES: [&str; 2] = ["192.0.2.1", "198.51.100.1"];

fn sampled(rate: u32, truncate: u32) -> MirrorTarget {
    MirrorTarget { sampling: Some(Sampling { rate, truncate }), ..to(ADDRESSES, 0x88be, GreOptions::default()) }
}

/// Frames of an experimental EtherType (IEEE 802), bare, tagged once and twice. Of IP packets the kernel cuts nothing in front of the transport
/// header that it believes to have found.
fn frames() -> Vec<Vec<u8>> {
    let heads: [&[u8]; 3] =
        [&[0x88, 0xb5], &[0x81, 0x00, 0x20, 0x07, 0x88, 0xb5], &[0x88, 0xa8, 0, 8, 0x81, 0, 0, 9, 0x88, 0xb5]];
    let lengths = (60..140).chain([1514, 9216]);
    let frame = |length: usize, head: &[u8]| {
        let mut frame = [[2; 12].as_slice(), head].concat();
        frame.extend((frame.len()..length).map(|at| (at * 7 + length).to_le_bytes()[0]));
        frame
    };
    lengths.flat_map(|length| heads.map(|head| frame(length, head))).collect()
}

#[test]
fn a_cut_copy_is_the_beginning_of_its_frame_and_a_shorter_one_is_whole() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let tap = test.tap(COLLECTOR);
    let frames = frames();
    let capture = test.capture(&frames);
    for limit in [64, 128, 9216] {
        asic.bind("Ethernet0", PortSide::SampledRx, &sampled(1, limit)).unwrap();
        let sent = test.lab().send("Ethernet0", &Source::Capture(capture.clone()), Pace::default()).unwrap();
        assert_eq!((sent.copies.delivered, sent.copies.refused), (frames.len() as u64, 0));
        for (copy, frame) in receive(&tap, frames.len()).iter().zip(&frames) {
            let (_, inner) = unwrap(copy, Header::Plain);
            assert_eq!(inner, &frame[..frame.len().min(limit as usize)], "{limit} of {}", frame.len());
        }
        asic.unbind("Ethernet0", PortSide::SampledRx).unwrap();
    }
    assert_nothing_more(&tap);
}

#[test]
fn a_sampler_chooses_as_many_as_it_says_and_leaves_a_plain_session_beside_it_alone() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let mut asic = test.lab().asic().unwrap();
    let to_cpu = CopyDestination::Port("Ethernet12".to_owned());
    let plain = MirrorTarget { session: "plain".to_owned(), destination: to_cpu, sampling: None };
    asic.bind("Ethernet0", PortSide::Rx, &plain).unwrap();
    asic.bind("Ethernet0", PortSide::SampledRx, &sampled(8, 0)).unwrap();
    let pace = Pace { count: Some(8000), ..Pace::default() };
    test.lab().send("Ethernet0", &Source::Profile(Profile::Udp64), pace).unwrap();
    let chosen = asic.copies_for_collector().delivered;
    // Of mean 1000 and standard deviation 29.6: six of them.
    assert!((822..=1178).contains(&chosen), "{chosen} of 8000");
    assert_eq!(asic.all_copies().delivered - chosen, 8000);
}
