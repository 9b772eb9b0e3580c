//! What the daemon says of itself over HTTP: alive, ready, metrics, and the description of this interface.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shim;
use super::documents::{JSON, response};
use super::error::ApiError;
use crate::model::job::rfc3339;

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process answers: that is all this says.
pub(super) async fn health(State(shim): State<Shim>) -> Json<Value> {
    let daemon = shim.snapshot.borrow().daemon.clone();
    Json(json!({ "status": "ok", "version": daemon.version, "commit": daemon.commit }))
}

/// Both databases answer, and the daemon's heartbeat reaches STATE_DB.
pub(super) async fn ready(State(shim): State<Shim>) -> Result<Json<Value>, ApiError> {
    let not_ready = |error: crate::io::tables::TablesError| ApiError::not_ready(error.to_string());
    shim.tables.settings().await.map_err(not_ready)?;
    let daemon = shim.tables.daemon().await.map_err(not_ready)?;
    if daemon.is_alive(Timestamp::now()) {
        return Ok(Json(json!({ "status": "ready" })));
    }
    Err(ApiError::not_ready(daemon.heartbeat().map_or_else(
        || "the daemon has not written its first heartbeat to STATE_DB yet".to_owned(),
        |heartbeat| format!("the daemon's last heartbeat in STATE_DB is of {}", rfc3339(heartbeat)),
    )))
}

pub(super) async fn metrics(State(shim): State<Shim>) -> Result<Response, ApiError> {
    Ok(response(METRICS_TYPE, shim.documents.metrics().await?))
}

pub(super) async fn openapi(State(shim): State<Shim>) -> Response {
    response(JSON, shim.documents.openapi())
}
