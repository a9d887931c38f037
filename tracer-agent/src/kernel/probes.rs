//! Loads the kernel side, attaches it, and is the way to its maps. Everything vanishes with this value.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    thread,
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{Program, ProgramError, RawTracePoint},
};
use tracer_common::{
    Loss,
    layout::{Layout, Settings, process},
};

use super::{KernelError, capability, layout};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Programs of the `syscall` family with their raw tracepoints, in the order in which they are attached: lives
/// before calls, so that no call is seen whose process or connection is not.
const PROGRAMS: &[(&str, &str)] = &[
    ("tracer_fork", "sched_process_fork"),
    ("tracer_exec", "sched_process_exec"),
    ("tracer_exit", "sched_process_exit"),
    ("tracer_set_state", "inet_sock_set_state"),
    ("tracer_sys_exit", "sys_exit"),
    ("tracer_sys_enter", "sys_enter"),
];

/// What is to be traced from the first moment on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Every process but the excluded ones.
    pub all: bool,
    /// These processes and their future children.
    pub pids: Vec<u32>,
    /// Not these processes, nor their future children.
    pub excluded_pids: Vec<u32>,
    /// Processes that begin to listen on one of these ports.
    pub ports: Vec<u16>,
}

/// How the kernel side is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is traced.
    pub selection: Selection,
    /// The agent itself.
    pub agent_pid: u32,
    /// Size of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
}

/// The kernel side, loaded and attached.
pub struct Probes {
    ring: RingBuf<MapData>,
    processes: HashMap<MapData, u32, u8>,
    losses: PerCpuArray<MapData, u64>,
    /// Keeps programs and links; they are gone when this is dropped.
    _loaded: Ebpf,
    /// Members that this kernel lacks and that can be done without.
    pub missing_members: Vec<String>,
}

impl Probes {
    /// Loads and attaches the kernel side.
    ///
    /// # Errors
    /// [`KernelError`], which says what is missing and what to do.
    pub fn attach(plan: &Plan) -> Result<Self, KernelError> {
        let missing = capability::missing();
        if !missing.is_empty() {
            return Err(KernelError::NotPermitted {
                missing: missing.join(", "),
            });
        }
        let (resolved, mut loader) = thread::scope(|scope| {
            let resolved = scope.spawn(layout::of_running_kernel);
            // aya reads the kernel's BTF here, wanted or not, which takes longer than our own reading of it.
            let loader = EbpfLoader::new();
            (finished(resolved), loader)
        });
        let resolved = resolved?;
        let settings = Settings {
            agent_tgid: plan.agent_pid,
            select_all: u32::from(plan.selection.all),
        };
        let mut loaded = loader
            .btf(None)
            .override_global("LAYOUT", bytes_of(&resolved.layout), true)
            .override_global("SETTINGS", bytes_of(&settings), true)
            .map_max_entries("RECORDS", plan.ring_bytes)
            .load(OBJECT)?;
        let mut processes: HashMap<_, u32, u8> = take(&mut loaded, "PROCESSES")?;
        for pid in &plan.selection.excluded_pids {
            mark(&mut processes, *pid, process::EXCLUDED)?;
        }
        for pid in &plan.selection.pids {
            mark(&mut processes, *pid, process::SELECTED)?;
        }
        let mut ports: Array<_, u64> = take(&mut loaded, "PORTS")?;
        for (word, bits) in port_words(&plan.selection.ports) {
            ports.set(word, bits, 0).map_err(|source| KernelError::Map {
                name: "PORTS",
                source,
            })?;
        }
        let ring = take(&mut loaded, "RECORDS")?;
        let losses = take(&mut loaded, "LOSSES")?;
        load_all(&mut loaded)?;
        give_back_memory();
        for (program, hook) in PROGRAMS.iter().copied() {
            let refused = |source| KernelError::Refused { program, source };
            raw_tracepoint(loaded.program_mut(program))
                .map_err(refused)?
                .attach(hook)
                .map_err(refused)?;
        }
        Ok(Self {
            ring,
            processes,
            losses,
            _loaded: loaded,
            missing_members: resolved.missing,
        })
    }

    /// Traces a process and its future children from now on.
    ///
    /// # Errors
    /// When the process map is full.
    pub fn select(&mut self, pid: u32) -> Result<(), KernelError> {
        mark(&mut self.processes, pid, process::SELECTED)
    }

    /// Readable when there are records.
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Hands over at most `most` records; how many there were.
    pub fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        for count in 0..most {
            match self.ring.next() {
                Some(record) => each(&record),
                None => return count,
            }
        }
        most
    }

    /// Losses since the programs were attached, by cause.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn losses(&self) -> Result<Vec<(Loss, u64)>, KernelError> {
        Loss::ALL
            .iter()
            .map(|cause| {
                let counts = self
                    .losses
                    .get(&(*cause as u32), 0)
                    .map_err(|source| KernelError::Map {
                        name: "LOSSES",
                        source,
                    })?;
                Ok((*cause, counts.iter().sum()))
            })
            .collect()
    }
}

fn take<M>(loaded: &mut Ebpf, name: &'static str) -> Result<M, KernelError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let absent = || aya::maps::MapError::InvalidName {
        name: name.to_owned(),
    };
    let map = loaded
        .take_map(name)
        .ok_or_else(absent)
        .map_err(|source| KernelError::Map { name, source })?;
    M::try_from(map).map_err(|source| KernelError::Map { name, source })
}

/// Has the kernel verify every program, each in a thread: the longest verification takes most of the time that the
/// agent needs to start, and the others fit beside it.
fn load_all(loaded: &mut Ebpf) -> Result<(), KernelError> {
    thread::scope(|scope| {
        let mut loading = Vec::new();
        for (name, program) in loaded.programs_mut() {
            let Some((known, _)) = PROGRAMS.iter().find(|(known, _)| *known == name) else {
                continue;
            };
            loading.push((
                *known,
                scope.spawn(|| raw_tracepoint(Some(program)).and_then(RawTracePoint::load)),
            ));
        }
        for (program, load) in loading {
            finished(load).map_err(|source| KernelError::Refused { program, source })?;
        }
        Ok(())
    })
}

/// What a thread returned; its panic goes on in this one.
fn finished<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn raw_tracepoint(program: Option<&mut Program>) -> Result<&mut RawTracePoint, ProgramError> {
    program.ok_or(ProgramError::NotLoaded).and_then(TryInto::try_into)
}

fn mark(processes: &mut HashMap<MapData, u32, u8>, pid: u32, mark: u8) -> Result<(), KernelError> {
    processes.insert(pid, mark, 0).map_err(|source| KernelError::Map {
        name: "PROCESSES",
        source,
    })
}

/// One bit a port, in words of 64, only those with a bit set.
fn port_words(ports: &[u16]) -> impl Iterator<Item = (u32, u64)> {
    let mut words = std::collections::BTreeMap::<u32, u64>::new();
    for port in ports {
        *words.entry(u32::from(port >> 6)).or_default() |= 1 << (port & 63);
    }
    words.into_iter()
}

/// Loading takes some 25 MiB for a moment. The allocator gives it back only when more is allocated later, which an agent
/// that waits does not do.
#[expect(unsafe_code, reason = "the allocator offers no safe way")]
fn give_back_memory() {
    // SAFETY: takes no pointers, may be called at any time, and does nothing where another allocator is in use.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// The bytes of a struct that has no padding.
trait Plain {}
impl Plain for Layout {}
impl Plain for Settings {}

#[expect(unsafe_code, reason = "globals are handed over as bytes")]
fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a Plain type is repr(C) of u32 only, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
