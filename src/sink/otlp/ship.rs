//! The task that exports: one lane per signal, so that a hanging metrics endpoint holds back no log. Decides when, never what.
//!
//! Memory is bounded whatever the collector does: of metrics only the latest exist, records wait in queues of [`QUEUE_MAX`] and are
//! counted when dropped. Nothing here is waited for by a job.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::board::Board;
use super::client::{self, Client, Service};
use super::cursor::Cursor;
use super::failure::{Backoff, Retry};
use super::metrics::point_count;
use super::origin::Origin;
use super::records::{self, Watcher};
use super::{Config, Environment};
use crate::model::report::{ExportState, Snapshot};
use crate::model::status::JobStatus;

/// Log records, and as many spans, that wait for the collector.
pub const QUEUE_MAX: usize = 1_000;
/// Records in one request: well under 1 MB.
const BATCH_MAX: usize = 200;
/// How long the last flush may take.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Exports every snapshot until `shutdown` is ready (or `snapshots` ends), then flushes what is due for at most two seconds.
pub async fn run(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    export_state: watch::Sender<ExportState>,
    environment: Environment,
    shutdown: impl Future<Output = ()>,
) {
    let board = Board::new(export_state);
    let config = Arc::new(Config::resolve(&snapshots.borrow().settings, &environment));
    board.configured(&config);
    let (orders, orders_seen) = watch::channel(Orders { config, closing: false });
    let (logs, queued_logs) = mpsc::channel(QUEUE_MAX);
    let (spans, queued_spans) = mpsc::channel(QUEUE_MAX);
    let source = Source { snapshots: snapshots.clone(), environment, orders, board: &board, logs, spans };
    let lane = || Seen { orders: orders_seen.clone(), snapshots: snapshots.clone(), board: &board };
    let work = async {
        tokio::join!(
            source.run(shutdown),
            metrics(Lane::new(lane())),
            records(Lane::<client::Logs>::new(lane()), queued_logs, records::logs_request),
            records(Lane::<client::Traces>::new(lane()), queued_spans, records::traces_request),
        )
    };
    let mut closing = orders_seen.clone();
    let patience = async {
        // An error means that the source is gone, and then the lanes are closing too.
        let _ = closing.wait_for(|orders| orders.closing).await;
        tokio::time::sleep(FLUSH_MAX).await;
    };
    tokio::select! {
        _ = work => {}
        () = patience => tracing::warn!("OTLP export: the last flush took longer than {FLUSH_MAX:?} and was given up"),
    }
}

/// What the lanes are told.
#[derive(Clone, Debug)]
struct Orders {
    config: Arc<Config>,
    /// One last attempt, then end.
    closing: bool,
}

/// Watches snapshots: fills the queues, follows the settings.
struct Source<'a> {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    environment: Environment,
    orders: watch::Sender<Orders>,
    board: &'a Board,
    logs: mpsc::Sender<opentelemetry_proto::tonic::logs::v1::LogRecord>,
    spans: mpsc::Sender<opentelemetry_proto::tonic::trace::v1::Span>,
}

impl Source<'_> {
    /// Ends with `shutdown`; the queues end with it.
    async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut watcher = Watcher::default();
        tokio::pin!(shutdown);
        loop {
            self.look(&mut watcher);
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                changed = self.snapshots.changed() => if changed.is_err() { break },
            }
        }
        self.look(&mut watcher);
        self.orders.send_modify(|orders| orders.closing = true);
    }

    fn look(&mut self, watcher: &mut Watcher) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let config = Config::resolve(&snapshot.settings, &self.environment);
        self.orders.send_if_modified(|orders| {
            let changed = *orders.config != config;
            if changed {
                self.board.configured(&config);
                orders.config = Arc::new(config);
            }
            changed
        });
        let changes = watcher.changes(&snapshot, Timestamp::now());
        self.board.forget(&changes.gone);
        if !self.orders.borrow().config.disabled {
            let refused = refused(&self.logs, changes.logs) + refused(&self.spans, changes.spans);
            if refused > 0 {
                self.board.dropped(refused);
            }
        }
    }
}

/// Queues `items` and returns how many found no room.
fn refused<T>(queue: &mpsc::Sender<T>, items: Vec<T>) -> u64 {
    items.into_iter().map(|item| u64::from(queue.try_send(item).is_err())).sum()
}

/// What every lane looks at.
struct Seen<'a> {
    orders: watch::Receiver<Orders>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    board: &'a Board,
}

/// One signal's way to the collector.
struct Lane<'a, S> {
    seen: Seen<'a>,
    /// The configuration in force, and the client made for it.
    client: Option<(Arc<Config>, Client)>,
    backoff: Backoff,
    service: std::marker::PhantomData<fn() -> S>,
}

/// What became of a request.
enum Delivery {
    /// Taken, `rejected` items excepted.
    Accepted { rejected: i64 },
    /// Refused for good.
    Refused,
    /// To be tried again no sooner than this.
    Later(Duration),
    /// There is nowhere to send it until the configuration changes.
    Nowhere,
}

impl<'a, S: Service> Lane<'a, S> {
    fn new(seen: Seen<'a>) -> Lane<'a, S> {
        Lane { seen, client: None, backoff: Backoff::default(), service: std::marker::PhantomData }
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.seen.orders.borrow().config)
    }

    fn is_closing(&self) -> bool {
        self.seen.orders.borrow().closing
    }

    fn origin(&self) -> Origin {
        Origin::new(&self.seen.snapshots.borrow().daemon, &self.config().resource)
    }

    /// Whether the snapshot still holds this very job: it may have gone while a request was under way.
    fn is_known(&self, job: &JobStatus) -> bool {
        let snapshot = self.seen.snapshots.borrow();
        snapshot.jobs.get(&job.key).is_some_and(|report| report.status.created_at == job.created_at)
    }

    async fn send(&mut self, request: S::Request) -> Delivery {
        let config = self.config();
        if self.client.as_ref().is_none_or(|(known, _)| *known != config) {
            self.backoff.reset();
            self.client = match config.target(S::SIGNAL) {
                Ok(url) => Some((Arc::clone(&config), Client::new(url, &config))),
                Err(error) => {
                    self.seen.board.unconfigured(S::SIGNAL, error.to_string());
                    None
                }
            };
        }
        let Some((_, client)) = &self.client else { return Delivery::Nowhere };
        match client.export::<S>(request).await {
            Ok(accepted) => {
                self.backoff.reset();
                self.seen.board.accepted(S::SIGNAL, &accepted, Timestamp::now());
                Delivery::Accepted { rejected: accepted.rejected }
            }
            Err(failure) => {
                self.seen.board.failed(S::SIGNAL, failure.message);
                if failure.reconnect {
                    self.client = None;
                }
                match failure.retry {
                    Retry::Never => Delivery::Refused,
                    retry => Delivery::Later(self.backoff.next_delay(random(), retry)),
                }
            }
        }
    }

    /// Returns after `delay`, or as soon as the orders change.
    async fn pause(&mut self, delay: Duration) {
        // An error means that the source is gone, after it said that it closes.
        let _ = tokio::time::timeout(delay, self.seen.orders.changed()).await;
    }
}

/// Without randomness there is no jitter, and no harm in that.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

/// Logs or traces: sends what is queued, as soon as it is.
async fn records<S: Service, T: Clone>(
    mut lane: Lane<'_, S>,
    mut queue: mpsc::Receiver<T>,
    request: fn(Origin, Vec<T>) -> S::Request,
) {
    let mut batch = Vec::new();
    while !batch.is_empty() || queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        lane.seen.orders.mark_unchanged();
        let closing = lane.is_closing();
        match lane.send(request(lane.origin(), batch.clone())).await {
            Delivery::Accepted { .. } => batch.clear(),
            Delivery::Refused => {
                lane.seen.board.dropped(u64::try_from(batch.len()).unwrap_or(u64::MAX));
                batch.clear();
            }
            Delivery::Later(_) | Delivery::Nowhere if closing => return,
            Delivery::Later(delay) => lane.pause(delay).await,
            Delivery::Nowhere => lane.pause(Duration::MAX).await,
        }
    }
}

/// Metrics: every interval, and at once when a job has ended.
async fn metrics(mut lane: Lane<'_, client::Metrics>) {
    let mut snapshots = lane.seen.snapshots.clone();
    let mut cursor = Cursor::default();
    let mut exported_at = Instant::now();
    let mut not_before = exported_at;
    // What failed is sent when the back-off ends, not a whole interval later.
    let mut overdue = false;
    loop {
        let (config, closing) = (lane.config(), lane.is_closing());
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let now = Instant::now();
        let due = overdue || now >= exported_at + config.interval || cursor.has_unsettled_ending(&snapshot);
        if !config.disabled && (closing || (due && now >= not_before)) {
            exported_at = now;
            overdue = false;
            match export(&mut lane, &mut cursor, &snapshot).await {
                Progress::Done => {}
                Progress::Later(delay) => {
                    not_before = Instant::now() + delay;
                    overdue = true;
                }
                Progress::Nowhere if closing => {}
                Progress::Nowhere => {
                    overdue = true;
                    lane.pause(Duration::MAX).await;
                }
            }
        }
        if closing {
            return;
        }
        if config.disabled {
            lane.pause(Duration::MAX).await;
            continue;
        }
        let next = if overdue { not_before } else { not_before.max(exported_at + config.interval) };
        tokio::select! {
            // First, because a snapshot with new settings is both: the back-off belongs to the configuration that has gone.
            biased;
            _ = lane.seen.orders.changed() => not_before = Instant::now(),
            Ok(()) = snapshots.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// How far an export came.
enum Progress {
    /// Nothing is due any more.
    Done,
    /// The rest is to be tried no sooner than this.
    Later(Duration),
    /// There is nowhere to send it until the configuration changes.
    Nowhere,
}

/// Sends all that is due, up to the first request that must be tried again.
async fn export(lane: &mut Lane<'_, client::Metrics>, cursor: &mut Cursor, snapshot: &Snapshot) -> Progress {
    let origin = lane.origin();
    for due in cursor.due(snapshot) {
        let mut any_point_taken = false;
        for request in due.requests(&origin) {
            let points = point_count(&request);
            match lane.send(request).await {
                Delivery::Accepted { rejected } => {
                    any_point_taken |= usize::try_from(rejected).is_ok_and(|n| n < points);
                }
                Delivery::Refused => {}
                Delivery::Later(delay) => return Progress::Later(delay),
                Delivery::Nowhere => return Progress::Nowhere,
            }
        }
        cursor.settle(&due);
        if any_point_taken && lane.is_known(&due.report.status) {
            lane.seen.board.exported(&due.report.status.key);
        }
    }
    Progress::Done
}
