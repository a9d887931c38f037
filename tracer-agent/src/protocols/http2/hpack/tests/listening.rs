//! What is known of a table that was not seen from its beginning.

use super::{
    super::table::MAX_KEPT,
    Decoder, Malformed, Pair, attempt, bytes,
    encoder::{integer, string},
    fields, known,
};

const UNKNOWN: Pair = (None, None);

/// A block of one field that goes into the table.
fn entry(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40];
    string(name.as_bytes(), false, &mut block);
    string(value.as_bytes(), false, &mut block);
    block
}

/// A block of one field: the entry at a place of the dynamic table.
fn indexed(place: usize) -> Vec<u8> {
    let mut block = Vec::new();
    integer(0x80, 7, place + 62, &mut block);
    block
}

fn size(max: usize) -> Vec<u8> {
    let mut block = Vec::new();
    integer(0x20, 5, max, &mut block);
    block
}

#[test]
fn entries_are_counted_from_the_newest_whatever_is_behind_them() {
    let mut decoder = Decoder::new(true);
    fields(&mut decoder, &entry("a", "1"));
    fields(&mut decoder, &entry("b", "2"));
    assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"b", b"2")]);
    assert_eq!(fields(&mut decoder, &indexed(1)), [known(b"a", b"1")]);
    assert_eq!(fields(&mut decoder, &indexed(2)), [UNKNOWN]);
    assert_eq!(fields(&mut decoder, &indexed(1_000_000)), [UNKNOWN]);
}

#[test]
fn the_static_table_is_always_known() {
    assert_eq!(
        fields(&mut Decoder::new(true), &[0x82]),
        [known(b":method", b"GET")]
    );
}

#[test]
fn a_value_is_known_without_its_name_and_takes_its_place_in_the_table() {
    let mut decoder = Decoder::new(true);
    // The name of the newest entry, and a value.
    let nameless = [(None, Some(b"v".to_vec()))];
    assert_eq!(fields(&mut decoder, &bytes("7e 0176")), nameless);
    fields(&mut decoder, &entry("a", "1"));
    assert_eq!(fields(&mut decoder, &indexed(1)), nameless);
    assert_eq!(
        fields(&mut decoder, &bytes("0f30 0177")),
        [(None, Some(b"w".to_vec()))]
    );
    assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"a", b"1")]);
}

#[test]
fn a_lost_block_leaves_nothing_known() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &entry("a", "1"));
    decoder.lose();
    assert_eq!(fields(&mut decoder, &indexed(0)), [UNKNOWN]);
    fields(&mut decoder, &entry("b", "2"));
    assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"b", b"2")]);
    assert_eq!(fields(&mut decoder, &indexed(1)), [UNKNOWN]);
}

#[test]
fn a_malformed_block_leaves_nothing_known() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &entry("a", "1"));
    assert_eq!(attempt(&mut decoder, &[0x80]).1, Err(Malformed::Index));
    assert_eq!(fields(&mut decoder, &indexed(0)), [UNKNOWN]);
}

#[test]
fn an_index_beyond_a_table_that_was_always_seen_is_malformed() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &entry("a", "1"));
    assert_eq!(attempt(&mut decoder, &indexed(1)).1, Err(Malformed::Index));
}

#[test]
fn an_index_is_malformed_where_there_is_no_room_for_its_entry() {
    let mut decoder = Decoder::new(true);
    // 34 of 100 bytes are an entry's that is known, so there is room for two more.
    fields(&mut decoder, &[size(100), entry("a", "1")].concat());
    assert_eq!(fields(&mut decoder, &indexed(2)), [UNKNOWN]);
    assert_eq!(attempt(&mut decoder, &indexed(3)).1, Err(Malformed::Index));
}

#[test]
fn a_table_is_known_once_what_came_in_fills_it() {
    let mut decoder = Decoder::new(true);
    fields(
        &mut decoder,
        &[size(99), entry("a", "1"), entry("b", "2")].concat(),
    );
    // A larger table does not bring back what had no place in it.
    fields(&mut decoder, &[size(4_096), entry("c", "3")].concat());
    assert_eq!(fields(&mut decoder, &indexed(2)), [known(b"a", b"1")]);
    assert_eq!(attempt(&mut decoder, &indexed(3)).1, Err(Malformed::Index));
}

#[test]
fn entries_that_fill_the_table_to_the_last_byte_stay() {
    let mut decoder = Decoder::new(false);
    fields(
        &mut decoder,
        &[size(68), entry("a", "1"), entry("b", "2")].concat(),
    );
    assert_eq!(fields(&mut decoder, &indexed(1)), [known(b"a", b"1")]);
    fields(&mut decoder, &[size(67), indexed(0)].concat());
    assert_eq!(attempt(&mut decoder, &indexed(1)).1, Err(Malformed::Index));
}

#[test]
fn an_entry_that_is_too_large_empties_the_table_known_or_not() {
    let long = "x".repeat(200);
    for joined_late in [false, true] {
        let mut decoder = Decoder::new(joined_late);
        fields(&mut decoder, &[size(100), entry("a", "1")].concat());
        assert_eq!(
            fields(&mut decoder, &entry("a", &long)),
            [known(b"a", long.as_bytes())]
        );
        fields(&mut decoder, &entry("b", "2"));
        assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"b", b"2")]);
        assert_eq!(attempt(&mut decoder, &indexed(1)).1, Err(Malformed::Index));
    }
}

#[test]
fn an_entry_that_may_have_been_too_large_does_not_move_what_comes_later() {
    // The table has 100 bytes, which is not known here.
    let mut decoder = Decoder::new(true);
    fields(&mut decoder, &entry("a", &"x".repeat(200)));
    fields(&mut decoder, &entry("b", "2"));
    assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"b", b"2")]);
}

#[test]
fn a_name_is_taken_from_the_entry_that_its_field_evicts() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &[size(40), entry("name", "1")].concat());
    assert_eq!(fields(&mut decoder, &bytes("7e 0132")), [known(b"name", b"2")]);
    assert_eq!(fields(&mut decoder, &indexed(0)), [known(b"name", b"2")]);
    assert_eq!(attempt(&mut decoder, &indexed(1)).1, Err(Malformed::Index));
}

#[test]
fn what_a_large_table_has_beyond_what_is_kept_is_unknown() {
    let mut decoder = Decoder::new(false);
    fields(&mut decoder, &size(1 << 20));
    let value = "v".repeat(991);
    // Each is 1,024 bytes.
    for _ in 0..100 {
        fields(&mut decoder, &entry("n", &value));
    }
    let kept = MAX_KEPT / 1_024;
    assert_eq!(decoder.table().entries().count(), kept);
    assert_eq!(
        fields(&mut decoder, &indexed(kept - 1)),
        [known(b"n", value.as_bytes())]
    );
    assert_eq!(fields(&mut decoder, &indexed(kept)), [UNKNOWN]);
    // One that is larger than all that is kept.
    fields(&mut decoder, &entry("n", &"v".repeat(MAX_KEPT)));
    assert_eq!(decoder.table().entries().count(), 0);
    assert_eq!(fields(&mut decoder, &indexed(0)), [UNKNOWN]);
}

#[test]
fn who_comes_late_keeps_no_more() {
    let mut decoder = Decoder::new(true);
    for _ in 0..10_000 {
        fields(&mut decoder, &entry("name", "value"));
        assert!(decoder.table().size() <= MAX_KEPT);
    }
}
