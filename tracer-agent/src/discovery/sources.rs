//! Those who know more of processes than `/proc`: the Kubernetes API and the sockets of container runtimes, each asked on a thread
//! of its own room, away from the core.
//!
//! In: which of them to ask. Out: the catalogue, filled as they answer. Kept true: nobody waits for them; that they are away is
//! said and counted, and ends nothing.

use std::{cell::RefCell, io, path::Path, rc::Rc, sync::Arc, thread};

use tokio::{runtime, sync::oneshot, task::LocalSet};

use super::{
    catalog::Catalog,
    containerd, docker,
    http::Trouble,
    kubernetes::{self, Access, Node},
};

/// Hears what is to be said, from the thread of the sources; must not block.
pub type Notify = Box<dyn Fn(Notice) + Send>;

/// What a source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something cannot be known at the moment.
    Trouble(String),
    /// So many places are known.
    Known(String),
}

/// Whom to ask.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The API server, about this node.
    pub kubernetes: Option<(Access, Node)>,
    /// Whether runtimes are asked.
    pub containers: bool,
}

/// The thread that asks; it ends with this value.
#[derive(Debug)]
pub struct Sources {
    catalog: Arc<Catalog>,
    /// Kept, not used: the thread ends when it is gone.
    _stop: oneshot::Sender<()>,
}

/// How the tasks speak.
pub(super) struct Report {
    notify: Notify,
    /// What was said last, by what it is about: the same is not said again until it was otherwise.
    said: RefCell<Vec<(String, String)>>,
}

impl Sources {
    /// Begins to ask; `None` if there is nobody to ask. `begin` is the first that the thread does.
    ///
    /// # Errors
    /// When there is no thread or no runtime.
    pub fn start(asked: Asked, root: &Path, notify: Notify, begin: fn()) -> io::Result<Option<Self>> {
        let (sockets, of_containerd) = match asked.containers {
            true => (docker::sockets(root), containerd::sockets(root)),
            false => Default::default(),
        };
        if asked.kubernetes.is_none() && sockets.is_empty() && of_containerd.is_empty() {
            return Ok(None);
        }
        let catalog = Arc::new(Catalog::new()?);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let filled = Arc::clone(&catalog);
        let ask = move || {
            begin();
            let report = Report {
                notify,
                said: RefCell::default(),
            };
            let (catalog, report) = (filled, Rc::new(report));
            let tasks = LocalSet::new();
            if let Some((access, node)) = asked.kubernetes {
                let (catalog, report) = (Arc::clone(&catalog), Rc::clone(&report));
                tasks.spawn_local(async move { kubernetes::follow(access, node, &catalog, &report).await });
            }
            for (runtime, socket) in sockets {
                let (catalog, report) = (Arc::clone(&catalog), Rc::clone(&report));
                tasks.spawn_local(async move { docker::follow(runtime, socket, &catalog, &report).await });
            }
            for (source, socket) in of_containerd {
                let (catalog, report) = (Arc::clone(&catalog), Rc::clone(&report));
                tasks.spawn_local(async move {
                    containerd::follow(source, socket, &catalog, &report).await;
                });
            }
            runtime.block_on(async move {
                tokio::select! { () = tasks => (), _ = stopped => () }
            });
        };
        thread::Builder::new().name("identity".to_owned()).spawn(ask)?;
        Ok(Some(Self { catalog, _stop: stop }))
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }
}

impl Report {
    /// A source is away.
    pub(super) fn trouble(&self, about: &str, trouble: &Trouble) {
        if self.is_news(about, &trouble.to_string()) {
            (self.notify)(Notice::Trouble(format!(
                "{about} are not known, or not as they are now: {trouble}"
            )));
        }
    }

    /// A list was read.
    pub(super) fn known(&self, pods: usize, node: &Node) {
        let about = format!("pods of node {}", node.name);
        let hint = match (pods, node.is_guessed) {
            (0, true) => "; this is the name of the host, set K8S_NODE_NAME to that of the node",
            _ => "",
        };
        if self.is_news(&about, "known") {
            let text = format!("{pods} {about} are known{hint}");
            let notice = match hint {
                "" => Notice::Known(text),
                _ => Notice::Trouble(text),
            };
            (self.notify)(notice);
        }
    }

    fn is_news(&self, about: &str, what: &str) -> bool {
        let mut said = self.said.borrow_mut();
        match said.iter_mut().find(|(known, _)| known == about) {
            Some((_, last)) if last == what => false,
            Some((_, last)) => {
                what.clone_into(last);
                true
            }
            None => {
                said.push((about.to_owned(), what.to_owned()));
                true
            }
        }
    }
}
