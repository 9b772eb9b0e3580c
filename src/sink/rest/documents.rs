//! The large answers: rendered once for all who ask for the same, and kept as long as they are asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::error::ApiError;
use super::server::Seats;
use super::shared::{Room, Shared};
use super::{metrics, openapi};
use crate::io::tables::json::{JobsText, ResultsText};
use crate::io::tables::{HistogramRow, JobReport, JobTables};
use crate::model::report::{Detail, ExportState, FlowRow, Snapshot};

pub(super) const JSON: &str = "application/json";
/// Jobs whose results are kept at once, besides those that are being asked for.
const KEPT: usize = 8;

/// All of them.
#[derive(Debug)]
pub(super) struct Documents {
    tables: Arc<JobTables>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    export: watch::Receiver<ExportState>,
    room: Room,
    /// By job id.
    results: Mutex<BTreeMap<String, Arc<Kept>>>,
    jobs: Shared<Bytes>,
    metrics: Shared<Metrics>,
    openapi: OnceLock<Bytes>,
}

#[derive(Debug, Default)]
struct Kept {
    shared: Shared<Option<Arc<Document>>>,
    /// Since the last tidying.
    was_asked_for: AtomicBool,
}

/// A job's results.
#[derive(Debug)]
pub(super) struct Document {
    /// What they were rendered of.
    report: JobReport,
    detail: Option<Timestamp>,
    export: ExportState,
    /// When the tap was read.
    pub(super) updated_at: Option<Timestamp>,
    /// As an event is written; the JSON is a part of the same bytes.
    pub(super) event: Bytes,
}

/// Before and after a document where it is an event. JSON has no line breaks of its own.
const EVENT: (&str, &str) = ("event: results\ndata: ", "\n\n");

impl Document {
    /// JSON.
    pub(super) fn text(&self) -> Bytes {
        self.event.slice(EVENT.0.len()..self.event.len() - EVENT.1.len())
    }
}

#[derive(Clone, Debug)]
struct Metrics {
    snapshot: Weak<Snapshot>,
    export: ExportState,
    text: Bytes,
}

impl Documents {
    pub(super) fn new(
        tables: Arc<JobTables>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        export: watch::Receiver<ExportState>,
        seats: Arc<Seats>,
    ) -> Documents {
        Documents {
            tables,
            snapshot,
            export,
            room: Room::new(seats),
            results: Mutex::default(),
            jobs: Shared::default(),
            metrics: Shared::default(),
            openapi: OnceLock::new(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Kept>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job's results; `None` if nothing is said of it.
    pub(super) async fn results(&self, id: &str) -> Result<Option<Arc<Document>>, ApiError> {
        let entry = {
            let mut kept = self.kept();
            if kept.len() >= KEPT && !kept.contains_key(id) {
                kept.retain(|_, entry| Arc::strong_count(entry) > 1);
            }
            Arc::clone(kept.entry(id.to_owned()).or_default())
        };
        entry.was_asked_for.store(true, Ordering::Relaxed);
        entry.shared.get(async |before| self.read_results(id, before.flatten()).await).await
    }

    async fn read_results(&self, id: &str, before: Option<Arc<Document>>) -> Result<Option<Arc<Document>>, ApiError> {
        let detail = self.snapshot.borrow().jobs.get(id).and_then(|report| report.detail.clone());
        let report = match &detail {
            Some(detail) => match self.tables.job(id).await? {
                Some(job) => {
                    let histograms = histograms(detail);
                    Some(JobReport { job, results: self.tables.results(id).await?, flows: Vec::new(), histograms })
                }
                None => None,
            },
            None => self.tables.report(id).await?,
        };
        let Some(report) = report else { return Ok(None) };
        let export = self.export.borrow().clone();
        let read_at = detail.as_ref().map(|detail| detail.updated_at);
        let is_same =
            |before: &Arc<Document>| before.report == report && before.detail == read_at && before.export == export;
        if let Some(before) = before.filter(is_same) {
            return Ok(Some(before));
        }
        let flows = match &detail {
            Some(detail) => detail.flows.as_ref().map_or(&[] as &[FlowRow], |flows| &flows.top),
            None => &report.flows,
        };
        let mut event = EVENT.0.as_bytes().to_vec();
        write_json(&mut event, &ResultsText::new(&report, flows, Some(&export)))?;
        event.extend_from_slice(EVENT.1.as_bytes());
        let event = self.room.hold(event, || self.forget_but(id)).await?;
        let updated_at = report.results.as_ref().map(|row| row.results.updated_at);
        Ok(Some(Arc::new(Document { report, detail: read_at, export, updated_at, event })))
    }

    /// All known jobs.
    pub(super) async fn jobs(&self) -> Result<Bytes, ApiError> {
        self.jobs
            .get(async |_| {
                let mut text = Vec::new();
                write_json(&mut text, &JobsText(&self.tables.jobs().await?))?;
                self.room.hold(text, || self.forget_but("")).await
            })
            .await
    }

    /// Prometheus text.
    pub(super) async fn metrics(&self) -> Result<Bytes, ApiError> {
        let metrics = self.metrics.get(async |before| {
            let (snapshot, export) = (self.snapshot.borrow().clone(), self.export.borrow().clone());
            let weak = Arc::downgrade(&snapshot);
            if let Some(before) = before.filter(|before| before.snapshot.ptr_eq(&weak) && before.export == export) {
                return Ok(before);
            }
            let text = metrics::render(&snapshot, &export).into_bytes();
            let text = self.room.hold(text, || self.forget_but("")).await?;
            Ok(Metrics { snapshot: weak, export, text })
        });
        Ok(metrics.await?.text)
    }

    /// The description of this interface: it never changes.
    pub(super) fn openapi(&self) -> Bytes {
        self.openapi.get_or_init(|| openapi::document().to_string().into()).clone()
    }

    /// Gives up what is only kept, in case somebody asks again.
    fn forget_but(&self, id: &str) {
        self.kept().retain(|known, entry| known == id || Arc::strong_count(entry) > 1);
        self.jobs.forget();
        self.metrics.forget();
    }

    /// Gives up what nobody has asked for since the last time. Says whether there was anything.
    pub(super) fn tidy(&self) -> bool {
        let is_used = |entry: &Arc<Kept>| entry.was_asked_for.swap(false, Ordering::Relaxed);
        let mut kept = self.kept();
        let before = kept.len();
        kept.retain(|_, entry| is_used(entry) || Arc::strong_count(entry) > 1);
        let results = kept.len() < before;
        let (jobs, metrics) = (self.jobs.forget(), self.metrics.forget());
        results || jobs || metrics
    }
}

fn histograms(detail: &Detail) -> Vec<HistogramRow> {
    detail
        .histograms
        .iter()
        .map(|(name, histogram)| HistogramRow::of(*name, histogram, detail.rate_of(*name)))
        .collect()
}

fn write_json(text: &mut Vec<u8>, value: &impl Serialize) -> Result<(), ApiError> {
    serde_json::to_writer(text, value)
        .map_err(|error| ApiError::internal(format!("an answer could not be written: {error}")))
}

/// An answer that is one of these texts.
pub(super) fn response(content_type: &'static str, text: Bytes) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
