//! Header blocks: any bytes, and what those who missed some of them make of the rest.
//!
//! The input is blocks, each behind a byte that says who misses it (the lower two bits) and its length, which if it is 63 stands in
//! two more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_agent::protocols::hpack::{Decoder, Malformed};

/// A name and a value, as far as they are known.
type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

fuzz_target!(|input: &[u8]| {
    let mut whole = Decoder::new(false);
    let mut late = Decoder::new(true);
    let mut missing = Decoder::new(false);
    // No block was malformed, so all that was sent is known.
    let mut all_is_known = true;
    let mut rest = input;
    while let Some((head, behind)) = rest.split_first() {
        let (len, behind) = match (head >> 2, behind) {
            (63, [low, high, behind @ ..]) => (u16::from_le_bytes([*low, *high]).into(), behind),
            (len, behind) => (usize::from(len), behind),
        };
        let (block, behind) = behind.split_at(len.min(behind.len()));
        rest = behind;
        let (sent, result) = fields(&mut whole, block);
        all_is_known &= result.is_ok();
        for (listener, misses) in [(&mut late, head & 1 != 0), (&mut missing, head & 2 != 0)] {
            if misses {
                listener.lose();
                continue;
            }
            let (heard, result) = fields(listener, block);
            if all_is_known {
                assert_eq!(result, Ok(()));
                assert_eq!(heard.len(), sent.len());
                for (heard, sent) in heard.iter().zip(&sent) {
                    assert!(
                        agree(&heard.0, &sent.0) && agree(&heard.1, &sent.1),
                        "{heard:?} {sent:?}"
                    );
                }
            }
        }
    }
});

/// What the fields of a block may take together (RFC 9113 §6.5.2), whatever it asks for.
const SIZE_MAX: usize = 262_144;

fn fields(decoder: &mut Decoder, block: &[u8]) -> (Vec<Pair>, Result<(), Malformed>) {
    let mut fields = Vec::new();
    let result = decoder.block(block, |field| {
        fields.push((field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec)));
    });
    let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let size: usize = fields
        .iter()
        .map(|(name, value)| len(name) + len(value) + 32)
        .sum();
    assert!(size <= SIZE_MAX, "{size}");
    (fields, result)
}

/// Whether one of them is not known, or both are the same: a table that is larger than what is kept of it leaves gaps with either.
fn agree(heard: &Option<Vec<u8>>, sent: &Option<Vec<u8>>) -> bool {
    heard.is_none() || sent.is_none() || heard == sent
}
