//! Whether a text was drawn at random: a key, a session, a link that lets in whoever has it.
//!
//! What is random is long, and has few of the pairs of letters that words have ([`bigrams`]). Ids of known forms that are random too
//! are ids: UUIDs, ObjectIds, ULIDs.

use super::bigrams;

/// From this length on what is random is a token: 80 bits in hexadecimal digits, 119 in all letters and digits.
const LONG: usize = 20;
/// From this length on if it has digits and letters of both cases: 95 bits.
const DENSE: usize = 16;
/// Of so many pairs that words do not have, in a row but for as many of those that they have, no words are made.
const RUN: u32 = 10;
/// What tokens of well-known issuers begin with, and JSON Web Tokens: `{"` in base64.
const ISSUED: [&str; 35] = [
    "eyJ",
    "sk_",
    "sk-",
    "rk_",
    "pk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "SG.",
    "npm_",
    "pypi-",
    "dop_v1_",
    "hf_",
    "hvs.",
    "shpat_",
    "whsec_",
    "lin_api_",
    "tok_",
    "Bearer ",
    "Basic ",
];
/// Shorter ones are words that happen to begin so.
const SHORTEST_ISSUED: usize = 12;

/// What the pairs of neighbours in a text tell, while it comes byte by byte.
#[derive(Default)]
pub(super) struct Randomness {
    last: Option<u8>,
    len: usize,
    usual: u32,
    unusual: u32,
    /// How many more unusual pairs than usual ones were last, and the most that ever were.
    excess: u32,
    most: u32,
    has_lower: bool,
    has_upper: bool,
    has_digit: bool,
    /// Neighbours of which one is a digit, a small letter, a capital or a mark, and the other of another kind.
    switches: usize,
}

/// What a byte is among digits, small letters, capitals and marks.
fn kind(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

impl Randomness {
    pub fn push(&mut self, byte: u8) {
        self.len = self.len.saturating_add(1);
        self.has_lower |= byte.is_ascii_lowercase();
        self.has_upper |= byte.is_ascii_uppercase();
        self.has_digit |= byte.is_ascii_digit();
        self.switches += usize::from(self.last.is_some_and(|last| kind(last) != kind(byte)));
        let last = self
            .last
            .replace(byte)
            .filter(|last| last.is_ascii_alphanumeric());
        let Some(last) = last.filter(|_| byte.is_ascii_alphanumeric()) else {
            return;
        };
        // Numbers are ids, and where one word ends another begins.
        let is_number = last.is_ascii_digit() && byte.is_ascii_digit();
        let is_border = last.is_ascii_lowercase() && byte.is_ascii_uppercase();
        if is_number || is_border {
            return;
        }
        if bigrams::is_usual(last, byte) {
            self.usual = self.usual.saturating_add(1);
            self.excess = self.excess.saturating_sub(1);
        } else {
            self.unusual = self.unusual.saturating_add(1);
            self.excess = self.excess.saturating_add(1);
            self.most = self.most.max(self.excess);
        }
    }

    /// Whether that was no text that anybody writes.
    pub fn is_random(&self) -> bool {
        let is_dense = self.has_lower && self.has_upper && self.has_digit;
        let few = match self.len {
            LONG.. => 6,
            DENSE.. if is_dense => 8,
            _ => return false,
        };
        // Whoever writes words changes between kinds of letters once or twice in a word.
        if is_dense && self.len >= LONG && self.switches * 2 > self.len {
            return true;
        }
        // Words have more than three usual pairs of five.
        let is_unlike_words = u64::from(self.usual) * 2 < u64::from(self.unusual) * 3;
        self.unusual >= few && (is_unlike_words || self.most >= RUN)
    }
}

/// Whether it begins as tokens of an issuer do, and is as long.
pub(super) fn is_issued(text: &[u8]) -> bool {
    let starts = |prefix: &&str| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    text.len() >= SHORTEST_ISSUED
        && ISSUED.iter().any(starts)
        // `sk_shopping_basket` is none.
        && text.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// Whether it is an id of a form that is known by its looks.
pub(super) fn is_known_id(text: &[u8]) -> bool {
    is_uuid(text) || is_object_id(text) || is_ulid(text)
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562 section 4).
fn is_uuid(text: &[u8]) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let fits = |(place, byte): (usize, &u8)| match DASHES.contains(&place) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(fits)
}

/// Of BSON: 12 bytes in hexadecimal digits, which begin with the second: of the years 2012 to 2037.
fn is_object_id(text: &[u8]) -> bool {
    text.len() == 24
        && matches!(text.first(), Some(b'5'..=b'7'))
        && text.iter().all(u8::is_ascii_hexdigit)
        && text.iter().any(u8::is_ascii_digit)
}

/// 26 digits of Crockford's base 32, which begin with the millisecond: of the years 2004 to 2039.
fn is_ulid(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(byte);
    text.len() == 26 && text.starts_with(b"01") && text.iter().all(is_digit)
}
