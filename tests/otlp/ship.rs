//! The exporter against collectors that are away, slow, refusing, restarted or moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use telegen_sonic::lab::collector::{self, Received};
use telegen_sonic::model::report::{ExportState, Report, Snapshot};
use telegen_sonic::model::schema::Status;
use telegen_sonic::model::settings::{OtlpProtocol, Settings};
use telegen_sonic::sink::otlp::{self, Environment};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::collector::{Collector, DEADLINE, Inbox, Manner, closed_port, until};
use crate::fixtures::{Build, nanos, running, settings, snapshot};

/// An exporter with the snapshots that a test gives it.
struct Exporter {
    settings: Settings,
    snapshots: watch::Sender<Arc<Snapshot>>,
    state: watch::Receiver<ExportState>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Never comes round in a test: what arrives came for another reason.
const NEVER: Duration = Duration::from_secs(3_600);
const OFTEN: Duration = Duration::from_millis(20);

impl Exporter {
    fn start(endpoint: &str, interval: Duration, environment: &[(&str, &str)]) -> Exporter {
        let settings = settings(|settings| {
            settings.otlp_endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
            settings.export_interval = interval;
        });
        let (snapshots, seen) = watch::channel(Arc::new(snapshot(settings.clone(), [])));
        let (state_sender, state) = watch::channel(ExportState::default());
        let (shutdown, stopped) = oneshot::channel();
        let environment = Environment::from_pairs(environment.iter().copied());
        let task = tokio::spawn(otlp::run(seen, state_sender, environment, async {
            let _ = stopped.await;
        }));
        Exporter { settings, snapshots, state, shutdown, task }
    }

    fn over_http(endpoint: &str, interval: Duration) -> Exporter {
        let mut exporter = Exporter::start(endpoint, interval, &[]);
        exporter.settings.otlp_protocol = Some(OtlpProtocol::HttpProtobuf);
        exporter.show([]);
        exporter
    }

    fn show(&self, reports: impl IntoIterator<Item = Report>) {
        self.snapshots.send_replace(Arc::new(snapshot(self.settings.clone(), reports)));
    }

    async fn until(&self, wanted: impl FnMut(&ExportState) -> bool) -> ExportState {
        until(&mut self.state.clone(), wanted).await
    }

    /// Stops it and says how long that took.
    async fn stop(self) -> Duration {
        let before = Instant::now();
        self.shutdown.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.task).await.expect("run must end").unwrap();
        before.elapsed()
    }
}

/// `(time, start time, value)` of the job's TCP packets in a request; `None` if it has none.
fn tcp_packets(request: &ExportMetricsServiceRequest, job: &str) -> Option<(u64, u64, i64)> {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let sum = metrics.filter(|metric| metric.name == "network.packets").find_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => Some(sum),
        _ => None,
    })?;
    let says = |point: &&opentelemetry_proto::tonic::metrics::v1::NumberDataPoint, text: &str| {
        format!("{:?}", point.attributes).contains(&format!("StringValue(\"{text}\")"))
    };
    let point = sum.data_points.iter().find(|point| says(point, job) && says(point, "tcp"))?;
    let Some(Value::AsInt(value)) = point.value else { panic!("{point:?}") };
    Some((point.time_unix_nano, point.start_time_unix_nano, value))
}

fn values(requests: &[&ExportMetricsServiceRequest], job: &str) -> Vec<i64> {
    requests.iter().filter_map(|request| Some(tcp_packets(request, job)?.2)).collect()
}

#[tokio::test]
async fn a_running_job_is_exported_every_interval_and_the_state_says_so() {
    let collector = Collector::start(Manner::Accept);
    let endpoint = collector.address.to_string();
    let exporter = Exporter::start(&endpoint, OFTEN, &[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")]);
    exporter.show([running("a1").totals(2, 10)]);
    let inbox = collector.until(|inbox| Collector::metrics(inbox).len() == 1).await;
    assert_eq!(tcp_packets(Collector::metrics(&inbox)[0], "a1"), Some((nanos(2), nanos(1), 10)));
    assert_eq!(inbox.authorization.as_deref(), Some("Bearer x"));
    exporter.show([running("a1").totals(3, 11)]);
    collector.until(|inbox| values(&Collector::metrics(inbox), "a1") == [10, 11]).await;
    let state = exporter.until(|state| state.exported_jobs.contains("a1")).await;
    assert_eq!(state.endpoint, format!("http://{endpoint}/"));
    assert_eq!((state.failed_requests, state.last_error, state.dropped_records), (0, None, 0));
    assert!(state.last_success.is_some());
    exporter.show([]);
    exporter.until(|state| state.exported_jobs.is_empty()).await;
}

#[tokio::test]
async fn a_job_that_ends_is_exported_at_once_with_its_last_numbers_and_then_never_again() {
    let collector = Collector::start(Manner::Accept);
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10)]);
    let last = || running("a1").totals(3, 12).done(3);
    exporter.show([last()]);
    let is_span = |received: &Received| matches!(received, Received::Traces(_));
    collector.until(|inbox| Collector::metrics(inbox).len() == 1 && inbox.received.iter().any(is_span)).await;
    exporter.show([last(), running("b1").totals(9, 5).done(9)]);
    let inbox = collector.until(|inbox| Collector::metrics(inbox).len() == 2).await;
    assert_eq!(values(&Collector::metrics(&inbox), "a1"), [12]);
    assert_eq!(values(&Collector::metrics(&inbox), "b1"), [5]);
    exporter.stop().await;
    assert_eq!(Collector::metrics(&collector.inbox.borrow()).len(), 2);
}

#[tokio::test]
async fn a_collector_that_is_away_at_first_gets_the_latest_numbers_and_every_record_when_it_comes() {
    let port = closed_port();
    let exporter = Exporter::start(&port.local_addr().unwrap().to_string(), OFTEN, &[]);
    exporter.show([running("a1").totals(2, 10)]);
    let state = exporter.until(|state| state.failed_requests >= 1).await;
    assert!(state.last_error.as_ref().unwrap().contains("refused"), "{state:?}");
    exporter.show([running("a1").totals(3, 20)]);
    exporter.show([running("a1").totals(4, 30).done(4)]);
    let collector = Collector::start_at(port, Manner::Accept);
    let count = |inbox: &Inbox, kind: &str| {
        let lines = inbox.received.iter().flat_map(collector::lines);
        lines.filter(|line| line.starts_with(kind)).count()
    };
    let inbox = collector
        .until(|inbox| [count(inbox, "log"), count(inbox, "span"), Collector::metrics(inbox).len()] == [2, 1, 1])
        .await;
    assert_eq!(values(&Collector::metrics(&inbox), "a1"), [30]);
    exporter.until(|state| state.last_error.is_none()).await;
}

#[tokio::test]
async fn a_collector_that_hangs_costs_one_timeout_and_neither_logs_nor_the_end_wait_for_it() {
    let collector = Collector::start(Manner::Hang);
    let environment = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
    let exporter = Exporter::start(&collector.address.to_string(), OFTEN, &environment);
    exporter.show([running("a1").totals(2, 10)]);
    let state = exporter.until(|state| state.failed_requests >= 1 && state.accepted_requests >= 1).await;
    assert_eq!(state.last_error.as_deref(), Some("metrics: no answer within 300ms"));
    assert!(matches!(collector.inbox.borrow().received[..], [Received::Logs(_)]));
    collector.behave(Manner::Accept);
    exporter.show([running("a1").totals(3, 11)]);
    collector.until(|inbox| values(&Collector::metrics(inbox), "a1") == [11]).await;
}

#[tokio::test]
async fn the_last_flush_is_bounded_to_two_seconds_however_patient_the_requests_are() {
    let collector = Collector::start(Manner::Hang);
    let environment = [("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")];
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &environment);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    exporter.until(|state| state.accepted_requests >= 2).await;
    let took = exporter.stop().await;
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn the_last_flush_sends_what_no_interval_had_sent() {
    let collector = Collector::start(Manner::Accept);
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10)]);
    let took = exporter.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let inbox = collector.inbox.borrow().clone();
    assert_eq!(values(&Collector::metrics(&inbox), "a1"), [10]);
    assert_eq!(inbox.received.len(), 2, "one metrics, one logs: {inbox:?}");
}

#[tokio::test]
async fn unavailable_is_tried_again_until_it_is_accepted() {
    let collector = Collector::start(Manner::Refuse(Code::Unavailable, "starting up"));
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let state = exporter.until(|state| state.failed_requests == 1).await;
    assert_eq!(state.last_error.as_deref(), Some("metrics: the collector answered Unavailable: starting up"));
    collector.until(|inbox| inbox.refused == 2).await;
    collector.behave(Manner::Accept);
    let inbox = collector.until(|inbox| Collector::metrics(inbox).len() == 1).await;
    assert_eq!(values(&Collector::metrics(&inbox), "a1"), [10]);
    let state = exporter.until(|state| state.last_error.is_none()).await;
    assert!(state.exported_jobs.contains("a1"));
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_sent_again_but_newer_numbers_are() {
    let collector = Collector::start(Manner::Refuse(Code::InvalidArgument, "no such tenant"));
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let state = exporter.until(|state| state.failed_requests == 1).await;
    assert_eq!(state.last_error.as_deref(), Some("metrics: the collector answered InvalidArgument: no such tenant"));
    assert!(state.exported_jobs.is_empty());
    collector.behave(Manner::Accept);
    exporter.show([running("a1").totals(2, 10).done(2), running("b1").totals(3, 5).done(3)]);
    let inbox = collector.until(|inbox| Collector::metrics(inbox).len() == 1).await;
    assert_eq!(values(&Collector::metrics(&inbox), "b1"), [5]);
    exporter.stop().await;
    assert_eq!(Collector::metrics(&collector.inbox.borrow()).len(), 1);
}

#[tokio::test]
async fn partial_success_is_reported_and_not_sent_again() {
    let collector = Collector::start(Manner::Partly(2, "too old"));
    let exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let state = exporter.until(|state| state.last_error.is_some() && !state.exported_jobs.is_empty()).await;
    assert_eq!(state.last_error.as_deref(), Some("metrics: the collector rejected 2 data points: too old"));
    // Seven points: three of packets, three of bytes, one of errors. Refusing all of them is no export.
    collector.behave(Manner::Partly(7, "all too old"));
    exporter.show([running("b1").totals(3, 5).done(3)]);
    exporter.until(|state| state.last_error.as_ref().is_some_and(|error| error.ends_with("all too old"))).await;
    let state = exporter.state.clone();
    exporter.stop().await;
    assert!(!state.borrow().exported_jobs.contains("b1"));
    assert_eq!(Collector::metrics(&collector.inbox.borrow()).len(), 2);
}

#[tokio::test]
async fn a_collectors_restart_in_the_middle_of_a_job_leaves_one_continuous_series() {
    let collector = Collector::start(Manner::Accept);
    let exporter = Exporter::start(&collector.address.to_string(), OFTEN, &[]);
    exporter.show([running("a1").totals(2, 10)]);
    let before = collector.until(|inbox| Collector::metrics(inbox).len() == 1).await;
    let port = collector.crash();
    exporter.show([running("a1").totals(3, 20)]);
    exporter.until(|state| state.failed_requests >= 1).await;
    let collector = Collector::start_at(port, Manner::Accept);
    exporter.show([running("a1").totals(4, 30)]);
    collector.until(|inbox| !Collector::metrics(inbox).is_empty()).await;
    exporter.show([running("a1").totals(5, 40).done(5)]);
    let has_last =
        |request: &&ExportMetricsServiceRequest| tcp_packets(request, "a1").is_some_and(|point| point.2 == 40);
    let after = collector.until(|inbox| Collector::metrics(inbox).iter().any(has_last)).await;
    let points: Vec<_> = Collector::metrics(&before)
        .into_iter()
        .chain(Collector::metrics(&after))
        .filter_map(|request| tcp_packets(request, "a1"))
        .collect();
    assert!(points.iter().all(|point| point.1 == nanos(1)), "{points:?}");
    assert!(points.is_sorted_by(|one, two| one.0 < two.0 && one.2 < two.2), "{points:?}");
}

#[tokio::test]
async fn another_endpoint_in_the_table_takes_effect_at_once_and_does_not_wait_for_the_old_ones_back_off() {
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")]) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut exporter = Exporter::over_http(&listener.local_addr().unwrap().to_string(), NEVER);
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(busy)).await });
    exporter.show([running("a1").totals(2, 10).done(2)]);
    exporter.until(|state| state.failed_requests == 3).await;
    let changed = Instant::now();
    let collector = Collector::start(Manner::Accept);
    exporter.settings.otlp_endpoint = Some(collector.address.to_string());
    exporter.settings.otlp_protocol = Some(OtlpProtocol::Grpc);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let inbox = collector.until(|inbox| inbox.received.len() == 3).await;
    assert!(
        changed.elapsed() < Duration::from_secs(15),
        "{:?} of the 30 s that the old one asked for",
        changed.elapsed()
    );
    assert_eq!(values(&Collector::metrics(&inbox), "a1"), [10]);
    let endpoint = format!("http://{}/", collector.address);
    exporter.until(|state| state.endpoint == endpoint && state.last_error.is_none()).await;
    server.abort();
}

#[tokio::test]
async fn a_shorter_interval_takes_effect_at_once() {
    let collector = Collector::start(Manner::Accept);
    let mut exporter = Exporter::start(&collector.address.to_string(), NEVER, &[]);
    exporter.show([running("a1").totals(2, 10)]);
    collector.until(|inbox| inbox.received.len() == 1).await;
    exporter.settings.export_interval = OFTEN;
    exporter.show([running("a1").totals(2, 10)]);
    collector.until(|inbox| values(&Collector::metrics(inbox), "a1") == [10]).await;
}

#[tokio::test]
async fn https_sends_nothing_and_says_why_until_the_table_names_another_endpoint() {
    let collector = Collector::start(Manner::Accept);
    let mut exporter = Exporter::start(&format!("https://{}", collector.address), OFTEN, &[]);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let state = exporter.until(|state| state.last_error.is_some()).await;
    assert!(state.last_error.unwrap().contains("needs TLS"));
    assert_eq!((state.failed_requests, state.accepted_requests), (0, 0));
    exporter.settings.otlp_endpoint = Some(collector.address.to_string());
    exporter.show([running("a1").totals(2, 10).done(2)]);
    collector.until(|inbox| inbox.received.len() == 3).await;
    exporter.until(|state| state.last_error.is_none()).await;
}

#[tokio::test]
async fn otel_sdk_disabled_sends_nothing_and_drops_nothing() {
    let collector = Collector::start(Manner::Accept);
    let exporter = Exporter::start(&collector.address.to_string(), OFTEN, &[("OTEL_SDK_DISABLED", "true")]);
    exporter.show([running("a1").totals(2, 10).done(2)]);
    let state = exporter.until(|state| !state.config_errors.is_empty()).await;
    assert_eq!(state.config_errors, ["OTEL_SDK_DISABLED is true: nothing is exported"]);
    let state = exporter.state.clone();
    exporter.stop().await;
    assert_eq!((state.borrow().accepted_requests, state.borrow().dropped_records), (0, 0));
    assert!(collector.inbox.borrow().received.is_empty());
}

#[tokio::test]
async fn records_wait_in_a_bounded_queue_and_what_does_not_fit_is_counted() {
    let port = closed_port();
    let exporter = Exporter::start(&port.local_addr().unwrap().to_string(), NEVER, &[]);
    let queued = (0..1_200).map(|index| {
        let mut report = running(&format!("q{index}"));
        report.status.status = Status::Queued;
        report.status.started_at = None;
        report
    });
    exporter.show(queued);
    exporter.until(|state| state.dropped_records == 200).await;
    let collector = Collector::start_at(port, Manner::Accept);
    let records =
        |received: &Received| if let Received::Logs(_) = received { collector::lines(received).len() } else { 0 };
    collector.until(|inbox| inbox.received.iter().map(records).sum::<usize>() == 1_000).await;
    assert_eq!(exporter.state.borrow().dropped_records, 200);
}

#[tokio::test]
async fn http_carries_all_three_signals_to_the_labs_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (deliver, mut received) = mpsc::channel(16);
    let server = tokio::spawn(collector::serve(listener, deliver));
    let exporter = Exporter::over_http(&endpoint, NEVER);
    exporter.show([running("a1").totals(2, 10).done(3)]);
    let mut lines = Vec::new();
    for _ in 0..3 {
        let request = tokio::time::timeout(DEADLINE, received.recv()).await.expect("three requests").unwrap();
        lines.extend(collector::lines(&request));
    }
    lines.sort();
    let job = "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive";
    assert_eq!(
        lines,
        [
            format!("log telegen.job.status INFO \"job a1 on Ethernet16: done\" {job} telegen.job.status=done"),
            format!("span telegen.job 3000 ms {job} telegen.job.status=done"),
            format!("sum network.bytes By sum=10420 points=3 {job}"),
            format!("sum network.errors {{error}} sum=1 points=1 {job} error.type=malformed_l4"),
            format!("sum network.packets {{packet}} sum=15 points=3 {job}"),
        ]
    );
    exporter.until(|state| state.accepted_requests == 3).await;
    assert_eq!(exporter.state.borrow().endpoint, format!("{endpoint}/v1/metrics"));
    server.abort();
}

#[tokio::test]
async fn http_503_is_tried_again_and_404_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let attempts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&attempts);
    // Metrics: busy once, then fine. The other paths do not exist, as in a backend that takes metrics only.
    let metrics = move || async move {
        if seen.fetch_add(1, Ordering::SeqCst) == 0 {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response()
        } else {
            StatusCode::OK.into_response()
        }
    };
    let routes = axum::Router::new().route("/v1/metrics", axum::routing::post(metrics));
    let server = tokio::spawn(async { axum::serve(listener, routes).await });
    let exporter = Exporter::over_http(&endpoint, NEVER);
    exporter.show([running("a1").totals(2, 10).done(3)]);
    let state = exporter.until(|state| state.accepted_requests == 1 && state.failed_requests == 3).await;
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    assert_eq!(state.dropped_records, 2, "one log record, one span");
    assert_eq!(state.last_error.as_deref(), Some("logs: the collector answered HTTP 404"));
    server.abort();
}
