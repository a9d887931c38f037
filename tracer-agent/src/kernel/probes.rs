//! The kernel side while it is attached: the way to its maps. Everything vanishes with this value.

mod attach;
mod follow;
mod reselect;

pub use reselect::ReselectError;

use std::{collections::HashSet, os::fd::BorrowedFd};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use tracer_common::{
    Loss,
    layout::{Exe, mark, process},
};

use super::{
    KernelError,
    attached::{Attached, Joining},
    coroutines::Kinds,
    counters::Counters,
    family::Family,
    followed::Breakpoints,
    load::{LeftOut, Refusal},
    ring::Ring,
    tls::Libraries,
    voice::Voice,
    wakes::Wakes,
};
use follow::{GrpcKind, JavaKind};

/// Of `bpf_map_update_elem`: only a key that is there.
const BPF_EXIST: u64 = 2;

/// The kernel side, loaded and attached.
pub struct Probes {
    ring: Ring,
    ring_bytes: u32,
    processes: HashMap<MapData, u32, u8>,
    exes: HashMap<MapData, ExeKey, u8>,
    rules: reselect::Rules,
    voice: Option<Voice>,
    grpc: HashMap<MapData, u32, GrpcKind>,
    /// The processes in it.
    have_grpc: HashSet<u32>,
    java: HashMap<MapData, u32, JavaKind>,
    /// The processes in it.
    have_java: HashSet<u32>,
    tokio: HashMap<MapData, u32, u32>,
    have_tokio: HashSet<u32>,
    losses: Counters,
    /// See [`Selection::chosen`](super::plan::Selection::chosen).
    chosen: u8,
    attached: Attached,
    breakpoints: Breakpoints,
    libraries: Libraries,
    wakes: Wakes,
    /// Whether goroutines can be told apart.
    knows_registers: bool,
    coroutines: Kinds,
    /// The program that sees calls which were there before, as long as it is attached.
    join: Option<Joining>,
    /// The kernel refused the program for what waits in a call when probes are attached.
    pub join_refused: bool,
    /// Programs that were refused of those that can be done without.
    pub left_out: Vec<LeftOut>,
    /// The family that was taken.
    pub family: Family,
    /// What is to be said of it: nothing, or that calls may be skipped, since no other family was taken.
    pub remark: &'static str,
    /// Why Unix sockets are not seen, if they are not.
    pub unix_obstacle: Option<String>,
    /// Why calls of Go programs are not linked by goroutine, if they are not.
    pub go_obstacle: Option<&'static str>,
    /// By what calls of CPython's event loops are linked and why, if not all are by coroutine.
    pub python_obstacle: Option<&'static str>,
    /// Why calls that a pool's threads make for others are not linked by who has woken them, if they are not.
    pub java_obstacle: Option<&'static str>,
    /// Why calls of tokio's tasks are not linked by task, if they are not.
    pub rust_obstacle: Option<&'static str>,
    /// Why nothing of what is in TLS is seen, if nothing is.
    pub tls_obstacle: Option<&'static str>,
    /// Those that were tried before it, and why they were not.
    pub refused: Vec<Refusal>,
}

impl Probes {
    /// Traces a process and its future children from now on, unless it is excluded; whether that is new.
    ///
    /// # Errors
    /// When the process map is full.
    pub fn select(&mut self, pid: u32) -> Result<bool, KernelError> {
        self.judge(pid, self.chosen)
    }

    /// Whoever waited for something before the probes were attached has got it by now, or will hardly ever.
    pub fn settle(&mut self) {
        self.join = None;
    }

    /// A process was judged; whether that changes anything. What was decided otherwise stays, except by excluding.
    ///
    /// # Errors
    /// When the process map is full.
    pub fn judge(&mut self, pid: u32, verdict: u8) -> Result<bool, KernelError> {
        let before = self.known(pid);
        let changes = changes(before.map(mark::decided), verdict);
        if changes {
            set(&mut self.processes, pid, kept(before, verdict))?;
        }
        Ok(changes)
    }

    /// The same for a process that the kernel side knows: one that it knows no more has ended.
    ///
    /// # Errors
    /// When the process map cannot be changed.
    pub fn answer(&mut self, pid: u32, verdict: u8) -> Result<bool, KernelError> {
        let before = self.known(pid);
        if before.is_none() || !changes(before.map(mark::decided), verdict) {
            return Ok(false);
        }
        self.replace(pid, kept(before, verdict))
    }

    /// The processes that are known to be selected.
    pub fn selected(&self) -> Vec<u32> {
        let is_selected = |value: u8| matches!(mark::decided(value), process::SELECTED | process::DUE);
        let known = self.processes.iter().filter_map(Result::ok);
        known
            .filter(|(_, value)| is_selected(*value))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// What the process map says: see [`mark`].
    fn known(&self, pid: u32) -> Option<u8> {
        self.processes.get(&pid, 0).ok()
    }

    /// Whether the process was still there to be changed.
    fn replace(&mut self, pid: u32, value: u8) -> Result<bool, KernelError> {
        match self.processes.insert(pid, value, BPF_EXIST) {
            Ok(()) => Ok(true),
            Err(_) if self.known(pid).is_none() => Ok(false),
            Err(error) => Err(of_map("PROCESSES")(error)),
        }
    }

    /// A process that was passed over is to be judged anew when it is next seen.
    ///
    /// # Errors
    /// When the process map cannot be changed.
    pub fn forget(&mut self, pid: u32) -> Result<(), KernelError> {
        if self.known(pid).map(mark::decided) == Some(process::PASSED) {
            self.processes.remove(&pid).map_err(of_map("PROCESSES"))?;
        }
        Ok(())
    }

    /// A program was judged. When there is no room all are forgotten and asked about again.
    ///
    /// # Errors
    /// When the map of programs cannot be changed.
    pub fn learn(&mut self, exe: Exe, verdict: u8) -> Result<(), KernelError> {
        if self.exes.insert(ExeKey(exe), verdict, 0).is_ok() {
            return Ok(());
        }
        self.unlearn()?;
        self.exes.insert(ExeKey(exe), verdict, 0).map_err(of_map("EXES"))
    }

    /// All programs are asked about again.
    fn unlearn(&mut self) -> Result<(), KernelError> {
        let known: Vec<_> = self.exes.keys().filter_map(Result::ok).collect();
        for key in known {
            self.exes.remove(&key).map_err(of_map("EXES"))?;
        }
        Ok(())
    }

    /// Readable when there are records.
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// How much it holds.
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    /// Hands over at most `most` records; how many there were.
    pub fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        (0..most).map_while(|_| self.ring.next(each)).count()
    }

    /// What the programs have said since that was asked for.
    pub fn said(&mut self) -> Vec<String> {
        self.voice.as_mut().map(Voice::said).unwrap_or_default()
    }

    /// Losses since the programs were attached, by cause.
    pub fn losses(&self) -> Vec<(Loss, u64)> {
        Loss::ALL
            .iter()
            .map(|cause| match cause {
                Loss::Skipped => (*cause, self.attached.skipped()),
                _ => (*cause, self.losses.total(*cause)),
            })
            .collect()
    }
}

/// Whether a verdict changes what was known of a process.
fn changes(before: Option<u8>, verdict: u8) -> bool {
    match before {
        Some(process::EXCLUDED) => false,
        Some(process::SELECTED | process::DUE) => verdict == process::EXCLUDED,
        _ => before != Some(verdict),
    }
}

/// A new verdict beside what is known of its tasks.
fn kept(before: Option<u8>, verdict: u8) -> u8 {
    mark::of(verdict, before.map_or(0, mark::kind))
}

fn take<M>(loaded: &mut Ebpf, name: &'static str) -> Result<M, KernelError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let absent = || aya::maps::MapError::InvalidName {
        name: name.to_owned(),
    };
    let map = loaded.take_map(name).ok_or_else(absent).map_err(of_map(name))?;
    M::try_from(map).map_err(of_map(name))
}

fn set(processes: &mut HashMap<MapData, u32, u8>, pid: u32, value: u8) -> Result<(), KernelError> {
    processes.insert(pid, value, 0).map_err(of_map("PROCESSES"))
}

fn of_map(name: &'static str) -> impl Fn(aya::maps::MapError) -> KernelError {
    move |source| KernelError::Map { name, source }
}

/// A program as a key of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct ExeKey(Exe);

#[expect(unsafe_code, reason = "keys are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for ExeKey {}

/// Gives memory that this thread has freed back to the kernel, which the allocator would do later.
#[expect(unsafe_code, reason = "the allocator offers no safe way")]
pub fn give_back_free_memory() {
    // SAFETY: it takes no pointers, may be called at any time, and does nothing where another allocator is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
