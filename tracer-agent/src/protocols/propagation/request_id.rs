//! Ids of requests that gateways give and programs pass on: `x-request-id` and `x-correlation-id`. No trace context: equal ids of a
//! request that came in and one that went out are evidence that the one was made for the other, if nothing else has that id.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    num::NonZeroU64,
};

use super::headers::Headers;

/// Lower-case.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// See [`REQUEST_ID`].
pub(super) const CORRELATION_ID: &str = "x-correlation-id";

/// Lengths between that of 16 hexadecimal digits and that of a few ids in a row.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;
/// What a text must tell at least, taken that its characters are drawn from those that are in it: 16 hexadecimal digits are mostly told
/// apart by 10 of them, which makes 53.
const MIN_BITS: f64 = 40.0;

/// An id that was hardly made twice, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(NonZeroU64);

impl RequestId {
    /// No id is before it.
    pub const LOWEST: Self = Self(NonZeroU64::MIN);
    /// No id is behind it.
    pub const HIGHEST: Self = Self(NonZeroU64::MAX);

    /// The id that this text is; `None` for one that others may have too: a word, a number, a name.
    pub fn of(text: &[u8]) -> Option<Self> {
        let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/~".contains(byte);
        if !LENGTHS.contains(&text.len()) || !text.iter().all(is_id) {
            return None;
        }
        let (mut letters, mut seen) = (0_u32, [false; 128]);
        for byte in text.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            letters += 1;
            if let Some(seen) = seen.get_mut(usize::from(*byte)) {
                *seen = true;
            }
        }
        let different = seen.iter().map(|seen| u32::from(*seen)).sum::<u32>();
        let has_digits = text.iter().any(u8::is_ascii_digit);
        let bits = f64::from(letters) * f64::from(different.max(1)).log2();
        if !has_digits || bits < MIN_BITS {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        NonZeroU64::new(hasher.finish()).map(Self)
    }
}

/// The ids of a request; a header that is there twice tells none.
pub(super) fn read(headers: Headers<'_, '_>) -> [Option<RequestId>; 2] {
    [REQUEST_ID, CORRELATION_ID].map(|name| headers.one(name).ok().flatten().and_then(RequestId::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_made_at_random_are_ids_and_words_are_not() {
        for (text, is_id) in [
            ("7f8a1c1e-93c4-4a7f-9a70-2f1f6f0d8b11", true),
            ("9f86d081884c7d65", true),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            ("", false),
            ("1", false),
            ("1234567", false),
            ("0000000000000000", false),
            ("aaaaaaaaaaaaaaaaaaaa1", false),
            ("no-digits-in-this-one-at-all", false),
            ("7f8a1c1e 93c4 4a7f 9a70", false),
            ("7f8a1c1e\u{e9}93c44a7f9a702f1f", false),
        ] {
            assert_eq!(RequestId::of(text.as_bytes()).is_some(), is_id, "{text}");
        }
        assert_eq!(RequestId::of(&[b'7'; 4096]), None);
    }

    #[test]
    fn ids_are_equal_where_their_texts_are() {
        let of = |text: &str| RequestId::of(text.as_bytes()).unwrap();
        assert_eq!(of("9f86d081884c7d65"), of("9f86d081884c7d65"));
        assert_ne!(of("9f86d081884c7d65"), of("9f86d081884c7d66"));
    }
}
