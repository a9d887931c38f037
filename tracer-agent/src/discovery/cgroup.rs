//! What the control groups of a process tell: the container, its runtime, the pod and the systemd unit it runs in.
//!
//! In: the text of `/proc/PID/cgroup`, or a path below a hierarchy. Out: ids and names as they stand there. Kept true: paths
//! are read from the inside, so it does not matter where the reader's own root of the hierarchy is (`/../..`).

use super::text;

/// What was found in `/proc/PID/cgroup`, hierarchy version 1 or 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// `container.id`: 64 hexadecimal digits, or what ECS on Fargate gives in their place.
    pub container_id: Option<String>,
    /// `container.name`, of runtimes that name their control groups by it.
    pub container_name: Option<String>,
    /// `container.runtime.name`, where the path tells.
    pub runtime: Option<&'static str>,
    /// `k8s.pod.uid`
    pub pod_uid: Option<String>,
    /// Name of the systemd service without its suffix.
    pub unit: Option<String>,
}

/// A container, as the name of a control group tells of it.
#[derive(Debug, PartialEq, Eq)]
enum Container<'a> {
    Id(&'a str, Option<&'static str>),
    Name(String, &'static str),
}

impl Membership {
    /// Reads `hierarchy:controllers:path` lines; what is not one is passed over.
    pub(super) fn parse(cgroups: &[u8]) -> Self {
        let text = String::from_utf8_lossy(cgroups);
        let mut found = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            found.walk(path);
            // systemd places units in the unified hierarchy or in its own named one.
            if matches!(controllers, "" | "name=systemd") && found.unit.is_none() {
                found.unit = unit(path);
            }
        }
        if found.is_contained() || found.pod_uid.is_some() {
            // Around a container stands the unit of its runtime, which is not the service.
            found.unit = None;
        }
        found
    }

    /// What one path tells of containers and pods.
    pub(super) fn of_path(path: &str) -> Self {
        let mut found = Self::default();
        found.walk(path);
        found
    }

    /// The process is in a container.
    pub(super) fn is_contained(&self) -> bool {
        self.container_id.is_some() || self.container_name.is_some()
    }

    fn walk(&mut self, path: &str) {
        let mut above = "";
        for segment in path.split('/') {
            // Containers nest (docker in docker): the innermost is the one the process sees.
            match container(above, segment) {
                Some(Container::Id(id, runtime)) => {
                    let is_new = self.container_id.as_deref() != Some(id);
                    self.container_id = Some(id.to_owned());
                    self.runtime = runtime.or(self.runtime.filter(|_| !is_new));
                    self.container_name = self.container_name.take().filter(|_| !is_new);
                }
                Some(Container::Name(name, runtime)) => {
                    self.container_id = None;
                    self.container_name = Some(name);
                    self.runtime = Some(runtime);
                }
                None => {}
            }
            if let Some(uid) = pod_uid(segment) {
                self.pod_uid = Some(uid);
            }
            above = segment;
        }
    }
}

/// The path in the hierarchy of this controller, in the unified one if it is `None`.
pub(super) fn path(cgroups: &[u8], controller: Option<&str>) -> Option<String> {
    let text = str::from_utf8(cgroups).ok()?;
    let found = text.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match controller {
            None => number == "0" && controllers.is_empty(),
            Some(controller) => controllers.split(',').any(|one| one == controller),
        };
        is_it.then_some(path)
    });
    found.map(str::to_owned)
}

/// `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`, `lxc.payload.<name>`,
/// `machine-<name>.scope`…, below the group `above`.
fn container<'a>(above: &str, segment: &'a str) -> Option<Container<'a>> {
    if let Some(name) = machine(above, segment) {
        return Some(name);
    }
    let scope = segment.strip_suffix(".scope").unwrap_or(segment);
    // containerd without systemd: `kubepods-…slice:cri-containerd:<id>`
    let id = scope.rsplit(['-', ':']).next()?;
    if !is_hex(id, 64) {
        return is_task_of_fargate(segment).then_some(Container::Id(segment, None));
    }
    let made_by = scope.strip_suffix(id)?.trim_end_matches(['-', ':']);
    let made_by = made_by.rsplit(':').next().unwrap_or_default();
    let runtime = match made_by {
        // The monitor of a container runs beside it.
        "crio-conmon" | "libpod-conmon" => return None,
        "docker" => Some("docker"),
        "cri-containerd" | "nerdctl" => Some("containerd"),
        "crio" => Some("cri-o"),
        "libpod" => Some("podman"),
        "" if above == "docker" => Some("docker"),
        "" if above == "libpod_parent" => Some("podman"),
        _ => None,
    };
    Some(Container::Id(id, runtime))
}

/// Containers that are known by name: LXC, and systemd's own (`systemd-nspawn`, `machinectl`).
fn machine<'a>(above: &str, segment: &str) -> Option<Container<'a>> {
    let named = |name: &str, runtime| {
        let name = text::non_empty(&unescaped(name))?;
        Some(Container::Name(name, runtime))
    };
    if let Some(name) = segment.strip_prefix("lxc.payload.") {
        return named(name, "lxc");
    }
    if above == "lxc" {
        return named(segment, "lxc");
    }
    let by_unit = segment
        .strip_prefix("systemd-nspawn@")
        .and_then(|rest| rest.strip_suffix(".service"));
    let by_scope = segment
        .strip_prefix("machine-")
        .and_then(|rest| rest.strip_suffix(".scope"))
        // Virtual machines of libvirt are machines too.
        .filter(|name| !name.starts_with(r"qemu\x2d") && !name.starts_with(r"lxc\x2d"));
    named(by_unit.or(by_scope)?, "systemd-nspawn")
}

/// A name without the escapes of systemd's units: `\x2d` is a dash.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = || {
            let digits = tail.strip_prefix(b"x")?.get(..2)?;
            u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
        };
        match (first, escaped()) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `<32 hexadecimal digits of the task>-<number>`, as ECS calls the containers of Fargate.
fn is_task_of_fargate(segment: &str) -> bool {
    segment.split_once('-').is_some_and(|(task, number)| {
        is_hex(task, 32) && number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `pod<uid>`, or `kubepods-burstable-pod<uid with underscores>.slice` where systemd made it.
fn pod_uid(segment: &str) -> Option<String> {
    let slice = segment.strip_suffix(".slice").unwrap_or(segment);
    let uid = match slice.strip_prefix("kubepods-") {
        Some(rest) => rest.rsplit('-').next()?.strip_prefix("pod")?,
        None => slice.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() == 36 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    // Pods from a file on the node have a hash for an id.
    (is_uid || is_hex(&uid, 32)).then_some(uid)
}

/// The innermost service, unless a scope inside it took the process over (a session, a container).
fn unit(path: &str) -> Option<String> {
    let mut unit = None;
    for segment in path.split('/') {
        if let Some(service) = segment.strip_suffix(".service") {
            // `user@1000.service` is a user's own systemd, around everything that user runs.
            unit = Some(service).filter(|service| !service.starts_with("user@") && !service.is_empty());
        } else if segment.ends_with(".scope") {
            unit = None;
        }
    }
    unit.map(ToOwned::to_owned)
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Membership;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "a1b2c3d4-0000-1111-2222-333344445555";

    fn parse(line: &str) -> Membership {
        Membership::parse(line.as_bytes())
    }

    #[test]
    fn every_runtime_writes_the_container_id_in_its_own_way() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("0::/docker/{ID}"),
            format!("4:memory:/docker/{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/kubepods/besteffort/pod{UID}/{ID}"),
            format!("0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}"),
            format!("0::/../cri-containerd-{ID}.scope"),
        ] {
            let found = parse(&path);
            assert_eq!(found.container_id.as_deref(), Some(ID), "{path}");
            assert_eq!(found.unit, None, "{path}");
        }
    }

    #[test]
    fn a_process_has_a_path_in_each_hierarchy() {
        let groups = b"5:cpu,cpuacct:/docker/1\n4:name=systemd:/x\n0::/a:b\n";
        for (controller, found) in [
            (None, Some("/a:b")),
            (Some("cpuacct"), Some("/docker/1")),
            (Some("pids"), None),
        ] {
            assert_eq!(super::path(groups, controller).as_deref(), found);
        }
    }

    #[test]
    fn the_path_tells_the_runtime_where_it_does() {
        for (path, runtime) in [
            (format!("/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("/docker/{ID}"), Some("docker")),
            (format!("/../../docker/{ID}/init.scope"), Some("docker")),
            (
                format!("/kubepods.slice/kubepods-pod{UID}.slice/cri-containerd-{ID}.scope"),
                Some("containerd"),
            ),
            (
                format!("/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}"),
                Some("containerd"),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{UID}.slice/crio-{ID}.scope/container"),
                Some("cri-o"),
            ),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"
                ),
                Some("podman"),
            ),
            (format!("/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("/ecs/b9c1/{ID}"), None),
            (format!("/kubepods/burstable/pod{UID}/{ID}"), None),
        ] {
            let found = Membership::of_path(&path);
            assert_eq!(
                (found.container_id.as_deref(), found.runtime),
                (Some(ID), runtime),
                "{path}"
            );
        }
    }

    #[test]
    fn the_monitor_of_a_container_is_not_in_it() {
        for made_by in ["crio-conmon", "libpod-conmon"] {
            let path = format!("/kubepods.slice/kubepods-pod{UID}.slice/{made_by}-{ID}.scope");
            assert_eq!(Membership::of_path(&path).container_id, None, "{path}");
        }
    }

    #[test]
    fn fargate_has_ids_of_its_own() {
        let id = "8f03e41243824aea923aca126495f665-3531699458";
        let found = Membership::of_path(&format!("/ecs/8f03e41243824aea923aca126495f665/{id}"));
        assert_eq!(found.container_id.as_deref(), Some(id));
    }

    #[test]
    fn machines_have_names_and_virtual_ones_are_no_containers() {
        for (path, found) in [
            (
                "0::/machine.slice/machine-web\\x2d1.scope/payload",
                Some(("web-1", "systemd-nspawn")),
            ),
            (
                "0::/machine.slice/systemd-nspawn@db.service/payload",
                Some(("db", "systemd-nspawn")),
            ),
            (
                "0::/lxc.payload.shop/system.slice/nginx.service",
                Some(("shop", "lxc")),
            ),
            ("4:cpu:/lxc/shop", Some(("shop", "lxc"))),
            ("0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt", None),
            (
                "0::/machine.slice/machine-\\xzz.scope",
                Some(("\\xzz", "systemd-nspawn")),
            ),
        ] {
            let membership = parse(path);
            let name = membership.container_name.as_deref().zip(membership.runtime);
            assert_eq!(name, found, "{path}");
        }
        let inner = Membership::of_path(&format!("/lxc.payload.shop/docker/{ID}"));
        assert_eq!(
            (inner.container_id.as_deref(), inner.container_name),
            (Some(ID), None)
        );
    }

    #[test]
    fn the_innermost_container_counts() {
        let outer = ID.replace('0', "f");
        let found = parse(&format!("0::/docker/{outer}/docker/{ID}"));
        assert_eq!(found.container_id.as_deref(), Some(ID));
    }

    #[test]
    fn a_pod_is_known_by_both_drivers() {
        let systemd = format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
            UID.replace('-', "_")
        );
        let guaranteed = format!(
            "0::/kubepods.slice/kubepods-pod{}.slice/crio-{ID}.scope",
            UID.replace('-', "_")
        );
        let cgroupfs = format!("0::/kubepods/burstable/pod{UID}/{ID}");
        for path in [systemd, guaranteed, cgroupfs] {
            assert_eq!(parse(&path).pod_uid.as_deref(), Some(UID), "{path}");
        }
    }

    #[test]
    fn a_unit_names_a_service_and_a_session_does_not() {
        for (path, unit) in [
            ("0::/system.slice/nginx.service", Some("nginx")),
            ("1:name=systemd:/system.slice/nginx.service", Some("nginx")),
            ("5:devices:/system.slice/nginx.service", None),
            ("0::/system.slice/shop.service/worker", Some("shop")),
            (
                "0::/system.slice/system-postgresql.slice/postgresql@15-main.service",
                Some("postgresql@15-main"),
            ),
            ("0::/user.slice/user-1000.slice/session-3.scope", None),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/init.scope",
                None,
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service",
                Some("shop"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-term-1.scope",
                None,
            ),
            ("0::/", None),
            ("0::/init.scope", None),
            ("0::/system.slice/.service", None),
        ] {
            assert_eq!(parse(path).unit.as_deref(), unit, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_reads_an_id_is_hexadecimal(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(id) = Membership::parse(&bytes).container_id {
                let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
                prop_assert!(id.len() >= 41 && id.bytes().all(is_id));
            }
        }
    }
}
