//! The measures of a job as OTLP metrics. Pure.
//!
//! None of these points add up with `network.packets`: a packet is in some of them and not in others, which the
//! descriptions say.

use std::borrow::Cow;

use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};

use super::attribute::{self, int, text};
use super::metrics::{Export, Instrument, gauge, sum};
use crate::model::measure::{Attributed, Cell, Family, Kind, MEASURES, Measure, Scalar, Unit, Value, scalars};
use crate::model::report::{Detail, FlowCounts, Flows, Results};
use crate::model::sample::Counter;
use crate::model::schema::{CountFamily, CounterFamily};

const FRAGMENTS: Instrument<'static> = Instrument {
    name: "telegen.ip.fragments",
    unit: Unit::Packets.ucum(),
    description: "IP fragments, the first of their packet and the later ones",
};

/// Everything of `totals` but the classes that make up `network.packets` and `network.bytes`.
pub(super) fn of_totals(export: &Export, totals: &Results) -> Vec<Metric> {
    let metrics = MEASURES.iter().flat_map(|measure| match measure {
        Measure::One(scalar) => of_scalar(export, scalar, totals).into_iter().collect(),
        Measure::Counters(family) => of_counters(export, family, totals),
        Measure::Counts(family) => of_counts(export, family, totals).into_iter().collect(),
    });
    metrics.chain([of_fragments(export, totals)]).collect()
}

/// A number that a job has once, if it is measured: then it is sent at 0, too, unless tables leave it out there.
fn of_scalar(export: &Export, scalar: &Scalar, totals: &Results) -> Option<Metric> {
    let (Cell::Traffic { .. } | Cell::Results { .. }) = scalar.cell else { return None };
    let value = whole(scalar.said(totals, &FlowCounts::default())?)?;
    one(scalar, vec![export.point([], totals.updated_at, value)])
}

fn of_counters(export: &Export, family: &Family<CounterFamily>, totals: &Results) -> Vec<Metric> {
    let Some(Attributed { name, unit, attribute }) = family.otlp else { return Vec::new() };
    let packets: fn(&Counter) -> u64 = |counter| counter.packets;
    let bytes: fn(&Counter) -> u64 = |counter| counter.bytes;
    let metrics = [("packets", unit, packets), ("bytes", Unit::Bytes.ucum(), bytes)];
    let metrics = metrics.map(|(part, unit, value)| {
        let seen = family.of.seen(totals);
        let points = seen
            .iter()
            .map(|(member, counter)| export.point([text(attribute, *member)], totals.updated_at, value(counter)));
        sum(Instrument { name: &format!("{name}.{part}"), unit, description: family.help }, points.collect())
    });
    metrics.into()
}

fn of_counts(export: &Export, family: &Family<CountFamily>, totals: &Results) -> Option<Metric> {
    let Attributed { name, unit, attribute } = family.otlp?;
    let point = |(member, count): &(Cow<'static, str>, u64)| {
        export.point([text(attribute, member.as_ref())], totals.updated_at, *count)
    };
    let points = family.of.seen(totals).iter().map(point).collect();
    Some(sum(Instrument { name, unit, description: family.help }, points))
}

/// Of fragments one metric with two points, for two numbers of the tables.
fn of_fragments(export: &Export, totals: &Results) -> Metric {
    let first = totals.fragments.saturating_sub(totals.fragments_later);
    let fragments = [("first", first), ("later", totals.fragments_later)].into_iter().filter(|(_, count)| *count > 0);
    let point = |(which, count)| export.point([text(attribute::FRAGMENT_POSITION, which)], totals.updated_at, count);
    sum(FRAGMENTS, fragments.map(point).collect())
}

/// How many flows there are, as gauges: an estimate may fall again. Nothing before the first flow.
pub(super) fn of_flows(export: &Export, detail: &Detail, flows: &Flows) -> Vec<Metric> {
    if flows.distinct.estimate == 0 {
        return Vec::new();
    }
    let counts = flows.counts();
    let metrics = scalars().filter_map(|scalar| {
        let Cell::Flows { of, .. } = scalar.cell else { return None };
        let rate = int(attribute::SAMPLING_RATE, detail.sample_rate);
        one(scalar, vec![export.point([rate], detail.updated_at, whole(of(&counts)?)?)])
    });
    metrics.collect()
}

fn one(scalar: &Scalar, points: Vec<NumberDataPoint>) -> Option<Metric> {
    let instrument = Instrument { name: scalar.otlp?, unit: scalar.unit.ucum(), description: scalar.help };
    Some(match scalar.kind {
        Kind::Sum => sum(instrument, points),
        Kind::Gauge => gauge(instrument, points),
    })
}

/// Only whole numbers are exported.
fn whole(value: Value) -> Option<u64> {
    match value {
        Value::Whole(number) => Some(number),
        Value::Decimal(_) | Value::Instant(_) => None,
    }
}
