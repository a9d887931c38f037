//! Writing the Huffman code of RFC 7541, Appendix B, over a string of the same size.

use super::huffman::SYMBOLS;

/// The code of each symbol, in the lower bits, and its length.
static CODES: [(u32, u8); 256] = codes();

/// The length of the code of a symbol, in bits: 5 to 30.
pub(crate) fn code_len(symbol: u8) -> u8 {
    CODES.get(usize::from(symbol)).map_or(0, |(_, len)| *len)
}

/// Writes the code of `symbols` over all of `coded` but its first `kept` bits (0 to 7), and ones over what is left of it. What has no
/// room is left out.
pub(crate) fn encode_over(coded: &mut [u8], kept: u8, symbols: impl Iterator<Item = u8>) {
    // The bits that wait for a whole byte, in the lower part, and how many.
    let (mut bits, mut count) = (0_u64, u32::from(kept));
    if let Some(first) = coded.first() {
        bits = u64::from(*first) >> (8 - count);
    }
    let mut free = coded.iter_mut();
    for symbol in symbols {
        let Some((code, len)) = CODES.get(usize::from(symbol)) else {
            continue;
        };
        bits = bits << len | u64::from(*code);
        count += u32::from(*len);
        while count >= 8
            && let Some(byte) = free.next()
        {
            count -= 8;
            *byte = (bits >> count).to_le_bytes()[0];
        }
        bits &= (1 << count.min(63)) - 1;
        if count >= 8 {
            return;
        }
    }
    for byte in free {
        *byte = (bits << (8 - count) | 0xff >> count).to_le_bytes()[0];
        (bits, count) = (0, 0);
    }
}

#[expect(clippy::indexing_slicing, reason = "run by the compiler only")]
const fn codes() -> [(u32, u8); 256] {
    let mut codes = [(0, 0); 256];
    let (mut code, mut before, mut length) = (0_u32, SYMBOLS[0].0, 0);
    while length < SYMBOLS.len() {
        let (len, symbols) = SYMBOLS[length];
        code <<= len - before;
        before = len;
        let mut place = 0;
        while place < symbols.len() {
            codes[symbols[place] as usize] = (code, len);
            code += 1;
            place += 1;
        }
        length += 1;
    }
    codes
}
