//! The ports that one job observes, as one value: a name, or several with commas between, which is how orchagent's `src_port` lists them.
//!
//! Well-formed names only; whether a port exists is `admission`'s to say.

use std::collections::BTreeSet;
use std::fmt;

/// Ports and port channels in one job at the most: as many as the uplinks of a leaf, and a row that a person can still read.
pub const SOURCE_PORTS_MAX: usize = 16;

/// One to [`SOURCE_PORTS_MAX`] names, none of them twice, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePorts(String);

impl SourcePorts {
    /// Accepts names with commas between and nothing else: orchagent takes a space for a part of a name (observed fact M1). A name that is
    /// repeated counts once.
    #[must_use]
    pub fn parse(text: &str) -> Option<SourcePorts> {
        let mut seen = BTreeSet::new();
        let names: Vec<&str> = text.split(',').filter(|name| seen.insert(*name)).collect();
        let well_formed = text.split(',').count() <= SOURCE_PORTS_MAX && names.iter().all(|name| is_port_name(name));
        well_formed.then(|| SourcePorts(names.join(",")))
    }

    /// The names with commas between, as they stand in tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }

    /// The name, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        (!self.0.contains(',')).then_some(&self.0)
    }
}

impl fmt::Display for SourcePorts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// sonic-types.yang `interface_name`: letters, digits and `-_.`; 1 to 32 characters keep keys short.
fn is_port_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What sorts names as people count: `Ethernet4` before `Ethernet16`.
#[must_use]
pub fn natural(name: &str) -> (String, u64) {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    (name[..name.len() - digits.len()].to_owned(), digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::SourcePorts;

    fn parsed(text: &str) -> Option<String> {
        SourcePorts::parse(text).map(|ports| ports.to_string())
    }

    #[test]
    fn names_keep_their_order_and_none_is_there_twice() {
        assert_eq!(parsed("Ethernet8,Ethernet0,Ethernet8").as_deref(), Some("Ethernet8,Ethernet0"));
        let ports = SourcePorts::parse("Ethernet8,PortChannel1").expect("two names");
        assert_eq!((ports.names().collect::<Vec<_>>(), ports.only()), (vec!["Ethernet8", "PortChannel1"], None));
        assert_eq!(SourcePorts::parse("Ethernet8").expect("a name").only(), Some("Ethernet8"));
    }

    #[test]
    fn spaces_gaps_and_too_many_names_are_refused() {
        let ports = |count: usize| (0..count).map(|number| format!("Ethernet{number}")).collect::<Vec<_>>().join(",");
        for bad in ["", "Ethernet0, Ethernet8", "Ethernet0,", ",Ethernet0", "Ethernet0,,Ethernet8", &ports(17)] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
        assert_eq!(parsed(&ports(16)), Some(ports(16)));
    }
}
