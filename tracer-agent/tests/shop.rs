//! The bundled shop as processes of their own, untraced.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tracer_agent::{
    discovery::{Discovery, Glob},
    shop::SUBCOMMAND,
};

const PARTS: [&str; 7] = [
    "auth",
    "bank",
    "gateway",
    "inventory",
    "orders",
    "payment",
    "shopper",
];

fn shop(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-agent"));
    command
        .arg(SUBCOMMAND)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Names of the services that run a program from this folder.
fn open_services(folder: &Path) -> Vec<String> {
    let discovery = Discovery::new("/proc".into());
    let pattern = [Glob::new(format!("{}/*", folder.display()))];
    let mut names: Vec<String> = discovery
        .pids()
        .into_iter()
        .filter(|pid| discovery.runs_exe(*pid, &pattern))
        .map(|pid| discovery.lookup(pid, "").service_name)
        .collect();
    names.sort();
    names
}

/// Whether this holds within five seconds.
fn comes_about(holds: impl Fn() -> bool) -> bool {
    (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        holds()
    })
}

/// A shop in which the shopper is at work.
fn open_shop(folder: &Path) -> Child {
    let mut shop = shop(folder).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shop.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("opens"), "{line}");
    assert!(
        comes_about(|| open_services(folder) == PARTS),
        "{:?}",
        open_services(folder)
    );
    shop
}

#[test]
fn every_checkout_is_told_and_nothing_is_left_behind() {
    let folder = TempDir::new().unwrap();
    let output = shop(folder.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for story in [
        "alice buys a kettle",
        "bob buys a lamp",
        "carol's card is declined",
        "dave asks",
    ] {
        assert!(told.contains(story), "{told}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(open_services(folder.path()), [""; 0]);
}

#[test]
fn each_part_is_a_process_that_is_called_by_its_own_name() {
    let folder = TempDir::new().unwrap();
    let mut shop = open_shop(folder.path());
    assert!(shop.wait().unwrap().success());
}

#[test]
fn no_part_outlives_a_play_that_is_killed() {
    let folder = TempDir::new().unwrap();
    let mut shop = open_shop(folder.path());
    shop.kill().unwrap();
    shop.wait().unwrap();
    assert!(comes_about(|| open_services(folder.path()).is_empty()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
