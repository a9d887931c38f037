//! Percent-encoding (RFC 3986 section 2.1) taken off, as often as somebody may have put it on.

/// Texts that are encoded more often than this are judged by that alone.
pub(super) type Plain<I> = Decoded<Decoded<Decoded<I>>>;

/// The bytes that a text stands for, with up to three encodings taken off.
pub(super) fn plain(text: &[u8]) -> Plain<impl Iterator<Item = u8>> {
    Decoded::new(Decoded::new(Decoded::new(text.iter().copied())))
}

/// One encoding taken off. What is no encoding stays.
pub(super) struct Decoded<I> {
    encoded: I,
    /// Bytes after a `%` that turned out to be none of its digits.
    unread: [Option<u8>; 2],
}

impl<I: Iterator<Item = u8>> Decoded<I> {
    fn new(encoded: I) -> Self {
        Self {
            encoded,
            unread: [None; 2],
        }
    }

    fn take(&mut self) -> Option<u8> {
        let [first, second] = self.unread;
        match first {
            Some(_) => {
                self.unread = [second, None];
                first
            }
            None => self.encoded.next(),
        }
    }
}

impl<I: Iterator<Item = u8>> Iterator for Decoded<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = self.take()?;
        if byte != b'%' {
            return Some(byte);
        }
        let digits = [self.take(), self.take()];
        match digits.map(|digit| digit.and_then(hex)) {
            [Some(high), Some(low)] => Some(high << 4 | low),
            _ => {
                self.unread = digits;
                Some(byte)
            }
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::plain;

    fn decoded(text: &str) -> String {
        plain(text.as_bytes()).map(char::from).collect()
    }

    #[test]
    fn three_encodings_come_off_and_what_is_none_stays() {
        for (text, expected) in [
            ("a%40b", "a@b"),
            ("a%2540b", "a@b"),
            ("a%252540b", "a@b"),
            ("a%25252540b", "a%40b"),
            ("%%34%30", "@"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%%%41", "%%A"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
