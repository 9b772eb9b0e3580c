//! The body of a request: so long and no longer, and within its time.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};

use super::error::ApiError;
use super::server::Seat;
use super::{BODY_LIMIT, Shim};
use crate::sink::gather::{Ungathered, gather};

/// All of a request's body.
pub(super) struct JobBody(pub(super) Vec<u8>);

impl FromRequest<Shim> for JobBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, shim: &Shim) -> Result<JobBody, ApiError> {
        let seat = request.extensions().get::<Arc<Seat>>().cloned();
        let _receiving = seat.as_ref().map(Seat::receive);
        let read = tokio::time::timeout(shim.limits.body, gather(request.into_body(), BODY_LIMIT)).await;
        match read.map_err(|_| ApiError::too_slow(shim.limits.body))? {
            Ok(body) => Ok(JobBody(body)),
            Err(Ungathered::TooLarge) => Err(ApiError::too_large(BODY_LIMIT)),
            Err(Ungathered::Broken(error)) => Err(ApiError::unreadable(format!("body: {error}"))),
        }
    }
}
