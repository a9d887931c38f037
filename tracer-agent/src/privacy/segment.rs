//! One segment of a path, one parameter of it, or the key of a query: how much of it is kept.
//!
//! ```text
//! segment = part *( ";" parameter )          /reset;jsessionid=0a1b/
//! part    = [ key "=" ] text                 /user=alice/  /eyJhbGciOi…/  /alice%40example.com/
//! ```

use super::{
    card::Digits,
    mask::is_mask,
    percent::plain,
    token::{Randomness, is_issued, is_known_id},
};

/// A part that is masked whole is at least as long, so that it is known again in a recording. Nothing shorter is a secret:
/// the shortest e-mail address is `a@b.co`.
const SHORTEST: usize = 6;
/// The longest name of a parameter.
const LONGEST_KEY: usize = 64;
/// Files that programs are made of and that browsers keep for ever: their names hold hashes of what is in them.
const ASSETS: [&str; 14] = [
    "js", "mjs", "css", "map", "woff", "woff2", "ttf", "wasm", "png", "jpg", "jpeg", "gif", "svg", "webp",
];
/// The longest of their names.
const LONGEST_ASSET: usize = 128;
/// What stands behind an `@` that makes no address: `left-pad@1.3.0`, `react@next`.
const TAGS: [&str; 8] = [
    "latest", "next", "beta", "alpha", "canary", "stable", "main", "master",
];

/// How many bytes of a part of a path are kept, from its first on; the others are a secret. A parameter is what stands behind a `;`.
pub fn kept(part: &[u8], is_parameter: bool) -> usize {
    if let Some(equals) = part.iter().position(|byte| *byte == b'=') {
        let (key, value) = part.split_at(equals);
        let value = value.strip_prefix(b"=").unwrap_or_default();
        // `cGFzcw==` has no value.
        let has_value = value.iter().any(|byte| *byte != b'=');
        if is_key(key) && (has_value || part.len() < SHORTEST) {
            return equals + 1;
        }
        return if part.len() < SHORTEST && !is_parameter {
            part.len()
        } else {
            0
        };
    }
    if is_parameter || is_secret(part) {
        0
    } else {
        part.len()
    }
}

/// Whether a key of a query is none, but something that nobody should see.
pub fn is_secret_key(key: &[u8]) -> bool {
    is_secret(key)
}

fn is_key(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.~$[]:".contains(byte);
    (1..=LONGEST_KEY).contains(&text.len()) && text.iter().all(is_plain) && !is_secret(text)
}

/// Whether a text, as it stands in a URL, looks like a token, an address or the number of a card.
pub(super) fn is_secret(text: &[u8]) -> bool {
    if text.len() < SHORTEST {
        return false;
    }
    if is_mask(text) {
        return true;
    }
    let look = if text.contains(&b'%') {
        Look::of(plain(text))
    } else {
        Look::of(text.iter().copied())
    };
    look.is_secret()
}

/// What is to be known of a text; it is looked at once.
struct Look {
    /// Its first bytes.
    head: [u8; 64],
    len: usize,
    digits: Digits,
    randomness: Randomness,
    has_equals: bool,
    /// It is encoded more often than anybody does.
    is_hidden: bool,
    at: Option<At>,
    has_colon: bool,
    /// What follows the last dot that is not the first byte.
    extension: Tail,
    is_word_first: bool,
}

/// The last `@`.
struct At {
    has_before: bool,
    has_password: bool,
    after: Tail,
}

/// The first bytes of the rest of a text.
#[derive(Default)]
struct Tail {
    bytes: [u8; 8],
    len: usize,
}

impl Tail {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// All of it, if it is no longer.
    fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Look {
    fn of(text: impl Iterator<Item = u8>) -> Self {
        let mut look = Self {
            head: [0; 64],
            len: 0,
            digits: Digits::default(),
            randomness: Randomness::default(),
            has_equals: false,
            is_hidden: false,
            at: None,
            has_colon: false,
            extension: Tail::default(),
            is_word_first: true,
        };
        let mut last = [0; 2];
        for byte in text {
            look.push(byte);
            look.is_hidden |= last[0] == b'%' && last[1].is_ascii_hexdigit() && byte.is_ascii_hexdigit();
            last = [last[1], byte];
        }
        look
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.len) {
            *place = byte;
        }
        self.digits.push(byte);
        self.randomness.push(byte);
        self.has_equals |= byte == b'=';
        if let Some(at) = &mut self.at {
            at.after.push(byte);
        }
        if byte == b'@' {
            self.at = Some(At {
                has_before: self.len > 0,
                has_password: self.has_colon,
                after: Tail::default(),
            });
        }
        self.has_colon |= byte == b':';
        self.extension.push(byte);
        if byte == b'.' {
            self.extension = Tail::default();
        }
        if self.len == 2 && !self.is_named() {
            self.is_word_first = false;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Its first three bytes are of a name, not of a hash.
    fn is_named(&self) -> bool {
        let start = self.head.first_chunk::<3>();
        start.is_some_and(|start| {
            start
                .iter()
                .all(|byte| byte.is_ascii_alphabetic() || b"-_.".contains(byte))
        })
    }

    fn head(&self) -> &[u8] {
        self.head.get(..self.len.min(self.head.len())).unwrap_or_default()
    }

    fn is_secret(&self) -> bool {
        let is_address = self.at.as_ref().is_some_and(At::is_address);
        if self.has_equals || self.is_hidden || is_address || self.digits.are_a_card() {
            return true;
        }
        if is_issued(self.head()) {
            return true;
        }
        let is_known_id = self.len <= self.head.len() && is_known_id(self.head());
        !is_known_id && !self.is_asset() && self.randomness.is_random()
    }

    fn is_asset(&self) -> bool {
        let extension = self.extension.text();
        let is_known = ASSETS
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(extension));
        // A picture with nothing but a token for a name counts who has read a letter.
        is_known && self.len <= LONGEST_ASSET && self.extension.len < self.len && self.is_word_first
    }
}

impl At {
    fn is_address(&self) -> bool {
        let after = self.after.text();
        let after_v = after.strip_prefix(b"v").unwrap_or(after);
        // Of what is longer than its room the text is empty.
        let first = self.after.bytes.first().filter(|_| self.after.len > 0);
        let is_version = first.is_some_and(|byte| byte.is_ascii_digit() || b"^~".contains(byte))
            || after_v.first().is_some_and(u8::is_ascii_digit);
        let is_tag = TAGS.iter().any(|tag| tag.as_bytes() == after);
        let is_pair = self.has_before && self.after.len > 0;
        is_pair && (self.has_password || !(is_version || is_tag))
    }
}

#[cfg(test)]
mod tests;
