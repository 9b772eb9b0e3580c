//! The words in which `table` is written.

use super::{Absent, Among, Attributed, Cell, Family, Finding, Form, Kind, Measure, Scalar, Unit};
use crate::model::schema::{CountFamily, CounterFamily};

/// The unit of most counters.
pub(super) const PACKET: &str = Unit::Packets.ucum();

/// A whole number that is always written, at the top of the JSON results; in Prometheus and OTLP only where the row
/// says so.
const fn one(name: &'static str, unit: Unit, kind: Kind, help: &'static str, cell: Cell) -> Scalar {
    Scalar {
        name,
        unit,
        kind,
        absent: Absent::Never,
        help,
        part: &[],
        member: name,
        metric: None,
        otlp: None,
        beside: None,
        finding: None,
        form: Form::Whole,
        cell,
    }
}

/// A number that only grows.
pub(super) const fn sum(name: &'static str, unit: Unit, help: &'static str, cell: Cell) -> Scalar {
    one(name, unit, Kind::Sum, help, cell)
}

/// One that may fall again.
pub(super) const fn gauge(name: &'static str, unit: Unit, help: &'static str, cell: Cell) -> Scalar {
    one(name, unit, Kind::Gauge, help, cell)
}

impl Scalar {
    pub(super) const fn row(self) -> Measure {
        Measure::One(self)
    }

    pub(super) const fn absent(self, absent: Absent) -> Scalar {
        Scalar { absent, ..self }
    }

    pub(super) const fn form(self, form: Form) -> Scalar {
        Scalar { form, ..self }
    }

    pub(super) const fn part(self, part: &'static [&'static str], member: &'static str) -> Scalar {
        Scalar { part, member, ..self }
    }

    pub(super) const fn metric(self, name: &'static str) -> Scalar {
        Scalar { metric: Some(name), ..self }
    }

    pub(super) const fn otlp(self, name: &'static str) -> Scalar {
        Scalar { otlp: Some(name), ..self }
    }

    pub(super) const fn beside(self, name: &'static str) -> Scalar {
        Scalar { beside: Some(name), ..self }
    }

    pub(super) const fn wrong(self, title: &'static str, among: Among, means: &'static str) -> Scalar {
        Scalar { finding: Some(Finding { title, among, means, is_wrong: true }), ..self }
    }

    pub(super) const fn note(self, title: &'static str, among: Among, means: &'static str) -> Scalar {
        Scalar { finding: Some(Finding { title, among, means, is_wrong: false }), ..self }
    }
}

pub(super) const fn counters(
    of: CounterFamily,
    help: &'static str,
    (part, member): (&'static [&'static str], &'static str),
    (metric, label): (&'static str, &'static str),
    otlp: Option<(&'static str, &'static str)>,
) -> Measure {
    let otlp = match otlp {
        Some((name, attribute)) => Some(Attributed { name, unit: PACKET, attribute }),
        None => None,
    };
    Measure::Counters(Family { of, help, part, member, metric, label, otlp })
}

pub(super) const fn counts(
    of: CountFamily,
    help: &'static str,
    (part, member): (&'static [&'static str], &'static str),
    (metric, label): (&'static str, &'static str),
    (name, unit, attribute): (&'static str, &'static str, &'static str),
) -> Measure {
    let otlp = Some(Attributed { name, unit, attribute });
    Measure::Counts(Family { of, help, part, member, metric, label, otlp })
}
