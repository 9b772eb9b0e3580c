//! One request to the collector, over gRPC or http/protobuf. Knows nothing of retries, queues or jobs.

use std::future::Future;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::failure::{Failure, root};
use super::{Config, Signal};
use crate::model::settings::OtlpProtocol;
use crate::model::value::printable;
use crate::sink::gather::gather;

const AGENT: &str = concat!("telegen-sonic/", env!("CARGO_PKG_VERSION"));
/// Finds a peer that vanished while nothing was sent. HTTP/2 pings are no substitute: gRPC servers close a connection that pings
/// more often than every five minutes without a request.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// An answer is a few hundred bytes; more than this is not read.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// One of OTLP's three services.
pub trait Service {
    /// Its signal.
    const SIGNAL: Signal;
    /// What is sent.
    type Request: Message + Clone + 'static;
    /// What comes back.
    type Response: Message + Default;

    /// Calls the service over gRPC.
    fn call(
        channel: Channel,
        request: tonic::Request<Self::Request>,
    ) -> impl Future<Output = Result<tonic::Response<Self::Response>, tonic::Status>> + Send;

    /// How many items were refused, and what the collector says about it.
    fn partial(response: Self::Response) -> Option<(i64, String)>;
}

macro_rules! service {
    ($(#[$meta:meta])* $name:ident, $module:ident, $client_mod:ident :: $client:ident, $request:ident, $response:ident, $rejected:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub enum $name {}

        impl Service for $name {
            const SIGNAL: Signal = Signal::$name;
            type Request = $module::v1::$request;
            type Response = $module::v1::$response;

            async fn call(
                channel: Channel,
                request: tonic::Request<Self::Request>,
            ) -> Result<tonic::Response<Self::Response>, tonic::Status> {
                $module::v1::$client_mod::$client::new(channel).export(request).await
            }

            fn partial(response: Self::Response) -> Option<(i64, String)> {
                response.partial_success.map(|partial| (partial.$rejected, partial.error_message))
            }
        }
    };
}

service!(
    /// `MetricsService`
    Metrics, metrics, metrics_service_client::MetricsServiceClient, ExportMetricsServiceRequest,
    ExportMetricsServiceResponse, rejected_data_points
);
service!(
    /// `LogsService`
    Logs, logs, logs_service_client::LogsServiceClient, ExportLogsServiceRequest, ExportLogsServiceResponse,
    rejected_log_records
);
service!(
    /// `TraceService`
    Traces, trace, trace_service_client::TraceServiceClient, ExportTraceServiceRequest,
    ExportTraceServiceResponse, rejected_spans
);

/// The collector took the request, though perhaps not all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items that it refused; they are not to be sent again.
    pub rejected: i64,
    /// What it says: a warning if nothing was refused; often empty.
    pub message: String,
}

/// A way to one URL. Connects with the first request, and again when a connection has ended.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    timeout: Duration,
}

#[derive(Debug)]
enum Transport {
    Grpc { channel: Channel, metadata: MetadataMap },
    Http { client: Box<HyperClient<HttpConnector, Full<Bytes>>>, url: Uri, headers: HeaderMap },
}

impl Client {
    /// A client for `url`, one of `config`'s targets. Must be called inside a Tokio runtime.
    #[must_use]
    pub fn new(url: &Uri, config: &Config) -> Client {
        let transport = match config.protocol {
            OtlpProtocol::Grpc => Transport::Grpc {
                channel: channel(url, config.timeout),
                metadata: MetadataMap::from_headers(config.headers.clone()),
            },
            OtlpProtocol::HttpProtobuf => Transport::Http {
                client: Box::new(http_client(config.timeout)),
                url: url.clone(),
                headers: http_headers(&config.headers),
            },
        };
        Client { transport, timeout: config.timeout }
    }

    /// Sends one request and waits for the answer, both within the configured time.
    ///
    /// # Errors
    /// What happened instead of an acceptance, and whether to try again.
    pub async fn export<S: Service>(&self, request: S::Request) -> Result<Accepted, Failure> {
        let answer = async {
            match &self.transport {
                Transport::Grpc { channel, metadata } => {
                    let mut request = tonic::Request::new(request);
                    *request.metadata_mut() = metadata.clone();
                    let answer = S::call(channel.clone(), request).await;
                    answer.map(tonic::Response::into_inner).map_err(|status| Failure::of_grpc(&status))
                }
                Transport::Http { client, url, headers } => post::<S>(client, url, headers, &request).await,
            }
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(response) => {
                let (rejected, message) = S::partial(response?).unwrap_or_default();
                Ok(Accepted { rejected, message: printable(&message) })
            }
            Err(_) => Err(Failure::unreachable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

fn channel(url: &Uri, timeout: Duration) -> Channel {
    let endpoint = Endpoint::from(url.clone()).connect_timeout(timeout).tcp_keepalive(Some(TCP_KEEPALIVE));
    match endpoint.clone().user_agent(AGENT) {
        Ok(endpoint) => endpoint.connect_lazy(),
        Err(_) => unreachable!("{AGENT} is a legal header value"),
    }
}

fn http_client(timeout: Duration) -> HyperClient<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(timeout));
    connector.set_keepalive(Some(TCP_KEEPALIVE));
    connector.set_nodelay(true);
    HyperClient::builder(TokioExecutor::new()).build(connector)
}

fn http_headers(configured: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
    headers.extend(configured.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers
}

async fn post<S: Service>(
    client: &HyperClient<HttpConnector, Full<Bytes>>,
    url: &Uri,
    headers: &HeaderMap,
    message: &S::Request,
) -> Result<S::Response, Failure> {
    let mut request = Request::new(Full::new(Bytes::from(message.encode_to_vec())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = headers.clone();
    let answer = client.request(request).await.map_err(|error| Failure::unreachable(root(&error).to_string()))?;
    let status = answer.status();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = gather(answer.into_body(), ANSWER_MAX_BYTES).await;
    if !status.is_success() {
        let body = body.unwrap_or_default();
        return Err(Failure::of_http(status.as_u16(), retry_after.as_deref(), &body));
    }
    // A success stays one even if its body cannot be read: sending again would count everything twice in a stateless receiver.
    Ok(body.ok().and_then(|body| S::Response::decode(body.as_slice()).ok()).unwrap_or_default())
}
