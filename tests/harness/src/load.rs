//! Load on a daemon: busy clients that reconnect for each request, and idle clients with open connections.
//! All count failures.

mod client;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use client::Client;

/// A server on 127.0.0.1, and how to authenticate it.
#[derive(Debug, Clone)]
pub struct Target {
    pub port: u16,
    pub name: String,
    /// The only trusted roots, as PEM.
    pub roots: String,
}

/// A running load, stopped when dropped.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Results of a load so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Connections that stay open.
    pub open: usize,
    pub requests: usize,
    pub handshakes: usize,
    pub failures: Vec<String>,
    /// Distinct certificates that the server presented.
    pub certificates: HashSet<Vec<u8>>,
}

/// Below the daemon's limit of 64 connections per address.
const CONNECTIONS_OF_ADDRESS: usize = 50;
/// Time between requests on an open connection.
const INTERVAL: Duration = Duration::from_secs(5);
/// Pause of a busy client, so that other tests get CPU time.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections that open concurrently.
const OPENED_AT_ONCE: usize = 32;

impl Load {
    /// Keeps `open` connections, and runs `busy` clients that connect, send a request and disconnect in a
    /// loop.
    pub fn start(target: &Target, open: usize, busy: usize) -> Self {
        allow_files();
        let (tally, (stop, stopped)) = (Arc::new(Mutex::new(Tally::default())), watch::channel(false));
        let client = Client::new(target, Arc::clone(&tally));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(client, open, busy, stopped));
            runtime.shutdown_background();
        });
        Self { tally, stop, thread: Some(thread) }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the load after one last request on every open connection.
    pub fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(client: Client, open: usize, busy: usize, stopped: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(OPENED_AT_ONCE));
    for number in 0..open {
        let (client, mut stopped, gate) = (client.clone(), stopped.clone(), Arc::clone(&gate));
        clients.spawn(async move {
            let place = gate.acquire().await;
            let Some(mut connection) = client.connect(address(1, number)).await else { return };
            drop(place);
            client.note(|tally| tally.open += 1);
            loop {
                // One more request after the end detects a lost connection.
                let is_over = *stopped.borrow_and_update();
                client.ask(&mut connection).await;
                if is_over {
                    return;
                }
                let _ = tokio::time::timeout(INTERVAL, stopped.changed()).await;
            }
        });
    }
    for number in 0..busy {
        let (client, stopped) = (client.clone(), stopped.clone());
        clients.spawn(async move {
            while !*stopped.borrow() {
                if let Some(mut connection) = client.connect(address(2, number)).await {
                    client.ask(&mut connection).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

/// A loopback address; each group has its own network.
fn address(group: u8, number: usize) -> Ipv4Addr {
    let host = u8::try_from(number / CONNECTIONS_OF_ADDRESS + 1).expect("fewer connections");
    Ipv4Addr::new(127, 0, group, host)
}

/// Raises the limit of open files to the maximum, also for processes started later.
fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
