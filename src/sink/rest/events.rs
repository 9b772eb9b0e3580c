//! Server-sent events of one job: `status` and `results`, each when it changes, until the job is over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::error::ApiError;
use super::jobs::results_of;
use super::{EVENT_STREAMS, Shim};
use crate::io::tables::json::job;

/// A client that is gone without a word is noticed by a write.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(shim): State<Shim>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let streams = Arc::clone(&shim.streams);
    let place = streams.try_acquire_owned().map_err(|_| ApiError::too_many_streams(EVENT_STREAMS))?;
    if shim.tables.job(&id).await?.is_none() {
        return Err(ApiError::unknown_job(&id));
    }
    // One event ahead of the client: a slow one gets fewer and newer events, not late ones.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let mut follower = Follower { shim, id, sender, last_status: None, last_reading: Value::Null };
        if let Err(error) = follower.follow().await {
            tracing::info!(?error, job = follower.id, "the events of a job ended early");
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver).map(Ok)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Follower {
    shim: Shim,
    id: String,
    sender: mpsc::Sender<Event>,
    last_status: Option<Value>,
    /// `updated_at` of the results that were sent last.
    last_reading: Value,
}

impl Follower {
    async fn follow(&mut self) -> Result<(), ApiError> {
        let tables = Arc::clone(&self.shim.tables);
        let mut watch = tables.watch(&self.id).await?;
        let mut closing = self.shim.closing.clone();
        loop {
            // Results first: after the final status nothing follows.
            let Some(row) = watch.row().await? else { return Ok(()) };
            if let Some(results) = results_of(&self.shim, &self.id).await? {
                let reading = results["updated_at"].clone();
                if !reading.is_null() && reading != self.last_reading && !self.send("results", &results).await {
                    return Ok(());
                }
                self.last_reading = reading;
            }
            let status = job(&row);
            if self.last_status.as_ref() != Some(&status) {
                if !self.send("status", &status).await {
                    return Ok(());
                }
                self.last_status = Some(status);
            }
            if row.status.is_final() {
                return Ok(());
            }
            tokio::select! {
                changed = watch.changed(Instant::now() + KEEP_ALIVE) => changed?,
                () = self.sender.closed() => return Ok(()),
                _ = closing.wait_for(|closing| *closing) => return Ok(()),
            }
        }
    }

    /// Whether the client is still there.
    async fn send(&self, name: &str, value: &Value) -> bool {
        self.sender.send(Event::default().event(name).data(value.to_string())).await.is_ok()
    }
}
