//! What keeps the kernel side where it is: links, programs, and the maps by which programs find each other. The object they came from
//! takes some 7 MiB, most of them lines of source for the verifier to quote, and is not needed any more.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{
        ProgramFd, fentry::FEntryLink, fexit::FExitLink, kprobe::KProbeLink,
        raw_trace_point::RawTracePointLink,
    },
};

use super::{
    family::{Family, JOIN, JOIN_RETURN},
    tls,
};

/// A program where it was attached; detached when this is dropped.
#[expect(dead_code, reason = "kept, not used")]
pub(super) enum Link {
    Tracepoint(RawTracePointLink),
    Entry(FEntryLink),
    Exit(FExitLink),
    Probe(KProbeLink),
}

/// The kernel side; gone when this is dropped.
pub(super) struct Attached {
    /// Where the programs are.
    _links: Vec<Link>,
    /// Those that nothing may be missed by.
    programs: Vec<ProgramFd>,
    /// A map of programs is emptied when nobody has it open.
    _chains: Vec<Map>,
}

/// What sees calls that were there before, as long as it is wanted.
pub(super) struct Joining {
    /// First, so that nobody looks for the program that is let go after it.
    _link: Link,
    _returns: Option<Map>,
}

impl Joining {
    pub(super) fn new(loaded: &mut Ebpf, link: Link) -> Self {
        Self {
            _link: link,
            _returns: loaded.take_map(JOIN_RETURN.1),
        }
    }
}

impl Attached {
    /// Takes over from the object.
    pub(super) fn new(loaded: &mut Ebpf, links: Vec<Link>, family: Family) -> Self {
        let chains = Family::ALL.map(|family| family.chain().1).into_iter();
        let chains: Vec<_> = chains.chain([tls::CHAIN.1, tls::WRITES]).collect();
        // At every system call of everybody, for what a few processes wait for at the start: what it misses is hardly ever theirs.
        let is_for_a_while = |name: &str| {
            name.starts_with(JOIN.program) || (family != Family::Syscall && name.starts_with(JOIN_RETURN.0))
        };
        let programs = loaded.programs().filter(|(name, _)| !is_for_a_while(name));
        let programs = programs.filter_map(|(_, program)| program.fd().ok()?.try_clone().ok());
        Self {
            _links: links,
            programs: programs.collect(),
            _chains: chains.iter().filter_map(|name| loaded.take_map(name)).collect(),
        }
    }

    /// How often the kernel did not run a program, by its own count; 0 where it does not count.
    pub(super) fn skipped(&self) -> u64 {
        let counts = self.programs.iter().filter_map(|program| {
            let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
            let text = fs::read_to_string(path).ok()?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"))?;
            line.trim().parse::<u64>().ok()
        });
        counts.sum()
    }
}
