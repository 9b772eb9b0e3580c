//! What tshark sees in a packet's first tunnel, see `rules`.

use telegen_sonic::lab::truth::{Content, Inside, MAX_LABELS};
use telegen_sonic::model::traffic::Tunnel;

use crate::rules::ip;
use crate::walk::Walk;

/// What is behind an IP or UDP header, if that is a tunnel. UDP's destination port decides; tshark goes by its source port, too.
pub fn tunnel(walk: &mut Walk<'_, '_>, port: Option<u16>) -> Result<Option<Inside>, String> {
    const GRE_ROUTING_OR_VERSION: u16 = 0x4007;
    const VXLAN_VNI_VALID: u16 = 0x0800;
    let (frame, name) = (walk.frame, walk.name());
    let tunnel = match name {
        "ip" | "ipv6" => Tunnel::Ipip,
        "gre" => {
            let nth = walk.enter();
            let is_plain = frame.must::<u16>("gre.flags_and_version", nth)? & GRE_ROUTING_OR_VERSION == 0;
            if !is_plain || !is_carried(frame.number("gre.proto", nth)?) {
                return Ok(None);
            }
            Tunnel::Gre
        }
        "vxlan" if port == Some(4789) => {
            let nth = walk.enter();
            let flags: Option<u16> = frame.number("vxlan.flags", nth)?;
            // A cut header has no network identifier.
            if flags.is_none_or(|flags| flags & VXLAN_VNI_VALID == 0) || frame.nth("vxlan.vni", nth).is_none() {
                return Ok(None);
            }
            Tunnel::Vxlan
        }
        "geneve" if port == Some(6081) => {
            let nth = walk.enter();
            if !is_carried(frame.number("geneve.proto_type", nth)?) {
                return Ok(None);
            }
            Tunnel::Geneve
        }
        _ => return Ok(None),
    };
    Ok(Some(Inside { tunnel, content: content(walk)? }))
}

/// IPv4, IPv6 or an Ethernet frame.
fn is_carried(ethertype: Option<u16>) -> bool {
    matches!(ethertype, Some(0x0800 | 0x86dd | 0x6558))
}

pub fn mpls(walk: &mut Walk<'_, '_>) -> Result<Option<Inside>, String> {
    while walk.name() == "mpls" {
        walk.enter();
    }
    if !matches!(walk.name(), "ip" | "ipv6") || walk.frame.count("mpls.label") > MAX_LABELS {
        return Ok(None);
    }
    Ok(Some(Inside { tunnel: Tunnel::Mpls, content: content(walk)? }))
}

fn content(walk: &mut Walk<'_, '_>) -> Result<Content, String> {
    if walk.name() == "eth" {
        walk.enter();
        while let ("ethertype", "vlan" | "ieee8021ad") = (walk.name(), walk.next_name()) {
            walk.enter();
            walk.enter();
        }
        if walk.name() != "ethertype" || !matches!(walk.next_name(), "ip" | "ipv6") {
            return Ok(Content::NotIp);
        }
        walk.enter();
    }
    match walk.name() {
        "ip" | "ipv6" => Ok(ip(walk, None)?.map_or(Content::BrokenIp, Content::Ip)),
        name => Err(format!("a tunnel with {name:?} in it")),
    }
}
