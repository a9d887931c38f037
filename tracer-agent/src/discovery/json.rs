//! Objects out of a JSON document that comes in pieces, one at a time: a list of pods is never in memory as a whole.
//!
//! In: the pieces, cut anywhere. Out: each object of a given level as its bytes, and what stands around them. Kept true: the same
//! bytes give the same objects however they are cut; no object and no rest is longer than its bound; what is not JSON gives
//! objects that are none, which whoever reads them refuses.

/// Bytes around the objects that are kept: the kind and the metadata of a list.
const REST_MAX: usize = 64 << 10;
/// Arrays and objects in each other that are looked into; serde_json reads 128.
const DEPTH_MAX: usize = 128;

/// Where the objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// One after the other: events of a stream.
    Stream,
    /// In the array that the document is.
    Array,
    /// In an array of the object that the document is: `items`.
    Items,
}

impl Level {
    const fn depth(self) -> usize {
        match self {
            Self::Stream => 0,
            Self::Array => 1,
            Self::Items => 2,
        }
    }
}

/// Takes a document apart.
#[derive(Debug)]
pub(super) struct Objects {
    level: Level,
    max: usize,
    /// What is open around the objects: arrays, and objects that are none of them.
    around: Vec<Open>,
    /// How deep in one of the objects; 0 outside.
    within: usize,
    in_text: bool,
    is_escaped: bool,
    /// The object that has begun, up to a byte more than its bound.
    object: Vec<u8>,
    rest: Vec<u8>,
    oversized: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

/// The document cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON that is nested more than {DEPTH_MAX} deep, or closed more often than opened")]
pub(super) struct Misnested;

impl Objects {
    /// Objects of this level, of at most `max` bytes each; longer ones are counted and left out.
    pub(super) fn new(level: Level, max: usize) -> Self {
        Self {
            level,
            max,
            around: Vec::new(),
            within: 0,
            in_text: false,
            is_escaped: false,
            object: Vec::new(),
            rest: Vec::new(),
            oversized: 0,
        }
    }

    /// Takes the next piece; `each` is given every object that ends in it.
    ///
    /// # Errors
    /// When the document cannot be followed; nothing more can be read from it.
    pub(super) fn push(&mut self, piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Misnested> {
        piece.iter().try_for_each(|byte| self.byte(*byte, each))
    }

    /// The document without its objects: an empty array in their place. `None` if it is not at its end, or too long.
    pub(super) fn rest(&self) -> Option<&[u8]> {
        let is_whole = self.around.is_empty() && self.within == 0 && self.rest.len() < REST_MAX;
        is_whole.then_some(&self.rest)
    }

    /// Objects that were left out.
    pub(super) fn oversized(&self) -> u64 {
        self.oversized
    }

    fn byte(&mut self, byte: u8, each: &mut dyn FnMut(&[u8])) -> Result<(), Misnested> {
        if self.in_text {
            self.in_text = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            self.keep(byte);
            return Ok(());
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.open(byte)?,
            b'}' | b']' if self.within > 0 => {
                self.keep(byte);
                self.within -= 1;
                if self.within == 0 {
                    self.end(each);
                }
                return Ok(());
            }
            b'}' | b']' => {
                self.around.pop().ok_or(Misnested)?;
            }
            // Commas between the objects go with them.
            b',' if self.within == 0 && self.is_between() => return Ok(()),
            _ => {}
        }
        self.keep(byte);
        Ok(())
    }

    fn open(&mut self, byte: u8) -> Result<(), Misnested> {
        if self.around.len() + self.within >= DEPTH_MAX {
            return Err(Misnested);
        }
        if self.within > 0 || (byte == b'{' && self.is_between()) {
            self.within += 1;
        } else {
            let opened = if byte == b'{' { Open::Object } else { Open::Array };
            self.around.push(opened);
        }
        Ok(())
    }

    /// Whether an object that begins here is one of them.
    fn is_between(&self) -> bool {
        let is_array = self.around.last() == Some(&Open::Array);
        self.around.len() == self.level.depth() && (is_array || self.level == Level::Stream)
    }

    fn keep(&mut self, byte: u8) {
        if self.within > 0 {
            if self.object.len() <= self.max {
                self.object.push(byte);
            }
        } else if self.rest.len() < REST_MAX && self.level != Level::Stream {
            self.rest.push(byte);
        }
    }

    fn end(&mut self, each: &mut dyn FnMut(&[u8])) {
        if self.object.len() > self.max {
            self.oversized += 1;
        } else {
            each(&self.object);
        }
        self.object.clear();
        // One large object is no reason to keep room for the next.
        self.object.shrink_to(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Level, Misnested, Objects};

    fn taken(level: Level, pieces: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let mut objects = Objects::new(level, 1000);
        let mut found = Vec::new();
        for piece in pieces {
            let mut each = |object: &[u8]| found.push(String::from_utf8_lossy(object).into_owned());
            objects.push(piece, &mut each).unwrap();
        }
        let rest = objects
            .rest()
            .map(|rest| String::from_utf8_lossy(rest).into_owned());
        (found, rest)
    }

    const LIST: &str =
        r#"{"kind":"L","metadata":{"a":{"b":[{"c":1}]}},"items":[{"x":"}{\"]["}, {"y":[{}]},{}],"z":[1]}"#;

    #[test]
    fn a_list_is_its_items_and_what_is_around_them() {
        let (found, rest) = taken(Level::Items, &[LIST.as_bytes()]);
        assert_eq!(found, [r#"{"x":"}{\"]["}"#, r#"{"y":[{}]}"#, "{}"]);
        let rest: serde_json::Value = serde_json::from_str(&rest.unwrap()).unwrap();
        assert_eq!(
            rest,
            serde_json::json!({"kind": "L", "metadata": {"a": {"b": [{"c": 1}]}}, "items": [], "z": [1]})
        );
    }

    #[test]
    fn a_stream_and_an_array_are_their_objects() {
        let (found, _) = taken(Level::Stream, &[b"{\"a\":1}\n{\"b\":{}}\n{\"c"]);
        assert_eq!(found, [r#"{"a":1}"#, r#"{"b":{}}"#]);
        let (found, rest) = taken(Level::Array, &[br#"[{"a":[{}]},{"b":1}]"#]);
        assert_eq!(found, [r#"{"a":[{}]}"#, r#"{"b":1}"#]);
        assert_eq!(rest.as_deref(), Some("[]"));
    }

    #[test]
    fn a_list_that_is_cut_off_has_no_rest() {
        for end in 0..LIST.len() {
            assert_eq!(
                taken(Level::Items, &[&LIST.as_bytes()[..end]])
                    .1
                    .filter(|_| end > 0),
                None,
                "{end}"
            );
        }
    }

    #[test]
    fn a_long_object_is_left_out_and_counted_and_the_next_is_found() {
        let mut objects = Objects::new(Level::Stream, 20);
        let mut found = Vec::new();
        let long = format!(r#"{{"a":"{}"}}{{"b":1}}"#, "x".repeat(100_000));
        objects
            .push(long.as_bytes(), &mut |object| found.push(object.to_vec()))
            .unwrap();
        assert_eq!((found, objects.oversized()), (vec![br#"{"b":1}"#.to_vec()], 1));
        assert!(objects.object.capacity() <= super::REST_MAX);
    }

    #[test]
    fn what_is_nested_too_deep_or_closed_too_often_is_refused() {
        for text in ["[".repeat(200), "}".to_owned(), "{}}".to_owned()] {
            let mut objects = Objects::new(Level::Stream, 20);
            assert_eq!(
                objects.push(text.as_bytes(), &mut |_| ()),
                Err(Misnested),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_the_same(cuts in proptest::collection::vec(0..LIST.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&LIST.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&LIST.as_bytes()[from..]);
            prop_assert_eq!(taken(Level::Items, &pieces), taken(Level::Items, &[LIST.as_bytes()]));
        }

        #[test]
        fn no_bytes_make_it_fail_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            for level in [Level::Stream, Level::Array, Level::Items] {
                let mut objects = Objects::new(level, 50);
                let mut longest = 0;
                let _ = objects.push(&bytes, &mut |object| longest = longest.max(object.len()));
                prop_assert!(longest <= 50 && objects.object.len() <= 51);
            }
        }
    }
}
