//! Passes the process's arguments to the library.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes freed memory, because HTTP and JSON buffers may hold secrets.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    infra_cli::run(std::env::args_os())
}
