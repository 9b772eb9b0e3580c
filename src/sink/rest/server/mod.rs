//! The server around the routes: who is let in, for how long, and what happens to whom it is too much.
//!
//! hyper serves each connection; what it has no means for is here: a bound on connections, the choice of who gives way, and a limit for
//! clients that do not read.

mod seat;
mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::Service;

use super::error::ApiError;
use super::limits::{Limits, READ_BUFFER, SEND_BUFFER, TURNED_AWAY};
pub(super) use seat::{Seat, Seats};
use seat::{Serving, Taken};
use wire::Wire;

use crate::sonic::backoff::Backoff;

/// How long a client that was turned away has to read that, before its connection is closed under it.
const LINGER: Duration = Duration::from_secs(1);

/// A listening socket of either kind.
pub(super) trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Writes what the socket takes at once.
    fn write_now(stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize>;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self).await?.0)
    }

    fn write_now(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
        stream.try_write(bytes)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let stream = TcpListener::accept(self).await?.0;
        // Without it, the last part of an answer waits for the client's word on the others. Late is better than never.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn write_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.try_write(bytes)
    }
}

/// Serves `app` until `closed` is over, and then what is being answered.
pub(super) async fn run<L: Listener>(
    listener: L,
    app: Router,
    limits: Limits,
    seats: Arc<Seats>,
    closed: impl Future<Output = ()>,
) {
    let mut server = Server {
        app,
        refusal: refusal(limits.connections).into(),
        limits,
        seats,
        graceful: GracefulShutdown::new(),
        served: JoinSet::new(),
        turned_away: JoinSet::new(),
    };
    tokio::pin!(closed);
    let mut trouble = Trouble::default();
    loop {
        tokio::select! {
            () = &mut closed => break,
            Some(_) = server.served.join_next() => {}
            Some(_) = server.turned_away.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    trouble.is_over();
                    server.receive::<L>(stream).await;
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    let wait = trouble.again(&error);
                    tokio::select! {
                        () = &mut closed => break,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }
    drop(listener);
    server.graceful.shutdown().await;
}

/// Whether the client, not this process, is the reason why a connection did not come about.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// `accept` refuses: said once, tried again ever less often.
#[derive(Default)]
struct Trouble {
    backoff: Backoff,
    failures: u64,
}

impl Trouble {
    fn again(&mut self, error: &io::Error) -> Duration {
        if self.failures == 0 {
            tracing::error!(%error, "REST: no connection can be accepted; trying again");
        }
        self.failures += 1;
        self.backoff.failed()
    }

    fn is_over(&mut self) {
        if self.failures > 0 {
            tracing::warn!(failures = self.failures, "REST: connections are accepted again");
            *self = Trouble::default();
        }
    }
}

/// What a client is answered for whom there is no place.
fn refusal(connections: usize) -> Vec<u8> {
    let body = ApiError::too_many_connections(connections).body().to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

struct Server {
    app: Router,
    limits: Limits,
    refusal: Bytes,
    seats: Arc<Seats>,
    graceful: GracefulShutdown,
    served: JoinSet<()>,
    turned_away: JoinSet<()>,
}

impl Server {
    async fn receive<L: Listener>(&mut self, stream: L::Stream) {
        if self.seats.len() >= self.limits.connections && self.seats.free_one(Instant::now()) {
            // It leaves as soon as it runs; until then its descriptor counts.
            while self.seats.len() >= self.limits.connections && self.served.join_next().await.is_some() {}
        }
        if self.seats.len() < self.limits.connections {
            self.serve(stream);
        } else {
            self.turn_away::<L>(stream);
        }
    }

    fn serve<S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static>(&mut self, stream: S) {
        if let Err(error) = setsockopt(&stream.as_fd(), sockopt::SndBuf, &SEND_BUFFER) {
            tracing::debug!(%error, "REST: a connection keeps the system's send buffer");
        }
        let taken = self.seats.take();
        let wire = Wire::new(stream, Arc::clone(&taken.seat), self.limits.write);
        let (app, seat) = (self.app.clone(), Arc::clone(&taken.seat));
        let service = service_fn(move |request| answer(app.clone(), Arc::clone(&seat), request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.head).max_buf_size(READ_BUFFER);
        let connection = self.graceful.watch(builder.serve_connection(TokioIo::new(wire), service));
        self.served.spawn(attend(taken, connection));
    }

    fn turn_away<L: Listener>(&mut self, mut stream: L::Stream) {
        // A new connection takes so little at once.
        let written = L::write_now(&stream, &self.refusal);
        if self.turned_away.len() >= TURNED_AWAY || written.is_err() {
            return;
        }
        // A client that is still sending would lose the answer with the connection.
        let farewell = async move {
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        self.turned_away.spawn(async move {
            let _ = tokio::time::timeout(LINGER, farewell).await;
        });
    }
}

/// One connection, until its end or until it has to give way.
async fn attend(taken: Taken, connection: impl Future<Output = hyper::Result<()>>) {
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "REST: a connection ended early");
            }
        }
        () = taken.seat.has_to_leave() => tracing::debug!("REST: a connection gave way to another"),
    }
}

async fn answer(
    mut app: Router,
    seat: Arc<Seat>,
    mut request: Request<Incoming>,
) -> Result<Response<Attended>, Infallible> {
    let serving = seat.serve();
    request.extensions_mut().insert(seat);
    let response = app.call(request).await?;
    Ok(response.map(|body| Attended { body, _serving: serving }))
}

/// An answer's body, which keeps its connection's seat until it is handed over.
struct Attended {
    body: Body,
    _serving: Serving,
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
