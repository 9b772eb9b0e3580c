//! `TELEGEN_FLOW_TABLE`: one of a job's largest flows.

use jiff::Timestamp;

use super::{Row, RowError};
use crate::model::counter::Counter;
use crate::model::job::{Fields, rfc3339};
use crate::model::report::FlowRow;
use crate::model::schema::{FlowField, state_db};
use crate::model::value::IP_PROTOCOL_NUMBERS;

/// The row of a flow.
#[must_use]
pub fn write(row: &FlowRow) -> Fields {
    let value = |field: &FlowField| match field {
        FlowField::Src => row.src.clone(),
        FlowField::Dst => row.dst.clone(),
        FlowField::L4Sport => row.l4_sport.to_string(),
        FlowField::L4Dport => row.l4_dport.to_string(),
        FlowField::IpProto => row.ip_proto.to_string(),
        FlowField::Vlan => row.vlan.to_string(),
        FlowField::Packets => row.analysed.packets.to_string(),
        FlowField::Bytes => row.analysed.bytes.to_string(),
        FlowField::PacketsEst => row.estimated.packets.to_string(),
        FlowField::BytesEst => row.estimated.bytes.to_string(),
        FlowField::PacketsErr95 => row.packets_err95.to_string(),
        FlowField::FirstSeen => rfc3339(row.first_seen),
        FlowField::LastSeen => rfc3339(row.last_seen),
    };
    FlowField::ALL.iter().map(|field| (field.to_string(), value(field))).collect()
}

/// Reads a row; `key` is `<id>|<rank>`, for messages.
///
/// # Errors
/// A field is missing or holds something other than it should.
pub fn parse(key: &str, fields: &Fields) -> Result<FlowRow, RowError> {
    const WHOLE: &str = "a whole number";
    let row = Row { table: state_db::FLOW, key, fields };
    let count = |field: FlowField| row.number::<u64>(field.as_str(), WHOLE).map(Option::unwrap_or_default);
    let port = |field: FlowField| row.number::<u16>(field.as_str(), "a port number").map(Option::unwrap_or_default);
    let instant = |field: FlowField| {
        let value: Option<Timestamp> = row.number(field.as_str(), "an RFC 3339 time")?;
        value.ok_or_else(|| row.error(field.as_str(), "an RFC 3339 time"))
    };
    let address = |field: FlowField| {
        row.text(field.as_str()).map(str::to_owned).ok_or_else(|| row.error(field.as_str(), "an address"))
    };
    let protocol = row.text(FlowField::IpProto.as_str()).unwrap_or_default();
    let named = IP_PROTOCOL_NUMBERS.iter().find(|(class, _)| class.as_str() == protocol).map(|(_, number)| *number);
    let src = address(FlowField::Src)?;
    Ok(FlowRow {
        is_ipv6: src.contains(':'),
        src,
        dst: address(FlowField::Dst)?,
        l4_sport: port(FlowField::L4Sport)?,
        l4_dport: port(FlowField::L4Dport)?,
        ip_proto: named
            .or_else(|| protocol.parse().ok())
            .ok_or_else(|| row.error(FlowField::IpProto.as_str(), "an IP protocol"))?,
        vlan: port(FlowField::Vlan)?,
        analysed: Counter { packets: count(FlowField::Packets)?, bytes: count(FlowField::Bytes)? },
        estimated: Counter { packets: count(FlowField::PacketsEst)?, bytes: count(FlowField::BytesEst)? },
        packets_err95: count(FlowField::PacketsErr95)?,
        first_seen: instant(FlowField::FirstSeen)?,
        last_seen: instant(FlowField::LastSeen)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> FlowRow {
        let at = |text: &str| text.parse().expect("a time");
        FlowRow {
            src: "2001:db8::1".to_owned(),
            dst: "2001:db8::2".to_owned(),
            is_ipv6: true,
            l4_sport: 40_000,
            l4_dport: 443,
            ip_proto: 6,
            vlan: 7,
            analysed: Counter { packets: 8, bytes: 900 },
            estimated: Counter { packets: 80, bytes: 9_000 },
            packets_err95: 10,
            first_seen: at("2026-01-31T03:00:00.001Z"),
            last_seen: at("2026-01-31T03:00:01.999Z"),
        }
    }

    #[test]
    fn a_row_is_read_back_as_the_flow_it_was_made_of() {
        assert_eq!(parse("a|1", &write(&flow())), Ok(flow()));
    }

    #[test]
    fn a_flow_names_its_protocol_by_word_or_number() {
        let protocol = |text: &str| {
            let mut row = write(&flow());
            row.insert(FlowField::IpProto.to_string(), text.to_owned());
            parse("a|1", &row).map(|flow| flow.ip_proto)
        };
        assert_eq!((protocol("tcp"), protocol("254")), (Ok(6), Ok(254)));
        assert_eq!(protocol("tpc").unwrap_err().field, "ip_proto");
    }
}
