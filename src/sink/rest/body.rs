//! The body of a request: so long and no longer, and within its time.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use super::error::ApiError;
use super::server::Seat;
use super::{BODY_LIMIT, Shim};

/// All of a request's body.
pub(super) struct JobBody(pub(super) Bytes);

impl FromRequest<Shim> for JobBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, shim: &Shim) -> Result<JobBody, ApiError> {
        let seat = request.extensions().get::<Arc<Seat>>().cloned();
        let _receiving = seat.as_ref().map(Seat::receive);
        let read = tokio::time::timeout(shim.limits.body, Bytes::from_request(request, shim)).await;
        let body = read.map_err(|_| ApiError::too_slow(shim.limits.body))?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(BODY_LIMIT),
            _ => ApiError::unreadable(format!("body: {rejection}")),
        })?;
        Ok(JobBody(body))
    }
}
