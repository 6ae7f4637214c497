//! Waiting for more than one thing.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First<A, B> {
    A(A),
    B(B),
}

/// Waits for `a` and `b`; the one that is not first is dropped. If both are ready, it is `a`.
pub(crate) async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> First<A, B> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| {
        if let Poll::Ready(a) = a.as_mut().poll(context) {
            return Poll::Ready(First::A(a));
        }
        b.as_mut().poll(context).map(First::B)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn the_one_that_is_ready_is_first() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(first(ready(1), pending::<()>()).await, First::A(1));
            assert_eq!(first(pending::<()>(), ready(2)).await, First::B(2));
            assert_eq!(first(ready(1), ready(2)).await, First::A(1));
        });
    }
}
