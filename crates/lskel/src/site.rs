//! One instruction of an object: what it may do, and how an error names it.

use core::fmt;

use kpeel_abi::PARSER_HELPERS;
use object::elf::{R_BPF_64_32, R_BPF_64_64, RelocationType};

use crate::Error;
use crate::input::{Object, Place, Relocation, Section, Symbol};
use crate::insn::{INSN_SIZE, Insn};

/// An instruction by section, function and slot; displays as all three.
pub(crate) struct Site<'a> {
    section: &'a Section<'a>,
    function: &'a Symbol<'a>,
    /// Index in the function.
    slot: usize,
}

impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "section `{}`, function `{}`, instruction {}",
            self.section.name, self.function.name, self.slot
        )
    }
}

/// A function's instructions, from a symbol that may lie.
pub(crate) fn function_code(
    section: &Section<'_>,
    function: &Symbol<'_>,
) -> Result<Vec<Insn>, Error> {
    let at = || format!("section `{}`, function `{}`", section.name, function.name);
    let bytes = usize::try_from(function.value).ok().and_then(|start| {
        let end = start.checked_add(usize::try_from(function.size).ok()?)?;
        section.data.get(start..end)
    });
    let Some(bytes) = bytes else {
        return Err(Error::malformed(
            at(),
            format_args!("{:#x} bytes at {:#x}", function.size, function.value),
            format_args!("inside the section's {:#x} bytes", section.data.len()),
        ));
    };
    let (insns, rest) = bytes.as_chunks::<INSN_SIZE>();
    if !rest.is_empty() || !function.value.is_multiple_of(INSN_SIZE as u64) {
        return Err(Error::malformed(
            at(),
            format_args!("{:#x} bytes at {:#x}", function.size, function.value),
            "multiples of 8",
        ));
    }
    let insns: Vec<Insn> = insns.iter().copied().map(Insn::from_bytes).collect();
    match insns.last() {
        Some(last) if last.ends_function() => Ok(insns),
        // Functions are moved apart: falling through would reach another one.
        Some(last) => Err(Error::malformed(
            format_args!("{}, last instruction", at()),
            format_args!("opcode {:#04x}", last.code),
            "exit or a jump",
        )),
        None => Err(Error::malformed(at(), "size 0", "instructions")),
    }
}

impl<'a> Site<'a> {
    pub(crate) fn new(section: &'a Section<'a>, function: &'a Symbol<'a>, slot: usize) -> Self {
        Self {
            section,
            function,
            slot,
        }
    }

    /// Byte offset in the section; sums cannot wrap, for the function lies inside its section.
    pub(crate) fn offset(&self) -> u64 {
        let slot = (self.slot as u64).saturating_mul(INSN_SIZE as u64);
        self.function.value.saturating_add(slot)
    }

    /// The relocation of this instruction of `slots` slots.
    pub(crate) fn relocation(&self, slots: u64) -> Result<Option<Relocation>, Error> {
        let start = self.offset();
        let end = start.saturating_add(slots.saturating_mul(INSN_SIZE as u64));
        let mut here = self.section.relocations.range(start..end);
        let Some((offset, relocation)) = here.next() else {
            return Ok(None);
        };
        let stray = if *offset == start {
            here.next()
        } else {
            Some((offset, relocation))
        };
        if let Some((offset, _)) = stray {
            return Err(Error::malformed(
                format_args!("{self}, relocation"),
                format_args!("offset {offset:#x}"),
                format_args!("{start:#x}, the instruction's first byte"),
            ));
        }
        Ok(Some(*relocation))
    }

    /// A jump may not leave its function, for functions are moved.
    pub(crate) fn check_jump(&self, insn: Insn, slots: usize) -> Result<(), Error> {
        let Some(distance) = insn.jump_distance() else {
            return Ok(());
        };
        let target = i64::try_from(self.slot).ok().and_then(|slot| {
            let target = slot.checked_add(1)?.checked_add(distance)?;
            usize::try_from(target).ok()
        });
        if target.is_some_and(|target| target < slots) {
            return Ok(());
        }
        Err(Error::malformed(
            format_args!("{self}, jump"),
            format_args!("distance {distance}"),
            format_args!("a target among the function's {slots} slots"),
        ))
    }

    pub(crate) fn check_helper(&self, id: i32) -> Result<(), Error> {
        if PARSER_HELPERS.iter().any(|helper| *helper as i32 == id) {
            return Ok(());
        }
        let offered: Vec<_> = PARSER_HELPERS
            .iter()
            .map(|helper| (*helper as u32).to_string())
            .collect();
        Err(Error::unsupported(
            format_args!("{self}, helper"),
            id,
            format_args!("one of {}", offered.join(", ")),
        ))
    }

    /// Byte offset of a callee: distances count slots from the one after `base`.
    pub(crate) fn callee(&self, base: u64, distance: i32) -> Result<u64, Error> {
        let slots = i64::from(distance).saturating_add(1);
        let bytes = slots.saturating_mul(INSN_SIZE as i64);
        base.checked_add_signed(bytes).ok_or_else(|| {
            Error::malformed(
                format_args!("{self}, call"),
                format_args!("{bytes} bytes from {base:#x}"),
                "an offset in a section",
            )
        })
    }

    /// The refusal of a relocation that has no meaning here.
    pub(crate) fn unexpected(&self, object: &Object<'_>, relocation: Relocation) -> Error {
        let target = match object.symbol(relocation.symbol) {
            Err(error) => return error,
            Ok(symbol) => match symbol.place {
                Place::Section(index) => match object.section(index) {
                    Err(error) => return error,
                    Ok(section) => format!("section `{}`", section.name),
                },
                Place::Extern => format!("extern `{}`", symbol.name),
                Place::Elsewhere => format!("symbol `{}` of no section", symbol.name),
            },
        };
        Error::unsupported(
            format_args!("{self}, relocation"),
            format_args!("{} against {target}", relocation_name(relocation.kind)),
            "R_BPF_64_32 on a call of code or a kfunc, R_BPF_64_64 on ld_imm64 of `.rodata*`",
        )
    }
}

fn relocation_name(kind: RelocationType) -> String {
    // LLVM's names, its BPFInstrInfo.
    match kind {
        R_BPF_64_64 => "R_BPF_64_64".to_owned(),
        RelocationType(2) => "R_BPF_64_ABS64".to_owned(),
        RelocationType(3) => "R_BPF_64_ABS32".to_owned(),
        RelocationType(4) => "R_BPF_64_NODYLD32".to_owned(),
        R_BPF_64_32 => "R_BPF_64_32".to_owned(),
        RelocationType(other) => format!("relocation type {other}"),
    }
}
