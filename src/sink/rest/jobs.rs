//! The handlers of jobs: start, list, status, results, stop. Each translates between HTTP and one call of [`JobTables`].
//!
//! [`JobTables`]: crate::io::tables::JobTables

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::JobBody;
use super::documents::{JSON, response};
use super::error::{ApiError, retry_after, unanswered};
use super::{Shim, request};
use crate::io::tables::json::{job, job_brief};
use crate::io::tables::{JobRow, StartOutcome, StartRequest, StopOutcome};
use crate::model::schema::Status;

pub(super) async fn start(State(shim): State<Shim>, JobBody(body): JobBody) -> Result<Response, ApiError> {
    let request = read(body)?;
    match shim.tables.start(&request).await? {
        StartOutcome::Invalid(error) => Err(ApiError::from(&error)),
        StartOutcome::IdInUse(id) => Err(ApiError::id_in_use(&id)),
        StartOutcome::NoDaemon { heartbeat, .. } => Err(ApiError::no_daemon(heartbeat)),
        StartOutcome::Unanswered(id) => Ok(located(StatusCode::ACCEPTED, id.as_str(), unanswered(&id))),
        StartOutcome::Answered(row) => answered(&shim, row).await,
    }
}

/// Nothing of the body is kept while the job is started: as a JSON tree it takes many times its length.
fn read(body: Vec<u8>) -> Result<StartRequest, ApiError> {
    let tree: Value =
        serde_json::from_slice(&body).map_err(|error| ApiError::unreadable(format!("body: not JSON: {error}")))?;
    drop(body);
    request::parse(&tree).map_err(|error| ApiError::from(&error))
}

async fn answered(shim: &Shim, row: JobRow) -> Result<Response, ApiError> {
    match row.status {
        // A very short job may be done before it is looked at.
        Status::Starting | Status::Running | Status::Stopping | Status::Done => {
            Ok(located(StatusCode::CREATED, &row.id, job_brief(&row)))
        }
        Status::Queued => Ok(located(StatusCode::ACCEPTED, &row.id, job_brief(&row))),
        Status::Stopped | Status::Failed | Status::Rejected | Status::Expired => {
            let jobs = shim.tables.jobs().await?;
            Err(ApiError::refused(&row, retry_after(&jobs, Timestamp::now())))
        }
    }
}

fn located(status: StatusCode, id: &str, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    // The daemon's answer to a well-formed id only: every character of it may stand in a header.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/monitor/jobs/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) async fn list(State(shim): State<Shim>) -> Result<Response, ApiError> {
    Ok(response(JSON, shim.documents.jobs().await?))
}

pub(super) async fn status(State(shim): State<Shim>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if let Some(row) = shim.tables.job(&id).await? {
        return Ok(Json(job(&row)));
    }
    if shim.tables.configured(&id).await?.is_some() {
        let message = "the job's row is written, and the daemon has not taken it up yet";
        return Ok(Json(json!({ "job_id": id, "status": null, "reason": null, "message": message, "warning": [] })));
    }
    Err(ApiError::unknown_job(&id))
}

/// Totals from the job's row; flows and histograms from memory, where all of top-K is, or from their rows.
pub(super) async fn results(State(shim): State<Shim>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let document = shim.documents.results(&id).await?.ok_or_else(|| ApiError::unknown_job(&id))?;
    Ok(response(JSON, document.text()))
}

pub(super) async fn stop(State(shim): State<Shim>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    match shim.tables.stop(&id).await? {
        StopOutcome::Unknown => Err(ApiError::unknown_job(&id)),
        StopOutcome::Over(row) | StopOutcome::Late(row) => {
            Ok(Json(json!({ "job_id": row.id, "status": row.status.as_str() })))
        }
        StopOutcome::Withdrawn => Ok(Json(json!({ "job_id": id, "status": null }))),
        StopOutcome::NoDaemon(row) => Err(ApiError::no_daemon_to_stop(&row)),
    }
}
