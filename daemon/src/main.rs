//! Runs the daemon program with the process's arguments and allocator.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
use std::alloc::System as Memory;
#[cfg(target_os = "linux")]
use tikv_jemallocator::Jemalloc as Memory;
use zeroizing_alloc::ZeroAlloc;

/// Wipes freed memory, because HTTP and JSON buffers hold secrets without wiping them. Freed memory returns to the
/// system (`.cargo/config.toml`); glibc would keep what an attack made it allocate. On other systems, jemalloc lacks the thread
/// for this, and would refuse to start.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Memory> = ZeroAlloc(Memory);

fn main() -> ExitCode {
    infra_daemon::run(std::env::args_os())
}
