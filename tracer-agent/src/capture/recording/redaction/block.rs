//! One header block of HTTP/2 (RFC 7541 §6), masked as its pieces come. How each field is said stays: its representation, its
//! index, and of each string how many bytes it takes.
//!
//! ```text
//! Field ─▶ Index ──literal name──▶ Text(name) ─▶ Text(value) ─▶ Field
//!            ├───index of a name──────────────────▶┘
//!            └───index of a field, size of the table─────────▶ Field
//! Text ──it goes on in another piece──▶ Length ─▶ Bytes ─▶ Text, Field
//! ```
//!
//! What is kept of a string shows when all of it is there. Of one that a piece ends in less is kept ([`Cut`]); if it is a name,
//! nothing, and nothing of its value.

use super::{
    cut::Cut,
    literal::{CODED, Literal},
    rule::{Rule, Rules},
    text::Texts,
};
use crate::{
    privacy::Privacy,
    protocols::http2::hpack::{Integer, Malformed, Read, Representation},
};

/// A field that is none: the entry 0.
const NO_FIELD: u8 = 0x80;

/// How far a block has come.
#[derive(Debug, Default)]
pub(super) struct Block(State);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// At the first byte of a field.
    #[default]
    Field,
    /// In an index, or the size of the table.
    Index(Representation, Integer),
    /// At the first byte of a string.
    Text(Part),
    /// In the length of a string that is cut, which is in Huffman code or not.
    Length(Part, bool, Integer),
    /// In a string that is cut.
    Bytes(Part, Cut),
    /// What this is is not known.
    Lost,
}

/// A string of a literal.
#[derive(Clone, Copy, Debug)]
struct Part {
    role: Role,
    /// The field becomes an entry of the table.
    inserts: bool,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Name,
    Value(Rule),
}

impl Block {
    /// A block of which the beginning was not seen: all of it is masked.
    pub fn lost() -> Self {
        Self(State::Lost)
    }

    /// It can end here.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, State::Field)
    }

    /// Masks the next piece in place. The rules follow the table.
    pub fn mask(&mut self, mut piece: &mut [u8], rules: &mut Rules, texts: &mut Texts) {
        while !piece.is_empty() {
            match self.field(piece, rules, texts) {
                Ok(taken) => piece = piece.get_mut(taken..).unwrap_or_default(),
                // Nobody can read on from here, and so it stays.
                Err(_) => {
                    piece.fill(NO_FIELD);
                    rules.forget();
                    self.0 = State::Lost;
                    return;
                }
            }
        }
    }

    /// Masks up to the end of a field, and gives how long that is.
    fn field(&mut self, piece: &mut [u8], rules: &mut Rules, texts: &mut Texts) -> Result<usize, Malformed> {
        let mut taken = 0;
        loop {
            let Some(rest) = piece.get_mut(taken..).filter(|rest| !rest.is_empty()) else {
                return Ok(taken);
            };
            let (more, next) = self.0.step(rest, rules, texts)?;
            taken += more;
            self.0 = next;
            if self.is_whole() {
                return Ok(taken);
            }
        }
    }
}

impl State {
    /// Takes some bytes of what is there, at least one: how many, and where the block is after them.
    fn step(
        self,
        piece: &mut [u8],
        rules: &mut Rules,
        texts: &mut Texts,
    ) -> Result<(usize, Self), Malformed> {
        let Some(first) = piece.first().copied() else {
            return Ok((0, self));
        };
        match self {
            Self::Field => {
                let representation = Representation::of(first);
                let index = Integer::begin(first, representation.prefix());
                Ok((1, Self::indexed(representation, index, rules)))
            }
            Self::Index(representation, index) => {
                let index = index.go_on(first)?;
                Ok((1, Self::indexed(representation, index, rules)))
            }
            Self::Text(part) => match Literal::find(piece)? {
                Some(literal) => part.mask(piece, &literal, rules, texts),
                None => {
                    let length = Integer::begin(first, 7);
                    Ok((
                        1,
                        part.cut_length(first & CODED != 0, length, rules, texts.privacy),
                    ))
                }
            },
            Self::Length(part, is_coded, length) => {
                let length = length.go_on(first)?;
                Ok((1, part.cut_length(is_coded, length, rules, texts.privacy)))
            }
            Self::Bytes(part, mut cut) => {
                let len = cut.left().min(piece.len());
                let bytes = piece.get_mut(..len).unwrap_or_default();
                cut.mask(bytes)?;
                Ok((len, part.cut_bytes(cut, rules)))
            }
            Self::Lost => {
                piece.fill(NO_FIELD);
                Ok((piece.len(), self))
            }
        }
    }

    /// After an index, which is whole or not.
    fn indexed(representation: Representation, index: Read, rules: &Rules) -> Self {
        let index = match index {
            Read::Whole(index) => index,
            Read::More(index) => return Self::Index(representation, index),
        };
        let role = match (representation, index) {
            (Representation::Indexed | Representation::SizeUpdate, _) => return Self::Field,
            (_, 0) => Role::Name,
            _ => Role::Value(rules.at(index)),
        };
        Self::Text(Part {
            role,
            inserts: representation == Representation::Incremental,
        })
    }
}

impl Part {
    /// Masks a string that is whole: how many bytes it takes, and what follows.
    fn mask(
        self,
        piece: &mut [u8],
        literal: &Literal,
        rules: &mut Rules,
        texts: &mut Texts,
    ) -> Result<(usize, State), Malformed> {
        let end = literal.start.saturating_add(literal.len);
        let text = piece.get_mut(literal.start..end).ok_or(Malformed::Cut)?;
        let rule = match self.role {
            Role::Value(rule) => {
                texts.mask(text, literal.is_coded, rule)?;
                rule
            }
            Role::Name => match Rule::of(texts.read(text, literal.is_coded)?) {
                Some(rule) => rule,
                None => {
                    texts.mask(text, literal.is_coded, Rule::Masked)?;
                    Rule::Masked
                }
            },
        };
        Ok((end, self.then(rule, rules)))
    }

    /// What follows a string: the rule is the value's.
    fn then(self, rule: Rule, rules: &mut Rules) -> State {
        match self.role {
            Role::Name => State::Text(Self {
                role: Role::Value(rule),
                ..self
            }),
            Role::Value(_) => {
                if self.inserts {
                    rules.insert(rule);
                }
                State::Field
            }
        }
    }

    fn cut_length(self, is_coded: bool, length: Read, rules: &mut Rules, privacy: Privacy) -> State {
        match length {
            Read::Whole(len) => {
                let rule = match self.role {
                    Role::Name => None,
                    Role::Value(rule) => Some(rule),
                };
                self.cut_bytes(Cut::new(is_coded, len, rule, privacy), rules)
            }
            Read::More(length) => State::Length(self, is_coded, length),
        }
    }

    fn cut_bytes(self, cut: Cut, rules: &mut Rules) -> State {
        match (cut.left(), self.role) {
            (1.., _) => State::Bytes(self, cut),
            (0, Role::Name) => self.then(Rule::Masked, rules),
            (0, Role::Value(rule)) => self.then(rule, rules),
        }
    }
}
