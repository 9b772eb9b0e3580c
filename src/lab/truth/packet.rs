//! What one frame is.

use std::net::IpAddr;

use super::transport::{self, Tcp, Transport};
use super::tunnel::{self, Content, Inside};
use super::{ethernet, ip};
use crate::model::filter::{IpFacts, PacketFacts};
use crate::model::sample::FlowKey;
use crate::model::schema::{ErrorKind, EthClass, IpClass};
use crate::model::traffic::{Cast, Ecn, HealthEvent};

/// Which header of a packet in a tunnel speaks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The outer one.
    Outer,
    /// The inner one, where there is one: a job with `inner=true`.
    Inner,
}

/// Which part of a larger packet one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The first, with the header of the transport protocol.
    First,
    /// Any other.
    Later,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    kinds: [bool; ErrorKind::COUNT],
}

impl Errors {
    pub(super) fn add(&mut self, kind: ErrorKind) {
        self.kinds[kind as usize] = true;
    }

    /// Whether what the headers say can be believed: a wrong checksum is the receiver's business, and what is cut off behind the headers does not
    /// change them.
    fn allow_a_look_inside(self) -> bool {
        self.iter().all(|kind| matches!(kind, ErrorKind::ChecksumIp | ErrorKind::MalformedIp))
    }

    /// The packet's errors.
    pub fn iter(&self) -> impl Iterator<Item = ErrorKind> {
        ErrorKind::ALL.iter().copied().filter(|kind| self.kinds[*kind as usize])
    }
}

/// What one frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Bytes of the frame.
    pub length: usize,
    /// Its Ethernet class.
    pub class: EthClass,
    /// Who it is for; `None` if the frame ends inside of that.
    pub cast: Option<Cast>,
    /// The id in the outermost tag, if there is one.
    pub vlan: Option<u16>,
    /// Whether a header can be believed; `None` if it is not IP.
    pub ip: Option<Result<Ip, BrokenIp>>,
    /// What is in its first tunnel.
    pub inside: Option<Inside>,
    /// What is wrong with it.
    pub errors: Errors,
}

/// The fixed IP header is cut or contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenIp;

/// An IP packet with a whole fixed header that does not contradict itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The TOS or traffic class byte: DSCP and, in the lowest two bits, ECN.
    pub tos: u8,
    /// Or hop limit.
    pub ttl: u8,
    /// Behind IPv6 extension headers, or the last that could be read.
    pub protocol: u8,
    /// Its class.
    pub class: IpClass,
    /// Whether it is a part of a larger packet.
    pub fragment: Option<Fragment>,
    /// Whether it is IPv4 and its header, which is all there, has options.
    pub has_options: bool,
    /// What is behind the IP header.
    pub transport: Transport,
}

impl Ip {
    pub(super) fn read(header: &ip::Header<'_>, errors: &mut Errors) -> Ip {
        let segment = header.segment;
        let transport = segment.map(|segment| transport::transport(header.protocol, segment, errors));
        Ip {
            src: header.src,
            dst: header.dst,
            tos: header.tos,
            ttl: header.ttl,
            protocol: header.protocol,
            class: header.class,
            fragment: header.fragment,
            has_options: header.has_options,
            transport: transport.unwrap_or_default(),
        }
    }

    pub(super) fn ecn(&self) -> Ecn {
        Ecn::ALL[usize::from(self.tos & 3)]
    }

    /// TCP, if all of the segment is in this packet.
    pub(super) fn tcp(&self) -> Option<&Tcp> {
        self.transport.tcp.as_ref().filter(|_| self.fragment.is_none())
    }

    fn facts(&self) -> IpFacts {
        IpFacts {
            src: self.src,
            dst: self.dst,
            dscp: self.tos >> 2,
            proto: (self.class != IpClass::Truncated).then_some(self.protocol),
            ports: self.transport.ports,
        }
    }
}

impl Packet {
    /// Says what a frame is, from its bytes as they are on the wire (without FCS).
    #[must_use]
    pub fn read(frame: &[u8]) -> Packet {
        let mut errors = Errors::default();
        let ethernet = ethernet::ethernet(frame, &mut errors);
        let header = match ethernet.class {
            EthClass::Ipv4 => Some(ip::ipv4(ethernet.payload, &mut errors)),
            EthClass::Ipv6 => Some(ip::ipv6(ethernet.payload, &mut errors)),
            _ => None,
        };
        let ip =
            header.as_ref().map(|header| header.as_ref().map(|header| Ip::read(header, &mut errors)).ok_or(BrokenIp));
        let inside = match header {
            Some(header) => header.filter(|_| errors.allow_a_look_inside()).as_ref().and_then(tunnel::in_ip),
            None if ethernet.class == EthClass::Mpls => tunnel::in_mpls(ethernet.payload),
            None => None,
        };
        let (class, cast, vlan) = (ethernet.class, ethernet.cast, ethernet.vlan);
        Packet { length: frame.len(), class, cast, vlan, ip, inside, errors }
    }

    /// The IP class, for IP packets.
    #[must_use]
    pub fn ip_class(&self) -> Option<IpClass> {
        self.ip.map(|ip| ip.map_or(IpClass::Truncated, |ip| ip.class))
    }

    /// The IP header that speaks for the packet.
    #[must_use]
    pub fn header(&self, view: View) -> Option<&Ip> {
        match (view, &self.inside) {
            (View::Inner, Some(Inside { content: Content::Ip(ip), .. })) => Some(ip),
            _ => self.ip.as_ref()?.as_ref().ok(),
        }
    }

    /// The flow that it belongs to.
    #[must_use]
    pub fn flow(&self, view: View) -> Option<FlowKey> {
        let ip = self.header(view)?;
        let (sport, dport) = ip.transport.ports.unwrap_or_default();
        let (src, dst, ip_proto) = (ip.src, ip.dst, ip.protocol);
        Some(FlowKey { src, dst, ip_proto, sport, dport, vlan: self.vlan.unwrap_or(0) })
    }

    /// What a filter looks at.
    #[must_use]
    pub fn facts(&self, view: View) -> PacketFacts {
        PacketFacts { vlan: self.vlan, ip: self.header(view).map(Ip::facts) }
    }

    /// The flow and the TCP segment of it that this is.
    pub(super) fn segment(&self, view: View) -> Option<(FlowKey, Tcp)> {
        Some((self.flow(view)?, *self.header(view)?.tcp()?))
    }

    pub(super) fn health(&self) -> impl Iterator<Item = HealthEvent> {
        const SHORTEST: usize = 60;
        const LONGEST: usize = 1518;
        let ip = self.header(View::Outer);
        let tcp = ip.and_then(Ip::tcp);
        [
            ip.and_then(|ip| ip.transport.icmp),
            tcp.filter(|tcp| tcp.is_reset()).map(|_| HealthEvent::TcpReset),
            tcp.filter(|tcp| tcp.has_zero_window()).map(|_| HealthEvent::TcpZeroWindow),
            ip.filter(|ip| ip.ttl == 0).map(|_| HealthEvent::Ttl0),
            ip.filter(|ip| ip.ttl == 1).map(|_| HealthEvent::Ttl1),
            (self.length < SHORTEST).then_some(HealthEvent::Runt),
            (self.length > LONGEST).then_some(HealthEvent::Jumbo),
        ]
        .into_iter()
        .flatten()
    }
}
