//! Work that goes to its end, whether whoever began it waits for it or not.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, CatchUnwind};
use tokio::runtime::Handle;

/// Work in the task that waits for it, which costs nothing; given up there it goes on in a task of its own. A panic ends the work alone.
pub(super) struct ToTheEnd<T: Send + 'static>(Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, T>>>>);

/// The work broke.
pub(super) struct Broken;

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(AssertUnwindSafe(work.boxed()).catch_unwind()))
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Broken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else { return Poll::Ready(Err(Broken)) };
        let ended = std::task::ready!(work.poll_unpin(context));
        self.0 = None;
        Poll::Ready(ended.map_err(|_| Broken))
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::ToTheEnd;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_goes_to_its_end() {
        let (go_on, begun) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut work = ToTheEnd::new(async move {
            begun.await.expect("somebody goes on");
            done.send(7).expect("somebody listens");
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go_on.send(()).expect("it waits");
        assert_eq!(ended.await, Ok(7));
    }

    #[tokio::test]
    async fn what_panics_takes_nobody_with_it() {
        let work = ToTheEnd::new(async { assert_eq!(std::hint::black_box(1), 2) });
        assert!(work.await.is_err());
    }
}
