//! `traceparent` in the kernel: whether the caller of a request has decided that its trace is not sampled.
//!
//! By W3C Trace Context level 2, and by the same rules as the agent, which reads the header again (a test compares the two
//! over a million heads): ids in lower case and not zero, version ff is none, a later version may go on behind a dash,
//! white space around the value is passed over, folded lines are one, and who sends two says nothing. A byte at a time, so that
//! it does not matter where a head is split.
//!
//! ```text
//!   blanks ─▶ version ─▶ - ─▶ trace id ─▶ - ─▶ parent id ─▶ - ─▶ flags ─▶ blanks
//!                                                               └─ a later version ─▶ - anything
//!   any ── what does not belong there ─▶ broken
//! ```

/// Length of version 00.
const WHOLE: u8 = 55;
/// Behind a dash that follows it.
const EXTENDED: u8 = 56;
/// In white space that follows it.
const TRAILING: u8 = 57;
/// Not valid.
const BROKEN: u8 = 58;

/// Bits of [`Traceparent::line`].
mod line {
    /// The version is not 00.
    pub const LATER: u8 = 1 << 0;
    /// The version is not ff.
    pub const VERSION: u8 = 1 << 1;
    /// The trace id is not zero.
    pub const TRACE: u8 = 1 << 2;
    /// The parent id is not zero.
    pub const PARENT: u8 = 1 << 3;
    pub const SAMPLED: u8 = 1 << 4;
    /// A zero byte: the line is no header.
    pub const ZERO: u8 = 1 << 5;
    /// All that a valid one has.
    pub const VALID: u8 = VERSION | TRACE | PARENT;
}

/// Bits of [`Traceparent::head`].
mod head {
    /// The line is a `traceparent`.
    pub const IN_LINE: u8 = 1 << 0;
    /// There was one.
    pub const ONE: u8 = 1 << 1;
    /// There was another.
    pub const MORE: u8 = 1 << 2;
    /// The first is valid and says that the trace is not sampled.
    pub const UNSAMPLED: u8 = 1 << 3;
}

/// What is known of the header in a head, up to some byte of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traceparent {
    /// Characters of the value so far, or one of the constants above.
    at: u8,
    line: u8,
    head: u8,
}

impl Traceparent {
    /// Nothing was seen.
    pub const NONE: Self = Self {
        at: 0,
        line: 0,
        head: 0,
    };

    /// A line of this name begins, its colon is passed.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.at = 0;
        self.line = 0;
        self.head |= head::IN_LINE;
    }

    /// Whether the bytes that follow belong to the value.
    #[inline(always)]
    pub const fn is_in_line(&self) -> bool {
        self.head & head::IN_LINE != 0
    }

    /// The line, and all that is folded into it, is over.
    #[inline(always)]
    pub fn end(&mut self) {
        if !self.is_in_line() {
            return;
        }
        self.head &= !head::IN_LINE;
        if self.line & line::ZERO != 0 {
            return;
        }
        if self.head & head::ONE != 0 {
            self.head |= head::MORE;
            return;
        }
        self.head |= head::ONE;
        let whole = self.at == WHOLE || self.at == EXTENDED || self.at == TRAILING;
        if whole && self.line & (line::VALID | line::SAMPLED) == line::VALID {
            self.head |= head::UNSAMPLED;
        }
    }

    /// Whether a head that is over says that its trace is not sampled.
    #[inline(always)]
    pub const fn says_unsampled(&self) -> bool {
        self.head & (head::UNSAMPLED | head::MORE) == head::UNSAMPLED
    }

    /// The next byte of the value.
    #[inline(always)]
    pub fn take(&mut self, byte: u8) {
        if byte == 0 {
            self.line |= line::ZERO;
        }
        let at = self.at;
        if at == EXTENDED || at == BROKEN {
            return;
        }
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c) {
            if at == WHOLE {
                self.at = TRAILING;
            } else if at != 0 && at != TRAILING {
                self.at = BROKEN;
            }
            return;
        }
        if at >= WHOLE {
            let goes_on = at == WHOLE && byte == b'-' && self.line & line::LATER != 0;
            self.at = if goes_on { EXTENDED } else { BROKEN };
            return;
        }
        if at == 2 || at == 35 || at == 52 {
            self.at = if byte == b'-' { at + 1 } else { BROKEN };
            return;
        }
        let digit = byte.wrapping_sub(b'0');
        let letter = byte.wrapping_sub(b'a');
        if digit > 9 && letter > 5 {
            self.at = BROKEN;
            return;
        }
        let mut bits = 0;
        if at < 2 {
            bits |= if digit != 0 { line::LATER } else { 0 };
            bits |= if byte != b'f' { line::VERSION } else { 0 };
        } else if at < 35 {
            bits |= if digit != 0 { line::TRACE } else { 0 };
        } else if at < 52 {
            bits |= if digit != 0 { line::PARENT } else { 0 };
        } else if at == 54 && is_odd(byte) {
            bits |= line::SAMPLED;
        }
        self.line |= bits;
        self.at = at + 1;
    }
}

/// Whether the number of a hexadecimal digit is odd: `a` is 10 and 0x61.
const fn is_odd(digit: u8) -> bool {
    (digit & 1 != 0) != (digit >= b'a')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// What heads with these values say.
    fn unsampled(values: &[&str]) -> bool {
        let mut found = Traceparent::NONE;
        for value in values {
            found.begin();
            value.bytes().for_each(|byte| found.take(byte));
            found.end();
        }
        found.says_unsampled()
    }

    #[test]
    fn a_valid_one_without_the_flag_is_unsampled() {
        for (value, expected) in [
            ("00-@-b7ad6b7169203331-00", true),
            (" \t00-@-b7ad6b7169203331-00 \r\n", true),
            ("00-@-b7ad6b7169203331-02", true),
            ("00-@-b7ad6b7169203331-0a", true),
            ("00-@-b7ad6b7169203331-01", false),
            ("00-@-b7ad6b7169203331-0b", false),
            ("00-@-b7ad6b7169203331-0f", false),
            ("00-@-b7ad6b7169203331-0A", false),
            ("00-@-b7ad6b7169203331-00-x", false),
            ("cc-@-b7ad6b7169203331-00-x y", true),
            ("cc-@-b7ad6b7169203331-00.x", false),
            ("ff-@-b7ad6b7169203331-00", false),
            ("f0-@-b7ad6b7169203331-00", true),
            ("0f-@-b7ad6b7169203331-00", true),
            ("00-@-0000000000000000-00", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-00", false),
            ("00-@-b7ad6b7169203331-0", false),
            ("00-@-b7ad6b7169203331-00 x", false),
            ("00- @-b7ad6b7169203331-00", false),
            ("", false),
        ] {
            let value = value.replace('@', TRACE);
            assert_eq!(unsampled(&[&value]), expected, "{value:?}");
        }
    }

    #[test]
    fn two_say_nothing_and_a_line_with_a_zero_is_none() {
        let one = format!("00-{TRACE}-b7ad6b7169203331-00");
        let with_zero = format!("{one} \0");
        assert!(!unsampled(&[&one, &one]));
        assert!(!unsampled(&[&one, "x"]));
        assert!(!unsampled(&["x", &one]));
        assert!(unsampled(&[&with_zero, &one]));
        assert!(!unsampled(&[&with_zero]));
    }
}
