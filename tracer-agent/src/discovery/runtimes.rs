//! What a process runs: CPython, and where in it a thread finds its coroutine; Java, and where it keeps its virtual threads; or tokio, and where a
//! thread finds the number of its task.
//!
//! ```text
//!  /proc/PID/maps ── the file that has the interpreter ─▶ where the key is ── /proc/PID/mem ─▶ key ┐
//!                 └─ the library of C ─▶ where a thread keeps its values for keys ─────────────────┴▶ [`Interpreter`]
//! ```

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use tracer_common::layout::{Coroutines, JavaThreads};

use super::Proc;
use crate::symbols::{Executables, Interpreter, Runtime, Tokio};

/// Bytes of a list of memory that are looked at.
const MAPS_MAX: usize = 1 << 20;

/// The library that is Java.
const JAVA: &str = "libjvm.so";
/// `VMStructEntry` of HotSpot: names of the struct and of the field, each a pointer, the name of its type, whether it is static, the offset, an
/// address; the last has no names.
const ENTRY: u64 = 48;
const OFFSET: u64 = 32;
const THREAD: &[u8; 11] = b"JavaThread\0";
/// Java 25 has 585.
const MAX_STRUCTS: usize = 4096;
/// Bytes of a field's name that are read; those that are looked for have fewer.
const LONGEST: usize = 24;
/// The struct takes some 2,100 bytes.
const MAX_OFFSET: u32 = 1 << 14;

/// The start of a file in the memory of a process.
struct Mapped<'a> {
    address: u64,
    path: &'a str,
}

impl<'a> Mapped<'a> {
    /// `55d0c0a5e000-55d0c0a5f000 r--p 00000000 fe:01 1311 /usr/bin/python3.11`
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (address, _) = words.next()?.split_once('-')?;
        let offset = words.nth(1)?;
        let path = words.nth(2)?.trim_start();
        (offset == "00000000" && path.starts_with('/')).then_some(())?;
        Some(Self {
            address: u64::from_str_radix(address, 16).ok()?,
            path,
        })
    }

    fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// It may have the functions of threads: glibc up to 2.33 has them in a library of their own.
    fn is_libc(&self) -> bool {
        ["libc.so.6", "libc-2.", "libpthread.so.0", "libpthread-2."]
            .iter()
            .any(|start| self.name().starts_with(start))
    }
}

/// See the head of this module; `None` where it is none of them, or there are no coroutines that are known.
pub(super) fn look_up(proc: &Proc, executables: &Executables, pid: u32) -> Option<Runtime> {
    let exe = proc.link(pid, "exe")?;
    let maps = proc.read(pid, "maps", MAPS_MAX)?;
    let maps = String::from_utf8_lossy(&maps);
    let mapped: Vec<_> = maps.lines().filter_map(Mapped::read).collect();
    let root = proc.link(pid, "root")?;
    // Of a process in another mount namespace paths begin at its root, of one that has changed its root in this one they do not.
    let open = |path: &str| {
        let inside = path.strip_prefix(&root).filter(|inside| inside.starts_with('/'));
        proc.open_in_root_of(pid, inside.unwrap_or(path))
    };
    let java = mapped.iter().find(|mapped| mapped.name() == JAVA);
    if java.is_some() || Runtime::is_java(&exe) {
        let threads = java.and_then(|java| {
            let hotspot = executables.hotspot(&open(java.path)?)?;
            java_threads(
                &proc.open(pid, "mem")?,
                java.address.checked_add(hotspot.structs)?,
            )
        });
        return Some(Runtime::Java(threads));
    }
    let python = python(proc, executables, pid, &exe, &mapped, open).map(Runtime::Python);
    python.or_else(|| tokio(proc, executables, pid).map(Runtime::Tokio))
}

fn tokio(proc: &Proc, executables: &Executables, pid: u32) -> Option<Tokio> {
    let file = proc.open(pid, "exe")?;
    let program = executables.tokio(&file)?;
    Some(Tokio {
        file: Arc::new(file),
        program,
    })
}

/// Where the virtual machine says that it keeps virtual threads; `None` up to Java 23, where no number tells them apart.
fn java_threads(memory: &File, structs: u64) -> Option<JavaThreads> {
    let mut threads = JavaThreads::default();
    let mut first: [u8; THREAD.len()] = [0; THREAD.len()];
    let mut entry = word(memory, structs)?;
    for _ in 0..MAX_STRUCTS {
        let [name, field] = [0, 8].map(|at| word(memory, entry.wrapping_add(at)));
        let (Some(name @ 1..), Some(field)) = (name, field) else {
            break;
        };
        if memory.read_exact_at(&mut first, name).is_ok() && first == *THREAD {
            let offset = u32::try_from(word(memory, entry.wrapping_add(OFFSET))?).ok()?;
            let mut text = [0; LONGEST];
            memory.read_exact_at(&mut text, field).ok()?;
            match text.split(|byte| *byte == 0).next() {
                Some(b"_stack_base") => threads.stack_base = offset,
                Some(b"_stack_size") => threads.stack_size = offset,
                Some(b"_cont_entry") => threads.continuation = offset,
                Some(b"_monitor_owner_id") => threads.id = offset,
                _ => {}
            }
        }
        entry = entry.checked_add(ENTRY)?;
    }
    let JavaThreads {
        stack_base,
        stack_size,
        continuation,
        id,
    } = threads;
    [stack_base, stack_size, continuation, id]
        .iter()
        .all(|offset| (1..MAX_OFFSET).contains(offset))
        .then_some(threads)
}

fn word(memory: &File, at: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

fn python(
    proc: &Proc,
    executables: &Executables,
    pid: u32,
    exe: &str,
    mapped: &[Mapped<'_>],
    open: impl Fn(&str) -> Option<File>,
) -> Option<Interpreter> {
    let (start, file, python) = mapped.iter().find_map(|mapped| {
        let file = if mapped.path == exe {
            proc.open(pid, "exe")?
        } else if mapped.name().starts_with("libpython3") {
            open(mapped.path)?
        } else {
            return None;
        };
        let python = executables.python(&file)?;
        Some((mapped.address, file, python))
    })?;
    let threads = mapped
        .iter()
        .filter(|mapped| mapped.is_libc())
        .find_map(|mapped| executables.threads(&open(mapped.path)?))?;
    let (values, state) = threads.place(key(&proc.open(pid, "mem")?, start.checked_add(python.key)?)?)?;
    let coroutines = Coroutines {
        values,
        state,
        context: python.context,
    };
    Some(Interpreter {
        file: Arc::new(file),
        python,
        coroutines,
    })
}

/// `Py_tss_t`: whether the key was made, and the key.
fn key(memory: &File, at: u64) -> Option<u32> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at).ok()?;
    let [made @ .., k0, k1, k2, k3] = bytes;
    (u32::from_ne_bytes(made) == 1).then_some(u32::from_ne_bytes([k0, k1, k2, k3]))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn only_the_start_of_a_file_is_taken_for_it() {
        let first =
            "55d0c0a5e000-55d0c0a5f000 r--p 00000000 fe:01 1311                       /usr/bin/python3 x";
        let mapped = Mapped::read(first).unwrap();
        assert_eq!(
            (mapped.address, mapped.path),
            (0x55d0_c0a5_e000, "/usr/bin/python3 x")
        );
        for other in [
            "55d0c0a5f000-55d0c0a60000 r-xp 00001000 fe:01 1311                       /usr/bin/python3",
            "7ffd5a000000-7ffd5a021000 rw-p 00000000 00:00 0                          [stack]",
            "7ffd5a000000-7ffd5a021000 rw-p 00000000 00:00 0 ",
            "x-y r--p 00000000 fe:01 1311 /a",
            "",
        ] {
            assert!(Mapped::read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_interpreter_of_this_host_is_found_in_a_process_once_it_runs() {
        let program = [
            "-c",
            "import sys; print(sys.version_info.minor, flush=True); sys.stdin.read()",
        ];
        let started = Command::new("python3")
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        // It is not there.
        let Ok(mut child) = started else { return };
        let mut told = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut told)
            .unwrap();
        let found = look_up(&Proc::new("/proc".into()), &Executables::default(), child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        let minor: u32 = told.trim().parse().unwrap();
        let is_known = Path::new("/lib64/ld-linux-x86-64.so.2").exists() && (9..=14).contains(&minor);
        assert_eq!(found.is_some(), is_known, "3.{minor}");
        let Some(found) = found else { return };
        let Runtime::Python(found) = found else {
            panic!("{found:?}")
        };
        assert_eq!(found.python.minor, minor);
        assert!(found.python.copies.is_some());
        let Coroutines {
            values,
            state,
            context,
        } = found.coroutines;
        assert!(values >= 704 && state % 16 == 8 && context >= 200, "{found:?}");
    }

    /// What HotSpot says of its structs: where that begins, then the entries, then the names.
    fn described(entries: &[(&str, &str, u64)]) -> File {
        let mut names = Vec::new();
        let names_at = 8 + (entries.len() as u64 + 1) * ENTRY;
        let mut bytes = 8_u64.to_ne_bytes().to_vec();
        for (name, field, offset) in entries {
            let texts = [name, field].map(|text| {
                let at = names_at + names.len() as u64;
                names.extend([text.as_bytes(), b"\0"].concat());
                at
            });
            for word in [texts[0], texts[1], 0, 0, *offset, 0] {
                bytes.extend(word.to_ne_bytes());
            }
        }
        for _ in 0..ENTRY / 8 {
            bytes.extend(0_u64.to_ne_bytes());
        }
        bytes.extend(names);
        bytes.extend([0; LONGEST]);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn java_says_where_it_keeps_its_virtual_threads_if_it_numbers_them() {
        let of_25 = [
            ("Thread", "_osthread", 1016),
            ("JavaThread", "_stack_base", 1048),
            ("JavaThread", "_stack_size", 1056),
            ("JavaThreadState", "_monitor_owner_id", 1),
            ("JavaThread", "_monitor_owner_id", 1312),
            ("JavaThread", "_cont_entry", 1560),
        ];
        let threads = JavaThreads {
            stack_base: 1048,
            stack_size: 1056,
            continuation: 1560,
            id: 1312,
        };
        assert_eq!(java_threads(&described(&of_25), 0), Some(threads));
        let of_21 = [&of_25[..4], &of_25[5..]].concat();
        assert_eq!(java_threads(&described(&of_21), 0), None);
        let absurd = [&of_25[..5], &[("JavaThread", "_cont_entry", 1 << 40)]].concat();
        assert_eq!(java_threads(&described(&absurd), 0), None);
        assert_eq!(java_threads(&described(&[]), 0), None);
        assert_eq!(java_threads(&described(&of_25), 1 << 30), None);
    }

    #[test]
    fn a_process_without_an_interpreter_has_no_coroutines() {
        let proc = Proc::new("/proc".into());
        let found = |pid| look_up(&proc, &Executables::default(), pid);
        assert!(found(std::process::id()).is_none());
        assert!(found(0).is_none());
    }
}
