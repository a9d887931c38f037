//! Which files a command is run by, before it is: its program, and the interpreter that it names if it is a script.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Bytes of the first line of a script that the kernel reads.
const FIRST_LINE: u64 = 255;

/// The program of a command, as it will be looked for in these folders, and its interpreter. Fewer where they are not found.
pub fn files(command: &[OsString], folders: Option<&OsStr>) -> Vec<PathBuf> {
    let find = |name: &OsStr| found(name, folders);
    let Some(program) = command.first().and_then(|name| find(name)) else {
        return Vec::new();
    };
    let words = interpreter(&program).unwrap_or_default();
    let interpreter = words.first().and_then(|name| find(name));
    // `#!/usr/bin/env node` is run by what `env` finds.
    let is_env = words.first().and_then(|name| Path::new(name).file_name()) == Some(OsStr::new("env"));
    let found_by_env = words.get(1).filter(|_| is_env).and_then(|name| find(name));
    [Some(program), interpreter, found_by_env]
        .into_iter()
        .flatten()
        .collect()
}

/// Where a program is that is called so.
fn found(name: &OsStr, folders: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(folders?)
        .map(|folder| folder.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// The words behind `#!`.
fn interpreter(path: &Path) -> Option<Vec<OsString>> {
    let mut start = Vec::new();
    File::open(path)
        .ok()?
        .take(FIRST_LINE)
        .read_to_end(&mut start)
        .ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    Some(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn executable(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_command_is_run_by_its_program_and_what_its_first_line_names() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        executable(&place("node"), "\x7fELF");
        executable(&place("env"), "\x7fELF");
        let env = place("env").display().to_string();
        executable(&place("tool"), &format!("#! {env} node --flag\nrest"));
        executable(&place("direct"), &format!("#!{}\n", place("node").display()));
        fs::write(place("data"), "#!/bin/sh\n").unwrap();
        let run = |name: &str| files(&[name.into(), "x".into()], Some(folder.path().as_os_str()));
        assert_eq!(run("node"), [place("node")]);
        assert_eq!(run("tool"), [place("tool"), place("env"), place("node")]);
        assert_eq!(run("direct"), [place("direct"), place("node")]);
        assert_eq!(run("data"), Vec::<PathBuf>::new(), "not executable");
        assert_eq!(run("nothing"), Vec::<PathBuf>::new());
        let whole = place("node").display().to_string();
        assert_eq!(run(&whole), [place("node")]);
        assert_eq!(files(&[], None), Vec::<PathBuf>::new());
    }
}
