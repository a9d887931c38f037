//! What a million distinct paths cost: `cargo test --release -p tracer-agent --lib routes::tests::cost -- --ignored --nocapture`.

use std::{collections::HashSet, fs, time::Duration};

use super::super::{MAX_NODES_OF_ONE, Routes};
use crate::{privacy::path, protocols::exchange::Side};

const PATHS: u64 = 1_000_000;

/// Numbers that follow from each other and look as if they did not.
fn mixed(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn word(mut number: u64) -> String {
    let mut word = String::new();
    for _ in 0..8 {
        word.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
    }
    word
}

fn path(number: u64) -> String {
    let other = mixed(number);
    match number % 5 {
        0 => format!("/users/{number}/orders/{other}"),
        1 => format!("/{}/{}/{}", word(other), word(mixed(other)), word(number)),
        2 => format!("/people/{}/{}@example.com", word(other), word(number)),
        3 => format!("/reset/{other:016x}{number:016x}"),
        _ => format!(
            "/files/{number:08x}-{:04x}-4000-8000-{other:012x}/x.pdf",
            number % 65_536
        ),
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures: only a release build tells anything"]
fn a_million_paths_have_a_bounded_number_of_names() {
    let paths: Vec<_> = (0..PATHS).map(path).collect();
    assert_eq!(paths.iter().collect::<HashSet<_>>().len() as u64, PATHS);
    let mut routes = Routes::default();
    let mut names = HashSet::new();
    let before = resident_kib();
    let (mut masking, mut learning) = (Duration::ZERO, Duration::ZERO);
    for path in &paths {
        let begun = cpu_time();
        let masked = path::masked(path);
        let between = cpu_time();
        let template = routes.template("shop", Side::Inbound, "", &masked, true);
        learning += cpu_time() - between;
        masking += between - begun;
        let template = template.unwrap();
        if !names.contains(&template) {
            names.insert(template);
        }
    }
    let count = u32::try_from(PATHS).unwrap();
    println!(
        "{PATHS} paths: {} names, {} segments, {} KiB; masking {:?} and learning {:?} a path",
        names.len(),
        routes.nodes(),
        resident_kib().saturating_sub(before),
        masking / count,
        learning / count,
    );
    assert!(names.len() <= MAX_NODES_OF_ONE);
}

/// What this thread has used of a processor; unlike the time on the wall, others do not change it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
