//! Following containers, against a server of gRPC on a socket that answers as containerd does. Events are answered to with the first that
//! happens, as servers in Go do.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
};

use prost::Message as _;
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{
        BoxFuture, Service, http,
        tokio_stream::{self, Stream},
    },
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};

use super::{
    api::{self, Any, Container, Envelope, Filtered, GetRequest, Messages, OfContainer, OneContainer},
    describe, sockets,
};
use crate::discovery::{
    catalog::{Catalog, Place},
    cgroup::Membership,
    kubernetes::until,
    sources::{Asked, Notice, Sources},
};

pub(super) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn container(id: &str, image: &str, labels: &[(&str, &str)]) -> Container {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Container {
        id: id.to_owned(),
        labels: labels.collect(),
        image: image.to_owned(),
    }
}

fn named(id: &str, name: &str) -> Container {
    container(id, "docker.io/library/web:2", &[("nerdctl/name", name)])
}

/// A containerd whose containers can be changed.
#[derive(Clone, Default)]
struct Engine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    containers: HashMap<(String, String), Container>,
    listening: Vec<UnboundedSender<Envelope>>,
    /// Method and namespace of each request.
    asked: Vec<(String, String)>,
    filters: Vec<String>,
}

/// A server that ends with this.
struct Serving(Option<oneshot::Sender<()>>, Option<thread::JoinHandle<()>>);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.take());
        let _ = self.1.take().map(thread::JoinHandle::join);
    }
}

impl Engine {
    fn at(&self, socket: &Path) -> Serving {
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let _ = fs::remove_file(socket);
        let (stop, stopped) = oneshot::channel::<()>();
        let engine = self.clone();
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let incoming = Incoming(UnixListener::from_std(listener).unwrap());
                let serving = tonic::transport::Server::builder()
                    .add_service(Containers(engine.clone()))
                    .add_service(Events(engine))
                    .serve_with_incoming(incoming);
                tokio::select! { ended = serving => ended.unwrap(), _ = stopped => () }
            });
        };
        Serving(Some(stop), Some(thread::spawn(serve)))
    }

    fn put(&self, namespace: &str, container: Container) {
        let key = (namespace.to_owned(), container.id.clone());
        self.0.lock().unwrap().containers.insert(key, container);
    }

    fn remove(&self, namespace: &str, id: &str) {
        let key = (namespace.to_owned(), id.to_owned());
        self.0.lock().unwrap().containers.remove(&key);
    }

    fn tell(&self, namespace: &str, topic: &str, id: &str) {
        let value = OfContainer { id: id.to_owned() }.encode_to_vec();
        let envelope = Envelope {
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            event: Some(Any { value }),
        };
        let mut state = self.0.lock().unwrap();
        state
            .listening
            .retain(|listening| listening.send(envelope.clone()).is_ok());
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().asked.clone()
    }

    fn times_asked(&self, method: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|(asked, _)| asked == method).count()
    }

    fn note<T>(&self, method: &str, request: &Request<T>) -> String {
        let namespace = request.metadata().get(api::NAMESPACE);
        let namespace = namespace.map_or(String::new(), |name| name.to_str().unwrap().to_owned());
        let asked = (method.to_owned(), namespace.clone());
        self.0.lock().unwrap().asked.push(asked);
        namespace
    }
}

struct Incoming(UnixListener);

impl Stream for Incoming {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_accept(context)
            .map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

/// Events, the first of which has come already.
struct Told(Option<Envelope>, UnboundedReceiver<Envelope>);

impl Stream for Told {
    type Item = Result<Envelope, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.1.poll_recv(context).map(|told| told.map(Ok)),
        }
    }
}

#[derive(Clone)]
struct Containers(Engine);

#[derive(Clone)]
struct Events(Engine);

impl NamedService for Containers {
    const NAME: &'static str = "containerd.services.containers.v1.Containers";
}

impl NamedService for Events {
    const NAME: &'static str = "containerd.services.events.v1.Events";
}

impl Service<http::Request<Body>> for Containers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                api::GET => {
                    let codec = Messages::<OneContainer, GetRequest>::default();
                    Grpc::new(codec).unary(service, request).await
                }
                api::LIST => {
                    let codec = Messages::<OneContainer, Filtered>::default();
                    Grpc::new(codec).server_streaming(service, request).await
                }
                other => panic!("{other} is asked"),
            })
        })
    }
}

impl UnaryService<GetRequest> for Containers {
    type Response = OneContainer;
    type Future = BoxFuture<Response<OneContainer>, Status>;

    fn call(&mut self, request: Request<GetRequest>) -> Self::Future {
        let namespace = self.0.note(api::GET, &request);
        let key = (namespace, request.into_inner().id);
        let found = self.0.0.lock().unwrap().containers.get(&key).cloned();
        Box::pin(async move {
            let container = Some(found.ok_or_else(|| Status::not_found("no such container"))?);
            Ok(Response::new(OneContainer { container }))
        })
    }
}

impl ServerStreamingService<Filtered> for Containers {
    type Response = OneContainer;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<OneContainer, Status>>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Filtered>) -> Self::Future {
        let namespace = self.0.note(api::LIST, &request);
        let state = self.0.0.lock().unwrap();
        let of_namespace = state.containers.iter().filter(|((of, _), _)| *of == namespace);
        let all: Vec<_> = of_namespace
            .map(|(_, container)| {
                Ok(OneContainer {
                    container: Some(container.clone()),
                })
            })
            .collect();
        Box::pin(async move { Ok(Response::new(tokio_stream::iter(all))) })
    }
}

impl Service<http::Request<Body>> for Events {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), api::SUBSCRIBE);
        let service = self.clone();
        Box::pin(async move {
            let codec = Messages::<Envelope, Filtered>::default();
            Ok(Grpc::new(codec).server_streaming(service, request).await)
        })
    }
}

impl ServerStreamingService<Filtered> for Events {
    type Response = Envelope;
    type ResponseStream = Told;
    type Future = BoxFuture<Response<Told>, Status>;

    fn call(&mut self, request: Request<Filtered>) -> Self::Future {
        self.0.note(api::SUBSCRIBE, &request);
        let (told, mut hears) = unbounded_channel();
        let mut state = self.0.0.lock().unwrap();
        state.filters = request.into_inner().filters;
        state.listening.push(told);
        Box::pin(async move {
            let first = hears.recv().await;
            Ok(Response::new(Told(first, hears)))
        })
    }
}

/// Everything that is said, and the thread that asks.
pub(super) fn follow(root: &Path) -> (Sources, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let hears = said.clone();
    let notify = Box::new(move |notice: Notice| hears.lock().unwrap().push(format!("{notice:?}")));
    let asked = Asked {
        kubernetes: None,
        containers: true,
    };
    let sources = Sources::start(asked, root, notify, || ()).unwrap().unwrap();
    (sources, said)
}

pub(super) fn place(catalog: &Catalog, id: &str) -> Place {
    catalog.find(&Membership {
        container_id: Some(id.to_owned()),
        ..Membership::default()
    })
}

pub(super) fn name_of(catalog: &Catalog, id: &str) -> Option<String> {
    place(catalog, id).container?.name.clone()
}

#[test]
fn containers_are_known_as_they_come_change_and_go_and_nothing_else_is_asked() {
    let root = TempDir::new().unwrap();
    let engine = Engine::default();
    let other = ID.replace('0', "f");
    engine.put("default", named(ID, "before"));
    engine.put("elsewhere", named(&other, "elsewhere"));
    engine.put("moby", container(&"2".repeat(64), "", &[("com.docker/x", "y")]));
    let _serving = engine.at(&root.path().join("run/containerd/containerd.sock"));
    let (sources, said) = follow(root.path());
    let catalog = sources.catalog();
    until("the first", || name_of(&catalog, ID).as_deref() == Some("before"));
    assert_eq!(catalog.len(), 1, "nothing is known of what has no name");
    until("it listens", || engine.times_asked(api::SUBSCRIBE) == 1);

    engine.put("k8s.io", named(&other, "new"));
    engine.tell("k8s.io", "/containers/create", &other);
    until("a new one", || {
        name_of(&catalog, &other).as_deref() == Some("new")
    });
    engine.put("default", named(ID, "renamed"));
    engine.tell("elsewhere", "/containers/update", ID);
    engine.tell("default", "/containers/update", ID);
    until("another name", || {
        name_of(&catalog, ID).as_deref() == Some("renamed")
    });
    engine.remove("default", ID);
    engine.tell("default", "/containers/delete", ID);
    until("it is gone", || place(&catalog, ID).container.is_none());
    engine.remove("k8s.io", &other);
    engine.tell("k8s.io", "/containers/update", &other);
    until("it is gone too", || catalog.len() == 0);

    assert_eq!(
        engine.0.lock().unwrap().filters,
        [
            r#"topic=="/containers/create""#,
            r#"topic=="/containers/update""#,
            r#"topic=="/containers/delete""#
        ]
    );
    let asked = engine.asked();
    let namespaces = |method: &str| -> Vec<_> {
        let of_method = asked.iter().filter(|(asked, _)| asked == method);
        of_method.map(|(_, namespace)| namespace.as_str()).collect()
    };
    assert_eq!(namespaces(api::LIST)[..3], ["k8s.io", "moby", "default"]);
    assert_eq!(namespaces(api::GET), ["k8s.io", "default", "k8s.io"]);
    assert_eq!(*said.lock().unwrap(), [""; 0]);
}

#[test]
fn what_comes_before_events_are_told_is_in_a_second_list() {
    let root = TempDir::new().unwrap();
    let engine = Engine::default();
    let _serving = engine.at(&root.path().join("run/k3s/containerd/containerd.sock"));
    let (sources, _) = follow(root.path());
    until("it is listed", || engine.times_asked(api::LIST) == 3);
    engine.put("k8s.io", named(ID, "in between"));
    let catalog = sources.catalog();
    until("it is known", || {
        name_of(&catalog, ID).as_deref() == Some("in between")
    });
    assert_eq!(engine.times_asked(api::GET), 0);
}

#[test]
fn what_is_known_stays_while_it_is_away_and_is_read_anew_when_it_is_back() {
    let root = TempDir::new().unwrap();
    let socket = root.path().join("run/containerd/containerd.sock");
    let engine = Engine::default();
    engine.put("default", named(ID, "before"));
    let serving = engine.at(&socket);
    let (sources, said) = follow(root.path());
    let catalog = sources.catalog();
    until("the first", || name_of(&catalog, ID).is_some());
    drop(serving);
    until("a word of trouble", || !said.lock().unwrap().is_empty());
    assert_eq!(name_of(&catalog, ID).as_deref(), Some("before"), "it stays");
    let said = said.lock().unwrap()[0].clone();
    assert!(
        said.starts_with("Trouble(\"names of containers by ")
            && said.contains("containerd.sock are not known"),
        "{said}"
    );
    engine.put("default", named(ID, "after"));
    let _serving = engine.at(&socket);
    until("it is read anew", || {
        name_of(&catalog, ID).as_deref() == Some("after")
    });
}

#[test]
fn of_a_container_what_names_it_is_kept() {
    let labels = [
        ("nerdctl/name", "shop-web-1"),
        ("com.docker.compose.service", "web"),
        ("com.docker.compose.project", "shop"),
        ("nerdctl/hostname", "secret"),
    ];
    let found = describe(container(ID, "docker.io/library/web:2", &labels)).unwrap();
    assert_eq!(
        (found.name.as_deref(), found.runtime),
        (Some("shop-web-1"), "containerd")
    );
    assert_eq!(
        (found.service.as_deref(), found.project.as_deref()),
        (Some("web"), Some("shop"))
    );
    let image = found.image.as_ref().unwrap();
    assert_eq!(
        (image.name.as_str(), image.tag.as_deref()),
        ("docker.io/library/web", Some("2"))
    );
    assert!(!format!("{found:?}").contains("secret"));
    let labels = [
        ("io.kubernetes.pod.name", "orders-6d4cf56db6-x7k2p"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.container.name", "app"),
    ];
    let pod = describe(container(ID, "", &labels)).unwrap().pod.unwrap();
    assert_eq!(pod.name, "orders-6d4cf56db6-x7k2p");
    assert_eq!(
        (pod.namespace.as_deref(), pod.container.as_deref()),
        (Some("shop"), Some("app"))
    );
    for nothing in [
        container("", "web:2", &[]),
        container(ID, "", &[("other", "label")]),
        container(ID, "", &[("nerdctl/name", "")]),
    ] {
        assert_eq!(describe(nothing), None);
    }
}

#[test]
fn a_socket_that_is_not_mounted_is_not_asked() {
    let root = TempDir::new().unwrap();
    assert!(sockets(root.path()).is_empty());
    let path = root.path().join("run/k3s/containerd");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("containerd.sock"), "").unwrap();
    assert_eq!(
        sockets(root.path()),
        [("k3s", path.join("containerd.sock"))],
        "only what is there"
    );
}
