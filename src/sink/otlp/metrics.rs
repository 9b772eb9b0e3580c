//! The metrics of one job as OTLP requests. Pure.
//!
//! **What adds up to what.** The points of `network.packets` and `network.bytes` are disjoint and sum to the job's totals: one per IP
//! protocol class (`network.transport`) and one per Ethernet class that is not IP (`telegen.ethernet.type`). IPv4 and IPv6 are not told apart
//! there, because the job counts Ethernet classes and IP classes side by side and not crossed: points for both would count every
//! IP packet twice. `network.errors` and everything named `telegen.*` count packets that are in those points too. `network.packet.size` has
//! every packet. `flow.*`, `telegen.flow.*` and `network.packet.interarrival` speak of a part of the packets and carry `telegen.sampling.rate`:
//! flows are estimates of the whole, the histogram counts what it has seen.
//!
//! **Zeros are left out**, as in STATE_DB: a class appears with its first packet. Its start time is the start of the job, so that
//! a reader loses nothing by it. Where 0 is an answer (retransmissions, lost copies) it is sent.

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram as HistogramData, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};

use super::attribute::{self, int, text, unix_nano};
use super::families;
use super::origin::Origin;
use crate::model::report::{Detail, FlowRow, Report, Results};
use crate::model::sample::{Counter, Histogram};
use crate::model::schema::{EthClass, HistogramName, IpClass};
use crate::model::value::ip_protocol_name;

/// Flows in one request. Two points a flow and at most 360 others (every counter of a job, none of them 0) stay under 2,000 points and
/// 1 MB, well below the 4 MB that a gRPC server accepts by default.
pub const FLOWS_PER_REQUEST: usize = 800;

/// What is due of one job.
#[derive(Clone, Debug)]
pub struct Export {
    /// The job.
    pub report: Arc<Report>,
    /// When counting began: the start time of every point.
    pub started_at: Timestamp,
    /// Totals that the collector does not have.
    pub totals: Option<Arc<Results>>,
    /// Flows and histograms that the collector does not have.
    pub detail: Option<Arc<Detail>>,
    /// The value of each flow of `detail`, see `Cursor`.
    pub flow_values: Vec<Counter>,
}

impl Export {
    /// The requests, each made when it is asked for: a full top-K is never in memory as a whole. Requests without a point are left out.
    pub fn requests<'a>(&'a self, origin: &'a Origin) -> impl Iterator<Item = ExportMetricsServiceRequest> + 'a {
        let flows = self.flow_values.len();
        let later = (FLOWS_PER_REQUEST..flows).step_by(FLOWS_PER_REQUEST);
        std::iter::once(0).chain(later).filter_map(move |first| {
            let mut metrics = if first == 0 { self.summary() } else { Vec::new() };
            metrics.extend(self.flows(first..flows.min(first + FLOWS_PER_REQUEST)));
            metrics.retain(|metric| points_of(metric) > 0);
            (!metrics.is_empty()).then(|| request(origin, metrics))
        })
    }

    /// Everything but the flows.
    fn summary(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        if let Some(totals) = &self.totals {
            metrics.push(self.classes(totals, PACKETS, |counter| counter.packets));
            metrics.push(self.classes(totals, BYTES, |counter| counter.bytes));
            metrics.extend(families::of_totals(self, totals));
        }
        if let Some(detail) = &self.detail {
            metrics.extend(detail.flows.iter().flat_map(|flows| families::of_flows(self, detail, flows)));
            metrics.extend(detail.histograms.iter().map(|(name, histogram)| self.histogram(detail, *name, histogram)));
        }
        metrics
    }

    fn classes(&self, totals: &Results, instrument: Instrument<'_>, value: fn(&Counter) -> u64) -> Metric {
        let is_ip = |class: EthClass| matches!(class, EthClass::Ipv4 | EthClass::Ipv6);
        let not_ip = EthClass::ALL
            .iter()
            .filter(|class| !is_ip(**class))
            .map(|class| (attribute::ETHERNET_TYPE, class.as_str(), &totals.eth[*class as usize]));
        let ip = IpClass::ALL.iter().map(|class| (attribute::TRANSPORT, class.as_str(), &totals.ip[*class as usize]));
        let points = ip
            .chain(not_ip)
            .filter(|(_, _, counter)| counter.packets > 0)
            .map(|(attribute, class, counter)| self.point([text(attribute, class)], totals.updated_at, value(counter)));
        sum(instrument, points.collect())
    }

    fn flows(&self, range: Range<usize>) -> Vec<Metric> {
        let Some((detail, flows)) = self.detail.as_ref().and_then(|detail| Some((detail, detail.flows.as_ref()?)))
        else {
            return Vec::new();
        };
        let rows = || flows.top.iter().zip(&self.flow_values).skip(range.start).take(range.len());
        let metric = |instrument: Instrument<'_>, value: fn(&Counter) -> u64| {
            let points = rows().map(|(flow, counter)| {
                self.point(flow_attributes(flow, detail.sample_rate), detail.updated_at, value(counter))
            });
            sum(instrument, points.collect())
        };
        vec![metric(FLOW_PACKETS, |counter| counter.packets), metric(FLOW_BYTES, |counter| counter.bytes)]
    }

    fn histogram(&self, detail: &Detail, name: HistogramName, histogram: &Histogram) -> Metric {
        // A histogram of everything is no estimate, so it has no rate.
        let rate = Some(detail.rate_of(name)).filter(|rate| *rate > 1);
        let point = HistogramDataPoint {
            attributes: self.attributes(rate.map(|rate| int(attribute::SAMPLING_RATE, rate))),
            start_time_unix_nano: unix_nano(self.started_at),
            time_unix_nano: unix_nano(detail.updated_at),
            count: histogram.count,
            sum: Some(float(histogram.sum)),
            bucket_counts: histogram.counts.clone(),
            explicit_bounds: histogram.bounds.iter().map(|bound| float(*bound)).collect(),
            ..HistogramDataPoint::default()
        };
        let data_points = if histogram.count == 0 { Vec::new() } else { vec![point] };
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = Data::Histogram(HistogramData { data_points, aggregation_temporality: cumulative });
        metric(histogram_instrument(name), data)
    }

    pub(super) fn point(
        &self,
        own: impl IntoIterator<Item = KeyValue>,
        time: Timestamp,
        value: u64,
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(own),
            start_time_unix_nano: unix_nano(self.started_at),
            time_unix_nano: unix_nano(time),
            // A counter that passed 2^63 would need 29 years at 10^10 packets per second.
            value: Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        }
    }

    /// What every point of the job says, and then `own`.
    fn attributes(&self, own: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
        let mut attributes = vec![text(attribute::JOB_ID, &self.report.status.key)];
        if let Some(spec) = &self.report.status.spec {
            attributes.push(text(attribute::PORT_NAME, spec.ports.as_str()));
            attributes.extend(attribute::io_direction(spec.direction));
            attributes.extend(spec.mirror_sample_rate.map(|rate| int(attribute::MIRROR_SAMPLING_RATE, rate.get())));
        }
        attributes.extend(own);
        attributes
    }
}

/// Name, unit and description of a metric.
#[derive(Clone, Copy)]
pub(super) struct Instrument<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub description: &'a str,
}

const PACKETS: Instrument<'static> = Instrument {
    name: "network.packets",
    unit: "{packet}",
    description: "Packets that passed the job's filters, by protocol; the points sum to the job's total",
};
const BYTES: Instrument<'static> = Instrument {
    name: "network.bytes",
    unit: "By",
    description: "Frame bytes, without FCS, of the packets that passed the job's filters, by protocol; the points sum to the job's total",
};
const FLOW_PACKETS: Instrument<'static> =
    Instrument { name: "flow.packets", unit: "{packet}", description: "Estimated packets of the job's largest flows" };
const FLOW_BYTES: Instrument<'static> =
    Instrument { name: "flow.bytes", unit: "By", description: "Estimated frame bytes of the job's largest flows" };

fn histogram_instrument(name: HistogramName) -> Instrument<'static> {
    match name {
        HistogramName::PacketSize => {
            Instrument { name: "network.packet.size", unit: "By", description: "Frame lengths of all packets" }
        }
        HistogramName::Interarrival => Instrument {
            name: "network.packet.interarrival",
            unit: "ns",
            description: "Time between two packets, of pairs chosen at random",
        },
    }
}

fn flow_attributes(flow: &FlowRow, sample_rate: u32) -> Vec<KeyValue> {
    let mut attributes = vec![
        text(attribute::SOURCE_ADDRESS, &flow.src),
        text(attribute::DESTINATION_ADDRESS, &flow.dst),
        text(attribute::NETWORK_TYPE, if flow.is_ipv6 { "ipv6" } else { "ipv4" }),
        text(attribute::TRANSPORT, ip_protocol_name(flow.ip_proto)),
        int(attribute::SAMPLING_RATE, sample_rate),
    ];
    // 0 stands for "has none" in a flow's key, so leaving it out keeps different flows different.
    let optional = [
        (attribute::SOURCE_PORT, flow.l4_sport),
        (attribute::DESTINATION_PORT, flow.l4_dport),
        (attribute::VLAN_ID, flow.vlan),
    ];
    attributes.extend(optional.into_iter().filter(|(_, value)| *value > 0).map(|(key, value)| int(key, value)));
    attributes
}

pub(super) fn sum(instrument: Instrument<'_>, data_points: Vec<NumberDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric(instrument, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }))
}

pub(super) fn gauge(instrument: Instrument<'_>, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(instrument, Data::Gauge(Gauge { data_points }))
}

fn metric(instrument: Instrument<'_>, data: Data) -> Metric {
    Metric {
        name: instrument.name.to_owned(),
        description: instrument.description.to_owned(),
        unit: instrument.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// Data points in a request of ours.
#[must_use]
pub fn point_count(request: &ExportMetricsServiceRequest) -> usize {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics).map(points_of).sum()
}

fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        // Kinds that this module does not make.
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => 0,
    }
}

fn request(origin: &Origin, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { scope: Some(origin.scope.clone()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(origin.resource.clone());
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

/// OTLP's bounds and sums are doubles: exact up to 2^53, which a sum of bytes reaches after 9 petabytes.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}
