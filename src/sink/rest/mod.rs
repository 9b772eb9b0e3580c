//! REST: a shim over the tables. A handler reads rows, or writes and deletes job rows, as every other program does; it keeps no state.
//!
//! `/metrics` and the whole of top-K come from the snapshot, because STATE_DB holds only its beginning. Everything else works on rows, so
//! that jobs of an earlier daemon are answered too. What a job may say is `model::job`'s to judge, not this module's.

mod body;
mod documents;
mod error;
mod events;
mod jobs;
mod limits;
mod listen;
pub mod metrics;
pub mod openapi;
pub mod request;
pub mod routes;
mod server;
mod shared;
mod system;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use tokio::sync::{Semaphore, watch};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;

use crate::io::tables::JobTables;
pub use crate::io::tables::members::REST_MEMBERS;
use crate::model::report::{ExportState, Snapshot};
use crate::sink::allocator;
use documents::Documents;
use error::ApiError;
pub use limits::Limits;
pub use listen::{Bound, ListenError, bind};
use routes::ROUTES;
use server::Seats;

/// Largest request body. A job is a few hundred bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// Clients that may follow events at once.
const EVENT_STREAMS: usize = 16;
/// How often what nobody needs is given up.
const TIDY: Duration = Duration::from_secs(5);
/// How long requests may go on after the shutdown began; the daemon has 5 s for everything.
const GRACE: Duration = Duration::from_secs(1);

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Shim {
    tables: Arc<JobTables>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    documents: Arc<Documents>,
    streams: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
    limits: Limits,
}

/// Listens on `listen` and serves until `shutdown` is over, see [`bind`] and [`serve_on`].
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    listen: &str,
    tables: Arc<JobTables>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    export: watch::Receiver<ExportState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ListenError> {
    serve_on(bind(listen).await?, tables, snapshot, export, shutdown).await;
    Ok(())
}

/// Serves until `shutdown` is over; what is being answered then has one second. The socket's file is removed at the end.
pub async fn serve_on(
    bound: Bound,
    tables: Arc<JobTables>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    export: watch::Receiver<ExportState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (close, closing) = watch::channel(false);
    let streams = Arc::new(Semaphore::new(EVENT_STREAMS));
    let limits = bound.limits().clone();
    let seats = Seats::new(limits.patience);
    let documents = Documents::new(Arc::clone(&tables), snapshot.clone(), export, Arc::clone(&seats));
    let documents = Arc::new(documents);
    let keeping = keep_house(Arc::clone(&documents), Arc::clone(&seats));
    let app = router(Shim { tables, snapshot, documents, streams, closing: closing.clone(), limits });
    let closed = async move {
        shutdown.await;
        close.send_replace(true);
    };
    let mut at_last = closing;
    tokio::select! {
        () = bound.serve(app, seats, closed) => {}
        () = keeping => {}
        () = async {
            // The sender lives in `bound.serve`, which ends by itself if it is dropped.
            if at_last.wait_for(|closing| *closing).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GRACE).await;
        } => {}
    }
}

/// Gives back what is not needed any more: answers that nobody asks for, and then what the allocator keeps of them.
async fn keep_house(documents: Arc<Documents>, seats: Arc<Seats>) {
    let mut rounds = tokio::time::interval(TIDY);
    let mut seen = 0;
    loop {
        rounds.tick().await;
        let (tidied, ended) = (documents.tidy(), seats.ended());
        if tidied || ended != seen {
            seen = ended;
            allocator::give_memory_back();
        }
    }
}

/// All routes of [`ROUTES`], and JSON errors for everything else.
fn router(shim: Shim) -> Router {
    let answer = shim.limits.answer;
    let routes = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, route.call.handler()));
    routes
        .fallback(async || ApiError::unknown_route())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn(refuse_other_origins))
        .layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(move |_: BoxError| async move { ApiError::no_answer(answer) }))
                .layer(TimeoutLayer::new(answer)),
        )
        .with_state(shim)
}

/// A web page open in somebody's browser must not start jobs by way of a loopback address: browsers send `Origin`, programs do not.
async fn refuse_other_origins(request: Request, next: Next) -> Response {
    let changes = *request.method() != Method::GET && *request.method() != Method::HEAD;
    if changes && request.headers().contains_key(header::ORIGIN) {
        return ApiError::forbidden().into_response();
    }
    next.run(request).await
}
