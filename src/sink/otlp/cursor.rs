//! What the collector has not been told yet. Pure.
//!
//! Metrics are cumulative, so nothing is queued: a job is due when its numbers are newer than those the collector last took (or
//! refused for good), and what is sent is always the latest. So the last numbers of a job go out once, after its end, and are tried again as
//! long as the snapshot holds the job.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;

use super::metrics::Export;
use crate::model::report::{Detail, FlowRow, Report, Results, Snapshot};
use crate::model::sample::Counter;

/// How far each job has been exported.
#[derive(Debug, Default)]
pub struct Cursor {
    jobs: BTreeMap<String, Progress>,
}

#[derive(Debug)]
struct Progress {
    /// Tells a job from an earlier one of the same id.
    started_at: Timestamp,
    /// `updated_at` of the totals that are settled.
    totals_at: Option<Timestamp>,
    /// `updated_at` of the detail that is settled.
    detail_at: Option<Timestamp>,
    /// What was last said of each flow of the latest top, by [`flow_hash`].
    flows: HashMap<u64, Counter>,
}

impl Cursor {
    /// The jobs with numbers that are not settled, each with what is due of it.
    pub fn due(&mut self, snapshot: &Snapshot) -> Vec<Export> {
        self.jobs.retain(|key, _| snapshot.jobs.contains_key(key));
        snapshot.jobs.values().filter_map(|report| self.due_of(report)).collect()
    }

    /// Whether a job is over and its last numbers are not settled.
    #[must_use]
    pub fn has_unsettled_ending(&self, snapshot: &Snapshot) -> bool {
        snapshot.jobs.values().any(|report| {
            let unsettled = || {
                let (totals, detail) = self.newer(report);
                totals.is_some() || detail.is_some()
            };
            report.status.status.is_final() && is_exported(report) && unsettled()
        })
    }

    /// The collector took `export`, or refused it for good: it is not due again.
    pub fn settle(&mut self, export: &Export) {
        if let Some(progress) = self.jobs.get_mut(&export.report.status.key) {
            progress.totals_at = export.totals.as_ref().map(|totals| totals.updated_at).or(progress.totals_at);
            progress.detail_at = export.detail.as_ref().map(|detail| detail.updated_at).or(progress.detail_at);
        }
    }

    fn due_of(&mut self, report: &Arc<Report>) -> Option<Export> {
        let started_at = report.status.started_at?;
        let (totals, detail) = self.newer(report);
        if !is_exported(report) || (totals.is_none() && detail.is_none()) {
            return None;
        }
        let new = || Progress { started_at, totals_at: None, detail_at: None, flows: HashMap::new() };
        let progress = self.jobs.entry(report.status.key.clone()).or_insert_with(new);
        if progress.started_at != started_at {
            *progress = new();
        }
        let flows = detail.as_ref().and_then(|detail| detail.flows.as_ref()).map(|flows| flows.top.as_slice());
        let flow_values = flows.map(|flows| progress.never_fall(flows)).unwrap_or_default();
        Some(Export { report: Arc::clone(report), started_at, totals, detail, flow_values })
    }

    /// The totals and the detail of `report` that are not settled.
    fn newer(&self, report: &Report) -> (Option<Arc<Results>>, Option<Arc<Detail>>) {
        let same_run = |progress: &&Progress| Some(progress.started_at) == report.status.started_at;
        let progress = self.jobs.get(&report.status.key).filter(same_run);
        let totals_at = progress.and_then(|progress| progress.totals_at);
        let detail_at = progress.and_then(|progress| progress.detail_at);
        let totals = report.results.as_ref().filter(|results| Some(results.updated_at) > totals_at);
        let detail = report.detail.as_ref().filter(|detail| Some(detail.updated_at) > detail_at);
        (totals.cloned(), detail.cloned())
    }
}

impl Progress {
    /// The estimate of each flow, or what was said of it before if that was more.
    ///
    /// Both estimate a number that only grows. An estimate can fall when a flow is evicted on one CPU and counted on, and the reader
    /// of a monotonic sum takes that for a restart: the whole count would appear as new traffic. Only flows of the latest top are remembered: one
    /// that left a full top comes back with at least its smallest value. What is left is a flow that was evicted while the top had room.
    fn never_fall(&mut self, flows: &[FlowRow]) -> Vec<Counter> {
        let raised = |flow: &FlowRow| {
            let said = self.flows.get(&flow_hash(flow)).copied().unwrap_or_default();
            let estimated = flow.estimated;
            Counter { packets: estimated.packets.max(said.packets), bytes: estimated.bytes.max(said.bytes) }
        };
        let values: Vec<Counter> = flows.iter().map(raised).collect();
        self.flows = flows.iter().map(flow_hash).zip(values.iter().copied()).collect();
        values
    }
}

/// Jobs that never counted, or do not want it, are not exported.
fn is_exported(report: &Report) -> bool {
    report.status.started_at.is_some() && report.status.spec.as_ref().is_some_and(|spec| spec.otlp_export)
}

fn flow_hash(flow: &FlowRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&flow.src, &flow.dst, flow.is_ipv6, flow.l4_sport, flow.l4_dport, flow.ip_proto, flow.vlan).hash(&mut hasher);
    hasher.finish()
}
