//! TCP segments in the order of their flows: what is repeated and what comes late, by the definition of
//! [`crate::model::traffic::Segments`].

use std::collections::HashMap;

use super::transport::Tcp;
use crate::model::sample::FlowKey;
use crate::model::traffic::Segments;

/// Follows every flow, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    flows: HashMap<FlowKey, Progress>,
    segments: Segments,
}

/// How far a flow has come. Numbers wrap around (RFC 9293 §3.4): of two, the later one is that which is less than 2^31 ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// The number behind the highest one that was reached.
    next: u32,
    /// What is left of the numbers that were skipped latest: the first of them, and the one behind the last. A segment that begins in the gap
    /// leaves what is behind it or, if that is nothing, what is before it.
    gap: Option<(u32, u32)>,
}

impl Tracker {
    /// The next TCP packet of a flow.
    pub fn add(&mut self, flow: FlowKey, tcp: &Tcp) {
        self.segments.tracked += 1;
        let occupied = tcp.payload + u32::from(tcp.flags & Tcp::SYN != 0) + u32::from(tcp.flags & Tcp::FIN != 0);
        if occupied == 0 {
            return;
        }
        let end = tcp.sequence.wrapping_add(occupied);
        let Some(progress) = self.flows.get_mut(&flow) else {
            self.flows.insert(flow, Progress { next: end, gap: None });
            return;
        };
        if is_before(tcp.sequence, progress.next) {
            let is_probe = tcp.payload == 1 && occupied == 1 && end == progress.next;
            let gap = progress.gap.filter(|(from, to)| is_within(tcp.sequence, *from, *to));
            match gap {
                _ if is_probe => {}
                Some((_, to)) if is_before(end, to) => {
                    self.segments.out_of_order += 1;
                    progress.gap = Some((end, to));
                }
                Some((from, _)) => {
                    self.segments.out_of_order += 1;
                    progress.gap = Some((from, tcp.sequence));
                }
                None => self.segments.retransmitted += 1,
            }
        } else if tcp.sequence != progress.next {
            progress.gap = Some((progress.next, tcp.sequence));
        }
        if is_before(progress.next, end) {
            progress.next = end;
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn segments(&self) -> Segments {
        self.segments
    }
}

const fn is_before(left: u32, right: u32) -> bool {
    right.wrapping_sub(left).wrapping_sub(1) < 1 << 31
}

const fn is_within(number: u32, from: u32, to: u32) -> bool {
    number.wrapping_sub(from) < to.wrapping_sub(from)
}
