//! What a tap counts of packets: [`Traffic`], the one struct of all totals. And what can be said of a packet besides
//! its class: the service it belongs to, the tunnel it travels in, and the signs of good or bad health. Names, the
//! ports behind them, and the counters by these names. Pure values.

use super::counter::Counter;
use super::schema::{ErrorKind, EthClass, IpClass, words};

/// Everything that is counted of packets one by one; exact. The tap's readings ([`super::sample::Sample`]), what is
/// reported of a job ([`super::report::Results`]) and the truth about test traffic all hold this struct, so that a
/// counter has one place.
///
/// Packets are wire packets (a GSO buffer counts its segments), bytes are Ethernet frame bytes without FCS and with all
/// VLAN tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// What reached the tap.
    pub delivered: Counter,
    /// What of it passed the job's filter. Everything below speaks of these packets.
    pub total: Counter,
    /// What of `total` sampling chose for the flow table.
    pub analysed: Counter,
    /// One class per packet, indexed by `EthClass as usize`; they sum to `total`.
    pub eth: [Counter; EthClass::COUNT],
    /// One class per IP packet, indexed by `IpClass as usize`; they sum to the Ethernet classes ipv4 and ipv6.
    pub ip: [Counter; IpClass::COUNT],
    /// Packets with each error, indexed by `ErrorKind as usize`. A packet can have several.
    pub errors: [u64; ErrorKind::COUNT],
    /// IP packets that are a part of a larger one: "more fragments" set, or an offset. An IPv6 atomic fragment (RFC
    /// 6946: a fragment header with neither) is a whole packet and not counted.
    pub fragments: u64,
    /// Those of them that are not the first of their packet: without ports, and of which nothing behind IP is known.
    pub fragments_later: u64,
    /// IPv4 packets with options (a header of more than 20 bytes, RFC 791), the whole header in the frame.
    pub ipv4_options: u64,
    /// By `Service as usize`. Most packets are of none.
    pub services: [Counter; Service::COUNT],
    /// Signs of good or bad health, packet by packet.
    pub health: Health,
    /// What was found in tunnels; `None` if the job does not look into them.
    pub inner: Option<Inner>,
    /// TCP segments; `None` if not every packet is analysed, or there are no flows.
    pub segments: Option<Segments>,
    /// Of the copies themselves; `None` if they do not come encapsulated.
    pub copies: Option<Copies>,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            delivered: Counter::default(),
            total: Counter::default(),
            analysed: Counter::default(),
            eth: [Counter::default(); EthClass::COUNT],
            ip: [Counter::default(); IpClass::COUNT],
            errors: [0; ErrorKind::COUNT],
            fragments: 0,
            fragments_later: 0,
            ipv4_options: 0,
            services: [Counter::default(); Service::COUNT],
            health: Health::default(),
            inner: None,
            segments: None,
            copies: None,
        }
    }
}

words! {
    /// Services by well-known port ([`Service::ports`]). A packet belongs to the service of its destination port or, if
    /// that is nobody's, to the one of its source port; most packets belong to none.
    Service {
        Ssh = "ssh", Tacacs = "tacacs", Dns = "dns", Dhcp = "dhcp", Http = "http", Ntp = "ntp", Snmp = "snmp", Bgp = "bgp",
        /// PTP over UDP; PTP over Ethernet is an Ethernet class.
        Ptp = "ptp",
        /// TLS on 443 and QUIC.
        Https = "https",
        /// IKE, and IPsec through NAT.
        Ike = "ike",
        Syslog = "syslog", Rip = "rip", Dhcpv6 = "dhcpv6", Ldp = "ldp", Netconf = "netconf", Radius = "radius", Hsrp = "hsrp",
        Nfs = "nfs", Netflow = "netflow", GtpU = "gtp_u", Iscsi = "iscsi",
        /// Single-hop, echo, multi-hop and micro-BFD on LAG members.
        Bfd = "bfd",
        Otlp = "otlp", NvmeTcp = "nvme_tcp", Ipfix = "ipfix", Vxlan = "vxlan", Rocev2 = "rocev2", Mdns = "mdns",
        Geneve = "geneve", Sflow = "sflow", Gnmi = "gnmi",
    }
}

/// The TCP ports and the UDP ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePorts {
    /// By TCP.
    pub tcp: &'static [u16],
    /// By UDP.
    pub udp: &'static [u16],
}

impl Service {
    /// The service's ports, as IANA's "Service Name and Transport Protocol Port Number Registry" has them; 2055 is
    /// `NetFlow`'s by custom.
    #[must_use]
    pub const fn ports(self) -> ServicePorts {
        let (tcp, udp): (&[u16], &[u16]) = match self {
            Service::Ssh => (&[22], &[]),
            Service::Tacacs => (&[49], &[]),
            Service::Dns => (&[53], &[53]),
            Service::Dhcp => (&[], &[67, 68]),
            Service::Http => (&[80, 8080], &[]),
            Service::Ntp => (&[], &[123]),
            Service::Snmp => (&[161, 162], &[161, 162]),
            Service::Bgp => (&[179], &[]),
            Service::Ptp => (&[], &[319, 320]),
            Service::Https => (&[443], &[443]),
            Service::Ike => (&[], &[500, 4500]),
            Service::Syslog => (&[6514], &[514]),
            Service::Rip => (&[], &[520, 521]),
            Service::Dhcpv6 => (&[], &[546, 547]),
            Service::Ldp => (&[646], &[646]),
            Service::Netconf => (&[830], &[]),
            Service::Radius => (&[], &[1812, 1813]),
            Service::Hsrp => (&[], &[1985]),
            Service::Nfs => (&[2049], &[2049]),
            Service::Netflow => (&[], &[2055]),
            Service::GtpU => (&[], &[2152]),
            Service::Iscsi => (&[3260], &[]),
            Service::Bfd => (&[], &[3784, 3785, 4784, 6784]),
            Service::Otlp => (&[4317, 4318], &[]),
            Service::NvmeTcp => (&[4420], &[]),
            Service::Ipfix => (&[4739], &[4739]),
            Service::Vxlan => (&[], &[4789]),
            Service::Rocev2 => (&[], &[4791]),
            Service::Mdns => (&[], &[5353]),
            Service::Geneve => (&[], &[6081]),
            Service::Sflow => (&[], &[6343]),
            Service::Gnmi => (&[9339], &[]),
        };
        ServicePorts { tcp, udp }
    }
}

words! {
    /// Tunnels into which a job with `inner=true` looks. The first one of a packet counts; a tunnel inside of it is not
    /// opened.
    Tunnel {
        /// RFC 7348, UDP port 4789.
        Vxlan = "vxlan",
        /// RFC 8926, UDP port 6081.
        Geneve = "geneve",
        /// RFC 2784 and 2890, with an IP packet or an Ethernet frame (0x6558) in it.
        Gre = "gre",
        /// IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, 2473, 4213).
        Ipip = "ipip",
        /// A stack of up to 8 labels (RFC 3032) with IP below it, as its first four bits say.
        Mpls = "mpls",
    }
}

words! {
    /// Things that happen to single packets and that an operator looks for. All exact, of the packets that pass the
    /// filter.
    HealthEvent {
        /// TCP with RST. As all TCP here: no fragments, and the fixed header is there.
        TcpReset = "tcp_reset",
        /// TCP with a window of 0 and none of SYN, FIN and RST: the receiver cannot take more.
        TcpZeroWindow = "tcp_zero_window",
        /// ICMP type 3 but for code 4; `ICMPv6` type 1.
        IcmpUnreachable = "icmp_unreachable",
        /// ICMP type 3 code 4 (fragmentation needed); `ICMPv6` type 2.
        IcmpTooBig = "icmp_too_big",
        /// ICMP type 11; `ICMPv6` type 3.
        IcmpTimeExceeded = "icmp_time_exceeded",
        /// IPv4 TTL or IPv6 hop limit 0.
        Ttl0 = "ttl_0",
        /// TTL or hop limit 1: the next router drops it. Normal for protocols between neighbours.
        Ttl1 = "ttl_1",
        /// A frame below 60 bytes (64 with the FCS), IEEE 802.3 §4A.2.3.2.4. The switch's own CPU may send such frames
        /// unpadded.
        Runt = "runt",
        /// A frame above 1518 bytes (1522 with the FCS: a full payload and one VLAN tag).
        Jumbo = "jumbo",
    }
}

words! {
    /// Who a frame is for, by its destination MAC.
    Cast { Unicast = "unicast", Multicast = "multicast", Broadcast = "broadcast" }
}

words! {
    /// The ECN field (RFC 3168), in the order of its values 0 to 3.
    Ecn { NotEct = "not_ect", Ect1 = "ect1", Ect0 = "ect0", Ce = "ce" }
}

words! {
    /// What a `RoCEv2` packet does, by the opcode of its base transport header (InfiniBand Architecture Specification,
    /// volume 1, 9.2, and annex A17).
    Rocev2Op {
        Send = "send", Write = "write", ReadRequest = "read_request", ReadResponse = "read_response", Ack = "ack",
        /// Atomic requests and their acknowledgement.
        Atomic = "atomic",
        /// Congestion notification, opcode 0x81.
        Cnp = "cnp",
        Other = "other",
        /// The packet ends before its opcode.
        Truncated = "truncated",
    }
}

/// How many combinations of the six flags of RFC 793 there are.
pub const TCP_FLAG_SETS: usize = 64;

/// The name of a combination of TCP flags, bits as in the header (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32):
/// `syn_ack`, `psh_ack`, `none`.
#[must_use]
pub fn tcp_flags_name(flags: usize) -> String {
    const NAMES: [(usize, &str); 6] = [(2, "syn"), (1, "fin"), (4, "rst"), (8, "psh"), (32, "urg"), (16, "ack")];
    let set: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join("_") }
}

/// The health of the traffic. Exact, of the packets that pass the filter; where a job looks into tunnels, still of the
/// outer headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// By `HealthEvent as usize`, packets.
    pub events: [u64; HealthEvent::COUNT],
    /// By `Cast as usize`, packets; they sum to the total but for frames cut inside of their destination.
    pub cast: [u64; Cast::COUNT],
    /// By code point, IP packets; they sum to the IP packets whose fixed header can be believed.
    pub dscp: [u64; 64],
    /// By `Ecn as usize`, IP packets; they sum to the same.
    pub ecn: [u64; Ecn::COUNT],
    /// By the flags' bits ([`tcp_flags_name`]), TCP packets that are no fragments and whose fixed header is there.
    pub tcp_flags: [u64; TCP_FLAG_SETS],
    /// By `Rocev2Op as usize`, packets to UDP port 4791.
    pub rocev2: [u64; Rocev2Op::COUNT],
    /// The same packets by `Ecn as usize`.
    pub rocev2_ecn: [u64; Ecn::COUNT],
}

impl Default for Health {
    fn default() -> Health {
        Health {
            events: [0; HealthEvent::COUNT],
            cast: [0; Cast::COUNT],
            dscp: [0; 64],
            ecn: [0; Ecn::COUNT],
            tcp_flags: [0; TCP_FLAG_SETS],
            rocev2: [0; Rocev2Op::COUNT],
            rocev2_ecn: [0; Ecn::COUNT],
        }
    }
}

/// What was found in tunnels, of a job with `inner=true`. Bytes are those of the whole frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inner {
    /// By `Tunnel as usize`: packets with a tunnel; one tunnel per packet.
    pub tunnels: [Counter; Tunnel::COUNT],
    /// By `IpClass as usize`: the IP packets in them.
    pub ip: [Counter; IpClass::COUNT],
    /// What else was in them, and what could not be read.
    pub non_ip: Counter,
}

/// TCP segments as their flows saw them: only with `sample_rate` 1 and flows.
///
/// A segment occupies sequence numbers if it has payload, SYN or FIN; others say nothing here. One that begins below
/// the highest number its flow has reached is *out of order* if it begins in the flow's latest gap, and else
/// *retransmitted*; a probe of one byte right below that number is a keep-alive and neither. So a flow with two gaps
/// open at once has the filling of the older one counted as retransmitted. A segment is as long as its IP header says,
/// even where a mirror cut it off. One that begins in the gap leaves of it what is behind the segment or, if that is
/// nothing, what is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// TCP packets whose flow was in the table, so that the next three are exact.
    pub tracked: u64,
    /// TCP packets of flows that were not: of them nothing is known.
    pub untracked: u64,
    /// Segments that repeat what had been seen.
    pub retransmitted: u64,
    /// Segments that came later than others behind them.
    pub out_of_order: u64,
}

/// Mirror copies that came encapsulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Copies that were sent and did not arrive, by the gaps in their sequence numbers; `None` as long as no copy had
    /// one.
    pub lost: Option<u64>,
    /// Copies of this job in which there was no frame to read: fragments, unknown encapsulations, cut headers. They are
    /// not delivered packets.
    pub unreadable: u64,
}

/// How many different flows there were, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistinctFlows {
    /// Flows among the analysed packets.
    pub estimate: u64,
    /// Half the width of the 95 % interval around it.
    pub err95: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_belongs_to_two_services() {
        for ports in [|service: Service| service.ports().tcp, |service: Service| service.ports().udp] {
            let all: Vec<u16> = Service::ALL.iter().flat_map(|service| ports(*service)).copied().collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        }
    }

    #[test]
    fn every_combination_of_tcp_flags_has_a_name_of_its_own() {
        let names: BTreeSet<String> = (0..TCP_FLAG_SETS).map(tcp_flags_name).collect();
        assert_eq!(names.len(), TCP_FLAG_SETS);
        assert_eq!([0x02, 0x12, 0x18, 0x00].map(tcp_flags_name), ["syn", "syn_ack", "psh_ack", "none"]);
    }
}
