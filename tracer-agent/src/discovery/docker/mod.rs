//! Names of containers by the runtime's own socket: Docker Engine, and Podman's interface of the same form.
//!
//! In: `GET /containers/json` and `GET /events`. Out: [`Described`] containers in the catalogue. Kept true: nothing but these two
//! is ever asked; a container is known once it is created, so in general before its first instruction; of its labels only those
//! that name it are read.
//!
//! What is read: <https://docs.docker.com/reference/api/engine/version/v1.47/>.

mod container;

use std::{
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use super::{
    catalog::{CONTAINERS_MAX, Catalog},
    http::{Connection, Trouble},
    json::{Level, Objects},
    sources::Report,
};
pub(super) use container::{Described, OfPod};

/// Bytes of one container or event: labels may be long.
const OBJECT_MAX: usize = 1 << 20;
/// For a list to come as a whole.
const LIST_LASTS: Duration = Duration::from_secs(30);
/// Events are asked for anew after so long, and everything is looked at again.
const EVENTS_LAST: Duration = Duration::from_secs(600);
/// Events are left to gather for so long before the list is read again.
const GATHERED: Duration = Duration::from_millis(20);
/// The first wait after something went wrong, and the longest.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Those that may run, and those that are about to: not what ended.
const LIST: &str = "/containers/json?all=1&filters=%7B%22status%22%3A%5B%22created%22%2C%22restarting%22%2C%22running%22%2C%22paused%22%5D%7D";
/// `{"type":["container"],"event":["create","rename","start","destroy"]}`
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C%22rename%22%2C%22start%22%2C%22destroy%22%5D%7D";

/// The sockets below the host's root that there may be, and what their runtime is called.
pub(super) fn sockets(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let known = [
        ("docker", "run/docker.sock"),
        ("docker", "var/run/docker.sock"),
        ("podman", "run/podman/podman.sock"),
    ];
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for (runtime, path) in known {
        let path = root.join(path);
        // `/var/run` is `/run` on most hosts.
        if path.exists() && found.iter().all(|(known, _)| *known != runtime) {
            found.push((runtime, path));
        }
    }
    found
}

/// Follows the containers behind a socket for ever.
pub(super) async fn follow(runtime: &'static str, socket: PathBuf, catalog: &Catalog, report: &Report) {
    let mut failures: u32 = 0;
    loop {
        let outcome = watch(runtime, &socket, catalog, &mut failures).await;
        let Err(trouble) = outcome else { continue };
        catalog.counters().failed.fetch_add(1, Ordering::Relaxed);
        report.trouble(&format!("names of containers by {}", socket.display()), &trouble);
        tokio::time::sleep(wait(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Doubled with each failure in a row, then between a half and the whole of it.
pub(super) fn wait(failures: u32) -> Duration {
    let whole = WAITS[0].saturating_mul(1 << failures.min(16)).min(WAITS[1]);
    let random = u32::from((RandomState::new().hash_one(0_u8) & 0xffff) as u16);
    whole / 2 + whole / 2 * random / 0xffff
}

/// Listens first and lists then, so that nothing comes about in between.
async fn watch(
    runtime: &'static str,
    socket: &Path,
    catalog: &Catalog,
    failures: &mut u32,
) -> Result<(), Trouble> {
    let mut listening = Connection::to_socket(socket).await?;
    let mut events = listening.get("localhost", EVENTS, None, EVENTS_LAST).await?;
    let mut asking = Connection::to_socket(socket).await?;
    list(runtime, &mut asking, catalog).await?;
    *failures = 0;
    loop {
        match events.piece().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Trouble::Away("the events have ended".to_owned())),
            Err(Trouble::Late) => return Ok(()),
            Err(trouble) => return Err(trouble),
        }
        // What comes with it is in the list as well.
        while let Ok(piece) = tokio::time::timeout(GATHERED, events.piece()).await {
            if piece?.is_none() {
                break;
            }
        }
        list(runtime, &mut asking, catalog).await?;
    }
}

async fn list(runtime: &'static str, asking: &mut Connection, catalog: &Catalog) -> Result<(), Trouble> {
    let mut answer = asking.get("localhost", LIST, None, LIST_LASTS).await?;
    let mut objects = Objects::new(Level::Array, OBJECT_MAX);
    let mut containers = Vec::new();
    let mut malformed = 0;
    while let Some(piece) = answer.piece().await? {
        let mut each = |object: &[u8]| match Described::parse(object, runtime) {
            Ok(container) if containers.len() <= CONTAINERS_MAX => containers.push(container),
            _ => malformed += 1,
        };
        objects
            .push(&piece, &mut each)
            .map_err(|error| Trouble::Malformed(error.to_string()))?;
    }
    let is_whole = |rest: &[u8]| rest.trim_ascii().starts_with(b"[");
    if !objects.rest().is_some_and(is_whole) {
        return Err(Trouble::Malformed("no list of containers".to_owned()));
    }
    let malformed = malformed + objects.oversized();
    catalog
        .counters()
        .malformed
        .fetch_add(malformed, Ordering::Relaxed);
    catalog.replace_containers(runtime, containers);
    Ok(())
}

#[cfg(test)]
mod tests;
