//! From a field's text to its value, by the field's rule. Shared by job rows and settings, so that every door says the same
//! of the same mistake.
//!
//! Knows kinds and ranges (`limits`), not what a field is for.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use thiserror::Error;

use super::erspan::GreType;
use super::filter::PortRange;
use super::limits::{Rule, ValueKind};
use super::schema::{IpClass, JobField, Reason};
use super::source_ports::{SOURCE_PORTS_MAX, SourcePorts};

/// A field that cannot be taken: which, what it said, and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct FieldError {
    /// `invalid_field`, `missing_field`, `kind_unavailable` or `mirror_unsupported`.
    pub reason: Reason,
    /// The field's name as the user wrote it.
    pub field: String,
    /// One sentence with field, value and what would be accepted.
    pub message: String,
}

impl FieldError {
    /// The value of `field` is not of its kind.
    pub fn invalid(field: impl Into<String>, value: &str, accepted: &str) -> FieldError {
        let field = field.into();
        let message = format!("{field}: \"{}\" is not accepted; give {accepted}", printable(value));
        FieldError { reason: Reason::InvalidField, field, message }
    }
}

/// IANA protocol numbers of the classes that have exactly one.
pub const IP_PROTOCOL_NUMBERS: [(IpClass, u8); 19] = [
    (IpClass::Icmp, 1),
    (IpClass::Igmp, 2),
    (IpClass::Ipip, 4),
    (IpClass::Tcp, 6),
    (IpClass::Udp, 17),
    (IpClass::Dccp, 33),
    (IpClass::Ipv6, 41),
    (IpClass::Rsvp, 46),
    (IpClass::Gre, 47),
    (IpClass::Esp, 50),
    (IpClass::Ah, 51),
    (IpClass::Icmpv6, 58),
    (IpClass::NoNext, 59),
    (IpClass::Eigrp, 88),
    (IpClass::Ospf, 89),
    (IpClass::Pim, 103),
    (IpClass::Vrrp, 112),
    (IpClass::L2tp, 115),
    (IpClass::Sctp, 132),
];

/// The name of an IP protocol where it has one here, its number otherwise.
#[must_use]
pub fn ip_protocol_name(number: u8) -> String {
    IP_PROTOCOL_NUMBERS
        .iter()
        .find(|(_, known)| *known == number)
        .map_or_else(|| number.to_string(), |(class, _)| class.to_string())
}

/// One value of a field under `rule`, named `name` in the table it came from.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The field's name as the user wrote it.
    pub name: &'a str,
    /// What its value must look like.
    pub kind: ValueKind,
}

impl Reader<'_> {
    /// A reader of `rule`'s field.
    pub fn new<F: Copy + Into<&'static str>>(rule: &Rule<F>) -> Reader<'static> {
        Reader { name: rule.field.into(), kind: rule.kind }
    }

    fn refuse<T>(&self, text: &str) -> Result<T, FieldError> {
        Err(FieldError::invalid(self.name, text, &describe(self.kind)))
    }

    /// A decimal integer within the rule's range.
    ///
    /// # Errors
    /// What is not a number, or is outside the range.
    pub fn integer<T: TryFrom<u64>>(&self, text: &str) -> Result<T, FieldError> {
        let ValueKind::Integer { min, max } = self.kind else { return self.refuse(text) };
        match text.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => T::try_from(number).or_else(|_| self.refuse(text)),
            _ => self.refuse(text),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Any other word.
    pub fn boolean(&self, text: &str) -> Result<bool, FieldError> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => self.refuse(text),
        }
    }

    /// One of the rule's words.
    ///
    /// # Errors
    /// An unknown word; a reserved one with the reason `kind_unavailable` for a kind of job, `mirror_unsupported` for a
    /// mirror method, `invalid_field` otherwise.
    pub fn word<T>(&self, text: &str, from_word: fn(&str) -> Option<T>) -> Result<T, FieldError> {
        if let Some(word) = from_word(text) {
            return Ok(word);
        }
        let ValueKind::Word { accepted, reserved } = self.kind else { return self.refuse(text) };
        if !reserved.contains(&text) {
            return self.refuse(text);
        }
        let reason = match JobField::from_word(self.name) {
            Some(JobField::Kind) => Reason::KindUnavailable,
            Some(JobField::SpanMethod) => Reason::MirrorUnsupported,
            _ => Reason::InvalidField,
        };
        let message =
            format!("{}: \"{text}\" is reserved and not built into this version; give {}", self.name, one_of(accepted));
        Err(FieldError { reason, field: self.name.to_owned(), message })
    }

    /// A protocol name or number.
    ///
    /// # Errors
    /// An unknown name, or a number above 255.
    pub fn ip_protocol(&self, text: &str) -> Result<u8, FieldError> {
        let named = IP_PROTOCOL_NUMBERS.iter().find(|(class, _)| class.as_str().eq_ignore_ascii_case(text));
        match named {
            Some((_, number)) => Ok(*number),
            None => text.parse().or_else(|_| self.refuse(text)),
        }
    }

    /// A port, or a range `lo-hi`.
    ///
    /// # Errors
    /// What is no port, and a range whose ends are swapped.
    pub fn port_range(&self, text: &str) -> Result<PortRange, FieldError> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (Ok(low), Ok(high)) = (low.trim().parse(), high.trim().parse()) else { return self.refuse(text) };
        PortRange::new(low, high).map_or_else(|| self.refuse(text), Ok)
    }

    /// Names of ports and port channels.
    ///
    /// # Errors
    /// What is no name, too many of them, or a space between.
    pub fn ports(&self, text: &str) -> Result<SourcePorts, FieldError> {
        SourcePorts::parse(text).map_or_else(|| self.refuse(text), Ok)
    }

    /// A prefix; host bits are cleared. An address stands for itself alone.
    ///
    /// # Errors
    /// What is no IPv4 or IPv6 prefix.
    pub fn prefix(&self, text: &str) -> Result<IpNet, FieldError> {
        let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        parsed.map_or_else(|| self.refuse(text), |net| Ok(net.trunc()))
    }

    /// An address.
    ///
    /// # Errors
    /// What is no IPv4 or IPv6 address.
    pub fn address(&self, text: &str) -> Result<IpAddr, FieldError> {
        text.parse().or_else(|_| self.refuse(text))
    }

    /// An instant.
    ///
    /// # Errors
    /// What is not RFC 3339.
    pub fn timestamp(&self, text: &str) -> Result<Timestamp, FieldError> {
        text.parse().or_else(|_| self.refuse(text))
    }

    /// A GRE protocol type, decimal or hexadecimal.
    ///
    /// # Errors
    /// What is no number, and one in which no copies can come.
    pub fn gre_type(&self, text: &str) -> Result<GreType, FieldError> {
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.ok().and_then(GreType::from_number).map_or_else(|| self.refuse(text), Ok)
    }

    /// Text, names, paths and endpoints: checked for their form only.
    ///
    /// # Errors
    /// What is too long, empty where it must not be, or not printable.
    pub fn text(&self, text: &str) -> Result<String, FieldError> {
        let printable = !text.chars().any(char::is_control);
        let well_formed = printable
            && match self.kind {
                ValueKind::Text { max_chars } => text.chars().count() <= max_chars,
                ValueKind::Netdev => is_netdev(text),
                ValueKind::Path => text.starts_with('/'),
                ValueKind::Endpoint => is_endpoint(text),
                ValueKind::Listen => {
                    text.starts_with('/') || text.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback())
                }
                ValueKind::PortNames
                | ValueKind::Integer { .. }
                | ValueKind::Boolean
                | ValueKind::Word { .. }
                | ValueKind::IpProtocol
                | ValueKind::PortRange
                | ValueKind::Prefix
                | ValueKind::IpAddress
                | ValueKind::Timestamp
                | ValueKind::GreType => false,
            };
        if well_formed { Ok(text.to_owned()) } else { self.refuse(text) }
    }
}

/// The items of a list field: separated by commas, spaces around them ignored, empty ones dropped.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// What a kind accepts, in words that continue "give …".
#[must_use]
pub fn describe(kind: ValueKind) -> String {
    match kind {
        ValueKind::PortNames => format!(
            "the name of a port or port channel, such as Ethernet16, or up to {SOURCE_PORTS_MAX} of them with commas and no spaces between"
        ),
        ValueKind::Integer { min, max } => format!("an integer from {min} to {max}"),
        ValueKind::Boolean => "true or false".to_owned(),
        ValueKind::Word { accepted, .. } => one_of(accepted),
        ValueKind::IpProtocol => {
            let names: Vec<&str> = IP_PROTOCOL_NUMBERS.iter().map(|(class, _)| class.as_str()).collect();
            format!("a number from 0 to 255, or {}", one_of(&names))
        }
        ValueKind::PortRange => "a port from 0 to 65535 or a range such as 1024-2048".to_owned(),
        ValueKind::Prefix => "an IPv4 or IPv6 prefix such as 10.0.0.0/8 or 2001:db8::/32".to_owned(),
        ValueKind::IpAddress => "an IPv4 or IPv6 address".to_owned(),
        ValueKind::Timestamp => "an RFC 3339 time such as 2026-01-31T03:00:00Z".to_owned(),
        ValueKind::Text { max_chars } => format!("at most {max_chars} printable characters"),
        ValueKind::Endpoint => "host:port, with http:// or https:// before it if you like".to_owned(),
        ValueKind::Listen => {
            "an absolute path for a unix socket, or a loopback address such as 127.0.0.1:8080".to_owned()
        }
        ValueKind::Netdev => "the name of a network device, 1 to 15 characters".to_owned(),
        ValueKind::GreType => one_of(&GreType::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>()),
        ValueKind::Path => "an absolute path".to_owned(),
    }
}

/// Control characters never reach a terminal or a log by way of a message; long values are cut.
#[must_use]
pub fn printable(value: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    let mut text = without_controls(value.chars().take(SHOWN_CHARS));
    if value.chars().count() > SHOWN_CHARS {
        text.push('…');
    }
    text
}

/// The same text on one line and without orders to a terminal, whatever its length.
pub fn without_controls(text: impl Iterator<Item = char>) -> String {
    text.map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '\u{fffd}' } else { c }).collect()
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Linux `dev_valid_name`: IFNAMSIZ is 16 with the terminating zero; no slash, colon or white space.
fn is_netdev(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
}

fn is_endpoint(text: &str) -> bool {
    let authority = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let authority = authority.split('/').next().unwrap_or_default();
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_ok = !host.is_empty() && !host.contains(char::is_whitespace) && (bracketed || !host.contains(':'));
    host_ok && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
