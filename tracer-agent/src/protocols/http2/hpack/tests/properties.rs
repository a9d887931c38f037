//! Whatever an encoder says, in whatever way, and whatever of it is missed.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use super::{
    Decoder, Malformed, Pair, attempt,
    encoder::{Encoder, Number, Said, Wish, huffman},
};
use crate::protocols::http2::hpack::huffman::decode;

/// The sizes that a block begins with, and its fields.
type Plan = (Vec<usize>, Vec<Wish>);

const NAMES: &[&str] = &[
    ":path",
    ":status",
    "cookie",
    "date",
    "x-a",
    "x-b",
    "grpc-status",
    "traceparent",
];
const VALUES: &[&str] = &["", "/", "200", "a", "bb", "ccc"];

/// Mostly a usual name, and a value that came before, so that there are many ways to say them; else any bytes, some near and
/// beyond the size of the table. Few random choices each, for these are made slowly.
fn wish() -> impl Strategy<Value = Wish> {
    (any::<u64>(), any::<u16>(), 0_u16..5_000).prop_map(|(seed, way, len)| {
        let [kind, first, second, coded, ..] = seed.to_le_bytes();
        let any_bytes = |len| {
            (0..u64::from(len))
                .map(|place| seed.rotate_left(11).wrapping_mul(2 * place + 1).to_be_bytes()[0])
                .collect()
        };
        Wish {
            name: match NAMES.get(usize::from(first % 9)) {
                Some(name) => name.as_bytes().to_vec(),
                None => any_bytes(len % 20),
            },
            value: match kind {
                0 => any_bytes(len),
                1..100 => any_bytes(len % 60),
                _ => VALUES[usize::from(second) % VALUES.len()].as_bytes().to_vec(),
            },
            way: way.into(),
            coded_name: coded & 1 == 0,
            coded_value: coded & 2 == 0,
        }
    })
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let size = prop_oneof![Just(0), 0_usize..200, 0_usize..9_000, Just(4_096)];
    let sizes = prop_oneof![9 => Just(Vec::new()), 1 => vec(size, 1..3)];
    vec((sizes, vec(wish(), 0..10)), 1..16)
}

fn encoded(plans: &[Plan]) -> Vec<(Vec<u8>, Vec<Said>)> {
    let mut encoder = Encoder::new();
    plans
        .iter()
        .map(|(sizes, wishes)| encoder.block(sizes, wishes))
        .collect()
}

/// What can be known of the table: the entries that were seen to come in since the last loss.
#[derive(Default)]
struct Seen {
    names: HashSet<Number>,
    values: HashSet<Number>,
}

impl Seen {
    /// What can be known of a field.
    fn field(&mut self, said: &Said) -> Pair {
        let seen =
            |of: &HashSet<Number>, source: Option<Number>| source.is_none_or(|number| of.contains(&number));
        let name = seen(&self.names, said.name_of).then(|| said.name.clone());
        let value = seen(&self.values, said.value_of).then(|| said.value.clone());
        if let Some(entry) = said.entry {
            self.values.insert(entry);
            if name.is_some() {
                self.names.insert(entry);
            }
        }
        (name, value)
    }
}

proptest! {
    #[test]
    fn every_field_is_as_it_was_sent(plans in plans()) {
        let mut decoder = Decoder::new(false);
        for (block, said) in encoded(&plans) {
            let sent: Vec<Pair> = said.into_iter().map(|field| (Some(field.name), Some(field.value))).collect();
            prop_assert_eq!(attempt(&mut decoder, &block), (sent, Ok(())));
        }
    }

    #[test]
    fn who_comes_late_knows_all_that_can_be_known_and_nothing_else(plans in plans()) {
        let blocks = encoded(&plans);
        for joined in 0..blocks.len() {
            let mut decoder = Decoder::new(true);
            let mut seen = Seen::default();
            for (block, said) in &blocks[joined..] {
                let possible: Vec<Pair> = said.iter().map(|field| seen.field(field)).collect();
                prop_assert_eq!(attempt(&mut decoder, block), (possible, Ok(())));
            }
        }
    }

    #[test]
    fn who_misses_blocks_knows_all_that_can_be_known_and_nothing_else(
        plans in plans(),
        missed in vec(prop::bool::weighted(0.2), 16),
    ) {
        let mut decoder = Decoder::new(false);
        let mut seen = Seen::default();
        for ((block, said), missed) in encoded(&plans).iter().zip(missed) {
            if missed {
                decoder.lose();
                seen = Seen::default();
                continue;
            }
            let possible: Vec<Pair> = said.iter().map(|field| seen.field(field)).collect();
            prop_assert_eq!(attempt(&mut decoder, block), (possible, Ok(())));
        }
    }

    #[test]
    fn of_a_block_that_is_cut_the_whole_fields_are_right(plans in plans(), cut in any::<prop::sample::Index>()) {
        let blocks = encoded(&plans);
        let (cut_block, before) = blocks.split_last().unwrap();
        let mut decoder = Decoder::new(false);
        for (block, _) in before {
            prop_assert_eq!(attempt(&mut decoder, block).1, Ok(()));
        }
        let (block, said) = cut_block;
        let kept = cut.index(block.len() + 1);
        let (found, result) = attempt(&mut decoder, &block[..kept]);
        prop_assert!(matches!(result, Ok(()) | Err(Malformed::Cut)), "{:?}", result);
        let sent: Vec<Pair> = said
            .iter()
            .map(|field| (Some(field.name.clone()), Some(field.value.clone())))
            .collect();
        prop_assert_eq!(&found[..], &sent[..found.len()]);
        prop_assert!(kept < block.len() || found.len() == sent.len());
    }

    #[test]
    fn a_table_that_is_emptied_is_known_again(plans in plans(), more in plans()) {
        let mut encoder = Encoder::new();
        for (sizes, wishes) in &plans {
            encoder.block(sizes, wishes);
        }
        let mut decoder = Decoder::new(true);
        for (place, (sizes, wishes)) in more.iter().enumerate() {
            let emptied = [&[0, 4_096], sizes.as_slice()].concat();
            let (block, said) = encoder.block(if place == 0 { &emptied } else { sizes }, wishes);
            let sent: Vec<Pair> = said.into_iter().map(|field| (Some(field.name), Some(field.value))).collect();
            prop_assert_eq!(attempt(&mut decoder, &block), (sent, Ok(())));
        }
    }

    #[test]
    fn bytes_that_mean_nothing_do_no_harm(
        blocks in vec(vec(any::<u8>(), 0..200), 1..10),
        joined_late in any::<bool>(),
    ) {
        let mut decoder = Decoder::new(joined_late);
        for block in blocks {
            let _ = attempt(&mut decoder, &block);
        }
    }

    #[test]
    fn damaged_blocks_do_no_harm(plans in plans(), hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut decoder = Decoder::new(false);
        for (mut block, _) in encoded(&plans) {
            for (place, byte) in &hits {
                if !block.is_empty() {
                    let place = place.index(block.len());
                    block[place] = *byte;
                }
            }
            let _ = attempt(&mut decoder, &block);
        }
    }

    #[test]
    fn any_bytes_survive_huffman_code(text in vec(any::<u8>(), 0..300)) {
        let mut decoded = Vec::new();
        prop_assert_eq!(decode(&huffman(&text), text.len(), &mut decoded), Ok(()));
        prop_assert_eq!(decoded, text);
    }
}
