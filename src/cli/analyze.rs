//! `analyze`: capture files through the tap's program in this process, and what a job would say of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::args::AnalyzeArgs;
use super::output::{Failure, Out};
use super::render;
use crate::io::capture::{Capture, LinkType, OpenError};
use crate::io::replay::{Passed, Replay};
use crate::io::tables::json::results as results_json;
use crate::io::tables::{HistogramRow, JobReport, JobRow, ResultsRow};
use crate::io::tap::TapError;
use crate::model::aggregate::Aggregator;
use crate::model::job::{Fields, JobSpec};
use crate::model::report::FlowRow;
use crate::model::sample::Sample;
use crate::model::schema::{JobField, Status, StatusField};
use crate::model::settings::Settings;
use crate::model::value::FieldError;

/// What is said of one file.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    frames: u64,
    cut: u64,
    empty: u64,
    others: BTreeMap<LinkType, u64>,
    /// Why not all of it, or nothing, was counted.
    trouble: Option<String>,
}

impl File {
    fn unopened(name: String, error: &OpenError) -> File {
        File { name, frames: 0, cut: 0, empty: 0, others: BTreeMap::new(), trouble: Some(error.to_string()) }
    }

    /// What a reader of the numbers must know of this file, a sentence each.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let others: Vec<String> = self.others.iter().map(|(link, count)| format!("{count} of {link}")).collect();
        if !others.is_empty() {
            remarks.push(format!(
                "only Ethernet frames are counted; its records of other link types: {}",
                others.join(", ")
            ));
        }
        if self.empty > 0 {
            remarks.push(format!("{} of its records are of no bytes, and not counted", self.empty));
        }
        if self.cut > 0 {
            remarks.push(format!(
                "of {} of its {} frames only the beginning was captured; bytes and lengths are those that they had",
                self.cut, self.frames
            ));
        }
        remarks.extend(self.trouble.clone());
        remarks
    }

    /// Whether something was asked of the file that it could not give.
    fn is_failed(&self) -> bool {
        self.trouble.is_some() || (self.frames == 0 && !self.others.is_empty())
    }

    fn to_json(&self) -> Value {
        let others: Map<String, Value> =
            self.others.iter().map(|(link, count)| (link.to_string(), Value::from(*count))).collect();
        json!({
            "file": self.name,
            "frames": self.frames,
            "frames_cut": self.cut,
            "records_empty": self.empty,
            "records_not_ethernet": others,
            "error": self.trouble,
        })
    }
}

/// Analyses the files, and says on stderr what could not be: exit code 0 if all of all files was counted, 1 if not, 2
/// usage.
#[must_use]
pub fn analyze(args: &AnalyzeArgs) -> ExitCode {
    super::log_to_stderr("warn");
    let mut out = Out::standard();
    match try_analyze(args, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn try_analyze(args: &AnalyzeArgs, out: &mut Out) -> Result<(), Failure> {
    let settings = Settings::default();
    let spec = spec(args, &settings).map_err(|error| Failure::usage(&error))?;
    let random =
        || getrandom::u64().map_err(|error| Failure::trouble("internal", format!("no random numbers: {error}")));
    let mut replay = Replay::new(&spec, random()?);
    let mut files = Vec::new();
    for path in &args.files {
        files.push(pass(&mut replay, path).map_err(|error| no_memory(&error))?);
    }
    let sample = replay.sample().map_err(|error| no_memory(&error))?;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random()?.to_ne_bytes());
    key[8..].copy_from_slice(&random()?.to_ne_bytes());
    let spec = Arc::new(spec);
    let aggregator = aggregate(Arc::clone(&spec), &settings, key, replay.opened_ns(), sample);
    let is_failed = files.iter().any(File::is_failed);
    let report = report(&spec, &aggregator, &settings, &args.files, is_failed);
    print(&report, &files, args, out)?;
    let failed: Vec<String> = files.iter().filter(|file| file.is_failed()).map(said).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::trouble("capture", failed.join("; "))) }
}

/// The specification of a job that is asked the same; it has a port because every job has one.
fn spec(args: &AnalyzeArgs, settings: &Settings) -> Result<JobSpec, FieldError> {
    let mut fields = args.to_fields()?;
    fields.insert(JobField::Port, "Ethernet0".to_owned());
    let row: Fields = fields.into_iter().map(|(field, value)| (field.table_name(), value)).collect();
    JobSpec::parse(&row, settings)
}

fn pass(replay: &mut Replay, path: &Path) -> Result<File, TapError> {
    let name = path.display().to_string();
    let mut capture = match Capture::open(path) {
        Ok(capture) => capture,
        Err(error) => return Ok(File::unopened(name, &error)),
    };
    let Passed { frames, cut, flaw } = replay.pass(&mut capture)?;
    let trouble = flaw.map(|flaw| flaw.to_string());
    Ok(File { name, frames, cut, empty: capture.empty(), others: capture.others().clone(), trouble })
}

fn no_memory(error: &TapError) -> Failure {
    Failure::trouble("internal", error.to_string())
}

/// Two readings, at the first frame and at the last: rates are of the time between them.
fn aggregate(spec: Arc<JobSpec>, settings: &Settings, key: [u8; 16], opened_ns: u64, sample: Sample) -> Aggregator {
    let mut aggregator = Aggregator::new(spec, settings.topk_flows, key, opened_ns);
    let wall = |at_ns: u64| Timestamp::from_nanosecond(at_ns.into()).unwrap_or(Timestamp::MAX);
    let ended = wall(sample.taken_at_ns);
    aggregator.sample(Sample::empty(opened_ns), wall(opened_ns));
    aggregator.sample(sample, ended);
    aggregator
}

/// What `results` would read of a job that saw this.
fn report(
    spec: &JobSpec,
    aggregator: &Aggregator,
    settings: &Settings,
    files: &[std::path::PathBuf],
    is_failed: bool,
) -> JobReport {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut fields: Fields = spec.to_fields().into_iter().map(|(field, value)| (field.table_name(), value)).collect();
    let status = if is_failed { Status::Failed } else { Status::Done };
    fields.remove(&JobField::Direction.table_name());
    fields.insert(JobField::Port.table_name(), names.join(" "));
    fields.insert(StatusField::Status.to_string(), status.to_string());
    let job = JobRow { id: "analyze".to_owned(), status, reason: None, warnings: Vec::new(), fields };
    let detail = aggregator.latest_detail();
    let flows = detail.as_ref().and_then(|detail| detail.flows.as_ref());
    let flow_counts = detail.as_ref().map(|detail| detail.flow_counts()).unwrap_or_default();
    let results = aggregator.results().map(|results| ResultsRow { results, flows: flow_counts });
    let top: &[FlowRow] = flows.map_or(&[], |flows| &flows.top);
    let histograms = detail.iter().flat_map(|detail| {
        detail.histograms.iter().map(|(name, histogram)| HistogramRow::of(*name, histogram, detail.rate_of(*name)))
    });
    let histograms = histograms.collect();
    JobReport { job, results, flows: top[..top.len().min(settings.state_flows)].to_vec(), histograms }
}

fn print(report: &JobReport, files: &[File], args: &AnalyzeArgs, out: &mut Out) -> Result<(), Failure> {
    if args.format.json {
        let mut results = results_json(report, None);
        if let Value::Object(members) = &mut results {
            members.insert("job_id".to_owned(), Value::Null);
            members.insert("captures".to_owned(), files.iter().map(File::to_json).collect());
        }
        return out.json(&results);
    }
    let remarks: Vec<String> = files
        .iter()
        .flat_map(|file| file.remarks().into_iter().map(|remark| format!("{}: {remark}", file.name)))
        .collect();
    out.text(&render::analysis(report, &remarks, out.glyphs))
}

/// Why a file failed.
fn said(file: &File) -> String {
    format!("{}: {}", file.name, file.remarks().join("; "))
}
