//! Errors as the contract wants them: `{"error": <reason>, "message": …, "field": …}` and a status code for each.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use crate::io::tables::members::{error_in_members, in_members};
use crate::io::tables::{JobRow, TablesError, id_in_use_message, no_daemon_message, unanswered_message};
use crate::model::job::JobId;
use crate::model::schema::{JobField, Reason, StatusField};
use crate::model::value::FieldError;

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: &'static str,
    message: String,
    field: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
    /// The rest of the request is not waited for.
    closes: bool,
}

impl ApiError {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, error, message: message.into(), field: None, retry_after: None, closes: false }
    }

    pub(super) fn unknown_job(id: &str) -> ApiError {
        let message = format!("job_id: no job \"{id}\" is known; GET /v1/monitor/jobs lists those that are");
        ApiError { field: Some("job_id".to_owned()), ..ApiError::new(StatusCode::NOT_FOUND, "unknown_job", message) }
    }

    pub(super) fn unknown_route() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "unknown_route", "no such path; GET /openapi.json lists those there are")
    }

    pub(super) fn method_not_allowed() -> ApiError {
        let message = "this path does not take this method; GET /openapi.json lists those it takes";
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(super) fn forbidden() -> ApiError {
        let message = "requests from web pages (with an Origin header) may only read";
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn too_large(limit: usize) -> ApiError {
        let message = format!("the body is larger than {limit} bytes; a job takes a few hundred");
        ApiError { closes: true, ..ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message) }
    }

    pub(super) fn unreadable(message: String) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, Reason::InvalidField.as_str(), message)
    }

    pub(super) fn too_many_streams(limit: usize) -> ApiError {
        let message = format!("{limit} clients follow events already, which is the most; try again when one ends");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", message)
    }

    pub(super) fn too_many_connections(limit: usize) -> ApiError {
        let message = format!("{limit} connections are being served already, which is the most; try again in a second");
        ApiError {
            retry_after: Some(1),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message)
        }
    }

    pub(super) fn too_slow(limit: Duration) -> ApiError {
        let message = format!("the body was not there within {limit:?}; a job takes a few hundred bytes");
        ApiError { closes: true, ..ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message) }
    }

    pub(super) fn no_answer(limit: Duration) -> ApiError {
        let message = format!("no answer came about within {limit:?}; whether anything was changed is unknown");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_answer", message)
    }

    pub(super) fn no_room() -> ApiError {
        let message =
            "other answers, which their clients have not read yet, take all the memory there is for them; try again";
        ApiError { retry_after: Some(1), ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_room", message) }
    }

    pub(super) fn internal(message: String) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Reason::Internal.as_str(), message)
    }

    pub(super) fn not_ready(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    }

    pub(super) fn no_daemon_to_stop(row: &JobRow) -> ApiError {
        let message = format!(
            "the job's row was deleted, but no telegen daemon answers: STATE_DB still says {}; a daemon that starts will correct it",
            row.status
        );
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_daemon", message)
    }

    pub(super) fn id_in_use(id: &JobId) -> ApiError {
        let field = Some("job_id".to_owned());
        ApiError { field, ..ApiError::new(StatusCode::CONFLICT, "id_in_use", id_in_use_message(id)) }
    }

    pub(super) fn no_daemon(heartbeat: Option<Timestamp>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_daemon", no_daemon_message(heartbeat))
    }

    /// The answer to a job that ended before it could be said to run.
    pub(super) fn refused(row: &JobRow, retry_after: u64) -> ApiError {
        let error = row.reason.map_or(row.status.as_str(), Reason::as_str);
        let field = row.reason.and_then(|reason| field_of(reason, row.message()));
        let (field, message) = match field {
            Some(field) => {
                let (field, message) = in_members(field, row.message());
                (Some(field), message)
            }
            None => (None, row.message().to_owned()),
        };
        let status = row.reason.map_or(StatusCode::SERVICE_UNAVAILABLE, status_of);
        let retry_after = (status == StatusCode::TOO_MANY_REQUESTS).then_some(retry_after);
        ApiError { status, error, message, field, retry_after, closes: false }
    }
}

/// The status code of a refusal (contract, section 3).
fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::InvalidField | Reason::MissingField | Reason::UnknownPort => StatusCode::BAD_REQUEST,
        Reason::ConcurrencyLimit => StatusCode::TOO_MANY_REQUESTS,
        Reason::MirrorConflict => StatusCode::CONFLICT,
        Reason::QueueTimeout
        | Reason::KindUnavailable
        | Reason::AdminDisabled
        | Reason::NoMirrorPort
        | Reason::MirrorUnsupported
        | Reason::MirrorRejected
        | Reason::MirrorInactive
        | Reason::MirrorLost
        | Reason::TapMissing
        | Reason::AttachFailed
        | Reason::CpuLimit
        | Reason::MemoryLimit
        | Reason::DaemonRestarted
        | Reason::DaemonStopped
        | Reason::Internal => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The field that a refusal is about: its message begins with it.
fn field_of(reason: Reason, message: &str) -> Option<&str> {
    let named = message.split_once(':').map(|(field, _)| field.trim_end_matches('@'));
    match reason {
        Reason::UnknownPort => Some(JobField::Port.as_str()),
        Reason::InvalidField | Reason::MissingField => named.filter(|name| !name.contains(' ')),
        _ => named.filter(|name| JobField::from_word(name).is_some()),
    }
}

/// Seconds until the first of the running jobs is over, for `Retry-After`: the earliest moment at which trying again can succeed.
pub(super) fn retry_after(jobs: &[JobRow], now: Timestamp) -> u64 {
    const UNKNOWN: u64 = 10;
    let ends = jobs.iter().filter(|job| !job.status.is_final());
    let ends = ends.filter_map(|job| job.instant(StatusField::ExpiresAt));
    let seconds = ends.map(|end| end.duration_since(now).as_secs().max(0)).min();
    seconds.and_then(|seconds| u64::try_from(seconds + 1).ok()).unwrap_or(UNKNOWN)
}

/// What is said while the daemon, alive, has not answered.
pub(super) fn unanswered(id: &JobId) -> serde_json::Value {
    json!({ "job_id": id.as_str(), "status": null, "interface": null, "message": unanswered_message(id) })
}

impl From<&FieldError> for ApiError {
    fn from(error: &FieldError) -> ApiError {
        let (field, message) = error_in_members(error);
        ApiError { field: Some(field), ..ApiError::new(status_of(error.reason), error.reason.as_str(), message) }
    }
}

impl From<TablesError> for ApiError {
    fn from(error: TablesError) -> ApiError {
        let (status, word) = match &error {
            TablesError::Redis(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
            TablesError::Config(_) | TablesError::Row(_) | TablesError::Random(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Reason::Internal.as_str())
            }
        };
        ApiError::new(status, word, error.to_string())
    }
}

impl ApiError {
    pub(super) fn body(&self) -> serde_json::Value {
        json!({ "error": self.error, "message": self.message, "field": self.field })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Fields;

    fn refusal(pairs: &[(&str, &str)]) -> ApiError {
        let mut fields: Fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        fields.insert("status".to_owned(), "rejected".to_owned());
        ApiError::refused(&JobRow::parse("a", fields).unwrap(), 7)
    }

    #[test]
    fn the_daemons_refusals_speak_of_members() {
        let error =
            refusal(&[("reason", "invalid_field"), ("message", "ip_proto: \"x\" is not accepted; give a number")]);
        assert_eq!(error.field.as_deref(), Some("filters.ip_proto"));
        assert_eq!(error.message, "filters.ip_proto: \"x\" is not accepted; give a number");
        assert_eq!((error.status, error.retry_after), (StatusCode::BAD_REQUEST, None));
    }

    #[test]
    fn a_kind_that_is_not_there_is_not_the_requests_fault() {
        let error = refusal(&[("reason", "kind_unavailable"), ("message", "kind: \"drops\" is reserved")]);
        assert_eq!((error.status.as_u16(), error.field.as_deref()), (503, Some("kind")));
    }

    #[test]
    fn a_refusal_for_want_of_a_slot_says_when_to_try_again() {
        let error = refusal(&[("reason", "concurrency_limit"), ("message", "2 of 2 jobs are running")]);
        assert_eq!((error.status.as_u16(), error.retry_after, error.field), (429, Some(7), None));
    }

    #[test]
    fn trying_again_makes_sense_when_the_first_job_ends() {
        let job = |status: &str, expires: &str| {
            let fields = [("status", status), ("expires_at", expires)];
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            JobRow::parse("a", fields).unwrap()
        };
        let now = "2026-01-31T03:00:00Z".parse().unwrap();
        let jobs = [
            job("done", "2026-01-31T03:00:01Z"),
            job("running", "2026-01-31T03:01:00Z"),
            job("running", "2026-01-31T03:00:30Z"),
        ];
        assert_eq!(retry_after(&jobs, now), 31);
        assert_eq!(retry_after(&jobs[..1], now), 10);
        assert_eq!(retry_after(&[job("running", "2026-01-31T02:00:00Z")], now), 1);
    }
}
