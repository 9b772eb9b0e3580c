//! What a sent frame is, found out in user space: the lab's ground truth.
//!
//! Written from the standards and from the documentation of the words in `model::schema` and `model::traffic`, on purpose without a look at
//! the BPF parser: the two are two witnesses, and a shared mistake would go unnoticed. Reads bytes only; knows no capture
//! format and no socket.
//!
//! Rules beyond the class names:
//! - Up to [`MAX_TAGS`] VLAN tags (802.1Q 0x8100, 802.1ad 0x88a8, 0x9100); the EtherType behind them decides. A further
//!   tag counts as an EtherType that no class names. A value up to 1500 is a length (IEEE 802.3 §3.2.6): `llc`.
//! - An IP packet is `truncated` if its protocol cannot be known: the fixed header or an IPv6 extension header is cut off,
//!   there are more than [`MAX_EXTENSIONS`] of them, or version, IHL or total length contradict themselves.
//! - An IP packet belongs to a flow if its fixed header is whole and does not contradict itself; the protocol is then the
//!   last that could be read. DSCP, ECN and TTL are those of the same packets.
//! - IPv6 headers hop-by-hop 0, routing 43, fragment 44, destination options 60 and mobility 135 are skipped; ESP and AH
//!   are classes of their own. What follows the fragment header of a later fragment is data, so its `next header` is
//!   the class.
//! - What lies behind the IP packet's own length is padding and never read. A packet that claims to be longer than its frame is malformed,
//!   and read as far as the frame goes.
//! - Ports: TCP, UDP, UDP-Lite, SCTP and DCCP, not of later fragments, if the first four bytes are there.
//! - The IPv4 checksum is right or wrong if the header with all its options is in the frame.
//! - ICMP and TCP headers count if their fixed part is in the packet (8, 4 for ICMPv6, 20 bytes); TCP of fragments does not, the rest of
//!   the segment is elsewhere.
//!
//! Inside of tunnels ([`View::Inner`]):
//! - Only a packet's first tunnel is opened, and of that only what follows a header that is complete and known: VXLAN with a
//!   valid VNI, Geneve version 0, GRE version 0 without routing; IPv4, IPv6 or an Ethernet frame (0x6558) in the latter two. Mirror types
//!   in GRE are none of these. MPLS is a tunnel if at most [`MAX_LABELS`] labels lie above a first nibble of 4 or 6.
//! - Fragments are not opened, not even first ones: the inner packet is not whole. Nor are packets with an error in
//!   their outer headers (a UDP length below 8, cut options); one that only claims more than the frame has is opened as far as the frame goes.
//! - A packet's flow is that of its inner IP header where that is whole and does not contradict itself, else that of the outer one; the
//!   VLAN is that of the frame's outermost tag in any case. Classes, errors, health and services are those of the outer headers.

mod ethernet;
mod ip;
pub mod mirror;
mod packet;
mod reader;
mod segments;
mod transport;
mod tunnel;

use std::collections::HashMap;
use std::ops::Deref;

pub use ethernet::MAX_TAGS;
pub use ip::MAX_EXTENSIONS;
pub use packet::{BrokenIp, Errors, Fragment, Ip, Packet, View};
pub use segments::Tracker;
pub use transport::{Tcp, Transport};
pub use tunnel::{Content, Inside, MAX_LABELS};

use super::frames::Frames;
use crate::model::sample::{Counter, FlowKey, PACKET_SIZE_BOUNDS};
use crate::model::schema::IpClass;
use crate::model::traffic::{Health, Inner, Segments, Traffic};

/// The truth about many frames, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// What a tap counts that every frame reaches, passes and is analysed by, and that looks into tunnels; but for
    /// segments, which are the flows', and copies. The truth reads as if these were fields of its own.
    pub traffic: Traffic,
    /// By length: how many are in each bucket of [`PACKET_SIZE_BOUNDS`], and above.
    pub sizes: [u64; PACKET_SIZE_BOUNDS.len() + 1],
    /// By flow of the outer headers.
    pub flows: Flows,
    /// By flow as [`View::Inner`] has it; `None` as long as there was no tunnel, and it is the same as `flows`.
    pub inner_flows: Option<Flows>,
}

/// Frames by flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// The flows.
    pub by_key: HashMap<FlowKey, Counter>,
    /// Frames without a flow.
    pub none: Counter,
    /// The TCP segments of the flows.
    pub tracker: Tracker,
}

impl Default for Truth {
    fn default() -> Truth {
        Truth {
            traffic: Traffic { inner: Some(Inner::default()), ..Traffic::default() },
            sizes: [0; PACKET_SIZE_BOUNDS.len() + 1],
            flows: Flows::default(),
            inner_flows: None,
        }
    }
}

impl Deref for Truth {
    type Target = Traffic;

    fn deref(&self) -> &Traffic {
        &self.traffic
    }
}

impl Truth {
    /// Counts a frame.
    pub fn add(&mut self, frame: &[u8]) {
        self.add_packet(&Packet::read(frame));
    }

    /// Counts a frame that was read before.
    pub fn add_packet(&mut self, packet: &Packet) {
        self.count(packet, 1);
        self.flows.track(packet.segment(View::Outer).as_ref());
        if let Some(flows) = &mut self.inner_flows {
            flows.track(packet.segment(View::Inner).as_ref());
        }
    }

    /// The truth about `total` frames, taken from the list again and again.
    #[must_use]
    pub fn of_cycle(frames: &Frames, total: u64) -> Truth {
        let mut truth = Truth::default();
        let length = (frames.len() as u64).max(1);
        let mut segments = Vec::new();
        for (index, frame) in (0..).zip(frames.iter()) {
            let packet = Packet::read(frame);
            truth.count(&packet, total / length + u64::from(index < total % length));
            let of = [View::Outer, View::Inner].map(|view| packet.segment(view));
            if of.iter().any(Option::is_some) {
                segments.push((index, of));
            }
        }
        for round in 0..total.div_ceil(length) {
            let left = total - round * length;
            for (_, [outer, inner]) in segments.iter().take_while(|(index, _)| *index < left) {
                truth.flows.track(outer.as_ref());
                if let Some(flows) = &mut truth.inner_flows {
                    flows.track(inner.as_ref());
                }
            }
        }
        truth
    }

    /// The flows of a view.
    #[must_use]
    pub fn flows(&self, view: View) -> &Flows {
        match (view, &self.inner_flows) {
            (View::Inner, Some(flows)) => flows,
            _ => &self.flows,
        }
    }

    /// Counts all but the order of segments.
    fn count(&mut self, packet: &Packet, times: u64) {
        if times == 0 {
            return;
        }
        let counter = Counter { packets: times, bytes: packet.length as u64 * times };
        self.sizes[PACKET_SIZE_BOUNDS.partition_point(|bound| *bound < packet.length as u64)] += times;
        count_packet(&mut self.traffic, packet, counter);
        if packet.inside.is_some() {
            self.inner_flows.get_or_insert_with(|| self.flows.clone());
        }
        self.flows.count(packet.flow(View::Outer), counter);
        if let Some(flows) = &mut self.inner_flows {
            flows.count(packet.flow(View::Inner), counter);
        }
    }
}

fn count_packet(traffic: &mut Traffic, packet: &Packet, counter: Counter) {
    traffic.delivered += counter;
    traffic.total += counter;
    traffic.analysed += counter;
    traffic.eth[packet.class as usize] += counter;
    for kind in packet.errors.iter() {
        traffic.errors[kind as usize] += counter.packets;
    }
    if let Some(class) = packet.ip_class() {
        traffic.ip[class as usize] += counter;
    }
    if let Some(inside) = &packet.inside {
        count_inside(traffic.inner.get_or_insert_default(), inside, counter);
    }
    count_health(&mut traffic.health, packet, counter.packets);
    if let Some(ip) = packet.header(View::Outer) {
        count_ip(traffic, ip, counter);
    }
}

fn count_inside(inner: &mut Inner, inside: &Inside, counter: Counter) {
    inner.tunnels[inside.tunnel as usize] += counter;
    match &inside.content {
        Content::Ip(ip) => inner.ip[ip.class as usize] += counter,
        Content::BrokenIp => inner.ip[IpClass::Truncated as usize] += counter,
        Content::NotIp => inner.non_ip += counter,
    }
}

fn count_health(health: &mut Health, packet: &Packet, times: u64) {
    for event in packet.health() {
        health.events[event as usize] += times;
    }
    if let Some(cast) = packet.cast {
        health.cast[cast as usize] += times;
    }
}

fn count_ip(traffic: &mut Traffic, ip: &Ip, counter: Counter) {
    let times = counter.packets;
    traffic.fragments += if ip.fragment.is_some() { times } else { 0 };
    traffic.fragments_later += if ip.fragment == Some(Fragment::Later) { times } else { 0 };
    traffic.ipv4_options += if ip.has_options { times } else { 0 };
    traffic.health.dscp[usize::from(ip.tos >> 2)] += times;
    traffic.health.ecn[ip.ecn() as usize] += times;
    if let Some(tcp) = ip.tcp() {
        traffic.health.tcp_flags[usize::from(tcp.flags)] += times;
    }
    if let Some(operation) = ip.transport.rocev2 {
        traffic.health.rocev2[operation as usize] += times;
        traffic.health.rocev2_ecn[ip.ecn() as usize] += times;
    }
    if let Some(service) = ip.transport.service {
        traffic.services[service as usize] += counter;
    }
}

impl Flows {
    fn count(&mut self, flow: Option<FlowKey>, counter: Counter) {
        *flow.map_or(&mut self.none, |flow| self.by_key.entry(flow).or_default()) += counter;
    }

    fn track(&mut self, segment: Option<&(FlowKey, Tcp)>) {
        if let Some((flow, tcp)) = segment {
            self.tracker.add(*flow, tcp);
        }
    }

    /// The TCP segments of the flows.
    #[must_use]
    pub fn segments(&self) -> Segments {
        self.tracker.segments()
    }
}

#[cfg(test)]
mod tests;
