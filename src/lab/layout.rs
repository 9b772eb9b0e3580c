//! How the virtual switch is laid out: port names, device names, interface indices. Pure; nothing here touches the kernel.
//!
//! ```text
//! namespace "asic"                                        namespace "switch"
//! wireN ══ portN ─┐                    ┌─ cpuN ══════════ EthernetN
//!                 ├── bpf/lab_asic ────┤   (copies only)
//! wireM ══ portM ─┘ (M is N's peer)    └─ cpuM ══════════ EthernetM
//!                                        tunnel0 ═══════ collector0
//! mark0 ══ mark1    (see `drain`)            (copies in GRE)
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// MTU of every device: the largest SONiC port MTU (9216) and room for tags.
pub const MTU: u32 = 9300;

/// The pair through which the copies of ERSPAN sessions reach the collector: (the ASIC's end, the netdev on the switch).
pub const TUNNEL_DEVICES: (&str, &str) = ("tunnel0", "collector0");
/// Interface index of the ASIC's end.
pub const TUNNEL_IFINDEX: u32 = 4000;
/// MTU of the pair: [`MTU`], and room for what copies are wrapped into.
pub const TUNNEL_MTU: u32 = MTU + 200;
/// The switch's MAC address (RFC 7042 §2.1: locally administered).
pub const SWITCH_MAC: [u8; 6] = [0x02, 0x54, 0x45, 0x4c, 0x00, 0x01];

/// MAC address of whoever receives ERSPAN copies. Not the netdev's own, so that the kernel's stack leaves them alone.
pub const COLLECTOR_MAC: [u8; 6] = [0x02, 0x54, 0x45, 0x4c, 0x00, 0x02];
/// Its addresses (RFC 5737, RFC 3849).
pub const COLLECTOR_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1))];
/// Source addresses of ERSPAN copies, for two jobs.
pub const ERSPAN_SOURCES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

/// How many front-panel ports a switch has: even, 4..=128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PortCount(u16);

/// The switch cannot have this many ports.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a lab has an even number of ports from 4 to 128, not {0}: ports forward in pairs, and the last two are the mirror pool"
)]
pub struct BadPortCount(String);

impl TryFrom<u16> for PortCount {
    type Error = BadPortCount;

    fn try_from(ports: u16) -> Result<Self, BadPortCount> {
        if (4..=128).contains(&ports) && ports.is_multiple_of(2) {
            Ok(PortCount(ports))
        } else {
            Err(BadPortCount(ports.to_string()))
        }
    }
}

impl From<PortCount> for u16 {
    fn from(ports: PortCount) -> u16 {
        ports.0
    }
}

impl FromStr for PortCount {
    type Err = BadPortCount;

    fn from_str(text: &str) -> Result<Self, BadPortCount> {
        text.parse::<u16>().map_err(|_| BadPortCount(text.to_owned()))?.try_into()
    }
}

impl Default for PortCount {
    fn default() -> Self {
        PortCount(32)
    }
}

impl fmt::Display for PortCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl PortCount {
    /// Every port, in order.
    pub fn ports(self) -> impl DoubleEndedIterator<Item = Port> + Clone {
        (0..self.0).map(Port)
    }

    /// The ports that `TELEGEN_MIRROR_PORT` offers as SPAN destinations: the last two, a pair.
    #[must_use]
    pub fn pool(self) -> [Port; 2] {
        [Port(self.0 - 2), Port(self.0 - 1)]
    }

    /// The port called `name` (`Ethernet0`, `Ethernet4`, …).
    ///
    /// # Errors
    /// A sentence that says which ports there are.
    pub fn find(self, name: &str) -> Result<Port, UnknownPort> {
        self.ports()
            .find(|port| port.name() == name)
            .ok_or_else(|| UnknownPort { name: name.to_owned(), last: Port(self.0 - 1) })
    }
}

/// There is no port of this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("port '{name}' does not exist; this switch has Ethernet0, Ethernet4, … {last}")]
pub struct UnknownPort {
    name: String,
    last: Port,
}

/// A front-panel port of a switch, by its place on the panel (0 is `Ethernet0`, 1 is `Ethernet4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

/// SONiC numbers ports by lanes, four per port.
const LANES_PER_PORT: u16 = 4;

impl Port {
    /// The place on the panel, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// [`Port::index`] in the ASIC's terms.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }

    /// SONiC's name, which is also the name of the CPU netdev.
    #[must_use]
    pub fn name(self) -> String {
        self.to_string()
    }

    /// The port to which the ASIC forwards what enters here.
    #[must_use]
    pub fn peer(self) -> Port {
        Port(self.0 ^ 1)
    }

    /// The port's device of this kind in the namespace "asic".
    #[must_use]
    pub fn device(self, kind: Device) -> String {
        format!("{}{}", kind.prefix(), self.0 * LANES_PER_PORT)
    }

    /// The interface index of [`Port::device`]. Fixed, so that the BPF program computes ports instead of looking them up.
    #[must_use]
    pub fn ifindex(self, kind: Device) -> u32 {
        kind.ifindex_base() + self.number()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ethernet{}", self.0 * LANES_PER_PORT)
    }
}

/// A port's devices in the namespace "asic".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Outer end of the wire: frames enter and leave the lab here.
    Wire,
    /// The ASIC's end of the wire.
    Port,
    /// The ASIC's end of the pair whose other end is `EthernetN`.
    Cpu,
}

impl Device {
    const fn prefix(self) -> &'static str {
        match self {
            Device::Wire => "wire",
            Device::Port => "port",
            Device::Cpu => "cpu",
        }
    }

    /// Interface index of this kind's device of port 0. The gaps hold 128 ports, the most there are.
    #[must_use]
    pub const fn ifindex_base(self) -> u32 {
        match self {
            Device::Wire => 1000,
            Device::Port => 2000,
            Device::Cpu => 3000,
        }
    }
}

/// The pair of devices through which `drain` sends its markers: (sender, receiver).
pub const MARKER_DEVICES: (&str, &str) = ("mark0", "mark1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_by_lanes_and_forward_in_pairs() {
        let count = PortCount::default();
        assert_eq!(count.ports().count(), 32);
        let port = count.find("Ethernet16").unwrap();
        assert_eq!(
            (port.index(), port.name(), port.peer().name()),
            (4, "Ethernet16".to_owned(), "Ethernet20".to_owned())
        );
        assert_eq!(port.peer().peer(), port);
        assert_eq!((port.device(Device::Wire), port.ifindex(Device::Wire)), ("wire16".to_owned(), 1004));
    }

    #[test]
    fn the_pool_is_the_last_pair() {
        let names = PortCount::try_from(8).unwrap().pool().map(Port::name);
        assert_eq!(names, ["Ethernet24", "Ethernet28"]);
    }

    #[test]
    fn an_unknown_port_is_answered_with_those_that_exist() {
        let message = PortCount::try_from(4).unwrap().find("Ethernet2").unwrap_err().to_string();
        assert_eq!(message, "port 'Ethernet2' does not exist; this switch has Ethernet0, Ethernet4, … Ethernet12");
    }

    #[test]
    fn odd_small_and_large_switches_are_refused() {
        for text in ["0", "2", "5", "130", "-4", "many"] {
            assert!(text.parse::<PortCount>().is_err(), "{text}");
        }
        for text in ["4", "128"] {
            assert_eq!(text.parse::<PortCount>().unwrap().to_string(), text);
        }
    }
}
