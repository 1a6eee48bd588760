//! Type records.

use std::ops::Range;

use super::Bad;

pub(super) const MAGIC: u32 = 0xeb9f;
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_SIZE: u32 = 24;

/// `struct btf_type`: name_off, info, size or type.
const RECORD_SIZE: usize = 12;
/// Most types, as in Linux (`BTF_MAX_TYPE`).
const MAX_TYPES: usize = 0x000f_ffff;
const LINKAGE_GLOBAL: u32 = 1;

/// `enum` of kinds (`include/uapi/linux/btf.h`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

/// One type's record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type<'a> {
    pub(crate) id: u32,
    pub(crate) name_off: u32,
    pub(crate) kind: Kind,
    /// Bitfields in a struct or union, a union in a forward, signed in an enum.
    pub(crate) flag: bool,
    pub(crate) count: u16,
    pub(crate) size_or_type: u32,
    tail: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name_off: u32,
    pub(crate) ty: u32,
    pub(crate) bit_offset: u32,
    /// 0 for what is no bitfield.
    pub(crate) bits: u32,
}

/// An enumerator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enumerator {
    pub(crate) name_off: u32,
    /// Sign-extended.
    pub(crate) value: u64,
}

/// What an array is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array {
    pub(crate) element: u32,
    pub(crate) index: u32,
    pub(crate) count: u32,
}

const KINDS: [Kind; 19] = [
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::Datasec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

impl Kind {
    pub(crate) fn from_id(id: u32) -> Option<Self> {
        KINDS.get((id as usize).checked_sub(1)?).copied()
    }

    pub(crate) fn id(self) -> u32 {
        (1..)
            .zip(KINDS)
            .find(|(_, kind)| *kind == self)
            .map_or(0, |(id, _)| id)
    }

    pub(crate) fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    pub(crate) fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    pub(crate) fn is_enum(self) -> bool {
        matches!(self, Self::Enum | Self::Enum64)
    }

    /// Whether the third word is a size.
    pub(crate) fn has_size(self) -> bool {
        self.is_composite()
            || self.is_enum()
            || matches!(self, Self::Int | Self::Float | Self::Datasec)
    }

    /// Whether the third word is a type.
    fn has_type(self) -> bool {
        self.is_modifier()
            || matches!(
                self,
                Self::Ptr | Self::Func | Self::FuncProto | Self::Var | Self::DeclTag
            )
    }

    /// Bytes after the record.
    fn tail(self, count: u16) -> usize {
        let each = match self {
            Self::Int | Self::Var | Self::DeclTag => return 4,
            Self::Array => return 12,
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => 12,
            Self::Enum | Self::FuncProto => 8,
            _ => return 0,
        };
        usize::from(count).saturating_mul(each)
    }
}

impl<'a> Type<'a> {
    /// The record at the start of `bytes`.
    pub(super) fn read(id: u32, bytes: &'a [u8]) -> Option<Self> {
        let info = u32_at(bytes, 4)?;
        let kind = Kind::from_id((info >> 24) & 0x1f)?;
        let count = (info & 0xffff) as u16;
        let tail = bytes.get(RECORD_SIZE..)?.get(..kind.tail(count))?;
        Some(Self {
            id,
            name_off: u32_at(bytes, 0)?,
            kind,
            flag: info >> 31 != 0,
            count,
            size_or_type: u32_at(bytes, 8)?,
            tail,
        })
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let (tail, flag) = (self.member_table(), self.flag);
        words::<3>(tail).map(move |words| Member::new(words, flag))
    }

    pub(crate) fn member(&self, index: u32) -> Option<Member> {
        Some(Member::new(
            entry::<3>(self.member_table(), index)?,
            self.flag,
        ))
    }

    fn member_table(&self) -> &'a [u8] {
        if self.kind.is_composite() {
            self.tail
        } else {
            &[]
        }
    }

    pub(crate) fn enumerators(&self) -> impl Iterator<Item = Enumerator> + use<'a> {
        let (small, large) = match self.kind {
            Kind::Enum => (self.tail, &[][..]),
            Kind::Enum64 => (&[][..], self.tail),
            _ => (&[][..], &[][..]),
        };
        words::<2>(small)
            .map(Enumerator::small)
            .chain(words::<3>(large).map(Enumerator::large))
    }

    pub(crate) fn enumerator(&self, index: u32) -> Option<Enumerator> {
        match self.kind {
            Kind::Enum => Some(Enumerator::small(entry(self.tail, index)?)),
            Kind::Enum64 => Some(Enumerator::large(entry(self.tail, index)?)),
            _ => None,
        }
    }

    /// Types of a prototype's parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let tail = if self.kind == Kind::FuncProto {
            self.tail
        } else {
            &[]
        };
        words::<2>(tail).map(|[name_off, ty]| (name_off, ty))
    }

    pub(crate) fn array(&self) -> Option<Array> {
        if self.kind != Kind::Array {
            return None;
        }
        let [element, index, count] = words::<3>(self.tail).next()?;
        Some(Array {
            element,
            index,
            count,
        })
    }

    /// Encoding bits and bit offset of an integer.
    pub(crate) fn int(&self) -> Option<(u32, u32)> {
        if self.kind != Kind::Int {
            return None;
        }
        let word = u32_at(self.tail, 0)?;
        Some(((word >> 24) & 0xf, (word >> 16) & 0xff))
    }

    /// Every type id in the record.
    pub(super) fn references(&self) -> impl Iterator<Item = u32> + use<'a> {
        let own = self.kind.has_type().then_some(self.size_or_type);
        let array = self.array().map(|array| [array.element, array.index]);
        let variables = if self.kind == Kind::Datasec {
            self.tail
        } else {
            &[]
        };
        own.into_iter()
            .chain(array.into_iter().flatten())
            .chain(self.members().map(|member| member.ty))
            .chain(self.parameters().map(|(_, ty)| ty))
            .chain(words::<3>(variables).map(|[ty, _, _]| ty))
    }

    /// Every string offset in the record.
    pub(super) fn names(&self) -> impl Iterator<Item = u32> + use<'a> {
        core::iter::once(self.name_off)
            .chain(self.members().map(|member| member.name_off))
            .chain(self.parameters().map(|(name_off, _)| name_off))
            .chain(self.enumerators().map(|enumerator| enumerator.name_off))
    }

    /// Refuses what a loaded program cannot have: functions and variables defined elsewhere.
    pub(super) fn check_linkage(&self) -> Result<(), Bad> {
        let linkage = match self.kind {
            Kind::Func => u32::from(self.count),
            Kind::Var => u32_at(self.tail, 0).unwrap_or(u32::MAX),
            _ => return Ok(()),
        };
        if linkage > LINKAGE_GLOBAL {
            let needed = "static or global";
            return Err(Bad {
                field: "BTF linkage",
                found: linkage.into(),
                needed,
            });
        }
        Ok(())
    }
}

impl Member {
    fn new([name_off, ty, offset]: [u32; 3], flag: bool) -> Self {
        let (bits, bit_offset) = if flag {
            (offset >> 24, offset & 0xff_ffff)
        } else {
            (0, offset)
        };
        Self {
            name_off,
            ty,
            bit_offset,
            bits,
        }
    }
}

impl Enumerator {
    fn small([name_off, value]: [u32; 2]) -> Self {
        Self {
            name_off,
            value: i64::from(value as i32) as u64,
        }
    }

    fn large([name_off, low, high]: [u32; 3]) -> Self {
        Self {
            name_off,
            value: u64::from(low) | u64::from(high) << 32,
        }
    }
}

/// Where the record of each type starts.
pub(super) fn records(bytes: &[u8], section: Range<usize>) -> Result<Vec<u32>, Bad> {
    let mut records = Vec::new();
    let mut at = section.start;
    while at < section.end {
        let id = (records.len() as u32).saturating_add(1);
        let whole = bytes
            .get(at..section.end)
            .and_then(|rest| Type::read(id, rest));
        let Some(ty) = whole.filter(|_| records.len() < MAX_TYPES) else {
            let needed = "a known kind, whole, and at most 1048575 of them";
            return Err(Bad {
                field: "BTF type",
                found: id.into(),
                needed,
            });
        };
        records.push(at as u32);
        at = at.saturating_add(RECORD_SIZE).saturating_add(ty.tail.len());
    }
    Ok(records)
}

/// The little-endian word at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_le_bytes(*word))
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u32; N]> {
    bytes.chunks_exact(N.saturating_mul(4)).map(record)
}

/// Entry `index` of a table, without a walk to it.
fn entry<const N: usize>(table: &[u8], index: u32) -> Option<[u32; N]> {
    let start = (index as usize).checked_mul(N.saturating_mul(4))?;
    Some(record(table.get(start..)?.get(..N.saturating_mul(4))?))
}

fn record<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (to, from) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *to = u32_at(from, 0).unwrap_or(0);
    }
    words
}
