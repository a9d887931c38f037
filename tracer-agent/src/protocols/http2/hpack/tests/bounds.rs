//! What is refused, and what bytes from outside can ask for at most.

use super::{
    super::huffman::decode,
    Decoder, Malformed, attempt, bytes,
    encoder::{code, integer, string},
    fields,
};

#[test]
fn blocks_without_meaning_are_refused() {
    for (block, why, reason) in [
        ("80", "index 0", Malformed::Index),
        (
            "be",
            "the first dynamic entry of an empty table",
            Malformed::Index,
        ),
        ("7e 00", "its name", Malformed::Index),
        ("ff", "an index that does not end", Malformed::Cut),
        ("ff80", "nor here", Malformed::Cut),
        ("ff808080808000", "six bytes behind the first", Malformed::Integer),
        ("ffffffffff0f", "2^32 + 126", Malformed::Integer),
        ("ffffffffff7f", "36 bits", Malformed::Integer),
        ("40", "no name", Malformed::Cut),
        ("4001", "a name that is not there", Malformed::Cut),
        ("400161", "no value", Malformed::Cut),
        ("4001610262", "a value that is not all there", Malformed::Cut),
        ("40ff80808008", "a name longer than any block", Malformed::Cut),
        ("407fffffffff0f", "a name of 4 GiB and more", Malformed::Integer),
        ("8220", "a size after a field", Malformed::SizeUpdate),
        ("000161016120", "a size after a literal", Malformed::SizeUpdate),
        ("3f", "a size that does not end", Malformed::Cut),
        ("00016181ff", "padding of a whole byte", Malformed::Huffman),
        ("0001618118", "padding that is not of ones", Malformed::Huffman),
        ("00016182 1fff", "padding of 11 bits", Malformed::Huffman),
        ("00016184 ffffffff", "EOS", Malformed::Huffman),
        ("00016185 1fffffffff", "EOS after a symbol", Malformed::Huffman),
        (
            "0001618a ffffffff ffffffffffff",
            "EOS, twice and more",
            Malformed::Huffman,
        ),
        ("00016181fe", "a code that is cut", Malformed::Huffman),
    ] {
        let (_, result) = attempt(&mut Decoder::new(false), &bytes(block));
        assert_eq!(result, Err(reason), "{why}");
    }
}

#[test]
fn a_block_may_make_the_table_smaller_and_larger_again() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &bytes("4001610131"));
    fields(&mut decoder, &bytes("20 3fe11f"));
    assert_eq!(attempt(&mut decoder, &bytes("be")).1, Err(Malformed::Index));
}

#[test]
fn padding_may_be_of_any_length_below_a_byte() {
    // "0" has 5 bits, so each adds 5 to what stands in the last byte.
    for count in 0..9 {
        let zeros = "0".repeat(count);
        let mut block = vec![0x00, 0x01, b'a'];
        string(zeros.as_bytes(), true, &mut block);
        let found = fields(&mut Decoder::new(false), &block);
        assert_eq!(found[0].1, Some(zeros.into_bytes()));
    }
}

#[test]
fn every_symbol_is_decoded_wherever_it_begins_and_ends() {
    for symbol in 0..=255_u8 {
        for before in 0..14 {
            for after in 0..14 {
                let text = [vec![b'0'; before], vec![symbol], vec![b'a'; after]].concat();
                let mut block = Vec::new();
                string(&text, true, &mut block);
                let mut decoded = Vec::new();
                let skip = block.len() - super::encoder::huffman(&text).len();
                assert_eq!(decode(&block[skip..], text.len(), &mut decoded), Ok(()));
                assert_eq!(decoded, text);
            }
        }
    }
}

#[test]
fn codes_are_those_of_the_rfc() {
    // Some of each kind, from Appendix B.
    for (symbol, expected, len) in [
        (b'0', 0x0, 5),
        (b't', 0x9, 5),
        (b' ', 0x14, 6),
        (b'u', 0x2d, 6),
        (b':', 0x5c, 7),
        (b'z', 0x7b, 7),
        (b'&', 0xf8, 8),
        (b'Z', 0xfd, 8),
        (b'!', 0x3f8, 10),
        (b'|', 0x7fc, 11),
        (b'#', 0xffa, 12),
        (0, 0x1ff8, 13),
        (b'}', 0x3ffd, 14),
        (b'{', 0x7ffe, 15),
        (b'\\', 0x7fff0, 19),
        (128, 0xfffe6, 20),
        (230, 0x1f_ffe8, 21),
        (233, 0x3f_ffeb, 22),
        (239, 0x7f_fff4, 23),
        (9, 0xff_ffea, 24),
        (207, 0x1ff_ffed, 25),
        (255, 0x3ff_ffee, 26),
        (254, 0x7ff_fff0, 27),
        (2, 0xfff_ffe2, 28),
        (249, 0xfff_fffe, 28),
        (b'\n', 0x3fff_fffc, 30),
        (22, 0x3fff_fffe, 30),
    ] {
        assert_eq!(code(symbol), (expected, len), "{symbol}");
    }
}

#[test]
fn a_few_bytes_cannot_ask_for_more_than_a_block_may_be() {
    let mut decoder = Decoder::new(false);
    let mut block = vec![0x40];
    string(b"n", false, &mut block);
    string(&vec![b'v'; 4_000], false, &mut block);
    fields(&mut decoder, &block);
    // Each byte is the whole entry: 4,033 with what a field counts for, 64 times and no more.
    assert_eq!(fields(&mut decoder, &[0xbe; 64]).len(), 64);
    let (found, result) = attempt(&mut decoder, &vec![0xbe; 100_000]);
    assert_eq!((found.len(), result), (64, Err(Malformed::TooLarge)));
}

#[test]
fn fields_are_counted_where_they_are_empty_or_unknown_too() {
    for (block, joined_late) in [(bytes("000000"), false), (bytes("be"), true)] {
        let (found, result) = attempt(&mut Decoder::new(joined_late), &block.repeat(100_000));
        assert_eq!((found.len(), result), (8_192, Err(Malformed::TooLarge)));
    }
}

#[test]
fn strings_are_decoded_no_further_than_a_block_may_be() {
    // 5 bits a byte, so that the text would be 1.6 MB.
    let mut block = vec![0x00, 0x01, b'a'];
    integer(0x80, 7, 1_000_000, &mut block);
    block.resize(block.len() + 1_000_000, 0);
    assert_eq!(
        attempt(&mut Decoder::new(false), &block).1,
        Err(Malformed::TooLarge)
    );
    let mut text = Vec::new();
    assert_eq!(decode(&block[7..], 100, &mut text), Err(Malformed::TooLarge));
    assert!(text.capacity() < 256, "{}", text.capacity());
}

#[test]
fn a_decoder_that_has_read_nothing_is_small() {
    assert!(size_of::<Decoder>() <= 72, "{}", size_of::<Decoder>());
}
