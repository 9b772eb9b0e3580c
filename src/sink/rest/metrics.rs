//! The snapshot as Prometheus text (exposition format 0.0.4). Pure.
//!
//! Every family has HELP and TYPE; the samples of a family stand together. Counters are cumulative since the job's start, in base units
//! (bytes, seconds). Flows are left out: an address as a label would make a new time series of each. OTLP and REST carry them.

mod families;

use std::fmt::{Display, Write};

use jiff::Timestamp;

use crate::model::measure::{Kind, Value, scalars};
use crate::model::report::{ExportState, Report, Snapshot};
use crate::model::sample::Histogram;
use crate::model::schema::{HistogramName, Reason, Status};

/// The text for `/metrics`.
#[must_use]
pub fn render(snapshot: &Snapshot, export: &ExportState) -> String {
    let mut text = Text(String::new());
    daemon(&mut text, snapshot, export);
    jobs(&mut text, snapshot);
    let jobs: Vec<Labelled<'_>> = snapshot.jobs.iter().map(|(id, report)| Labelled::new(id, report)).collect();
    totals(&mut text, &jobs);
    families::families(&mut text, &jobs);
    detail(&mut text, &jobs);
    text.0
}

fn daemon(text: &mut Text, snapshot: &Snapshot, export: &ExportState) {
    let daemon = &snapshot.daemon;
    let build = [("version", daemon.version), ("commit", daemon.commit), ("built_at", daemon.built_at)];
    text.family("telegen_build_info", "gauge", "Version of the daemon; always 1.");
    text.sample("telegen_build_info", &build, 1);
    text.family("telegen_start_time_seconds", "gauge", "When the daemon started, Unix time.");
    text.sample("telegen_start_time_seconds", &[], seconds(daemon.started_at));
    text.family("telegen_settings_errors", "gauge", "Fields of TELEGEN|global that could not be taken.");
    text.sample("telegen_settings_errors", &[], daemon.settings_errors.len());
    text.family("telegen_refused_jobs_total", "counter", "Rows that were refused since the daemon started.");
    text.sample("telegen_refused_jobs_total", &[], snapshot.refused.total);
    let name = "telegen_refused_jobs_not_kept_total";
    text.family(name, "counter", "Refusals that made room for newer ones before their retention ended.");
    text.sample(name, &[], snapshot.refused.not_kept);
    text.family("telegen_export_requests_total", "counter", "OTLP requests by their result.");
    text.sample("telegen_export_requests_total", &[("result", "accepted")], export.accepted_requests);
    text.sample("telegen_export_requests_total", &[("result", "failed")], export.failed_requests);
    if let Some(last) = export.last_success {
        let name = "telegen_export_last_success_timestamp_seconds";
        text.family(name, "gauge", "When the collector last accepted a request, Unix time.");
        text.sample(name, &[], seconds(last));
    }
}

fn jobs(text: &mut Text, snapshot: &Snapshot) {
    text.family("telegen_jobs", "gauge", "Known jobs by status; finished ones until their retention ends.");
    for status in Status::ALL {
        let count = snapshot.jobs.values().filter(|report| report.status.status == *status).count();
        text.sample("telegen_jobs", &[("status", status.as_str())], count);
    }
    text.family("telegen_job_info", "gauge", "Status of each job; always 1.");
    for (id, report) in &snapshot.jobs {
        let status = &report.status;
        let labels = [
            ("job_id", id.as_str()),
            ("port", status.spec.as_ref().map(|spec| spec.ports.as_str()).unwrap_or_default()),
            ("direction", status.spec.as_ref().map(|spec| spec.direction.as_str()).unwrap_or_default()),
            ("status", status.status.as_str()),
            ("reason", status.reason.map(Reason::as_str).unwrap_or_default()),
            ("interface", status.tap.as_deref().unwrap_or_default()),
        ];
        text.sample("telegen_job_info", &labels, 1);
    }
    text.family("telegen_job_warning", "gauge", "Warnings of each job; always 1.");
    for (id, report) in &snapshot.jobs {
        for warning in &report.status.warnings {
            text.sample("telegen_job_warning", &[("job_id", id), ("warning", warning.as_str())], 1);
        }
    }
}

/// A job's numbers with its labels.
struct Labelled<'a> {
    labels: [(&'static str, &'a str); 3],
    report: &'a Report,
}

impl<'a> Labelled<'a> {
    fn new(id: &'a str, report: &'a Report) -> Labelled<'a> {
        let spec = report.status.spec.as_ref();
        let port = spec.map(|spec| spec.ports.as_str()).unwrap_or_default();
        let direction = spec.map(|spec| spec.direction.as_str()).unwrap_or_default();
        Labelled { labels: [("job_id", id), ("port", port), ("direction", direction)], report }
    }

    fn with<'b>(&self, name: &'static str, value: &'b str) -> Vec<(&'static str, &'b str)>
    where
        'a: 'b,
    {
        self.labels.iter().copied().chain([(name, value)]).collect()
    }
}

/// The numbers that a job has once.
fn totals(text: &mut Text, jobs: &[Labelled<'_>]) {
    for (scalar, name) in scalars().filter_map(|scalar| Some((scalar, scalar.metric?))) {
        let kind = match scalar.kind {
            Kind::Sum => "counter",
            Kind::Gauge => "gauge",
        };
        text.family(name, kind, &scalar.sentence());
        for job in jobs {
            let results = job.report.results.as_deref();
            match results.and_then(|results| scalar.of(results, &job.report.flow_counts())) {
                Some(Value::Whole(number)) => text.sample(name, &job.labels, number),
                Some(Value::Decimal(number)) => text.sample(name, &job.labels, number),
                Some(Value::Instant(instant)) => text.sample(name, &job.labels, seconds(instant)),
                None => {}
            }
        }
    }
}

fn detail(text: &mut Text, jobs: &[Labelled<'_>]) {
    for name in HistogramName::ALL {
        let (family, help, per_unit) = match name {
            HistogramName::PacketSize => ("telegen_job_packet_size_bytes", "Frame lengths of all packets.", 1.0),
            HistogramName::Interarrival => (
                "telegen_job_interarrival_seconds",
                "Time between two packets, of 1 in 64 pairs or 1 in telegen_job_sample_rate if that is more.",
                1e9,
            ),
        };
        text.family(family, "histogram", help);
        for job in jobs {
            let detail = job.report.detail.iter().flat_map(|detail| &detail.histograms);
            for (_, histogram) in detail.filter(|(known, _)| known == name) {
                text.histogram(family, job, histogram, per_unit);
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus' numbers are 64-bit floats; milliseconds survive for 285,000 years"
)]
fn seconds(instant: Timestamp) -> f64 {
    instant.as_millisecond() as f64 / 1000.0
}

/// The text so far.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        match labels.as_slice() {
            [] => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
        }
    }

    /// Buckets are cumulative here, and each says its upper bound. `per_unit` of the histogram's units are one base unit.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are 64-bit floats")]
    fn histogram(&mut self, name: &str, job: &Labelled<'_>, histogram: &Histogram, per_unit: f64) {
        let mut sum = 0;
        for (index, count) in histogram.counts.iter().enumerate() {
            sum += count;
            let bound = histogram
                .bounds
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |bound| (*bound as f64 / per_unit).to_string());
            self.sample(&format!("{name}_bucket"), &job.with("le", &bound), sum);
        }
        self.sample(&format!("{name}_sum"), &job.labels, histogram.sum as f64 / per_unit);
        self.sample(&format!("{name}_count"), &job.labels, histogram.count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A label's value may hold anything; these three are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
