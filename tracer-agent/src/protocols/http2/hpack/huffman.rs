//! The Huffman code of RFC 7541, Appendix B.
//!
//! The code is canonical: sorted by length, and by value where they are as long, each symbol has the next code. So
//! the lengths say everything, and both tables below follow from them at compile time.

use super::malformed::Malformed;

/// The symbols with codes of each length, in the order of their codes. Behind the last comes EOS, of 30 bits.
pub(crate) const SYMBOLS: [(u8, &[u8]); 21] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (
        22,
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    ),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (
        27,
        b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    ),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\x0a\x0d\x16"),
];

/// Codes of up to this many bits, a byte, are found by one look: nearly all that usual text is made of.
const LOOK: u8 = 8;
/// By the next byte.
static SHORT: [Code; 1 << LOOK] = short();
/// Codes that are longer, from short to long.
static LONG: [Group; 17] = long();

/// The symbol that some bits begin with, and the length of its code; 0 where that is longer than [`LOOK`].
#[derive(Clone, Copy)]
struct Code {
    symbol: u8,
    len: u8,
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Group {
    /// First code, in the upper bits.
    first: u32,
    len: u8,
    symbols: &'static [u8],
}

/// Appends to `text` what `coded` says. More than `limit` bytes are refused.
pub(crate) fn decode(coded: &[u8], limit: usize, text: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = text.len();
    // No code is shorter than 5 bits.
    let most = (coded.len().saturating_mul(8) / 5).min(limit);
    text.resize(start.saturating_add(most), 0);
    let mut free = text.get_mut(start..).unwrap_or_default().iter_mut();
    let mut rest = coded;
    // The bits that come next, in the upper part of a word, and how many of them are whole bytes' of `coded`.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        if let Some(word) = rest.first_chunk() {
            // What is read beyond the whole bytes is read again later, to the same place.
            bits |= u64::from_be_bytes(*word) >> count;
            let whole = (63 - count) / 8;
            count += whole * 8;
            rest = rest.get(whole as usize..).unwrap_or_default();
        } else {
            while count <= 56
                && let Some((byte, more)) = rest.split_first()
            {
                bits |= u64::from(*byte) << (56 - count);
                count += 8;
                rest = more;
            }
        }
        loop {
            let code = next(bits)?;
            let len = u32::from(code.len);
            if len > count {
                break;
            }
            *free.next().ok_or(Malformed::TooLarge)? = code.symbol;
            bits <<= len;
            count -= len;
        }
        if rest.is_empty() {
            break;
        }
    }
    // Padding is less than a byte, and the upper bits of EOS, which are ones.
    if count >= 8 || bits.leading_ones() < count {
        return Err(Malformed::Huffman);
    }
    let unused = free.len();
    text.truncate(text.len().saturating_sub(unused));
    Ok(())
}

/// The symbol that the upper `count` of `bits` begin with, and the length of its code; `None` if more of them are needed.
pub(crate) fn symbol(bits: u64, count: u32) -> Result<Option<(u8, u32)>, Malformed> {
    let code = next(bits)?;
    let len = u32::from(code.len);
    Ok((len <= count).then_some((code.symbol, len)))
}

/// The code that `bits` begin with, which may need more of them than there are.
fn next(bits: u64) -> Result<Code, Malformed> {
    let [first, ..] = bits.to_be_bytes();
    match SHORT.get(usize::from(first)) {
        Some(code) if code.len > 0 => Ok(*code),
        _ => next_long(bits),
    }
}

#[cold]
fn next_long(bits: u64) -> Result<Code, Malformed> {
    let bits = (bits >> 32) as u32;
    let group = LONG.iter().rev().find(|group| bits >= group.first);
    let group = group.ok_or(Malformed::Huffman)?;
    let place = (bits - group.first) >> (32 - group.len);
    match group.symbols.get(place as usize) {
        Some(symbol) => Ok(Code {
            symbol: *symbol,
            len: group.len,
        }),
        // EOS.
        None => Err(Malformed::Huffman),
    }
}

#[expect(clippy::indexing_slicing, reason = "run by the compiler only")]
const fn short() -> [Code; 1 << LOOK] {
    let mut table = [Code { symbol: 0, len: 0 }; 1 << LOOK];
    let (mut at, mut length) = (0, 0);
    while SYMBOLS[length].0 <= LOOK {
        let (len, symbols) = SYMBOLS[length];
        let mut place = 0;
        while place < symbols.len() {
            // Whatever follows the code.
            let last = at + (1 << (LOOK - len));
            while at < last {
                table[at] = Code {
                    symbol: symbols[place],
                    len,
                };
                at += 1;
            }
            place += 1;
        }
        length += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "run by the compiler only")]
const fn long() -> [Group; 17] {
    let mut groups = [Group {
        first: 0,
        len: 0,
        symbols: &[],
    }; 17];
    let (mut first, mut length) = (0_u32, 0);
    while length < SYMBOLS.len() {
        let (len, symbols) = SYMBOLS[length];
        if length >= SYMBOLS.len() - groups.len() {
            groups[length - (SYMBOLS.len() - groups.len())] = Group { first, len, symbols };
        }
        let mut place = 0;
        while place < symbols.len() {
            first += 1 << (32 - len);
            place += 1;
        }
        length += 1;
    }
    groups
}
