//! Which processes are traced. Decided before anything is copied; children inherit.
//!
//! ```text
//!   unknown ── exec, or first seen on the network: judged by control group, namespace, program ─▶ selected, excluded, passed
//!   unknown ── the same, with a program that nobody has judged ─▶ passed, and the user side is asked ─▶ any of them
//!    passed ── exec: judged anew
//!    passed ── moved to another control group ─▶ unknown
//!  selected ── exec: judged anew, for what excludes only
//!  selected ── moved to another control group ─▶ due ── seen on the network: judged, for what excludes only
//!       any ── listens on a selected port: judged, for what excludes only ─▶ selected, excluded
//!       any ── listens on an excluded port ─▶ excluded, for good
//! ```

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_boot_ns, bpf_loop,
        generated::{bpf_get_current_comm, bpf_probe_read_kernel_str},
    },
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use aya_log_ebpf::debug;
use tracer_common::{
    Loss,
    glob::{self, Matching, NAME_MAX, NameRule},
    layout::{
        ABSENT, CGROUP_LEVELS, Exe, PORT_WORDS,
        mark::{self, decided},
        process::{DUE, EXCLUDED, PASSED, SELECTED, UNDECIDED},
        rule,
    },
    record::{AskRecord, ProcessRecord, kind, process_event},
};

use super::emit;
use crate::peek::{layout, member, member_or_zero, settings};

/// Process id to [`tracer_common::layout::process`].
#[map]
static PROCESSES: HashMap<u32, u8> = HashMap::with_max_entries(16384, 0);

/// One bit a TCP port: processes that listen on it are selected, or excluded in the second half.
#[map]
static PORTS: Array<u64> = Array::with_max_entries(2 * PORT_WORDS, 0);

/// Control groups (of the unified hierarchy, by id) that decide about the processes below them.
#[map]
static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(1024, 0);

/// Network namespaces, by inode number, that decide about the processes in them.
#[map]
static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);

/// Rules by file name of the executable.
#[map]
static NAMES: Array<NameRule> = Array::with_max_entries(glob::RULES, 0);

/// A file name while it is compared.
#[map]
static MATCHING: PerCpuArray<Matching> = PerCpuArray::with_max_entries(1, 0);

/// Executables that the user side has judged.
#[map]
static EXES: HashMap<Exe, u8> = HashMap::with_max_entries(4096, 0);

/// The thread that runs now.
#[derive(Clone, Copy)]
pub struct Current {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// The kind of tasks that its process has ([`mark`]), as far as that was asked for.
    pub kind: u8,
}

impl Current {
    /// The thread that runs now.
    #[inline(always)]
    pub fn get() -> Self {
        let both = bpf_get_current_pid_tgid();
        Self {
            tgid: (both >> 32) as u32,
            tid: both as u32,
            kind: 0,
        }
    }

    /// Whether its process has goroutines, so that threads are nothing to go by.
    #[inline(always)]
    pub fn has_goroutines(self) -> bool {
        mark::goroutines(self.kind) != 0
    }

    /// Both ids in one key.
    #[inline(always)]
    pub fn key(self) -> u64 {
        (self.tgid as u64) << 32 | self.tid as u64
    }
}

/// The thread that runs now, if its process is traced.
#[inline(always)]
pub fn traced() -> Option<Current> {
    let current = Current::get();
    if is_agent(current.tgid) {
        return None;
    }
    let known = known(current.tgid);
    is_selected(current.tgid, known).then_some(Current {
        kind: mark::kind(known),
        ..current
    })
}

/// The thread that runs now, if it was decided before that its process is traced.
#[inline(always)]
pub fn followed() -> Option<Current> {
    let current = Current::get();
    let known = known(current.tgid);
    let is_followed = match decided(known) {
        SELECTED | DUE => true,
        UNDECIDED => settings().select_all != 0,
        _ => false,
    };
    (is_followed && !is_agent(current.tgid)).then_some(Current {
        kind: mark::kind(known),
        ..current
    })
}

/// The thread that runs now, unless it is known that its process is not traced: for what leads to nothing else, where it is not.
#[inline(always)]
pub fn maybe_traced() -> Option<Current> {
    let current = Current::get();
    let settings = settings();
    match decided(known(current.tgid)) {
        _ if is_agent(current.tgid) => None,
        EXCLUDED | PASSED => None,
        UNDECIDED if settings.rules | settings.names | settings.select_all == 0 => None,
        _ => Some(current),
    }
}

/// Whether the current process is traced.
#[inline(always)]
pub fn selected(tgid: u32) -> bool {
    !is_agent(tgid) && is_selected(tgid, known(tgid))
}

#[inline(always)]
fn is_selected(tgid: u32, known: u8) -> bool {
    let settings = settings();
    match decided(known) {
        SELECTED => true,
        EXCLUDED | PASSED => false,
        _ if settings.rules | settings.names == 0 => settings.select_all != 0,
        _ => tracer_judge(tgid, known as u32) == SELECTED as u32,
    }
}

/// Judges the current process between two programs. A function of its own, since every hook asks. Names are not compared
/// here: that takes `bpf_loop`, and whoever was there before was judged by the user side.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tracer_judge(tgid: u32, known: u32) -> u32 {
    let task = unsafe { bpf_get_current_task() };
    let asks = settings().names != 0 || settings().rules & rule::ASK != 0;
    let mut exe = Exe::NONE;
    let program = if asks { by_file(task, &mut exe) } else { PASSED };
    decide(task, tgid, known as u8, program, exe, process_event::SELECTED) as u32
}

/// Decides about the current process and remembers it. If it is selected, `event` is what is reported.
#[inline(always)]
fn decide(task: u64, tgid: u32, known: u8, program: u8, exe: Exe, event: u32) -> u8 {
    let place = by_place(task);
    let verdict = together(decided(known), place, program);
    debug!(
        (),
        "process {} was {}; its place says {}, its program {}: it is {}",
        tgid,
        known as u32,
        place as u32,
        program as u32,
        verdict as u32
    );
    // First, since the answer is for a process that is known.
    set(tgid, mark::of(verdict, mark::kind(known)));
    if program == UNDECIDED {
        emit::fixed(&AskRecord {
            kind: kind::ASK,
            size: size_of::<AskRecord>() as u32,
            exe,
            tgid,
            place: place as u32,
        });
    }
    if verdict == SELECTED {
        report(event, tgid, 0);
    }
    verdict
}

/// To exclude is stronger. Whoever was selected stays so while its program is looked at, and nobody else is traced before
/// that.
#[inline(always)]
fn together(before: u8, place: u8, program: u8) -> u8 {
    let was_selected = before == SELECTED || before == DUE;
    let is_selected = program != UNDECIDED && (place == SELECTED || program == SELECTED);
    if place == EXCLUDED || program == EXCLUDED {
        EXCLUDED
    } else if was_selected || is_selected {
        SELECTED
    } else {
        PASSED
    }
}

/// Judges a task by where it is.
#[inline(always)]
fn by_place(task: u64) -> u8 {
    let settings = settings();
    let mut verdict = if settings.select_all != 0 {
        SELECTED
    } else {
        UNDECIDED
    };
    if settings.rules & rule::CGROUP != 0 {
        let mut group = cgroup(task);
        let mut level = 0;
        while level < CGROUP_LEVELS && group != 0 {
            let node: u64 = member_or_zero(group, layout().cgroup_node);
            let id: u64 = member_or_zero(node, layout().kernfs_id);
            match value(CGROUPS.get_ptr(id)) {
                Some(EXCLUDED) => return EXCLUDED,
                Some(SELECTED) => verdict = SELECTED,
                _ => {}
            }
            let parent: u64 = member_or_zero(group, layout().cgroup_parent);
            group = member_or_zero(parent, layout().css_group);
            level += 1;
        }
    }
    if settings.rules & rule::NETNS != 0 {
        match value(NETNS.get_ptr(netns(task))) {
            Some(EXCLUDED) => return EXCLUDED,
            Some(SELECTED) => verdict = SELECTED,
            _ => {}
        }
    }
    verdict
}

/// Judges a task by a program that it has just begun to run; the file is left in `exe` where nobody in the kernel can judge it.
#[inline(always)]
fn by_program(task: u64, names: Names, exe: &mut Exe) -> u8 {
    let settings = settings();
    let named = if names == Names::Compared && settings.names != 0 {
        by_name(task, settings.names)
    } else {
        PASSED
    };
    if named == EXCLUDED || (named != UNDECIDED && settings.rules & rule::ASK == 0) {
        return named;
    }
    match by_file(task, exe) {
        PASSED if named == SELECTED => SELECTED,
        known => known,
    }
}

/// Judges a task by the file that it runs, if the user side has judged that before. Without a file there is nothing that a
/// rule could be about.
#[inline(always)]
fn by_file(task: u64, exe: &mut Exe) -> u8 {
    let Some(file) = executable(task) else {
        return PASSED;
    };
    *exe = file;
    value(EXES.get_ptr(file)).unwrap_or(UNDECIDED)
}

/// Judges a task by the file name of its executable.
#[inline(always)]
fn by_name(task: u64, rules: u32) -> u8 {
    let Some(matching) = MATCHING.get_ptr_mut(0) else {
        return UNDECIDED;
    };
    let matching = unsafe { &mut *matching };
    let layout = layout();
    let name: Option<u64> = member(task, layout.task_mm)
        .and_then(|memory| member(memory, layout.mm_exe_file))
        .and_then(|file| member(file, layout.file_dentry))
        .and_then(|dentry| member(dentry, layout.dentry_name));
    let read = unsafe {
        bpf_probe_read_kernel_str(
            matching.name.as_mut_ptr().cast(),
            NAME_MAX as u32,
            name.unwrap_or(0) as *const c_void,
        )
    };
    // The length counts the zero at the end. A name that fills the room may go on behind it.
    if read <= 0 || read >= NAME_MAX as i64 {
        return UNDECIDED;
    }
    matching.len = read as u32 - 1;
    matching.start();
    unsafe { bpf_loop(glob::STEPS, compare as *mut c_void, ptr::null_mut(), 0) };
    matching.verdict(rules).unwrap_or(UNDECIDED)
}

/// One turn of the loop: a step with one rule. 0 goes on, 1 ends.
extern "C" fn compare(_turn: u32, _context: *mut c_void) -> i64 {
    let Some(matching) = MATCHING.get_ptr_mut(0) else {
        return 1;
    };
    let matching = unsafe { &mut *matching };
    let number = matching.rule();
    if number >= settings().names {
        return 1;
    }
    match NAMES.get_ptr(number) {
        Some(rule) => matching.step(unsafe { &*rule }) as i64,
        None => 1,
    }
}

/// The control group of a task in the hierarchy that rules are about. The helper for the unified one is not in every kernel, and there is
/// none for the others.
#[inline(always)]
fn cgroup(task: u64) -> u64 {
    let layout = layout();
    let set: u64 = member_or_zero(task, layout.task_cgroups);
    if layout.css_set_state == ABSENT {
        return member_or_zero(set, layout.css_set_group);
    }
    let state: u64 = member_or_zero(set, layout.css_set_state);
    member_or_zero(state, layout.css_group)
}

#[inline(always)]
fn value(found: Option<*const u8>) -> Option<u8> {
    found.map(|value| unsafe { *value })
}

#[inline(always)]
fn netns(task: u64) -> u32 {
    let layout = layout();
    let proxy: u64 = member_or_zero(task, layout.task_nsproxy);
    let net: u64 = member_or_zero(proxy, layout.nsproxy_net);
    member_or_zero(net, layout.net_inum)
}

#[inline(always)]
fn executable(task: u64) -> Option<Exe> {
    let layout = layout();
    let memory: u64 = member(task, layout.task_mm)?;
    let file: u64 = member(memory, layout.mm_exe_file)?;
    let inode: u64 = member(file, layout.file_inode)?;
    let device: u64 = member(inode, layout.inode_super)?;
    Some(Exe {
        inode: member(inode, layout.inode_number)?,
        device: member(device, layout.super_device)?,
        generation: member(inode, layout.inode_generation)?,
    })
}

/// Whether a process is the agent.
#[inline(always)]
pub fn is_agent(tgid: u32) -> bool {
    tgid == settings().agent_tgid
}

/// What the process map says: see [`mark`].
#[inline(always)]
fn known(tgid: u32) -> u8 {
    value(PROCESSES.get_ptr(tgid)).unwrap_or(UNDECIDED)
}

/// What is decided about a process, if it is in the map.
#[inline(always)]
fn decision(tgid: u32) -> Option<u8> {
    value(PROCESSES.get_ptr(tgid)).map(decided)
}

#[inline(always)]
fn set(tgid: u32, value: u8) {
    if PROCESSES.insert(tgid, value, 0).is_err() {
        emit::lost(Loss::ProcessesFull);
    }
}

/// A process made another: the child is marked like its parent.
#[inline(always)]
pub fn forked(parent: u32, child: u32) {
    let known = known(parent);
    let decision = decided(known);
    if matches!(decision, UNDECIDED | PASSED) {
        return;
    }
    set(child, known);
    if decision == SELECTED {
        report(process_event::FORK, child, parent);
    }
}

/// Whether names of executables are compared here, which takes `bpf_loop`; else the user side is asked about every file once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Here.
    Compared,
    /// Not here.
    Asked,
}

/// The current process runs a new program: it is judged before its first instruction.
#[inline(always)]
pub fn executed(tgid: u32, names: Names) {
    let known = known(tgid);
    let before = decided(known);
    let settings = settings();
    if settings.rules | settings.names != 0 && before != EXCLUDED && !is_agent(tgid) {
        let task = unsafe { bpf_get_current_task() };
        let mut exe = Exe::NONE;
        let program = by_program(task, names, &mut exe);
        decide(task, tgid, before, program, exe, process_event::EXEC);
    } else if before == SELECTED {
        if known != SELECTED {
            set(tgid, SELECTED);
        }
        report(process_event::EXEC, tgid, 0);
    }
}

/// A process is moved to another control group.
#[inline(always)]
pub fn moved(tgid: u32) {
    if settings().rules & rule::CGROUP == 0 {
        return;
    }
    let known = known(tgid);
    match decided(known) {
        SELECTED => set(tgid, mark::of(DUE, mark::kind(known))),
        PASSED => {
            let _ = PROCESSES.remove(tgid);
        }
        _ => {}
    }
}

/// The last thread of the current process ended.
#[inline(always)]
pub fn exited(tgid: u32) {
    let known = decision(tgid);
    if known.is_some() {
        let _ = PROCESSES.remove(tgid);
    }
    if matches!(known, Some(SELECTED | DUE)) {
        report(process_event::EXIT, tgid, 0);
    }
}

/// The current process was seen on the network: with everything selected, its life is followed from here on.
#[inline(always)]
pub fn seen(tgid: u32) {
    if settings().select_all != 0 && decision(tgid).is_none() {
        set(tgid, SELECTED);
    }
}

/// The current process listens on a port.
#[inline(always)]
pub fn listens(tgid: u32, port: u16) {
    let known = known(tgid);
    let before = decided(known);
    if is_agent(tgid) || before == EXCLUDED {
        return;
    }
    let word = port as u32 >> 6;
    let bit = 1u64 << (port & 63);
    if PORTS.get(word + PORT_WORDS).is_some_and(|bits| bits & bit != 0) {
        set(tgid, EXCLUDED);
    } else if before != SELECTED && PORTS.get(word).is_some_and(|bits| bits & bit != 0) {
        tracer_judge(tgid, mark::of(DUE, mark::kind(known)) as u32);
    }
}

#[inline(always)]
fn report(event: u32, tgid: u32, parent: u32) {
    let mut record = ProcessRecord {
        kind: kind::PROCESS,
        size: size_of::<ProcessRecord>() as u32,
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        event,
        tgid,
        parent,
        reserved: 0,
        comm: [0; 16],
    };
    current_name(&mut record.comm);
    emit::fixed(&record);
}

/// Name of the current process; left as it is if the kernel does not say.
#[inline(always)]
pub fn current_name(name: &mut [u8; 16]) {
    unsafe { bpf_get_current_comm(name.as_mut_ptr().cast(), 16) };
}
