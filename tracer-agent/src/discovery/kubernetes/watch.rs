//! The pods of this node, listed once and followed from there on.
//!
//! ```text
//!   list (from the API server's cache) ─▶ watch from its version ── the time agreed on is over ─▶ watch from the last version
//!        ▲                                     ├── the history is gone (410) ─▶ list, of what is true now
//!        │                                     └── anything else goes wrong ─▶ wait, longer each time ─▶ watch from the last version
//!        └── wait, longer each time ◀── a list goes wrong
//! ```
//!
//! A watch goes on from the last version that was told, by an event or by a bookmark, so nothing is missed between two; a list is
//! the whole truth and takes the place of what was known.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::atomic::Ordering,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        catalog::{Catalog, PODS_MAX},
        http::{Answer, Connection, Trouble, deadline},
        json::{Level, Objects},
        sources::Report,
    },
    Access, Node, Pod,
};

/// Bytes of one pod: more than etcd keeps of one object (1.5 MiB) in the longer form that JSON is.
const POD_MAX: usize = 4 << 20;
/// Pods of one page, where the API server takes the word for it: from its cache it gives all of a node at once.
const PAGE: usize = 100;
/// Pages of one list; a server that never ends one is none.
const PAGES_MAX: usize = 1000;
/// For one page of a list to come as a whole.
const LIST_LASTS: Duration = Duration::from_secs(60);
/// For one watch to last, up to twice that; the server ends it.
const WATCH_LASTS: Duration = Duration::from_secs(300);
/// A server that has not ended a watch so long after it should have is away.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// The first wait after something went wrong, and the longest.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Which state of the pods a list is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Any that the API server has at hand: cheap, which matters when the agents of all nodes start at once.
    Any,
    /// The present one: what was at hand before was too old to be followed.
    Present,
}

/// Where following goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    List(State),
    /// What changes after this version.
    Version(String),
}

/// Follows the pods of a node for ever.
pub(in super::super) async fn follow(access: Access, node: Node, catalog: &Catalog, report: &Report) {
    let mut follower = Follower {
        access: &access,
        node: &node,
        catalog,
        report,
        connection: None,
        from: From::List(State::Any),
        failures: 0,
    };
    loop {
        let Err(trouble) = follower.run().await;
        let is_first = follower.failures == 0;
        if trouble == Trouble::Gone {
            follower.from = From::List(State::Present);
        } else {
            follower.connection = None;
        }
        // To have missed much is no fault of anybody, if it does not come again at once.
        if trouble != Trouble::Gone || !is_first {
            catalog.counters().failed.fetch_add(1, Ordering::Relaxed);
            report.trouble(&format!("pods of node {}", node.name), &trouble);
            tokio::time::sleep(wait(follower.failures, random())).await;
        }
        follower.failures = follower.failures.saturating_add(1);
    }
}

/// The wait after so many failures in a row: doubled each time, then between a half and the whole of it.
fn wait(failures: u32, random: u64) -> Duration {
    let whole = WAITS[0].saturating_mul(1 << failures.min(16)).min(WAITS[1]);
    let half = whole / 2;
    half + half * u32::from((random & 0xffff) as u16) / 0xffff
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

struct Follower<'a> {
    access: &'a Access,
    node: &'a Node,
    catalog: &'a Catalog,
    report: &'a Report,
    connection: Option<Connection>,
    from: From,
    /// In a row.
    failures: u32,
}

/// What ends a life that has no end of its own.
enum Never {}

impl Follower<'_> {
    async fn run(&mut self) -> Result<Never, Trouble> {
        loop {
            match self.from.clone() {
                From::List(state) => self.from = From::Version(self.list(state).await?),
                From::Version(version) => self.watch(version).await?,
            }
        }
    }

    /// Takes in all pods; the version to go on from.
    async fn list(&mut self, state: State) -> Result<String, Trouble> {
        let mut pods = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES_MAX {
            // A further page is of the state of the first.
            let of = match state {
                State::Any if next.is_empty() => "&resourceVersion=0",
                _ => "",
            };
            let next_page = match next.as_str() {
                "" => String::new(),
                next => format!("&continue={}", escaped(next)),
            };
            let answer = self
                .get(&format!("limit={PAGE}{of}{next_page}"), LIST_LASTS)
                .await?;
            let page = self.page(answer, &mut pods).await?;
            match page.next {
                Some(more) if !more.is_empty() => next = more,
                _ => {
                    self.report.known(pods.len(), self.node);
                    self.catalog.replace_pods(pods);
                    return Ok(page.resource_version);
                }
            }
        }
        Err(Trouble::Malformed(format!(
            "a list of more than {PAGES_MAX} pages"
        )))
    }

    async fn page(&self, mut answer: Answer, pods: &mut Vec<Pod>) -> Result<PageMetadata, Trouble> {
        let mut objects = Objects::new(Level::Items, POD_MAX);
        let mut malformed = 0;
        while let Some(piece) = answer.piece().await? {
            let mut each = |object: &[u8]| match Pod::parse(object) {
                Ok(pod) if pods.len() < PODS_MAX => pods.push(pod),
                _ => malformed += 1,
            };
            objects.push(&piece, &mut each).map_err(not_understood)?;
        }
        self.count(malformed + objects.oversized());
        let rest = objects
            .rest()
            .ok_or_else(|| Trouble::Malformed("a list that is cut off".to_owned()))?;
        let page: Page = serde_json::from_slice(rest).map_err(not_understood)?;
        Ok(page.metadata)
    }

    /// Takes in what changes until the server ends it.
    async fn watch(&mut self, mut version: String) -> Result<(), Trouble> {
        let lasts = WATCH_LASTS + WATCH_LASTS * u32::from((random() & 0xff) as u8) / 0xff;
        let what = format!(
            "watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
            lasts.as_secs(),
            escaped(&version)
        );
        let began = deadline(Duration::ZERO);
        let mut answer = self.get(&what, lasts + WATCH_GRACE).await?;
        let mut objects = Objects::new(Level::Stream, POD_MAX);
        let mut oversized = 0;
        let mut is_silent = true;
        while let Some(piece) = answer.piece().await? {
            let mut outcome = Ok(());
            let mut each = |object: &[u8]| {
                if outcome.is_ok() {
                    outcome = self.event(object, &mut version);
                }
            };
            let followed = objects.push(&piece, &mut each);
            // What was told before something went wrong is not to be told again.
            self.from = From::Version(version.clone());
            outcome?;
            followed.map_err(not_understood)?;
            self.count(objects.oversized() - oversized);
            oversized = objects.oversized();
            is_silent = false;
            self.failures = 0;
        }
        if is_silent && began.elapsed() < WAITS[0] {
            return Err(Trouble::Away("a watch that ends at once".to_owned()));
        }
        self.failures = 0;
        Ok(())
    }

    fn event(&self, json: &[u8], version: &mut String) -> Result<(), Trouble> {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else {
            self.count(1);
            return Ok(());
        };
        if event.kind == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(not_understood)?;
            return Err(match status.code {
                410 => Trouble::Gone,
                status_code => Trouble::Refused {
                    status: status_code,
                    words: super::super::text::clean(&status.message),
                },
            });
        }
        let versioned: Versioned = serde_json::from_str(event.object.get()).unwrap_or_default();
        match (event.kind, Pod::parse(event.object.get().as_bytes())) {
            ("BOOKMARK", _) => {}
            ("ADDED" | "MODIFIED", Ok(pod)) => self.catalog.put_pod(pod),
            ("DELETED", Ok(pod)) => self.catalog.remove_pod(&pod.uid),
            _ => self.count(1),
        }
        // Also of an event that was not understood: it is not to come again.
        if !versioned.metadata.resource_version.is_empty() {
            *version = versioned.metadata.resource_version;
        }
        Ok(())
    }

    async fn get(&mut self, what: &str, lasts: Duration) -> Result<Answer, Trouble> {
        let selector = escaped(&format!("spec.nodeName={}", self.node.name));
        let path = format!("/api/v1/pods?fieldSelector={selector}&{what}");
        let (host, token) = (self.access.authority(), self.access.token()?);
        // The connection of the request before may have been closed since; a new one is not tried twice.
        if let Some(mut open) = self.connection.take() {
            match open.get(&host, &path, Some(&token), lasts).await {
                Err(Trouble::Away(_)) => {}
                answered => {
                    self.connection = Some(open);
                    return answered;
                }
            }
        }
        let connection = self.access.connect().await?;
        let connection = self.connection.insert(connection);
        connection.get(&host, &path, Some(&token), lasts).await
    }

    fn count(&self, malformed: u64) {
        self.catalog
            .counters()
            .malformed
            .fetch_add(malformed, Ordering::Relaxed);
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn not_understood(error: impl std::fmt::Display) -> Trouble {
    Trouble::Malformed(error.to_string())
}

/// A list without its items.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Versioned {
    metadata: VersionedMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VersionedMetadata {
    resource_version: String,
}

#[cfg(test)]
mod tests {
    use super::{WAITS, wait};

    #[test]
    fn waits_grow_to_their_bound_and_are_never_less_than_half() {
        assert_eq!(wait(0, 0), WAITS[0] / 2);
        assert_eq!(wait(0, u64::MAX), WAITS[0]);
        assert_eq!(wait(2, u64::MAX), WAITS[0] * 4);
        assert_eq!(wait(u32::MAX, u64::MAX), WAITS[1]);
    }
}
