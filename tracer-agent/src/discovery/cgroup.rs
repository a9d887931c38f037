//! What the control groups of a process tell: the container, the pod and the systemd unit it runs in.

/// What was found in `/proc/PID/cgroup`, hierarchy version 1 or 2.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    /// `container.id`: 64 hexadecimal digits.
    pub container_id: Option<String>,
    /// `k8s.pod.uid`
    pub pod_uid: Option<String>,
    /// Name of the systemd service without its suffix.
    pub unit: Option<String>,
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
            for segment in path.split('/') {
                // Containers nest (docker in docker): the innermost is the one the process sees.
                if let Some(id) = container_id(segment) {
                    found.container_id = Some(id.to_owned());
                }
                if let Some(uid) = pod_uid(segment) {
                    found.pod_uid = Some(uid);
                }
            }
            // systemd places units in the unified hierarchy or in its own named one.
            if matches!(controllers, "" | "name=systemd") && found.unit.is_none() {
                found.unit = unit(path);
            }
        }
        if found.container_id.is_some() || found.pod_uid.is_some() {
            // Around a container stands the unit of its runtime, which is not the service.
            found.unit = None;
        }
        found
    }
}

/// The path in the unified hierarchy.
pub(super) fn unified(cgroups: &[u8]) -> Option<String> {
    let text = str::from_utf8(cgroups).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

/// `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`…
fn container_id(segment: &str) -> Option<&str> {
    let scope = segment.strip_suffix(".scope").unwrap_or(segment);
    // containerd without systemd: `kubepods-…slice:cri-containerd:<id>`
    let id = scope.rsplit(['-', ':']).next()?;
    is_hex(id, 64).then_some(id)
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
                prop_assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }
}
