//! How many connections there may be, and how long each step on them may take.

use std::time::Duration;

/// What auxiliary listeners may hold.
const SIDE_DOOR_MEMORY: usize = 4 * 1024 * 1024;

/// The limits of one connection and of all of them together (times are whole waits, not gaps between bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// From the first byte, a PROXY header's included, to the end of the TLS handshake.
    pub handshake: Duration,
    /// Handshakes that are worked on at a time.
    pub handshakes: usize,
    /// From the first byte of a request's head to its last (HTTP/1).
    pub request_head: Duration,
    pub head_bytes: usize,
    pub headers: usize,
    /// From the head of a request to the end of its answer.
    pub request: Duration,
    /// How long a connection may do nothing.
    pub idle: Duration,
    pub requests_per_connection: usize,
    /// Requests that one connection may have answered at a time (HTTP/2).
    pub streams: usize,
    pub connections: usize,
    /// Connections that one address (IPv6: one /64) may hold at a time.
    pub connections_per_address: usize,
    /// Bytes that all connections and their unfinished requests may hold together.
    pub memory: usize,
    /// How long requests under way may take to end after a stop was asked for.
    pub drain: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 256,
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
    /// For what a few ask a few things: no more than 64 connections, 16 from one address.
    #[must_use]
    pub fn of_a_side_door(&self) -> Self {
        Self {
            connections: self.connections.min(64),
            connections_per_address: self.connections_per_address.min(16),
            memory: SIDE_DOOR_MEMORY,
            ..self.clone()
        }
    }

    /// For what answers without work: as many connections as everywhere, and little memory.
    #[must_use]
    pub fn of_a_redirect(&self) -> Self {
        Self { memory: 2 * SIDE_DOOR_MEMORY, ..self.clone() }
    }
}
