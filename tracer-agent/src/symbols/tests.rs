//! With Go, which `cargo xtask test` installs where it can.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{machine, *};

/// The processors that Go is known on, as it calls them itself. It builds for any.
const MACHINES: [(&str, &Machine); 2] = [("amd64", &machine::X86_64), ("arm64", &machine::ARM64)];

fn this_machine() -> &'static str {
    let this = MACHINES.iter().find(|(_, machine)| *machine == Machine::THIS);
    this.map(|(name, _)| *name).unwrap()
}

fn build(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    build_for(this_machine(), folder, name, flags)
}

fn build_for(machine: &str, folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let source = folder.join("main.go");
    fs::write(
        &source,
        "package main\nimport \"net/http\"\nfunc main() {\n\t_, _ = http.Get(\"http://127.0.0.1:1/\")\n\t_ = http.ListenAndServeTLS(\"\", \"\", \"\", nil)\n}\n",
    )
    .unwrap();
    let built = folder.join(name);
    let go = Command::new("go")
        .env("GOARCH", machine)
        .args(["build", "-o"])
        .arg(&built)
        .args(flags)
        .arg(&source)
        .output()
        .unwrap();
    assert!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
    built
}

/// Where the linker says that the functions are, which is what Go's own tool says.
fn by_symbol(path: &Path) -> Vec<(GoHook, u64)> {
    let place = |function| by_symbol_of(path, function);
    vec![
        (GoHook::RoundTrip, place("net/http.(*persistConn).roundTrip")),
        (GoHook::Serves, place("net/http.(*http2serverConn).runHandler")),
        (GoHook::Calls, place("net/http.(*http2ClientConn).roundTrip")),
    ]
}

fn by_symbol_of(path: &Path, function: &str) -> u64 {
    let nm = Command::new("go")
        .args(["tool", "nm"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(nm.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.ends_with(&format!(" {function}")))
        .unwrap();
    let address = line.split_whitespace().next().unwrap();
    let address = u64::from_str_radix(address, 16).unwrap();
    offset_of(path, address)
}

fn offset_of(path: &Path, address: u64) -> u64 {
    let file = File::open(path).unwrap();
    let elf = MACHINES
        .iter()
        .find_map(|(_, machine)| Elf::open_for(machine, &file));
    elf.unwrap().offset_of(address).unwrap()
}

#[test]
#[ignore = "builds programs with Go"]
fn a_go_program_is_known_by_its_own_tables_with_and_without_symbols() {
    for (name, machine) in MACHINES {
        is_known(name, machine);
    }
}

fn is_known(processor: &str, machine: &'static Machine) {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| {
        let file = File::open(path).unwrap();
        go::read(&Elf::open_for(machine, &file).unwrap()).unwrap()
    };
    let build = |name, flags: &[&str]| build_for(processor, folder.path(), name, flags);
    let whole = build("whole", &[]);
    let known = read(&whole);
    assert!(known.version.starts_with("go1."), "{known:?}");
    if known.goroutines.is_none() {
        // A version that came after this agent: it says so, and looks for nothing.
        assert_eq!(known.hooks, []);
        return;
    }
    assert_eq!(known.hooks, by_symbol(&whole));
    assert_eq!(known.grpc, None);
    for (name, flags) in [
        ("stripped", ["-ldflags=-s -w"].as_slice()),
        ("pie", &["-buildmode=pie"]),
        ("stripped-pie", &["-buildmode=pie", "-ldflags=-s -w"]),
    ] {
        let path = build(name, flags);
        let program = read(&path);
        assert_eq!(program.version, known.version, "{processor} {name}");
        assert_eq!(program.hooks.len(), known.hooks.len(), "{processor} {name}");
        if name == "pie" {
            assert_eq!(program.hooks, by_symbol(&path));
        }
    }
}

/// Where Go's own disassembler finds a return in `crypto/tls.(*Conn).Read`, then in `Write`.
fn returns_by_disassembly(path: &Path) -> Vec<u64> {
    let functions = ["Read", "Write"];
    let returns = functions.map(|name| returns_of(path, &format!(r"crypto/tls.\(\*Conn\).{name}$")));
    returns.concat()
}

fn returns_of(path: &Path, function: &str) -> Vec<u64> {
    let dump = Command::new("go")
        .args(["tool", "objdump", "-s", function])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(dump.stdout).unwrap();
    let returns = text.lines().filter(|line| line.trim_end().ends_with("RET"));
    let addresses = returns.map(|line| {
        let address = line.split_whitespace().nth(1).unwrap();
        u64::from_str_radix(address.trim_start_matches("0x"), 16).unwrap()
    });
    addresses.map(|address| offset_of(path, address)).collect()
}

#[test]
#[ignore = "builds programs with Go"]
fn where_a_read_of_tls_returns_is_known_by_go_s_own_tables() {
    for (name, machine) in MACHINES {
        returns_are_known(name, machine);
    }
}

fn returns_are_known(processor: &str, machine: &'static Machine) {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| {
        let file = File::open(path).unwrap();
        Library::of(&Elf::open_for(machine, &file).unwrap()).unwrap()
    };
    let build = |name, flags: &[&str]| build_for(processor, folder.path(), name, flags);
    let whole = build("whole", &[]);
    let library = read(&whole);
    let expected: Vec<_> = returns_by_disassembly(&whole).into_iter().map(Exit::By).collect();
    assert!(!expected.is_empty());
    assert_eq!(library.exits, expected);
    // Both ends' handshakes, and both directions.
    assert_eq!(library.entries.len(), 4);
    for (name, flags) in [
        ("stripped", ["-ldflags=-s -w"].as_slice()),
        ("pie", &["-buildmode=pie"]),
        ("stripped-pie", &["-buildmode=pie", "-ldflags=-s -w"]),
    ] {
        let library = read(&build(name, flags));
        assert_eq!(
            (library.exits.len(), library.entries.len()),
            (expected.len(), 4),
            "{processor} {name}"
        );
    }
}

/// It is there for an emulator, which would read what a breakpoint writes.
#[test]
#[ignore = "builds programs with Go"]
fn a_program_for_another_processor_is_not_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    for (name, machine) in MACHINES {
        let path = build_for(name, folder.path(), name, &[]);
        let is_this = machine == Machine::THIS;
        assert_eq!(Executables::default().go(&path).is_some(), is_this, "{name}");
        let library = Library::read(&File::open(&path).unwrap());
        assert_eq!(library.is_some(), is_this, "{name}");
    }
}

#[test]
fn what_is_no_go_program_is_none() {
    let executables = Executables::default();
    for path in [
        &std::env::current_exe().unwrap(),
        Path::new("/proc/self/status"),
        Path::new("/nowhere"),
    ] {
        assert!(executables.go(path).is_none(), "{}", path.display());
    }
}

#[test]
#[ignore = "builds programs with Go"]
fn a_program_that_is_cut_anywhere_is_read_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(build(folder.path(), "whole", &["-ldflags=-s -w"])).unwrap();
    let cut = folder.path().join("cut");
    for part in (0..100).map(|part| bytes.len() * part / 100).chain(0..200) {
        File::create(&cut).unwrap().write_all(&bytes[..part]).unwrap();
        // Whatever it says: it ends.
        let _ = Executables::default().go(&cut);
        let _ = Library::read(&File::open(&cut).unwrap());
    }
}
