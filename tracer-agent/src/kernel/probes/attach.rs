//! The kernel side is loaded, given what it has to know, and attached.

use std::{collections::HashSet, thread};

use aya::{
    EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap},
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
    util::nr_cpus,
};
use tracer_common::{
    glob,
    layout::{ABSENT, Goroutines, Layout, Settings, process, registers, scratch_areas},
};

use super::{Probes, follow::NO_REGISTERS, give_back_free_memory, of_map, reselect, set, take};
use crate::{
    kernel::{
        KernelError,
        attached::Attached,
        capability,
        coroutines::{self, Kinds},
        counters::Counters,
        family::Family,
        followed::Breakpoints,
        layout,
        load::{self, Kernel, Taken, finished},
        plan::Plan,
        preemption::{PREEMPTED, Preemption},
        ring::Ring,
        sizes::Sizes,
        voice::{self, Voice},
        wakes::Wakes,
    },
    symbols,
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Programs that are remembered, where there are rules about them.
const EXES: u32 = 4096;
/// Threads that carry bytes of TLS at once.
const CARRYING: u32 = 1024;
const NO_TOKIO: &str = "where it keeps its tasks is known for x86-64 only";
const NO_CPYTHON: &str = "by turns and times: where CPython keeps coroutines is known for x86-64 only";
const NO_TASKS: &str = "what threads keep for themselves cannot be found on this kernel";
const NO_THREADS: &str =
    "by turns and times: what threads keep for themselves cannot be found on this kernel";

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
        let java = take(&mut loaded, "JAVA")?;
        let tokio = take(&mut loaded, "TOKIO")?;
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
        let rust_obstacle = if cfg!(not(target_arch = "x86_64")) {
            Some(NO_TOKIO)
        } else if resolved.layout.task_fsbase == ABSENT {
            Some(NO_TASKS)
        } else {
            breakpoints.obstacle_in_rust()
        };
        let wakes = Wakes::of(&loaded);
        let java_obstacle =
            if resolved.layout.task_stack == ABSENT || settings.registers == registers::UNKNOWN {
                Some(NO_REGISTERS)
            } else {
                wakes.obstacle()
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
            java,
            have_java: HashSet::new(),
            tokio,
            have_tokio: HashSet::new(),
            losses,
            chosen: plan.selection.chosen(),
            attached,
            breakpoints,
            libraries,
            wakes,
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
            java_obstacle,
            rust_obstacle,
            tls_obstacle,
            refused,
        })
    }
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
pub(super) fn entries(count: usize) -> u32 {
    u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

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

/// A kind of goroutine as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct GoKind(Goroutines);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for GoKind {}

/// The bytes of a struct that has no padding.
trait Plain {}
impl Plain for Layout {}
impl Plain for Settings {}

#[expect(unsafe_code, reason = "globals are handed over as bytes")]
fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a Plain type is repr(C) of u32 only, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
