//! What a relocation puts into its instruction.

use super::spec::{Spec, Step};
use super::{Bad, What};
use crate::btf::{Btf, Kind, Member, Type};

/// What stands in the instruction and what shall stand there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Value {
    pub(super) original: u64,
    pub(super) new: u64,
    /// There is no answer: the instruction must never be reached.
    pub(super) poison: bool,
    /// The instruction must hold `original` now.
    pub(super) validate: bool,
    /// The field's size before and after, where a load's width may follow it.
    pub(super) size: Option<(u32, u32)>,
    /// That width must not follow: the values would differ.
    pub(super) width_fixed: bool,
}

/// A value, whether the program must agree on its own, and the field it is of.
struct One<'a> {
    value: u64,
    validate: bool,
    field: Option<(u32, Option<Type<'a>>)>,
}

const SIGNED: u32 = 1;
const LONGEST_LOAD: u32 = 8;

impl Value {
    pub(super) fn local(root: u32) -> Self {
        Self {
            new: root.into(),
            ..Self::default()
        }
    }

    /// The value for what was found in the target, or for its absence.
    pub(super) fn new(
        what: What,
        local: (&Btf, &Spec<'_>),
        target: Option<(&Btf, &Spec<'_>)>,
    ) -> Result<Self, Bad> {
        let own = one(what, local.0, local.1)?;
        let Some((btf, spec)) = target else {
            let absent = match what {
                What::FieldExists | What::EnumvalExists => true,
                what => !what.is_field() && !what.is_enumval(),
            };
            return Ok(Self {
                original: own.value,
                poison: !absent,
                validate: own.validate,
                ..Self::default()
            });
        };
        let found = one(what, btf, spec)?;
        let size = own
            .field
            .zip(found.field)
            .map(|((one, _), (other, _))| (one, other));
        let resized = size.is_some_and(|(one, other)| one != other);
        Ok(Self {
            original: own.value,
            new: found.value,
            poison: false,
            validate: own.validate,
            size,
            width_fixed: resized && !may_resize(&own, &found),
        })
    }

    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.new == other.new && self.poison == other.poison
    }
}

fn may_resize(own: &One<'_>, found: &One<'_>) -> bool {
    let of = |one: &One<'_>| {
        one.field
            .and_then(|(_, ty)| ty.map(|ty| (ty.kind, ty.int())))
    };
    match (of(own), of(found)) {
        (Some((Kind::Ptr, _)), Some((Kind::Ptr, _))) => true,
        (Some((_, Some((one, _)))), Some((_, Some((other, _))))) => {
            one != SIGNED && other != SIGNED
        }
        _ => false,
    }
}

fn one<'a>(what: What, btf: &'a Btf, spec: &Spec<'_>) -> Result<One<'a>, Bad> {
    let plain = |value, validate| {
        Ok(One {
            value,
            validate,
            field: None,
        })
    };
    match what {
        What::FieldExists | What::TypeExists | What::TypeMatches | What::EnumvalExists => {
            plain(1, true)
        }
        What::TypeIdTarget => plain(spec.root.into(), false),
        What::TypeIdLocal => plain(spec.root.into(), false),
        What::TypeSize => plain(
            btf.size_of(spec.root)
                .ok_or(Bad("its type has no size"))?
                .into(),
            true,
        ),
        What::EnumvalValue => {
            let step = last(spec)?;
            let enumerator = btf
                .get(step.type_id)
                .and_then(|ty| ty.enumerator(step.index));
            plain(enumerator.ok_or(Bad("it names no enumerator"))?.value, true)
        }
        _ => field(what, btf, spec),
    }
}

fn field<'a>(what: What, btf: &'a Btf, spec: &Spec<'_>) -> Result<One<'a>, Bad> {
    const NO_SIZE: Bad = Bad("its field has no size");
    let step = last(spec)?;
    let ty = btf.get(step.type_id);
    if step.name.is_none() {
        return element(what, btf, spec, step);
    }
    let member = ty.and_then(|ty| ty.member(step.index)).ok_or(NO_SIZE)?;
    let id = btf.strip(member.ty).ok_or(NO_SIZE)?;
    let of = btf.get(id);
    let Extent {
        byte_offset,
        byte_size,
        bits,
    } = Extent::new(btf, id, &member, spec.bit_offset).ok_or(NO_SIZE)?;
    let is_bitfield = member.bits != 0;
    let plain = |value: u32, validate| {
        Ok(One {
            value: value.into(),
            validate,
            field: None,
        })
    };
    match what {
        What::FieldByteOffset => Ok(One {
            value: byte_offset.into(),
            validate: !is_bitfield,
            field: (!is_bitfield).then_some((byte_size, of)),
        }),
        What::FieldByteSize => plain(byte_size, !is_bitfield),
        What::FieldSigned => plain(of.is_some_and(|ty| is_signed(&ty)).into(), true),
        What::FieldLshift => {
            let end = spec.bit_offset.saturating_add(bits);
            let inside = end.saturating_sub(byte_offset.saturating_mul(8));
            plain(64_u32.wrapping_sub(inside), !is_bitfield)
        }
        _ => plain(64_u32.wrapping_sub(bits), true),
    }
}

/// An element of an array, which has an offset and a size only.
fn element<'a>(what: What, btf: &'a Btf, spec: &Spec<'_>, step: &Step<'_>) -> Result<One<'a>, Bad> {
    let size = btf
        .size_of(step.type_id)
        .ok_or(Bad("its element has no size"))?;
    let (value, field) = match what {
        What::FieldByteOffset => (spec.bit_offset / 8, Some((size, btf.get(step.type_id)))),
        What::FieldByteSize => (size, None),
        _ => return Err(Bad("its kind does not apply to array elements")),
    };
    Ok(One {
        value: value.into(),
        validate: true,
        field,
    })
}

/// The bytes a load must take to get a field.
struct Extent {
    byte_offset: u32,
    byte_size: u32,
    bits: u32,
}

impl Extent {
    fn new(btf: &Btf, id: u32, member: &Member, bit_offset: u32) -> Option<Self> {
        let mut byte_size = btf.size_of(id)?;
        if member.bits == 0 {
            let bits = byte_size.checked_mul(8)?;
            return Some(Self {
                byte_offset: bit_offset / 8,
                byte_size,
                bits,
            });
        }
        let end = bit_offset.checked_add(member.bits)?;
        loop {
            let units = (bit_offset / 8).checked_div(byte_size)?;
            let byte_offset = units.checked_mul(byte_size)?;
            let loaded = byte_offset.checked_add(byte_size)?.checked_mul(8)?;
            if end <= loaded {
                return Some(Self {
                    byte_offset,
                    byte_size,
                    bits: member.bits,
                });
            }
            byte_size = byte_size
                .checked_mul(2)
                .filter(|size| *size <= LONGEST_LOAD)?;
        }
    }
}

fn is_signed(ty: &Type<'_>) -> bool {
    (ty.kind.is_enum() && ty.flag) || ty.int().is_some_and(|(encoding, _)| encoding & SIGNED != 0)
}

fn last<'s, 'a>(spec: &'s Spec<'a>) -> Result<&'s Step<'a>, Bad> {
    spec.steps.last().ok_or(Bad("its path is empty"))
}
