//! The bundled shop: six small services and a customer, none of which knows anything of tracing. `demo` shows
//! their traces, and live tests use them as a workload. Each is a process of its own, takes one thread a
//! connection and speaks plain HTTP/1.1 over loopback; nothing here uses any other part of the agent.

use anyhow::{Context, bail};

mod http;
mod services;
mod stage;

use services::Role;

/// The hidden sub-command that leads here.
pub const SUBCOMMAND: &str = "__shop";

/// Runs what the arguments after [`SUBCOMMAND`] say: the whole play without any, else one part in it
/// (`gateway auth=127.0.0.1:4000 orders=127.0.0.1:4001`).
///
/// # Errors
/// When a part cannot be started or does not come up; everything that was started has ended by then.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Some((role, peers)) = arguments.split_first() else {
        return stage::play();
    };
    let Some(role) = Role::named(role) else {
        bail!("the shop has no part called {role}");
    };
    let peers = peers
        .iter()
        .map(|peer| {
            let (name, address) = peer.split_once('=').context("a peer is NAME=ADDRESS")?;
            let address = address
                .parse()
                .with_context(|| format!("the address of {name}"))?;
            Ok((name.to_owned(), address))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    if role == Role::Shopper {
        return services::go_shopping(&peers);
    }
    stage::serve_until_stdin_closes(role, peers)
}
