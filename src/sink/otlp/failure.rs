//! Why a request failed and whether to try again (OTLP specification, "Failures" and "OTLP/HTTP Response"). Pure.

use std::time::Duration;

use prost::Message;
use tonic::Code;

use crate::model::value::printable;

/// The longest wait between two attempts, also where the collector asks for more.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The shortest.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// A request that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence.
    pub message: String,
    /// What to do with the data.
    pub retry: Retry,
    /// Whether the connection is in doubt: the next attempt then begins with a new one, and a new look at the name.
    pub reconnect: bool,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The collector will not take this data: drop it.
    Never,
    /// Try again after a back-off.
    Backoff,
    /// Try again no sooner than the collector asks.
    After(Duration),
}

impl Failure {
    /// No answer came, or no connection was made.
    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), retry: Retry::Backoff, reconnect: true }
    }

    /// gRPC's answer, or what went wrong on the way to it.
    #[must_use]
    pub fn of_grpc(status: &tonic::Status) -> Failure {
        // tonic keeps the cause of what went wrong on this side; a status that the collector sent has none.
        if let Some(cause) = std::error::Error::source(status) {
            return Failure::unreachable(format!("{}: {}", status.message(), root(cause)));
        }
        let retry = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => retry_delay(status.details()).map_or(Retry::Backoff, Retry::After),
            // "Too large" has this code as well as "too many": only with a delay does it mean "later".
            Code::ResourceExhausted => retry_delay(status.details()).map_or(Retry::Never, Retry::After),
            Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::Unauthenticated => Retry::Never,
        };
        let message = format!("the collector answered {:?}: {}", status.code(), printable(status.message()));
        Failure { message, retry, reconnect: false }
    }

    /// HTTP's answer. `body` may hold a `google.rpc.Status`, of which the text is shown.
    #[must_use]
    pub fn of_http(status: u16, retry_after: Option<&str>, body: &[u8]) -> Failure {
        let delay = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let retry = match status {
            429 | 502 | 503 | 504 => delay.map_or(Retry::Backoff, Retry::After),
            _ => Retry::Never,
        };
        let said = RpcStatus::decode(body).map(|status| printable(&status.message)).unwrap_or_default();
        let separator = if said.is_empty() { "" } else { ": " };
        Failure { message: format!("the collector answered HTTP {status}{separator}{said}"), retry, reconnect: false }
    }
}

/// Exponential back-off with jitter, so that many switches do not come back in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: anything between [`BACKOFF_MIN`] and a ceiling that starts at 2 s and doubles up to
    /// [`BACKOFF_MAX`]. `random` chooses.
    pub fn next_delay(&mut self, random: u64, retry: Retry) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling = BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.saturating_pow(self.failures.min(16)));
        let span_ms = u64::try_from(ceiling.saturating_sub(BACKOFF_MIN).as_millis()).unwrap_or(u64::MAX);
        let delay = BACKOFF_MIN + Duration::from_millis(random % (span_ms + 1));
        match retry {
            Retry::After(asked) => delay.max(asked.min(BACKOFF_MAX)),
            Retry::Backoff | Retry::Never => delay,
        }
    }

    /// A request was accepted.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `google.rpc.Status`, in gRPC's `grpc-status-details-bin` and in the body of an HTTP error.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyMessage>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct AnyMessage {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let is_retry_info = |detail: &&AnyMessage| detail.type_url.ends_with("/google.rpc.RetryInfo");
    let detail = status.details.iter().find(is_retry_info)?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

/// The innermost cause: "Connection refused" rather than "transport error".
pub(super) fn root<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message;
    use tonic::{Code, Status};

    use super::{AnyMessage, Backoff, Failure, ProtoDuration, Retry, RetryInfo, RpcStatus};

    fn with_retry_info(code: Code, seconds: i64) -> Status {
        let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos: 500_000_000 }) };
        let detail =
            AnyMessage { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let status = RpcStatus { code: code.into(), message: "later".to_owned(), details: vec![detail] };
        Status::with_details(code, "later", status.encode_to_vec().into())
    }

    #[test]
    fn exactly_the_codes_of_the_specification_are_tried_again() {
        let retryable: Vec<i32> = (0..=16)
            .filter(|code| Failure::of_grpc(&Status::new(Code::from_i32(*code), "")).retry != Retry::Never)
            .collect();
        assert_eq!(retryable, [1, 4, 10, 11, 14, 15]);
        let retryable: Vec<u16> =
            (100..600).filter(|status| Failure::of_http(*status, None, &[]).retry != Retry::Never).collect();
        assert_eq!(retryable, [429, 502, 503, 504]);
    }

    #[test]
    fn resource_exhausted_is_tried_again_only_when_the_collector_says_when() {
        let too_large = Status::new(Code::ResourceExhausted, "message too large");
        assert_eq!(Failure::of_grpc(&too_large).retry, Retry::Never);
        let too_many = with_retry_info(Code::ResourceExhausted, 7);
        assert_eq!(Failure::of_grpc(&too_many).retry, Retry::After(Duration::from_millis(7_500)));
    }

    #[test]
    fn an_http_error_shows_the_collectors_words_and_keeps_its_delay() {
        let body = RpcStatus { code: 8, message: "queue is full".to_owned(), details: Vec::new() }.encode_to_vec();
        let failure = Failure::of_http(429, Some("12"), &body);
        assert_eq!(failure.message, "the collector answered HTTP 429: queue is full");
        assert_eq!(failure.retry, Retry::After(Duration::from_secs(12)));
        assert_eq!(Failure::of_http(404, None, b"<html>").message, "the collector answered HTTP 404");
    }

    #[test]
    fn the_back_off_grows_to_30_seconds_and_starts_again_after_a_success() {
        let mut backoff = Backoff::default();
        let longest: Vec<u64> = (0..7)
            .map(|_| {
                let before = backoff;
                let shortest = { backoff }.next_delay(0, Retry::Backoff);
                assert_eq!(shortest, Duration::from_secs(1), "{before:?}");
                // The random number that lands on the ceiling: one less than the number of milliseconds to choose from.
                let ceiling_ms = (2_000_u64 << before.failures).min(30_000) - 1_000;
                backoff.next_delay(ceiling_ms, Retry::Backoff).as_secs()
            })
            .collect();
        assert_eq!(longest, [2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next_delay(1_000, Retry::Backoff), Duration::from_secs(2));
    }

    #[test]
    fn a_collector_can_ask_for_more_patience_but_not_for_more_than_30_seconds() {
        let asked = |seconds| Backoff::default().next_delay(0, Retry::After(Duration::from_secs(seconds)));
        assert_eq!(
            (asked(0), asked(9), asked(3_600)),
            (Duration::from_secs(1), Duration::from_secs(9), Duration::from_secs(30))
        );
    }
}
