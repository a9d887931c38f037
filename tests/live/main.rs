//! The live tests: real programs on loopback, traced by the agent that lies beside this program, judged by its
//! json export. A test that cannot run here says why and counts as skipped.
//!
//!     live-tests [--hooks FAMILY,…] [--brief] [--of-kernel] [NAME-PART]
//!
//! Runs once for each hook family (`auto` where none is named); with `--brief` those after the first that the kernel takes
//! run only the tests whose outcome depends on the family, and with `--of-kernel` those that come out alike on every kernel
//! are left to another. Writes a line for each test (`ok FAMILY/NAME`, `FAILED FAMILY/NAME: reason`,
//! `skipped FAMILY/NAME: reason`), how many were left out so, and the sums.

mod agent;
mod breakpoints;
mod canary;
mod chain;
mod grpc_web;
mod guard;
mod http1;
mod http2;
mod load;
mod metrics;
mod mishap;
mod mixed;
mod reload;
mod run;
mod sampling;
mod select;
mod server;
mod skip;
mod sockets;
mod spans;
mod tls;
mod tls_clients;
mod tls_go;
mod unix;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};

use agent::Agent;
use skip::Skip;

/// A test: its name states the rule it proves.
type Test = (&'static str, fn(&Agent) -> Result<()>);

/// Names of tests whose outcome depends on the hook family: how bytes are found, and how they are told to be whole.
const BRIEF: &[&str] = &[
    "requests_kept_alive_by_curl",
    "tls_1_3_by_curl",
    "the_sizes_of_a_gibibyte",
    "bodies_that_are_spliced",
    "a_connection_that_was_open",
    "requests_served_by_io_uring",
    "chain_of_three_hops_32_in_flight_kept",
    "chain_of_go_hops_32_in_flight",
    "every_request_of_a_saturated",
];

/// Names of tests of what is no matter of the kernel, or of what other tests try there with fewer starts of the agent.
const ALIKE: &[&str] = &[
    "above_its_limit_of",
    "http_1_0",
    "a_post_that_expects",
    "an_error_status",
    "no_secret_of_a_request",
    "no_credential_is_in",
    "no_core_file",
    "the_exit_status",
    "what_is_not_http",
    "without_type_information",
    "a_process_that_has_ended",
    "every_request_is_counted_and",
    "requests_that_are_not_sampled_are_counted",
    "a_control_group_and_a_program",
    "an_excluded_port",
    "a_unix_socket_with",
    "chain_of_three_hops_1_in_flight",
    "chain_of_three_hops_8_in_flight",
    "chain_of_three_hops_128_in_flight",
    "chain_over_unix_sockets_8_in_flight",
    "chain_through_nginx",
    "chain_of_go_hops_8_in_flight",
    "chain_of_go_hops_that_fan_out",
    "chain_of_node_hops_that_fan_out",
    "chain_of_asyncio_hops",
    "chain_of_java_hops",
    "chain_of_puma_hops",
    "chain_of_axum_hops",
    "a_mixed_shop",
    "http_2_over_tls",
    "tls_1_2_by_curl",
    "tls_1_2_by_requests",
    "requests_kept_alive_over_tls",
    "bodies_of_many_tls",
    "with_tls_off",
    "tls_in_memory_of_asyncio_and",
    "tls_in_memory_of_node",
    "tls_of_gnutls",
    "tls_of_go_at_both",
    "tls_of_go_within",
    "no_breakpoint_is_left",
    "tls_of_go_and",
    "tls_of_asyncio_and_go",
    "http_2_over_tls_of_go",
    "calls_by_grpc_from_node",
    "calls_by_grpc_from_go",
    "calls_by_grpc_from_java",
    "calls_by_grpc_from_rust",
    "calls_by_grpc_100",
    "calls_by_grpc_of_hops_in_go_that",
    "calls_by_grpc_web",
    "requests_in_http_2_from_httpx",
    "requests_in_http_2_from_go",
    "requests_in_http_2_from_nghttp",
];

/// What is to be run.
#[derive(Default)]
struct Wanted {
    families: Vec<String>,
    brief: bool,
    of_kernel: bool,
    part: String,
}

impl Wanted {
    fn read(words: impl Iterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--hooks" => {
                    let list = words.next().unwrap_or_default();
                    wanted.families = list.split(',').map(str::to_owned).collect();
                }
                "--brief" => wanted.brief = true,
                "--of-kernel" => wanted.of_kernel = true,
                part => part.clone_into(&mut wanted.part),
            }
        }
        if wanted.families.is_empty() {
            wanted.families.push("auto".to_owned());
        }
        wanted
    }

    fn includes(&self, test: &str, is_first_family: bool) -> bool {
        let is_one_of = |names: &[&str]| names.iter().any(|name| test.starts_with(name));
        let brief = self.brief && !is_first_family;
        test.contains(&self.part) && (!brief || is_one_of(BRIEF)) && (!self.of_kernel || !is_one_of(ALIKE))
    }
}

/// How many tests ended how.
#[derive(Default)]
struct Sums {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Sums {
    fn add(&mut self, name: &str, outcome: Result<()>, seconds: f64) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok {name} ({seconds:.1} s)");
            }
            Err(error) if error.is::<Skip>() => {
                self.skipped += 1;
                println!("skipped {name}: {error}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED {name}: {error:#}");
            }
        }
    }
}

fn main() -> ExitCode {
    let wanted = Wanted::read(std::env::args().skip(1));
    let tests = [
        http1::TESTS,
        http2::TESTS,
        grpc_web::TESTS,
        run::TESTS,
        select::TESTS,
        reload::TESTS,
        sampling::TESTS,
        sockets::TESTS,
        unix::TESTS,
        canary::TESTS,
        tls::TESTS,
        tls_clients::TESTS,
        tls_go::TESTS,
        breakpoints::TESTS,
        metrics::TESTS,
        mishap::TESTS,
        chain::TESTS,
        mixed::TESTS,
        load::TESTS,
        guard::TESTS,
    ]
    .concat();
    let mut sums = Sums::default();
    let mut is_first = true;
    let mut left_out = 0;
    for family in &wanted.families {
        let agent = match Agent::beside_this_program(family) {
            Ok(agent) => agent,
            Err(error) => {
                sums.add(family, Err(error), 0.0);
                continue;
            }
        };
        for (name, test) in &tests {
            if !wanted.includes(name, is_first) {
                left_out += u32::from(name.contains(&wanted.part));
                continue;
            }
            let begun = now();
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| test(&agent)))
                .unwrap_or_else(|_| Err(anyhow!("the test itself panicked")));
            sums.add(
                &format!("{family}/{name}"),
                outcome,
                begun.elapsed().as_secs_f64(),
            );
        }
        is_first = false;
    }
    if left_out > 0 {
        println!("{left_out} left to another family or kernel");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        sums.passed, sums.failed, sums.skipped
    );
    if sums.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[expect(clippy::disallowed_methods, reason = "a live test runs in real time")]
fn now() -> Instant {
    Instant::now()
}
