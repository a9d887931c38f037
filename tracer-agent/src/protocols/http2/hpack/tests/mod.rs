mod bounds;
mod cost;
mod examples;
mod independent;
mod listening;
mod properties;

pub(crate) use crate::testing::hpack as encoder;

use super::{Decoder, Field, Malformed};

/// A name and a value, as far as they are known.
type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

fn known(name: &[u8], value: &[u8]) -> Pair {
    (Some(name.to_vec()), Some(value.to_vec()))
}

/// The fields of a block that is whole.
fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<Pair> {
    let (fields, result) = attempt(decoder, block);
    assert_eq!(result, Ok(()), "{block:02x?}");
    fields
}

/// The fields that are given of a block, and how it ends.
fn attempt(decoder: &mut Decoder, block: &[u8]) -> (Vec<Pair>, Result<(), Malformed>) {
    let mut fields = Vec::new();
    let result = decoder.block(block, |field: Field<'_>| {
        fields.push((field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec)));
    });
    (fields, result)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
