//! Runs blocking operations on separate threads, and operations that must not be cancelled as tasks.

use std::future::pending;

use tokio::task::JoinHandle;

/// Runs an operation that may block and passes on its panics.
///
/// Never returns if the runtime shuts down before the operation starts, because the caller is cancelled with it.
pub async fn blocking<T: Send + 'static>(operation: impl FnOnce() -> T + Send + 'static) -> T {
    join(tokio::task::spawn_blocking(operation)).await
}

/// Runs an operation to its end even if the caller is cancelled, and passes on its panics.
///
/// Never returns if the runtime shuts down first, because the caller is cancelled with it.
pub async fn uncancelled<T: Send + 'static>(operation: impl Future<Output = T> + Send + 'static) -> T {
    join(tokio::spawn(operation)).await
}

async fn join<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(outcome) => outcome,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn operation_returns_and_passes_on_panics() {
        assert_eq!(blocking(|| 7).await, 7);
        let panicked = tokio::spawn(blocking(|| std::panic::resume_unwind(Box::new(())))).await;
        assert!(panicked.expect_err("it panicked").is_panic());
    }

    #[test]
    fn operation_not_started_before_shutdown_never_returns() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let mut waiting = pin!(join(handle.spawn_blocking(|| ())));
        let outcome = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(outcome.is_pending(), "it neither returned nor panicked");
    }
}
