//! ERSPAN as `TELEGEN|global` configures it and as a mirror session carries it: outer addresses, GRE type, DSCP and TTL.
//!
//! Values only. Which job gets which source address is `admission`'s business, what GRE packets look like the tap's.

use std::net::IpAddr;

use ipnet::IpNet;

use super::schema::{SettingField, words};

/// Addresses that the pool of sources holds at the most; more than a switch can have mirror sessions.
pub const SOURCES_MAX: usize = 16;

words! {
    /// The GRE protocol type of a session, in the form in which SONiC writes `gre_type`.
    GreType {
        /// What SONiC's Everflow uses; orchagent asks the SAI for plain GRE, so no ERSPAN header follows.
        Erspan = "0x88be",
        /// ERSPAN type III (draft-foschiano-erspan-03 §4.3).
        ErspanIii = "0x22eb",
        /// Transparent Ethernet bridging (RFC 7637 §3.2).
        Bridging = "0x6558",
        /// Mellanox ASICs: a vendor's header of 22 bytes stands before the copy (sonic-mgmt tests/everflow).
        Mellanox = "0x8949",
    }
}

impl GreType {
    /// The number in the GRE header.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            GreType::Erspan => 0x88be,
            GreType::ErspanIii => 0x22eb,
            GreType::Bridging => 0x6558,
            GreType::Mellanox => 0x8949,
        }
    }

    /// The type with this number, if copies can come in it.
    #[must_use]
    pub fn from_number(number: u16) -> Option<GreType> {
        GreType::ALL.iter().copied().find(|known| known.number() == number)
    }
}

/// The outer addresses of GRE copies: what tells one session's copies from another's on the same netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outer {
    /// Source address, the session's `src_ip`.
    pub src: IpAddr,
    /// Destination address, the session's `dst_ip`.
    pub dst: IpAddr,
}

/// What an ERSPAN session adds to the port whose traffic it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer addresses, of one IP version.
    pub outer: Outer,
    /// GRE protocol type.
    pub gre_type: GreType,
    /// Outer DSCP.
    pub dscp: u8,
    /// Outer TTL or hop limit.
    pub ttl: u8,
}

/// The `erspan_*` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erspan {
    /// The pool of source addresses, in the order in which they are leased; at most [`SOURCES_MAX`].
    pub sources: Vec<IpAddr>,
    /// Where all copies go.
    pub dst_ip: Option<IpAddr>,
    /// The netdev on which the GRE packets arrive.
    pub netdev: Option<String>,
    /// GRE protocol type.
    pub gre_type: GreType,
    /// Outer DSCP.
    pub dscp: u8,
    /// Outer TTL or hop limit.
    pub ttl: u8,
}

/// Settings with which a session can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready<'a> {
    /// The pool, all of `dst`'s IP version.
    pub sources: &'a [IpAddr],
    /// Where all copies go.
    pub dst: IpAddr,
    /// The netdev on which they arrive.
    pub netdev: &'a str,
}

impl Erspan {
    /// What a session needs, if all of it is set and fits together.
    ///
    /// # Errors
    /// One sentence that names the setting that is missing or does not fit.
    pub fn ready(&self) -> Result<Ready<'_>, String> {
        let (Some(dst), Some(netdev), false) = (self.dst_ip, self.netdev.as_deref(), self.sources.is_empty()) else {
            return Err(self.what_is_missing());
        };
        match self.sources.iter().find(|source| source.is_ipv4() != dst.is_ipv4()) {
            None => Ok(Ready { sources: &self.sources, dst, netdev }),
            Some(source) => Err(format!(
                "erspan_src_ip {source} and erspan_dst_ip {dst} in TELEGEN|global are of different IP versions, which no mirror session can have; give addresses of one version"
            )),
        }
    }

    fn what_is_missing(&self) -> String {
        let needed = [
            (SettingField::ErspanSrcIp, self.sources.is_empty()),
            (SettingField::ErspanDstIp, self.dst_ip.is_none()),
            (SettingField::ErspanNetdev, self.netdev.is_none()),
        ];
        let missing: Vec<&str> =
            needed.iter().filter(|(_, missing)| *missing).map(|(field, _)| field.as_str()).collect();
        format!(
            "span_method: erspan needs erspan_src_ip, erspan_dst_ip and erspan_netdev in TELEGEN|global; set {} there",
            missing.join(", ")
        )
    }

    /// The session of a job that has leased `src`.
    #[must_use]
    pub fn tunnel(&self, src: IpAddr, dst: IpAddr) -> Tunnel {
        Tunnel { outer: Outer { src, dst }, gre_type: self.gre_type, dscp: self.dscp, ttl: self.ttl }
    }
}

/// The usable addresses of these prefixes, in their order, each once, the first [`SOURCES_MAX`]. Left out are the network's own and the
/// broadcast address of an IPv4 prefix, and the subnet-router anycast address of an IPv6 prefix (RFC 4291 §2.6.1).
#[must_use]
pub fn pool(prefixes: &[IpNet]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for prefix in prefixes {
        let anycast = matches!(prefix, IpNet::V6(net) if net.prefix_len() < 127);
        // One more than there is room for, because one of them may be in the pool already: and so for each.
        for address in prefix.hosts().skip(usize::from(anycast)).take(SOURCES_MAX + addresses.len()) {
            if addresses.len() < SOURCES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_of(prefixes: &[&str]) -> String {
        let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
        pool(&prefixes).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pool_has_the_usable_addresses_in_the_order_given() {
        assert_eq!(pool_of(&["10.0.0.9/32", "10.0.0.4/30"]), "10.0.0.9 10.0.0.5 10.0.0.6");
        assert_eq!(pool_of(&["10.0.0.4/31"]), "10.0.0.4 10.0.0.5");
        assert_eq!(
            pool_of(&["2001:db8::/127", "2001:db8::8/126"]),
            "2001:db8:: 2001:db8::1 2001:db8::9 2001:db8::a 2001:db8::b"
        );
        assert_eq!(pool_of(&[]), "");
    }

    #[test]
    fn a_large_prefix_gives_sixteen_addresses_and_none_twice() {
        let sixteen: Vec<String> = (1..=16).map(|last| format!("10.0.0.{last}")).collect();
        assert_eq!(pool_of(&["10.0.0.0/8", "10.0.1.0/24"]), sixteen.join(" "));
        assert_eq!(pool_of(&["10.0.0.1/32", "10.0.0.1/32", "10.0.0.0/8"]), sixteen.join(" "));
        assert_eq!(pool_of(&["2001:db8::/32"]).split(' ').count(), 16);
    }

    #[test]
    fn gre_types_are_known_by_word_and_number() {
        for gre_type in GreType::ALL {
            assert_eq!(format!("{:#06x}", gre_type.number()), gre_type.as_str());
            assert_eq!(GreType::from_number(gre_type.number()), Some(*gre_type));
        }
        assert_eq!(GreType::from_number(0x0800), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut erspan = Erspan {
            sources: Vec::new(),
            dst_ip: None,
            netdev: Some("mirror0".to_owned()),
            gre_type: GreType::Erspan,
            dscp: 8,
            ttl: 255,
        };
        assert_eq!(
            erspan.ready(),
            Err("span_method: erspan needs erspan_src_ip, erspan_dst_ip and erspan_netdev in TELEGEN|global; set erspan_src_ip, erspan_dst_ip there".to_owned())
        );
        erspan.sources = vec![address("10.0.0.1"), address("2001:db8::1")];
        erspan.dst_ip = Some(address("10.0.0.2"));
        assert_eq!(
            erspan.ready(),
            Err("erspan_src_ip 2001:db8::1 and erspan_dst_ip 10.0.0.2 in TELEGEN|global are of different IP versions, which no mirror session can have; give addresses of one version".to_owned())
        );
        erspan.sources.pop();
        let ready = erspan.ready().expect("complete");
        assert_eq!(
            (ready.sources, ready.dst, ready.netdev),
            ([address("10.0.0.1")].as_slice(), address("10.0.0.2"), "mirror0")
        );
    }
}
