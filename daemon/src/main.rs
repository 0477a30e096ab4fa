//! Adapts the world to the program.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: buffers of HTTP and JSON hold secrets, and know nothing of it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    infra_daemon::run(std::env::args_os())
}
