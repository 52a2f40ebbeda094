//! An answer that is made while it is sent, such as a log that is followed: made on the runtime of the rest of the daemon, and brought from there to the
//! thread of its connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How many pieces are made ahead of the client.
const AHEAD: usize = 2;

type Piece = Result<Frame<Bytes>, axum::Error>;

/// The body of such an answer. Dropped before its end, it ends what makes it.
struct Brought {
    pieces: mpsc::Receiver<Piece>,
    /// `None` once it is known how it ended.
    made: Option<AbortOnDropHandle<()>>,
}

/// The same body, made on `runtime`; one that is there as a whole stays as it is.
pub(super) fn made_on(runtime: &Handle, mut body: Body) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    let (sender, pieces) = mpsc::channel(AHEAD);
    let making = async move {
        while let Some(piece) = body.frame().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    Body::new(Brought { pieces, made: Some(AbortOnDropHandle::new(runtime.spawn(making))) })
}

impl HttpBody for Brought {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Some(piece) = ready!(self.pieces.poll_recv(cx)) {
            return Poll::Ready(Some(piece));
        }
        // Whether it was made to its end: half an answer must not look like a whole one.
        let Some(made) = &mut self.made else { return Poll::Ready(None) };
        let ended = ready!(made.poll_unpin(cx));
        self.made = None;
        Poll::Ready(ended.err().map(|failure| Err(axum::Error::new(failure))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn text(body: Body) -> Result<String, axum::Error> {
        let whole = body.collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }

    fn streamed(pieces: impl Iterator<Item = &'static str> + Send + 'static) -> Body {
        Body::from_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test]
    async fn an_answer_that_is_made_elsewhere_is_the_same() {
        let runtime = Handle::current();
        assert_eq!(text(made_on(&runtime, streamed(["in ", "two ", "or ", "three"].into_iter()))).await.expect("whole"), "in two or three");
        assert_eq!(text(made_on(&runtime, Body::from("at once"))).await.expect("whole"), "at once");
        assert_eq!(text(made_on(&runtime, Body::empty())).await.expect("whole"), "");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_while_it_is_made_does_not_look_whole() {
        let breaks = ["half", ""].into_iter().inspect(|piece| assert!(!piece.is_empty()));
        assert!(text(made_on(&Handle::current(), streamed(breaks))).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_on_is_made_no_further() {
        let (sender, mut ended) = mpsc::channel::<()>(1);
        let endless = std::iter::repeat("more").inspect(move |_| {
            let _held = &sender;
        });
        let mut body = made_on(&Handle::current(), streamed(endless));
        assert!(body.frame().await.is_some_and(|piece| piece.is_ok()));
        drop(body);
        // The sender is gone with what made it.
        assert_eq!(ended.recv().await, None);
    }
}
