//! Masking a string of a header block (RFC 7541 §5.2) in place: it takes as many bytes as before, and says as many
//! characters. So a block stays one, and entries of the dynamic table keep their sizes, by which they are let go.
//!
//! In Huffman code that always works. Codes have 5 to 8 bits, 10 to 15, 19 to 28, and 30, so from each length to the next
//! there are at most 4 bits. The characters that are masked get the two lengths between which their mean lies, the longer one as
//! often as there is room for it. What is left then is less than those 4 bits, or what was padding before, so it is
//! less than a byte and is padding. What can be told from a masked string is how long it was, in characters and in bytes.

use super::rule::Rule;
use crate::{
    privacy::{MASKS, Privacy},
    protocols::http2::hpack::{self, Malformed, code_len},
};

/// What stands for a masked byte.
pub(super) const MASK: u8 = b'x';
/// Masks strings. It has nothing of one when it is given the next.
#[derive(Default)]
pub(super) struct Texts {
    pub privacy: Privacy,
    decoded: Vec<u8>,
    kept: Vec<bool>,
}

impl Texts {
    pub fn new(privacy: Privacy) -> Self {
        Self {
            privacy,
            ..Self::default()
        }
    }

    /// The characters of a string.
    pub fn read<'a>(&'a mut self, text: &'a [u8], is_coded: bool) -> Result<&'a [u8], Malformed> {
        if !is_coded {
            return Ok(text);
        }
        self.decoded.clear();
        // It is at most 8 / 5 of what was captured.
        hpack::decode(text, usize::MAX, &mut self.decoded)?;
        Ok(&self.decoded)
    }

    /// Masks a string, which is whole.
    pub fn mask(&mut self, text: &mut [u8], is_coded: bool, rule: Rule) -> Result<(), Malformed> {
        self.kept.clear();
        if !is_coded {
            rule.judge(text, self.privacy, &mut self.kept);
            for (byte, is_kept) in text.iter_mut().zip(&self.kept) {
                *byte = if *is_kept { *byte } else { MASK };
            }
            return Ok(());
        }
        self.read(text, true)?;
        rule.judge(&self.decoded, self.privacy, &mut self.kept);
        self.encode(text)
    }

    /// Writes what is kept, with masks between it, over the code of it all.
    fn encode(&mut self, text: &mut [u8]) -> Result<(), Malformed> {
        let (mut room, mut masked) = (text.len().saturating_mul(8), 0_usize);
        for (symbol, is_kept) in self.decoded.iter().zip(&self.kept) {
            if *is_kept {
                room = room.saturating_sub(usize::from(code_len(*symbol)));
            } else {
                masked += 1;
            }
        }
        if masked == 0 {
            return Ok(());
        }
        let mut fit = Fit::new(masked, room).ok_or(Malformed::Huffman)?;
        let symbols = self.decoded.iter().zip(&self.kept);
        let symbols = symbols.map(|(symbol, is_kept)| if *is_kept { *symbol } else { fit.next_mask() });
        hpack::encode_over(text, 0, symbols);
        Ok(())
    }
}

/// The masks of so many characters that fill some bits.
pub(super) struct Fit {
    short: u8,
    long: u8,
    /// How many are still to be long.
    longs: usize,
}

impl Fit {
    /// `None` where so many characters have no room.
    pub fn new(count: usize, bits: usize) -> Option<Self> {
        let least = |len: u8| usize::from(len).saturating_mul(count);
        let (short_len, short) = MASKS.iter().rev().find(|(len, _)| least(*len) <= bits)?;
        let room = bits.saturating_sub(least(*short_len));
        let (longs, long) = match MASKS.iter().find(|(len, _)| len > short_len) {
            Some((len, long)) => (room / usize::from(len - short_len), *long),
            None => (0, *short),
        };
        Some(Self {
            short: *short,
            long,
            longs,
        })
    }

    pub fn next_mask(&mut self) -> u8 {
        match self.longs {
            0 => self.short,
            _ => {
                self.longs -= 1;
                self.long
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::names::KNOWN, MASK, MASKS, Rule, Texts, code_len};
    use crate::protocols::http2::hpack::{decode, tests::encoder::huffman};

    fn masked(text: &[u8], rule: Rule) -> Vec<u8> {
        let mut coded = huffman(text);
        let size = coded.len();
        Texts::default().mask(&mut coded, true, rule).unwrap();
        assert_eq!(coded.len(), size);
        let mut decoded = Vec::new();
        decode(&coded, usize::MAX, &mut decoded).unwrap();
        decoded
    }

    #[test]
    fn there_is_a_mask_for_every_length_of_a_code_and_no_gap_of_a_byte() {
        for (len, mask) in MASKS {
            assert_eq!(code_len(mask), len);
            assert!(!b"/?#&=@;%".contains(&mask));
        }
        for symbol in 0..=u8::MAX {
            assert!(MASKS.iter().any(|(len, _)| *len == code_len(symbol)));
        }
        assert!(
            MASKS
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[1].0 - pair[0].0 < 8)
        );
        let is_mask = |byte: u8| MASKS.iter().any(|(_, mask)| *mask == byte);
        assert!(!KNOWN.iter().any(|known| known.name.bytes().all(is_mask)));
    }

    #[test]
    fn codes_are_written_over_codes() {
        for (text, rule, expected) in [
            ("/a/b?k=hunter2&bare&n=", Rule::Target, "/a/b?k=mmmmmmm&ssss&n="),
            ("http://u:p@h:80/", Rule::Target, "http://xxm@h:80/"),
            ("/a b?k=secret", Rule::Target, "xxmmmmmmmmmmm"),
            ("u:p@shop:80", Rule::Authority, "xmm@shop:80"),
            ("shop:80", Rule::Authority, "shop:80"),
            ("PROPFIND", Rule::Word, "PROPFIND"),
            ("a secret", Rule::Word, "mmmmmmmm"),
            ("404", Rule::Digits, "404"),
            ("hunter2", Rule::Digits, "mmmmmss"),
            ("", Rule::Masked, ""),
        ] {
            assert_eq!(masked(text.as_bytes(), rule).escape_ascii().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let mut padded = [0xff_u8; 2];
        assert!(Texts::default().mask(&mut padded, true, Rule::Masked).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_masked_to_one_that_depends_on_its_lengths_alone(
            text in prop_oneof![
                "[ -~]{0,60}".prop_map(String::into_bytes),
                "[012aceiost]{0,60}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..60),
                prop::collection::vec(prop::sample::select(b"\r\n\x16a".to_vec()), 0..60),
            ],
        ) {
            let shown = masked(&text, Rule::Masked);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(&masked(&shown, Rule::Masked), &shown);
            prop_assert!(shown.iter().all(|byte| MASKS.iter().any(|(_, mask)| mask == byte)));
        }

        #[test]
        fn of_a_target_the_same_is_kept_in_code_as_without(text in "/[a-z/ü]{0,20}(\\?[a-zA-Z~=&;#%ü]{0,30})?") {
            let mut raw = text.clone().into_bytes();
            Texts::default().mask(&mut raw, false, Rule::Target).unwrap();
            let coded = masked(text.as_bytes(), Rule::Target);
            prop_assert_eq!(raw.len(), coded.len());
            for (raw, coded) in raw.iter().zip(&coded) {
                let is_mask = *raw == MASK && MASKS.iter().any(|(_, mask)| mask == coded);
                prop_assert!(raw == coded || is_mask);
            }
        }
    }
}
