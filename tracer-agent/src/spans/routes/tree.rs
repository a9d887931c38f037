//! The templates of one service, as a tree of segments.
//!
//! ```text
//! /users/{id}/orders    (root)─users─{id}─orders
//! /users/search                  └──search
//! ```
//!
//! A segment that looks like an id is under the placeholder from its first sight. Any other is a name, until its place has seen more
//! than [`MAX_RARE`] that hardly ever came again: then those were ids, what is under them becomes one, and the place is closed: nothing new is
//! a name there any more. Names that come often stay.

use crate::privacy::is_id;

/// Names in one place that were seen fewer times than [`OFTEN`].
pub(super) const MAX_RARE: usize = 40;
const OFTEN: u32 = 16;
/// Names in one place.
pub(super) const MAX_NAMES: usize = 128;
/// Segments of a template; what follows is `{path...}`.
pub(super) const MAX_DEPTH: usize = 12;

const PLACEHOLDER: &str = "{id}";
const REST: &str = "{path...}";

/// The templates of one service.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
    nodes: usize,
}

/// A template that was learned.
#[derive(Debug)]
pub(super) struct Template {
    pub template: String,
    /// It ends in [`REST`].
    pub is_cut: bool,
}

/// What is known of one place.
#[derive(Debug, Default)]
struct Node {
    /// By name, in order; at most [`MAX_NAMES`].
    names: Vec<(Box<str>, Node)>,
    placeholder: Option<Box<Node>>,
    /// How often it was passed.
    seen: u32,
    /// What is no name yet is none.
    is_closed: bool,
    /// There was no room for what is not there yet.
    is_full: bool,
    /// A path ended here.
    is_end: bool,
}

/// What there is room for.
struct Room<'a> {
    of_all: &'a mut usize,
    of_tree: &'a mut usize,
}

impl Room<'_> {
    fn take(&mut self) -> bool {
        let is_there = *self.of_all > 0 && *self.of_tree < super::MAX_NODES_OF_ONE;
        if is_there {
            *self.of_all -= 1;
            *self.of_tree += 1;
        }
        is_there
    }

    fn give_back(&mut self) {
        *self.of_all = self.of_all.saturating_add(1);
        *self.of_tree = self.of_tree.saturating_sub(1);
    }
}

impl Tree {
    /// Learns a path, and gives its template. The host decides where it is looked for, and is not in it.
    pub fn learn<'a>(
        &mut self,
        host: Option<&'a str>,
        segments: impl Iterator<Item = &'a str>,
        room: &mut usize,
    ) -> Template {
        let mut room = Room {
            of_all: room,
            of_tree: &mut self.nodes,
        };
        let mut template = String::new();
        let mut node = &mut self.root;
        for (depth, segment) in host.into_iter().chain(segments).enumerate() {
            let is_shown = depth > 0 || host.is_none();
            // Of a host nothing is shown, so that it is none of too many needs no room.
            let step = match depth {
                0..MAX_DEPTH => node.step(segment, &mut room),
                _ => None,
            };
            let Some((shown, next)) = step else {
                push(&mut template, REST);
                return Template {
                    template,
                    is_cut: true,
                };
            };
            if is_shown {
                push(&mut template, shown);
            }
            node = next;
        }
        node.is_end = true;
        Template {
            template,
            is_cut: false,
        }
    }

    /// The template that a path would have, if one was learned that it fits.
    pub fn find<'a>(&self, host: Option<&'a str>, segments: impl Iterator<Item = &'a str>) -> Option<String> {
        let mut template = String::new();
        let mut node = &self.root;
        for (depth, segment) in host.into_iter().chain(segments).enumerate() {
            let Some((shown, next)) = node.find(segment) else {
                let is_cut = node.is_full || depth >= MAX_DEPTH;
                return is_cut.then(|| {
                    push(&mut template, REST);
                    template
                });
            };
            if depth > 0 || host.is_none() {
                push(&mut template, shown);
            }
            node = next;
        }
        node.is_end.then_some(template)
    }
}

fn push(template: &mut String, segment: &str) {
    template.push('/');
    template.push_str(segment);
}

impl Node {
    fn place(&self, segment: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|(name, _)| (**name).cmp(segment))
    }

    /// Where a segment leads; `None` where nothing was learned.
    fn find(&self, segment: &str) -> Option<(&str, &Self)> {
        if let Some((name, next)) = self.place(segment).ok().and_then(|place| self.names.get(place)) {
            return Some((name, next));
        }
        let next = self.placeholder.as_deref()?;
        (!segment.is_empty() && (self.is_closed || is_id(segment))).then_some((PLACEHOLDER, next))
    }

    /// Where a segment leads, from now on too; `None` where there is no room.
    fn step<'a>(&'a mut self, segment: &'a str, room: &mut Room<'_>) -> Option<(&'a str, &'a mut Self)> {
        let place = match self.place(segment) {
            Ok(place) => Some(place),
            Err(place) => {
                // The end of a path with a slash is not one of many.
                let is_name = segment.is_empty() || !(self.is_closed || is_id(segment));
                if is_name && self.has_too_many() {
                    self.close(room);
                }
                let is_name = is_name && (segment.is_empty() || !self.is_closed);
                if is_name {
                    if self.is_full || !room.take() {
                        self.is_full = true;
                        return None;
                    }
                    self.names.insert(place, (segment.into(), Self::default()));
                }
                is_name.then_some(place)
            }
        };
        let (shown, next) = match place {
            Some(place) => (segment, &mut self.names.get_mut(place)?.1),
            None => {
                if self.placeholder.is_none() && (self.is_full || !room.take()) {
                    self.is_full = true;
                    return None;
                }
                (PLACEHOLDER, &mut **self.placeholder.get_or_insert_default())
            }
        };
        next.seen = next.seen.saturating_add(1);
        Some((shown, next))
    }

    fn has_too_many(&self) -> bool {
        // An empty one is not counted, but it is in the way of none either.
        let rare = self
            .names
            .iter()
            .filter(|(name, node)| is_rare(name, node))
            .count();
        rare >= MAX_RARE || self.names.len() >= MAX_NAMES
    }

    /// What is rare here are ids, now and always.
    fn close(&mut self, room: &mut Room<'_>) {
        self.is_closed = true;
        let (rare, names) = std::mem::take(&mut self.names)
            .into_iter()
            .partition(|(name, node)| is_rare(name, node));
        self.names = names;
        let rare: Vec<(Box<str>, Self)> = rare;
        for (_, node) in rare {
            self.merge_into_placeholder(node, room);
        }
    }

    fn merge_into_placeholder(&mut self, node: Self, room: &mut Room<'_>) {
        match &mut self.placeholder {
            Some(placeholder) => placeholder.merge(node, room),
            None => self.placeholder = Some(Box::new(node)),
        }
    }

    /// What is under another place is under this one. No deeper than [`MAX_DEPTH`].
    fn merge(&mut self, other: Self, room: &mut Room<'_>) {
        room.give_back();
        self.seen = self.seen.saturating_add(other.seen);
        self.is_full |= other.is_full;
        self.is_end |= other.is_end;
        if other.is_closed && !self.is_closed {
            self.close(room);
        }
        for (name, node) in other.names {
            match self.place(&name) {
                Ok(place) => {
                    if let Some((_, known)) = self.names.get_mut(place) {
                        known.merge(node, room);
                    }
                }
                Err(_) if self.is_closed && is_rare(&name, &node) => self.merge_into_placeholder(node, room),
                Err(place) => self.names.insert(place, (name, node)),
            }
        }
        if let Some(placeholder) = other.placeholder {
            self.merge_into_placeholder(*placeholder, room);
        }
        if self.has_too_many() {
            self.close(room);
        }
    }
}

fn is_rare(name: &str, node: &Node) -> bool {
    node.seen < OFTEN && !name.is_empty()
}
