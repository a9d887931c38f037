//! An encoder of header blocks (RFC 7541): it says fields in whatever way it is told to, and from where each part of them is to be known.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "used by tests and fuzz targets only"
)]

use std::collections::VecDeque;

use crate::protocols::http2::hpack::{ENTRIES, OVERHEAD, SYMBOLS};

/// The number of an entry, in the order in which they came into the table. None is used twice.
pub type Number = usize;

/// A field that is to be said.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name, which may be any bytes.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Picks one of the ways there are.
    pub way: usize,
    /// The name is said in Huffman code, where it is said.
    pub coded_name: bool,
    /// The same of the value.
    pub coded_value: bool,
}

/// A field that was said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The entry of the dynamic table that its name must be known from.
    pub name_of: Option<Number>,
    /// The same of its value.
    pub value_of: Option<Number>,
    /// What it has become in the dynamic table, and be it for no time.
    pub entry: Option<Number>,
}

struct Entry {
    name: Vec<u8>,
    value: Vec<u8>,
    number: Number,
}

/// One direction of a connection.
pub struct Encoder {
    table: VecDeque<Entry>,
    max: usize,
    size: usize,
    next: Number,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// At the beginning of the connection.
    pub fn new() -> Self {
        Self {
            table: VecDeque::new(),
            max: 4_096,
            size: 0,
            next: 0,
        }
    }

    /// A block that begins with these sizes of the table.
    pub fn block(&mut self, sizes: &[usize], wishes: &[Wish]) -> (Vec<u8>, Vec<Said>) {
        let mut block = Vec::new();
        for size in sizes {
            integer(0x20, 5, *size, &mut block);
            self.max = *size;
            self.evict();
        }
        let said = wishes.iter().map(|wish| self.field(wish, &mut block)).collect();
        (block, said)
    }

    fn field(&mut self, wish: &Wish, block: &mut Vec<u8>) -> Said {
        let mut ways = Vec::new();
        let fixed = ENTRIES
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes(), None));
        let dynamic = self
            .table
            .iter()
            .map(|entry| (entry.name.as_slice(), entry.value.as_slice(), Some(entry.number)));
        for (place, (name, value, number)) in fixed.chain(dynamic).enumerate() {
            if name == wish.name {
                ways.extend([0x40, 0x40, 0x10, 0].map(|kind| (kind, place + 1, number)));
                if value == wish.value {
                    ways.extend([(0x80, place + 1, number); 8]);
                }
            }
        }
        ways.extend([(0x40, 0, None), (0x40, 0, None), (0x10, 0, None), (0, 0, None)]);
        let (kind, index, number) = ways[wish.way % ways.len()];
        let prefix = match kind {
            0x80 => 7,
            0x40 => 6,
            _ => 4,
        };
        integer(kind, prefix, index, block);
        if index == 0 {
            string(&wish.name, wish.coded_name, block);
        }
        if kind != 0x80 {
            string(&wish.value, wish.coded_value, block);
        }
        Said {
            name: wish.name.clone(),
            value: wish.value.clone(),
            name_of: number,
            value_of: number.filter(|_| kind == 0x80),
            entry: (kind == 0x40).then(|| self.insert(wish)),
        }
    }

    fn insert(&mut self, wish: &Wish) -> Number {
        let number = self.next;
        self.next += 1;
        self.size += wish.name.len() + wish.value.len() + OVERHEAD;
        self.table.push_front(Entry {
            name: wish.name.clone(),
            value: wish.value.clone(),
            number,
        });
        self.evict();
        number
    }

    fn evict(&mut self) {
        while self.size > self.max {
            let oldest = self.table.pop_back().unwrap();
            self.size -= oldest.name.len() + oldest.value.len() + OVERHEAD;
        }
    }
}

/// §5.1, behind these upper bits.
pub fn integer(above: u8, prefix: u32, value: usize, block: &mut Vec<u8>) {
    let full = (1 << prefix) - 1;
    if value < full {
        block.push(above | u8::try_from(value).unwrap());
        return;
    }
    block.push(above | u8::try_from(full).unwrap());
    let mut left = value - full;
    while left > 0x7f {
        block.push(0x80 | u8::try_from(left & 0x7f).unwrap());
        left >>= 7;
    }
    block.push(u8::try_from(left).unwrap());
}

/// §5.2
pub fn string(text: &[u8], coded: bool, block: &mut Vec<u8>) {
    if coded {
        let code = huffman(text);
        integer(0x80, 7, code.len(), block);
        block.extend(code);
    } else {
        integer(0, 7, text.len(), block);
        block.extend(text);
    }
}

/// Huffman code, bit by bit.
pub fn huffman(text: &[u8]) -> Vec<u8> {
    let mut bits: Vec<bool> = text
        .iter()
        .flat_map(|byte| {
            let (code, len) = code(*byte);
            (0..len).rev().map(move |place| code >> place & 1 == 1)
        })
        .collect();
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8)
        .map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect()
}

/// The code of a symbol and its length, counted through from the first.
pub fn code(symbol: u8) -> (u32, u8) {
    let (mut code, mut before) = (0, 5);
    for (len, symbols) in SYMBOLS {
        code <<= len - before;
        before = len;
        for of in symbols {
            if *of == symbol {
                return (code, len);
            }
            code += 1;
        }
    }
    unreachable!("every byte has a code")
}
