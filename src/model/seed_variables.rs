//! Environment variables of the program before this one: `TELEGEN_ERSPAN_*` stand in for `erspan_*` settings that
//! `TELEGEN|global` does not have. The table wins.
//!
//! Pure: the variables are asked for through a function. Those that have no successor are `daemon::host`'s to warn of.

use super::job::Fields;
use super::schema::{Reason, SettingField};
use super::settings::Settings;
use super::value::{FieldError, printable};

/// The variables, and the settings that they stand in for. The netdev's name was the tunnel's, `REMOTE` its destination.
pub const VARIABLES: [(&str, SettingField); 5] = [
    ("TELEGEN_ERSPAN_NAME", SettingField::ErspanNetdev),
    ("TELEGEN_ERSPAN_REMOTE", SettingField::ErspanDstIp),
    ("TELEGEN_ERSPAN_LOCAL", SettingField::ErspanSrcIp),
    ("TELEGEN_ERSPAN_TTL", SettingField::ErspanTtl),
    ("TELEGEN_ERSPAN_TOS", SettingField::ErspanDscp),
];

/// What of them is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Vec<(&'static str, SettingField, String)>);

impl Variables {
    /// Those that `variable` knows.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Variables {
        let known = VARIABLES.iter().filter_map(|(name, field)| Some((*name, *field, variable(name)?)));
        Variables(known.collect())
    }

    /// Parses the row, with the variables for what it does not say. A variable that cannot be taken is reported by its name.
    #[must_use]
    pub fn settings(&self, row: &Fields) -> (Settings, Vec<FieldError>) {
        let mut fields = row.clone();
        let mut errors = Vec::new();
        for (name, field, text) in &self.0 {
            let in_row = row.contains_key(field.as_str()) || field.is_list() && row.contains_key(&format!("{field}@"));
            match value(name, *field, text) {
                _ if in_row => {}
                Ok(value) => drop(fields.insert(field.to_string(), value)),
                Err(error) => errors.push(error),
            }
        }
        let (settings, of_row) = Settings::parse(&fields);
        errors.extend(of_row);
        (settings, errors)
    }
}

/// The variable's value in the setting's terms.
fn value(name: &str, field: SettingField, text: &str) -> Result<String, FieldError> {
    let refused = |message| FieldError { reason: Reason::InvalidField, field: name.to_owned(), message };
    let value = match field {
        SettingField::ErspanDscp => dscp_of_tos(text).ok_or_else(|| {
            refused(format!(
                "{name}: \"{}\" is not accepted; give the IP header's TOS byte, 0 to 255, whose upper six bits are the DSCP, or set erspan_dscp in TELEGEN|global",
                printable(text)
            ))
        })?,
        _ => text.to_owned(),
    };
    let alone = Fields::from([(field.to_string(), value.clone())]);
    match Settings::parse(&alone).1.first() {
        Some(error) => Err(refused(format!("{name}: {error}"))),
        None => Ok(value),
    }
}

/// RFC 2474 §3: the DSCP is the upper six bits of what was the TOS byte. `ip link` takes it in decimal and in hexadecimal.
fn dscp_of_tos(text: &str) -> Option<String> {
    let tos = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    tos.ok().map(|tos| (tos >> 2).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(row: &[(&str, &str)], variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let row = row.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let (settings, errors) = Variables::read(variable).settings(&row);
        (settings, errors.iter().map(ToString::to_string).collect())
    }

    const ALL: [(&str, &str); 5] = [
        ("TELEGEN_ERSPAN_NAME", "mirror0"),
        ("TELEGEN_ERSPAN_REMOTE", "192.0.2.100"),
        ("TELEGEN_ERSPAN_LOCAL", "192.0.2.10"),
        ("TELEGEN_ERSPAN_TTL", "64"),
        ("TELEGEN_ERSPAN_TOS", "0xb8"),
    ];

    #[test]
    fn variables_stand_in_for_settings_that_the_table_does_not_have() {
        let row = [
            ("erspan_netdev", "mirror0"),
            ("erspan_dst_ip", "192.0.2.100"),
            ("erspan_src_ip@", "192.0.2.10"),
            ("erspan_ttl", "64"),
            ("erspan_dscp", "46"),
        ];
        assert_eq!(parse(&[], &ALL), parse(&row, &[]));
        assert_ne!(parse(&[], &ALL), parse(&[], &[]));
    }

    #[test]
    fn the_table_wins() {
        let row = [
            ("erspan_netdev", "mirror7"),
            ("erspan_dst_ip", "::7"),
            ("erspan_src_ip@", "::8,::9"),
            ("erspan_ttl", "7"),
            ("erspan_dscp", "7"),
        ];
        assert_eq!(parse(&row, &ALL), parse(&row, &[]));
        // A value that cannot be taken means the default, not what somebody wrote somewhere else.
        let (settings, errors) = parse(&[("erspan_ttl", "x")], &ALL);
        assert_eq!((settings.erspan.ttl, errors.len()), (255, 1));
    }

    #[test]
    fn a_variable_that_cannot_be_taken_is_named_and_left_out() {
        let bad = [("TELEGEN_ERSPAN_TOS", "inherit"), ("TELEGEN_ERSPAN_REMOTE", "collector")];
        let (settings, errors) = parse(&[], &bad);
        assert_eq!(settings, Settings::default());
        assert_eq!(
            errors,
            [
                "TELEGEN_ERSPAN_REMOTE: erspan_dst_ip: \"collector\" is not accepted; give an IPv4 or IPv6 address",
                "TELEGEN_ERSPAN_TOS: \"inherit\" is not accepted; give the IP header's TOS byte, 0 to 255, whose upper six bits are the DSCP, or set erspan_dscp in TELEGEN|global"
            ]
        );
    }
}
