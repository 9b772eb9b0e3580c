//! Made-up traffic: the same seed makes the same frames, on every machine.

#![expect(clippy::cast_possible_truncation, reason = "random numbers are cut to the fields they are for")]

mod health;
mod rocev2;
mod tcp;
mod tunnels;

use super::frames::{Frames, check};
use super::packet::{
    self, Addresses, SHORTEST_FRAME, Tag, echo, ethernet, ethernet_to, ethertype, ip, ipv4, ipv6, udp,
};
use crate::model::schema::words;
use tcp::Connections;

words! {
    /// The kinds of traffic that `telegen-lab send --profile` makes.
    Profile {
        /// Fifteen kinds of packets of a few hundred flows, few of them heavy, 60 to 1514 bytes.
        Mixed = "mixed",
        /// One UDP flow of the shortest frames.
        Udp64 = "udp64",
        /// One TCP flow of 512-byte frames.
        Tcp512 = "tcp512",
        /// IPv6 with and without extension headers, fragments among them.
        Ipv6 = "ipv6",
        /// One, two and three VLAN tags.
        Vlan = "vlan",
        /// One TCP flow of 9000-byte frames.
        Jumbo = "jumbo",
        /// Every packet a flow of its own.
        Flood = "flood",
        /// Packets of `mixed`, cut and with bits flipped.
        Malformed = "malformed",
        /// VXLAN, Geneve, GRE, IP in IP and MPLS over both IP versions, with both in them.
        Tunnels = "tunnels",
        /// RoCEv2: requests, responses, acknowledgements, congestion marks and notifications.
        Rocev2 = "rocev2",
        /// TCP connections with retransmissions, reordering, keep-alives, resets and closed windows.
        TcpHealth = "tcp-health",
        /// What an operator looks for: ICMP errors, spent TTLs, wrong checksums, marks, casts, runts and jumbo frames, services.
        Health = "health",
    }
}

/// More frames than this are not made: the list then repeats.
const CYCLE: usize = 16_384;
/// The same for [`Profile::Flood`], whose packets are all different.
const FLOOD_CYCLE: usize = 1 << 20;
/// Longest frame of an Ethernet without jumbo frames, without FCS.
const LONGEST_FRAME: usize = 1514;
const JUMBO_FRAME: usize = 9000;

impl Profile {
    /// The first `count` frames of this profile, or its whole cycle if that is shorter.
    #[must_use]
    pub fn frames(self, seed: u64, count: usize) -> Frames {
        let mut random = Random(seed);
        let cycle = if self == Profile::Flood { FLOOD_CYCLE } else { CYCLE };
        let mut frames = Frames::default();
        let mut connections = Connections::default();
        for index in 0..count.min(cycle) {
            frames.push(&self.frame(&mut random, &mut connections, index));
        }
        frames
    }

    fn frame(self, random: &mut Random, connections: &mut Connections, index: usize) -> Vec<u8> {
        let flow = Flow::of_rank(1);
        match self {
            Profile::Mixed => mixed(random),
            Profile::Udp64 => flow.frame(flow.v4, Transport::Udp, &[], SHORTEST_FRAME),
            Profile::Tcp512 => flow.frame(flow.v4, Transport::Tcp, &[], 512),
            Profile::Ipv6 => ipv6_kinds(random),
            Profile::Vlan => tagged(random),
            Profile::Jumbo => flow.frame(flow.v4, Transport::Tcp, &[], JUMBO_FRAME),
            // The index is in the address: different in the first million, whatever the seed.
            Profile::Flood => {
                let flow = Flow::of_rank(index);
                flow.frame(flow.v4, Transport::Udp, &[], SHORTEST_FRAME)
            }
            Profile::Malformed => malformed(random),
            Profile::Tunnels => tunnels::frame(random),
            Profile::Rocev2 => rocev2::frame(random),
            Profile::TcpHealth => connections.next(random),
            Profile::Health => health::frame(random),
        }
    }
}

/// A sequence of numbers that the seed decides: SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small enough that the remainder's bias does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A rank from 1 to 255 with a likelihood near 1/rank (Zipf): every power of two has the same share.
    fn rank(&mut self) -> usize {
        const POWERS: usize = 8;
        let power = self.below(POWERS);
        (1 << power) + self.below(1 << power)
    }

    /// A frame length as on the Internet: mostly the shortest or the longest.
    fn length(&mut self) -> usize {
        match self.below(10) {
            0..4 => SHORTEST_FRAME + self.below(68),
            4..8 => LONGEST_FRAME,
            _ => SHORTEST_FRAME + self.below(LONGEST_FRAME - SHORTEST_FRAME + 1),
        }
    }
}

/// Addresses and ports of a flow, all from its rank.
#[derive(Clone, Copy)]
struct Flow {
    v4: Addresses,
    v6: Addresses,
    sport: u16,
    dport: u16,
}

const WELL_KNOWN_PORTS: [u16; 8] = [443, 80, 53, 22, 179, 123, 4789, 8080];

impl Flow {
    /// Two hosts of 10.0.0.0/8 and of 2001:db8::/32 (RFC 3849). Ranks below 2^24 differ in the source address.
    fn of_rank(rank: usize) -> Flow {
        let [_, _, _, _, _, r2, r1, r0] = (rank as u64).to_be_bytes();
        let far = 1 + (rank % 200) as u8;
        let near_v6 = [0x2001, 0xdb8, 0, 0, 0, 0, u16::from(r2), u16::from_be_bytes([r1, r0])];
        let far_v6 = [0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(far)];
        Flow {
            v4: Addresses::V4([10, r2, r1, r0].into(), [192, 0, 2, far].into()),
            v6: Addresses::V6(near_v6.into(), far_v6.into()),
            sport: 1024 + (rank % 60_000) as u16,
            dport: WELL_KNOWN_PORTS[rank % WELL_KNOWN_PORTS.len()],
        }
    }

    /// Its addresses of either IP version.
    fn addresses(self, random: &mut Random) -> Addresses {
        if random.below(2) == 0 { self.v4 } else { self.v6 }
    }

    /// A frame of exactly `length` bytes, or of as few as its headers need.
    fn frame(self, addresses: Addresses, transport: Transport, tags: &[Tag], length: usize) -> Vec<u8> {
        let (protocol, header) = match transport {
            Transport::Tcp => (6, 20),
            Transport::Udp => (17, 8),
        };
        let payload = length.saturating_sub(ETHERNET_HEADER + TAG * tags.len() + ip_header(addresses) + header);
        let segment = match transport {
            Transport::Tcp => packet::tcp(addresses, self.sport, self.dport, 1, payload),
            Transport::Udp => udp(addresses, self.sport, self.dport, payload),
        };
        let (ethertype, packet) = ip(addresses, protocol, &segment);
        ethernet(tags, ethertype, &packet)
    }
}

#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Udp,
}

fn echo_frame(addresses: Addresses, random: &mut Random) -> Vec<u8> {
    let (protocol, message) = echo(addresses, random.below(1000) as u16, random.below(1000));
    let (ethertype, packet) = ip(addresses, protocol, &message);
    ethernet(&[], ethertype, &packet)
}

const ETHERNET_HEADER: usize = 14;
const TAG: usize = 4;

fn ip_header(addresses: Addresses) -> usize {
    match addresses {
        Addresses::V4(..) => 20,
        Addresses::V6(..) => 40,
    }
}

/// Fifteen kinds of packets; the shares are guesses at a data centre's edge, with the rare kinds made frequent enough to be seen.
fn mixed(random: &mut Random) -> Vec<u8> {
    let rank = random.rank();
    let flow = Flow::of_rank(rank);
    let length = random.length();
    let vlan = (ethertype::VLAN, 10 + (rank % 20) as u16);
    match random.below(100) {
        0..40 => flow.frame(flow.v4, Transport::Tcp, &[], length),
        40..58 => flow.frame(flow.v4, Transport::Udp, &[], length),
        58..66 => flow.frame(flow.v6, Transport::Tcp, &[], length),
        66..72 => flow.frame(flow.v6, Transport::Udp, &[], length),
        72..78 => flow.frame(flow.v4, Transport::Tcp, &[vlan], length),
        78..82 => flow.frame(flow.v4, Transport::Udp, &[(ethertype::SERVICE_VLAN, 100), vlan], length),
        82..85 => echo_frame(flow.v4, random),
        85..87 => echo_frame(flow.v6, random),
        87..90 => ethernet_to([0xff; 6], &[], 0x0806, &arp_request(flow)),
        90..93 => v4_fragment(flow, random),
        93 => with_protocol(flow, 47, length),
        94 => with_protocol(flow, 50, length),
        95 => with_protocol(flow, 132, length),
        // LLDP (IEEE 802.1AB §7.1): chassis, port and time to live are mandatory; here an end mark will do.
        96 | 97 => ethernet_to([0x01, 0x80, 0xc2, 0, 0, 0x0e], &[], 0x88cc, &[0, 0]),
        98 => ethernet_to([0x01, 0x80, 0xc2, 0, 0, 0x02], &[], 0x8809, &[1, 1]),
        // A spanning tree BPDU: a length instead of an EtherType, then LLC.
        _ => ethernet_to([0x01, 0x80, 0xc2, 0, 0, 0], &[], 38, &[0x42, 0x42, 0x03]),
    }
}

/// Who has the flow's destination, asks its source (RFC 826).
fn arp_request(flow: Flow) -> Vec<u8> {
    let Addresses::V4(src, dst) = flow.v4 else { return Vec::new() };
    let fixed = [0, 1, 0x08, 0x00, 6, 4, 0, 1, 0x02, 0, 0, 0, 0, 0x01];
    [fixed.as_slice(), &src.octets(), &[0; 6], &dst.octets()].concat()
}

/// A first or a later fragment of a UDP datagram.
fn v4_fragment(flow: Flow, random: &mut Random) -> Vec<u8> {
    const MORE_FRAGMENTS: u16 = 0x2000;
    let Addresses::V4(src, dst) = flow.v4 else { return Vec::new() };
    let payload = udp(flow.v4, flow.sport, flow.dport, 512);
    let field = if random.below(2) == 0 { MORE_FRAGMENTS } else { 1 + random.below(100) as u16 };
    ethernet(&[], ethertype::IPV4, &ipv4(src, dst, 17, field, &payload))
}

/// An IPv4 packet of a protocol whose own header does not matter here.
fn with_protocol(flow: Flow, protocol: u8, length: usize) -> Vec<u8> {
    let payload = vec![0; length - ETHERNET_HEADER - ip_header(flow.v4)];
    let (ethertype, packet) = ip(flow.v4, protocol, &payload);
    ethernet(&[], ethertype, &packet)
}

fn ipv6_kinds(random: &mut Random) -> Vec<u8> {
    let flow = Flow::of_rank(random.rank());
    let length = random.length();
    match random.below(8) {
        0..3 => flow.frame(flow.v6, Transport::Tcp, &[], length),
        3..5 => flow.frame(flow.v6, Transport::Udp, &[], length),
        5 => echo_frame(flow.v6, random),
        _ => v6_with_extensions(flow, random),
    }
}

/// UDP behind a hop-by-hop header and, by chance, a first or a later fragment's header.
fn v6_with_extensions(flow: Flow, random: &mut Random) -> Vec<u8> {
    const HOP_BY_HOP: u8 = 0;
    let Addresses::V6(src, dst) = flow.v6 else { return Vec::new() };
    let datagram = udp(flow.v6, flow.sport, flow.dport, 100);
    let padding = [1, 4, 0, 0, 0, 0];
    let offset = random.below(3) as u8 * 8;
    let chain = match random.below(2) {
        0 => [&[17, 0], padding.as_slice()].concat(),
        _ => [&[44, 0], padding.as_slice(), &[17, 0, 0, offset | 1, 0, 0, 0, 1]].concat(),
    };
    ethernet(&[], ethertype::IPV6, &ipv6(src, dst, HOP_BY_HOP, &[chain, datagram].concat()))
}

fn tagged(random: &mut Random) -> Vec<u8> {
    let flow = Flow::of_rank(random.rank());
    let length = random.length();
    let id = |random: &mut Random| 1 + random.below(4094) as u16;
    let tags = [(0x9100, id(random)), (ethertype::SERVICE_VLAN, id(random)), (ethertype::VLAN, id(random))];
    flow.frame(flow.v4, Transport::Udp, &tags[random.below(tags.len())..], length)
}

/// A cut or damaged frame that the devices still carry.
fn malformed(random: &mut Random) -> Vec<u8> {
    loop {
        let mut frame = if random.below(2) == 0 { mixed(random) } else { ipv6_kinds(random) };
        if random.below(2) == 0 {
            frame.truncate(ETHERNET_HEADER + random.below(80));
        }
        for _ in 0..random.below(4) {
            // The headers are where damage matters.
            let at = random.below(frame.len().min(80));
            frame[at] ^= 1 << random.below(8);
        }
        if check(&frame).is_ok() {
            return frame;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::truth::{Truth, View};
    use crate::model::counter::Counter;
    use crate::model::schema::{ErrorKind, EthClass, IpClass};
    use crate::model::traffic::{Ecn, HealthEvent};

    fn truth(profile: Profile, count: usize) -> Truth {
        Truth::of_cycle(&profile.frames(7, count), count as u64)
    }

    #[test]
    fn a_seed_makes_the_same_frames_again_and_another_makes_others() {
        let fixed = [Profile::Udp64, Profile::Tcp512, Profile::Jumbo, Profile::Flood];
        for profile in Profile::ALL.iter().filter(|profile| !fixed.contains(profile)) {
            assert_eq!(profile.frames(1, 500), profile.frames(1, 500), "{profile}");
            assert_ne!(profile.frames(1, 500), profile.frames(2, 500), "{profile}");
        }
    }

    #[test]
    fn every_frame_of_every_profile_can_be_carried() {
        for profile in Profile::ALL {
            for frame in profile.frames(3, 5000).iter() {
                assert_eq!(check(frame), Ok(()), "{profile}: {frame:x?}");
            }
        }
    }

    #[test]
    fn mixed_traffic_has_many_kinds_and_few_heavy_flows() {
        let truth = truth(Profile::Mixed, 5000);
        let seen = |tally: &Counter| tally.packets > 0;
        let ethernet: Vec<_> = EthClass::ALL.iter().filter(|class| seen(&truth.eth[**class as usize])).collect();
        assert_eq!(ethernet.len(), 6, "{ethernet:?}");
        let ip: Vec<_> = IpClass::ALL.iter().filter(|class| seen(&truth.ip[**class as usize])).collect();
        assert_eq!(ip.len(), 7, "{ip:?}");
        let mut sizes: Vec<u64> = truth.flows.by_key.values().map(|tally| tally.packets).collect();
        sizes.sort_unstable_by(|left, right| right.cmp(left));
        assert!(
            sizes[..10].iter().sum::<u64>() > 1000 && sizes.len() > 500,
            "{} flows, {:?}",
            sizes.len(),
            &sizes[..10]
        );
        let lengths: Vec<usize> = Profile::Mixed.frames(7, 5000).iter().map(<[u8]>::len).collect();
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&60), Some(&1514)));
    }

    #[test]
    fn profiles_of_one_size_are_of_that_size() {
        for (profile, length) in [(Profile::Udp64, 60), (Profile::Tcp512, 512), (Profile::Jumbo, 9000)] {
            let truth = truth(profile, 10);
            assert_eq!((truth.total.bytes, truth.flows.by_key.len()), (10 * length, 1), "{profile}");
        }
    }

    #[test]
    fn every_packet_of_a_flood_is_a_flow_of_its_own() {
        assert_eq!(truth(Profile::Flood, 100_000).flows.by_key.len(), 100_000);
    }

    #[test]
    fn tunnels_of_every_kind_carry_both_ip_versions() {
        let truth = truth(Profile::Tunnels, 5000);
        let inside = truth.inner.as_ref().unwrap();
        assert!(inside.tunnels.iter().all(|counter| counter.packets > 300), "{:?}", inside.tunnels);
        assert!(inside.non_ip.packets > 50, "{:?}", inside.non_ip);
        let ipv6 = truth.flows(View::Inner).by_key.keys().filter(|key| key.src.is_ipv6()).count();
        assert!(ipv6 > 100 && ipv6 + 100 < truth.flows(View::Inner).by_key.len(), "{ipv6}");
    }

    #[test]
    fn rocev2_has_every_operation_and_congestion() {
        let truth = truth(Profile::Rocev2, 5000);
        let health = &truth.health;
        assert!(health.rocev2.iter().all(|packets| *packets > 10), "{:?}", health.rocev2);
        assert_eq!(health.rocev2.iter().sum::<u64>(), 5000);
        assert!(health.rocev2_ecn[Ecn::Ce as usize] > 100, "{:?}", health.rocev2_ecn);
    }

    #[test]
    fn unhealthy_tcp_has_segments_of_every_fate() {
        let truth = truth(Profile::TcpHealth, 5000);
        let segments = truth.flows.segments();
        assert_eq!(segments.tracked, 5000);
        assert!(segments.retransmitted > 100 && segments.out_of_order > 100, "{segments:?}");
        let events = |event: HealthEvent| truth.health.events[event as usize];
        assert!(events(HealthEvent::TcpReset) > 20 && events(HealthEvent::TcpZeroWindow) > 20);
    }

    #[test]
    fn unhealthy_traffic_has_every_sign_of_it() {
        let truth = truth(Profile::Health, 5000);
        let not_tcp = truth.health.events[HealthEvent::IcmpUnreachable as usize..].iter();
        assert!(not_tcp.clone().all(|packets| *packets > 20), "{:?}", truth.health.events);
        assert!(truth.health.cast.iter().chain(&truth.health.ecn).all(|packets| *packets > 100));
        assert!(truth.health.dscp.iter().all(|packets| *packets > 0), "{:?}", truth.health.dscp);
        assert!(truth.services.iter().all(|counter| counter.packets > 0), "{:?}", truth.services);
        assert!(truth.errors[ErrorKind::ChecksumIp as usize] > 20);
        assert!(truth.fragments_later > 20 && truth.fragments > truth.fragments_later + 20);
    }

    #[test]
    fn malformed_traffic_has_broken_headers_among_whole_ones() {
        let truth = truth(Profile::Malformed, 5000);
        let broken = truth.ip[IpClass::Truncated as usize].packets;
        assert!((500..4500).contains(&broken), "{broken} of 5000");
    }
}
