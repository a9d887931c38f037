//! Every chore of the repository: `cargo xtask help` lists them. One file a chore.

mod accuracy;
mod arch;
mod backends;
mod bench;
mod build_ebpf;
mod demo;
mod deploy;
mod dist;
mod fuzz;
mod hop;
mod link;
mod matrix;
mod process;
mod runtimes;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Every chore of the repository"
)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Find or install what building and testing need; does nothing where it is all there
    Setup(setup::Options),
    /// Build the kernel side and say what it is made of
    BuildEbpf,
    /// Build the agent and show a distributed request through programs that know nothing of tracing
    Demo(demo::Options),
    /// Run every test: formatting, lints, unit, live, and live again on other kernels
    Test(test::Options),
    /// Boot another kernel and run the live tests, or a command, in it
    Vm(vm::Options),
    /// Judge the links between spans under concurrency, by a tree that the agent cannot see
    Accuracy(accuracy::Options),
    /// Judge clients with servers of HTTPS, and of WebSocket over TLS, each with each: every request is a right span, or it is said why not
    Matrix(matrix::Options),
    /// Ask Jaeger, the Collector and Prometheus for what the agent exported to them of a small workload
    Backends(backends::Options),
    /// Say which request each call was made for, by times alone, of a file of exchanges
    Link(link::Options),
    /// Measure what the agent costs, against its budgets
    Bench(bench::Options),
    /// Trace storms for a long time: nothing may grow, nothing may be left, every request is counted
    Soak(bench::soak::Options),
    /// Run every fuzz target
    Fuzz(fuzz::Options),
    /// Build the agent as one static file
    Dist(dist::Options),
    /// Build the container image, from nothing but that file
    Image(dist::Options),
    /// Build the package for Debian
    Deb(dist::Options),
    /// Write deploy/kubernetes anew, from the chart
    Manifests,
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    match chore {
        Chore::Setup(options) => setup::run_setup(&options),
        Chore::BuildEbpf => build_ebpf::run_build(),
        Chore::Demo(options) => demo::run_demo(&options),
        Chore::Test(options) => test::run_tests(&options),
        Chore::Vm(options) => vm::run_chore(&options),
        Chore::Accuracy(options) => accuracy::run_accuracy(&options),
        Chore::Matrix(options) => matrix::run_matrix(&options),
        Chore::Backends(options) => backends::run_backends(&options),
        Chore::Link(options) => link::link(&options),
        Chore::Bench(options) => bench::run_bench(&options),
        Chore::Soak(options) => bench::soak::run_soak(&options),
        Chore::Fuzz(options) => fuzz::run_all(&options),
        Chore::Dist(options) => dist::run_dist(&options),
        Chore::Image(options) => dist::run_image(&options),
        Chore::Deb(options) => dist::run_deb(&options),
        Chore::Manifests => deploy::write_manifests(),
    }
}
