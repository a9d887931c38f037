use std::{fs, io::Write as _, path::Path, process::Command};

use super::*;

/// Builds a Go program; `None` where there is no Go.
fn build(folder: &Path, name: &str, flags: &[&str]) -> Option<std::path::PathBuf> {
    let source = folder.join("main.go");
    fs::write(
        &source,
        "package main\nimport \"net/http\"\nfunc main() { _, _ = http.Get(\"http://127.0.0.1:1/\") }\n",
    )
    .unwrap();
    let built = folder.join(name);
    let go = Command::new("go")
        .args(["build", "-o"])
        .arg(&built)
        .args(flags)
        .arg(&source)
        .output()
        .ok()?;
    assert!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
    Some(built)
}

/// Where the linker says that the function is, which is what Go's own tool says.
fn by_symbol(path: &Path) -> u64 {
    let nm = Command::new("go")
        .args(["tool", "nm"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(nm.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.ends_with(" net/http.(*persistConn).roundTrip"))
        .unwrap();
    let address = line.split_whitespace().next().unwrap();
    let address = u64::from_str_radix(address, 16).unwrap();
    let file = File::open(path).unwrap();
    Elf::open(&file).unwrap().offset_of(address).unwrap()
}

#[test]
fn a_go_program_is_known_by_its_own_tables_with_and_without_symbols() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs::default();
    let Some(whole) = build(folder.path(), "whole", &[]) else {
        eprintln!("skipped: there is no Go here");
        return;
    };
    let (known, _) = programs.go(&whole).unwrap();
    assert!(known.version.starts_with("go1."), "{known:?}");
    if known.goroutines.is_none() {
        // A version that came after this agent: it says so, and looks for nothing.
        assert_eq!(known.round_trip, None);
        return;
    }
    assert_eq!(known.round_trip, Some(by_symbol(&whole)));
    for (name, flags) in [
        ("stripped", ["-ldflags=-s -w"].as_slice()),
        ("pie", &["-buildmode=pie"]),
        ("stripped-pie", &["-buildmode=pie", "-ldflags=-s -w"]),
    ] {
        let path = build(folder.path(), name, flags).unwrap();
        let (program, _) = programs.go(&path).unwrap();
        assert_eq!(program.version, known.version, "{name}");
        assert!(program.round_trip.is_some(), "{name}");
        if name == "pie" {
            assert_eq!(program.round_trip, Some(by_symbol(&path)));
        }
    }
}

#[test]
fn what_is_no_go_program_is_none() {
    let programs = Programs::default();
    for path in [
        &std::env::current_exe().unwrap(),
        Path::new("/proc/self/status"),
        Path::new("/nowhere"),
    ] {
        assert!(programs.go(path).is_none(), "{}", path.display());
    }
}

#[test]
fn a_program_that_is_cut_anywhere_is_read_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let Some(whole) = build(folder.path(), "whole", &["-ldflags=-s -w"]) else {
        eprintln!("skipped: there is no Go here");
        return;
    };
    let bytes = fs::read(whole).unwrap();
    let cut = folder.path().join("cut");
    for part in (0..100).map(|part| bytes.len() * part / 100).chain(0..200) {
        File::create(&cut).unwrap().write_all(&bytes[..part]).unwrap();
        // Whatever it says: it ends.
        let _ = Programs::default().go(&cut);
    }
}
