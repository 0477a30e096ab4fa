//! Adapts the world to the program.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: buffers of HTTP and JSON hold secrets, and know nothing of it. Freed memory returns to the system
/// (`.cargo/config.toml`): glibc would keep what an attack made it grow to.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    infra_daemon::run(std::env::args_os())
}
