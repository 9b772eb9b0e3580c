//! What a mirror session is to orchagent: where its copies go, of which ports and sides they are, and what STATE_DB says of it.
//!
//! Source: sonic-swss `mirrororch.cpp`, and the observations of the real orchagent that the tests number. Pure; whether the session becomes
//! active is `core`'s business, and `row` reads the row that asks for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::hardware::PortSide;
use super::messages::OrderedFields;
use super::prefix::{NextHop, Prefix};

mod row;

pub use row::Refusal;

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
    /// `type SPAN` without `dst_port`, the first half of a row written field by field: never active (fact M9).
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

/// Sampling, which makes orchagent bind the port through a SAMPLEPACKET object (fact M4).
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
    /// `src_port` as it was written: LAGs are looked for in it by substring (fact S17).
    pub src_port: String,
    /// Which of the sources' traffic is copied; empty without `direction` (fact M1).
    pub sides: Vec<PortSide>,
    /// Sampling, if asked for.
    pub sampling: Option<Sampling>,
    /// The policer, if asked for.
    pub policer: Option<String>,
}

/// Ports and sides of a session, in the order in which orchagent goes through them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// LAGs expanded to their members of now.
    pub found: VecDeque<(String, PortSide)>,
    /// The first source that does not exist any more; orchagent goes no further.
    pub missing: Option<String>,
}

impl SessionSpec {
    /// Reads a row. The first field that is wrong decides, so the order of the fields matters.
    ///
    /// # Errors
    /// The row is refused; see [`Refusal`].
    pub fn read(fields: &[(String, String)], topology: &Topology) -> Result<SessionSpec, Refusal> {
        row::read(fields, topology)
    }

    /// The ports and sides of its sources, as things are now.
    #[must_use]
    pub fn slots(&self, topology: &Topology) -> Slots {
        let mut slots = Slots::default();
        if self.sides.is_empty() {
            return slots;
        }
        for token in tokens(&self.src_port) {
            let Some(ports) = topology.ports_of(token) else {
                slots.missing = Some(token.to_owned());
                break;
            };
            slots.found.extend(ports.iter().flat_map(|port| self.sides.iter().map(|&side| (port.clone(), side))));
        }
        slots
    }

    /// Whether a port that joins or leaves `lag` is bound or unbound (`updateLagMember`): the name is looked for by substring, so that
    /// `PortChannel1` is found in `PortChannel10`.
    #[must_use]
    pub fn follows(&self, lag: &str, member: &str) -> bool {
        self.src_port.contains(lag) && !tokens(&self.src_port).any(|token| token == member)
    }

    /// Its STATE_DB row, with the way of an ERSPAN session's copies. Facts 1, 4 and 21.
    #[must_use]
    pub fn row(&self, status: &str, way: &Way) -> OrderedFields {
        let mut row = vec![
            ("status".to_owned(), status.to_owned()),
            ("monitor_port".to_owned(), way.monitor_port.clone()),
            ("dst_mac".to_owned(), way.mac.clone()),
            ("route_prefix".to_owned(), way.prefix.to_string()),
            ("vlan_id".to_owned(), "0".to_owned()),
            ("next_hop_ip".to_owned(), way.next_hop.to_string()),
        ];
        if let Some(sampling) = self.sampling {
            let fields = [("sample_rate", sampling.rate), ("truncate_size", sampling.truncate)];
            row.extend(
                fields
                    .iter()
                    .filter(|(_, value)| *value > 0)
                    .map(|(name, value)| ((*name).to_owned(), value.to_string())),
            );
        }
        row
    }
}

/// The way of a session's copies, as orchagent last knew it: what an inactive session has is stale (fact M6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The route that leads to the destination.
    pub prefix: Prefix,
    /// Its next hop.
    pub next_hop: NextHop,
    /// The front-panel port; empty as long as there was none.
    pub monitor_port: String,
    /// The neighbour's MAC address; zeros as long as there was none.
    pub mac: String,
}

impl Way {
    /// Nothing is known of the way to `address`; SPAN sessions have that of [`NOWHERE`].
    #[must_use]
    pub fn unknown(address: IpAddr) -> Way {
        Way {
            prefix: Prefix::default_for(address),
            next_hop: NextHop::none_for(address),
            monitor_port: String::new(),
            mac: "00:00:00:00:00:00".to_owned(),
        }
    }
}

impl Topology {
    /// The ports that a name stands for; `None` if there is neither a port nor a LAG of that name.
    #[must_use]
    pub fn ports_of(&self, name: &str) -> Option<Vec<String>> {
        match self.lags.get(name) {
            Some(members) => Some(members.iter().cloned().collect()),
            None => self.ports.contains(name).then(|| vec![name.to_owned()]),
        }
    }
}

/// The items of a list as C++ `getline` cuts it: an empty list has none, and a trailing comma adds none (fact S23).
fn tokens(list: &str) -> impl Iterator<Item = &str> {
    let items = (!list.is_empty()).then(|| list.strip_suffix(',').unwrap_or(list).split(','));
    items.into_iter().flatten()
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

    pub(super) fn read(row: &str) -> Result<SessionSpec, Refusal> {
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
        let expected = ["Ethernet4", "Ethernet8", "Ethernet0"].map(|port| (port.to_owned(), PortSide::Rx));
        assert_eq!(spec.slots(&topology()), Slots { found: expected.into(), missing: None });
        let mut shrunk = topology();
        shrunk.lags.remove("PortChannel1");
        let expected = Slots { found: VecDeque::new(), missing: Some("PortChannel1".to_owned()) };
        assert_eq!(spec.slots(&shrunk), expected);
    }

    #[test]
    fn a_list_ends_at_its_last_comma() {
        let list = |text| tokens(text).collect::<Vec<_>>();
        assert_eq!(list(""), [""; 0]);
        assert_eq!(list("a"), ["a"]);
        assert_eq!(list("a,"), ["a"]);
        assert_eq!(list("a,,b"), ["a", "", "b"]);
        assert_eq!(list(","), [""]);
    }
}
