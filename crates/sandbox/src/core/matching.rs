//! When a type of the program and one of the kernel are the same for a relocation.

use super::{Bad, alike, essential};
use crate::btf::{Btf, Kind, Type};

/// Deepest nesting that is compared.
const MAX_DEPTH: u32 = 32;
const ENDLESS: Bad = Bad("a type on its path is endless");
const SIGNED: u32 = 1;

/// A type in its BTF; `None` inside is `void`.
#[derive(Clone, Copy)]
struct Place<'a> {
    btf: &'a Btf,
    ty: Option<Type<'a>>,
}

impl<'a> Place<'a> {
    /// The type behind typedefs and qualifiers.
    fn stripped(btf: &'a Btf, id: u32) -> Result<Self, Bad> {
        let id = btf.strip(id).ok_or(ENDLESS)?;
        Ok(Self {
            btf,
            ty: btf.get(id),
        })
    }

    fn name(&self) -> &'a [u8] {
        self.ty.map_or(&[], |ty| self.btf.name(ty.name_off))
    }
}

/// Whether a field of one type can be read as the other.
pub(super) fn fields_compatible(
    local: &Btf,
    mut local_id: u32,
    target: &Btf,
    mut target_id: u32,
) -> Result<bool, Bad> {
    for _ in 0..MAX_DEPTH {
        let one = Place::stripped(local, local_id)?;
        let other = Place::stripped(target, target_id)?;
        let (Some(own), Some(found)) = (one.ty, other.ty) else {
            return Ok(false);
        };
        if own.kind.is_composite() && found.kind.is_composite() {
            return Ok(true);
        }
        if !alike(own.kind, found.kind) {
            return Ok(false);
        }
        return Ok(match own.kind {
            Kind::Ptr | Kind::Float => true,
            Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                let (one, other) = (essential(one.name()), essential(other.name()));
                one.is_empty() || other.is_empty() || one == other
            }
            Kind::Int => plain_int(&own) && plain_int(&found),
            Kind::Array => {
                (local_id, target_id) = elements(&own, &found)?;
                continue;
            }
            _ => false,
        });
    }
    Err(ENDLESS)
}

/// Whether two types of the same name have the same shape.
pub(super) fn types_compatible(
    local: &Btf,
    local_id: u32,
    target: &Btf,
    target_id: u32,
) -> Result<bool, Bad> {
    compatible((local, local_id), (target, target_id), MAX_DEPTH)
}

fn compatible(local: (&Btf, u32), target: (&Btf, u32), depth: u32) -> Result<bool, Bad> {
    let depth = depth.checked_sub(1).ok_or(ENDLESS)?;
    let (one, other) = (
        Place::stripped(local.0, local.1)?,
        Place::stripped(target.0, target.1)?,
    );
    let (Some(own), Some(found)) = (one.ty, other.ty) else {
        return Ok(one.ty.is_none() && other.ty.is_none());
    };
    if !alike(own.kind, found.kind) {
        return Ok(false);
    }
    match own.kind {
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => Ok(true),
        Kind::Int => Ok(plain_int(&own) && plain_int(&found)),
        Kind::Ptr => compatible(
            (local.0, own.size_or_type),
            (target.0, found.size_or_type),
            depth,
        ),
        Kind::Array => {
            let (one, other) = elements(&own, &found)?;
            compatible((local.0, one), (target.0, other), depth)
        }
        Kind::FuncProto => prototypes(&own, &found, |one, other| {
            compatible((local.0, one), (target.0, other), depth)
        }),
        _ => Ok(false),
    }
}

/// Whether two types agree in all that the program's type says, members and their names included.
pub(super) fn types_match(
    local: &Btf,
    local_id: u32,
    target: &Btf,
    target_id: u32,
) -> Result<bool, Bad> {
    matches((local, local_id), (target, target_id), false, MAX_DEPTH)
}

fn matches(
    local: (&Btf, u32),
    target: (&Btf, u32),
    behind_pointer: bool,
    depth: u32,
) -> Result<bool, Bad> {
    let depth = depth.checked_sub(1).ok_or(ENDLESS)?;
    let (one, other) = (
        Place::stripped(local.0, local.1)?,
        Place::stripped(target.0, target.1)?,
    );
    let (Some(own), Some(found)) = (one.ty, other.ty) else {
        return Ok(one.ty.is_none() && other.ty.is_none());
    };
    if essential(one.name()) != essential(other.name()) {
        return Ok(false);
    }
    let same = own.kind == found.kind;
    match own.kind {
        Kind::Fwd if behind_pointer && !same => Ok(stands_for(&own, &found)),
        Kind::Fwd => Ok(same && own.flag == found.flag),
        Kind::Enum | Kind::Enum64 => Ok(enums(&one, &own, &other, &found)),
        Kind::Struct | Kind::Union if behind_pointer => Ok(same || stands_for(&found, &own)),
        Kind::Struct | Kind::Union => Ok(same && members(&one, &own, &other, &found, depth)?),
        Kind::Int => {
            Ok(same && own.size_or_type == found.size_or_type && signed(&own) == signed(&found))
        }
        Kind::Ptr if same => matches(
            (local.0, own.size_or_type),
            (target.0, found.size_or_type),
            true,
            depth,
        ),
        Kind::Array if same => {
            let (one, other) = elements(&own, &found)?;
            let counts = own.array().zip(found.array());
            let equal = counts.is_some_and(|(own, found)| own.count == found.count);
            Ok(equal && matches((local.0, one), (target.0, other), behind_pointer, depth)?)
        }
        Kind::FuncProto if same => prototypes(&own, &found, |one, other| {
            matches((local.0, one), (target.0, other), behind_pointer, depth)
        }),
        _ => Ok(false),
    }
}

/// Whether a forward declaration is one of this struct or union.
fn stands_for(forward: &Type<'_>, of: &Type<'_>) -> bool {
    forward.kind == Kind::Fwd
        && matches!(
            (of.kind, forward.flag),
            (Kind::Struct, false) | (Kind::Union, true)
        )
}

fn enums(one: &Place<'_>, own: &Type<'_>, other: &Place<'_>, found: &Type<'_>) -> bool {
    let names = |place: &Place<'_>, offset| essential(place.btf.name(offset)).to_vec();
    alike(own.kind, found.kind)
        && own.size_or_type == found.size_or_type
        && own.count <= found.count
        && own.enumerators().all(|wanted| {
            let wanted = names(one, wanted.name_off);
            found
                .enumerators()
                .any(|found| names(other, found.name_off) == wanted)
        })
}

fn members(
    one: &Place<'_>,
    own: &Type<'_>,
    other: &Place<'_>,
    found: &Type<'_>,
    depth: u32,
) -> Result<bool, Bad> {
    if own.count > found.count {
        return Ok(false);
    }
    for wanted in own.members() {
        let name = essential(one.btf.name(wanted.name_off));
        let mut fits = false;
        for member in found.members() {
            fits = essential(other.btf.name(member.name_off)) == name
                && matches((one.btf, wanted.ty), (other.btf, member.ty), false, depth)?;
            if fits {
                break;
            }
        }
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn prototypes(
    own: &Type<'_>,
    found: &Type<'_>,
    mut same: impl FnMut(u32, u32) -> Result<bool, Bad>,
) -> Result<bool, Bad> {
    if own.count != found.count {
        return Ok(false);
    }
    for ((_, one), (_, other)) in own.parameters().zip(found.parameters()) {
        if !same(one, other)? {
            return Ok(false);
        }
    }
    same(own.size_or_type, found.size_or_type)
}

fn elements(own: &Type<'_>, found: &Type<'_>) -> Result<(u32, u32), Bad> {
    let arrays = own.array().zip(found.array()).ok_or(ENDLESS)?;
    Ok((arrays.0.element, arrays.1.element))
}

fn plain_int(ty: &Type<'_>) -> bool {
    ty.int().is_some_and(|(_, offset)| offset == 0)
}

fn signed(ty: &Type<'_>) -> bool {
    ty.int().is_some_and(|(encoding, _)| encoding & SIGNED != 0)
}
