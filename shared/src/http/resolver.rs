//! Looks up host names on threads that can be abandoned.
//!
//! The system resolver cannot be interrupted: if name servers never answer, it blocks for as long as the system's
//! configuration says. The client's connect timeout ends the wait. A blocked thread lives until the process exits.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// Maximum concurrent lookups, including abandoned ones.
const AT_ONCE: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Resolver {
    busy: Arc<AtomicUsize>,
}

/// Counts one lookup for as long as it runs.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let busy = Busy(Arc::clone(&self.busy));
        let is_too_many = self.busy.fetch_add(1, Ordering::Relaxed) >= AT_ONCE;
        let (sender, addresses) = oneshot::channel();
        let look_up = move || {
            let _busy = busy;
            // The client fills in the port. Sending fails if the request was aborted.
            let _ = sender.send((name.as_str(), 0).to_socket_addrs());
        };
        let started = if is_too_many {
            Err(io::Error::other("too many host names are being looked up"))
        } else {
            thread::Builder::new().name("resolver".to_owned()).spawn(look_up)
        };
        Box::pin(async move {
            started?;
            let found: Addrs = Box::new(addresses.await??);
            Ok(found)
        })
    }
}
