//! `tracestate` by W3C Trace Context level 2, section 3.3. Read only beside a valid `traceparent`.
//!
//! Where the specification leaves a choice: of two members with one key the left one, the newer, is kept; empty
//! members do not count towards the 32; a list over 512 characters is cut as section 3.3.1.5 says. A list that
//! breaks the grammar is dropped whole, and the `traceparent` stays.

use super::{
    Malformed,
    headers::{Headers, trim},
};

pub(super) const TRACESTATE: &str = "tracestate";

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;
/// What is kept of a longer list; the specification asks for at least this much.
const MAX_LIST: usize = 512;
/// Members longer than this are the first to go from a list that is too long.
const LARGE_MEMBER: usize = 128;

/// The members of all `tracestate` headers in order, joined by commas; `None` if there are none.
pub(super) fn read(headers: Headers<'_, '_>) -> Result<Option<String>, Malformed> {
    let mut members = Members::default();
    for value in headers.all(TRACESTATE) {
        for member in value
            .split(|byte| *byte == b',')
            .map(trim)
            .filter(|member| !member.is_empty())
        {
            members.push(Member::parse(member).ok_or(Malformed)?)?;
        }
    }
    members.shorten();
    Ok(members.join())
}

/// A valid `key=value`.
#[derive(Clone, Copy, Default)]
struct Member<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Member<'a> {
    fn parse(member: &'a [u8]) -> Option<Self> {
        let (key, value) = str::from_utf8(member).ok()?.split_once('=')?;
        let first_is_valid =
            key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
        let key_is_valid = first_is_valid && key.len() <= MAX_KEY && key.bytes().all(is_key_byte);
        let value_is_valid =
            !value.is_empty() && value.len() <= MAX_VALUE && value.bytes().all(is_value_byte);
        (key_is_valid && value_is_valid).then_some(Self { key, value })
    }

    fn len(&self) -> usize {
        self.key.len() + "=".len() + self.value.len()
    }
}

fn is_key_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@')
}

fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b',' && byte != b'='
}

/// At most 32 members without repeated keys.
#[derive(Default)]
struct Members<'a> {
    list: [Option<Member<'a>>; MAX_MEMBERS],
    pushed: usize,
}

impl<'a> Members<'a> {
    fn push(&mut self, member: Member<'a>) -> Result<(), Malformed> {
        let place = self.list.get_mut(self.pushed).ok_or(Malformed)?;
        self.pushed += 1;
        *place = Some(member);
        let repeated = self
            .list
            .iter()
            .take(self.pushed - 1)
            .flatten()
            .any(|earlier| earlier.key == member.key);
        if repeated && let Some(place) = self.list.get_mut(self.pushed - 1) {
            *place = None;
        }
        Ok(())
    }

    /// Takes whole members away, large ones first, each from the right, until the list is short enough.
    fn shorten(&mut self) {
        for large_only in [true, false] {
            for place in (0..self.pushed).rev() {
                if self.joined_len() <= MAX_LIST {
                    return;
                }
                if let Some(place) = self.list.get_mut(place) {
                    place.take_if(|member| !large_only || member.len() > LARGE_MEMBER);
                }
            }
        }
    }

    fn joined_len(&self) -> usize {
        let with_commas: usize = self
            .list
            .iter()
            .flatten()
            .map(|member| member.len() + ",".len())
            .sum();
        with_commas.saturating_sub(",".len())
    }

    fn join(&self) -> Option<String> {
        let mut joined = String::with_capacity(self.joined_len());
        for member in self.list.iter().flatten() {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(member.key);
            joined.push('=');
            joined.push_str(member.value);
        }
        (!joined.is_empty()).then_some(joined)
    }
}
