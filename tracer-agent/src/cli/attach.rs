//! From a selection in words to probes in the kernel.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tracer_common::{
    glob::{self, NameRule},
    layout::process,
};

use super::{
    memory,
    places::{self, Places},
};

use crate::{
    capture::record::Verdict,
    config::{
        Options, Selection,
        values::{Glob, Hooks, Level, Ports, Tls, Uprobes},
    },
    discovery::{Containers, Discovery, Hierarchy, Patterns},
    kernel::{self, Excludes, Family, KernelError, Probes, Refusal},
    live::{Judge, Programs},
    observe::{Event, Log},
    symbols::Library,
};

/// CMD, which waits at the gate.
pub struct Command {
    /// Its process.
    pub pid: u32,
    /// The files that it is going to be run by.
    pub files: Vec<PathBuf>,
}

/// The kernel side, and who judges with it.
pub struct Attached<'a> {
    /// The probes.
    pub probes: Probes,
    /// Judges programs, where the kernel side cannot.
    pub judge: Option<Judge<'a>>,
    /// Judges control groups of containers as they come and go.
    pub containers: Option<Containers<'a>>,
}

/// Attaches the probes.
///
/// # Errors
/// When a process does not exist, or the kernel does not let the agent do it; the message says what to do.
pub fn attach<'a>(
    options: &'a Options,
    command: Option<Command>,
    discovery: &'a Discovery,
    log: &Log,
) -> anyhow::Result<Attached<'a>> {
    let selection = &options.selection;
    let (command, files) = command.map(|command| (command.pid, command.files)).unzip();
    let own = std::process::id();
    let agent_pid = discovery.own_pid().unwrap_or(own);
    if !discovery.is_of_kernel() || (command.is_some() && agent_pid != own) {
        bail!(
            "the agent runs in a pid namespace of its own, where process ids mean others than to the kernel: start its \
             container with --pid=host, or `run` it with / of the host mounted, and --host-root"
        );
    }
    if let Some(pid) = selection.pids.iter().find(|pid| !discovery.runs(**pid)) {
        bail!("there is no process {pid}: it has ended, or its id is that of another pid namespace");
    }
    // The kernel takes the processes that breakpoints are for by the numbers that they have for the agent.
    let is_apart = agent_pid != own;
    if is_apart && options.uprobes == Uprobes::Auto {
        log.say(&Event::Remark(
            "calls of Go programs by net/http and gRPC are linked by times only: in a pid namespace of its own the agent sets no \
             breakpoints; --uprobes off says nothing"
                .to_owned(),
        ));
    }
    let sees_tls = options.tls == Tls::Auto && !is_apart;
    let root = options.host_root.0.as_path();
    let hierarchy = hierarchy(selection, root);
    let mut numbers = in_numbers(selection, root, hierarchy.as_ref(), discovery)?;
    numbers.pids.extend(command);
    let containers = containers(
        patterns(selection),
        hierarchy.as_ref(),
        discovery,
        log,
        &mut numbers.of_containers,
    )?;
    let plan = kernel::Plan {
        selection: numbers,
        families: families(options.hooks),
        // What is counted is counted before sampling.
        follows_sampling: options.metrics.is_empty() && options.sampler.is_parent_based(),
        joins: selection.may_grow() || !selection.pids.is_empty(),
        has_uprobes: options.uprobes == Uprobes::Auto && !is_apart,
        sees_tls,
        // A command may be over before it could be looked at.
        libraries: if sees_tls && (selection.all || command.is_some()) {
            let usual = Library::usual_files(root).into_iter();
            usual.chain(files.unwrap_or_default()).collect()
        } else {
            Vec::new()
        },
        agent_pid,
        speaks: options.log_level == Level::Debug,
        ring_bytes: options.ring_size.0,
    };
    // The command was started before, with what the agent was given.
    kernel::allow_open_files();
    memory::take_small_pages();
    let mut probes = Probes::attach(&plan)
        .inspect_err(|error| {
            if let KernelError::NoFamily { refused } = error {
                say_refused(refused, log);
            }
        })
        .context("cannot trace")?;
    say_refused(&probes.refused, log);
    if !probes.remark.is_empty() {
        log.say(&Event::Remark(format!(
            "hooks {}: {}; --hooks kprobe sees all",
            probes.family, probes.remark
        )));
    }
    if probes.join_refused {
        let missed =
            "a request that a thread waits for now is not seen: the kernel refused the program for it";
        log.say(&Event::Remark(missed.to_owned()));
    }
    if let (true, Some(obstacle)) = (sees_tls, probes.tls_obstacle) {
        log.say(&Event::Remark(format!("TLS is not looked into: {obstacle}")));
    }
    log.say(&Event::Hooks {
        family: probes.family.to_string(),
    });
    select_listening(&plan.selection.ports, discovery, &mut probes, log)?;
    still_there(selection, command, discovery, log)?;
    let judge = judge(selection, &plan.selection, hierarchy, discovery);
    if let Some(judge) = &judge {
        judge.look(&mut probes, log);
    }
    for pid in probes.selected() {
        probes.look(pid);
    }
    Ok(Attached {
        probes,
        judge,
        containers,
    })
}

/// Begins to watch for containers, if any are named; those that are there are added to the control groups.
fn containers<'a>(
    patterns: Patterns<'a>,
    hierarchy: Option<&Hierarchy>,
    discovery: &'a Discovery,
    log: &Log,
    cgroups: &mut Vec<(u64, u8)>,
) -> anyhow::Result<Option<Containers<'a>>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let Some(hierarchy) = hierarchy else {
        bail!("--container: no hierarchy of control groups is mounted here");
    };
    if !discovery.knows_names() {
        log.say(&Event::Remark(
            "--container: nobody is there to ask for names (Kubernetes, Docker, Podman, containerd), so ids alone are matched".to_owned(),
        ));
    }
    let mut containers = Containers::new(discovery, hierarchy, patterns)
        .with_context(|| format!("--container: cannot watch {}", hierarchy.path().display()))?;
    if containers.unwatched() > 0 {
        log.say(&Event::Remark(format!(
            "--container: {} control groups are not watched; raise fs.inotify.max_user_watches",
            containers.unwatched()
        )));
    }
    let found = containers.judged().into_iter();
    cgroups.extend(found.map(|group| (group.id, group.verdict.mark())));
    // Of the same number the last counts.
    cgroups.sort_by_key(|(_, mark)| *mark == process::EXCLUDED);
    Ok(Some(containers))
}

/// Selects otherwise from now on, among the processes that run too; who judges what the kernel side asks about.
///
/// # Errors
/// When a place does not exist, or only a new start can do it; then everything stays as it was.
pub fn reselect<'a>(
    options: &Options,
    discovery: &'a Discovery,
    probes: &mut Probes,
    log: &Log,
) -> anyhow::Result<Option<Judge<'a>>> {
    let selection = &options.selection;
    let root = options.host_root.0.as_path();
    let hierarchy = hierarchy(selection, root);
    if let Some(pid) = selection.pids.iter().find(|pid| !discovery.runs(**pid)) {
        bail!("there is no process {pid}");
    }
    let numbers = in_numbers(selection, root, hierarchy.as_ref(), discovery)?;
    probes.reselect(numbers.clone())?;
    for pid in discovery.pids_listening_on(&numbers.excluded_ports) {
        probes.judge(pid, process::EXCLUDED).context("cannot leave out")?;
    }
    select_listening(&numbers.ports, discovery, probes, log)?;
    let judge = judge(selection, &numbers, hierarchy, discovery);
    if let Some(judge) = &judge {
        judge.look(probes, log);
    }
    Ok(judge)
}

/// A selection by the numbers that the kernel has for what is named in it.
fn in_numbers(
    selection: &Selection,
    root: &Path,
    hierarchy: Option<&Hierarchy>,
    discovery: &Discovery,
) -> anyhow::Result<kernel::Selection> {
    let names = names(selection);
    Ok(kernel::Selection {
        all: selection.all,
        pids: selection.pids.clone(),
        excluded_pids: excluded(selection, discovery),
        ports: ports(&selection.ports),
        excluded_ports: ports(&selection.exclude_ports),
        cgroups: places::marked("cgroup", &selection.cgroups, &selection.exclude_cgroups, |name| {
            places::cgroup(name, hierarchy)
        })?,
        netns: places::marked("netns", &selection.netns, &selection.exclude_netns, |name| {
            places::netns(name, root)
        })?,
        asks: names.is_none(),
        names: names.unwrap_or_default(),
        containers: (!patterns(selection).is_empty())
            .then_some(Excludes(!selection.exclude_containers.is_empty())),
        of_containers: Vec::new(),
        controller: hierarchy.and_then(Hierarchy::controller).map(str::to_owned),
    })
}

/// The hierarchy of control groups that a selection is about.
fn hierarchy(selection: &Selection, root: &Path) -> Option<Hierarchy> {
    let all = Hierarchy::all(root);
    let names = selection.cgroups.iter().chain(&selection.exclude_cgroups);
    Hierarchy::with(&all, names, !patterns(selection).is_empty()).cloned()
}

/// The containers that a selection is about.
fn patterns(selection: &Selection) -> Patterns<'_> {
    Patterns {
        selected: &selection.containers,
        excluded: &selection.exclude_containers,
    }
}

/// Whoever begins to listen from here on is seen by the kernel side; whoever did before, here.
fn select_listening(
    ports: &[u16],
    discovery: &Discovery,
    probes: &mut Probes,
    log: &Log,
) -> anyhow::Result<()> {
    for pid in discovery.pids_listening_on(ports) {
        if probes.select(pid).context("cannot trace")? {
            log.say(&Event::Selected { pid });
        }
    }
    Ok(())
}

/// Who judges programs, if any rule is about them.
fn judge<'a>(
    selection: &Selection,
    numbers: &kernel::Selection,
    hierarchy: Option<Hierarchy>,
    discovery: &'a Discovery,
) -> Option<Judge<'a>> {
    let by_program = !(selection.exes.is_empty() && selection.exclude_exes.is_empty());
    by_program.then(|| {
        Judge::new(Rules {
            selection: selection.clone(),
            places: Places {
                all: selection.all,
                cgroups: [numbers.of_containers.as_slice(), &numbers.cgroups].concat(),
                netns: numbers.netns.clone(),
                hierarchy,
            },
            discovery,
            own: discovery.own_pid().unwrap_or_else(std::process::id),
        })
    })
}

/// The rules about programs and places, and who they are about.
struct Rules<'a> {
    selection: Selection,
    places: Places,
    discovery: &'a Discovery,
    /// The agent.
    own: u32,
}

impl Programs for Rules<'_> {
    fn verdict(&self, pid: u32) -> Verdict {
        let runs_one = |patterns| self.discovery.runs_exe(pid, patterns);
        if pid == self.own || runs_one(&self.selection.exclude_exes) {
            Verdict::Excluded
        } else if runs_one(&self.selection.exes) {
            Verdict::Selected
        } else {
            Verdict::Passed
        }
    }

    fn place(&self, pid: u32) -> Option<Verdict> {
        let cgroup = |controller: Option<&str>| self.discovery.cgroup(pid, controller);
        let netns = || self.discovery.netns(pid);
        let by_place = self.places.verdict(cgroup, netns)?;
        let patterns = Patterns {
            selected: &self.selection.containers,
            excluded: &self.selection.exclude_containers,
        };
        let of_containers = self
            .discovery
            .verdict_of_containers(pid, self.places.controller(), patterns)?;
        Some(by_place.and(of_containers))
    }

    fn inode(&self, pid: u32) -> Option<u64> {
        self.discovery.exe_inode(pid)
    }

    fn everyone(&self) -> Vec<u32> {
        self.discovery.pids()
    }
}

/// Rules by which the kernel side can judge every program by itself, if it can.
fn names(selection: &Selection) -> Option<Vec<NameRule>> {
    let of = |patterns: &[Glob], verdict| {
        let rules = patterns.iter().map(|glob| NameRule::new(glob.pattern(), verdict));
        rules.collect::<Option<Vec<_>>>()
    };
    let mut rules = of(&selection.exes, process::SELECTED)?;
    rules.extend(of(&selection.exclude_exes, process::EXCLUDED)?);
    (rules.len() <= glob::RULES as usize).then_some(rules)
}

/// Why better families were not taken, and the verifier's words.
fn say_refused(refused: &[Refusal], log: &Log) {
    for Refusal {
        family,
        reason,
        log: verifier,
    } in refused
    {
        let verifier = verifier.as_deref().unwrap_or_default();
        log.say(&Event::HooksRefused {
            why: format!("{family}: {reason}\n{verifier}").trim_end().to_owned(),
        });
    }
}

/// The hook families to try.
pub fn families(hooks: Hooks) -> Vec<Family> {
    match hooks {
        Hooks::Auto => Family::ALL.to_vec(),
        Hooks::Socket => vec![Family::Socket],
        Hooks::Kprobe => vec![Family::Kprobe],
        Hooks::Syscall => vec![Family::Syscall],
    }
}

/// The selection in words, for the log.
pub fn in_words(selection: &Selection) -> String {
    let mut words = Vec::new();
    if selection.all {
        words.push("every process".to_owned());
    }
    words.extend(selection.pids.iter().map(|pid| format!("process {pid}")));
    let ranges = selection.ports.ranges().iter();
    words.extend(ranges.map(|range| match (range.start(), range.end()) {
        (first, last) if first == last => format!("what listens on port {first}"),
        (first, last) => format!("what listens on ports {first}-{last}"),
    }));
    words.extend(
        selection
            .exes
            .iter()
            .map(|pattern| format!("programs like {}", pattern.pattern())),
    );
    words.extend(
        selection
            .cgroups
            .iter()
            .map(|name| format!("control group {name}")),
    );
    words.extend(
        selection
            .netns
            .iter()
            .map(|name| format!("network namespace {name}")),
    );
    let containers = selection.containers.iter();
    words.extend(containers.map(|pattern| format!("containers like {}", pattern.pattern())));
    words.join(", ")
}

fn ports(ports: &Ports) -> Vec<u16> {
    ports.ranges().iter().cloned().flatten().collect()
}

/// Who is to be left out from the first moment on.
fn excluded(selection: &Selection, discovery: &Discovery) -> Vec<u32> {
    let mut excluded = selection.exclude_pids.clone();
    if !selection.exclude_ports.is_empty() {
        excluded.extend(discovery.pids_listening_on(&ports(&selection.exclude_ports)));
    }
    if !selection.exclude_exes.is_empty() {
        let everyone = discovery.pids().into_iter();
        excluded.extend(everyone.filter(|pid| discovery.runs_exe(*pid, &selection.exclude_exes)));
    }
    excluded
}

/// A process that ended while the probes were attached would never be heard of.
fn still_there(
    selection: &Selection,
    command: Option<u32>,
    discovery: &Discovery,
    log: &Log,
) -> anyhow::Result<()> {
    let gone: Vec<_> = selection
        .pids
        .iter()
        .filter(|pid| !discovery.runs(**pid))
        .collect();
    let nothing_else = command.is_none() && !selection.may_grow();
    if let Some(pid) = gone.first()
        && nothing_else
        && gone.len() == selection.pids.len()
    {
        bail!("process {pid} ended while the agent started: there is nothing left to trace");
    }
    gone.iter().for_each(|pid| {
        log.say(&Event::Remark(format!(
            "process {pid} ended while the agent started"
        )))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Level;

    #[test]
    fn a_process_that_ends_while_the_agent_starts_is_told_and_alone_an_error() {
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        let dead_pid = dead.id();
        dead.wait().unwrap();
        let of = |pids: &[u32]| Selection {
            pids: pids.to_vec(),
            ..Selection::default()
        };
        let discovery = Discovery::new("/proc".into());
        let log = Log::new(Level::Error, std::io::sink());
        let check = |selection, command| still_there(&selection, command, &discovery, &log);
        let own = std::process::id();
        assert!(check(of(&[own]), None).is_ok());
        assert!(check(of(&[dead_pid, own]), None).is_ok());
        assert!(check(of(&[dead_pid]), Some(own)).is_ok());
        let error = check(of(&[dead_pid]), None).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("process {dead_pid} ended while the agent started: there is nothing left to trace")
        );
    }
}
