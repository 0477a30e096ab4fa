//! The task of a connection, which others can end at once.
//!
//! The evictor drops an evicted connection, unless a thread is running it right now. Under load, a task waits long until
//! it runs, and its memory would be granted to others before it is free.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Serves a connection. Its memory is freed when it is dropped.
pub(super) type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub(super) struct ConnectionTask {
    /// `None` before the start and after the end.
    connection: Mutex<Option<Connection>>,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

impl ConnectionTask {
    /// Serves `connection` until it ends or is evicted.
    pub(super) fn run(self: &Arc<Self>, connection: Connection) -> impl Future<Output = ()> + Send + use<> {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Running(self.clone())
    }

    /// Ends the connection. Returns it unless it is running right now; it then ends when it next waits. The caller drops
    /// it without holding locks that connections take.
    pub(super) fn evict(&self) -> Option<Connection> {
        self.is_evicted.store(true, Ordering::SeqCst);
        let connection = match self.connection.try_lock() {
            Ok(mut connection) => connection.take(),
            Err(TryLockError::Poisoned(connection)) => connection.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        self.waker.wake();
        connection
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::SeqCst)
    }

    fn take(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Running(Arc<ConnectionTask>);

impl Future for Running {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = &self.0;
        task.waker.register(context.waker());
        {
            let mut connection = task.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let is_waiting = |it: &mut Connection| it.as_mut().poll(context).is_pending();
            // A connection may evict itself.
            if !task.is_evicted() && connection.as_mut().is_some_and(is_waiting) && !task.is_evicted() {
                return Poll::Pending;
            }
        }
        drop(task.take());
        Poll::Ready(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// A connection that waits for its peer and holds `memory`.
    fn waiting(memory: &Arc<()>) -> Connection {
        let memory = memory.clone();
        Box::pin(async move {
            pending::<()>().await;
            drop(memory);
        })
    }

    #[tokio::test]
    async fn evicted_connection_frees_memory_before_its_task_runs() {
        let (task, memory) = (Arc::new(ConnectionTask::default()), Arc::new(()));
        let running = tokio::spawn(task.run(waiting(&memory)));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&memory), 2);

        drop(task.evict());
        assert_eq!(Arc::strong_count(&memory), 1);
        running.await.expect("the task ends");
    }

    #[tokio::test]
    async fn connection_evicted_before_its_start_never_runs() {
        let (task, memory) = (Arc::new(ConnectionTask::default()), Arc::new(()));
        assert!(task.evict().is_none());
        task.run(waiting(&memory)).await;
        assert_eq!(Arc::strong_count(&memory), 1);
    }

    #[tokio::test]
    async fn connection_that_evicts_itself_ends() {
        let task = Arc::new(ConnectionTask::default());
        let own = task.clone();
        task.run(Box::pin(async move {
            assert!(own.evict().is_none(), "it is running");
            pending::<()>().await;
        }))
        .await;
    }

    #[tokio::test]
    async fn dropped_task_frees_its_connection() {
        let (task, memory) = (Arc::new(ConnectionTask::default()), Arc::new(()));
        drop(task.run(waiting(&memory)));
        assert_eq!(Arc::strong_count(&memory), 1);
    }
}
