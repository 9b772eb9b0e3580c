//! Reads a `MIRROR_SESSION` row: its fields in the order in which Redis holds them, each checked as it comes (`createEntry`,
//! `validateSrcPortList`, `validateDstPort`).

use std::net::{IpAddr, Ipv6Addr};

use super::{Destination, Erspan, NOWHERE, Sampling, SessionSpec, Topology, tokens};
use crate::lab::orchagent::hardware::PortSide;

/// Traffic classes of the virtual-switch SAI: `queue` must be below.
const TRAFFIC_CLASSES: u64 = 16;
/// What ERSPAN sessions have that do not say (`mirrororch.cpp`, MirrorEntry).
const DEFAULT_GRE_TYPE: u16 = 0x88be;
const DEFAULT_DSCP: u8 = 8;
const DEFAULT_TTL: u8 = 255;

/// Why a row makes no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Dropped, with this line in the log and nothing in STATE_DB.
    Invalid {
        /// The line.
        why: String,
        /// The policer that was read before what is wrong: orchagent has counted a user of it already (fact S19).
        policer: Option<String>,
    },
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
    src_port: String,
    sides: Vec<PortSide>,
    rate: u32,
    truncate: u32,
    policer: Option<String>,
}

impl Refusal {
    fn invalid(why: String) -> Refusal {
        Refusal::Invalid { why, policer: None }
    }

    /// It came after a policer.
    fn after(self, read: Option<String>) -> Refusal {
        match self {
            Refusal::Invalid { why, .. } => Refusal::Invalid { why, policer: read },
            Refusal::NoPolicer(policer) => Refusal::NoPolicer(policer),
        }
    }
}

/// What the row asks for. The first field that is wrong decides.
pub(super) fn read(fields: &[(String, String)], topology: &Topology) -> Result<SessionSpec, Refusal> {
    let mut draft = Draft::default();
    for (field, value) in fields {
        draft.read(field, value, topology).map_err(|refusal| refusal.after(draft.policer.clone()))?;
    }
    let policer = draft.policer.clone();
    draft.finish().map_err(|refusal| refusal.after(policer))
}

impl Draft {
    fn read(&mut self, field: &str, value: &str, topology: &Topology) -> Result<(), Refusal> {
        let wrong = || Refusal::invalid(format!("Failed to parse attribute {field} {value:?}"));
        match field {
            "type" => self.span = value == "SPAN",
            "src_ip" => self.source_address = Some(value.parse().map_err(|_| wrong())?),
            "dst_ip" => self.destination_address = Some(value.parse().map_err(|_| wrong())?),
            "gre_type" => self.gre_type = Some(small(value).ok_or_else(wrong)?),
            "dscp" => self.dscp = Some(small(value).filter(|&dscp| dscp < 64).ok_or_else(wrong)?),
            "ttl" => self.ttl = Some(small(value).ok_or_else(wrong)?),
            "queue" => drop(number(value).filter(|&queue| queue < TRAFFIC_CLASSES).ok_or_else(wrong)?),
            "sample_rate" => self.rate = small(value).ok_or_else(wrong)?,
            "truncate_size" => self.truncate = small(value).ok_or_else(wrong)?,
            "policer" if topology.policers.contains(value) => self.policer = Some(value.to_owned()),
            "policer" => return Err(Refusal::NoPolicer(value.to_owned())),
            "src_port" => {
                check_sources(value, topology)?;
                value.clone_into(&mut self.src_port);
            }
            // The CPU port is no front-panel port: fact M2.
            "dst_port" if topology.ports.contains(value) => self.destination_port = Some(value.to_owned()),
            "dst_port" => return Err(Refusal::invalid(format!("Not a front-panel port: dst_port {value:?}"))),
            "direction" => self.sides = sides(value).ok_or_else(wrong)?,
            unknown => return Err(Refusal::invalid(format!("Unknown attribute {unknown}={value}"))),
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionSpec, Refusal> {
        if let (Some(source), Some(destination)) = (self.source_address, self.destination_address)
            && source.is_ipv4() != destination.is_ipv4()
        {
            return Err(Refusal::invalid(format!("src_ip {source} and dst_ip {destination} are of two families")));
        }
        let sampling = match (self.rate, self.truncate) {
            (0, 0) => None,
            // Truncation is done by the sampler, so it needs one that takes every packet.
            (rate, truncate) => Some(Sampling { rate: rate.max(1), truncate }),
        };
        if sampling.is_some() && self.sides.is_empty() {
            return Err(Refusal::invalid("sampling needs a direction".to_owned()));
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
        Ok(SessionSpec { destination, src_port: self.src_port, sides, sampling, policer: self.policer })
    }
}

/// As C's `strtoul` with base 0 reads it: blanks before it, a sign, and octal or hexadecimal by prefix; nothing may follow (fact S23).
fn number(value: &str) -> Option<u64> {
    let value = value.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, digits) = match value.strip_prefix(['-', '+']) {
        Some(digits) => (value.starts_with('-'), digits),
        None => (false, value),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // Rust would take a second sign.
    if !digits.starts_with(|first: char| first.is_digit(base)) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// [`number`], if its field can hold it.
fn small<T: TryFrom<u64>>(value: &str) -> Option<T> {
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

/// Every source must exist, and a LAG have members, none of them named as well. No token is trimmed: a space makes an unknown port (fact M1).
fn check_sources(value: &str, topology: &Topology) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::invalid(format!("src_port {value:?}: {why}")));
    for token in tokens(value) {
        match topology.lags.get(token) {
            Some(members) if members.is_empty() => return refuse(format!("{token} has no members")),
            Some(members) => {
                if let Some(member) = members.iter().find(|member| tokens(value).any(|token| token == *member)) {
                    return refuse(format!("{member} is a member of {token}"));
                }
            }
            None if topology.ports.contains(token) => {}
            None => return refuse(format!("no port {token:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn a_lag_without_members_or_with_a_member_that_is_also_named_is_refused() {
        assert_eq!(
            read("src_port=PortChannel2"),
            Err(Refusal::invalid(r#"src_port "PortChannel2": PortChannel2 has no members"#.to_owned()))
        );
        assert_eq!(
            read("src_port=PortChannel1,Ethernet8"),
            Err(Refusal::invalid(
                r#"src_port "PortChannel1,Ethernet8": Ethernet8 is a member of PortChannel1"#.to_owned()
            ))
        );
    }

    #[test]
    fn the_first_wrong_field_decides() {
        assert!(matches!(read("policer=p1 queue=20"), Err(Refusal::NoPolicer(_))));
        assert!(matches!(read("queue=20 policer=p1"), Err(Refusal::Invalid { .. })));
    }

    #[test]
    fn numbers_stay_within_their_fields() {
        for row in ["dscp=64", "ttl=300", "queue=16", "queue=-1", "gre_type=0x10000", "sample_rate=many"] {
            assert!(matches!(read(row), Err(Refusal::Invalid { .. })), "{row}");
        }
        for row in ["dscp=63", "ttl=255", "queue=15", "gre_type=0x88be", "gre_type=35006"] {
            assert!(read(row).is_ok(), "{row}");
        }
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let read = [
            ("256", 256),
            ("0x100", 256),
            ("0X1f", 31),
            ("010", 8),
            ("0", 0),
            (" 256", 256),
            ("\t+7", 7),
            ("-18446744073709551615", 1),
        ];
        for (text, expected) in read {
            assert_eq!(number(text), Some(expected), "{text:?}");
        }
        assert_eq!(number("-1"), Some(u64::MAX));
        for text in ["", "256 ", "0x", "0x+1", "+-1", "08", "many", "18446744073709551616"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
