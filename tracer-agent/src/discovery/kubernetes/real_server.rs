//! The same against a real API server with its etcd, driven by kubectl: `tests/kubernetes/build.sh` says how to get and run it.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use rcgen::CertifiedKey;
use tempfile::TempDir;

use super::{Access, Node, tests::until};
use crate::discovery::{
    catalog::Catalog,
    cgroup::Membership,
    sources::{Asked, Notice, Sources},
};

const RIGHTS: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "agent"},
   "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "agent"},
   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"},
   "subjects": [{"kind": "ServiceAccount", "name": "agent", "namespace": "tracing"}]}
]}"#;

struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    etcd: u16,
    port: u16,
    _etcd: Ended,
}

/// Ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Cluster {
    fn new(programs: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        for (name, content) in [
            ("ca.crt", cert.pem()),
            ("api.key", signing_key.serialize_pem()),
            ("accounts.key", key.serialize_pem()),
            ("accounts.pub", key.public_key_pem()),
            ("token", "agent-token".to_owned()),
            (
                "tokens.csv",
                "admin-token,admin,1,system:masters\n\
                 agent-token,system:serviceaccount:tracing:agent,2,\"system:serviceaccounts,system:authenticated\"\n"
                    .to_owned(),
            ),
            ("rights.json", RIGHTS.to_owned()),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let (etcd, peers) = (port(), port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let running = Command::new(programs.join("etcd"))
            .current_dir(folder.path())
            .args(["--data-dir", "etcd", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &url(etcd),
                "--advertise-client-urls",
                &url(etcd),
            ])
            .args([
                "--listen-peer-urls",
                &url(peers),
                "--initial-advertise-peer-urls",
                &url(peers),
            ])
            .args(["--initial-cluster", &format!("default={}", url(peers))])
            .spawn()
            .unwrap();
        Self {
            folder,
            programs: programs.to_owned(),
            etcd,
            port: port(),
            _etcd: Ended(running),
        }
    }

    fn api(&self, port: u16) -> Ended {
        let running = Command::new(self.programs.join("kube-apiserver"))
            .current_dir(self.folder.path())
            .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd)])
            .args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()])
            .args(["--tls-cert-file", "ca.crt", "--tls-private-key-file", "api.key"])
            .args(["--service-account-key-file", "accounts.pub"])
            .args(["--service-account-signing-key-file", "accounts.key"])
            .args(["--service-account-issuer", "https://kubernetes.test"])
            .args([
                "--service-cluster-ip-range",
                "10.96.0.0/24",
                "--authorization-mode",
                "RBAC",
            ])
            .args([
                "--token-auth-file",
                "tokens.csv",
                "--disable-admission-plugins",
                "ServiceAccount",
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Ended(running);
        until("an API server", || {
            self.kubectl(port, &["get", "--raw", "/readyz"]).0
        });
        running
    }

    fn kubectl(&self, port: u16, words: &[&str]) -> (bool, String) {
        let done = Command::new("kubectl")
            .current_dir(self.folder.path())
            .args(["--server", &format!("https://127.0.0.1:{port}")])
            .args(["--certificate-authority", "ca.crt", "--token", "admin-token"])
            .args(words)
            .output()
            .unwrap();
        (
            done.status.success(),
            String::from_utf8_lossy(&done.stdout).into_owned(),
        )
    }

    fn done(&self, port: u16, words: &[&str]) {
        assert!(self.kubectl(port, words).0, "{words:?}");
    }

    fn run_pod(&self, port: u16, name: &str, node: &str) {
        let spec = format!(r#"{{"spec": {{"nodeName": "{node}"}}}}"#);
        self.done(
            port,
            &["run", name, "--image", "shop/api:1.4", "--overrides", &spec],
        );
    }

    /// Of all pods, as they are now.
    fn version(&self) -> String {
        let (_, list) = self.kubectl(self.port, &["get", "--raw", "/api/v1/pods"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// What happened before now is forgotten for good.
    fn compact(&self) {
        let post = |what: &str, body: &str| {
            let url = format!("http://127.0.0.1:{}/v3/kv/{what}", self.etcd);
            let done = Command::new("curl")
                .args(["-sSf", &url, "-d", body])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap()
        };
        let revision = post("range", r#"{"key": "AA=="}"#)["header"]["revision"].clone();
        post(
            "compaction",
            &format!(r#"{{"revision": {revision}, "physical": true}}"#),
        );
    }
}

fn is_known(catalog: &Catalog, id: &str) -> bool {
    let place = Membership {
        container_id: Some(id.to_owned()),
        ..Membership::default()
    };
    catalog.find(&place).pod.is_some()
}

#[test]
#[ignore = "needs a kube-apiserver and an etcd: tests/kubernetes/build.sh"]
fn pods_of_a_real_api_server_are_followed_through_all_that_happens_to_it() {
    let programs = env::var_os("API_SERVER_BIN").expect("API_SERVER_BIN names the folder of the programs");
    let cluster = Cluster::new(Path::new(&programs));
    let api = cluster.api(cluster.port);
    let said = Arc::new(Mutex::new(Vec::new()));
    let hears = said.clone();
    let node = Node {
        name: "node-1".to_owned(),
        is_guessed: false,
    };
    let asked = Asked {
        kubernetes: Some((
            Access::new("127.0.0.1", cluster.port, cluster.folder.path()),
            node,
        )),
        containers: false,
    };
    let notify = Box::new(move |notice| hears.lock().unwrap().push(notice));
    let sources = Sources::start(asked, "/".as_ref(), notify, || ())
        .unwrap()
        .unwrap();
    let catalog = sources.catalog();

    let is_refused = |notice: &Notice| matches!(notice, Notice::Trouble(text) if text.contains("HTTP 403"));
    until("a refusal", || said.lock().unwrap().iter().any(is_refused));
    cluster.done(cluster.port, &["apply", "-f", "rights.json"]);
    until("the right to list", || {
        said.lock()
            .unwrap()
            .iter()
            .any(|notice| matches!(notice, Notice::Known(_)))
    });
    let failed_at_first = catalog.counters().named();

    cluster.run_pod(cluster.port, "other", "node-2");
    cluster.run_pod(cluster.port, "api", "node-1");
    let uid = cluster
        .kubectl(
            cluster.port,
            &["get", "pod", "api", "-o", "jsonpath={.metadata.uid}"],
        )
        .1;
    let by_uid = Membership {
        pod_uid: Some(uid),
        container_id: Some("ff".to_owned()),
        ..Membership::default()
    };
    until("the pod, by its uid", || catalog.find(&by_uid).pod.is_some());
    assert_eq!(catalog.len(), 1, "the pod of another node is none of ours");
    let status = r#"{"status": {"containerStatuses": [
        {"name": "api", "image": "", "imageID": "", "containerID": "containerd://ff", "ready": true, "restartCount": 0}]}}"#;
    cluster.done(
        cluster.port,
        &[
            "patch",
            "pod",
            "api",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ],
    );
    until("the pod, by its container", || is_known(&catalog, "ff"));
    assert_eq!(
        catalog.counters().named(),
        failed_at_first,
        "nothing went wrong until here"
    );

    // The server is killed and comes again: what was known stays, and what comes is followed.
    let version = cluster.version();
    drop(api);
    until("a word of trouble", || {
        catalog.counters().named() != failed_at_first
    });
    assert!(is_known(&catalog, "ff"));
    let api = cluster.api(cluster.port);
    cluster.run_pod(cluster.port, "next", "node-1");
    until("the next pod", || catalog.len() == 2);

    // Much happens where the agent does not see it, and then nobody remembers.
    drop(api);
    let elsewhere = port();
    let api = cluster.api(elsewhere);
    cluster.done(
        elsewhere,
        &["delete", "pod", "api", "next", "--grace-period=0", "--force"],
    );
    cluster.run_pod(elsewhere, "last", "node-1");
    cluster.compact();
    drop(api);
    let _api = cluster.api(cluster.port);
    until("the last pod alone", || {
        catalog.len() == 1 && !is_known(&catalog, "ff")
    });
    let old = format!("/api/v1/pods?watch=1&timeoutSeconds=5&resourceVersion={version}");
    let answer = cluster.kubectl(cluster.port, &["get", "--raw", &old]).1;
    assert!(answer.contains(r#""code":410"#), "the history is there: {answer}");
    assert_eq!(catalog.counters().named()[1], ("objects_malformed", 0));
}
