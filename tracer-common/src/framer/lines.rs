//! What lines say, as far as framing and sampling need it: start lines, the headers of a body's length, `traceparent`.
//!
//! Of a line there is its beginning in the lane's carry, and what the window has of it.

use super::{LOAD, Method, Work, forget};
use crate::lane::{CARRY, fact};

/// Index of the first line feed, from the window's start; `window_len` or more if there is none.
#[inline(always)]
pub(super) fn find_newline(work: &Work) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const NEWLINES: u64 = ONES * b'\n' as u64;
    let mut at = 0;
    while at < LOAD {
        if at >= work.window_len {
            break;
        }
        let word = work.word(work.window.wrapping_add(at)) ^ NEWLINES;
        let hits = word.wrapping_sub(ONES) & !word & HIGHS;
        if hits != 0 {
            return at + (hits.trailing_zeros() >> 3);
        }
        at += 8;
    }
    work.window_len
}

/// The low `n` bytes of a word.
const fn low(n: u32) -> u64 {
    if n >= 8 { u64::MAX } else { (1 << (n * 8)) - 1 }
}

/// Text of at most 8 bytes as the word it is in memory.
const fn word(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    u64::from_le_bytes(bytes)
}

const LOWER: u64 = 0x2020_2020_2020_2020;
const HTTP_1: u64 = word(b"HTTP/1.");

/// Whether the line kept in the carry begins like the start line of a message.
#[inline(always)]
pub(super) fn plausible(work: &Work) -> bool {
    let have = work.lane.line_len;
    let first = work.carry_word(0);
    let shown = if have < 7 { low(have) } else { low(7) };
    if (first ^ HTTP_1) & shown == 0 {
        return true;
    }
    let mut at = 0;
    while at < 32 {
        if at >= have {
            return true;
        }
        let byte = work.carry_byte(at);
        if byte == b' ' {
            // Only CONNECT asks for an authority; everything else for a path, a URL or `*`.
            let next = work.carry_byte(at + 1);
            return at > 0
                && (at + 1 >= have
                    || next == b'/'
                    || next == b'*'
                    || next | 0x20 == b'h'
                    || first == word(b"CONNECT "));
        }
        if !is_token(byte) {
            return false;
        }
        at += 1;
    }
    false
}

/// Whether the window begins with a start line, strictly enough to trust it in the middle of a stream.
#[inline(always)]
pub(super) fn starts_message(work: &Work) -> bool {
    if (work.word(work.window) ^ HTTP_1) & low(7) == 0 && work.window_len >= 12 {
        return true;
    }
    let mut at = 0;
    while at < 32 {
        if at + 1 >= work.window_len {
            return false;
        }
        let byte = work.byte(work.window + at);
        if byte == b' ' {
            let next = work.byte(work.window + at + 1);
            return at > 0 && (next == b'/' || next == b'*' || next | 0x20 == b'h');
        }
        if !byte.is_ascii_uppercase() && byte != b'-' && byte != b'_' {
            return false;
        }
        at += 1;
    }
    false
}

/// RFC 9110 §5.6.2, without the rarest marks.
#[inline(always)]
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte == b'-'
        || byte == b'_'
        || byte == b'.'
        || byte == b'*'
        || byte == b'!'
}

/// Reads the start line; false if it is not one of HTTP/1.
#[inline(always)]
pub(super) fn start_line(work: &mut Work, at: u32, len: u32) -> bool {
    let first = work.carry_word(0);
    if (first ^ HTTP_1) & low(7) == 0 {
        let (a, b, c) = (work.carry_byte(9), work.carry_byte(10), work.carry_byte(11));
        if !(a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit()) {
            return false;
        }
        work.lane.status = (a - b'0') as u16 * 100 + (b - b'0') as u16 * 10 + (c - b'0') as u16;
        work.lane.facts |= fact::RESPONSE;
        return true;
    }
    // The shortest is "X / HTTP/1.1" and a line feed.
    if work.lane.line_len < 13 {
        return false;
    }
    if len >= 12 {
        // The line ends in "HTTP/1.x" and CRLF or LF. A line split within its last bytes is trusted.
        let end = at + len - 1;
        let end = if work.byte(end - 1) == b'\r' { end - 1 } else { end };
        if (work.word(end - 8) ^ HTTP_1) & low(7) != 0 {
            return false;
        }
    }
    if (first ^ word(b"HEAD ")) & low(5) == 0 {
        work.lane.method = Method::HEAD;
    } else if first == word(b"CONNECT ") {
        work.lane.method = Method::CONNECT;
    }
    true
}

/// Reads a header line as far as framing needs it.
#[inline(always)]
pub(super) fn header(work: &mut Work) {
    let name = work.carry_word(0) | LOWER;
    let rest = work.carry_word(8) | LOWER;
    if name == word(b"content-") && (rest ^ word(b"length:")) & low(7) == 0 {
        content_length(work);
    } else if name == word(b"transfer") && rest == word(b"-encodin") && work.carry_byte(17) == b':' {
        let end = trimmed_end(work);
        let end = forget(&mut work.found, end);
        // A coding list longer than the carry has no known end.
        let last = work.carry_word((end.wrapping_sub(7) & (CARRY as u32 - 1)) as usize) | LOWER;
        if end >= 25 && (last ^ word(b"chunked")) & low(7) == 0 {
            work.lane.facts |= fact::CHUNKED;
        } else {
            work.lane.facts &= !fact::CHUNKED;
        }
    } else if name == word(b"upgrade:") && work.lane.is(fact::RESPONSE) {
        let at = 8 + (work.carry_byte(8) == b' ') as usize;
        if (work.carry_word(at) ^ word(b"h2c")) & low(3) == 0 {
            work.lane.method = Method::HTTP2;
        }
    }
}

/// Length of the kept line without the white space at its end.
#[inline(always)]
fn trimmed_end(work: &Work) -> u32 {
    let mut end = if work.lane.line_len < CARRY as u32 {
        work.lane.line_len
    } else {
        0
    };
    let mut tries = 0;
    while tries < 8 && end > 0 {
        let byte = work.carry_byte(end - 1);
        if byte != b'\r' && byte != b'\n' && byte != b' ' && byte != b'\t' {
            break;
        }
        end -= 1;
        tries += 1;
    }
    end
}

#[inline(always)]
fn content_length(work: &mut Work) {
    let mut at = 15;
    while at < 23 && matches!(work.carry_byte(at), b' ' | b'\t') {
        at += 1;
    }
    let at = forget(&mut work.found, at);
    let mut value: u64 = 0;
    let mut digits = 0;
    while digits < 20 {
        let byte = work.carry_byte(at.wrapping_add(digits));
        if !byte.is_ascii_digit() {
            break;
        }
        if value > (u64::MAX >> 5) {
            return;
        }
        value = value * 10 + (byte - b'0') as u64;
        digits += 1;
    }
    if digits > 0 {
        work.lane.length = value;
        work.lane.facts |= fact::LENGTH;
    }
}

/// Length of `traceparent:`.
const NAME: u32 = 12;
/// Bytes of its value that one step looks at.
const VALUE_STEP: u32 = 4;

/// Looks for `traceparent` in the rest of a line, and at a piece of its value; how much of the line is handled with it.
#[inline(always)]
pub(super) fn traceparent(work: &mut Work, rest: u32) -> u32 {
    let before = work.lane.line_len;
    let first = work.byte(work.window);
    if before == 0 && first != b' ' && first != b'\t' {
        work.lane.traceparent.end();
    }
    let mut from = 0;
    if !work.lane.traceparent.is_in_line() {
        let has_name = before < NAME
            && before.wrapping_add(rest) >= NAME
            && work.carry_word(0) | LOWER == word(b"tracepar")
            && (work.carry_word(8) | LOWER & low(3)) & low(4) == word(b"ent:");
        if !has_name {
            return rest;
        }
        work.lane.traceparent.begin();
        from = NAME - before;
    }
    let from = forget(&mut work.found, from);
    let mut at = 0;
    while at < VALUE_STEP {
        if from.wrapping_add(at) >= rest {
            return rest;
        }
        let byte = work.byte(work.window.wrapping_add(from).wrapping_add(at));
        work.lane.traceparent.take(byte);
        at += 1;
    }
    from.wrapping_add(VALUE_STEP)
}
