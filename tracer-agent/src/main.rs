//! The `tracer-agent` binary: a thin shell around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracer_agent::cli::main(std::env::args_os()).into()
}
