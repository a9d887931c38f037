//! Loading and attaching: the first hook family that the kernel takes, as a whole or not at all.

use std::thread;

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint, UProbe},
    sys::SyscallError,
};

use super::{
    KernelError,
    attached::{Joining, Link},
    family::{Family, Hook, JOIN, JOIN_RETURN, Part},
    followed::Purpose,
    layout::Resolved,
    preemption::{PREEMPTED, Preemption},
    tls::{self, Libraries},
    wakes::WAKING,
};
use crate::symbols::Session;

/// Why a family was not taken.
#[derive(Debug)]
pub struct Refusal {
    /// Which one.
    pub family: Family,
    /// Why, in a line.
    pub reason: String,
    /// What the kernel's verifier wrote, if it was the one.
    pub log: Option<String>,
}

/// A program that was refused and can be done without.
#[derive(Debug)]
pub struct LeftOut {
    /// Why, in a line that names it.
    pub reason: String,
    /// What the kernel's verifier wrote, if it was the one.
    pub log: Option<String>,
}

/// The family that was taken.
pub(super) struct Taken {
    /// Which one.
    pub family: Family,
    /// Those before it.
    pub refused: Vec<Refusal>,
    /// What was refused of what is loaded ahead.
    pub left_out: Vec<LeftOut>,
    /// Where its programs are.
    pub links: Vec<Link>,
}

/// What is known of the kernel when programs are loaded.
pub(super) struct Kernel<'a> {
    /// What it says of itself.
    pub resolved: &'a Resolved,
    /// Its functions, where trampolines are wanted.
    pub types: Option<&'a Btf>,
    /// Whether it has `bpf_loop`.
    pub has_loop: bool,
    /// Whether it preempts programs.
    pub preemption: Preemption,
    /// Whether [`join`] will be asked for.
    pub joins: bool,
    /// Whether breakpoints go into traced programs.
    pub has_uprobes: bool,
    /// Whether they go into libraries of TLS.
    pub sees_tls: bool,
}

impl Kernel<'_> {
    /// The functions of a part that this kernel has.
    fn functions<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'static str> {
        let functions = part.hook.functions().iter().copied();
        functions.filter(|function| self.resolved.has_function(function))
    }

    /// The programs of a family that go anywhere in this kernel.
    fn parts(&self, family: Family) -> Vec<Part> {
        let goes_somewhere =
            |part: &&Part| part.hook.functions().is_empty() || self.functions(part).next().is_some();
        let unix = match family.unix_obstacle(self.resolved) {
            Some(_) => &[],
            None => family.unix_parts(),
        };
        family
            .parts()
            .chain(unix)
            .filter(goes_somewhere)
            .copied()
            .collect()
    }

    /// The name of the variant of a program that this kernel takes.
    fn variant(&self, program: &str, loaded: &Ebpf) -> String {
        let chained = format!("{program}_chain");
        if !self.has_loop && loaded.program(&chained).is_some() {
            chained
        } else {
            program.to_owned()
        }
    }
}

/// Loads and attaches the first family that the kernel takes.
pub(super) fn attach_best(
    loaded: &mut Ebpf,
    families: &[Family],
    kernel: &Kernel<'_>,
) -> Result<Taken, KernelError> {
    let mut refused = Vec::new();
    // What is skipped now and then comes after what is not.
    let (later, first): (Vec<Family>, Vec<Family>) = families
        .iter()
        .partition(|family| family.suffers_from(kernel.preemption));
    let passed_over = families
        .iter()
        .position(|family| first.first() == Some(family))
        .unwrap_or(0);
    refused.extend(families.iter().take(passed_over).map(|family| Refusal {
        family: *family,
        reason: PREEMPTED.to_owned(),
        log: None,
    }));
    for family in first.into_iter().chain(later) {
        let attempt = match family.obstacle(kernel.resolved) {
            Some(reason) => Err((reason, None)),
            None => {
                attach_family(loaded, family, kernel).map_err(|(program, error)| in_words(&program, error))
            }
        };
        match attempt {
            Ok((links, left_out)) => {
                return Ok(Taken {
                    family,
                    refused,
                    left_out,
                    links,
                });
            }
            Err((reason, log)) => refused.push(Refusal { family, reason, log }),
        }
    }
    Err(KernelError::NoFamily { refused })
}

/// Loads and attaches a family, as a whole or not at all.
fn attach_family(
    loaded: &mut Ebpf,
    family: Family,
    kernel: &Kernel<'_>,
) -> Result<(Vec<Link>, Vec<LeftOut>), Failed> {
    let parts: Vec<_> = kernel
        .parts(family)
        .into_iter()
        .map(|part| (kernel.variant(part.program, loaded), part))
        .collect();
    let (chain, map) = family.chain();
    let mut wanted: Vec<_> = parts
        .iter()
        .map(|(name, part)| (name.as_str(), part.hook))
        .collect();
    if !kernel.has_loop {
        wanted.push((chain.program, chain.hook));
    }
    let mut ahead = if kernel.joins && !family.sees_waiting() {
        join_parts(loaded, kernel)
    } else {
        Vec::new()
    };
    if kernel.has_uprobes {
        let programs = Purpose::all().map(|purpose| (purpose.program().to_owned(), Hook::User));
        ahead.extend(programs);
    }
    ahead.push((WAKING.program.to_owned(), WAKING.hook));
    if kernel.sees_tls {
        ahead.extend(tls_parts(loaded, kernel));
    }
    let attached = load_all(loaded, &wanted, &ahead, kernel.types)
        .and_then(|left_out| {
            if !kernel.has_loop {
                let closed = close_chain(loaded, chain.program, map);
                closed.map_err(|source| (chain.program.to_owned(), source))?;
            }
            Ok(left_out)
        })
        .and_then(|left_out| {
            let mut links = Vec::new();
            for (name, part) in &parts {
                attach(loaded, name, part, kernel, &mut links).map_err(|source| (name.clone(), source))?;
            }
            Ok((links, left_out))
        });
    if attached.is_err() {
        for (name, _) in wanted {
            // What was not loaded cannot be unloaded.
            let _ = match loaded.program_mut(name) {
                Some(Program::RawTracePoint(program)) => program.unload(),
                Some(Program::FEntry(program)) => program.unload(),
                Some(Program::FExit(program)) => program.unload(),
                Some(Program::KProbe(program)) => program.unload(),
                _ => Ok(()),
            };
        }
    }
    attached
}

/// The programs that see calls which were there before.
fn join_parts(loaded: &Ebpf, kernel: &Kernel<'_>) -> Vec<(String, Hook)> {
    let (chain, _) = Family::Syscall.chain();
    let (returns, _) = JOIN_RETURN;
    let mut parts = vec![
        (JOIN.program.to_owned(), JOIN.hook),
        (kernel.variant(returns, loaded), JOIN.hook),
    ];
    if !kernel.has_loop {
        parts.push((chain.program.to_owned(), chain.hook));
    }
    parts
}

/// The programs for breakpoints in libraries of TLS.
fn tls_parts(loaded: &Ebpf, kernel: &Kernel<'_>) -> Vec<(String, Hook)> {
    let programs = Session::ALL.map(tls::entry).into_iter().chain([tls::MOVED]);
    let variants = programs.map(|program| kernel.variant(program, loaded));
    let chain = (!kernel.has_loop).then(|| tls::CHAIN.0.to_owned());
    variants
        .chain(chain)
        .map(|program| (program, Hook::User))
        .collect()
}

/// Takes over what goes into libraries of TLS, loaded ahead with a family.
pub(super) fn libraries(loaded: &mut Ebpf, kernel: &Kernel<'_>) -> Libraries {
    if !kernel.has_loop {
        // Without it the programs are not there, which is found out next.
        let _ = close_chain(loaded, tls::CHAIN.0, tls::CHAIN.1);
    }
    // The same holds for this.
    let _ = close_chain(loaded, &kernel.variant(tls::MOVED, loaded), tls::WRITES);
    Libraries::of(loaded, |program| kernel.variant(program, loaded))
}

/// Attaches the program that sees calls which were there before, loaded ahead with a family.
pub(super) fn join(loaded: &mut Ebpf, kernel: &Kernel<'_>) -> Result<Option<Joining>, ProgramError> {
    if !kernel.has_loop {
        let (chain, map) = Family::Syscall.chain();
        close_chain(loaded, chain.program, map)?;
    }
    let (returns, map) = JOIN_RETURN;
    close_chain(loaded, &kernel.variant(returns, loaded), map)?;
    let mut links = Vec::new();
    attach(loaded, JOIN.program, &JOIN, kernel, &mut links)?;
    Ok(links.pop().map(|link| Joining::new(loaded, link)))
}

/// Has the kernel verify every program, each in a thread: the longest verification takes most of the time that the
/// agent needs to start, and the others fit beside it. Those `ahead` may fail, which is told, or be loaded already.
fn load_all(
    loaded: &mut Ebpf,
    wanted: &[(&str, Hook)],
    ahead: &[(String, Hook)],
    types: Option<&Btf>,
) -> Result<Vec<LeftOut>, Failed> {
    thread::scope(|scope| {
        let (mut loading, mut loading_ahead) = (Vec::new(), Vec::new());
        for (name, program) in loaded.programs_mut() {
            if let Some((name, hook)) = wanted.iter().find(|(wanted, _)| *wanted == name) {
                loading.push((name, scope.spawn(move || load(program, *hook, types))));
            } else if let Some((_, hook)) = ahead.iter().find(|(ahead, _)| ahead == name) {
                loading_ahead.push((name, scope.spawn(move || load(program, *hook, types))));
            }
        }
        let mut outcome = Ok(());
        for (name, load) in loading {
            let load = finished(load).map_err(|source| ((*name).to_owned(), source));
            outcome = outcome.and(load);
        }
        let left_out = loading_ahead
            .into_iter()
            .filter_map(|(name, load)| match finished(load) {
                Ok(()) => None,
                Err(error) => {
                    let (reason, log) = in_words(name, error);
                    Some(LeftOut { reason, log })
                }
            });
        let left_out = left_out.collect();
        outcome.map(|()| left_out)
    })
}

/// What another family has loaded before it was refused stays.
fn load(program: &mut Program, hook: Hook, types: Option<&Btf>) -> Result<(), ProgramError> {
    let loaded = match hook {
        Hook::Tracepoint(_) => <&mut RawTracePoint>::try_from(program)?.load(),
        Hook::Probe(_) | Hook::Return(_) => <&mut KProbe>::try_from(program)?.load(),
        Hook::User => <&mut UProbe>::try_from(program)?.load(),
        Hook::Entry(function) => {
            <&mut FEntry>::try_from(program)?.load(function, types.ok_or(ProgramError::NotLoaded)?)
        }
        Hook::Exit(function) => {
            <&mut FExit>::try_from(program)?.load(function, types.ok_or(ProgramError::NotLoaded)?)
        }
    };
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        loaded => loaded,
    }
}

/// Has the programs of a chain find the one that goes on.
fn close_chain(loaded: &mut Ebpf, program: &str, map: &str) -> Result<(), ProgramError> {
    let absent = || ProgramError::NotLoaded;
    let next = loaded.program(program).ok_or_else(absent)?.fd()?.try_clone();
    let next = next.map_err(|io_error| SyscallError {
        call: "dup",
        io_error,
    })?;
    let mut chain = ProgramArray::try_from(loaded.map_mut(map).ok_or_else(absent)?)?;
    Ok(chain.set(0, &next, 0)?)
}

fn attach(
    loaded: &mut Ebpf,
    name: &str,
    part: &Part,
    kernel: &Kernel<'_>,
    links: &mut Vec<Link>,
) -> Result<(), ProgramError> {
    let program = loaded.program_mut(name).ok_or(ProgramError::NotLoaded)?;
    match part.hook {
        Hook::Tracepoint(tracepoint) => {
            let program = <&mut RawTracePoint>::try_from(program)?;
            let link = program.attach(tracepoint)?;
            links.push(Link::Tracepoint(program.take_link(link)?));
        }
        Hook::Entry(_) => {
            let program = <&mut FEntry>::try_from(program)?;
            let link = program.attach()?;
            links.push(Link::Entry(program.take_link(link)?));
        }
        Hook::Exit(_) => {
            let program = <&mut FExit>::try_from(program)?;
            let link = program.attach()?;
            links.push(Link::Exit(program.take_link(link)?));
        }
        Hook::Probe(_) | Hook::Return(_) => {
            let program = <&mut KProbe>::try_from(program)?;
            for function in kernel.functions(part) {
                let link = program.attach(function, 0)?;
                links.push(Link::Probe(program.take_link(link)?));
            }
        }
        // Where and when a program of that kind runs.
        Hook::User => {}
    }
    Ok(())
}

/// What to do where kprobes are refused to the capabilities that should be enough.
const PARANOID: &str =
    "; with kernel.perf_event_paranoid above 2 (Debian's default) kprobes take CAP_SYS_ADMIN";

/// What a kernel says that knows trampolines, and cannot put one at a function. It is no error for programs, so no library has words for it.
const ENOTSUPP: &str = "os error 524";
const NO_TRAMPOLINES: &str =
    "; this kernel puts no trampolines at its functions (on arm64 it does from 6.4 on)";

/// A program, and what became of it.
type Failed = (String, ProgramError);

/// A refusal in a line, and the verifier's log apart from it.
fn in_words(program: &str, error: ProgramError) -> (String, Option<String>) {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let reason = format!("the kernel refused program {program}: {io_error}");
            (reason, (!log.trim().is_empty()).then_some(log))
        }
        error => {
            let causes = anyhow::Chain::new(&error).map(ToString::to_string);
            let causes = causes.collect::<Vec<_>>().join(": ");
            let hint = if causes.contains("perf_event_open") && causes.contains("ermission denied") {
                PARANOID
            } else if causes.contains(ENOTSUPP) {
                NO_TRAMPOLINES
            } else {
                ""
            };
            (format!("{program}: {causes}{hint}"), None)
        }
    }
}

/// What a thread returned; its panic goes on in this one.
pub(super) fn finished<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
