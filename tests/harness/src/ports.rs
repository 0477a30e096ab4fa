//! Ports that no other test takes meanwhile.

use std::net::{Ipv4Addr, TcpListener};

/// Consecutive ports on 127.0.0.1 that are free, below those the operating system hands out by itself.
///
/// The first port of the block stays bound for as long as the value lives, so that tests running at the same time,
/// in this process or another, never share a block.
pub struct Ports {
    guard: TcpListener,
    count: u16,
}

/// Blocks lie side by side: none begins within another, whose ports may be unbound for a moment while its daemon starts again.
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

    /// The ports of the block, without the guard.
    pub fn all(&self) -> Vec<u16> {
        let base = self.guard.local_addr().expect("a bound socket has an address").port();
        (base + 1..=base + self.count).collect()
    }
}
