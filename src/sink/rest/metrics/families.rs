//! The families of a job's counters as Prometheus has them. Pure.

use super::{Labelled, Text};
use crate::model::counter::Counter;
use crate::model::measure::{Family, MEASURES, Measure};
use crate::model::report::Results;
use crate::model::schema::{CountFamily, CounterFamily};

/// Zeros are left out: most classes never occur on a port.
pub(super) fn families(text: &mut Text, jobs: &[Labelled<'_>]) {
    for measure in MEASURES {
        match measure {
            Measure::One(_) => {}
            Measure::Counters(family) => counters(text, jobs, family),
            Measure::Counts(family) => counts(text, jobs, family),
        }
    }
}

fn counters(text: &mut Text, jobs: &[Labelled<'_>], family: &Family<CounterFamily>) {
    let packets: fn(&Counter) -> u64 = |counter| counter.packets;
    let bytes: fn(&Counter) -> u64 = |counter| counter.bytes;
    for (unit, value) in [("packets", packets), ("bytes", bytes)] {
        let series = format!("telegen_job_{}_{unit}_total", family.metric);
        text.family(&series, "counter", &format!("{}.", family.help));
        for (job, results) in with_results(jobs) {
            for (member, counter) in family.of.seen(results) {
                text.sample(&series, &job.with(family.label, member), value(&counter));
            }
        }
    }
}

fn counts(text: &mut Text, jobs: &[Labelled<'_>], family: &Family<CountFamily>) {
    let series = format!("telegen_job_{}_total", family.metric);
    text.family(&series, "counter", &format!("{}.", family.help));
    for (job, results) in with_results(jobs) {
        for (member, count) in family.of.seen(results) {
            text.sample(&series, &job.with(family.label, &member), count);
        }
    }
}

fn with_results<'a, 'b>(jobs: &'a [Labelled<'b>]) -> impl Iterator<Item = (&'a Labelled<'b>, &'b Results)> {
    jobs.iter().filter_map(|job| Some((job, job.report.results.as_deref()?)))
}
