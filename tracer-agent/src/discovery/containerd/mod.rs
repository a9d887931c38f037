//! Names of containers by containerd's own socket, where it is mounted: what `nerdctl` and `ctr` run, and the pods of a node whose
//! API cannot be asked.
//!
//! In: its containers, and what happens to them. Out: [`Described`] containers in the catalogue. Kept true: a container is asked for
//! once it is created; of its labels only those that name it are read, and of how it runs nothing.
//!
//! Docker's own containers are in a namespace of containerd without their names; they are left to its socket.

mod api;
mod client;

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use prost::Message as _;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, timeout_at},
};

use super::{
    catalog::{CONTAINERS_MAX, Catalog},
    docker::{self, Described, OfPod},
    http::Trouble,
    image::Image,
    sources::Report,
    text,
};
use api::{Container, Envelope, OfContainer};
use client::Client;

/// Of Kubernetes, of Docker, and of everybody who says nothing.
const NAMESPACES: [&str; 3] = ["k8s.io", "moby", "default"];
/// Everything is looked at anew after so long.
const EVENTS_LAST: Duration = Duration::from_secs(600);
/// Nobody says when events begin to be told. What was created before they were is in a second list after so long.
const LISTED_AGAIN: Duration = Duration::from_secs(2);
/// Events that are heard of while one is looked at.
const EVENTS_WAITING: usize = 64;

/// The sockets below the host's root that there may be, each with the name it has in the catalogue.
pub(super) fn sockets(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let known = [
        ("containerd", "run/containerd/containerd.sock"),
        ("k3s", "run/k3s/containerd/containerd.sock"),
    ];
    let found = known.map(|(name, path)| (name, root.join(path)));
    found.into_iter().filter(|(_, path)| path.exists()).collect()
}

/// Follows the containers behind a socket for ever.
pub(super) async fn follow(source: &'static str, socket: PathBuf, catalog: &Catalog, report: &Report) {
    let mut failures: u32 = 0;
    loop {
        let outcome = watch(source, &socket, catalog, &mut failures).await;
        let Err(trouble) = outcome else { continue };
        catalog.counters().failed.fetch_add(1, Ordering::Relaxed);
        report.trouble(&format!("names of containers by {}", socket.display()), &trouble);
        tokio::time::sleep(docker::wait(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Listens and lists at once: the answer to who listens may begin with the first event.
async fn watch(
    source: &'static str,
    socket: &Path,
    catalog: &Catalog,
    failures: &mut u32,
) -> Result<(), Trouble> {
    let client = Client::to_socket(socket.to_owned());
    let (told, hears) = mpsc::channel(EVENTS_WAITING);
    tokio::select! {
        trouble = listen(client.clone(), told) => Err(trouble),
        outcome = learn(source, client, hears, catalog, failures) => outcome,
    }
}

/// Passes on what happens; why there is no more.
async fn listen(mut client: Client, told: Sender<Envelope>) -> Trouble {
    let mut events = match client.subscribe().await {
        Ok(events) => events,
        Err(trouble) => return trouble,
    };
    loop {
        match events.message().await {
            Ok(Some(envelope)) => {
                // Who hears it ends together with this.
                let _ = told.send(envelope).await;
            }
            Ok(None) => return Trouble::Away("the events have ended".to_owned()),
            Err(status) => return client::trouble(&status),
        }
    }
}

/// Lists, and asks for whatever something has happened to.
async fn learn(
    source: &'static str,
    mut client: Client,
    mut hears: Receiver<Envelope>,
    catalog: &Catalog,
    failures: &mut u32,
) -> Result<(), Trouble> {
    let began = Instant::now();
    for until in [LISTED_AGAIN, EVENTS_LAST] {
        list(source, &mut client, catalog).await?;
        *failures = 0;
        while let Ok(heard) = timeout_at(began + until, hears.recv()).await {
            match heard {
                Some(envelope) => look(source, &mut client, &envelope, catalog).await?,
                None => return Err(Trouble::Away("the events have ended".to_owned())),
            }
        }
    }
    Ok(())
}

async fn list(source: &'static str, client: &mut Client, catalog: &Catalog) -> Result<(), Trouble> {
    let mut found = Vec::new();
    for namespace in NAMESPACES {
        let mut each = |container| match describe(container) {
            Some(container) if found.len() <= CONTAINERS_MAX => found.push(container),
            _ => {}
        };
        client.list(namespace, &mut each).await?;
    }
    catalog.replace_containers(source, found);
    Ok(())
}

/// Something has happened to a container.
async fn look(
    source: &'static str,
    client: &mut Client,
    envelope: &Envelope,
    catalog: &Catalog,
) -> Result<(), Trouble> {
    let Some(namespace) = NAMESPACES.iter().find(|name| **name == envelope.namespace) else {
        return Ok(());
    };
    let event = envelope.event.as_ref();
    let event = event.and_then(|event| OfContainer::decode(event.value.as_slice()).ok());
    let Some(OfContainer { id }) = event.filter(|event| !event.id.is_empty()) else {
        catalog.counters().malformed.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let found = match envelope.topic.as_str() {
        "/containers/delete" => None,
        _ => client.get(namespace, id.clone()).await?,
    };
    match found.and_then(describe) {
        Some(container) => catalog.put_container(source, container),
        None => catalog.remove_container(source, &id),
    }
    Ok(())
}

/// What identity takes of a container; nothing of one that has no name in containerd.
fn describe(container: Container) -> Option<Described> {
    // nerdctl's: <https://github.com/containerd/nerdctl/blob/v2.0.0/pkg/labels/labels.go>, those of the kubelet:
    // <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/kubelet/pkg/types/labels.go>.
    let label = |key: &str| container.labels.get(key).and_then(|value| text::non_empty(value));
    let pod = label("io.kubernetes.pod.name").map(|name| OfPod {
        name,
        namespace: label("io.kubernetes.pod.namespace"),
        container: label("io.kubernetes.container.name"),
    });
    let described = Described {
        id: text::non_empty(&container.id)?,
        name: label("nerdctl/name"),
        runtime: "containerd",
        image: Image::parse(&container.image),
        service: label("com.docker.compose.service"),
        project: label("com.docker.compose.project"),
        pod,
    };
    let says_something = described.name.is_some()
        || described.image.is_some()
        || described.service.is_some()
        || described.pod.is_some();
    says_something.then_some(described)
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
