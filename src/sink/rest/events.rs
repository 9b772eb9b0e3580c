//! Server-sent events of one job: `status` and `results`, each when it changes, until the job is over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::unfold;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::documents::response;
use super::error::ApiError;
use super::{EVENT_STREAMS, Shim};
use crate::io::tables::JobChanges;
use crate::io::tables::json::job;

/// A client that is gone without a word is noticed by a write.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(State(shim): State<Shim>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let streams = Arc::clone(&shim.streams);
    let place = streams.try_acquire_owned().map_err(|_| ApiError::too_many_streams(EVENT_STREAMS))?;
    let changes = shim.tables.changes(&id).await?;
    if shim.tables.job(&id).await?.is_none() {
        return Err(ApiError::unknown_job(&id));
    }
    let follower = Follower {
        shim,
        id,
        changes,
        unsent: VecDeque::new(),
        sent_at: Instant::now(),
        last_status: None,
        last_reading: None,
        stage: Stage::Look,
        _place: place,
    };
    // The connection asks for the next event when it has room for it: a slow client gets fewer and newer events, not late ones.
    let body = Body::from_stream(unfold(follower, async |mut follower| {
        let bytes = follower.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), follower))
    }));
    let mut response = response("text/event-stream", Bytes::new());
    *response.body_mut() = body;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What comes when everything is sent.
enum Stage {
    Look,
    Wait,
    End,
}

struct Follower {
    shim: Shim,
    id: String,
    changes: JobChanges,
    unsent: VecDeque<Bytes>,
    sent_at: Instant,
    last_status: Option<Value>,
    /// `updated_at` of the results that were sent last.
    last_reading: Option<Timestamp>,
    stage: Stage,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next part of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.unsent.pop_front() {
                self.sent_at = Instant::now();
                return Some(bytes);
            }
            let step = match self.stage {
                Stage::Look => self.look().await,
                Stage::Wait => self.wait().await,
                Stage::End => return None,
            };
            self.stage = step.unwrap_or_else(|error| {
                tracing::info!(?error, job = self.id, "the events of a job ended early");
                Stage::End
            });
        }
    }

    async fn look(&mut self) -> Result<Stage, ApiError> {
        // Results first: after the final status nothing follows.
        let Some(row) = self.shim.tables.job(&self.id).await? else { return Ok(Stage::End) };
        if let Some(document) = self.shim.documents.results(&self.id).await? {
            let is_new = document.updated_at.is_some() && document.updated_at != self.last_reading;
            self.last_reading = document.updated_at;
            if is_new {
                self.unsent.push_back(document.event.clone());
            }
        }
        let status = job(&row);
        if self.last_status.as_ref() != Some(&status) {
            self.unsent.push_back(format!("event: status\ndata: {status}\n\n").into());
            self.last_status = Some(status);
        }
        if row.status.is_final() {
            return Ok(Stage::End);
        }
        if self.unsent.is_empty() && self.sent_at.elapsed() >= KEEP_ALIVE {
            self.unsent.push_back(Bytes::from_static(b":\n\n"));
        }
        Ok(Stage::Wait)
    }

    async fn wait(&mut self) -> Result<Stage, ApiError> {
        tokio::select! {
            changed = self.changes.changed(self.sent_at + KEEP_ALIVE) => {
                changed?;
                Ok(Stage::Look)
            }
            _ = self.shim.closing.wait_for(|closing| *closing) => Ok(Stage::End),
        }
    }
}
