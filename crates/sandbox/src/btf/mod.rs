//! BTF, the type information of programs and kernels, read from bytes that nobody vouches for.
//!
//! Source: `Documentation/bpf/btf.rst`; what is refused follows `kernel/bpf/btf.c`.

mod build;
mod kernel;
mod types;

pub(crate) use kernel::{Kernel, Symbol};
pub(crate) use types::{Kind, Member, Type};

use crate::buffer::Charge;
use types::{HEADER_SIZE, MAGIC, VERSION};

/// Most bytes of BTF, as in Linux (`BTF_MAX_SIZE`).
pub(crate) const MAX_SIZE: u32 = 16 << 20;

/// Longest chain of types that is followed (`MAX_RESOLVE_DEPTH` in Linux).
const MAX_DEPTH: usize = 32;

/// Longest name or path that is read, its NUL included: Linux's names end at 512, and a path of 64
/// indices takes fewer than 1024.
const MAX_NAME: usize = 1024;

/// Size of a pointer on the emulated machine.
const POINTER_SIZE: u32 = 8;

/// Checked BTF: every type's record is whole, every type id and name in it exists.
#[derive(Debug)]
pub(crate) struct Btf {
    bytes: Vec<u8>,
    /// Start of each type's record in `bytes`; type 0 is `void` and has none.
    records: Vec<u32>,
    strings: std::ops::Range<usize>,
    _charge: Option<Charge>,
}

/// Why bytes are no BTF.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bad {
    pub(crate) field: &'static str,
    pub(crate) found: u64,
    pub(crate) needed: &'static str,
}

impl Btf {
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, Bad> {
        let header = Header::parse(&bytes)?;
        let records = types::records(&bytes, header.types.clone())?;
        let btf = Self {
            bytes,
            records,
            strings: header.strings,
            _charge: None,
        };
        btf.check_strings()?;
        for ty in btf.iter() {
            btf.check_type(&ty)?;
        }
        Ok(btf)
    }

    /// The same, paying for its memory.
    pub(crate) fn charged(self, charge: Charge) -> Self {
        Self {
            _charge: Some(charge),
            ..self
        }
    }

    /// Types this crate wrote itself.
    fn own(bytes: Vec<u8>) -> Self {
        match Self::parse(bytes) {
            Ok(btf) => btf,
            Err(bad) => unreachable!("types of our own: {bad:?}"),
        }
    }

    /// The bytes that were read.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many types there are, `void` not counted.
    pub(crate) const fn len(&self) -> usize {
        self.records.len()
    }

    /// Every type but `void`, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Type<'_>> {
        (1..=self.records.len() as u32).filter_map(|id| self.get(id))
    }

    /// The type with this id; `None` for `void` and for ids there are not.
    pub(crate) fn get(&self, id: u32) -> Option<Type<'_>> {
        let place = (id as usize).checked_sub(1)?;
        let start = *self.records.get(place)? as usize;
        Type::read(id, self.bytes.get(start..)?)
    }

    /// Whether the id is `void` or a type's.
    pub(crate) fn exists(&self, id: u32) -> bool {
        id as usize <= self.records.len()
    }

    /// The string at an offset, without its NUL; empty for none and for one over [`MAX_NAME`].
    pub(crate) fn name(&self, offset: u32) -> &[u8] {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or(&[]);
        let rest = strings.get(offset as usize..).unwrap_or(&[]);
        let end = rest.iter().take(MAX_NAME).position(|byte| *byte == 0);
        rest.get(..end.unwrap_or(0)).unwrap_or(&[])
    }

    /// The first type of this kind and name.
    pub(crate) fn find(&self, name: &[u8], kind: Kind) -> Option<u32> {
        self.iter()
            .find(|ty| ty.kind == kind && self.name(ty.name_off) == name)
            .map(|ty| ty.id)
    }

    /// Follows typedefs and qualifiers; `Some(0)` is `void`, `None` an endless chain.
    pub(crate) fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            match self.get(id) {
                Some(ty) if ty.kind.is_modifier() => id = ty.size_or_type,
                Some(_) => return Some(id),
                None => return (id == 0).then_some(0),
            }
        }
        None
    }

    /// Size of a type in bytes; `None` where it has none.
    pub(crate) fn size_of(&self, mut id: u32) -> Option<u32> {
        let mut count = 1_u32;
        for _ in 0..MAX_DEPTH {
            let ty = self.get(id)?;
            let size = match ty.kind {
                Kind::Ptr => POINTER_SIZE,
                Kind::Array => {
                    let array = ty.array()?;
                    count = count.checked_mul(array.count)?;
                    id = array.element;
                    continue;
                }
                Kind::Var => {
                    id = ty.size_or_type;
                    continue;
                }
                kind if kind.is_modifier() => {
                    id = ty.size_or_type;
                    continue;
                }
                kind if kind.has_size() => ty.size_or_type,
                _ => return None,
            };
            return size.checked_mul(count);
        }
        None
    }

    fn check_strings(&self) -> Result<(), Bad> {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or(&[]);
        match (strings.first(), strings.last()) {
            (Some(0), Some(0)) => Ok(()),
            (first, last) => Err(Bad {
                field: "BTF string section",
                found: u64::from(*first.or(last).unwrap_or(&0)),
                needed: "to begin and end with a NUL",
            }),
        }
    }

    fn check_type(&self, ty: &Type<'_>) -> Result<(), Bad> {
        for id in ty.references() {
            if !self.exists(id) {
                return Err(Bad {
                    field: "BTF type id",
                    found: id.into(),
                    needed: "a type's",
                });
            }
        }
        for offset in ty.names() {
            if offset as usize >= self.strings.len() {
                let needed = "an offset inside the string section";
                return Err(Bad {
                    field: "BTF name_off",
                    found: offset.into(),
                    needed,
                });
            }
        }
        ty.check_linkage()
    }
}

struct Header {
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Bad> {
        let bad = |field, found, needed| Bad {
            field,
            found,
            needed,
        };
        let word = |at| types::u32_at(bytes, at).ok_or(bad("BTF size", bytes.len() as u64, "24"));
        let first = word(0)?;
        let (magic, version, flags) = (first & 0xffff, (first >> 16) & 0xff, first >> 24);
        if magic != MAGIC {
            return Err(bad("BTF magic", magic.into(), "0xeb9f"));
        }
        if version != VERSION || flags != 0 {
            return Err(bad("BTF version and flags", (first >> 16).into(), "1"));
        }
        let header = word(4)?;
        let (type_off, type_len, str_off, str_len) = (word(8)?, word(12)?, word(16)?, word(20)?);
        let known = bytes.get(HEADER_SIZE as usize..header as usize);
        if known.is_none_or(|rest| rest.iter().any(|byte| *byte != 0)) {
            return Err(bad("BTF hdr_len", header.into(), "24, or zeroes behind"));
        }
        if type_off % 4 != 0 || type_len % 4 != 0 || type_len == 0 {
            return Err(bad("BTF type section", type_len.into(), "whole words"));
        }
        // Linux takes the two sections in either order, with no gap and nothing behind.
        let types_first = type_off == 0 && type_off.checked_add(type_len) == Some(str_off);
        let strings_first = str_off == 0 && str_off.checked_add(str_len) == Some(type_off);
        if !types_first && !strings_first {
            return Err(bad(
                "BTF str_off",
                str_off.into(),
                "to adjoin the type section",
            ));
        }
        let types = range(header, type_off, type_len);
        let strings = range(header, str_off, str_len);
        match (types, strings) {
            (Some(types), Some(strings)) if types.end.max(strings.end) == bytes.len() => {
                Ok(Self { types, strings })
            }
            _ => Err(bad(
                "BTF size",
                bytes.len() as u64,
                "to end with its last section",
            )),
        }
    }
}

fn range(header: u32, offset: u32, len: u32) -> Option<std::ops::Range<usize>> {
    let start = (header as usize).checked_add(offset as usize)?;
    Some(start..start.checked_add(len as usize)?)
}

#[cfg(test)]
mod tests {
    use super::build::Builder;
    use super::*;

    fn bytes(fill: impl FnOnce(&mut Builder)) -> Vec<u8> {
        let mut builder = Builder::new();
        builder.int("int", 4, 1);
        fill(&mut builder);
        builder.finish()
    }

    fn field(bytes: Vec<u8>) -> &'static str {
        Btf::parse(bytes).map_or_else(|bad| bad.field, |_| "none")
    }

    #[test]
    fn refuses_headers_that_do_not_add_up() {
        let good = bytes(|_| {});
        assert_eq!(field(good.clone()), "none");
        let len = good.len();
        for (at, value, expected) in [
            (0, 0, "BTF magic"),
            (2, 2, "BTF version and flags"),
            (3, 1, "BTF version and flags"),
            (4, 23, "BTF hdr_len"),
            (8, 4, "BTF str_off"),
            (12, 3, "BTF type section"),
            (12, 0, "BTF type section"),
            (16, 4, "BTF str_off"),
            (20, 255, "BTF size"),
            (20, 1, "BTF size"),
            (24, 99, "BTF name_off"),
            (31, 31, "BTF type"),
            (len - 1, b'x', "BTF string section"),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(field(bad), expected, "byte {at} = {value}");
        }
        for cut in 0..len {
            assert_ne!(field(good[..cut].to_vec()), "none", "{cut} bytes");
        }
    }

    #[test]
    fn refuses_types_there_are_not_and_functions_of_others() {
        let pointer = |to| {
            bytes(|builder| {
                builder.refer(Kind::Ptr, "", to);
            })
        };
        assert_eq!(field(pointer(2)), "none");
        assert_eq!(field(pointer(3)), "BTF type id");
        let function = |linkage| {
            bytes(|builder| {
                let proto = builder.add(Kind::FuncProto, "", 0, 0, &[]);
                builder.add(Kind::Func, "f", linkage, proto, &[]);
            })
        };
        assert_eq!(field(function(0)), "none");
        assert_eq!(field(function(1)), "none");
        assert_eq!(field(function(2)), "BTF linkage");
    }

    #[test]
    fn names_without_end_are_no_names() {
        let named = |len: usize| {
            let name = "n".repeat(len);
            let btf = Btf::parse(bytes(|builder| {
                builder.refer(Kind::Typedef, &name, 1);
            }));
            btf.unwrap().find(name.as_bytes(), Kind::Typedef)
        };
        assert_eq!(named(MAX_NAME - 1), Some(2));
        assert_eq!(named(MAX_NAME), None);
    }

    #[test]
    fn endless_types_have_neither_size_nor_end() {
        let btf = Btf::parse(bytes(|builder| {
            builder.refer(Kind::Typedef, "a", 3);
            builder.refer(Kind::Typedef, "b", 2);
            builder.add(Kind::Array, "", 0, 0, &[4, 1, 2]);
            builder.add(Kind::Array, "", 0, 0, &[1, 1, 3]);
            builder.refer(Kind::Const, "", 0);
        }))
        .unwrap();
        assert_eq!((btf.strip(2), btf.size_of(2)), (None, None));
        assert_eq!(btf.size_of(4), None);
        assert_eq!(btf.size_of(5), Some(12));
        assert_eq!((btf.strip(6), btf.size_of(6)), (Some(0), None));
        assert_eq!(btf.strip(7), None);
    }
}
