//! The waker of a connection that is polled within the task of its request. hyper rings it for what the two ends of a connection tell each other, which
//! the same poll sees to: handed to the task, each ring would have all of the task polled once more, and the client's connection with it.
//! Invariant: a ring that no poll has seen to reaches the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often it is looked again for what rang during a poll, before the task's other work has its turn.
const ROUNDS: usize = 4;

/// A connection's bell. Whoever polls the connection last hears it.
pub(super) struct Bell {
    inner: Arc<Inner>,
    waker: Waker,
}

#[derive(Default)]
struct Inner {
    task: AtomicWaker,
    has_rung: AtomicBool,
    /// The connection is being polled: that looks for itself.
    is_polled: AtomicBool,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In one order for all: either a poll that ends sees the ring, or the ring sees that it has ended.
        self.has_rung.store(true, Ordering::SeqCst);
        if !self.is_polled.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Bell {
    pub(super) fn new() -> Self {
        let inner = Arc::<Inner>::default();
        Self { waker: inner.clone().into(), inner }
    }

    /// Polls a connection for a task. `poll` is called again for as long as something rings meanwhile; it may take back with
    /// [`Rings::heard`] what it is about to see to anyway.
    pub(super) fn poll<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>, &Rings<'_>) -> Poll<T>) -> Poll<T> {
        let (inner, rings) = (&*self.inner, Rings(&self.inner));
        inner.task.register(cx.waker());
        for _ in 0..ROUNDS {
            inner.is_polled.store(true, Ordering::SeqCst);
            rings.heard();
            let polled = poll(&mut Context::from_waker(&self.waker), &rings);
            inner.is_polled.store(false, Ordering::SeqCst);
            if polled.is_ready() || !inner.has_rung.load(Ordering::SeqCst) {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it has rung since the last poll began, or that poll saw to less.
    pub(super) fn has_rung(&self) -> bool {
        self.inner.has_rung.load(Ordering::SeqCst)
    }

    /// Nobody waits for the connection any more.
    pub(super) fn forget(&self) {
        drop(self.inner.task.take());
    }
}

/// What rang during a poll.
pub(super) struct Rings<'a>(&'a Inner);

impl Rings<'_> {
    /// It is seen to.
    pub(super) fn heard(&self) {
        self.0.has_rung.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A task that counts how often it is to be polled again.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    #[test]
    fn what_rings_during_a_poll_is_seen_to_there_and_what_rings_later_reaches_the_task() {
        let (bell, task) = (Bell::new(), Arc::<Task>::default());
        let (waker, mut polls, mut kept) = (task.clone().into(), 0, None);
        let mut cx = Context::from_waker(&waker);
        let polled: Poll<()> = bell.poll(&mut cx, |cx, _| {
            polls += 1;
            if polls == 1 {
                cx.waker().wake_by_ref();
            }
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.take(), bell.has_rung()), (2, 0, false));
        kept.expect("a waker").wake();
        assert_eq!((task.take(), bell.has_rung()), (1, true));
    }

    #[test]
    fn what_rings_without_end_lets_the_task_have_its_turn() {
        let (bell, task) = (Bell::new(), Arc::<Task>::default());
        let (waker, mut polls) = (task.clone().into(), 0);
        let polled: Poll<()> = bell.poll(&mut Context::from_waker(&waker), |cx, _| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.take()), (ROUNDS, 1));
    }

    #[test]
    fn what_was_heard_costs_no_further_poll_and_nobody_hears_what_is_forgotten() {
        let (bell, task) = (Bell::new(), Arc::<Task>::default());
        let (waker, mut polls, mut kept) = (task.clone().into(), 0, None);
        let polled: Poll<()> = bell.poll(&mut Context::from_waker(&waker), |cx, rings| {
            polls += 1;
            cx.waker().wake_by_ref();
            rings.heard();
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(polls, 1);
        bell.forget();
        kept.expect("a waker").wake();
        assert_eq!((task.take(), bell.has_rung()), (0, true));
    }
}
