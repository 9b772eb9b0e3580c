//! Classes by the names of tshark's dissectors and, where none took the bytes, by the numbers that IANA and IEEE gave.

use telegen_sonic::model::schema::{EthClass, IpClass};
use telegen_sonic::model::traffic::Rocev2Op;

pub fn ethernet_by_name(name: &str, ethertype: u16) -> EthClass {
    match name {
        "ip" => EthClass::Ipv4,
        "ipv6" => EthClass::Ipv6,
        "arp" => EthClass::Arp,
        "mpls" => EthClass::Mpls,
        "lldp" => EthClass::Lldp,
        "slow" => EthClass::Slow,
        "ptp" => EthClass::Ptp,
        "macsec" => EthClass::Macsec,
        "eapol" => EthClass::Eapol,
        "pppoed" | "pppoes" => EthClass::Pppoe,
        "cfm" => EthClass::Cfm,
        "data" => ethernet_by_number(ethertype),
        _ => EthClass::Other,
    }
}

/// IANA ieee-802-numbers, for frames that no dissector took.
pub fn ethernet_by_number(ethertype: u16) -> EthClass {
    match ethertype {
        0..=1500 => EthClass::Llc,
        0x0800 => EthClass::Ipv4,
        0x0806 => EthClass::Arp,
        0x86dd => EthClass::Ipv6,
        0x8809 => EthClass::Slow,
        0x8847 | 0x8848 => EthClass::Mpls,
        0x8863 | 0x8864 => EthClass::Pppoe,
        0x888e => EthClass::Eapol,
        0x88cc => EthClass::Lldp,
        0x88e5 => EthClass::Macsec,
        0x88f7 => EthClass::Ptp,
        0x8902 => EthClass::Cfm,
        _ => EthClass::Other,
    }
}

/// `None`: no dissector took it, or one of a protocol without a class.
pub fn ip_by_name(name: &str) -> Option<IpClass> {
    Some(match name {
        "tcp" => IpClass::Tcp,
        "udp" => IpClass::Udp,
        "icmp" => IpClass::Icmp,
        "icmpv6" => IpClass::Icmpv6,
        "igmp" => IpClass::Igmp,
        "sctp" => IpClass::Sctp,
        "gre" => IpClass::Gre,
        "esp" => IpClass::Esp,
        "ah" => IpClass::Ah,
        "ospf" => IpClass::Ospf,
        "pim" => IpClass::Pim,
        "vrrp" => IpClass::Vrrp,
        "ip" => IpClass::Ipip,
        "ipv6" => IpClass::Ipv6,
        "eigrp" => IpClass::Eigrp,
        "rsvp" => IpClass::Rsvp,
        "dccp" => IpClass::Dccp,
        "l2tp" => IpClass::L2tp,
        _ => return None,
    })
}

/// IANA protocol-numbers, for packets that no dissector took.
pub fn ip_by_number(number: u8) -> IpClass {
    match number {
        1 => IpClass::Icmp,
        2 => IpClass::Igmp,
        4 => IpClass::Ipip,
        6 => IpClass::Tcp,
        17 => IpClass::Udp,
        33 => IpClass::Dccp,
        41 => IpClass::Ipv6,
        46 => IpClass::Rsvp,
        47 => IpClass::Gre,
        50 => IpClass::Esp,
        51 => IpClass::Ah,
        58 => IpClass::Icmpv6,
        59 => IpClass::NoNext,
        88 => IpClass::Eigrp,
        89 => IpClass::Ospf,
        103 => IpClass::Pim,
        112 => IpClass::Vrrp,
        115 => IpClass::L2tp,
        132 => IpClass::Sctp,
        _ => IpClass::Other,
    }
}

/// InfiniBand Architecture Specification, volume 1, table 38, one by one: RC, UC, RD, UD and XRC.
pub fn rocev2(opcode: u8) -> Rocev2Op {
    match opcode {
        0x81 => Rocev2Op::Cnp,
        0x80 | 0x82..=0x9f | 0xc0.. => Rocev2Op::Other,
        _ => match opcode % 0x20 {
            0x00..=0x05 | 0x16 | 0x17 => Rocev2Op::Send,
            0x06..=0x0b => Rocev2Op::Write,
            0x0c => Rocev2Op::ReadRequest,
            0x0d..=0x10 => Rocev2Op::ReadResponse,
            0x11 => Rocev2Op::Ack,
            0x12..=0x14 => Rocev2Op::Atomic,
            _ => Rocev2Op::Other,
        },
    }
}
