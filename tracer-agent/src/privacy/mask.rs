//! What stands for a secret in a recording, where nothing may change its length, and how that is known again.

/// For each length that a code of HPACK can have, what stands for a masked character: of a text in Huffman code that, and `x`
/// elsewhere. None of it has a meaning in a URL, and no name that is known can be made of it.
pub const MASKS: [(u8, u8); 21] = [
    (5, b's'),
    (6, b'm'),
    (7, b'x'),
    (8, b'X'),
    (10, b'!'),
    (11, b'|'),
    (12, b'>'),
    (13, b'~'),
    (14, b'^'),
    (15, b'`'),
    (19, b'\\'),
    (20, 0x80),
    (21, 0x99),
    (22, 0x81),
    (23, 0x87),
    (24, 0x8e),
    (25, 0xc7),
    (26, 0xc0),
    (27, 0xcb),
    (28, 0xdc),
    (30, 0x16),
];

/// What a byte that is no text is read as.
const REPLACED: &[u8] = "\u{fffd}".as_bytes();

/// Whether this is what a recording holds in place of a secret: one kind of mask, or one and then the next shorter.
pub(super) fn is_mask(text: &[u8]) -> bool {
    if !text.is_empty() && text.chunks(REPLACED.len()).all(|chunk| chunk == REPLACED) {
        return true;
    }
    let place = |byte: u8| MASKS.iter().position(|(_, mask)| *mask == byte);
    let Some((place, first)) = text.first().and_then(|first| Some((place(*first)?, *first))) else {
        return false;
    };
    let shorter = place.checked_sub(1).and_then(|place| MASKS.get(place));
    let rest = text.iter().skip_while(|byte| **byte == first);
    rest.into_iter()
        .all(|byte| shorter.is_some_and(|(_, mask)| mask == byte))
}

#[cfg(test)]
mod tests {
    use super::is_mask;

    #[test]
    fn masks_are_known_again_and_words_are_none() {
        for mask in [
            "xxxxxx",
            "mmmsss",
            "ssssss",
            "XXXXxx",
            "!!!!XXX",
            "\u{fffd}\u{fffd}",
        ] {
            assert!(is_mask(mask.as_bytes()), "{mask}");
        }
        for word in ["", "sssmmm", "xxxmmms", "address", "mississippi", "xxx-rated"] {
            assert!(!is_mask(word.as_bytes()), "{word}");
        }
    }
}
