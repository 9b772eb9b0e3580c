//! Log records and spans: what a change of status says.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use telegen_sonic::model::job::Fields;
use telegen_sonic::model::report::{Report, Snapshot};
use telegen_sonic::model::schema::{Reason, Status, Warning};
use telegen_sonic::model::settings::Settings;
use telegen_sonic::sink::otlp::records::{Changes, Watcher};

use crate::fixtures::{Build, at, nanos, running, snapshot};

fn of(reports: impl IntoIterator<Item = Report>) -> Snapshot {
    snapshot(Settings::default(), reports)
}

fn in_status(status: Status) -> Report {
    let mut report = running("a1");
    report.status.status = status;
    report
}

fn words(attributes: &[KeyValue]) -> String {
    let word = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => format!("{}={text}", attribute.key),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn body(record: &LogRecord) -> String {
    match record.body.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn failed() -> Report {
    let mut report = in_status(Status::Failed);
    report.status.reason = Some(Reason::MirrorLost);
    report.status.message = String::from("the session went away");
    report.status.ended_at = Some(at(9));
    report
}

#[test]
fn every_change_of_status_is_one_record_with_the_time_it_happened() {
    let mut watcher = Watcher::default();
    let mut seen = |report: Report, now| {
        let changes = watcher.changes(&of([report]), at(now));
        let line = |record: &LogRecord| {
            assert_eq!(record.observed_time_unix_nano, nanos(now));
            (record.severity_text.clone(), body(record), record.time_unix_nano)
        };
        changes.logs.iter().map(line).collect::<Vec<_>>()
    };
    let info = |text: &str, seconds| vec![("INFO".to_owned(), text.to_owned(), nanos(seconds))];
    assert_eq!(seen(in_status(Status::Queued), 1), info("job a1 on Ethernet16: queued", 0));
    assert_eq!(seen(in_status(Status::Queued), 2), []);
    assert_eq!(seen(in_status(Status::Starting), 3), info("job a1 on Ethernet16: starting", 3));
    assert_eq!(seen(in_status(Status::Running), 4), info("job a1 on Ethernet16: running", 1));
    assert_eq!(seen(failed(), 10), [("ERROR".to_owned(), "the session went away".to_owned(), nanos(9))]);
    assert_eq!(seen(failed(), 11), []);
}

#[test]
fn a_record_names_job_port_direction_status_and_reason() {
    let changes = Watcher::default().changes(&of([failed()]), at(10));
    assert_eq!(changes.logs[0].event_name, "telegen.job.status");
    assert_eq!(
        words(&changes.logs[0].attributes),
        "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive telegen.job.status=failed telegen.job.reason=mirror_lost"
    );
}

#[test]
fn severity_tells_trouble_from_refusal_and_from_the_users_own_wish() {
    let severity = |status, reason| {
        let mut report = in_status(status);
        report.status.reason = reason;
        Watcher::default().changes(&of([report]), at(2)).logs[0].severity_text.clone()
    };
    assert_eq!(severity(Status::Done, None), "INFO");
    assert_eq!(severity(Status::Stopped, None), "INFO");
    assert_eq!(severity(Status::Stopped, Some(Reason::AdminDisabled)), "WARN");
    assert_eq!(severity(Status::Rejected, Some(Reason::UnknownPort)), "WARN");
    assert_eq!(severity(Status::Expired, None), "WARN");
    assert_eq!(severity(Status::Failed, Some(Reason::AttachFailed)), "ERROR");
}

#[test]
fn a_warning_is_said_when_it_is_raised_and_not_again() {
    let mut watcher = Watcher::default();
    watcher.changes(&of([running("a1")]), at(1));
    let mut warned = running("a1");
    warned.status.warnings.insert(Warning::NoCopies);
    let logs = watcher.changes(&of([warned.clone()]), at(6)).logs;
    let [record] = &logs[..] else { panic!("{logs:?}") };
    assert_eq!((record.event_name.as_str(), record.severity_text.as_str()), ("telegen.job.warning", "WARN"));
    assert!(words(&record.attributes).ends_with("telegen.job.warning=no_copies"));
    assert_eq!(watcher.changes(&of([warned]), at(7)), Changes::default());
}

#[test]
fn a_job_that_is_over_is_one_span_from_creation_to_end_that_its_records_belong_to() {
    let mut watcher = Watcher::default();
    let before = watcher.changes(&of([running("a1")]), at(2));
    assert_eq!(before.spans, []);
    let after = watcher.changes(&of([running("a1").done(9)]), at(9));
    let [span] = &after.spans[..] else { panic!("{after:?}") };
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (nanos(0), nanos(9)));
    assert_eq!(span.name, "telegen.job");
    assert_eq!(span.status.as_ref().unwrap().code(), StatusCode::Unset);
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    for record in before.logs.iter().chain(&after.logs) {
        assert_eq!((&record.trace_id, &record.span_id), (&span.trace_id, &span.span_id));
    }
    assert_eq!(watcher.changes(&of([running("a1").done(9)]), at(10)), Changes::default());
}

#[test]
fn a_failed_jobs_span_has_the_status_error_and_says_why() {
    let changes = Watcher::default().changes(&of([failed()]), at(10));
    let status = changes.spans[0].status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "the session went away"));
}

#[test]
fn two_jobs_have_two_traces_also_when_the_second_takes_the_firsts_id() {
    let mut watcher = Watcher::default();
    let first = watcher.changes(&of([running("a1").done(3)]), at(3));
    let mut again = running("a1");
    again.status.created_at = at(5);
    let second = watcher.changes(&of([again, running("b1")]), at(6));
    assert_eq!(second.gone, ["a1"]);
    let ids: std::collections::BTreeSet<_> =
        first.logs.iter().chain(&second.logs).map(|record| record.trace_id.clone()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_an_earlier_daemon_ended_is_not_told_again() {
    let mut report = running("a1").done(-7_200);
    report.status.started_at = None;
    assert_eq!(Watcher::default().changes(&of([report.clone()]), at(0)), Changes::default());
    // The daemon of the fixtures started at -3600 s: what ended after that is its own verdict.
    report.status.ended_at = Some(at(-3_600));
    assert_eq!(Watcher::default().changes(&of([report]), at(0)).logs.len(), 1);
}

#[test]
fn jobs_without_export_are_silent_and_a_refused_row_speaks_unless_it_says_no() {
    let quiet = running("a1").spec(&[("port", "Ethernet0"), ("otlp_export", "false")]).done(3);
    assert_eq!(Watcher::default().changes(&of([quiet]), at(3)), Changes::default());
    let refused = |raw: &[(&str, &str)]| {
        let mut report = running("no\u{7}good");
        report.status.spec = None;
        report.status.raw =
            raw.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Fields>();
        report.status.status = Status::Rejected;
        report.status.reason = Some(Reason::InvalidField);
        Watcher::default().changes(&of([report]), at(3)).logs
    };
    let logs = refused(&[("port", "")]);
    assert_eq!(
        words(&logs[0].attributes),
        "telegen.job.id=no\u{fffd}good telegen.job.status=rejected telegen.job.reason=invalid_field"
    );
    assert_eq!(refused(&[("otlp_export", "false")]), []);
}
