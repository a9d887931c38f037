//! Following containers, against a socket that answers as Docker Engine does. There is no engine where these tests run: the
//! answers are made after its reference (API 1.47).

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Described, sockets};
use crate::discovery::{
    catalog::Catalog,
    cgroup::Membership,
    kubernetes::until,
    sources::{Asked, Notice, Sources},
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn container(id: &str, name: &str) -> String {
    format!(
        r#"{{"Id":"{id}","Names":["/web/alias","/{name}"],"Image":"shop/web:2","ImageID":"sha256:00","Command":"web --secret x",
        "Labels":{{"com.docker.compose.project":"shop","com.docker.compose.service":"web","other":"{{}}"}},
        "State":"running","HostConfig":{{"NetworkMode":"bridge"}},"Mounts":[]}}"#
    )
}

/// An engine whose containers can be changed; each change is an event.
#[derive(Clone, Default)]
struct Engine {
    containers: Arc<Mutex<Vec<String>>>,
    listening: Arc<Mutex<Vec<UnixStream>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    fn at(&self, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        let engine = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let engine = engine.clone();
                let mut stream = BufReader::new(stream.unwrap());
                thread::spawn(move || while engine.serve(&mut stream).is_some() {});
            }
        });
    }

    fn serve(&self, stream: &mut BufReader<UnixStream>) -> Option<()> {
        let mut first = String::new();
        stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).ok()?;
        }
        self.asked.lock().unwrap().push(first.trim_end().to_owned());
        let out = stream.get_mut();
        if first.starts_with("GET /events") {
            write!(out, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            let listening = out.try_clone().ok()?;
            self.listening.lock().unwrap().push(listening);
            return Some(());
        }
        let body = format!("[{}]\n", self.containers.lock().unwrap().join(","));
        write!(
            out,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()
    }

    fn change(&self, containers: Vec<String>) {
        *self.containers.lock().unwrap() = containers;
        for listening in self.listening.lock().unwrap().iter_mut() {
            let event = r#"{"Type":"container","Action":"create"}"#;
            let _ = write!(listening, "{:x}\r\n{event}\r\n", event.len());
        }
    }

    fn go(&self) {
        for listening in self.listening.lock().unwrap().drain(..) {
            let _ = listening.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn name_of(catalog: &Catalog, id: &str) -> Option<String> {
    let place = Membership {
        container_id: Some(id.to_owned()),
        ..Membership::default()
    };
    catalog.find(&place).container?.name.clone()
}

#[test]
fn containers_are_known_as_they_are_made_and_nothing_but_lists_and_events_is_asked() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("run")).unwrap();
    let engine = Engine::default();
    engine.change(vec![container(ID, "before")]);
    engine.at(&root.path().join("run/docker.sock"));
    let asked = Asked {
        kubernetes: None,
        containers: true,
    };
    let said = Arc::new(Mutex::new(Vec::new()));
    let hears = said.clone();
    let notify = Box::new(move |notice: Notice| hears.lock().unwrap().push(notice));
    let sources = Sources::start(asked, root.path(), notify, || ())
        .unwrap()
        .unwrap();
    let catalog = sources.catalog();
    until("the first", || name_of(&catalog, ID).as_deref() == Some("before"));
    let other = ID.replace('0', "f");
    engine.change(vec![container(&other, "after"), "7".to_owned(), "{}".to_owned()]);
    until("the next", || {
        name_of(&catalog, &other).as_deref() == Some("after")
    });
    assert_eq!(name_of(&catalog, ID), None, "it is gone");
    engine.go();
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    assert!(name_of(&catalog, &other).is_some(), "what is known stays");
    let asked = engine.asked.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .all(|line| line.starts_with("GET /events?") || line.starts_with("GET /containers/json?")),
        "{asked:?}"
    );
}

#[test]
fn of_a_container_its_names_are_kept_and_nothing_that_it_runs() {
    let found = Described::parse(container(ID, "shop-web-1").as_bytes(), "docker").unwrap();
    assert_eq!(found.name.as_deref(), Some("shop-web-1"));
    assert_eq!(found.service.as_deref(), Some("web"));
    assert_eq!(found.project.as_deref(), Some("shop"));
    assert_eq!(found.image.as_ref().unwrap().tag.as_deref(), Some("2"));
    assert!(!format!("{found:?}").contains("secret"));
    for no_container in ["{}", r#"{"Id":""}"#, r#"{"Id":7}"#, "[]"] {
        assert!(
            Described::parse(no_container.as_bytes(), "docker").is_err(),
            "{no_container}"
        );
    }
    let bare = format!(r#"{{"Id":"{ID}","Names":null,"Labels":null}}"#);
    assert_eq!(Described::parse(bare.as_bytes(), "podman").unwrap().name, None);
}

#[test]
fn a_socket_that_has_two_paths_is_asked_once() {
    let root = TempDir::new().unwrap();
    assert!(sockets(root.path()).is_empty());
    for path in ["run/docker.sock", "var/run/docker.sock", "run/podman/podman.sock"] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let found: Vec<_> = sockets(root.path())
        .into_iter()
        .map(|(runtime, _)| runtime)
        .collect();
    assert_eq!(found, ["docker", "podman"]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Described::parse(&bytes, "docker");
    }
}
