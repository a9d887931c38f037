//! The kernel side while it is attached: the way to its maps. Everything vanishes with this value.

mod reselect;

pub use reselect::ReselectError;

use std::{collections::HashSet, io, os::fd::BorrowedFd, thread};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap, MapData},
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
    util::nr_cpus,
};
use tracer_common::{
    Loss, glob,
    layout::{ABSENT, Exe, Goroutines, GrpcGo, Layout, Settings, mark, process, registers, scratch_areas},
};

use super::{
    KernelError,
    attached::{Attached, Joining},
    capability,
    coroutines::{self, Kinds},
    counters::Counters,
    family::Family,
    followed::{Breakpoints, Places, Refused},
    layout,
    load::{self, Kernel, LeftOut, Refusal, Taken, finished},
    plan::Plan,
    preemption::{PREEMPTED, Preemption},
    ring::Ring,
    sizes::Sizes,
    tls::{self, Libraries},
    voice::{self, Voice},
};
use crate::symbols::{self, Go, Interpreter};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Programs that are remembered, where there are rules about them.
const EXES: u32 = 4096;
/// Threads that carry bytes of TLS at once.
const CARRYING: u32 = 1024;
const NO_CPYTHON: &str = "by turns and times: where CPython keeps coroutines is known for x86-64 only";
const NO_THREADS: &str =
    "by turns and times: what threads keep for themselves cannot be found on this kernel";
const NO_REGISTERS: &str = "the registers of programs cannot be found on this kernel";
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
    losses: Counters,
    /// See [`Selection::chosen`](super::plan::Selection::chosen).
    chosen: u8,
    attached: Attached,
    breakpoints: Breakpoints,
    libraries: Libraries,
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
    /// Why nothing of what is in TLS is seen, if nothing is.
    pub tls_obstacle: Option<&'static str>,
    /// Those that were tried before it, and why they were not.
    pub refused: Vec<Refusal>,
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
        let wants_trampolines = plan.families.contains(&Family::Socket);
        let (resolved, mut loader) = thread::scope(|scope| {
            let resolved = scope.spawn(|| layout::of_running_kernel(plan.selection.controller()));
            // aya reads the kernel's BTF here, wanted or not, which takes longer than our own reading of it.
            let loader = EbpfLoader::new();
            (finished(resolved), loader)
        });
        let resolved = resolved?;
        let types = wants_trampolines.then(|| resolved.types_of_functions());
        let types = types.transpose().map_err(aya::EbpfError::from)?;
        let has_loop =
            is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_loop).unwrap_or(false);
        // Without it the kernel side cannot compare names, and asks.
        let names = if has_loop {
            plan.selection.names.as_slice()
        } else {
            &[]
        };
        let asks = plan.selection.asks || names.len() < plan.selection.names.len();
        let settings = Settings {
            agent_tgid: plan.agent_pid,
            select_all: u32::from(plan.selection.all),
            rules: plan.selection.rules(asks),
            names: if names.is_empty() { 0 } else { glob::RULES },
            follows_sampling: u32::from(plan.follows_sampling),
            registers: registers(&resolved.layout),
            sees_tls: u32::from(plan.sees_tls),
        };
        let sizes = Sizes::of_host();
        let ring_bytes = plan.ring_bytes.unwrap_or(sizes.ring_bytes);
        let cpus = nr_cpus().map_err(|(_, source)| KernelError::Cpus(source))?;
        let preemption = Preemption::of_running_kernel();
        let areas = match preemption {
            Preemption::Off => scratch_areas::RUN_TO_END,
            Preemption::On | Preemption::Unknown => scratch_areas::PREEMPTED,
        };
        let mut loaded = loader
            .btf(None)
            .override_global("LAYOUT", bytes_of(&resolved.layout), true)
            .override_global("SETTINGS", bytes_of(&settings), true)
            .override_global(
                aya_log::LEVEL,
                if plan.speaks {
                    &voice::DEBUG
                } else {
                    &voice::SILENT
                },
                true,
            )
            .map_max_entries("LOSSES", entries(cpus))
            .map_max_entries("RECORDS", ring_bytes)
            .map_max_entries("SCRATCH", areas)
            .map_max_entries("CONNECTIONS", sizes.connections)
            .map_max_entries("CALLS", sizes.calls)
            .map_max_entries("WAITERS", sizes.waiters)
            .map_max_entries("INSIDE", if plan.sees_tls { sizes.calls } else { 1 })
            .map_max_entries("SESSIONS", if plan.sees_tls { sizes.connections } else { 1 })
            .map_max_entries("CARRIED", if plan.sees_tls { CARRYING } else { 1 })
            .map_max_entries("GO_CALLS", if plan.sees_tls { sizes.calls } else { 1 })
            .map_max_entries("SHAKING", if plan.sees_tls { CARRYING } else { 1 })
            .map_max_entries("PROCESSES", sizes.processes)
            .map_max_entries("CGROUPS", reselect::room_for_cgroups(&plan.selection))
            .map_max_entries("NETNS", reselect::places(plan.selection.netns.len()))
            .map_max_entries("EXES", if asks || !names.is_empty() { EXES } else { 1 })
            .map_max_entries(
                voice::MAP,
                if plan.speaks {
                    voice::BYTES
                } else {
                    voice::no_bytes()
                },
            )
            .load(OBJECT)?;
        let mut processes: HashMap<_, u32, u8> = take(&mut loaded, "PROCESSES")?;
        for pid in &plan.selection.excluded_pids {
            set(&mut processes, *pid, process::EXCLUDED)?;
        }
        for pid in &plan.selection.pids {
            set(&mut processes, *pid, plan.selection.chosen())?;
        }
        let mut rules = reselect::Rules::take(&mut loaded, &plan.selection, (!names.is_empty(), asks))?;
        rules.write(&plan.selection, names)?;
        let mut kinds: Array<_, GoKind> = take(&mut loaded, "GOROUTINES")?;
        for (kind, offsets) in (0..).zip(symbols::GOROUTINES) {
            kinds
                .set(kind, GoKind(offsets), 0)
                .map_err(of_map("GOROUTINES"))?;
        }
        let coroutines = Kinds::new(take(&mut loaded, coroutines::MAP)?);
        let voice = if plan.speaks { Voice::of(&mut loaded) } else { None };
        let exes = take(&mut loaded, "EXES")?;
        let grpc = take(&mut loaded, "GRPC_GO")?;
        let ring = Ring::take(&mut loaded, "RECORDS", ring_bytes)?;
        let losses = Counters::of_map(&loaded, "LOSSES", cpus)?;
        let kernel = Kernel {
            resolved: &resolved,
            types: types.as_ref(),
            has_loop,
            preemption,
            joins: plan.joins,
            has_uprobes: plan.has_uprobes,
            sees_tls: plan.sees_tls,
        };
        let Taken {
            family,
            refused,
            left_out,
            links,
        } = load::attach_best(&mut loaded, &plan.families, &kernel)?;
        // Without it only what was waiting is missed.
        let joining = if plan.joins && !family.sees_waiting() {
            load::join(&mut loaded, &kernel)
        } else {
            Ok(None)
        };
        let join_refused = joining.is_err();
        let join = joining.ok().flatten();
        let skips = family.suffers_from(kernel.preemption);
        let breakpoints = Breakpoints::of(&loaded);
        let go_obstacle = if settings.registers == registers::UNKNOWN {
            Some(NO_REGISTERS)
        } else {
            breakpoints.obstacle()
        };
        let python_obstacle = if cfg!(not(target_arch = "x86_64")) {
            Some(NO_CPYTHON)
        } else if resolved.layout.task_fsbase == ABSENT {
            Some(NO_THREADS)
        } else {
            breakpoints.obstacle_in_python()
        };
        let mut libraries = load::libraries(&mut loaded, &kernel);
        libraries.attach(&plan.libraries);
        let tls_obstacle = libraries.obstacle();
        let attached = Attached::new(&mut loaded, links, family);
        drop((loaded, types));
        give_back_memory();
        Ok(Self {
            ring,
            ring_bytes,
            processes,
            exes,
            rules,
            voice,
            grpc,
            have_grpc: HashSet::new(),
            losses,
            chosen: plan.selection.chosen(),
            attached,
            breakpoints,
            libraries,
            coroutines,
            knows_registers: settings.registers != registers::UNKNOWN,
            join,
            join_refused,
            left_out,
            family,
            remark: if skips { PREEMPTED } else { "" },
            unix_obstacle: family.unix_obstacle(&resolved),
            go_obstacle,
            python_obstacle,
            tls_obstacle,
            refused,
        })
    }

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

    /// The goroutines of a process are told apart from now on, and what its HTTP client hands on is followed.
    ///
    /// # Errors
    /// When they cannot be: its version of Go is not known.
    pub fn follow(&mut self, pid: u32, go: &Go) -> io::Result<()> {
        let kind = go.program.goroutines.ok_or_else(|| {
            io::Error::other("where it keeps its goroutines is not known to this version of the agent")
        })?;
        let before = self.known(pid).map(mark::decided);
        let Some(decided @ (process::SELECTED | process::DUE)) = before else {
            return Ok(());
        };
        if !self.knows_registers {
            return Err(io::Error::other(NO_REGISTERS));
        }
        self.replace(pid, mark::of(decided, kind.0))
            .map_err(io::Error::other)?;
        if let Some(layout) = go.program.grpc {
            self.grpc
                .insert(pid, GrpcKind(layout), 0)
                .map_err(io::Error::other)?;
            self.have_grpc.insert(pid);
        }
        self.breakpoints.attach(pid, Places::of_go(go));
        Ok(())
    }

    /// The coroutines of a process are told apart from now on, and which makes which.
    ///
    /// # Errors
    /// When there are more kinds of them than can be.
    pub fn tell_apart(&mut self, pid: u32, python: &Interpreter) -> io::Result<()> {
        let before = self.known(pid).map(mark::decided);
        let Some(decided @ (process::SELECTED | process::DUE)) = before else {
            return Ok(());
        };
        let number = self.coroutines.number(python.coroutines)?;
        self.replace(pid, mark::of(decided, mark::of_coroutines(number)))
            .map_err(io::Error::other)?;
        self.breakpoints.attach(pid, Places::of_python(python));
        Ok(())
    }

    /// A process has ended, or runs another program.
    pub fn unfollow(&mut self, pid: u32) {
        if self.have_grpc.remove(&pid) {
            // It is there.
            let _ = self.grpc.remove(&pid);
        }
        self.breakpoints.detach(pid);
    }

    /// From here on breakpoints are set in processes that are followed, by threads that keep what rights they need.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn begin_to_follow(&mut self, refused: Refused, libraries: tls::Told) -> io::Result<()> {
        self.breakpoints.begin(refused)?;
        self.libraries.begin(libraries)
    }

    /// A process runs a new program, or is seen for the first time: what libraries of TLS it has is looked at.
    pub fn look(&mut self, pid: u32) {
        self.libraries.look(pid);
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

/// How the registers of a process are found on this kernel.
fn registers(layout: &Layout) -> u32 {
    let helper = is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_task_pt_regs);
    if helper.unwrap_or(false) {
        registers::BY_HELPER
    } else if layout.task_stack != ABSENT {
        registers::ON_STACK
    } else {
        registers::UNKNOWN
    }
}

/// Room for so many, and at least for one: a map without is none.
fn entries(count: usize) -> u32 {
    u32::try_from(count.max(1)).unwrap_or(u32::MAX)
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

/// Loading takes some 25 MiB for a moment. The allocator gives it back only when more is allocated later, which an agent
/// that waits does not do; and the object is not looked at again.
#[expect(
    unsafe_code,
    reason = "neither the allocator nor the kernel offers a safe way"
)]
fn give_back_memory() {
    let page = rustix::param::page_size();
    let before = OBJECT.as_ptr().align_offset(page);
    let whole = OBJECT.len().saturating_sub(before) / page * page;
    give_back_free_memory();
    // SAFETY: it is given whole pages of a static that nobody writes to: what is read of them comes from the file again.
    unsafe {
        let pages = OBJECT.as_ptr().wrapping_add(before).cast_mut().cast();
        let _ = rustix::mm::madvise(pages, whole, rustix::mm::Advice::LinuxDontNeed);
    }
}

/// Gives memory that this thread has freed back to the kernel, which the allocator would do later.
#[expect(unsafe_code, reason = "the allocator offers no safe way")]
pub fn give_back_free_memory() {
    // SAFETY: it takes no pointers, may be called at any time, and does nothing where another allocator is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// A kind of goroutine as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct GoKind(Goroutines);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for GoKind {}

/// A kind of gRPC as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct GrpcKind(GrpcGo);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for GrpcKind {}

/// The bytes of a struct that has no padding.
trait Plain {}
impl Plain for Layout {}
impl Plain for Settings {}

#[expect(unsafe_code, reason = "globals are handed over as bytes")]
fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a Plain type is repr(C) of u32 only, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
