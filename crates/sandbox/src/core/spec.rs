//! Which field, type or enumerator a relocation means, in the program's types and in the target's.

use super::matching::{self, fields_compatible};
use super::{Bad, What, essential};
use crate::btf::{Btf, Kind, Type};

/// Longest path to a field (`BPF_CORE_SPEC_MAX_LEN`).
const MAX_LEN: usize = 64;
const BITS: u32 = 8;

/// A path from a root type.
#[derive(Debug)]
pub(super) struct Spec<'a> {
    pub(super) root: u32,
    pub(super) what: What,
    /// Named members and array elements; unnamed structs between them are left out.
    pub(super) steps: Vec<Step<'a>>,
    /// Every index, unnamed structs included.
    depth: usize,
    pub(super) bit_offset: u32,
}

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// Type that is stepped into; of an array element, the element's own.
    pub(super) type_id: u32,
    pub(super) index: u32,
    pub(super) name: Option<&'a [u8]>,
}

impl<'a> Spec<'a> {
    fn new(root: u32, what: What) -> Self {
        Self {
            root,
            what,
            steps: Vec::new(),
            depth: 0,
            bit_offset: 0,
        }
    }

    /// Reads a path like `0:1:2` in the program's types.
    pub(super) fn parse(btf: &'a Btf, root: u32, access: &[u8], what: What) -> Result<Self, Bad> {
        btf.get(root).ok_or(Bad("its type does not exist"))?;
        let mut spec = Self::new(root, what);
        if !what.is_field() && !what.is_enumval() {
            return if access == b"0" {
                Ok(spec)
            } else {
                Err(Bad("its path is not 0"))
            };
        }
        let path = indices(access)?;
        let (first, rest) = path.split_first().ok_or(Bad("its path is empty"))?;
        let id = btf.strip(root).ok_or(Bad("its type is endless"))?;
        if what.is_enumval() {
            return spec.enumerator(btf, id, *first, rest.is_empty());
        }
        spec.steps.push(Step {
            type_id: id,
            index: *first,
            name: None,
        });
        spec.depth = 1;
        spec.skip(btf, id, *first)?;
        let mut at = id;
        for index in rest {
            at = spec.step(btf, at, *index)?;
        }
        Ok(spec)
    }

    fn enumerator(mut self, btf: &'a Btf, id: u32, index: u32, alone: bool) -> Result<Self, Bad> {
        let enumerator = btf
            .get(id)
            .and_then(|ty| ty.enumerator(index))
            .filter(|_| alone);
        let enumerator = enumerator.ok_or(Bad("its path leads to no enumerator"))?;
        let name = Some(btf.name(enumerator.name_off));
        self.steps.push(Step {
            type_id: id,
            index,
            name,
        });
        Ok(self)
    }

    /// Steps into the type `id`; returns the type behind.
    fn step(&mut self, btf: &'a Btf, id: u32, index: u32) -> Result<u32, Bad> {
        const NOWHERE: Bad = Bad("its path leaves its type");
        self.deepen()?;
        let id = btf.strip(id).ok_or(NOWHERE)?;
        let ty = btf.get(id).ok_or(NOWHERE)?;
        if ty.kind.is_composite() {
            let member = ty.member(index).ok_or(NOWHERE)?;
            self.advance(member.bit_offset)?;
            let name = btf.name(member.name_off);
            if !name.is_empty() {
                self.steps.push(Step {
                    type_id: id,
                    index,
                    name: Some(name),
                });
            }
            return Ok(member.ty);
        }
        let array = ty.array().ok_or(NOWHERE)?;
        let element = btf.strip(array.element).ok_or(NOWHERE)?;
        if index >= array.count && !self.flexible(btf, array.count) {
            return Err(NOWHERE);
        }
        self.steps.push(Step {
            type_id: element,
            index,
            name: None,
        });
        self.skip(btf, element, index)?;
        Ok(element)
    }

    /// Whether the array just reached is the open end of a struct.
    fn flexible(&self, btf: &Btf, count: u32) -> bool {
        let Some(step) = self.steps.last() else {
            return false;
        };
        let last = |ty: Type<'_>| u32::from(ty.count).checked_sub(1) == Some(step.index);
        step.name.is_some() && count == 0 && btf.get(step.type_id).is_some_and(last)
    }

    /// Moves over `index` elements of a type.
    fn skip(&mut self, btf: &Btf, id: u32, index: u32) -> Result<(), Bad> {
        let size = btf
            .size_of(id)
            .ok_or(Bad("a type on its path has no size"))?;
        let bits = index
            .checked_mul(size)
            .and_then(|bytes| bytes.checked_mul(BITS));
        self.advance(bits.ok_or(Bad("its offset is too large"))?)
    }

    fn advance(&mut self, bits: u32) -> Result<(), Bad> {
        let sum = self.bit_offset.checked_add(bits);
        self.bit_offset = sum.ok_or(Bad("its offset is too large"))?;
        Ok(())
    }

    fn deepen(&mut self) -> Result<(), Bad> {
        if self.depth >= MAX_LEN {
            return Err(Bad("its path is longer than 64"));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// The same path in another type, if that type has it.
    pub(super) fn find_in<'t>(
        &self,
        local: &Btf,
        target: &'t Btf,
        candidate: u32,
    ) -> Result<Option<Spec<'t>>, Bad> {
        let mut found = Spec::new(candidate, self.what);
        if self.what.is_enumval() {
            return Ok(self.find_enumerator(target, candidate).map(|step| {
                found.steps.push(step);
                found
            }));
        }
        if !self.what.is_field() {
            let fits = match self.what {
                What::TypeMatches => matching::types_match(local, self.root, target, candidate)?,
                _ => matching::types_compatible(local, self.root, target, candidate)?,
            };
            return Ok(fits.then_some(found));
        }
        let mut at = candidate;
        for step in &self.steps {
            let next = match step.name {
                Some(name) => found.member(step, name, local, (target, at))?,
                None => found.element(step, target, at)?,
            };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    fn find_enumerator<'t>(&self, target: &'t Btf, candidate: u32) -> Option<Step<'t>> {
        let wanted = essential(self.steps.first()?.name?);
        let id = target.strip(candidate)?;
        let ty = target.get(id)?;
        (0..).zip(ty.enumerators()).find_map(|(index, enumerator)| {
            let name = target.name(enumerator.name_off);
            (essential(name) == wanted).then_some(Step {
                type_id: id,
                index,
                name: Some(name),
            })
        })
    }

    /// Finds a member by name in the target, unnamed structs included; returns its type.
    fn member(
        &mut self,
        step: &Step<'_>,
        name: &[u8],
        local: &Btf,
        (target, id): (&'a Btf, u32),
    ) -> Result<Option<u32>, Bad> {
        let id = target.strip(id).ok_or(Bad("a target type is endless"))?;
        let Some(ty) = target.get(id).filter(|ty| ty.kind.is_composite()) else {
            return Ok(None);
        };
        for (index, member) in (0..).zip(ty.members()) {
            let (bits, depth) = (self.bit_offset, self.depth);
            self.deepen()?;
            self.advance(member.bit_offset)?;
            let found = target.name(member.name_off);
            if found.is_empty() {
                let inner = self.member(step, name, local, (target, member.ty))?;
                if inner.is_some() {
                    return Ok(inner);
                }
            } else if found == name {
                let own = local.get(step.type_id).and_then(|ty| ty.member(step.index));
                let own = own.ok_or(Bad("its path leaves its type"))?;
                if !fields_compatible(local, own.ty, target, member.ty)? {
                    return Ok(None);
                }
                self.steps.push(Step {
                    type_id: id,
                    index,
                    name: Some(found),
                });
                return Ok(Some(member.ty));
            }
            (self.bit_offset, self.depth) = (bits, depth);
        }
        Ok(None)
    }

    /// Steps to an array element in the target; the first step is to the root itself.
    fn element(&mut self, step: &Step<'_>, target: &'a Btf, id: u32) -> Result<Option<u32>, Bad> {
        const ENDLESS: Bad = Bad("a target type is endless");
        let mut id = target.strip(id).ok_or(ENDLESS)?;
        if !self.steps.is_empty() {
            let Some(array) = target.get(id).filter(|ty| ty.kind == Kind::Array) else {
                return Ok(None);
            };
            let array = array.array().ok_or(ENDLESS)?;
            if step.index >= array.count && !self.flexible(target, array.count) {
                return Ok(None);
            }
            id = target.strip(array.element).ok_or(ENDLESS)?;
        }
        self.deepen()?;
        self.steps.push(Step {
            type_id: id,
            index: step.index,
            name: None,
        });
        self.skip(target, id, step.index)?;
        Ok(Some(id))
    }
}

/// `0:1:2` as numbers.
fn indices(access: &[u8]) -> Result<Vec<u32>, Bad> {
    let text = std::str::from_utf8(access).map_err(|_| Bad("its path is no text"))?;
    if text.split(':').count() > MAX_LEN {
        return Err(Bad("its path is longer than 64"));
    }
    text.split(':')
        .map(|index| {
            index
                .parse()
                .map_err(|_| Bad("its path is no list of numbers"))
        })
        .collect()
}
