//! The `tracer-agent` binary: a thin shell around the library.

use std::process::ExitCode;

/// Half the CPU time of an exchange was the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracer_agent::cli::main(std::env::args_os()).into()
}
