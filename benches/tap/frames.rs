//! The frames that are measured. Lengths are without FCS.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::net::{IpAddr, Ipv4Addr};

use telegen_sonic::io::tap::Encapsulation;

use crate::bench_programs::FRAME;
use crate::packets::{
    DESTINATION, HOP_BY_HOP, ICMP, IPV4, IPV6, Ipv4, Ipv6, QINQ as TPID_QINQ, TCP, UDP, VLAN as TPID_VLAN, ethernet,
    extension, tcp, udp,
};

pub const QINQ: &str = "QinQ";
pub const EXTENSIONS: &str = "3 extensions";
pub const VXLAN_INSIDE: &str = "VXLAN, inner";

const GRE: u8 = 47;

/// Whose copies the ERSPAN frames are.
pub const ENCAPSULATION: Encapsulation =
    Encapsulation { src: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), dst: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)) };

/// What a frame asks of the tap besides its detail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// To unwrap mirror copies.
    Erspan,
    /// To look into tunnels (`inner=true`).
    Inside,
}

impl Form {
    pub const ALL: [Form; 3] = [Form::Plain, Form::Erspan, Form::Inside];
}

pub struct Frame {
    pub name: &'static str,
    pub form: Form,
    pub bytes: Vec<u8>,
}

/// By kind.
pub fn all() -> Vec<Frame> {
    let dns = Ipv4::new(UDP).around(&udp(1000, 53, &[0; 22]));
    let payload = |frame: usize, headers: usize| vec![0; frame - headers];
    let last = extension(TCP, 0, &tcp(1000, 179, &[0; 20]));
    let options = (0..2).fold(last, |inner, _| extension(DESTINATION, 0, &inner));
    let bare_gre = [&[0, 0, 0x88, 0xbe], &ethernet(&[], IPV4, &dns)[..]].concat();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], &ethernet(&[], IPV4, &dns)[..]].concat();
    let plain = |name, bytes| Frame { name, form: Form::Plain, bytes };
    vec![
        plain("64 B UDP", ethernet(&[], IPV4, &dns)),
        plain("512 B TCP", ethernet(&[], IPV4, &Ipv4::new(TCP).around(&tcp(1000, 179, &payload(512, 54))))),
        plain("1500 B IPv6", ethernet(&[], IPV6, &Ipv6::new(UDP).around(&udp(1000, 53, &payload(1500, 62))))),
        plain("VLAN", ethernet(&[(TPID_VLAN, 10)], IPV4, &dns)),
        plain(QINQ, ethernet(&[(TPID_QINQ, 10), (TPID_VLAN, 20)], IPV4, &dns)),
        plain(EXTENSIONS, ethernet(&[], IPV6, &Ipv6::new(HOP_BY_HOP).around(&options))),
        Frame { name: "ERSPAN", form: Form::Erspan, bytes: ethernet(&[], IPV4, &Ipv4::new(GRE).around(&bare_gre)) },
        Frame {
            name: VXLAN_INSIDE,
            form: Form::Inside,
            bytes: ethernet(&[], IPV4, &Ipv4::new(UDP).around(&udp(1000, 4789, &vxlan))),
        },
    ]
}

/// Eight kinds of live frames, and where in each its flow's number goes: into the source address.
pub fn live_kinds() -> Vec<(Vec<u8>, u64)> {
    let fill = |headers: usize| vec![0; FRAME - headers];
    let v4 = |proto| Ipv4::new(proto);
    let v6 = |next| Ipv6::new(next);
    // The last 4 bytes of the address.
    let [at_v4, at_v6] = [14 + 12, 14 + 8 + 12];
    let options = extension(UDP, 0, &udp(1000, 53, &fill(14 + 40 + 8 + 8)));
    vec![
        (ethernet(&[], IPV4, &v4(UDP).around(&udp(1000, 53, &fill(42)))), at_v4),
        (ethernet(&[], IPV4, &v4(TCP).around(&tcp(1000, 179, &fill(54)))), at_v4),
        (ethernet(&[], IPV6, &v6(UDP).around(&udp(1000, 4791, &fill(62)))), at_v6),
        (ethernet(&[], IPV6, &v6(TCP).around(&tcp(1000, 443, &fill(74)))), at_v6),
        (ethernet(&[(TPID_VLAN, 10)], IPV4, &v4(UDP).around(&udp(1000, 123, &fill(46)))), at_v4 + 4),
        (ethernet(&[(TPID_QINQ, 10), (TPID_VLAN, 20)], IPV4, &v4(TCP).around(&tcp(1, 2, &fill(62)))), at_v4 + 8),
        (ethernet(&[], IPV4, &v4(ICMP).around(&fill(34))), at_v4),
        (ethernet(&[], IPV6, &v6(DESTINATION).around(&options)), at_v6),
    ]
}

/// As many kinds without tags: all collectors know them.
pub fn untagged_kinds() -> Vec<(Vec<u8>, u64)> {
    let kinds = live_kinds();
    [0, 1, 2, 3, 0, 1, 6, 7].map(|kind: usize| kinds[kind].clone()).into()
}

/// One kind of live frame.
pub fn live() -> Vec<u8> {
    live_kinds().swap_remove(0).0
}
