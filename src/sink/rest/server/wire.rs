//! A connection's stream with a limit for writing: a client that does not take its answer is an error, and its [`Seat`] knows before.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::seat::Seat;
use crate::sink::rest::limits::SLOWEST;

pub(super) struct Wire<S> {
    stream: S,
    seat: Arc<Seat>,
    limit: Duration,
    /// While something waits: when the client must have taken it, or [`SLOWEST`] bytes of it.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes that were taken since the deadline was set.
    taken: usize,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, seat: Arc<Seat>, limit: Duration) -> Wire<S> {
        Wire { stream, seat, limit, deadline: None, taken: 0 }
    }

    fn wrote(&mut self, context: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.seat.takes();
                self.taken += bytes;
                if self.taken >= SLOWEST {
                    self.deadline = None;
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.seat.stalls();
                let (limit, taken) = (self.limit, &mut self.taken);
                let deadline = self.deadline.get_or_insert_with(|| {
                    *taken = 0;
                    Box::pin(sleep_until(Instant::now() + limit))
                });
                deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when nothing waits any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::seat::Seats;
    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    fn kind(result: io::Result<()>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_dropped_at_the_limit() {
        let (stream, _client) = duplex(1024);
        let mut wire = Wire::new(stream, seat(), LIMIT);
        let began = Instant::now();
        assert_eq!(kind(wire.write_all(&[0; 2048]).await), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= LIMIT);
    }

    #[tokio::test]
    async fn a_trickle_is_as_good_as_nothing() {
        let (stream, mut client) = duplex(1024);
        let mut wire = Wire::new(stream, seat(), LIMIT);
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while client.read_exact(&mut bytes).await.is_ok() {
                tokio::time::sleep(LIMIT / 20).await;
            }
        });
        assert_eq!(kind(wire.write_all(&vec![0; 1024 * 1024]).await), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_is_only_slow_gets_all_of_it() {
        let (stream, mut client) = duplex(64 * 1024);
        let mut wire = Wire::new(stream, seat(), LIMIT);
        let began = Instant::now();
        let reader = tokio::spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            for _ in 0..32 {
                tokio::time::sleep(LIMIT / 20).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
        });
        wire.write_all(&vec![0; 2 * 1024 * 1024]).await.unwrap();
        reader.await.unwrap();
        assert!(began.elapsed() > LIMIT);
        // What was taken is over: the next answer has a time of its own.
        wire.flush().await.unwrap();
        assert!(wire.deadline.is_none());
    }

    fn seat() -> Arc<Seat> {
        Arc::clone(&Seats::new(LIMIT).take().seat)
    }
}
