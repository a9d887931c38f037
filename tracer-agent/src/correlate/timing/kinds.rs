//! Which requests are alike: those to one peer, with one method, whose path begins with one word.

use std::collections::HashMap;

use compact_str::CompactString;

use super::Kind;
use crate::{capture::address::Address, protocols::exchange::Request};

/// Kinds of one process that are told apart; past it all others are one.
const MAX_KINDS: Kind = 64;
/// Words of a path are shorter; what is longer or has a digit in it names a thing and not a kind of things.
const MAX_WORD: usize = 24;

/// The kinds of the requests that a process gets and makes.
#[derive(Debug, Default)]
pub struct Kinds {
    known: HashMap<Alike, Kind>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alike {
    peer: Option<Address>,
    method: CompactString,
    word: CompactString,
}

impl Kinds {
    /// The kind of a request, to this peer if it is made by the process.
    pub fn of(&mut self, request: &Request, peer: Option<Address>) -> Kind {
        let kind = Alike {
            peer,
            method: request.method.clone(),
            word: word(&request.target).into(),
        };
        if let Some(number) = self.known.get(&kind) {
            return *number;
        }
        let next = Kind::try_from(self.known.len()).unwrap_or(Kind::MAX);
        if next < MAX_KINDS {
            self.known.insert(kind, next);
        }
        next
    }
}

/// The first word of a path, if it is one.
fn word(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_word = first.len() <= MAX_WORD
        && first
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"-_.".contains(&byte));
    if is_word { first } else { "" }
}
