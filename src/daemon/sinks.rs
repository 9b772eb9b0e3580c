//! The sinks' tasks, and how they are told to finish.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::io::tables::JobTables;
use crate::model::report::{ExportState, Snapshot};
use crate::sink::{Closing, otlp, rest};
use crate::sonic::DatabaseConfig;

/// How long they may take for their last words.
const END: Duration = Duration::from_millis(2_500);

/// The tasks.
pub(super) struct Sinks {
    closing: watch::Sender<Option<Closing>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Default for Sinks {
    fn default() -> Sinks {
        Sinks { closing: watch::channel(None).0, tasks: Vec::new() }
    }
}

impl Sinks {
    /// Says when they are to finish, and why.
    pub(super) fn closing(&self) -> watch::Receiver<Option<Closing>> {
        self.closing.subscribe()
    }

    /// Runs another one.
    pub(super) fn add(&mut self, sink: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(sink));
    }

    /// OTLP, and REST if it could be bound.
    pub(super) fn start_doors(
        &mut self,
        databases: &DatabaseConfig,
        rest: Option<rest::Bound>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
    ) -> anyhow::Result<()> {
        let (export_sender, export) = watch::channel(ExportState::default());
        let environment = otlp::Environment::of_process();
        self.add(otlp::ship::run(snapshot.clone(), export_sender, environment, closed(self.closing())));
        if let Some(bound) = rest {
            let tables = Arc::new(JobTables::new(databases)?);
            self.add(rest::serve_on(bound, tables, snapshot, export, closed(self.closing())));
        }
        Ok(())
    }

    /// They see the last snapshot, then why it was the last.
    pub(super) async fn end(self, snapshots: watch::Sender<Arc<Snapshot>>, why: Closing) {
        self.closing.send_replace(Some(why));
        drop(snapshots);
        let all = async {
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a sink ended badly");
                }
            }
        };
        if tokio::time::timeout(END, all).await.is_err() {
            tracing::warn!("the sinks did not finish in time");
        }
    }
}

async fn closed(mut closing: watch::Receiver<Option<Closing>>) {
    // An error means that the daemon is gone, which is an end too.
    let _ = closing.wait_for(Option::is_some).await;
}
