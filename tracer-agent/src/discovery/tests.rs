//! Whole look-ups over made-up `/proc` trees, and one over the real one.

use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    Discovery, Glob, Labels, NameRule,
    catalog::Catalog,
    cgroup::Membership,
    docker::{Described, OfPod},
    kubernetes::Pod,
};
use crate::capture::input::{AttributeValue, ProcessInfo};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "a1b2c3d4-0000-1111-2222-333344445555";

/// A `/proc` in a folder.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn proc(&self) -> PathBuf {
        self.0.path().join("proc")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.proc().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A file below what a process has as its root.
    fn write_inside(&self, pid: u32, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.write(&inside(pid, path), content)
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.proc().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A process with this executable and command line.
    fn process(&self, pid: u32, exe: &str, argv: &[&str]) -> &Self {
        let cmdline: String = argv.iter().flat_map(|argument| [argument, "\0"]).collect();
        self.link(&format!("{pid}/exe"), exe)
            .write(&format!("{pid}/cmdline"), cmdline)
            .write(&format!("{pid}/comm"), format!("comm-{pid}\n"))
            .write(&format!("{pid}/stat"), format!("{pid} (a) b) S 1 0 0"))
    }

    fn discovery(&self) -> Discovery {
        Discovery::new(self.proc())
    }

    fn lookup(&self, pid: u32) -> ProcessInfo {
        self.discovery().lookup(pid, "hint")
    }
}

/// A path below what a process has as its root.
fn inside(pid: u32, path: &str) -> String {
    let root = PathBuf::from(pid.to_string()).join("root");
    root.join(path).display().to_string()
}

fn attribute<'a>(process: &'a ProcessInfo, key: &str) -> Option<&'a str> {
    process.resource.iter().find_map(|(known, value)| match value {
        AttributeValue::Text(text) if known == key => Some(&**text),
        _ => None,
    })
}

fn pod_cgroup() -> String {
    format!("0::/kubepods/besteffort/pod{POD}/{CONTAINER}\n")
}

#[test]
fn the_first_that_is_known_names_the_service() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"]);
    assert_eq!(tree.lookup(7).service_name, "app");
    tree.write("7/cgroup", "0::/system.slice/shop.service\n");
    assert_eq!(tree.lookup(7).service_name, "shop");
    tree.write("7/cgroup", pod_cgroup())
        .write("7/environ", "HOSTNAME=orders-6d4cf56db6-x7k2p\0");
    assert_eq!(tree.lookup(7).service_name, "orders");
    tree.write(
        "7/environ",
        "OTEL_RESOURCE_ATTRIBUTES=service.name=by-attribute\0",
    );
    assert_eq!(tree.lookup(7).service_name, "by-attribute");
    tree.write(
        "7/environ",
        "OTEL_RESOURCE_ATTRIBUTES=service.name=x\0OTEL_SERVICE_NAME=by-variable\0",
    );
    assert_eq!(tree.lookup(7).service_name, "by-variable");
    let rules = vec![
        NameRule {
            exe: Some(Glob::new("nginx")),
            command: None,
            name: "other".to_owned(),
        },
        NameRule {
            exe: Some(Glob::new("python*")),
            command: Some(Glob::new("*app.py")),
            name: "by-rule".to_owned(),
        },
    ];
    assert_eq!(
        tree.discovery().with_rules(rules).lookup(7, "").service_name,
        "by-rule"
    );
}

#[test]
fn a_rule_without_patterns_matches_nothing() {
    let tree = Tree::new();
    tree.process(7, "/opt/shop", &["shop"]);
    let rules = vec![NameRule {
        exe: None,
        command: None,
        name: "all".to_owned(),
    }];
    assert_eq!(
        tree.discovery().with_rules(rules).lookup(7, "").service_name,
        "shop"
    );
}

#[test]
fn the_resource_tells_what_is_known_and_never_an_argument() {
    let tree = Tree::new();
    tree.process(
        7,
        "/usr/bin/python3.11 (deleted)",
        &["python3", "app.py", "--password=hunter2"],
    )
    .write("7/cgroup", pod_cgroup())
    .write(
        "7/environ",
        "SECRET=hunter2\0HOSTNAME=orders-6d4cf56db6-x7k2p\0\
             OTEL_RESOURCE_ATTRIBUTES=service.version=1.2,process.pid=1,telemetry.sdk.name=x\0",
    );
    let found = tree.lookup(7);
    assert_eq!(found.comm, "comm-7");
    assert_eq!(found.exe.as_deref(), Some("/usr/bin/python3.11"));
    assert!(!format!("{found:?}").contains("hunter2"));
    let text = |key: &str, value: &str| (key.to_owned(), AttributeValue::Text(value.to_owned().into()));
    let expected = [
        ("process.pid".to_owned(), AttributeValue::Int(7)),
        text("process.executable.name", "python3.11"),
        text("process.executable.path", "/usr/bin/python3.11"),
        text("process.runtime.name", "cpython"),
        text("container.id", CONTAINER),
        text("k8s.pod.uid", POD),
        text("k8s.pod.name", "orders-6d4cf56db6-x7k2p"),
        text("k8s.deployment.name", "orders"),
        text("service.version", "1.2"),
    ];
    assert_eq!(found.resource, expected);
}

#[test]
fn a_process_that_is_gone_is_called_as_the_kernel_called_it() {
    let found = Tree::new().discovery().lookup(7, "curl");
    assert_eq!(
        (found.comm.as_str(), found.service_name.as_str()),
        ("curl", "curl")
    );
    assert_eq!(
        found.resource,
        [("process.pid".to_owned(), AttributeValue::Int(7))]
    );
    assert_eq!(
        Tree::new().discovery().lookup(7, "").service_name,
        "unknown_service"
    );
}

#[test]
fn a_kernel_thread_is_called_by_its_comm() {
    let tree = Tree::new();
    tree.write("7/comm", "kworker/0:1\n").write("7/cmdline", "");
    assert_eq!(tree.lookup(7).service_name, "kworker/0:1");
}

#[test]
fn what_the_agent_runs_in_too_names_nothing() {
    let tree = Tree::new();
    let unit = "0::/system.slice/ci-runner.service\n";
    tree.process(7, "/opt/shop", &["shop"])
        .write("7/cgroup", unit)
        .write("self/cgroup", unit);
    assert_eq!(tree.lookup(7).service_name, "shop");
}

#[test]
fn a_pod_on_the_host_network_is_not_called_like_the_host() {
    let tree = Tree::new();
    tree.process(7, "/opt/shop", &["shop"])
        .write("7/cgroup", pod_cgroup())
        .write("7/environ", "HOSTNAME=node-1\0")
        .write_inside(1, "etc/hostname", "node-1.example.org\n");
    let found = tree.lookup(7);
    assert_eq!(found.service_name, "shop");
    assert_eq!(attribute(&found, "k8s.pod.name"), None);
}

#[test]
fn node_is_called_by_the_nearest_package_that_has_a_name() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/node", &["node", "dist/../dist/server.js"])
        .link("7/cwd", "/srv/shop")
        .write_inside(7, "srv/shop/package.json", r#"{"name":"@acme/shop"}"#)
        .write_inside(7, "srv/shop/dist/package.json", r#"{"type":"module"}"#);
    assert_eq!(tree.lookup(7).service_name, "@acme/shop");
}

#[test]
fn node_without_a_package_is_called_by_its_folder() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/node", &["node", "dist/server.js"])
        .link("7/cwd", "/srv/shop");
    assert_eq!(tree.lookup(7).service_name, "shop");
    tree.write_inside(7, "srv/shop/package.json", "not json");
    assert_eq!(tree.lookup(7).service_name, "shop");
    tree.process(8, "/usr/bin/node", &["node", "/server.js"])
        .link("8/cwd", "/");
    assert_eq!(tree.lookup(8).service_name, "node");
    tree.process(9, "/usr/bin/node", &["node", "/srv/shop/node_modules/.bin/next"])
        .link("9/cwd", "/srv/web");
    assert_eq!(tree.lookup(9).service_name, "web");
}

#[test]
fn a_package_file_that_is_a_link_or_a_pipe_is_not_read() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/node", &["node", "server.js"])
        .link("7/cwd", "/srv/shop")
        .write("elsewhere.json", r#"{"name":"elsewhere"}"#)
        .write_inside(7, "srv/shop/server.js", "")
        .link(
            &inside(7, "srv/shop/package.json"),
            tree.proc().join("elsewhere.json").to_str().unwrap(),
        );
    assert_eq!(tree.lookup(7).service_name, "shop");
}

#[test]
fn a_worker_is_called_like_the_program_that_started_it() {
    let tree = Tree::new();
    let worker = [
        "python",
        "-c",
        "from multiprocessing.spawn import spawn_main",
        "--multiprocessing-fork",
    ];
    tree.process(
        7,
        "/usr/bin/python3",
        &["python", "-m", "uvicorn", "shop.main:app"],
    )
    .process(8, "/usr/bin/python3", &worker)
    .write("8/stat", "8 (python) S 7 0 0")
    .process(9, "/usr/bin/python3", &worker)
    .write("9/stat", "9 (python) S 9 0 0");
    assert_eq!(tree.lookup(8).service_name, "shop.main");
    assert_eq!(
        tree.lookup(9).service_name,
        "python",
        "a process that is its own parent ends the search"
    );
}

#[test]
fn the_host_is_described_from_its_own_root() {
    let tree = Tree::new();
    let id = "0123456789abcdef0123456789abcdef";
    tree.write_inside(1, "etc/machine-id", format!("{id}\n"))
        .write_inside(1, "etc/hostname", "node-1\n")
        .write("sys/kernel/hostname", "agent-pod\n")
        .write("sys/kernel/osrelease", "6.12.0\n");
    let host = tree.discovery().host();
    assert_eq!(host.host_name, "node-1");
    assert_eq!(host.host_id.as_deref(), Some(id));
    assert_eq!(
        (host.os_type.as_str(), host.os_version.as_str()),
        ("linux", "6.12.0")
    );
    tree.link("self/ns/uts", "uts:[1]").link("1/ns/uts", "uts:[1]");
    assert_eq!(
        tree.discovery().host().host_name,
        "agent-pod",
        "the kernel's name counts where it is the host's"
    );
    tree.write_inside(1, "etc/machine-id", "uninitialized\n");
    assert_eq!(tree.discovery().host().host_id, None);
}

#[test]
fn a_port_selects_whoever_holds_its_socket_in_any_namespace() {
    let tree = Tree::new();
    let table = |port: &str, inode: u32| {
        format!(
            "  sl  local_address rem_address   st\n   0: 0100007F:{port} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n"
        )
    };
    tree.link("5/ns/net", "net:[1]")
        .write("5/net/tcp", table("1F90", 100))
        .link("5/fd/3", "socket:[100]")
        .link("6/ns/net", "net:[1]")
        .link("6/fd/9", "socket:[100]")
        .link("7/ns/net", "net:[2]")
        .write("7/net/tcp6", table("1F90", 200))
        .link("7/fd/3", "socket:[200]")
        .link("8/ns/net", "net:[2]")
        .link("8/fd/3", "socket:[100000]")
        .link("8/fd/4", "/dev/null");
    assert_eq!(tree.discovery().pids_listening_on(&[8080]), [5, 6, 7]);
    assert!(tree.discovery().pids_listening_on(&[80]).is_empty());
}

#[test]
fn descendants_are_found_through_every_generation() {
    let tree = Tree::new();
    for (pid, parent) in [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 9)] {
        tree.write(&format!("{pid}/stat"), format!("{pid} (x) S {parent} 0"));
    }
    assert_eq!(tree.discovery().children_of(5), [6, 7]);
    assert!(tree.discovery().children_of(7).is_empty());
    assert!(tree.discovery().children_of(9).is_empty());
}

#[test]
fn an_executable_selects_all_who_run_it() {
    let tree = Tree::new();
    tree.process(5, "/opt/shop/gateway", &["x"])
        .process(6, "/opt/shop/gateway (deleted)", &["x"]);
    tree.process(7, "/opt/shop/orders", &["x"]);
    let running = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|pattern| Glob::new(*pattern)).collect();
        let mut pids = tree.discovery().pids();
        pids.retain(|pid| tree.discovery().runs_exe(*pid, &patterns));
        pids.sort_unstable();
        pids
    };
    assert_eq!(running(&["gateway"]), [5, 6]);
    assert_eq!(running(&["/opt/*"]), [5, 6, 7]);
    assert_eq!(running(&["none", "orders"]), [7]);
    assert!(running(&[]).is_empty());
}

#[test]
fn an_argument_that_the_bound_cuts_is_not_a_name() {
    let tree = Tree::new();
    let long = format!("-X{}", "x".repeat(40_000));
    tree.process(7, "/usr/bin/python3", &["python", &long, "app.py"]);
    assert_eq!(tree.lookup(7).service_name, "python");
}

#[test]
fn the_real_proc_knows_this_process() {
    let discovery = Discovery::new(PathBuf::from("/proc"));
    let pid = std::process::id();
    let found = discovery.lookup(pid, "");
    let exe = std::env::current_exe().unwrap();
    assert_eq!(found.exe.as_deref(), exe.to_str());
    assert_eq!(
        attribute(&found, "process.executable.name"),
        exe.file_name().unwrap().to_str()
    );
    assert!(discovery.runs(pid));
    assert!(!discovery.runs(u32::MAX));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(discovery.pids_listening_on(&[port]), [pid]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a duration is what is tested")]
fn a_look_up_is_cheap() {
    let discovery = Discovery::new(PathBuf::from("/proc"));
    let pid = std::process::id();
    // The best of many: the rest measures what else the machine does.
    let best = (0..200)
        .map(|_| {
            let start = std::time::Instant::now();
            discovery.lookup(pid, "");
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(best < Duration::from_millis(1), "{best:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_files_give_a_name_that_is_fit_to_print(
        cmdline in proptest::collection::vec(any::<u8>(), 0..200),
        environ in proptest::collection::vec(any::<u8>(), 0..200),
        cgroup in proptest::collection::vec(any::<u8>(), 0..200),
        stat in proptest::collection::vec(any::<u8>(), 0..50),
        exe in prop_oneof![Just("/usr/bin/python3"), Just("/usr/bin/node"), Just("/usr/bin/java"), Just("/x\u{1b}[2J")],
    ) {
        let tree = Tree::new();
        tree.link("7/exe", exe).link("7/cwd", "/srv").write("7/cmdline", cmdline).write("7/environ", environ)
            .write("7/cgroup", cgroup).write("7/stat", stat).write("7/comm", [0xff, 0x1b]);
        let found = tree.lookup(7);
        prop_assert!(!found.service_name.is_empty() && !found.service_name.chars().any(char::is_control));
        prop_assert!(!found.comm.chars().any(char::is_control));
    }
}

#[test]
fn the_proc_of_a_host_numbers_the_agent_as_its_kernel_does() {
    let host = Tree::new();
    host.link("self", "4711")
        .write("2/stat", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0");
    assert_eq!(host.discovery().own_pid(), Some(4711));
    assert!(host.discovery().is_of_kernel());
    let container = Tree::new();
    container
        .link("self", "1")
        .write("2/stat", "2 (kthreadd) S 0 2 2 0 -1 4194304 0 0");
    assert!(!container.discovery().is_of_kernel());
    assert!(!Tree::new().discovery().is_of_kernel());
    let here = Tree::new();
    here.link("self/ns/pid", "pid:[4026531836]");
    assert!(here.discovery().is_of_kernel());
}

/// A discovery that knows of a pod with these containers, and the pod.
fn with_pod(tree: &Tree, pod: &str) -> (Discovery, Arc<Catalog>) {
    let catalog = Arc::new(Catalog::new().unwrap());
    catalog.put_pod(Pod::parse(pod.as_bytes()).unwrap());
    let mut discovery = tree.discovery();
    discovery.catalog = Some(Arc::clone(&catalog));
    (discovery, catalog)
}

/// A pod of a deployment, once its kubelet has told of its containers or before.
fn pod(with_ids: bool) -> String {
    let id = if with_ids {
        format!("\"containerd://{CONTAINER}\"")
    } else {
        "null".to_owned()
    };
    format!(
        r#"{{"metadata": {{"uid": "{POD}", "namespace": "shop", "name": "orders-6d4cf56db6-x7k2p",
            "labels": {{"pod-template-hash": "6d4cf56db6", "app.kubernetes.io/name": "by-label",
                "app.kubernetes.io/version": "7"}},
            "annotations": {{"resource.opentelemetry.io/team": "a", "resource.opentelemetry.io/k8s.pod.name": "x",
                "resource.opentelemetry.io/telemetry.sdk.name": "x"}},
            "ownerReferences": [{{"kind": "ReplicaSet", "name": "orders-6d4cf56db6", "controller": true}}]}},
        "spec": {{"nodeName": "node-1", "containers": [{{"name": "app", "image": "host:5000/shop/orders:1.4"}}, {{"name": "proxy"}}]}},
        "status": {{"containerStatuses": [{{"name": "app", "containerID": {id}, "imageID": "host:5000/shop/orders@sha256:00"}}]}}}}"#
    )
}

#[test]
fn a_process_of_a_pod_has_the_attributes_of_the_conventions() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", pod_cgroup())
        .write("7/environ", "HOSTNAME=anything\0");
    let (discovery, _) = with_pod(&tree, &pod(true));
    let found = discovery.lookup(7, "");
    assert_eq!(found.service_name, "orders");
    for (key, value) in [
        ("container.id", CONTAINER),
        ("container.runtime.name", "containerd"),
        ("container.image.name", "host:5000/shop/orders"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "orders-6d4cf56db6-x7k2p"),
        ("k8s.pod.uid", POD),
        ("k8s.deployment.name", "orders"),
        ("k8s.replicaset.name", "orders-6d4cf56db6"),
        ("k8s.node.name", "node-1"),
        ("k8s.container.name", "app"),
        ("team", "a"),
        ("service.namespace", "shop"),
        ("service.version", "1.4@sha256:00"),
        ("service.instance.id", "shop.orders-6d4cf56db6-x7k2p.app"),
    ] {
        assert_eq!(attribute(&found, key), Some(value), "{key}");
    }
    assert_eq!(attribute(&found, "telemetry.sdk.name"), None);
    let mut keys: Vec<_> = found.resource.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), found.resource.len(), "no key comes twice");
}

#[test]
fn what_a_process_says_of_its_service_stands_before_what_its_pod_says_but_no_fact_is_changed() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", pod_cgroup())
        .write(
            "7/environ",
            "OTEL_SERVICE_NAME=mine\0OTEL_RESOURCE_ATTRIBUTES=service.version=9,team=b,k8s.pod.name=x,service.namespace=n\0",
        );
    let (discovery, _) = with_pod(&tree, &pod(true));
    let found = discovery.lookup(7, "");
    assert_eq!(found.service_name, "mine");
    for (key, value) in [
        ("service.version", "9"),
        ("service.namespace", "n"),
        ("team", "b"),
        ("k8s.pod.name", "orders-6d4cf56db6-x7k2p"),
    ] {
        assert_eq!(attribute(&found, key), Some(value), "{key}");
    }
}

#[test]
fn labels_name_a_service_where_that_is_asked_for() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", pod_cgroup());
    let (mut discovery, _) = with_pod(&tree, &pod(true));
    discovery.labels = Labels::Used;
    let found = discovery.lookup(7, "");
    assert_eq!(found.service_name, "by-label");
    assert_eq!(attribute(&found, "service.version"), Some("7"));
}

#[test]
fn a_process_is_known_better_once_its_kubelet_has_told_of_its_container_and_so_is_its_child() {
    let tree = Tree::new();
    for pid in [7, 8, 9] {
        tree.process(pid, "/usr/bin/python3", &["python3", "app.py"])
            .write(&format!("{pid}/cgroup"), pod_cgroup());
    }
    let (discovery, catalog) = with_pod(&tree, &pod(false));
    let before = discovery.lookup(7, "");
    assert_eq!(
        before.service_name, "orders",
        "the pod was there before its containers"
    );
    assert_eq!(attribute(&before, "k8s.container.name"), None);
    discovery.lookup(9, "");
    discovery.forked(7, 8);
    discovery.ended(9);
    discovery.known_better();
    assert!(discovery.known_better().is_empty());
    catalog.put_pod(Pod::parse(pod(true).as_bytes()).unwrap());
    let better = discovery.known_better();
    let pids: Vec<_> = better.iter().map(|info| info.pid).collect();
    assert_eq!(pids, [7, 8]);
    assert_eq!(attribute(&better[0], "k8s.container.name"), Some("app"));
    catalog.put_pod(Pod::parse(pod(true).as_bytes()).unwrap());
    assert!(
        discovery.known_better().is_empty(),
        "there is nothing left to know"
    );
}

#[test]
fn a_process_is_known_better_once_an_api_that_was_away_answers() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", pod_cgroup())
        .write("7/environ", "HOSTNAME=by-name-6d4cf56db6-x7k2p\0");
    let (discovery, catalog) = with_pod(&tree, &pod(true));
    catalog.replace_pods(Vec::new());
    let before = discovery.lookup(7, "");
    assert_eq!(before.service_name, "by-name", "what the name of the pod tells");
    catalog.replace_pods(vec![Pod::parse(pod(true).as_bytes()).unwrap()]);
    let better = discovery.known_better();
    assert_eq!(better[0].service_name, "orders");
}

#[test]
fn a_container_of_docker_is_its_compose_service_or_its_name() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", format!("0::/system.slice/docker-{CONTAINER}.scope\n"));
    let catalog = Arc::new(Catalog::new().unwrap());
    let mut discovery = tree.discovery();
    discovery.catalog = Some(Arc::clone(&catalog));
    assert_eq!(discovery.lookup(7, "").service_name, "app");
    for (labels, service, namespace) in [
        ("{}", "shop-web-1", None),
        (
            r#"{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}"#,
            "web",
            Some("shop"),
        ),
    ] {
        let json =
            format!(r#"{{"Id":"{CONTAINER}","Names":["/shop-web-1"],"Image":"web:2","Labels":{labels}}}"#);
        let container = Described::parse(json.as_bytes(), "docker").unwrap();
        catalog.replace_containers("docker", vec![container]);
        let found = discovery.lookup(7, "");
        assert_eq!(found.service_name, service);
        assert_eq!(attribute(&found, "container.name"), Some("shop-web-1"));
        assert_eq!(attribute(&found, "container.runtime.name"), Some("docker"));
        assert_eq!(attribute(&found, "container.image.name"), Some("web"));
        assert_eq!(attribute(&found, "service.namespace"), namespace);
    }
}

#[test]
fn while_no_api_is_known_containerd_tells_of_what_pod_a_container_is() {
    let tree = Tree::new();
    tree.process(7, "/usr/bin/python3", &["python3", "app.py"])
        .write("7/cgroup", pod_cgroup())
        .write("7/environ", "HOSTNAME=other-6d4cf56db6-x7k2p\0");
    let (discovery, catalog) = with_pod(&tree, &pod(true));
    catalog.replace_pods(Vec::new());
    let id = Membership::parse(pod_cgroup().as_bytes()).container_id.unwrap();
    let described = Described {
        id,
        name: None,
        runtime: "containerd",
        image: None,
        service: None,
        project: None,
        pod: Some(OfPod {
            name: "orders-6d4cf56db6-x7k2p".to_owned(),
            namespace: Some("shop".to_owned()),
            container: Some("app".to_owned()),
        }),
    };
    catalog.put_container("containerd", described);
    let found = discovery.lookup(7, "");
    assert_eq!(found.service_name, "orders");
    for (key, value) in [
        ("k8s.pod.name", "orders-6d4cf56db6-x7k2p"),
        ("k8s.namespace.name", "shop"),
        ("k8s.container.name", "app"),
        ("k8s.deployment.name", "orders"),
        ("service.namespace", "shop"),
        ("container.runtime.name", "containerd"),
    ] {
        assert_eq!(attribute(&found, key), Some(value), "{key}");
    }
    // The API knows better.
    catalog.replace_pods(vec![Pod::parse(pod(true).as_bytes()).unwrap()]);
    let better = discovery.known_better();
    assert_eq!(better.len(), 1);
    let node = |found| attribute(found, "k8s.node.name");
    assert_eq!((node(&found), node(&better[0])), (None, Some("node-1")));
    let names = better[0].resource.iter();
    assert_eq!(names.filter(|(key, _)| key == "k8s.pod.name").count(), 1);
}
