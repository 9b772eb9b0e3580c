//! The table of measures: a row for each number that a job has once, and for each family of counters. STATE_DB, JSON,
//! OpenAPI, Prometheus, OTLP, the command line and `docs/interface.md` iterate it, so that a row is all that a number
//! needs besides what counts it.
//!
//! Pure. The rows are in `table`; what a number means in detail is documented at its field, in `traffic` and `report`.

mod parts;
mod row;
mod table;
mod value;

pub use parts::PARTS;
pub use table::MEASURES;
pub use value::{Form, Value};

use super::report::{FlowCounts, Results};
use super::schema::{CountFamily, CounterFamily};
use super::traffic::Traffic;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// A number.
    One(Scalar),
    /// Packets and bytes by name.
    Counters(Family<CounterFamily>),
    /// Packets by name.
    Counts(Family<CountFamily>),
}

/// A number that a job has once.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    /// The field of `TELEGEN_RESULT_TABLE`.
    pub name: &'static str,
    /// What is counted or measured.
    pub unit: Unit,
    /// How it changes.
    pub kind: Kind,
    /// What it means that a row lacks it.
    pub absent: Absent,
    /// What it says, without a full stop.
    pub help: &'static str,
    /// The object of the JSON results in which it is; empty: at the top.
    pub part: &'static [&'static str],
    /// Its name there.
    pub member: &'static str,
    /// Prometheus' name; `None`: not there.
    pub metric: Option<&'static str>,
    /// OpenTelemetry's name; `None`: not exported, or in another form.
    pub otlp: Option<&'static str>,
    /// The field without which this one has no meaning: it is read only where that one is there.
    pub beside: Option<&'static str>,
    /// What it is worth saying to a person; `None`: nothing by itself.
    pub finding: Option<Finding>,
    /// How it is written in a row.
    pub form: Form,
    /// Where its value stands.
    pub cell: Cell,
}

/// How the value of a [`Scalar`] is got and set. What is set has passed [`Form::read`]; `None`: it does not fit.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "a pair of functions each")]
pub enum Cell {
    /// Counted of packets.
    Traffic { of: fn(&Traffic) -> Option<Value>, set: fn(&mut Traffic, Value) -> Option<()> },
    /// Of the job as a whole.
    Results { of: fn(&Results) -> Option<Value>, set: fn(&mut Results, Value) -> Option<()> },
    /// Of its flow table.
    Flows { of: fn(&FlowCounts) -> Option<Value>, set: fn(&mut FlowCounts, Value) -> Option<()> },
}

/// What is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unit {
    Packets,
    Bytes,
    Segments,
    Flows,
    /// How often something happened.
    Times,
    Seconds,
    PacketsPerSecond,
    BitsPerSecond,
    Ratio,
    /// 1 of so many.
    OneOf,
    /// An RFC 3339 time.
    Time,
}

impl Unit {
    /// In UCUM, as OpenTelemetry writes it.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Unit::Packets => "{packet}",
            Unit::Bytes => "By",
            Unit::Segments => "{segment}",
            Unit::Flows => "{flow}",
            Unit::Times => "{time}",
            Unit::Seconds | Unit::Time => "s",
            Unit::PacketsPerSecond => "{packet}/s",
            Unit::BitsPerSecond => "bit/s",
            Unit::Ratio | Unit::OneOf => "1",
        }
    }

    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Unit::Packets => "packets",
            Unit::Bytes => "bytes",
            Unit::Segments => "segments",
            Unit::Flows => "flows",
            Unit::Times => "times",
            Unit::Seconds => "s",
            Unit::PacketsPerSecond => "packets/s",
            Unit::BitsPerSecond => "bit/s",
            Unit::Ratio => "ratio",
            Unit::OneOf => "1 of so many",
            Unit::Time => "RFC 3339",
        }
    }
}

/// How a number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the job runs.
    Sum,
    /// It may fall again.
    Gauge,
}

/// What it means that a row lacks a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is always written; in the row of a version that did not, it is what it is before the first reading.
    Never,
    /// It is always written, or with the field `Scalar::beside` which it stands; a row without it is refused.
    Refused,
    /// It is 0.
    Zero,
    /// It was not measured, which is the case as the text says ("where …"); 0 is written.
    NotMeasured(&'static str),
}

/// A line of the health section, shown where the number is not 0.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// What was seen.
    pub title: &'static str,
    /// Of which packets its share is told.
    pub among: Among,
    /// What it means.
    pub means: &'static str,
    /// Whether something is wrong then; such numbers that stand beside one field are shown all if one of them is not 0.
    pub is_wrong: bool,
}

/// Packets of which something is a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Among {
    Ip,
    TrackedTcp,
}

/// A family of counters, whose members `families` names.
#[derive(Clone, Copy, Debug)]
pub struct Family<F> {
    /// Which; its word is the prefix of its fields in `TELEGEN_RESULT_TABLE`.
    pub of: F,
    /// What it says, without a full stop.
    pub help: &'static str,
    /// As `Scalar::part`.
    pub part: &'static [&'static str],
    /// As `Scalar::member`.
    pub member: &'static str,
    /// The middle of Prometheus' name.
    pub metric: &'static str,
    /// Prometheus' label, which tells the members apart.
    pub label: &'static str,
    /// As OpenTelemetry has it; `None` for what makes up `network.packets` and `network.bytes`.
    pub otlp: Option<Attributed>,
}

/// A family as OpenTelemetry has it.
#[derive(Clone, Copy, Debug)]
pub struct Attributed {
    /// The metric's name; of a family of packets and bytes, what stands before `.packets` and `.bytes`.
    pub name: &'static str,
    /// The unit of what is counted; of a family of packets and bytes, of the packets.
    pub unit: &'static str,
    /// The attribute that tells the members apart.
    pub attribute: &'static str,
}

/// An object of the JSON results.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where it is.
    pub path: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// The rows that are numbers.
pub fn scalars() -> impl Iterator<Item = &'static Scalar> {
    MEASURES.iter().filter_map(|measure| match measure {
        Measure::One(scalar) => Some(scalar),
        Measure::Counters(_) | Measure::Counts(_) => None,
    })
}

/// The number of this name.
#[must_use]
pub fn scalar(name: &str) -> Option<&'static Scalar> {
    scalars().find(|scalar| scalar.name == name)
}

/// The number that stands for a whole object of the JSON results: without it, the object is null. `None` for an object
/// that is always there.
#[must_use]
pub fn anchor(part: &[&str]) -> Option<&'static Scalar> {
    scalars().find(|scalar| !part.is_empty() && scalar.part == part && scalar.beside.is_none())
}

impl Measure {
    /// Its object in the JSON results, and its name there.
    #[must_use]
    pub const fn place(&self) -> (&'static [&'static str], &'static str) {
        match self {
            Measure::One(Scalar { part, member, .. })
            | Measure::Counters(Family { part, member, .. })
            | Measure::Counts(Family { part, member, .. }) => (part, member),
        }
    }
}

impl Scalar {
    /// Its value; `None`: not measured.
    #[must_use]
    pub fn of(&self, results: &Results, flows: &FlowCounts) -> Option<Value> {
        match self.cell {
            Cell::Traffic { of, .. } => of(&results.traffic),
            Cell::Results { of, .. } => of(results),
            Cell::Flows { of, .. } => of(flows),
        }
    }

    /// Sets it; `None` if the value does not fit.
    #[must_use]
    pub fn set(&self, results: &mut Results, flows: &mut FlowCounts, value: Value) -> Option<()> {
        match self.cell {
            Cell::Traffic { set, .. } => set(&mut results.traffic, value),
            Cell::Results { set, .. } => set(results, value),
            Cell::Flows { set, .. } => set(flows, value),
        }
    }

    /// Its value, unless it is left out: not measured, or 0 where nothing is said at 0.
    #[must_use]
    pub fn said(&self, results: &Results, flows: &FlowCounts) -> Option<Value> {
        self.of(results, flows).filter(|value| self.absent != Absent::Zero || *value != Value::Whole(0))
    }

    /// The value as a row has it; `None`: it is left out.
    #[must_use]
    pub fn written(&self, results: &Results, flows: &FlowCounts) -> Option<String> {
        self.said(results, flows).map(|value| self.form.write(value))
    }

    /// When it was not measured; what stands beside another field, as that one.
    #[must_use]
    pub fn not_measured(&self) -> Option<&'static str> {
        match self.absent {
            Absent::NotMeasured(when) => Some(when),
            Absent::Never | Absent::Refused | Absent::Zero => scalar(self.beside?)?.not_measured(),
        }
    }

    /// What it says and when it is absent, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.not_measured() {
            Some(when) => format!("{}; absent {when}.", self.help),
            None => format!("{}.", self.help),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
