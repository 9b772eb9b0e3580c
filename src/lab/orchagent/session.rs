//! What a `MIRROR_SESSION` row means to orchagent: its fields in the order in which Redis holds them, each checked as it comes.
//!
//! Source: sonic-swss `mirrororch.cpp` (`createEntry`, `validateSrcPortList`, `validateDstPort`), and the observations of the real
//! orchagent that the tests number. Pure; whether the session becomes active is `core`'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hardware::PortSide;
use super::messages::OrderedFields;

/// Traffic classes of the virtual-switch SAI: `queue` must be below.
const TRAFFIC_CLASSES: u8 = 16;
/// What ERSPAN sessions have that do not say (`mirrororch.cpp`, MirrorEntry).
const DEFAULT_GRE_TYPE: u16 = 0x88be;
const DEFAULT_DSCP: u8 = 8;
const DEFAULT_TTL: u8 = 255;
/// The next hop of a session that names none.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What orchagent knows when it reads a session.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Front-panel ports.
    pub ports: BTreeSet<String>,
    /// Link aggregation groups and their members.
    pub lags: BTreeMap<String, BTreeSet<String>>,
    /// Policers.
    pub policers: BTreeSet<String>,
}

/// Where the copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `type SPAN`: to a front-panel port.
    Span {
        /// The port.
        port: String,
    },
    /// `type SPAN` without `dst_port`, the first half of a row written field by field: never active (fact 9).
    SpanToNowhere,
    /// Every other type, and none: encapsulated to an address, once its neighbour is known.
    Erspan(Erspan),
}

/// What an ERSPAN session's copies are wrapped into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erspan {
    /// `src_ip`; nothing of `dst_ip`'s family if it was not given.
    pub src: IpAddr,
    /// `dst_ip`; [`NOWHERE`] if it was not given.
    pub dst: IpAddr,
    /// `gre_type`.
    pub gre_type: u16,
    /// `dscp`.
    pub dscp: u8,
    /// `ttl`.
    pub ttl: u8,
}

/// Sampling, which makes orchagent bind the port through a SAMPLEPACKET object (fact 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// 1 of so many.
    pub rate: u32,
    /// Bytes; 0 leaves copies whole.
    pub truncate: u32,
}

/// A session that orchagent accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Where the copies go.
    pub destination: Destination,
    /// Ports and sides whose traffic is copied, LAGs expanded; empty without `src_port` or without `direction` (fact 1).
    pub slots: Vec<(String, PortSide)>,
    /// Sampling, if asked for.
    pub sampling: Option<Sampling>,
}

/// Why a row makes no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Dropped, with this line in the log and nothing in STATE_DB.
    Invalid(String),
    /// The policer does not exist: tried again for ever.
    NoPolicer(String),
}

/// The fields read so far.
#[derive(Default)]
struct Draft {
    span: bool,
    destination_port: Option<String>,
    source_address: Option<IpAddr>,
    destination_address: Option<IpAddr>,
    gre_type: Option<u16>,
    dscp: Option<u8>,
    ttl: Option<u8>,
    sources: Vec<String>,
    sides: Vec<PortSide>,
    rate: u32,
    truncate: u32,
}

impl SessionSpec {
    /// Reads a row. The first field that is wrong decides, so the order of the fields matters.
    ///
    /// # Errors
    /// The row is refused; see [`Refusal`].
    pub fn read(fields: &[(String, String)], topology: &Topology) -> Result<SessionSpec, Refusal> {
        let mut draft = Draft::default();
        for (field, value) in fields {
            draft.read(field, value, topology)?;
        }
        draft.finish()
    }

    /// The STATE_DB row of a new session: fact 1, with the next hop's family, and fact 4.
    #[must_use]
    pub fn inactive_row(&self) -> OrderedFields {
        let v6 = matches!(self.destination, Destination::Erspan(erspan) if erspan.dst.is_ipv6());
        let nowhere = if v6 { "::" } else { "0.0.0.0" };
        self.row("inactive", ("", "00:00:00:00:00:00"), format!("{nowhere}/0"), format!("{nowhere}@"))
    }

    /// The STATE_DB row of an active session, with the interface and MAC address of an ERSPAN session's neighbour.
    #[must_use]
    pub fn active_row(&self, neighbour: Option<&(String, String)>) -> OrderedFields {
        match (&self.destination, neighbour) {
            (Destination::Erspan(Erspan { dst: address, .. }), Some((interface, mac))) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                let next_hop = format!("{address}@{interface}");
                self.row("active", (interface, mac), format!("{address}/{bits}"), next_hop)
            }
            (Destination::Erspan(_) | Destination::Span { .. } | Destination::SpanToNowhere, _) => {
                self.row("active", ("", "00:00:00:00:00:00"), "0.0.0.0/0".to_owned(), "0.0.0.0@".to_owned())
            }
        }
    }

    fn row(&self, status: &str, towards: (&str, &str), prefix: String, next_hop: String) -> OrderedFields {
        let mut row = vec![
            ("status".to_owned(), status.to_owned()),
            ("monitor_port".to_owned(), towards.0.to_owned()),
            ("dst_mac".to_owned(), towards.1.to_owned()),
            ("route_prefix".to_owned(), prefix),
            ("vlan_id".to_owned(), "0".to_owned()),
            ("next_hop_ip".to_owned(), next_hop),
        ];
        if let Some(sampling) = self.sampling {
            row.push(("sample_rate".to_owned(), sampling.rate.to_string()));
            row.push(("truncate_size".to_owned(), sampling.truncate.to_string()));
        }
        row
    }
}

impl Draft {
    fn read(&mut self, field: &str, value: &str, topology: &Topology) -> Result<(), Refusal> {
        let wrong = || Refusal::Invalid(format!("Failed to parse attribute {field} {value:?}"));
        match field {
            "type" => self.span = value == "SPAN",
            "src_ip" => self.source_address = Some(value.parse().map_err(|_| wrong())?),
            "dst_ip" => self.destination_address = Some(value.parse().map_err(|_| wrong())?),
            "gre_type" => self.gre_type = Some(small(value).ok_or_else(wrong)?),
            "dscp" => self.dscp = Some(small(value).filter(|&dscp| dscp < 64).ok_or_else(wrong)?),
            "ttl" => self.ttl = Some(small(value).ok_or_else(wrong)?),
            "queue" => drop(number(value).filter(|&queue| queue < u32::from(TRAFFIC_CLASSES)).ok_or_else(wrong)?),
            "sample_rate" => self.rate = number(value).ok_or_else(wrong)?,
            "truncate_size" => self.truncate = number(value).ok_or_else(wrong)?,
            "policer" if topology.policers.contains(value) => {}
            "policer" => return Err(Refusal::NoPolicer(value.to_owned())),
            "src_port" => self.sources = sources(value, topology)?,
            // The CPU port is no front-panel port: fact 2.
            "dst_port" if topology.ports.contains(value) => self.destination_port = Some(value.to_owned()),
            "dst_port" => return Err(Refusal::Invalid(format!("Not a front-panel port: dst_port {value:?}"))),
            "direction" => self.sides = sides(value).ok_or_else(wrong)?,
            unknown => return Err(Refusal::Invalid(format!("Unknown attribute {unknown}={value}"))),
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionSpec, Refusal> {
        if let (Some(source), Some(destination)) = (self.source_address, self.destination_address)
            && source.is_ipv4() != destination.is_ipv4()
        {
            return Err(Refusal::Invalid(format!("src_ip {source} and dst_ip {destination} are of two families")));
        }
        let sampling = match (self.rate, self.truncate) {
            (0, 0) => None,
            // Truncation is done by the sampler, so it needs one that takes every packet.
            (rate, truncate) => Some(Sampling { rate: rate.max(1), truncate }),
        };
        if sampling.is_some() && self.sides.is_empty() {
            return Err(Refusal::Invalid("sampling needs a direction".to_owned()));
        }
        let destination = match (self.span, self.destination_port) {
            (true, Some(port)) => Destination::Span { port },
            (true, None) => Destination::SpanToNowhere,
            (false, _) => {
                let dst = self.destination_address.unwrap_or(NOWHERE);
                let unspecified = if dst.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { NOWHERE };
                Destination::Erspan(Erspan {
                    src: self.source_address.unwrap_or(unspecified),
                    dst,
                    gre_type: self.gre_type.unwrap_or(DEFAULT_GRE_TYPE),
                    dscp: self.dscp.unwrap_or(DEFAULT_DSCP),
                    ttl: self.ttl.unwrap_or(DEFAULT_TTL),
                })
            }
        };
        let sides: Vec<PortSide> = match sampling {
            None => self.sides,
            Some(_) => self.sides.into_iter().map(sampled).collect(),
        };
        let slots = self.sources.iter().flat_map(|port| sides.iter().map(|&side| (port.clone(), side))).collect();
        Ok(SessionSpec { destination, slots, sampling })
    }
}

/// Decimal, or hexadecimal with `0x`.
fn number(value: &str) -> Option<u32> {
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// [`number`], if its field can hold it.
fn small<T: TryFrom<u32>>(value: &str) -> Option<T> {
    T::try_from(number(value)?).ok()
}

/// Exactly these three words; not lower case, not empty.
fn sides(direction: &str) -> Option<Vec<PortSide>> {
    match direction {
        "RX" => Some(vec![PortSide::Rx]),
        "TX" => Some(vec![PortSide::Tx]),
        "BOTH" => Some(vec![PortSide::Rx, PortSide::Tx]),
        _ => None,
    }
}

fn sampled(side: PortSide) -> PortSide {
    match side {
        PortSide::Rx | PortSide::SampledRx => PortSide::SampledRx,
        PortSide::Tx | PortSide::SampledTx => PortSide::SampledTx,
    }
}

/// The ports of `src_port`, LAGs replaced by their members. No token is trimmed: a space makes an unknown port (fact 1).
fn sources(value: &str, topology: &Topology) -> Result<Vec<String>, Refusal> {
    let tokens: BTreeSet<&str> = value.split(',').collect();
    let mut ports = BTreeSet::new();
    for &token in &tokens {
        match topology.lags.get(token) {
            Some(members) if members.is_empty() => {
                return Err(Refusal::Invalid(format!("src_port {value:?}: {token} has no members")));
            }
            Some(members) => {
                if let Some(member) = members.iter().find(|member| tokens.contains(member.as_str())) {
                    return Err(Refusal::Invalid(format!("src_port {value:?}: {member} is a member of {token}")));
                }
                ports.extend(members.iter().cloned());
            }
            None if topology.ports.contains(token) => drop(ports.insert(token.to_owned())),
            None => return Err(Refusal::Invalid(format!("src_port {value:?}: no port {token:?}"))),
        }
    }
    Ok(ports.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology {
            ports: ["Ethernet0", "Ethernet4", "Ethernet8"].map(str::to_owned).into(),
            lags: BTreeMap::from([
                ("PortChannel1".to_owned(), BTreeSet::from(["Ethernet4".to_owned(), "Ethernet8".to_owned()])),
                ("PortChannel2".to_owned(), BTreeSet::new()),
            ]),
            policers: BTreeSet::new(),
        }
    }

    fn read(row: &str) -> Result<SessionSpec, Refusal> {
        let fields: Vec<(String, String)> = row
            .split(' ')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect();
        SessionSpec::read(&fields, &topology())
    }

    #[test]
    fn a_lag_stands_for_its_members() {
        let spec = read("type=SPAN src_port=PortChannel1,Ethernet0 dst_port=Ethernet8 direction=RX").unwrap();
        let expected = ["Ethernet0", "Ethernet4", "Ethernet8"].map(|port| (port.to_owned(), PortSide::Rx));
        assert_eq!(spec.slots, expected);
    }

    #[test]
    fn a_lag_without_members_or_with_a_member_that_is_also_named_is_refused() {
        assert_eq!(
            read("src_port=PortChannel2"),
            Err(Refusal::Invalid(r#"src_port "PortChannel2": PortChannel2 has no members"#.to_owned()))
        );
        assert_eq!(
            read("src_port=PortChannel1,Ethernet8"),
            Err(Refusal::Invalid(
                r#"src_port "PortChannel1,Ethernet8": Ethernet8 is a member of PortChannel1"#.to_owned()
            ))
        );
    }

    #[test]
    fn the_first_wrong_field_decides() {
        assert!(matches!(read("policer=p1 queue=20"), Err(Refusal::NoPolicer(_))));
        assert!(matches!(read("queue=20 policer=p1"), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn numbers_stay_within_their_fields() {
        for row in ["dscp=64", "ttl=300", "queue=16", "queue=-1", "gre_type=0x10000", "sample_rate=many"] {
            assert!(matches!(read(row), Err(Refusal::Invalid(_))), "{row}");
        }
        for row in ["dscp=63", "ttl=255", "queue=15", "gre_type=0x88be", "gre_type=35006"] {
            assert!(read(row).is_ok(), "{row}");
        }
    }
}
