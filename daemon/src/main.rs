//! Runs the daemon program with the process's arguments and allocator.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// Wipes freed memory, because HTTP and JSON buffers hold secrets without wiping them. Freed memory returns to the
/// system (`.cargo/config.toml`); glibc would keep what an attack made it allocate.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    infra_daemon::run(std::env::args_os())
}
