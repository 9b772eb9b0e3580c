//! The numbers of all jobs: an aggregator for each, the polls of the ports' counters beside it, and the snapshot they add up
//! to for the sinks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::journal;
use crate::io::counters::Counters;
use crate::model::aggregate::{Aggregator, PortPoll};
use crate::model::job::{JobId, JobSpec};
use crate::model::report::{DaemonInfo, Detail, Report, Results, Snapshot};
use crate::model::sample::Sample;
use crate::model::schema::{DaemonField, Status};
use crate::model::settings::Settings;
use crate::model::status::{JobStatus, Refused};
use crate::model::supervisor::{Event, Supervisor};

/// Which sessions of ours stay although no job wants them; absent if there are none.
const SESSIONS_HELD: &str = DaemonField::SessionsHeld.as_str();
/// Polls that wait at the most: a COUNTERS_DB that is slower than the readings loses polls, not the daemon.
const POLLS_WAITING: usize = 8;

/// What a poll found.
pub struct PollAnswer {
    id: JobId,
    ports: BTreeSet<String>,
    poll: PortPoll,
}

/// One job's numbers.
struct Job {
    spec: Arc<JobSpec>,
    topk_flows: usize,
    /// The ports whose counters were asked for last.
    polled: BTreeSet<String>,
    aggregator: Option<Aggregator>,
    results: Option<Arc<Results>>,
    detail: Option<Arc<Detail>>,
}

/// All jobs' numbers, and the latest snapshot.
pub struct Numbers {
    info: Arc<DaemonInfo>,
    settings: Arc<Settings>,
    anonymize_key: [u8; 16],
    jobs: BTreeMap<String, Job>,
    reports: BTreeMap<String, Arc<Report>>,
    /// Jobs whose numbers changed since the last snapshot.
    dirty: BTreeSet<String>,
    /// Something besides a report changed.
    stale: bool,
    poll_requests: mpsc::Sender<(JobId, BTreeSet<String>)>,
}

impl Numbers {
    /// No jobs yet; answers of `counters` come on `answers`.
    pub fn new(
        info: DaemonInfo,
        settings: Settings,
        counters: Counters,
        answers: mpsc::Sender<PollAnswer>,
    ) -> anyhow::Result<Numbers> {
        let mut anonymize_key = [0; 16];
        getrandom::fill(&mut anonymize_key).context("ask the kernel for random bytes")?;
        let (poll_requests, requests) = mpsc::channel(POLLS_WAITING);
        tokio::spawn(poll(counters, requests, answers));
        Ok(Numbers {
            info: Arc::new(info),
            settings: Arc::new(settings),
            anonymize_key,
            jobs: BTreeMap::new(),
            reports: BTreeMap::new(),
            dirty: BTreeSet::new(),
            stale: false,
            poll_requests,
        })
    }

    /// A snapshot without jobs.
    pub fn first_snapshot(&self) -> Arc<Snapshot> {
        let (daemon, settings) = (Arc::clone(&self.info), Arc::clone(&self.settings));
        Arc::new(Snapshot { daemon, settings, refused: Refused::default(), jobs: BTreeMap::new() })
    }

    /// A tap is about to be opened for a job.
    pub fn expect(&mut self, id: &JobId, spec: &Arc<JobSpec>, settings: &Settings) {
        let job = Job {
            spec: Arc::clone(spec),
            topk_flows: settings.topk_flows,
            polled: BTreeSet::new(),
            aggregator: None,
            results: None,
            detail: None,
        };
        self.jobs.insert(id.as_str().to_owned(), job);
    }

    /// A reading, the first of which opens the job's numbers; `ports` are polled beside it.
    pub fn read(&mut self, id: &JobId, sample: Sample, ports: BTreeSet<String>) {
        self.read_last(id, sample);
        if let Some(job) = self.jobs.get_mut(id.as_str()).filter(|job| !ports.is_empty() && job.polled != ports) {
            let before = std::mem::replace(&mut job.polled, ports.clone());
            if let Some(aggregator) = job.aggregator.as_mut().filter(|_| !before.is_empty()) {
                aggregator.sources_changed();
            }
        }
        // A full queue means that COUNTERS_DB is slow: this poll is left out, coverage stands between the others.
        if !ports.is_empty() && self.poll_requests.try_send((id.clone(), ports)).is_err() {
            tracing::debug!(%id, "a poll of the port's counters was left out");
        }
    }

    /// The reading that closes the tap.
    pub fn read_last(&mut self, id: &JobId, sample: Sample) {
        let Some(job) = self.jobs.get_mut(id.as_str()) else { return };
        let aggregator = job.aggregator.get_or_insert_with(|| {
            Aggregator::new(Arc::clone(&job.spec), job.topk_flows, self.anonymize_key, sample.taken_at_ns)
        });
        aggregator.sample(sample, Timestamp::now());
        self.dirty.insert(id.as_str().to_owned());
        job.results = aggregator.results().map(Arc::new);
        job.detail = aggregator.latest_detail();
    }

    /// A poll of the port's counters, at `at` on the steady clock. It shows in the next reading's results.
    pub fn polled(&mut self, answer: PollAnswer, at: Duration) -> Option<Event> {
        // An answer on ports that the job copies no longer says nothing of its coverage.
        let job = self.jobs.get_mut(answer.id.as_str()).filter(|job| job.polled == answer.ports)?;
        let warning = job.aggregator.as_mut()?.poll(answer.poll, at)?;
        Some(Event::Warned { id: answer.id, warning })
    }

    /// The job's results are cleared.
    pub fn forget(&mut self, key: &str) {
        self.jobs.remove(key);
        self.stale |= self.reports.remove(key).is_some();
        self.dirty.insert(key.to_owned());
    }

    /// The settings changed; `errors` are what of them could not be taken.
    pub fn settings_changed(&mut self, settings: &Settings, errors: Vec<String>) {
        self.stale |= *self.settings != *settings || self.info.settings_errors != errors;
        self.settings = Arc::new(settings.clone());
        self.info = Arc::new(DaemonInfo { settings_errors: errors, ..DaemonInfo::clone(&self.info) });
    }

    /// The sessions of ours that stay although no job wants them, each in a sentence.
    fn sessions_held(&mut self, held: &BTreeMap<String, String>) {
        let said = held.values().cloned().collect::<Vec<_>>().join("; ");
        if self.info.capabilities.get(SESSIONS_HELD).map_or("", String::as_str) != said {
            let mut capabilities = self.info.capabilities.clone();
            capabilities.remove(SESSIONS_HELD);
            capabilities.extend((!said.is_empty()).then(|| (SESSIONS_HELD.to_owned(), said)));
            self.info = Arc::new(DaemonInfo { capabilities, ..DaemonInfo::clone(&self.info) });
            self.stale = true;
        }
    }

    /// The switch was looked at, and this is what it can do now.
    pub fn switch_seen(&mut self, mut capabilities: BTreeMap<String, String>) {
        capabilities.extend(
            self.info.capabilities.get_key_value(SESSIONS_HELD).map(|(name, said)| (name.clone(), said.clone())),
        );
        if self.info.capabilities != capabilities {
            self.info = Arc::new(DaemonInfo { capabilities, ..DaemonInfo::clone(&self.info) });
            self.stale = true;
        }
    }

    /// The snapshot, if it differs from the one before. Only the jobs that `changed`, and those whose numbers did, are looked at.
    pub fn snapshot(&mut self, supervisor: &Supervisor, changed: BTreeSet<String>) -> Option<Arc<Snapshot>> {
        self.sessions_held(&supervisor.held_sessions());
        let mut differs = std::mem::take(&mut self.stale);
        for key in changed.into_iter().chain(std::mem::take(&mut self.dirty)) {
            let known = self.reports.get(&key);
            let Some(status) = supervisor.status(&key) else {
                differs |= self.reports.remove(&key).is_some();
                self.jobs.remove(&key);
                continue;
            };
            let report = self.report(status, known);
            if !known.is_some_and(|known| Arc::ptr_eq(known, &report)) {
                differs = true;
                self.reports.insert(key, report);
            }
        }
        let refused = supervisor.refused();
        differs.then(|| {
            let (daemon, settings) = (Arc::clone(&self.info), Arc::clone(&self.settings));
            Arc::new(Snapshot { daemon, settings, refused, jobs: self.reports.clone() })
        })
    }

    /// The known report if nothing in it changed, otherwise a new one.
    fn report(&self, status: JobStatus, known: Option<&Arc<Report>>) -> Arc<Report> {
        let job = self.jobs.get(&status.key);
        let results = job.and_then(|job| job.results.clone());
        let detail = job.and_then(|job| job.detail.clone());
        if let Some(known) = known
            && known.status == status
            && same(known.results.as_ref(), results.as_ref())
            && same(known.detail.as_ref(), detail.as_ref())
        {
            return Arc::clone(known);
        }
        if known.is_none_or(|known| known.status.status != status.status)
            && let Some(line) = journal::line(&status, results.as_deref())
        {
            say(status.status, &line);
        }
        Arc::new(Report { status, results, detail })
    }
}

/// Says a job's line. Rows that never ran have places of their own in the log, which counts lines by the place that they come from: a flood
/// of them hides no line of a job that did.
fn say(status: Status, line: &str) {
    match status {
        Status::Rejected => tracing::warn!("{line}"),
        Status::Expired => tracing::info!("{line}"),
        Status::Failed => tracing::warn!("{line}"),
        Status::Queued | Status::Starting | Status::Running | Status::Stopping | Status::Done | Status::Stopped => {
            tracing::info!("{line}");
        }
    }
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

async fn poll(
    mut counters: Counters,
    mut requests: mpsc::Receiver<(JobId, BTreeSet<String>)>,
    answers: mpsc::Sender<PollAnswer>,
) {
    while let Some((id, ports)) = requests.recv().await {
        match counters.poll(&ports).await {
            Ok(poll) => {
                if answers.send(PollAnswer { id, ports, poll }).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%id, %error, "the port's counters could not be polled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::say;
    use crate::io::executor;
    use crate::model::schema::Status;
    use crate::model::supervisor::About;

    /// The places that lines come from, as the log tells them apart.
    #[derive(Clone, Default)]
    struct Places(Arc<Mutex<BTreeSet<usize>>>);

    impl<S: Subscriber> Layer<S> for Places {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().expect("nobody panicked").insert(std::ptr::from_ref(event.metadata()).addr());
        }
    }

    fn places_of(lines: impl FnOnce()) -> BTreeSet<usize> {
        let places = Places::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(places.clone()), lines);
        places.0.lock().expect("nobody panicked").clone()
    }

    #[test]
    fn a_flood_of_rows_has_places_of_its_own_in_the_log() {
        let of_rows = places_of(|| {
            say(Status::Rejected, "job x refused: reason=no_mirror_port");
            say(Status::Expired, "job x ended: status=expired");
            executor::say(About::Rows, "rows of jobs could not be deleted yet: Redis is away");
        });
        let of_others = places_of(|| {
            say(Status::Failed, "job a ended: status=failed reason=mirror_lost");
            say(Status::Done, "job a ended: status=done");
            say(Status::Running, "job a started:");
            executor::say(About::Switch, "mirror session telegen_x belongs to no job: deleting it");
        });
        assert_eq!((of_rows.len(), of_others.len()), (3, 3));
        assert!(of_rows.is_disjoint(&of_others));
    }
}
