//! The body of a request or of an answer from somebody who is not trusted, in one piece and in bounded memory.

use hyper::body::{Body, Bytes};

use http_body_util::BodyExt;

/// Why there is no whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ungathered<E> {
    /// It has more than so many bytes, or says so beforehand.
    TooLarge,
    /// It ended early.
    Broken(E),
}

/// Copies what comes into one buffer of at most `most` bytes. A frame is a piece of the buffer that it was read into and keeps the whole of
/// that alive: kept frames of whoever sends byte by byte would hold some kilobytes for each byte.
pub(super) async fn gather<B>(mut body: B, most: usize) -> Result<Vec<u8>, Ungathered<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What is said beforehand need not be waited for.
    let declared = usize::try_from(body.size_hint().lower()).ok().filter(|length| *length <= most);
    let mut gathered = Vec::with_capacity(declared.ok_or(Ungathered::TooLarge)?);
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer: nothing that is read here has one that matters.
        let Ok(data) = frame.map_err(Ungathered::Broken)?.into_data() else { continue };
        if data.len() > most - gathered.len() {
            return Err(Ungathered::TooLarge);
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// A buffer, of which a frame is one byte.
    struct Buffer(Arc<[u8; 8192]>);

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0[..]
        }
    }

    /// A body of so many frames that does not say its length; there must be no frame of it when the next is asked for.
    struct Trickle(usize, Arc<[u8; 8192]>);

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert_eq!(Arc::strong_count(&self.1), 1, "an earlier frame is kept");
            let left = self.0.checked_sub(1);
            let frame = || Ok(Frame::data(Bytes::from_owner(Buffer(Arc::clone(&self.1))).split_to(1)));
            let frame = left.map(|_| frame());
            self.0 = left.unwrap_or(0);
            Poll::Ready(frame)
        }
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_the_limit_and_no_frame_of_it_is_kept() {
        let trickle = |frames| Trickle(frames, Arc::new([7; 8192]));
        assert_eq!(gather(trickle(100), 100).await, Ok(vec![7; 100]));
        assert_eq!(gather(trickle(101), 100).await, Err(Ungathered::TooLarge));
        assert_eq!(gather(trickle(0), 0).await, Ok(Vec::new()));
        assert_eq!(gather(Full::new(Bytes::from_static(b"whole")), 5).await, Ok(b"whole".to_vec()));
        assert_eq!(gather(Full::new(Bytes::from_static(b"whole")), 4).await, Err(Ungathered::TooLarge));
    }
}
