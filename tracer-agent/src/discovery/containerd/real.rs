//! The same with a real containerd, driven by its own client: `tests/containerd/build.sh` says how to get and run it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::tests::{ID, follow, name_of, place};
use crate::discovery::kubernetes::until;

struct Containerd {
    root: TempDir,
    programs: PathBuf,
    running: Option<Child>,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.end();
    }
}

impl Containerd {
    fn new(programs: PathBuf) -> Self {
        let root = TempDir::new().unwrap();
        for folder in ["run/containerd", "rootfs"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let path = root.path().display();
        let config = format!(
            "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\n\
             [grpc]\naddress = \"{path}/run/containerd/containerd.sock\"\n\
             [ttrpc]\naddress = \"{path}/ttrpc.sock\"\n"
        );
        fs::write(root.path().join("config.toml"), config).unwrap();
        Self {
            root,
            programs,
            running: None,
        }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn start(&mut self) {
        let child = Command::new(self.programs.join("containerd"))
            .arg("-c")
            .arg(self.path().join("config.toml"))
            .stderr(Stdio::null())
            .spawn();
        self.running = Some(child.unwrap());
        until("containerd answers", || {
            self.ctr("default", &["version"]).status.success()
        });
    }

    fn end(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ctr(&self, namespace: &str, arguments: &[&str]) -> std::process::Output {
        Command::new(self.programs.join("ctr"))
            .arg("-a")
            .arg(self.path().join("run/containerd/containerd.sock"))
            .args(["-n", namespace])
            .args(arguments)
            .output()
            .unwrap()
    }

    fn create(&self, namespace: &str, id: &str, labels: &[&str]) {
        let rootfs = self.path().join("rootfs").display().to_string();
        let mut arguments = vec!["containers", "create", "--rootfs"];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        arguments.extend([rootfs.as_str(), id, "true"]);
        let made = self.ctr(namespace, &arguments);
        assert!(made.status.success(), "{made:?}");
    }
}

#[test]
#[ignore = "needs the containerd that tests/containerd/build.sh builds"]
fn containers_of_a_real_containerd_are_followed_through_its_end_and_return() {
    let programs =
        env::var_os("CONTAINERD_BIN").expect("CONTAINERD_BIN names the folder of containerd and ctr");
    let mut containerd = Containerd::new(programs.into());
    containerd.start();
    containerd.create("default", ID, &["nerdctl/name=before"]);
    let (sources, said) = follow(containerd.path());
    let catalog = sources.catalog();
    let is_named = |id: &str, name: &str| name_of(&catalog, id).as_deref() == Some(name);
    until("what was there", || is_named(ID, "before"));
    // Past the second list, so that events alone tell of what comes.
    std::thread::sleep(super::LISTED_AGAIN * 2);

    let of_pod = "f".repeat(64);
    containerd.create(
        "k8s.io",
        &of_pod,
        &[
            "io.kubernetes.pod.name=orders-0",
            "io.kubernetes.pod.namespace=shop",
        ],
    );
    until("what comes", || {
        let container = place(&catalog, &of_pod).container;
        container
            .and_then(|container| container.pod.clone())
            .is_some_and(|pod| pod.name == "orders-0")
    });
    containerd.ctr("default", &["containers", "label", ID, "nerdctl/name=after"]);
    until("another name", || is_named(ID, "after"));
    containerd.ctr("k8s.io", &["containers", "rm", &of_pod]);
    until("what goes", || place(&catalog, &of_pod).container.is_none());
    assert_eq!(*said.lock().unwrap(), [""; 0]);

    containerd.end();
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    assert!(is_named(ID, "after"), "what is known stays");
    containerd.start();
    containerd.create("default", &of_pod, &["nerdctl/name=new"]);
    until("it is asked again", || is_named(&of_pod, "new"));
}
