//! What has changed from one snapshot to the next: a log record per status change and per new warning, a span per job that is over. Pure.
//!
//! A status that came and went between two snapshots is not seen. Spans have no children yet: a snapshot does not say when a job's
//! steps (mirror, attach, first packet, teardown) began and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status as SpanStatus};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::attribute::{self, text, unix_nano};
use super::origin::Origin;
use crate::model::report::{DaemonInfo, Snapshot};
use crate::model::schema::{Status, Warning};
use crate::model::status::JobStatus;
use crate::model::value::printable;

/// `event_name` of a status change.
pub const STATUS_EVENT: &str = "telegen.job.status";
/// `event_name` of a new warning.
pub const WARNING_EVENT: &str = "telegen.job.warning";
/// Name of a job's span.
pub const JOB_SPAN: &str = "telegen.job";

/// Remembers what was said of each job.
#[derive(Debug, Default)]
pub struct Watcher {
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Tells a job from an earlier one of the same id.
    created_at: Timestamp,
    status: Status,
    warnings: BTreeSet<Warning>,
}

/// What is new.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Oldest first within a job.
    pub logs: Vec<LogRecord>,
    /// Jobs that are over.
    pub spans: Vec<Span>,
    /// Ids whose former job is gone: it left the snapshot, or another one has its id.
    pub gone: Vec<String>,
}

impl Watcher {
    /// Compares `snapshot` with the one before; `now` is when it was seen.
    pub fn changes(&mut self, snapshot: &Snapshot, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.seen.retain(|key, seen| {
            let job = snapshot.jobs.get(key);
            let same_run = job.is_some_and(|report| report.status.created_at == seen.created_at);
            if !same_run {
                changes.gone.push(key.clone());
            }
            same_run
        });
        for (key, report) in &snapshot.jobs {
            let status = &report.status;
            let new = Seen { created_at: status.created_at, status: status.status, warnings: status.warnings.clone() };
            let old = self.seen.insert(key.clone(), new);
            if is_exported(status) && !(old.is_none() && is_history(status, &snapshot.daemon)) {
                add_changes(&mut changes, &snapshot.daemon, status, old.as_ref(), now);
            }
        }
        changes
    }
}

/// A request with `records`.
#[must_use]
pub fn logs_request(origin: Origin, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: Some(origin.scope), log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(origin.resource), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

/// A request with `spans`.
#[must_use]
pub fn traces_request(origin: Origin, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: Some(origin.scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(origin.resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// A row that could not be parsed is exported unless it says no, because its user should see why.
fn is_exported(status: &JobStatus) -> bool {
    match &status.spec {
        Some(spec) => spec.otlp_export,
        None => status.raw.get("otlp_export").is_none_or(|word| word != "false"),
    }
}

/// A job that ended before this daemon began was reported by the daemon before.
fn is_history(status: &JobStatus, daemon: &DaemonInfo) -> bool {
    status.ended_at.is_some_and(|ended_at| ended_at < daemon.started_at)
}

fn add_changes(changes: &mut Changes, daemon: &DaemonInfo, job: &JobStatus, old: Option<&Seen>, now: Timestamp) {
    if old.map(|seen| seen.status) != Some(job.status) {
        changes.logs.push(status_record(daemon, job, now));
        changes.spans.extend(job_span(daemon, job));
    }
    let known = |warning: &Warning| old.is_some_and(|seen| seen.warnings.contains(warning));
    let raised = job.warnings.iter().filter(|warning| !known(warning));
    changes.logs.extend(raised.map(|warning| warning_record(daemon, job, *warning, now)));
}

fn status_record(daemon: &DaemonInfo, job: &JobStatus, now: Timestamp) -> LogRecord {
    let time = match job.status {
        Status::Queued => Some(job.created_at),
        Status::Running => job.started_at,
        Status::Starting | Status::Stopping => None,
        Status::Done | Status::Stopped | Status::Failed | Status::Rejected | Status::Expired => job.ended_at,
    };
    let severity = match (job.status, job.reason) {
        (Status::Failed, _) => SeverityNumber::Error,
        (Status::Rejected | Status::Expired, _) | (Status::Stopped, Some(_)) => SeverityNumber::Warn,
        (Status::Queued | Status::Starting | Status::Running | Status::Stopping | Status::Done, _)
        | (Status::Stopped, None) => SeverityNumber::Info,
    };
    let body = if job.message.is_empty() { format!("{}: {}", subject(job), job.status) } else { job.message.clone() };
    record(daemon, job, Draft { event: STATUS_EVENT, severity, body, time, own: None }, now)
}

fn warning_record(daemon: &DaemonInfo, job: &JobStatus, warning: Warning, now: Timestamp) -> LogRecord {
    let body = format!("{}: {warning}", subject(job));
    let own = Some(text(attribute::JOB_WARNING, warning.as_str()));
    record(daemon, job, Draft { event: WARNING_EVENT, severity: SeverityNumber::Warn, body, time: None, own }, now)
}

struct Draft {
    event: &'static str,
    severity: SeverityNumber,
    body: String,
    /// When it happened; `None` if only the moment it was seen is known.
    time: Option<Timestamp>,
    own: Option<KeyValue>,
}

fn record(daemon: &DaemonInfo, job: &JobStatus, draft: Draft, now: Timestamp) -> LogRecord {
    let severity_text = match draft.severity {
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    };
    let (trace_id, span_id) = ids(daemon, job);
    LogRecord {
        time_unix_nano: unix_nano(draft.time.unwrap_or(now)),
        observed_time_unix_nano: unix_nano(now),
        severity_number: draft.severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(draft.body)) }),
        attributes: attributes(job).into_iter().chain(draft.own).collect(),
        flags: SAMPLED,
        trace_id,
        span_id,
        event_name: draft.event.to_owned(),
        ..LogRecord::default()
    }
}

/// The span of a job that is over; `None` while it is not.
fn job_span(daemon: &DaemonInfo, job: &JobStatus) -> Option<Span> {
    let ended_at = job.ended_at.filter(|_| job.status.is_final())?;
    let (trace_id, span_id) = ids(daemon, job);
    let status = match job.status {
        Status::Failed | Status::Rejected => {
            SpanStatus { code: StatusCode::Error.into(), message: job.message.clone() }
        }
        _ => SpanStatus::default(),
    };
    Some(Span {
        trace_id,
        span_id,
        flags: SAMPLED,
        name: JOB_SPAN.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: unix_nano(job.created_at),
        end_time_unix_nano: unix_nano(ended_at),
        attributes: attributes(job),
        status: Some(status),
        ..Span::default()
    })
}

/// W3C trace flags: the span is recorded.
const SAMPLED: u32 = 1;

fn attributes(job: &JobStatus) -> Vec<KeyValue> {
    let mut attributes = vec![text(attribute::JOB_ID, printable(&job.key))];
    if let Some(spec) = &job.spec {
        attributes.push(text(attribute::PORT_NAME, spec.ports.as_str()));
        attributes.extend(attribute::io_direction(spec.direction));
    }
    attributes.push(text(attribute::JOB_STATUS, job.status.as_str()));
    attributes.extend(job.reason.map(|reason| text(attribute::JOB_REASON, reason.as_str())));
    attributes
}

fn subject(job: &JobStatus) -> String {
    match &job.spec {
        Some(spec) => format!("job {} on {}", printable(&job.key), spec.ports),
        None => format!("job {}", printable(&job.key)),
    }
}

/// Trace and span id: a function of the run, so that the records of a job carry them before its span is made.
fn ids(daemon: &DaemonInfo, job: &JobStatus) -> (Vec<u8>, Vec<u8>) {
    let hash = |purpose: u64| {
        let mut hasher = SipHasher13::new_with_keys(purpose, 0);
        for part in [daemon.instance_id.as_bytes(), job.key.as_bytes(), &unix_nano(job.created_at).to_le_bytes()] {
            hasher.write(part);
            hasher.write_u8(0xff);
        }
        hasher.finish128().as_bytes()
    };
    (hash(1).to_vec(), hash(2)[..8].to_vec())
}
