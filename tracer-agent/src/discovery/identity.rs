//! What a process is: the first that is known of the list in linking.md, "Service identity".

use std::path::Path;

use serde::Deserialize;

use super::{
    Discovery, Glob,
    catalog::Place,
    cgroup::Membership,
    containment::Containment,
    environment::Environment,
    kubernetes::Workload,
    proc::Proc,
    program::{Program, ProgramName},
    text, text_attribute,
};
use crate::capture::input::{AttributeValue, ProcessInfo};

/// A name that configuration gives to the processes that match all of its patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// Over the path of the executable.
    pub exe: Option<Glob>,
    /// Over the command line, its arguments joined by spaces.
    pub command: Option<Glob>,
    /// The service they are.
    pub name: String,
}

impl NameRule {
    fn matches(&self, exe: Option<&str>, argv: &[String]) -> bool {
        let exe_matches = self
            .exe
            .as_ref()
            .is_none_or(|glob| exe.is_some_and(|exe| glob.matches_path(exe)));
        let command_matches = || {
            self.command
                .as_ref()
                .is_none_or(|glob| glob.matches(&argv.join(" ")))
        };
        (self.exe.is_some() || self.command.is_some()) && exe_matches && command_matches()
    }
}

/// Steps from a process to its parent for a name; workers are children of what started them.
const PARENTS_MAX: u32 = 3;
/// Folders above a script that are searched for its package.
const FOLDERS_MAX: usize = 16;
/// Bytes of a `package.json` that are read.
const PACKAGE_MAX: usize = 64 * 1024;

pub(super) fn look_up(discovery: &Discovery, pid: u32, comm_hint: &str) -> ProcessInfo {
    let proc = &discovery.proc;
    let comm = proc
        .read(pid, "comm", Proc::SMALL_MAX)
        .and_then(|comm| text::non_empty(&String::from_utf8_lossy(&comm)))
        .unwrap_or_else(|| text::clean(comm_hint));
    let exe = proc.exe(pid);
    let argv = command_line(proc, pid);
    let environment = proc
        .read(pid, "environ", Proc::ENVIRONMENT_MAX)
        .map(|environ| Environment::parse(&environ))
        .unwrap_or_default();
    let cgroups = proc.read(pid, "cgroup", Proc::SMALL_MAX).unwrap_or_default();
    let membership = Membership::parse(&cgroups);
    let contained = contained(discovery, pid, &membership);
    // What the agent runs in as well (a unit of CI, the pod of a sidecar) tells its processes apart no more.
    let is_shared = discovery.own_cgroups.as_ref() == Some(&cgroups);
    let is_pod_known = contained.facts.iter().any(|(key, _)| key == "k8s.pod.name");
    let pod = environment
        .hostname
        .as_deref()
        // A pod on the host's network has the host's name instead.
        .filter(|name| membership.pod_uid.is_some() && !same_host(name, &discovery.host_name))
        // The API knows better than a variable that any program may change.
        .filter(|_| !is_pod_known);
    let workload = pod.map(Workload::of_pod);
    let program = Program::identify(exe.as_deref(), &argv);

    let service_name = discovery
        .rules
        .iter()
        .find(|rule| rule.matches(exe.as_deref(), &argv))
        .map(|rule| rule.name.clone())
        .or(environment.service_name)
        .or_else(|| contained.service.filter(|_| !is_shared))
        .or_else(|| Some(workload.as_ref().filter(|_| !is_shared)?.name.to_owned()))
        .or_else(|| membership.unit.filter(|_| !is_shared))
        .or_else(|| program_name(proc, pid, program.as_ref()?, PARENTS_MAX))
        .or_else(|| text::non_empty(&comm))
        .unwrap_or_else(|| "unknown_service".to_owned());

    let mut resource = vec![("process.pid".to_owned(), AttributeValue::Int(i64::from(pid)))];
    if let Some(exe) = &exe {
        resource.extend(text::file_name(exe).map(|name| text_attribute("process.executable.name", name)));
        resource.push(text_attribute("process.executable.path", exe));
    }
    resource.extend(
        program
            .and_then(|program| program.runtime)
            .map(|runtime| text_attribute("process.runtime.name", runtime)),
    );
    resource.extend(contained.facts);
    resource.extend(pod.map(|name| text_attribute("k8s.pod.name", name)));
    resource.extend(workload.and_then(|workload| Some(text_attribute(workload.attribute?, workload.name))));
    let own = environment.attributes.into_iter();
    let own = own.map(|(key, value)| (key, AttributeValue::Text(value.into())));
    // What was seen stands, whatever a variable handed down from another process says; what that says stands before what its pod says.
    for (key, value) in own.chain(contained.claims) {
        if !key.starts_with("telemetry.") && resource.iter().all(|(known, _)| *known != key) {
            resource.push((key, value));
        }
    }
    ProcessInfo {
        pid,
        comm,
        exe,
        has_goroutines: discovery.go(pid).is_some(),
        service_name,
        resource,
    }
}

/// What the place of a process tells of it; where that may be more later, it is waited for.
fn contained(discovery: &Discovery, pid: u32, membership: &Membership) -> Containment {
    let Some(catalog) = &discovery.catalog else {
        return Containment::of(membership, &Place::default(), discovery.labels);
    };
    let place = catalog.find(membership);
    let contained = Containment::of(membership, &place, discovery.labels);
    if contained.is_open {
        discovery.awaiting.begin(pid, membership.clone(), place, catalog);
    } else {
        discovery.awaiting.end(pid);
    }
    contained
}

/// The arguments within the bound; an argument that the bound cuts is left out.
fn command_line(proc: &Proc, pid: u32) -> Vec<String> {
    let bytes = proc
        .read(pid, "cmdline", Proc::COMMAND_LINE_MAX)
        .unwrap_or_default();
    let whole = if bytes.len() == Proc::COMMAND_LINE_MAX {
        bytes.rsplitn(2, |byte| *byte == 0).nth(1).unwrap_or_default()
    } else {
        &bytes
    };
    let mut argv: Vec<String> = whole
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    // Each argument ends with a zero, and a title that was written over them leaves more of them.
    while argv.last().is_some_and(String::is_empty) {
        argv.pop();
    }
    argv
}

fn same_host(one: &str, other: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    label(one) == label(other)
}

fn program_name(proc: &Proc, pid: u32, program: &Program, parents_left: u32) -> Option<String> {
    let name = match &program.name {
        ProgramName::Known(name) => Some(name.clone()),
        ProgramName::Package { script } => package_name(proc, pid, script.as_deref()),
        ProgramName::Folder { script } => proc
            .link(pid, "cwd")
            .and_then(|cwd| folder_name(&cwd, script.as_deref())),
        ProgramName::OfParent => parents_left.checked_sub(1).and_then(|left| {
            let parent = proc.parent(pid)?;
            let program = Program::identify(proc.exe(parent).as_deref(), &command_line(proc, parent))?;
            program_name(proc, parent, &program, left)
        }),
    };
    name.and_then(|name| text::non_empty(&name))
        .or_else(|| text::non_empty(&program.fallback))
}

/// The part of a `package.json` that names its package.
#[derive(Deserialize)]
struct Package {
    name: Option<String>,
}

/// The name of the nearest package above the script, else the folder the script is in.
fn package_name(proc: &Proc, pid: u32, script: Option<&str>) -> Option<String> {
    let cwd = proc.link(pid, "cwd")?;
    // A tool that was installed runs the package it was called in.
    let script = script.filter(|script| !script.split('/').any(|part| part == "node_modules"));
    // The script may be a folder itself: `node .`
    let start = script.map_or_else(|| cwd.clone(), |script| absolute(&cwd, script));
    let named = Path::new(&start)
        .ancestors()
        .take(FOLDERS_MAX)
        .find_map(|folder| {
            let path = folder.join("package.json");
            let json = proc.read_in_root_of(pid, path.to_str()?, PACKAGE_MAX)?;
            let package: Package = serde_json::from_slice(&json).ok()?;
            text::non_empty(&package.name?)
        });
    named.or_else(|| folder_name(&cwd, script))
}

/// The name of the folder around the script, or of the working folder; past those that only hold code.
fn folder_name(cwd: &str, script: Option<&str>) -> Option<String> {
    let says_something = |name: &&str| !matches!(*name, "src" | "dist" | "build" | "lib" | "bin" | "out");
    let path = script.map_or_else(|| cwd.to_owned(), |script| absolute(cwd, script));
    let path = Path::new(&path);
    let is_file = script.is_some_and(|script| text::file_name(script).is_some());
    let folder = if is_file { path.parent()? } else { path };
    folder
        .ancestors()
        .filter_map(|folder| folder.file_name()?.to_str())
        .find(says_something)
        .map(ToOwned::to_owned)
}

/// The path without `.` and `..`, read as text: links are not followed.
fn absolute(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{cwd}/{path}")
    };
    let mut parts = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            named => parts.push(named),
        }
    }
    format!("/{}", parts.join("/"))
}
