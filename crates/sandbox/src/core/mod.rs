//! CO-RE: what a program was compiled against, applied to the emulated kernel's types.
//!
//! Source: `Documentation/bpf/llvm_reloc.rst`, `include/uapi/linux/bpf.h` (`bpf_core_relo`); the
//! results are those of `bpf_core_apply()` in Linux.

mod matching;
mod patch;
mod spec;
#[cfg(test)]
mod tests;
mod value;

use crate::btf::{Btf, Kind};

use spec::Spec;

/// `struct bpf_core_relo`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    /// Of the instruction, in bytes.
    pub(crate) insn_off: u32,
    pub(crate) type_id: u32,
    pub(crate) access_off: u32,
    pub(crate) kind: u32,
}

/// Size of [`Relocation`] as Linux knows it.
pub(crate) const RECORD_SIZE: u32 = 16;

/// Why a relocation is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bad(pub(crate) &'static str);

/// `enum bpf_core_relo_kind`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshift,
    FieldRshift,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
}

const KINDS: [What; 13] = [
    What::FieldByteOffset,
    What::FieldByteSize,
    What::FieldExists,
    What::FieldSigned,
    What::FieldLshift,
    What::FieldRshift,
    What::TypeIdLocal,
    What::TypeIdTarget,
    What::TypeExists,
    What::TypeSize,
    What::EnumvalExists,
    What::EnumvalValue,
    What::TypeMatches,
];

impl Relocation {
    /// Reads the part of a record that Linux knows.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let mut words = record
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word));
        Some(Self {
            insn_off: words.next()?,
            type_id: words.next()?,
            access_off: words.next()?,
            kind: words.next()?,
        })
    }

    /// Changes the instruction it names; `local` is what the program was compiled against.
    pub(crate) fn apply(&self, insns: &mut [u8], local: &Btf, target: &Btf) -> Result<(), Bad> {
        let what = *KINDS
            .get(self.kind as usize)
            .ok_or(Bad("unknown kind of relocation"))?;
        let access = local.name(self.access_off);
        let spec = Spec::parse(local, self.type_id, access, what)?;
        let value = if what == What::TypeIdLocal {
            value::Value::local(self.type_id)
        } else {
            self.against(&spec, local, target, what)?
        };
        patch::apply(insns, self.insn_off, &value)
    }

    /// The value of the relocation, which all candidates must agree on.
    fn against(
        &self,
        spec: &Spec<'_>,
        local: &Btf,
        target: &Btf,
        what: What,
    ) -> Result<value::Value, Bad> {
        let root = local
            .get(self.type_id)
            .ok_or(Bad("its type does not exist"))?;
        let name = essential(local.name(root.name_off));
        if name.is_empty() {
            return Err(Bad("its type has no name"));
        }
        let mut agreed: Option<(value::Value, u32)> = None;
        for candidate in target.iter() {
            let same_kind = alike(candidate.kind, root.kind);
            if !same_kind || essential(target.name(candidate.name_off)) != name {
                continue;
            }
            let Some(found) = spec.find_in(local, target, candidate.id)? else {
                continue;
            };
            let value = value::Value::new(what, (local, spec), Some((target, &found)))?;
            match &agreed {
                None => agreed = Some((value, found.bit_offset)),
                Some((first, bits)) if first.agrees(&value) && *bits == found.bit_offset => {}
                Some(_) => return Err(Bad("its candidates disagree")),
            }
        }
        match agreed {
            Some((value, _)) => Ok(value),
            None => value::Value::new(what, (local, spec), None),
        }
    }
}

impl What {
    fn is_field(self) -> bool {
        matches!(
            self,
            Self::FieldByteOffset
                | Self::FieldByteSize
                | Self::FieldExists
                | Self::FieldSigned
                | Self::FieldLshift
                | Self::FieldRshift
        )
    }

    fn is_enumval(self) -> bool {
        matches!(self, Self::EnumvalExists | Self::EnumvalValue)
    }
}

/// A name without its flavour, the part behind the last `___`.
pub(crate) fn essential(name: &[u8]) -> &[u8] {
    let flavour = name.windows(5).rposition(|window| match window {
        // The three must stand between a name and something else.
        [before, b'_', b'_', b'_', after] => *before != b'_' && *after != b'_',
        _ => false,
    });
    flavour
        .and_then(|at| name.get(..at.saturating_add(1)))
        .unwrap_or(name)
}

fn alike(one: Kind, other: Kind) -> bool {
    one == other || (one.is_enum() && other.is_enum())
}
