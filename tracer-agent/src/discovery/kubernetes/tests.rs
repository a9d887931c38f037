//! Following pods, against an API server that does as it is told: TLS, chunks cut anywhere, and every way to go wrong.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rcgen::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Access, Node};
use crate::discovery::{
    catalog::Catalog,
    cgroup::Membership,
    sources::{Asked, Notice, Sources},
};

/// What the server does with a request; after the last of its script it lets a watch wait.
enum Reply {
    /// An answer of this status, in these chunks, to its end.
    Whole(u16, Vec<Vec<u8>>),
    /// Chunks, and then nothing more until the connection is closed.
    Open(Vec<Vec<u8>>),
    /// Chunks, and the connection is gone.
    Cut(Vec<Vec<u8>>),
}

/// A request as it came: its path, and the token that it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asking {
    path: String,
    token: String,
}

struct Server {
    folder: TempDir,
    port: u16,
    asked: Arc<Mutex<Vec<Asking>>>,
    script: Arc<Mutex<VecDeque<Reply>>>,
    config: Arc<ServerConfig>,
}

impl Server {
    /// A server that is not there yet: its port is taken by nobody.
    fn away(script: Vec<Reply>) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.crt"), cert.pem()).unwrap();
        fs::write(folder.path().join("token"), "first-token\n").unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            folder,
            port,
            asked: Arc::default(),
            script: Arc::new(Mutex::new(script.into())),
            config: Arc::new(config),
        }
    }

    fn new(script: Vec<Reply>) -> Self {
        let server = Self::away(script);
        server.come();
        server
    }

    fn come(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        let (asked, script, config) = (self.asked.clone(), self.script.clone(), self.config.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, stream.unwrap()));
                let (asked, script) = (asked.clone(), script.clone());
                thread::spawn(move || while serve(&mut stream, &asked, &script).is_some() {});
            }
        });
    }

    fn follow(&self) -> (Sources, Arc<Catalog>, Arc<Mutex<Vec<Notice>>>) {
        let node = Node {
            name: "node-1".to_owned(),
            is_guessed: false,
        };
        let asked = Asked {
            kubernetes: Some((Access::new("127.0.0.1", self.port, self.folder.path()), node)),
            containers: false,
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let hears = said.clone();
        let notify = Box::new(move |notice| hears.lock().unwrap().push(notice));
        let sources = Sources::start(asked, "/".as_ref(), notify, || ())
            .unwrap()
            .unwrap();
        let catalog = sources.catalog();
        (sources, catalog, said)
    }

    fn paths(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|asking| asking.path.clone())
            .collect()
    }
}

type Stream = BufReader<StreamOwned<ServerConnection, std::net::TcpStream>>;

fn serve(stream: &mut Stream, asked: &Mutex<Vec<Asking>>, script: &Mutex<VecDeque<Reply>>) -> Option<()> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let line = head
            .iter()
            .find(|line| line.to_ascii_lowercase().starts_with(name))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    asked.lock().unwrap().push(Asking {
        path: head[0].split(' ').nth(1)?.to_owned(),
        token: header("authorization").unwrap_or_default(),
    });
    let reply = script.lock().unwrap().pop_front();
    let reply = reply.unwrap_or(Reply::Open(Vec::new()));
    let (status, chunks) = match &reply {
        Reply::Whole(status, chunks) => (*status, chunks),
        Reply::Open(chunks) | Reply::Cut(chunks) => (200, chunks),
    };
    let out = stream.get_mut();
    write!(
        out,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .ok()?;
    for chunk in chunks {
        write!(out, "{:x}\r\n", chunk.len()).ok()?;
        out.write_all(chunk).ok()?;
        out.write_all(b"\r\n").ok()?;
        out.flush().ok()?;
    }
    match reply {
        Reply::Whole(..) => {
            out.write_all(b"0\r\n\r\n").ok()?;
            out.flush().ok()
        }
        Reply::Open(_) => {
            // Until the other side goes.
            stream.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
            None
        }
        Reply::Cut(_) => None,
    }
}

fn pod(name: &str, version: u32, container_id: Option<&str>) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "uid": uid(name), "namespace": "shop", "name": name, "resourceVersion": version.to_string(),
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "app", "image": "shop/app:1"}, {"name": "proxy", "image": "proxy"}],
        },
        "status": {"containerStatuses": [
            {"name": "app", "containerID": container_id.map(|id| format!("containerd://{id}"))},
        ]},
    })
}

fn uid(name: &str) -> String {
    format!("uid-of-{name}")
}

fn list(version: u32, next: Option<&str>, pods: &[Value]) -> Reply {
    let list = json!({
        "kind": "PodList", "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string(), "continue": next},
        "items": pods,
    });
    Reply::Whole(200, vec![list.to_string().into_bytes()])
}

fn events(events: &[(&str, Value)]) -> Vec<u8> {
    let lines = events
        .iter()
        .map(|(kind, object)| json!({"type": kind, "object": object}).to_string() + "\n");
    lines.collect::<String>().into_bytes()
}

fn bookmark(version: u32) -> Value {
    json!({"kind": "Pod", "metadata": {"resourceVersion": version.to_string()}})
}

fn is_known(catalog: &Catalog, name: &str) -> bool {
    let place = Membership {
        pod_uid: Some(uid(name)),
        ..Membership::default()
    };
    catalog.find(&place).pod.is_some()
}

/// Waits until it is so, far longer than it takes: a client that has failed often waits for up to a minute itself.
#[track_caller]
pub(in super::super) fn until(what: &str, is_so: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "the test's own patience")]
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(180), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn pods_are_listed_page_by_page_and_followed_however_the_stream_is_cut() {
    let told = events(&[
        ("MODIFIED", pod("b", 12, Some("b-app"))),
        ("ADDED", pod("c", 13, None)),
        ("DELETED", pod("a", 14, None)),
        ("BOOKMARK", bookmark(20)),
    ]);
    let bytes = told.into_iter().map(|byte| vec![byte]).collect();
    let server = Server::new(vec![
        list(10, Some("page/2"), &[pod("a", 1, None)]),
        list(11, None, &[pod("b", 2, None)]),
        Reply::Whole(200, bytes),
    ]);
    let (_sources, catalog, _) = server.follow();
    until("the second watch", || server.paths().len() == 4);
    assert!(!is_known(&catalog, "a") && is_known(&catalog, "b") && is_known(&catalog, "c"));
    let by_container = Membership {
        container_id: Some("b-app".to_owned()),
        ..Membership::default()
    };
    let found = catalog.find(&by_container).pod.unwrap();
    assert_eq!(found.container(Some("b-app")).unwrap().name, "app");
    let paths = server.paths();
    let selector = "/api/v1/pods?fieldSelector=spec%2EnodeName%3Dnode%2D1&";
    assert_eq!(paths[0], format!("{selector}limit=100&resourceVersion=0"));
    assert_eq!(paths[1], format!("{selector}limit=100&continue=page%2F2"));
    assert!(
        paths[2].starts_with(&format!(
            "{selector}watch=1&allowWatchBookmarks=true&timeoutSeconds="
        )),
        "{paths:?}"
    );
    assert!(paths[2].ends_with("&resourceVersion=11"), "{paths:?}");
    // The bookmark is later than any event.
    assert!(paths[3].ends_with("&resourceVersion=20"), "{paths:?}");
    assert_eq!(catalog.counters().failed.load(Ordering::Relaxed), 0);
}

/// What a kube-apiserver 1.34.4 told of pods made by kubectl: `real_server.rs` has the way to one.
#[test]
fn what_a_real_api_server_told_is_understood_byte_by_byte() {
    let list = include_bytes!("recorded/list.json");
    let told = include_bytes!("recorded/watch.jsonl");
    let in_bytes = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
    let server = Server::new(vec![
        Reply::Whole(200, in_bytes(list)),
        Reply::Whole(200, in_bytes(told)),
    ]);
    let (_sources, catalog, _) = server.follow();
    until("the second watch", || server.paths().len() == 3);
    assert!(
        server.paths()[1].ends_with("&resourceVersion=213"),
        "{:?}",
        server.paths()
    );
    assert!(
        server.paths()[2].ends_with("&resourceVersion=227"),
        "{:?}",
        server.paths()
    );
    assert_eq!(catalog.counters().malformed.load(Ordering::Relaxed), 0);
    assert_eq!(catalog.len(), 1, "the other came and went");
    let id = "a".repeat(64);
    let by_container = Membership {
        container_id: Some(id.clone()),
        ..Membership::default()
    };
    let pod = catalog.find(&by_container).pod.unwrap();
    assert_eq!(
        (pod.namespace.as_str(), pod.name.as_str()),
        ("shop", "shop-api-6d4cf56db6-x7k2p")
    );
    assert_eq!(pod.workloads[0], ("k8s.deployment.name", "shop-api".to_owned()));
    assert_eq!(pod.labels.version.as_deref(), Some("1.4"));
    let annotation = ("deployment.environment.name".to_owned(), "staging".to_owned());
    assert_eq!(pod.annotations, [annotation]);
    let container = pod.container(Some(&id)).unwrap();
    assert_eq!(container.name, "api");
    assert_eq!(
        container.image.as_deref(),
        Some("registry.example:5000/shop/api:1.4")
    );
    assert_eq!(container.id, Some((id, Some("containerd"))));
}

#[test]
fn when_the_history_is_gone_all_is_listed_anew_as_it_is_now() {
    let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
    for refused in [
        Reply::Whole(200, vec![events(&[("ERROR", gone.clone())])]),
        Reply::Whole(410, vec![gone.to_string().into_bytes()]),
    ] {
        let server = Server::new(vec![
            list(10, None, &[pod("a", 1, None)]),
            refused,
            list(50, None, &[pod("b", 2, None)]),
        ]);
        let (_sources, catalog, said) = server.follow();
        until("b", || is_known(&catalog, "b"));
        assert!(!is_known(&catalog, "a"));
        until("a watch", || server.paths().len() == 4);
        let paths = server.paths();
        assert!(paths[2].ends_with("limit=100"), "{paths:?}");
        assert!(paths[3].ends_with("&resourceVersion=50"), "{paths:?}");
        let troubles = said.lock().unwrap().clone();
        assert!(
            troubles.iter().all(|notice| matches!(notice, Notice::Known(_))),
            "{troubles:?}"
        );
    }
}

#[test]
fn an_api_that_is_away_at_the_start_is_asked_again_and_waited_for_by_nobody() {
    let server = Server::away(vec![list(10, None, &[pod("a", 1, None)])]);
    let (_sources, catalog, said) = server.follow();
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    assert!(!is_known(&catalog, "a"));
    server.come();
    until("a", || is_known(&catalog, "a"));
    assert!(catalog.counters().failed.load(Ordering::Relaxed) > 0);
}

#[test]
fn an_api_that_goes_away_leaves_what_is_known_and_is_followed_from_where_it_broke_off() {
    let server = Server::new(vec![
        list(10, None, &[pod("a", 1, None)]),
        Reply::Cut(vec![
            events(&[("ADDED", pod("b", 12, None))]),
            b"{\"type\":\"ADD".to_vec(),
        ]),
    ]);
    let (_sources, catalog, _) = server.follow();
    until("the next watch", || server.paths().len() == 3);
    assert!(is_known(&catalog, "a") && is_known(&catalog, "b"));
    assert!(
        server.paths()[2].ends_with("&resourceVersion=12"),
        "{:?}",
        server.paths()
    );
}

#[test]
fn a_token_is_read_for_every_request_and_told_to_nobody_else() {
    let refusal = json!({"kind": "Status", "code": 403, "message": "pods is forbidden"});
    let server = Server::new(vec![
        Reply::Whole(403, vec![refusal.to_string().into_bytes()]),
        list(10, None, &[pod("a", 1, None)]),
    ]);
    let (_sources, catalog, said) = server.follow();
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    fs::write(server.folder.path().join("token"), "second-token").unwrap();
    until("a", || is_known(&catalog, "a"));
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked[0].token, "Bearer first-token");
    assert_eq!(asked[1].token, "Bearer second-token");
    let said = format!("{:?}", said.lock().unwrap());
    assert!(
        said.contains("HTTP 403") && said.contains("pods is forbidden"),
        "{said}"
    );
    assert!(!said.contains("-token"), "{said}");
}

#[test]
fn a_server_with_another_certificate_is_told_nothing() {
    let server = Server::new(vec![list(10, None, &[pod("a", 1, None)])]);
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(server.folder.path().join("ca.crt"), other.cert.pem()).unwrap();
    let (_sources, catalog, said) = server.follow();
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    assert!(server.paths().is_empty() && !is_known(&catalog, "a"));
}

#[test]
fn what_is_not_understood_is_counted_and_the_rest_is_followed() {
    let mut no_pod = pod("x", 12, None);
    no_pod["metadata"]["uid"] = json!(7);
    let huge = json!({"type": "ADDED", "object": {"filler": "x".repeat(5 << 20)}}).to_string();
    let server = Server::new(vec![
        list(10, None, &[json!({}), pod("a", 1, None)]),
        Reply::Open(vec![
            events(&[
                ("ADDED", no_pod),
                ("NEVER HEARD OF", json!({})),
                ("ADDED", Value::Null),
            ]),
            huge.into_bytes(),
            events(&[("ADDED", pod("b", 13, None))]),
        ]),
    ]);
    let (_sources, catalog, _) = server.follow();
    until("b", || is_known(&catalog, "b"));
    assert!(is_known(&catalog, "a"));
    until("the count", || {
        catalog.counters().malformed.load(Ordering::Relaxed) == 5
    });
}

#[test]
fn a_server_that_makes_no_sense_is_given_up_and_asked_again() {
    for nonsense in [
        "[".repeat(1000),
        "}".to_owned(),
        "<html>not an API</html>".to_owned(),
        json!({"kind": "PodList", "items": []}).to_string(),
        r#"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[{"#.to_owned(),
    ] {
        let server = Server::new(vec![
            Reply::Whole(200, vec![nonsense.clone().into_bytes()]),
            list(10, None, &[pod("a", 1, None)]),
        ]);
        let (_sources, catalog, _) = server.follow();
        until(&nonsense, || is_known(&catalog, "a"));
    }
}
