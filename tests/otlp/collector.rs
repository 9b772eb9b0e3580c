//! A gRPC collector in a thread and a runtime of its own: it can be killed with all its connections, as a crash would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use telegen_sonic::lab::collector::Received;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// Longer than anything here takes; only a failing test waits that long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the collector does with requests for metrics; logs and spans it always takes.
#[derive(Clone, Debug)]
pub enum Manner {
    Accept,
    Hang,
    Refuse(Code, &'static str),
    Partly(i64, &'static str),
}

/// What arrived and was not refused, in order, with the headers of the first request.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    pub received: Vec<Received>,
    pub authorization: Option<String>,
    pub refused: usize,
}

/// Behaves as it is told; stops, hard, when dropped.
pub struct Collector {
    pub address: SocketAddr,
    pub inbox: watch::Receiver<Inbox>,
    manner: watch::Sender<Manner>,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A port that belongs to the test and refuses connections until [`Collector::start_at`] makes a collector of it.
pub fn closed_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // For `Collector::crash`: the port can be bound again while connections linger only if they all say so.
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

impl Collector {
    pub fn start(manner: Manner) -> Collector {
        Collector::start_at(closed_port(), manner)
    }

    pub fn start_at(socket: TcpSocket, manner: Manner) -> Collector {
        let listener = socket.listen(16).unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let (inbox_sender, inbox) = watch::channel(Inbox::default());
        let (manner, manner_seen) = watch::channel(manner);
        let (kill, killed) = oneshot::channel();
        let service = Arc::new(Service { inbox: inbox_sender, manner: manner_seen });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
                let server = tonic::transport::Server::builder()
                    .add_service(MetricsServiceServer::from_arc(Arc::clone(&service)))
                    .add_service(LogsServiceServer::from_arc(Arc::clone(&service)))
                    .add_service(TraceServiceServer::from_arc(service))
                    .serve_with_incoming(incoming);
                tokio::select! {
                    result = server => result.unwrap(),
                    _ = killed => {}
                }
            });
            runtime.shutdown_background();
        });
        Collector { address, inbox, manner, kill: Some(kill), thread: Some(thread) }
    }

    /// From now on.
    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Waits until the inbox is as wanted, and returns it.
    pub async fn until(&self, wanted: impl FnMut(&Inbox) -> bool) -> Inbox {
        until(&mut self.inbox.clone(), wanted).await
    }

    /// Requests for metrics that it did not refuse.
    pub fn metrics(inbox: &Inbox) -> Vec<&ExportMetricsServiceRequest> {
        let received = inbox.received.iter();
        received.filter_map(|one| if let Received::Metrics(request) = one { Some(request) } else { None }).collect()
    }

    /// Gone, with every connection; the port stays with the test.
    pub fn crash(mut self) -> TcpSocket {
        let address = self.address;
        self.stop();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        socket
    }

    fn stop(&mut self) {
        drop(self.kill.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits, with a deadline, for a watched value to be as wanted.
#[track_caller]
pub fn until<T: Clone + std::fmt::Debug>(
    watched: &mut watch::Receiver<T>,
    wanted: impl FnMut(&T) -> bool,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let met = tokio::time::timeout(DEADLINE, watched.wait_for(wanted))
            .await
            .map(|result| result.map(|value| value.clone()));
        match met {
            Ok(Ok(value)) => value,
            Ok(Err(_)) => panic!("{caller}: the sender ended with {:?}", watched.borrow()),
            Err(tokio::time::error::Elapsed { .. }) => panic!("{caller}: still {:?}", watched.borrow()),
        }
    }
}

struct Service {
    inbox: watch::Sender<Inbox>,
    manner: watch::Receiver<Manner>,
}

impl Service {
    fn take(&self, received: Received) {
        self.inbox.send_modify(|inbox| inbox.received.push(received));
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let authorization =
            request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.inbox.send_modify(|inbox| inbox.authorization = authorization);
        let manner = self.manner.borrow().clone();
        let partial_success = match manner {
            Manner::Accept => None,
            Manner::Hang => std::future::pending().await,
            Manner::Refuse(code, message) => {
                self.inbox.send_modify(|inbox| inbox.refused += 1);
                return Err(Status::new(code, message));
            }
            Manner::Partly(rejected_data_points, message) => {
                Some(ExportMetricsPartialSuccess { rejected_data_points, error_message: message.to_owned() })
            }
        };
        self.take(Received::Metrics(request.into_inner()));
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take(Received::Logs(request.into_inner()));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(Received::Traces(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
