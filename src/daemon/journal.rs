//! One line in the log for each job's start, end and refusal, in a form that people read and programs take apart:
//!
//! ```text
//! job night-1 started: port=Ethernet16 direction=ingress span_method=span duration=120 source=config tap=Ethernet120
//! job night-1 ended: status=done port=Ethernet16 seconds=120.0 packets=20000 bytes=14500000 coverage=0.998
//! job third refused: reason=concurrency_limit port=Ethernet8 source=config message="2 of 2 jobs are running (b, night-1) and …"
//! ```
//! Words first, values as they stand in STATE_DB; free text last and in quotation marks. Pure; `numbers` says when.

use std::fmt::Write;

use jiff::Timestamp;

use crate::model::report::Results;
use crate::model::schema::Status;
use crate::model::status::JobStatus;

/// The line of a job that has just got this status; `None` where there is none to say.
pub fn line(status: &JobStatus, results: Option<&Results>) -> Option<String> {
    match status.status {
        Status::Running => Some(started(status)),
        Status::Rejected => Some(refused(status)),
        Status::Done | Status::Stopped | Status::Failed | Status::Expired => Some(ended(status, results)),
        Status::Queued | Status::Starting | Status::Stopping => None,
    }
}

fn started(status: &JobStatus) -> String {
    let mut line = format!("job {} started:", key(status));
    if let Some(spec) = &status.spec {
        add(&mut line, "port", &spec.ports);
        add(&mut line, "direction", spec.direction);
        add(&mut line, "span_method", spec.span_method);
        add(&mut line, "duration", spec.duration.as_secs());
    }
    add(&mut line, "source", status.source);
    if let Some(tap) = &status.tap {
        add(&mut line, "tap", tap);
    }
    if let Some(owner) = status.spec.as_ref().and_then(|spec| spec.owner.as_deref()) {
        add(&mut line, "owner", quoted(owner));
    }
    line
}

fn ended(status: &JobStatus, results: Option<&Results>) -> String {
    let mut line = format!("job {} ended: status={}", key(status), status.status);
    if let Some(reason) = status.reason {
        add(&mut line, "reason", reason);
    }
    add_port(&mut line, status);
    if let (Some(started), Some(ended)) = (status.started_at, status.ended_at) {
        add(&mut line, "seconds", format!("{:.1}", seconds(started, ended)));
    }
    if let Some(results) = results {
        add(&mut line, "packets", results.total.packets);
        add(&mut line, "bytes", results.total.bytes);
        if let Some(coverage) = results.coverage {
            add(&mut line, "coverage", format!("{coverage:.3}"));
        }
    }
    add_message(&mut line, status);
    line
}

fn refused(status: &JobStatus) -> String {
    let mut line = format!("job {} refused:", key(status));
    if let Some(reason) = status.reason {
        add(&mut line, "reason", reason);
    }
    add_port(&mut line, status);
    add(&mut line, "source", status.source);
    add_message(&mut line, status);
    line
}

fn add(line: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(line, " {name}={value}");
}

fn add_port(line: &mut String, status: &JobStatus) {
    if let Some(spec) = &status.spec {
        add(line, "port", &spec.ports);
    }
}

fn add_message(line: &mut String, status: &JobStatus) {
    if !status.message.is_empty() {
        add(line, "message", quoted(&status.message));
    }
}

/// A refused row's key may hold anything.
fn key(status: &JobStatus) -> String {
    crate::model::value::printable(&status.key)
}

/// In quotation marks, of which there are none inside.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "'"))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::job::{Fields, JobSpec};
    use crate::model::sample::Counter;
    use crate::model::schema::{Reason, Source};
    use crate::model::settings::Settings;

    fn status(row: &str, status: Status, reason: Option<Reason>, message: &str) -> JobStatus {
        let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.to_owned(), value.replace('_', " ")));
        let fields: Fields = row.split_whitespace().filter_map(pair).collect();
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        JobStatus {
            key: "night-1".to_owned(),
            spec: JobSpec::parse(&fields, &Settings::default()).ok(),
            raw: fields,
            status,
            reason,
            message: message.to_owned(),
            warnings: BTreeSet::new(),
            source: Source::Config,
            tap: Some("Ethernet120".to_owned()),
            mirror_session: Some("telegen_night-1".to_owned()),
            created_at: at("2026-01-31T03:00:00Z"),
            started_at: Some(at("2026-01-31T03:00:00Z")),
            expires_at: None,
            ended_at: Some(at("2026-01-31T03:02:00.04Z")),
        }
    }

    fn said(status: &JobStatus, results: Option<&Results>) -> String {
        line(status, results).unwrap_or_default()
    }

    #[test]
    fn a_start_says_what_is_observed_where_and_for_whom() {
        let job = status("port=Ethernet16,Ethernet0 owner=Ann_\"the\"_admin", Status::Running, None, "");
        assert_eq!(
            said(&job, None),
            "job night-1 started: port=Ethernet16,Ethernet0 direction=ingress span_method=span duration=120 source=config tap=Ethernet120 owner=\"Ann 'the' admin\""
        );
    }

    #[test]
    fn an_end_says_how_and_after_how_much() {
        let total = Counter { packets: 20_000, bytes: 14_500_000 };
        let now = "2026-01-31T03:02:00Z".parse().expect("an instant");
        let mut results = Results { coverage: Some(0.9981), ..Results::empty(now) };
        results.total = total;
        let done = status("port=Ethernet16", Status::Done, None, "");
        assert_eq!(
            said(&done, Some(&results)),
            "job night-1 ended: status=done port=Ethernet16 seconds=120.0 packets=20000 bytes=14500000 coverage=0.998"
        );
        let lost = status("port=Ethernet16", Status::Failed, Some(Reason::MirrorLost), "the session is gone");
        assert_eq!(
            said(&lost, None),
            "job night-1 ended: status=failed reason=mirror_lost port=Ethernet16 seconds=120.0 message=\"the session is gone\""
        );
    }

    #[test]
    fn a_refusal_says_why_even_of_a_row_that_could_not_be_read() {
        let mut job = status("port=", Status::Rejected, Some(Reason::InvalidField), "port: \"\" is not accepted");
        job.key = "a\nb".to_owned();
        assert_eq!(
            said(&job, None),
            "job a\u{fffd}b refused: reason=invalid_field source=config message=\"port: '' is not accepted\""
        );
    }

    #[test]
    fn between_start_and_end_there_is_nothing_to_say() {
        for silent in [Status::Queued, Status::Starting, Status::Stopping] {
            assert_eq!(line(&status("port=Ethernet16", silent, None, ""), None), None);
        }
    }
}
