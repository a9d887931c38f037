//! Masking a string of a header block that comes in pieces, so that what it says as a whole is never known.
//!
//! Of a path its first segments are kept, as far as they are in the first piece to their ends and hold no secret, a short word or number
//! as a whole, and so is what all is kept of. The rest is masked. In Huffman code that rest says as few characters as can be said in as many bits. So the string says no more than it did, and no entry of
//! a dynamic table is let go earlier than it was.

use super::{
    head::MAX_METHOD,
    rule::Rule,
    text::{Fit, MASK},
};
use crate::{
    privacy::{Privacy, segment},
    protocols::http2::hpack::{self, Malformed},
};

/// Codes have at most this many bits, and this is what has so many.
const LONGEST: usize = 30;
const LONGEST_MASK: u8 = 0x16;
/// This many of them are a whole number of bytes.
const RUN: usize = 4;
const RUN_BITS: usize = RUN * LONGEST;

/// How far a string has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    is_coded: bool,
    len: usize,
    /// At most `len`.
    at: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Kept,
    /// At the first character of what may be a path.
    Path,
    /// From this bit on it is masked.
    Masked {
        from: usize,
    },
}

/// Bits of a character that is not whole, in the upper part, and how many.
#[derive(Clone, Copy, Debug, Default)]
struct Unread {
    bits: u64,
    count: u32,
}

impl Cut {
    /// At the first byte of a string; without a rule it is a name.
    pub fn new(is_coded: bool, len: usize, rule: Option<Rule>, privacy: Privacy) -> Self {
        let state = match rule {
            Some(Rule::Kept) => State::Kept,
            Some(Rule::OfClient | Rule::Target) if privacy == Privacy::Strict => State::Masked { from: 0 },
            Some(Rule::OfClient) => State::Kept,
            Some(Rule::Word | Rule::Digits) if len <= usize::from(MAX_METHOD) => State::Kept,
            Some(Rule::Target) => State::Path,
            _ => State::Masked { from: 0 },
        };
        Self {
            is_coded,
            len,
            at: 0,
            state,
        }
    }

    /// How many bytes follow.
    pub fn left(&self) -> usize {
        self.len.saturating_sub(self.at)
    }

    /// Masks the next bytes.
    pub fn mask(&mut self, piece: &mut [u8]) -> Result<(), Malformed> {
        if matches!(self.state, State::Path) {
            self.state = self.path(piece)?;
        }
        if let State::Masked { from } = self.state {
            if self.is_coded {
                self.mask_code(piece, from);
            } else {
                let kept = (from / 8).saturating_sub(self.at);
                piece.get_mut(kept..).unwrap_or_default().fill(MASK);
            }
        }
        self.at = self.at.saturating_add(piece.len());
        Ok(())
    }

    /// Looks for the last segment that is whole and no secret.
    fn path(&self, piece: &[u8]) -> Result<State, Malformed> {
        let mut unread = Unread::default();
        let mut end = 0_usize;
        // The part that is looked at, the bit at which it begins, and whether it is a parameter of the one before.
        let (mut part, mut from, mut is_parameter) = (Vec::new(), 0, false);
        for byte in piece {
            end = end.saturating_add(8);
            unread.push(*byte);
            while let Some((symbol, _)) = unread.next(self.is_coded)? {
                let ends_part = matches!(symbol, b'/' | b';' | b'?' | b'#');
                let is_kept = match symbol {
                    // All begins with a slash.
                    _ if from == 0 => symbol == b'/',
                    0..=b' ' | 0x7f => false,
                    _ => !ends_part || segment::kept(&part, is_parameter) == part.len(),
                };
                if !is_kept {
                    return Ok(State::Masked { from });
                }
                if !ends_part {
                    part.push(symbol);
                    continue;
                }
                from = end.saturating_sub(unread.count as usize);
                if matches!(symbol, b'?' | b'#') {
                    return Ok(State::Masked { from });
                }
                is_parameter = symbol == b';';
                part.clear();
            }
        }
        Ok(State::Masked { from })
    }

    /// Masks what is behind a bit of the string.
    fn mask_code(&self, piece: &mut [u8], from: usize) {
        let room = self.len.saturating_mul(8).saturating_sub(from);
        let (runs, rest) = (room / RUN_BITS, room % RUN_BITS);
        // The run in which the piece begins, or what follows the last.
        let before = self.at.saturating_mul(8).saturating_sub(from);
        let run = (before / RUN_BITS).min(runs);
        let first = from.saturating_add(run.saturating_mul(RUN_BITS));
        let whole = (runs - run).saturating_mul(RUN);
        // Up to 7 bits are padding.
        let count = rest.saturating_sub(7).div_ceil(LONGEST);
        let Some(mut fit) = Fit::new(count, rest) else {
            piece.fill(MASK);
            return;
        };
        let masks = std::iter::repeat_n(LONGEST_MASK, whole).chain((0..count).map(|_| fit.next_mask()));
        let kept = first.to_le_bytes()[0] % 8;
        if let Some(place) = (first / 8).checked_sub(self.at) {
            hpack::encode_over(piece.get_mut(place..).unwrap_or_default(), kept, masks);
        } else {
            let seen = self.at.saturating_sub(first / 8);
            let mut code = vec![0; seen.saturating_add(piece.len())];
            hpack::encode_over(&mut code, kept, masks);
            piece.copy_from_slice(code.get(seen..).unwrap_or_default());
        }
    }
}

impl Unread {
    fn push(&mut self, byte: u8) {
        self.bits |= u64::from(byte) << 56_u32.saturating_sub(self.count);
        self.count += 8;
    }

    /// The next character if it is whole, and how many bits it takes.
    fn next(&mut self, is_coded: bool) -> Result<Option<(u8, u32)>, Malformed> {
        let next = match (is_coded, self.count) {
            (_, 0) => None,
            (true, count) => hpack::symbol(self.bits, count)?,
            (false, _) => Some(((self.bits >> 56) as u8, 8)),
        };
        if let Some((_, len)) = next {
            self.bits <<= len;
            self.count -= len;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Rule};
    use crate::privacy::Privacy;
    use crate::protocols::http2::hpack::{decode, tests::encoder::huffman};

    /// A string in pieces of a size, masked, as what it says then.
    fn masked(text: &[u8], is_coded: bool, size: usize, rule: Option<Rule>) -> Vec<u8> {
        let mut bytes = if is_coded { huffman(text) } else { text.to_vec() };
        let mut cut = Cut::new(is_coded, bytes.len(), rule, Privacy::Default);
        bytes.chunks_mut(size).for_each(|piece| cut.mask(piece).unwrap());
        assert_eq!(cut.left(), 0);
        if !is_coded {
            return bytes;
        }
        let mut decoded = Vec::new();
        assert_eq!(
            decode(&bytes, usize::MAX, &mut decoded),
            Ok(()),
            "{size} {bytes:?}"
        );
        decoded
    }

    #[test]
    fn whatever_the_pieces_a_string_of_any_size_says_as_little_as_can_be() {
        for text in [vec![b'o'; 150], b"\n".repeat(40), b"a secret {}~ \xff".repeat(3)] {
            for len in 0..text.len() {
                let text = &text[..len];
                let whole = masked(text, true, 1_000, None);
                assert_eq!(
                    whole.len(),
                    (huffman(text).len() * 8).saturating_sub(7).div_ceil(30)
                );
                assert!((1..40).all(|size| masked(text, true, size, None) == whole));
                let shown = masked(text, false, 3, None);
                assert!(shown.len() == len && shown.iter().all(|byte| *byte == b'x'));
            }
        }
    }

    #[test]
    fn of_a_path_the_segments_are_kept_that_are_whole_in_the_first_piece() {
        for (text, whole) in [
            ("/shop.Cart/Add", "/shop.Cart/"),
            ("/a/\u{fc}~{b}/c?user=hunter2&hunter2=hunter2", "/a/\u{fc}~{b}/c?"),
            ("/reset/me@hunter2.example/x", "/reset/"),
            ("/reset/user=hunter2/x", "/reset/"),
            ("/a#hunter2hunter2", "/a#"),
            ("/a hunter2", "/"),
            ("http://me:hunter2@shop/", ""),
            ("\u{fc}hunter2hunter2", ""),
            ("", ""),
        ] {
            for (is_coded, size) in (1..60).flat_map(|size| [(true, size), (false, size)]) {
                let shown = masked(text.as_bytes(), is_coded, size, Some(Rule::Target));
                assert!(shown.len() <= text.len());
                let same = shown
                    .iter()
                    .zip(text.as_bytes())
                    .take_while(|(a, b)| a == b)
                    .count();
                assert!(same <= whole.len(), "{text} {size} {}", shown.escape_ascii());
                let rest = shown.get(same..).unwrap();
                assert!(
                    !rest
                        .windows(2)
                        .any(|pair| text.as_bytes().windows(2).any(|of| of == pair))
                );
            }
            let shown = masked(text.as_bytes(), true, 100, Some(Rule::Target));
            assert!(shown.starts_with(whole.as_bytes()), "{}", shown.escape_ascii());
        }
    }

    #[test]
    fn a_word_is_kept_and_an_authority_is_not() {
        for is_coded in [true, false] {
            assert_eq!(masked(b"PROPFIND", is_coded, 2, Some(Rule::Word)), b"PROPFIND");
            assert_eq!(masked(b"404", is_coded, 1, Some(Rule::Digits)), b"404");
            let long = b"hunter2".repeat(10);
            assert_ne!(masked(&long, is_coded, 9, Some(Rule::Word))[..4], long[..4]);
            assert_ne!(masked(b"shop", is_coded, 1, Some(Rule::Authority)), b"shop");
        }
    }
}
