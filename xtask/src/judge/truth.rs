//! The true tree, rebuilt from the paths that were called.

use std::collections::HashSet;

use super::Kind;

/// The calls that were made, each with the spans it should give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    paths: HashSet<String>,
    roots_are_traced: bool,
}

/// One call: `/job/ID`, or `/via/job/ID` on the way to a proxy that makes it `/job/ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    id: &'a str,
}

impl<'a> Call<'a> {
    const WORK: &'static str = "/job/";

    /// The call of this path, if it is one of a workload.
    pub fn parse(path: &'a str) -> Option<Self> {
        let (_, id) = path.rsplit_once(Self::WORK)?;
        (!id.is_empty()).then_some(Self { id })
    }

    /// The id of the request in whose course it was made; `None` for a root.
    pub fn parent_id(self) -> Option<&'a str> {
        Some(self.id.rsplit_once('.')?.0)
    }
}

pub(super) fn is_work(path: &str) -> bool {
    Call::parse(path).is_some()
}

impl Truth {
    /// The truth of a workload that called these paths. `roots_are_traced`: the agent traced the program that
    /// sent the root requests too, so that they have a client span.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>, roots_are_traced: bool) -> Self {
        let paths = paths.into_iter().filter(|path| is_work(path));
        Self {
            paths: paths.map(ToOwned::to_owned).collect(),
            roots_are_traced,
        }
    }

    /// Every span that should be there, as path and kind.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.paths
            .iter()
            .flat_map(|path| [(path.as_str(), Kind::Server), (path.as_str(), Kind::Client)])
            .filter(|end| self.contains(*end))
    }

    /// Whether a span for this end of this call should be there.
    pub(super) fn contains(&self, (path, kind): (&str, Kind)) -> bool {
        self.paths.contains(path)
            && (kind == Kind::Server || self.roots_are_traced || self.made_for(path).is_some())
    }

    /// The span that is the parent of this one: of a server span the client span of the same call, of a client
    /// span the server span of the request it was made for.
    pub(super) fn parent_of(&self, (path, kind): (&str, Kind)) -> Option<(&str, Kind)> {
        match kind {
            Kind::Server => {
                let path = self.paths.get(path)?.as_str();
                self.contains((path, Kind::Client))
                    .then_some((path, Kind::Client))
            }
            Kind::Client => self.made_for(path).map(|path| (path, Kind::Server)),
        }
    }

    /// The call in whose course this one was made: the same one before a proxy took a segment off, else that of
    /// the parent id as its server saw it.
    fn made_for(&self, path: &str) -> Option<&str> {
        let call = Call::parse(path)?;
        if let Some(before) = self.paths.get(&format!("/via{path}")) {
            return Some(before);
        }
        let parent = format!("{}{}", Call::WORK, call.parent_id()?);
        self.paths.get(&parent).map(String::as_str)
    }
}
