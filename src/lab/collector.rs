//! A small OTLP collector for tests and demonstrations: takes http/protobuf, hands on what it was sent, prints one line per metric.
//!
//! It stores nothing and speaks no gRPC: a gRPC server would put tonic's server side into the normal dependencies for the lab's sake alone.

use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AttributeValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// One request, decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// `POST /v1/metrics`
    Metrics(ExportMetricsServiceRequest),
    /// `POST /v1/logs`
    Logs(ExportLogsServiceRequest),
    /// `POST /v1/traces`
    Traces(ExportTraceServiceRequest),
}

/// A gRPC collector accepts 4 MB by default; so does this one.
const REQUEST_MAX_BYTES: usize = 4 << 20;

/// Serves OTLP/HTTP on `listener` until the future is dropped; every request goes to `deliver` before it is answered. A request that
/// cannot be decoded is answered 400, one that nobody takes any more 503.
///
/// # Errors
/// What the listener says.
pub async fn serve(listener: TcpListener, deliver: mpsc::Sender<Received>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/v1/metrics", post(|deliver, body| take(deliver, body, Received::Metrics)))
        .route("/v1/logs", post(|deliver, body| take(deliver, body, Received::Logs)))
        .route("/v1/traces", post(|deliver, body| take(deliver, body, Received::Traces)))
        .layer(DefaultBodyLimit::max(REQUEST_MAX_BYTES))
        .with_state(deliver);
    axum::serve(listener, routes).await
}

/// Serves on `listen` until the process ends, and prints every request's lines to stdout.
///
/// # Errors
/// What the listener says.
pub fn print(listen: SocketAddr) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let (deliver, mut delivered) = mpsc::channel(16);
        let printing = async {
            while let Some(received) = delivered.recv().await {
                for line in lines(&received) {
                    println!("{line}");
                }
            }
        };
        tokio::select! {
            served = serve(listener, deliver) => served,
            () = printing => Ok(()),
        }
    })
}

async fn take<M: Message + Default>(
    State(deliver): State<mpsc::Sender<Received>>,
    body: Bytes,
    received: fn(M) -> Received,
) -> Response {
    let Ok(message) = M::decode(body) else { return StatusCode::BAD_REQUEST.into_response() };
    if deliver.send(received(message)).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // An empty message is the answer "all of it was accepted".
    [(header::CONTENT_TYPE, "application/x-protobuf")].into_response()
}

/// What a request says, one line per metric, log record or span.
#[must_use]
pub fn lines(received: &Received) -> Vec<String> {
    match received {
        Received::Metrics(request) => {
            let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
            scopes.flat_map(|scope| &scope.metrics).map(metric_line).collect()
        }
        Received::Logs(request) => {
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            let records = scopes.flat_map(|scope| &scope.log_records);
            records
                .map(|record| {
                    let body = record.body.as_ref().map(value_text).unwrap_or_default();
                    format!(
                        "log {} {} \"{body}\"{}",
                        record.event_name,
                        record.severity_text,
                        attributes(&record.attributes)
                    )
                })
                .collect()
        }
        Received::Traces(request) => {
            let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            let spans = scopes.flat_map(|scope| &scope.spans);
            spans
                .map(|span| {
                    let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
                    format!("span {} {} ms{}", span.name, nanos / 1_000_000, attributes(&span.attributes))
                })
                .collect()
        }
    }
}

/// Name, unit, the sum over all points, their number, and the attributes that all points share.
fn metric_line(metric: &Metric) -> String {
    let head = |kind: &str| format!("{kind} {} {}", metric.name, metric.unit);
    match &metric.data {
        Some(Data::Sum(sum)) => {
            let points = &sum.data_points;
            let total: i64 =
                points.iter().map(|point| if let Some(Value::AsInt(n)) = point.value { n } else { 0 }).sum();
            let shared = shared(points.iter().map(|point| point.attributes.as_slice()));
            format!("{} sum={total} points={}{}", head("sum"), points.len(), attributes(&shared))
        }
        Some(Data::Histogram(histogram)) => {
            let points = &histogram.data_points;
            let count: u64 = points.iter().map(|point| point.count).sum();
            let total: f64 = points.iter().filter_map(|point| point.sum).sum();
            let shared = shared(points.iter().map(|point| point.attributes.as_slice()));
            format!("{} count={count} sum={total}{}", head("histogram"), attributes(&shared))
        }
        Some(Data::Gauge(_) | Data::ExponentialHistogram(_) | Data::Summary(_)) | None => head("other"),
    }
}

fn shared<'a>(mut points: impl Iterator<Item = &'a [KeyValue]>) -> Vec<KeyValue> {
    let first = points.next().unwrap_or_default().to_vec();
    points.fold(first, |mut shared, point| {
        shared.retain(|attribute| point.contains(attribute));
        shared
    })
}

fn attributes(attributes: &[KeyValue]) -> String {
    attributes.iter().fold(String::new(), |mut text, attribute| {
        let value = attribute.value.as_ref().map(value_text).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(text, " {}={value}", attribute.key);
        text
    })
}

fn value_text(value: &AnyValue) -> String {
    match &value.value {
        Some(AttributeValue::StringValue(text)) => text.clone(),
        Some(AttributeValue::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
