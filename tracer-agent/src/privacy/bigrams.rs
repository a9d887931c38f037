//! Which letters usually follow each other in words and identifiers.
//!
//! Pairs of letters that are frequent in the words of manuals and programs (English mostly): 270 of the 676 that there are, so where letters are
//! drawn at random 40 of 100 pairs are among them.

/// For each letter, those that usually follow it.
const USUAL: [&[u8]; 26] = [
    b"bcdgiklmnprstuvy",
    b"aeilorsu",
    b"acehiklorstuy",
    b"adeiloprsuy",
    b"abcdefgilmnopqrstvwxy",
    b"aefiloru",
    b"aehilnorsu",
    b"aeiotuy",
    b"abcdefglmnoprstvxz",
    b"aeosu",
    b"eins",
    b"adeilostuy",
    b"abeilmopsu",
    b"acdefgiknostuvy",
    b"abcdefgiklmnoprstuvwy",
    b"aehiloprstuy",
    b"u",
    b"acdegiklmnoprstuvy",
    b"acehiklmopstuw",
    b"acehilorstuwy",
    b"abcdegilmnprstx",
    b"aeio",
    b"aehior",
    b"aept",
    b"eps",
    b"aeo",
];

const SETS: [u32; 26] = sets();

#[expect(clippy::indexing_slicing, reason = "run by the compiler only")]
const fn sets() -> [u32; 26] {
    let mut sets = [0; 26];
    let mut first = 0;
    while first < sets.len() {
        let mut place = 0;
        while place < USUAL[first].len() {
            sets[first] |= 1 << (USUAL[first][place] - b'a');
            place += 1;
        }
        first += 1;
    }
    sets
}

/// Whether two letters, of whatever case, usually follow each other. What is no letter does not.
pub(super) fn is_usual(first: u8, second: u8) -> bool {
    let place = |letter: u8| letter.to_ascii_lowercase().checked_sub(b'a');
    let set = place(first).and_then(|place| SETS.get(usize::from(place)));
    let bit = place(second).and_then(|place| 1_u32.checked_shl(u32::from(place)));
    set.zip(bit).is_some_and(|(set, bit)| set & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::is_usual;

    #[test]
    fn letters_of_words_follow_each_other_and_others_do_not() {
        for word in ["Customer", "the", "ORDERS", "quantity"] {
            let pairs: Vec<_> = word.bytes().zip(word.bytes().skip(1)).collect();
            assert!(pairs.iter().all(|(a, b)| is_usual(*a, *b)), "{word}");
        }
        for pair in [b"qk", b"zx", b"a1", b"1a", b"--", b"vb"] {
            assert!(!is_usual(pair[0], pair[1]));
        }
    }
}
