//! Limits of a listener: connections, memory, and a timeout for each step.

use std::time::Duration;

const AUXILIARY_MEMORY: usize = 4 * 1024 * 1024;

/// Limits of each connection and of all together. Timeouts cover a whole step, not gaps between bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Timeout from the first byte, PROXY header included, to the end of the TLS handshake.
    pub handshake: Duration,
    /// Timeout from the first to the last byte of a request head (HTTP/1).
    pub request_head: Duration,
    pub head_bytes: usize,
    pub headers: usize,
    /// Timeout from a request's head to the end of its answer.
    pub request: Duration,
    pub idle: Duration,
    pub requests_per_connection: usize,
    /// Maximum concurrent requests on one HTTP/2 connection.
    pub streams: usize,
    pub connections: usize,
    /// Maximum concurrent connections of one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Maximum memory in bytes of all connections and their unfinished requests together.
    pub memory: usize,
    /// How long requests in flight may take after shutdown starts.
    pub drain: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            headers: 64,
            request: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            requests_per_connection: 1000,
            streams: 32,
            connections: 4096,
            connections_per_address: 64,
            memory: 64 * 1024 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

impl ListenerLimits {
    /// Limits for auxiliary listeners: at most 64 connections, 16 per address.
    #[must_use]
    pub fn for_auxiliary_listener(&self) -> Self {
        Self {
            connections: self.connections.min(64),
            connections_per_address: self.connections_per_address.min(16),
            memory: AUXILIARY_MEMORY,
            ..self.clone()
        }
    }

    /// Limits for the redirect: all connections, but little memory, because answers need no work.
    #[must_use]
    pub fn for_redirect(&self) -> Self {
        Self { memory: 2 * AUXILIARY_MEMORY, ..self.clone() }
    }
}
