//! Rows of STATE_DB as values: what a job, its results, its flows, its histograms and the daemon say of themselves.
//!
//! Pure. The other direction (values to rows) is `sink::state_db`'s; a field that is absent or empty was not measured, or is zero
//! where the contract leaves zeros out.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::job::Fields;
use crate::model::report::FlowRow;
use crate::model::rows::RowError;
use crate::model::sample::{Counter, Histogram};
use crate::model::schema::{
    FlowField, HistogramField, HistogramName, JobField, Reason, Status, StatusField, Warning, state_db,
};
use crate::model::value::{IP_PROTOCOL_NUMBERS, items, printable};

/// A daemon whose heartbeat is older is taken for dead: three heartbeats of 5 s.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(15);

/// A row of `TELEGEN_JOB_TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// The job's id, as its user wrote it.
    pub id: String,
    /// Where it is.
    pub status: Status,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// What its user should know.
    pub warnings: Vec<Warning>,
    /// Every field of the row as it stands.
    pub fields: Fields,
}

impl JobRow {
    /// Reads a row.
    ///
    /// # Errors
    /// `status`, `reason` or `warning` hold a word that this version does not know.
    pub fn parse(id: &str, fields: Fields) -> Result<JobRow, RowError> {
        let row = Row { table: state_db::JOB, key: id, fields: &fields };
        let status = row.word(StatusField::Status.as_str(), Status::from_word, "a job's status")?;
        let status = status.ok_or_else(|| row.error(StatusField::Status.as_str(), "a job's status"))?;
        let reason = row.word(StatusField::Reason.as_str(), Reason::from_word, "a reason")?;
        let named = row.text(StatusField::Warning.as_str()).unwrap_or_default();
        let warnings: Option<Vec<Warning>> = items(named).map(Warning::from_word).collect();
        let warnings = warnings.ok_or_else(|| row.error(StatusField::Warning.as_str(), "a list of warnings"))?;
        Ok(JobRow { id: id.to_owned(), status, reason, warnings, fields })
    }

    /// One of the job's own fields; `None` if it is absent or empty.
    #[must_use]
    pub fn job_field(&self, field: JobField) -> Option<&str> {
        let value = self.fields.get(&field.table_name()).or_else(|| self.fields.get(field.as_str()));
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// One of the fields that the daemon adds; `None` if it is absent or empty.
    #[must_use]
    pub fn added(&self, field: StatusField) -> Option<&str> {
        self.fields.get(field.as_str()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The sentence that explains the status; empty if there is none.
    #[must_use]
    pub fn message(&self) -> &str {
        self.added(StatusField::Message).unwrap_or_default()
    }

    /// The instant in `field`; `None` if it is absent or unreadable.
    #[must_use]
    pub fn instant(&self, field: StatusField) -> Option<Timestamp> {
        self.added(field)?.parse().ok()
    }
}

/// Reads a row of `TELEGEN_FLOW_TABLE`; `key` is `<id>|<rank>`, for messages.
///
/// # Errors
/// A field is missing or holds something other than it should.
pub fn parse_flow(key: &str, fields: &Fields) -> Result<FlowRow, RowError> {
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

/// A row of `TELEGEN_HISTOGRAM_TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramRow {
    /// Which histogram.
    pub name: HistogramName,
    /// UCUM unit of the values: `By`, `ns`.
    pub unit: String,
    /// Upper bounds, ascending; a value equal to a bound is within it.
    pub bounds: Vec<u64>,
    /// One more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: u64,
    /// How many values.
    pub count: u64,
    /// One of this many values is in it; `None` in a row of a version that did not say so.
    pub sample_rate: Option<u32>,
}

impl HistogramRow {
    /// The row that a histogram in memory has, or will have.
    #[must_use]
    pub fn of(name: HistogramName, histogram: &Histogram, sample_rate: u32) -> HistogramRow {
        HistogramRow {
            name,
            unit: name.unit().to_owned(),
            bounds: histogram.bounds.to_vec(),
            counts: histogram.counts.clone(),
            sum: histogram.sum,
            count: histogram.count,
            sample_rate: Some(sample_rate),
        }
    }

    /// Reads the row at `<id>|<name>`.
    ///
    /// # Errors
    /// A field holds something other than numbers, or bounds and counts do not belong together.
    pub fn parse(id: &str, name: HistogramName, fields: &Fields) -> Result<HistogramRow, RowError> {
        let key = format!("{id}|{name}");
        let row = Row { table: state_db::HISTOGRAM, key: &key, fields };
        let list = |field: HistogramField| {
            let numbers: Result<Vec<u64>, _> =
                items(row.text(field.as_str()).unwrap_or_default()).map(str::parse).collect();
            numbers.map_err(|_| row.error(field.as_str(), "a list of whole numbers"))
        };
        let count =
            |field: HistogramField| row.number::<u64>(field.as_str(), "a whole number").map(Option::unwrap_or_default);
        let (bounds, counts) = (list(HistogramField::Bounds)?, list(HistogramField::Counts)?);
        if counts.len() != bounds.len() + 1 {
            return Err(row.error(HistogramField::Counts.as_str(), "one count more than there are bounds"));
        }
        Ok(HistogramRow {
            name,
            unit: row.text(HistogramField::Unit.as_str()).unwrap_or_default().to_owned(),
            bounds,
            counts,
            sum: count(HistogramField::Sum)?,
            count: count(HistogramField::Count)?,
            sample_rate: row.number(HistogramField::SampleRate.as_str(), "a whole number")?,
        })
    }
}

/// The row of `TELEGEN_DAEMON_TABLE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonRow {
    /// Every field; empty if no daemon ever ran, or it removed its row.
    pub fields: Fields,
}

impl DaemonRow {
    /// When the daemon last said that it lives.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Timestamp> {
        self.fields.get("heartbeat")?.parse().ok()
    }

    /// Whether its heartbeat is younger than [`HEARTBEAT_LIMIT`]. One from the future by more than that is no sign of life: the clock was
    /// set back, and a living daemon would have written again.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.silence(now).is_some_and(|silence| silence < HEARTBEAT_LIMIT)
    }

    /// How far from `now` the last heartbeat is, in either direction; `None` if there never was one.
    #[must_use]
    pub fn silence(&self, now: Timestamp) -> Option<Duration> {
        Some(now.duration_since(self.heartbeat()?).unsigned_abs())
    }
}

/// A row with its place, for messages.
struct Row<'a> {
    table: &'static str,
    key: &'a str,
    fields: &'a Fields,
}

impl Row<'_> {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn error(&self, field: &str, expected: &'static str) -> RowError {
        RowError {
            table: self.table,
            key: self.key.to_owned(),
            field: field.to_owned(),
            value: printable(self.text(field).unwrap_or_default()),
            expected,
        }
    }

    fn number<T: FromStr>(&self, field: &str, expected: &'static str) -> Result<Option<T>, RowError> {
        self.text(field).map(|text| text.parse().map_err(|_| self.error(field, expected))).transpose()
    }

    fn word<T>(
        &self,
        field: &str,
        from_word: fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, RowError> {
        self.text(field).map(|text| from_word(text).ok_or_else(|| self.error(field, expected))).transpose()
    }
}

#[cfg(test)]
mod tests;
