//! What is kept of the value of a field of HTTP/2, by its name, and which name each entry of the dynamic table has.

use std::collections::VecDeque;

use super::{
    head::{MAX_METHOD, is_token},
    names::{KNOWN, OF_CLIENT},
    target::Target,
};
use crate::{privacy::Privacy, protocols::http2::hpack};

/// What is kept of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing.
    Masked,
    /// All of it.
    Kept,
    /// All of it, unless privacy is strict.
    OfClient,
    /// A token no longer than a method.
    Word,
    /// A number.
    Digits,
    /// Path and query keys: see [`Target`].
    Target,
    /// Host and port.
    Authority,
}

impl Rule {
    /// Of a field with this name; `None` if the name is not known, and is not kept either.
    pub fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":method" | b":scheme" => Self::Word,
            b":status" | b"grpc-status" => Self::Digits,
            b":path" => Self::Target,
            b":authority" | b"host" => Self::Authority,
            b":protocol" => Self::Masked,
            _ => {
                let known = KNOWN
                    .binary_search_by(|known| known.name.as_bytes().cmp(name))
                    .ok()
                    .and_then(|place| KNOWN.get(place))?;
                if known.name == OF_CLIENT {
                    Self::OfClient
                } else if known.value_is_kept {
                    Self::Kept
                } else {
                    Self::Masked
                }
            }
        })
    }

    /// Says of each byte of a value whether it is kept.
    pub fn judge(self, value: &[u8], privacy: Privacy, kept: &mut Vec<bool>) {
        let all = match self {
            Self::Masked => false,
            Self::Kept => true,
            Self::OfClient => privacy != Privacy::Strict,
            Self::Word => value.len() <= usize::from(MAX_METHOD) && value.iter().all(|byte| is_token(*byte)),
            Self::Digits => value.iter().all(u8::is_ascii_digit),
            Self::Target => return Target::Start.judge(value, privacy, kept),
            Self::Authority => return Target::Authority.judge(value, privacy, kept),
        };
        kept.extend(value.iter().map(|_| all));
    }
}

/// The rules for the entries of a dynamic table, from the newest on, as far as they were seen to come in.
///
/// How large the table may be is of no consequence: a peer does not ask for entries that it has let go.
#[derive(Debug, Default)]
pub(super) struct Rules(VecDeque<Rule>);

impl Rules {
    /// As many as the core keeps at most.
    pub const MAX: usize = hpack::MAX_KEPT / hpack::OVERHEAD;

    /// For a value beside the name that has this index; [`Rule::Masked`] where that name is not known.
    pub fn at(&self, index: usize) -> Rule {
        let rule = match hpack::entry(index) {
            Some((name, _)) => Rule::of(name),
            None => index
                .checked_sub(hpack::FIRST_DYNAMIC)
                .and_then(|place| self.0.get(place).copied()),
        };
        rule.unwrap_or(Rule::Masked)
    }

    /// An entry comes in.
    pub fn insert(&mut self, rule: Rule) {
        self.0.push_front(rule);
        self.0.truncate(Self::MAX);
    }

    /// What is in the table is not known any more.
    pub fn forget(&mut self) {
        self.0 = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, Rules};
    use crate::protocols::propagation::CONTEXT_HEADERS;

    #[test]
    fn what_the_core_reads_of_http2_is_kept() {
        for name in CONTEXT_HEADERS.iter().chain(&["content-type"]) {
            assert_eq!(Rule::of(name.as_bytes()), Some(Rule::Kept), "{name}");
        }
        assert_eq!(Rule::of(b"user-agent"), Some(Rule::OfClient));
        for name in [
            ":method",
            ":scheme",
            ":status",
            ":path",
            ":authority",
            "grpc-status",
        ] {
            let rule = Rule::of(name.as_bytes());
            assert!(!matches!(rule, None | Some(Rule::Masked)), "{name}");
        }
    }

    #[test]
    fn entries_are_counted_from_the_newest_behind_those_that_are_fixed() {
        let mut rules = Rules::default();
        rules.insert(Rule::Target);
        rules.insert(Rule::Word);
        let at = |index| rules.at(index);
        assert_eq!([at(62), at(63), at(64)], [Rule::Word, Rule::Target, Rule::Masked]);
        assert_eq!(
            [at(1), at(4), at(8), at(23)],
            [Rule::Authority, Rule::Target, Rule::Digits, Rule::Masked]
        );
        assert_eq!([at(0), at(usize::MAX)], [Rule::Masked; 2]);
        for _ in 0..2 * Rules::MAX {
            rules.insert(Rule::Kept);
        }
        assert_eq!(rules.0.len(), Rules::MAX);
    }
}
