//! A small reader of BTF, the kernel's own description of its structs: just enough to find where a member is,
//! what an enumerator is worth and how many parameters a function takes.
//!
//! Source: `Documentation/bpf/btf.rst` of the kernel. The bytes are not trusted: every read is checked, nothing
//! is allocated by a length that was read, and no type is followed more than a few steps deep.

use std::collections::HashMap;

/// Anonymous structs and unions, typedefs and qualifiers nest a few levels; a cycle ends here.
const DEPTH_MAX: u32 = 16;
/// Members that are looked at to find one: structs that hold each other have paths without number. The largest
/// struct of a kernel, `task_struct`, has some 300.
const LOOKS_MAX: u32 = 65_536;
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LEN: u32 = 24;

/// Kinds of types, `enum BTF_KIND_*`.
mod kind {
    pub const INT: u32 = 1;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FORWARD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const FUNC: u32 = 12;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
    /// Kinds that are a name and a type and nothing more.
    pub const BARE: [u32; 8] = [2, FORWARD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, 16];
}

/// Why bytes are not BTF that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The magic number is missing: not BTF, or of the other byte order.
    #[error("not BTF of this byte order")]
    Magic,
    /// A section or a type reaches past the end.
    #[error("BTF is cut short at byte {0}")]
    Short(usize),
    /// A type of a kind that this version does not know, so that what follows cannot be read.
    #[error("unknown BTF kind {kind} at type {id}")]
    Kind {
        /// The kind.
        kind: u32,
        /// Number of the type.
        id: usize,
    },
}

/// BTF with its structs indexed by name.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` type `n + 1` stands (0 is void and has no place).
    places: Vec<u32>,
    structs: HashMap<&'a [u8], u32>,
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Number of its type.
    pub id: u32,
    /// How many parameters it takes.
    pub parameters: u32,
}

/// BTF in which these functions have these numbers and all else up to them is nothing: who wants numbers of functions
/// only reads it in a moment, and the kernel's own not.
pub fn of_functions<'n>(functions: impl IntoIterator<Item = (&'n str, Function)>) -> Vec<u8> {
    let mut functions: Vec<_> = functions.into_iter().collect();
    functions.sort_unstable_by_key(|(_, function)| function.id);
    let mut types = Vec::new();
    let mut strings = vec![0];
    let mut add = |name: u32, kind: u32| {
        for word in [name, kind << 24, 0] {
            types.extend(word.to_ne_bytes());
        }
    };
    let mut next = 1;
    for (name, function) in functions {
        (next..function.id).for_each(|_| add(0, kind::FORWARD));
        add(len(&strings), kind::FUNC);
        next = function.id.saturating_add(1);
        strings.extend(name.bytes());
        strings.push(0);
    }
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    bytes.extend([VERSION, 0]);
    for word in [HEADER_LEN, 0, len(&types), len(&types), len(&strings)] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

fn len(section: &[u8]) -> u32 {
    u32::try_from(section.len()).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// Number of members, and whether their offsets carry a bit-field size.
    count: u32,
    flagged: bool,
    /// Type referred to, for kinds that refer to one.
    refers: u32,
    /// Where what follows the common part stands in `types`.
    rest: usize,
}

impl<'a> Btf<'a> {
    /// Reads the sections and indexes the types.
    ///
    /// # Errors
    /// [`BtfError`] when the bytes are not BTF, or end early, or hold a kind of type that is not known.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        if read_u16(bytes, 0) != Some(MAGIC) {
            return Err(BtfError::Magic);
        }
        let field = |at| {
            read_u32(bytes, at)
                .map(|value| value as usize)
                .ok_or(BtfError::Short(at))
        };
        let header = field(4)?;
        let section = |offset: usize, len: usize| {
            header
                .checked_add(offset)
                .and_then(|start| bytes.get(start..start.checked_add(len)?))
                .ok_or(BtfError::Short(bytes.len()))
        };
        let types = section(field(8)?, field(12)?)?;
        let strings = section(field(16)?, field(20)?)?;
        let mut btf = Self {
            types,
            strings,
            places: Vec::new(),
            structs: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    /// Byte offset of a member in a struct; `path` goes into members of struct type by `.`, and through
    /// anonymous structs and unions by itself. `None` if there is no such member, or it is a bit field.
    pub fn member_offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut within = *self.structs.get(structure.as_bytes())?;
        let mut offset = 0u32;
        let mut looks = LOOKS_MAX;
        for name in path.split('.') {
            let (bits, member_type) = self.member(self.resolve(within)?, name.as_bytes(), 0, &mut looks)?;
            if bits % 8 != 0 {
                return None;
            }
            offset = offset.checked_add(bits / 8)?;
            within = member_type;
        }
        Some(offset)
    }

    /// What an enumerator of a named enum is worth.
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let found = self.named(kind::ENUM, enumeration)?;
        (0..found.count as usize).find_map(|number| {
            let at = found.rest + number * 8;
            (self.string(read_u32(self.types, at)?) == name.as_bytes())
                .then(|| read_u32(self.types, at + 4))?
        })
    }

    /// Which of these functions the kernel has.
    pub fn functions<'n>(&self, wanted: &[&'n str]) -> HashMap<&'n str, Function> {
        let wanted: HashMap<&[u8], &'n str> = wanted.iter().map(|name| (name.as_bytes(), *name)).collect();
        let all = (1..)
            .zip(&self.places)
            .filter_map(|(id, place)| Some((id, self.type_at(usize::try_from(*place).ok()?)?)))
            .filter(|(_, found)| found.kind == kind::FUNC);
        let found = all.filter_map(|(id, function)| {
            let name = wanted.get(self.string(function.name))?;
            let prototype = self.by_id(function.refers)?;
            let parameters = prototype.count;
            (prototype.kind == kind::FUNC_PROTO).then_some((*name, Function { id, parameters }))
        });
        found.collect()
    }

    /// The first type of that kind and name; looks at all of them.
    fn named(&self, kind: u32, name: &str) -> Option<Type> {
        self.places
            .iter()
            .filter_map(|place| self.type_at(usize::try_from(*place).ok()?))
            .find(|found| found.kind == kind && self.string(found.name) == name.as_bytes())
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let place = u32::try_from(at).map_err(|_| BtfError::Short(at))?;
            let found = self.type_at(at).ok_or(BtfError::Short(at))?;
            let id = self.places.len() + 1;
            self.places.push(place);
            if found.kind == kind::STRUCT && found.count > 0 {
                let name = self.string(found.name);
                if !name.is_empty() {
                    self.structs
                        .entry(name)
                        .or_insert(u32::try_from(id).map_err(|_| BtfError::Short(at))?);
                }
            }
            let count = found.count as usize;
            let rest = match found.kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
                kind::ENUM | kind::FUNC_PROTO => count * 8,
                kind::TYPE_TAG => 0,
                bare if kind::BARE.contains(&bare) => 0,
                kind => return Err(BtfError::Kind { kind, id }),
            };
            at = found.rest + rest;
            if at > self.types.len() {
                return Err(BtfError::Short(at));
            }
        }
        Ok(())
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = read_u32(self.types, at.checked_add(4)?)?;
        Some(Type {
            name: read_u32(self.types, at)?,
            kind: (info >> 24) & 0x1f,
            count: info & 0xffff,
            flagged: info >> 31 != 0,
            refers: read_u32(self.types, at.checked_add(8)?)?,
            rest: at.checked_add(12)?,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        let place = self.places.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        self.type_at(usize::try_from(*place).ok()?)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut found = self.by_id(id)?;
        for _ in 0..DEPTH_MAX {
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    found = self.by_id(found.refers)?;
                }
                _ => return Some(found),
            }
        }
        None
    }

    /// Bit offset and type of a member, anonymous members included.
    fn member(&self, within: Type, wanted: &[u8], depth: u32, looks: &mut u32) -> Option<(u32, u32)> {
        if depth > DEPTH_MAX || !matches!(within.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for number in 0..within.count as usize {
            *looks = looks.checked_sub(1)?;
            let at = within.rest + number * 12;
            let name = self.string(read_u32(self.types, at)?);
            let member_type = read_u32(self.types, at + 4)?;
            let place = read_u32(self.types, at + 8)?;
            let (bits, bit_field) = if within.flagged {
                (place & 0x00ff_ffff, place >> 24)
            } else {
                (place, 0)
            };
            if name == wanted {
                return (bit_field == 0).then_some((bits, member_type));
            }
            if name.is_empty()
                && let Some((inner, found)) = self
                    .resolve(member_type)
                    .and_then(|inside| self.member(inside, wanted, depth + 1, looks))
            {
                return Some((bits.checked_add(inner)?, found));
            }
        }
        None
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.strings.get(offset..))
            .unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u16::from_ne_bytes(*chunk))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// BTF written by hand: `types` are `(name, info, size or type, rest)`.
    fn blob(types: &[(u32, u32, u32, &[u32])], strings: &[u8]) -> Vec<u8> {
        let mut section = Vec::new();
        for (name, info, size, rest) in types {
            for word in [name, info, size].into_iter().chain(*rest) {
                section.extend(word.to_ne_bytes());
            }
        }
        let mut blob = Vec::new();
        blob.extend(MAGIC.to_ne_bytes());
        blob.extend([1, 0]);
        let types = u32::try_from(section.len()).unwrap();
        for word in [24, 0, types, types, u32::try_from(strings.len()).unwrap()] {
            blob.extend(u32::to_ne_bytes(word));
        }
        blob.extend(section);
        blob.extend(strings);
        blob
    }

    const STRINGS: &[u8] = b"\0outer\0inner\0first\0second\0bits\0deep\0";
    const STRUCT: u32 = kind::STRUCT << 24;
    const UNION: u32 = kind::UNION << 24;
    const FLAGGED: u32 = 1 << 31;

    /// `struct inner { int deep; }` (2), an anonymous union of it (3), a typedef of `inner` (4) and `struct outer` (5)
    /// with a plain member, a bit field, the anonymous union and the typedef.
    fn example() -> Vec<u8> {
        blob(
            &[
                (0, kind::INT << 24, 4, &[32]),
                (7, STRUCT | 1, 4, &[31, 1, 0]),
                (0, UNION | 1, 4, &[19, 1, 0]),
                (7, kind::TYPEDEF << 24, 2, &[]),
                (
                    1,
                    STRUCT | FLAGGED | 4,
                    16,
                    &[13, 1, 0, 26, 1, 3 << 24 | 32, 0, 3, 64, 7, 4, 96],
                ),
            ],
            STRINGS,
        )
    }

    #[test]
    fn a_member_is_found_through_anonymous_members_typedefs_and_paths() {
        let bytes = example();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.member_offset("outer", "first"), Some(0));
        assert_eq!(btf.member_offset("outer", "second"), Some(8));
        assert_eq!(btf.member_offset("outer", "inner.deep"), Some(12));
        assert_eq!(btf.member_offset("inner", "deep"), Some(0));
    }

    #[test]
    fn enumerators_and_parameters_are_found_by_name() {
        let bytes = blob(
            &[
                (0, kind::INT << 24, 4, &[32]),
                (1, kind::ENUM << 24 | 2, 4, &[7, 4, 13, 8]),
                (0, kind::FUNC_PROTO << 24 | 2, 1, &[0, 1, 0, 1]),
                (7, kind::FUNC << 24, 3, &[]),
                (13, kind::FUNC << 24, 1, &[]),
            ],
            STRINGS,
        );
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.enumerator("outer", "first"), Some(8));
        assert_eq!(btf.enumerator("outer", "second"), None);
        assert_eq!(btf.enumerator("inner", "first"), None);
        let inner = Function { id: 4, parameters: 2 };
        assert_eq!(
            btf.functions(&["inner", "first", "outer"]),
            [("inner", inner)].into()
        );
    }

    #[test]
    fn btf_of_functions_has_each_under_its_number() {
        let of = |id| Function { id, parameters: 0 };
        let bytes = of_functions([("tcp_sendmsg", of(70_000)), ("tcp_recvmsg", of(3))]);
        aya::Btf::parse(&bytes, aya::Endianness::default()).unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.places.len(), 70_000);
        for (name, id) in [("tcp_sendmsg", 70_000), ("tcp_recvmsg", 3)] {
            let found = btf.by_id(id).unwrap();
            assert_eq!(
                (found.kind, btf.string(found.name)),
                (kind::FUNC, name.as_bytes())
            );
        }
    }

    #[test]
    fn what_is_not_there_is_not_at_offset_zero() {
        let bytes = example();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(
            btf.member_offset("outer", "bits"),
            None,
            "a bit field has no byte offset"
        );
        assert_eq!(btf.member_offset("outer", "none"), None);
        assert_eq!(btf.member_offset("outer", "first.deep"), None);
        assert_eq!(btf.member_offset("none", "first"), None);
    }

    #[test]
    fn a_cut_anywhere_is_an_error_or_finds_less_and_never_a_panic() {
        let bytes = example();
        for len in 0..bytes.len() {
            if let Ok(btf) = Btf::parse(&bytes[..len]) {
                panic!("{len} bytes of {} were taken: {btf:?}", bytes.len());
            }
        }
    }

    #[test]
    fn a_typedef_of_itself_ends() {
        let bytes = blob(
            &[(7, kind::TYPEDEF << 24, 1, &[]), (1, STRUCT | 1, 4, &[0, 1, 0])],
            STRINGS,
        );
        assert_eq!(Btf::parse(&bytes).unwrap().member_offset("outer", "first"), None);
    }

    #[test]
    fn a_struct_of_nothing_but_itself_ends() {
        let members = [0, 1, 0].repeat(200);
        let bytes = blob(&[(1, STRUCT | 200, 4, &members)], STRINGS);
        assert_eq!(Btf::parse(&bytes).unwrap().member_offset("outer", "first"), None);
    }

    #[test]
    fn the_running_kernel_has_what_is_needed() {
        let Ok(resolved) = crate::kernel::layout::of_running_kernel(None) else {
            // A kernel without BTF: `check` says so, and live tests are skipped there.
            assert!(!std::path::Path::new(crate::kernel::layout::VMLINUX).exists());
            return;
        };
        assert_eq!(resolved.missing().collect::<Vec<_>>(), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(at in 0usize..200, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut blob = example();
            for (place, byte) in blob.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            if let Ok(btf) = Btf::parse(&blob) {
                for path in ["first", "second", "bits", "inner.deep"] {
                    let _ = btf.member_offset("outer", path);
                    let _ = btf.enumerator("outer", path);
                    let _ = btf.functions(&[path]);
                }
            }
        }
    }
}
