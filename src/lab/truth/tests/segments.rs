//! The order of TCP segments.

use super::*;
use crate::model::traffic::Segments;

const FLOW: u16 = 1000;

/// Retransmitted and out of order, of segments with a sequence number, flags and as much payload.
fn order(segments: &[(u32, u8, u32)]) -> (u64, u64) {
    let mut tracker = Tracker::default();
    for (sequence, flags, payload) in segments {
        let tcp = Tcp { sequence: *sequence, flags: *flags, window: 1, payload: *payload };
        tracker.add(v4_flow(6, (FLOW, 80), 0), &tcp);
    }
    let Segments { tracked, untracked, retransmitted, out_of_order } = tracker.segments();
    assert_eq!((tracked, untracked), (segments.len() as u64, 0));
    (retransmitted, out_of_order)
}

const ACK: u8 = 16;

#[test]
fn a_connection_in_order_has_neither() {
    let segments =
        [(99, Tcp::SYN, 0), (100, ACK, 0), (100, ACK, 50), (150, ACK, 50), (200, ACK | Tcp::FIN, 0), (201, ACK, 0)];
    assert_eq!(order(&segments), (0, 0));
}

#[test]
fn what_is_sent_again_is_a_retransmission() {
    assert_eq!(order(&[(99, Tcp::SYN, 0), (99, Tcp::SYN, 0)]), (1, 0));
    assert_eq!(order(&[(100, ACK, 50), (150, ACK, 50), (100, ACK, 50)]), (1, 0));
    assert_eq!(order(&[(100, ACK, 50), (150, Tcp::FIN, 0), (150, Tcp::FIN, 0)]), (1, 0));
    // It begins below what was reached, though it goes further.
    assert_eq!(order(&[(100, ACK, 50), (149, ACK, 10), (159, ACK, 1)]), (1, 0));
}

#[test]
fn what_fills_the_latest_gap_is_out_of_order_and_what_fills_an_older_one_is_not() {
    assert_eq!(order(&[(100, ACK, 50), (200, ACK, 50), (150, ACK, 50)]), (0, 1));
    assert_eq!(order(&[(100, ACK, 50), (200, ACK, 50), (300, ACK, 50), (250, ACK, 50), (150, ACK, 50)]), (1, 1));
    // Only once, and from one end to the other.
    assert_eq!(order(&[(100, ACK, 50), (200, ACK, 50), (150, ACK, 50), (150, ACK, 50)]), (1, 1));
    assert_eq!(order(&[(100, ACK, 50), (250, ACK, 50), (150, ACK, 50), (200, ACK, 50), (150, ACK, 50)]), (1, 2));
    assert_eq!(order(&[(100, ACK, 50), (250, ACK, 50), (200, ACK, 50), (150, ACK, 50), (200, ACK, 50)]), (1, 2));
    // Below the gap, not in it.
    assert_eq!(order(&[(100, ACK, 50), (200, ACK, 50), (149, ACK, 10)]), (1, 0));
}

#[test]
fn a_probe_of_one_byte_below_the_highest_number_is_neither() {
    assert_eq!(order(&[(100, ACK, 50), (149, ACK, 1), (149, ACK, 1)]), (0, 0));
    assert_eq!(order(&[(100, ACK, 50), (148, ACK, 1)]), (1, 0));
    assert_eq!(order(&[(100, ACK, 50), (149, ACK, 0)]), (0, 0));
}

#[test]
fn numbers_wrap_around() {
    let high = u32::MAX - 49;
    assert_eq!(order(&[(high, ACK, 50), (0, ACK, 50), (100, ACK, 50), (50, ACK, 50), (high, ACK, 50)]), (1, 1));
    assert_eq!(order(&[(high, ACK, 50), (50, ACK, 50), (0, ACK, 50)]), (0, 1));
}

#[test]
fn each_flow_has_its_own_order_and_the_inner_one_counts_in_a_tunnel() {
    let tcp = |sequence: u8| {
        let segment = [0x03, 0xe8, 0, 80, 0, 0, 0, sequence, 0, 0, 0, 0, 0x50, ACK, 0, 1, 0, 0, 0, 0, 1, 2];
        [&ipv4_header(6, 42, 0)[..], &segment].concat()
    };
    let plain = |sequence| frame(&[&[0x08, 0x00], &tcp(sequence)]);
    let tunnelled = |sequence| frame(&[&[0x08, 0x00], &ipv4_header(4, 62, 0), &tcp(sequence)]);
    let mut frames = Frames::default();
    for frame in [plain(10), tunnelled(8), plain(12), tunnelled(12)] {
        frames.push(&frame);
    }
    let truth = Truth::of_cycle(&frames, 4);
    let segments = |view: View| truth.flows(view).segments();
    assert_eq!(segments(View::Outer), Segments { tracked: 2, ..Segments::default() });
    assert_eq!(segments(View::Inner), Segments { tracked: 4, retransmitted: 2, ..Segments::default() });
    // The second round of each is a retransmission.
    let twice = Truth::of_cycle(&frames, 7);
    assert_eq!(twice.flows(View::Outer).segments(), Segments { tracked: 4, retransmitted: 2, ..Segments::default() });
}
