//! One head, masked byte by byte as its pieces come.
//!
//! ```text
//! Method ──SP──▶ Target… ──SP──▶ Version ◀─SP─▶ NoVersion ──LF──▶ LineStart ──▶ Name ──:──▶ Value ──LF──▶ LineStart
//!    └─"HTTP/"─▶ Status ─▶ Rest ──LF──▶ LineStart                                     LineStart ──LF──▶ Over
//! ```
//!
//! What ends a request line is its version, whatever blanks the target has: real servers accept them, and so does who reads a head.
//! What fits no rule leads to a state that masks up to the end of the line.

use super::{
    names::{KNOWN, Known, narrow},
    target::Target,
};
use crate::privacy::Privacy;

/// A method longer than any registered one, by far; spans keep unknown methods too.
pub(super) const MAX_METHOD: u8 = 32;
/// Its target is an authority.
const CONNECT: &[u8] = b"CONNECT";
const CONNECT_LEN: u8 = 7;
/// What ends a request line, and what a status line has behind `HTTP/`, where `0` stands for any digit.
const VERSION: &[u8] = b"HTTP/0.0";
const STATUS: &[u8] = b"0.0 000";

/// How far a head has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head(State);

impl Default for Head {
    fn default() -> Self {
        Self(State::METHOD)
    }
}

impl Head {
    /// Masks the next piece of the head in place.
    pub fn mask(&mut self, mut piece: &mut [u8], privacy: Privacy) {
        loop {
            // An authority, a part of a path and a query key need to be seen to their end; all else is decided byte by byte.
            self.0 = self.0.look_ahead(piece, privacy);
            let Some((byte, rest)) = piece.split_first_mut() else {
                return;
            };
            let (kept, next) = self.0.step(*byte, privacy);
            *byte = kept;
            self.0 = next;
            piece = rest;
        }
    }
}

/// Masks bytes of which nothing is known.
pub(super) fn mask_all(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = masked(*byte);
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the method, or in front of it, where empty lines are allowed.
    Method {
        len: u8,
        like_http: bool,
        like_connect: bool,
    },
    /// In what may be the version of a request, after so many bytes of it.
    Version { at: usize },
    /// In a word of a request line that is none.
    NoVersion,
    /// In the version and the status of a response, after so many bytes of them.
    Status { at: usize },
    /// The rest of a line is masked.
    Rest,
    /// In the target.
    Target(Target),
    /// At the first byte of a line after the first; the header before it kept its value or not.
    LineStart { value_is_kept: bool },
    /// In a name that these may still turn out to be, after `at` bytes.
    Name { candidates: &'static [Known], at: usize },
    /// In a name that is not known.
    OtherName,
    /// In a value.
    Value { is_kept: bool },
    /// After the empty line: nothing of a head is here.
    Over,
}

impl State {
    const METHOD: Self = Self::Method {
        len: 0,
        like_http: true,
        like_connect: true,
    };
    /// Decides what depends on bytes to come, of which the piece has these.
    fn look_ahead(self, piece: &[u8], privacy: Privacy) -> Self {
        match self {
            Self::Target(target) => Self::Target(target.look_ahead(piece, false, privacy)),
            _ => self,
        }
    }

    /// What becomes of `byte`, and where the head is after it.
    fn step(self, byte: u8, privacy: Privacy) -> (u8, Self) {
        match self {
            Self::Over => (masked(byte), self),
            Self::Method { len: 0, .. } if matches!(byte, b'\r' | b'\n') => (byte, self),
            Self::LineStart { .. } => self.step_line_start(byte, privacy),
            Self::Value { is_kept } => {
                let next = if byte == b'\n' {
                    Self::LineStart {
                        value_is_kept: is_kept,
                    }
                } else {
                    self
                };
                (if is_kept { byte } else { masked(byte) }, next)
            }
            _ if byte == b'\n' => (byte, Self::LineStart { value_is_kept: false }),
            Self::Method { .. }
            | Self::Version { .. }
            | Self::NoVersion
            | Self::Status { .. }
            | Self::Rest => self.step_start_line(byte),
            Self::Name { .. } | Self::OtherName => self.step_name(byte, privacy),
            // Userinfo is known to hold no blank that would end the target.
            Self::Target(_) if byte == b' ' => (byte, Self::Version { at: 0 }),
            Self::Target(target) => {
                let (is_kept, next) = target.step(byte, privacy);
                (if is_kept { byte } else { masked(byte) }, Self::Target(next))
            }
        }
    }

    fn step_start_line(self, byte: u8) -> (u8, Self) {
        match self {
            // It stays one, however long it is.
            Self::Method { len: MAX_METHOD, .. } if is_token(byte) => (b'x', self),
            Self::Method {
                len,
                like_http,
                like_connect,
            } if is_token(byte) => {
                let like = |word: &[u8]| word.get(usize::from(len)) == Some(&byte);
                let next = Self::Method {
                    len: len + 1,
                    like_http: like_http && like(b"HTTP"),
                    like_connect: like_connect && like(CONNECT),
                };
                (byte, next)
            }
            Self::Method {
                len: 4,
                like_http: true,
                ..
            } if byte == b'/' => (byte, Self::Status { at: 0 }),
            Self::Method {
                len: CONNECT_LEN,
                like_connect: true,
                ..
            } if byte == b' ' => (byte, Self::Target(Target::Authority)),
            Self::Method { len: 1.., .. } if byte == b' ' => (byte, Self::Target(Target::Start)),
            Self::Version { .. } | Self::NoVersion if byte == b' ' => (byte, Self::Version { at: 0 }),
            Self::Version { at } if fits(VERSION, at, byte) => (byte, Self::Version { at: at + 1 }),
            Self::Version { .. } | Self::NoVersion => (masked(byte), Self::NoVersion),
            Self::Status { at } if fits(STATUS, at, byte) => (byte, Self::Status { at: at + 1 }),
            _ => (masked(byte), Self::Rest),
        }
    }

    fn step_line_start(self, byte: u8, privacy: Privacy) -> (u8, Self) {
        match (self, byte) {
            (_, b'\n') => (byte, Self::Over),
            (_, b'\r') => (byte, self),
            // A folded line goes on with the value before it (RFC 9112 section 5.2).
            (Self::LineStart { value_is_kept }, b' ' | b'\t') => (
                byte,
                Self::Value {
                    is_kept: value_is_kept,
                },
            ),
            _ => Self::Name {
                candidates: KNOWN,
                at: 0,
            }
            .step_name(byte, privacy),
        }
    }

    fn step_name(self, byte: u8, privacy: Privacy) -> (u8, Self) {
        match self {
            Self::Name { candidates, at } if byte == b':' => {
                let known = candidates.first().filter(|known| known.name.len() == at);
                (
                    byte,
                    Self::Value {
                        is_kept: known.is_some_and(|known| known.is_kept(privacy)),
                    },
                )
            }
            _ if byte == b':' => (byte, Self::Value { is_kept: false }),
            Self::Name { candidates, at } => match narrow(candidates, at, byte) {
                [] => (masked_in_name(byte), Self::OtherName),
                candidates => (
                    byte,
                    Self::Name {
                        candidates,
                        at: at + 1,
                    },
                ),
            },
            _ => (masked_in_name(byte), Self::OtherName),
        }
    }
}

/// Whether `byte` goes on with a pattern, in which `0` stands for any digit.
fn fits(pattern: &[u8], at: usize, byte: u8) -> bool {
    match pattern.get(at) {
        Some(b'0') => byte.is_ascii_digit(),
        Some(expected) => *expected == byte,
        None => false,
    }
}

/// White space and line ends stay; what no value and no target may hold becomes NUL, which neither may hold.
fn masked(byte: u8) -> u8 {
    match byte {
        b'\r' | b'\n' | b' ' | b'\t' => byte,
        b'!'..=b'~' | 0x80.. => b'x',
        _ => 0,
    }
}

/// As [`masked`], for a name.
fn masked_in_name(byte: u8) -> u8 {
    match masked(byte) {
        b'x' if !is_token(byte) => 0,
        masked => masked,
    }
}

/// A byte of a token, RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
