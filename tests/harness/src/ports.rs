//! Ports that no concurrent test uses.

use std::net::{Ipv4Addr, TcpListener};

/// Consecutive free ports on 127.0.0.1, below the operating system's ephemeral range.
///
/// The first port of the block stays bound until the value is dropped, so that concurrent tests, in this or
/// another process, never share a block.
pub struct Ports {
    guard: TcpListener,
    count: u16,
}

/// Blocks do not overlap. A restarting daemon unbinds its ports for a moment, so no other block may include
/// them.
const BLOCK: u16 = 16;

impl Ports {
    pub fn reserve(count: u16) -> Self {
        assert!(count < BLOCK, "a block has {} ports", BLOCK - 1);
        for _ in 0..1_000 {
            let [low, high] = infra_shared::random::bytes::<2>();
            let base = 10_000 + u16::from_le_bytes([low, high]) % (20_000 / BLOCK) * BLOCK;
            let Ok(guard) = TcpListener::bind((Ipv4Addr::LOCALHOST, base)) else { continue };
            let free =
                (base + 1..=base + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
            if free {
                return Self { guard, count };
            }
        }
        panic!("no {count} free ports were found on 127.0.0.1");
    }

    /// The ports of the block, without the guard port.
    pub fn all(&self) -> Vec<u16> {
        let base = self.guard.local_addr().expect("a bound socket has an address").port();
        (base + 1..=base + self.count).collect()
    }
}
