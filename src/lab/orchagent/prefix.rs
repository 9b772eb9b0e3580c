//! Prefixes and next hops of routes, as APPL_DB writes them. Pure.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A route's prefix, `10.0.5.0/31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Reads `10.0.5.0/31`, `fc00::/64`, or an address alone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Prefix> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let most = width(address);
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Prefix { address, bits })
    }

    /// The default route of an address' family, which orchagent always has.
    #[must_use]
    pub fn default_for(address: IpAddr) -> Prefix {
        Prefix { address: unspecified(address), bits: 0 }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        let kept = |value: u128, width: u8| value.checked_shr(u32::from(width - self.bits)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => kept(own.to_bits().into(), 32) == kept(other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => kept(own.to_bits(), 128) == kept(other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// How many bits of an address it fixes.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

/// A route's next hop, `10.0.5.1@Ethernet36`. Without an address, the prefix is directly connected to the interface.
///
/// Ordered as orchagent orders them, which decides the first of several: IPv4 addresses by the number that their octets are in memory, least
/// significant first (swss-common `ipaddress.h`), IPv6 addresses octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Its address.
    pub address: IpAddr,
    /// The interface that leads to it.
    pub interface: String,
}

impl Ord for NextHop {
    fn cmp(&self, other: &NextHop) -> Ordering {
        let key = |hop: &NextHop| match hop.address {
            IpAddr::V4(address) => (4, u128::from(u32::from_le_bytes(address.octets()))),
            IpAddr::V6(address) => (6, address.to_bits()),
        };
        key(self).cmp(&key(other)).then_with(|| self.interface.cmp(&other.interface))
    }
}

impl PartialOrd for NextHop {
    fn partial_cmp(&self, other: &NextHop) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl NextHop {
    /// No next hop, in the family of `address`.
    #[must_use]
    pub fn none_for(address: IpAddr) -> NextHop {
        NextHop { address: unspecified(address), interface: String::new() }
    }

    /// The next hops of a `ROUTE_TABLE` row: its fields `nexthop` and `ifname`, two lists of one length; what is not readable is left out.
    #[must_use]
    pub fn read_all(addresses: &str, interfaces: &str) -> Vec<NextHop> {
        let pairs = addresses.split(',').zip(interfaces.split(','));
        let read = |(address, interface): (&str, &str)| {
            Some(NextHop { address: address.parse().ok()?, interface: interface.to_owned() })
        };
        pairs.filter_map(read).collect()
    }

    /// Whether it has an address.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        !self.address.is_unspecified()
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.address, self.interface)
    }
}

fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_what_begins_as_it_does() {
        let covers = |prefix: &str, address: &str| Prefix::parse(prefix).unwrap().covers(address.parse().unwrap());
        assert!(covers("10.0.5.0/31", "10.0.5.1"));
        assert!(!covers("10.0.5.0/31", "10.0.5.2"));
        assert!(covers("0.0.0.0/0", "10.0.5.2"));
        assert!(covers("::/0", "fc00::1"));
        assert!(!covers("0.0.0.0/0", "fc00::1"));
        assert!(covers("fc00::1", "fc00::1"));
        assert!(!covers("fc00::1", "fc00::2"));
        assert!(covers("10.0.5.1/32", "10.0.5.1"));
    }

    #[test]
    fn what_is_no_prefix_is_none() {
        for text in ["", "10.0.5.0/33", "10.0.5/24", "Vrf1:10.0.5.0/24", "10.0.5.0/x", "::/129"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
        assert_eq!(Prefix::parse("10.0.5.0/31").unwrap().to_string(), "10.0.5.0/31");
    }

    #[test]
    fn the_first_next_hop_is_that_of_the_smallest_last_octet() {
        let mut hops = NextHop::read_all("10.0.0.5,10.0.1.1,10.0.0.1", "Ethernet0,Ethernet0,Ethernet4");
        hops.sort();
        assert_eq!(
            hops.iter().map(|hop| hop.address.to_string()).collect::<Vec<_>>(),
            ["10.0.0.1", "10.0.1.1", "10.0.0.5"]
        );
    }

    #[test]
    fn next_hops_are_two_lists() {
        let hops = NextHop::read_all("10.0.0.1,10.0.0.3", "Ethernet8,Ethernet12");
        assert_eq!(
            hops.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.1@Ethernet8", "10.0.0.3@Ethernet12"]
        );
        assert_eq!(NextHop::read_all("0.0.0.0", "Ethernet8")[0].to_string(), "0.0.0.0@Ethernet8");
        assert!(!NextHop::read_all("0.0.0.0", "Ethernet8")[0].is_somebody());
        assert!(NextHop::read_all("", "").is_empty());
    }
}
