//! One hop of a chain in tonic, or a client that tries every kind of call, on tokio's threads, no tracing.
//!
//!     hop-tonic [--next URL] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//!     hop-tonic --ask URL --methods Unary,… [--total 20] [--in-flight 1] [--size 0] [--run r] [--truth FILE]
//!
//! The server of echoes.py, or a client of it; otherwise as ../hop_grpc.py, whose options it takes. Its server sends no
//! `x-echo-end`: tonic gives trailers to what ends in an error alone.

mod client;
mod hop;
mod raw;
mod server;

use std::error::Error;

use clap::Parser;
use http::Uri;

/// Of one call that streams.
const MESSAGES: usize = 3;

#[derive(Parser)]
struct Options {
    /// The hop it calls; without it, it is the last
    #[arg(long)]
    next: Option<Uri>,
    /// Has no effect: calls share one connection
    #[arg(long, default_value = "pool")]
    client: String,
    /// Calls for each request
    #[arg(long, default_value_t = 1)]
    calls: u32,
    /// How likely each of them is not made
    #[arg(long, default_value_t = 0.0)]
    skip: f64,
    /// Calls after the answer; there are none
    #[arg(long, default_value_t = 0)]
    late: u32,
    /// sequential or nested
    #[arg(long, default_value = "sequential")]
    order: String,
    /// Before each call and after the last
    #[arg(long, default_value_t = 0.0)]
    think_ms: f64,
    /// At most this is added to each think time
    #[arg(long, default_value_t = 0.0)]
    jitter_ms: f64,
    #[command(flatten)]
    asking: client::Options,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    match options.asking.ask.clone() {
        Some(url) => client::ask_all(options.asking, url).await,
        None => server::serve(options).await,
    }
}
