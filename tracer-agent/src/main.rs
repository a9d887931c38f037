//! The `tracer-agent` binary: a thin shell around the library.
fn main() {}
