//! Every route, once: the router and the OpenAPI document are made of this table.

use axum::routing::{MethodRouter, delete, get, post};

use super::{Shim, events, jobs, system};

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Start a job.
    Start,
    /// All known jobs.
    List,
    /// One job's status.
    Status,
    /// One job's results.
    Results,
    /// One job's status and results as they change.
    Events,
    /// Stop a job.
    Stop,
    /// The older seed's way to stop a job: POST.
    StopByPost,
    /// Whether the process lives.
    Health,
    /// Whether the daemon can take jobs.
    Ready,
    /// Prometheus text.
    Metrics,
    /// This description.
    OpenApi,
}

/// A path, its method and its call.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// In lower case, as OpenAPI writes it.
    pub method: &'static str,
    /// With `{id}` for the job's id.
    pub path: &'static str,
    /// What it does.
    pub call: Call,
}

const fn route(method: &'static str, path: &'static str, call: Call) -> Route {
    Route { method, path, call }
}

/// All routes. The last three of jobs are those of the older seed.
pub const ROUTES: [Route; 13] = [
    route("post", "/v1/monitor/jobs", Call::Start),
    route("get", "/v1/monitor/jobs", Call::List),
    route("get", "/v1/monitor/jobs/{id}", Call::Status),
    route("delete", "/v1/monitor/jobs/{id}", Call::Stop),
    route("get", "/v1/monitor/jobs/{id}/results", Call::Results),
    route("get", "/v1/monitor/jobs/{id}/events", Call::Events),
    route("post", "/jobs/start", Call::Start),
    route("get", "/jobs/{id}", Call::Status),
    route("post", "/jobs/{id}/stop", Call::StopByPost),
    route("get", "/healthz", Call::Health),
    route("get", "/readyz", Call::Ready),
    route("get", "/metrics", Call::Metrics),
    route("get", "/openapi.json", Call::OpenApi),
];

impl Call {
    pub(super) fn handler(self) -> MethodRouter<Shim> {
        match self {
            Call::Start => post(jobs::start),
            Call::List => get(jobs::list),
            Call::Status => get(jobs::status),
            Call::Results => get(jobs::results),
            Call::Events => get(events::events),
            Call::Stop => delete(jobs::stop),
            Call::StopByPost => post(jobs::stop),
            Call::Health => get(system::health),
            Call::Ready => get(system::ready),
            Call::Metrics => get(system::metrics),
            Call::OpenApi => get(system::openapi),
        }
    }
}
