//! Routes that are learned: of each service the templates of its paths, as the paths come. In: a path that holds no secret any more,
//! and whether the service knew it. Out: its template, such as `/users/{id}`.
//!
//! Kept true: the same paths in the same order give the same templates; a template is only ever made more general, never less; of all
//! services together there are at most [`MAX_NODES`] segments, whatever is asked for.

mod methods;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;

use self::{methods::Methods, tree::Tree};
use crate::protocols::exchange::Side;

/// Segments that are remembered of all services together.
pub const MAX_NODES: usize = 16_384;
/// Segments that are remembered of the requests that one service gets, or makes.
pub const MAX_NODES_OF_ONE: usize = 1_024;
/// Services of which routes are learned one by one; the others share theirs.
pub const MAX_SERVICES: usize = 256;

/// What was learned of the paths that services serve and call.
#[derive(Debug)]
pub struct Routes {
    /// By name; at most [`MAX_SERVICES`].
    services: HashMap<String, Service, foldhash::fast::RandomState>,
    others: Service,
    /// Segments for which there is room yet.
    room: usize,
    counters: Counters,
}

/// What could not be learned as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Spans of services that share what is learned, being too many.
    pub shared: u64,
    /// Spans whose route ends in `{path...}` because there was no room for more segments, or because the path has too many.
    pub cut: u64,
    /// Calls by gRPC whose method is `_OTHER`, because its service was called by too many.
    pub other_methods: u64,
}

#[derive(Debug, Default)]
struct Service {
    served: Learned,
    called: Learned,
}

/// What is learned of one side of a service.
#[derive(Debug, Default)]
struct Learned {
    paths: Tree,
    methods: Methods,
}

impl Counters {
    /// Each with its name.
    pub fn by_cause(self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("routes_shared", self.shared),
            ("routes_cut", self.cut),
            ("methods_other", self.other_methods),
        ]
        .into_iter()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            services: HashMap::default(),
            others: Service::default(),
            room: MAX_NODES,
            counters: Counters::default(),
        }
    }
}

impl Routes {
    /// The template of a path of a service, or of one that it calls at `host`. Where the path is `known` to the service it is
    /// learned; otherwise the template is given that it would have, if there is one.
    pub fn template(
        &mut self,
        service: &str,
        side: Side,
        host: &str,
        path: &str,
        known: bool,
    ) -> Option<String> {
        let path = path.strip_prefix('/')?;
        let segments = path.split('/');
        let room = self.room;
        let tree = &mut self.side(service, side).paths;
        // What is called at one host has nothing to do with what is called at another.
        let host = match side {
            Side::Inbound => None,
            Side::Outbound => Some(host),
        };
        if !known {
            return tree.find(host, segments);
        }
        let mut left = room;
        let learned = tree.learn(host, segments, &mut left);
        self.room = left;
        self.counters.cut += u64::from(learned.is_cut);
        Some(learned.template)
    }

    /// Whether the name of a method of gRPC can be shown, its service having no more of them than can be told apart.
    pub fn has_method(&mut self, service: &str, side: Side, method: &str) -> bool {
        let is_there = self.side(service, side).methods.learn(method);
        self.counters.other_methods += u64::from(!is_there);
        is_there
    }

    /// What could not be learned as it should be.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Segments that are remembered.
    pub const fn nodes(&self) -> usize {
        MAX_NODES - self.room
    }

    fn side(&mut self, service: &str, side: Side) -> &mut Learned {
        let is_there = self.services.contains_key(service);
        if !is_there && self.services.len() < MAX_SERVICES {
            self.services.insert(service.to_owned(), Service::default());
        }
        let service = match self.services.get_mut(service) {
            Some(service) => service,
            None => {
                self.counters.shared += 1;
                &mut self.others
            }
        };
        match side {
            Side::Inbound => &mut service.served,
            Side::Outbound => &mut service.called,
        }
    }
}
