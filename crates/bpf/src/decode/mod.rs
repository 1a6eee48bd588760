//! From instruction bytes to a checked program.

mod alu;
mod branch;
mod flow;
mod memory;

use crate::error::{DecodeError, Unresolved};
use crate::isa::{self, Raw, SLOT, class};
use crate::op::{Insn, Op};
use alloc::vec::Vec;

/// Slots that a program may have, as in Linux.
pub const MAX_INSTRUCTIONS: usize = 1_000_000;

/// Calls without an answer whose reasons are kept: a program can have a million of them.
const MAX_REASONS: usize = 64;

/// Region id of function addresses. No memory gets there, so they cannot be loaded from.
const FUNCTION_BASE: u64 = 0x7fff_ffff << 32;

/// What a 64-bit immediate stands for when its source register is not 0 (RFC 9669 section 5.4).
///
/// References to functions of the program itself (source register 4) are not here: the machine answers
/// them with numbers that are no addresses of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pseudo {
    /// 1: a map, by file descriptor.
    MapFd,
    /// 2: an address in a map's value, by file descriptor; the second immediate is the offset.
    MapFdValue,
    /// 3: a kernel variable or function, by BTF id; the second immediate is the BTF's descriptor.
    BtfId,
    /// 5: a map, by index.
    MapIndex,
    /// 6: an address in a map's value, by index; the second immediate is the offset.
    MapIndexValue,
}

/// Answers, while a program is decoded, what its instructions only name.
///
/// Instructions are asked for in ascending order, unreachable ones too. `at` is the instruction's slot.
pub trait Resolver {
    /// The value of a 64-bit immediate; `imm` and `next` are the immediates of its two slots.
    ///
    /// Without an answer the program is refused.
    fn immediate(
        &mut self,
        at: usize,
        pseudo: Pseudo,
        imm: i32,
        next: i32,
    ) -> Result<u64, Unresolved>;

    /// Whether helper `id` may be called at all.
    ///
    /// Without an answer the call stays in the program and traps when it is reached: Linux accepts such
    /// calls too where they are never reached. The reasons of the first 64 such calls are kept.
    fn helper(&mut self, at: usize, id: u32) -> Result<(), Unresolved>;

    /// The token that a run passes to [`Calls::kfunc`](crate::Calls::kfunc) for this kfunc.
    ///
    /// `id` is its BTF id, `offset` the index of the BTF's descriptor. As with helpers, a call without an
    /// answer traps when it is reached.
    fn kfunc(&mut self, at: usize, id: i32, offset: i16) -> Result<u32, Unresolved>;
}

/// A decoded program: every opcode, field, register, jump and function boundary is checked.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) code: Vec<Insn>,
    pub(crate) unresolved: Vec<Unresolved>,
}

impl Program {
    /// Checks and decodes instruction bytes.
    ///
    /// Fields that an instruction does not use must be zero. Functions are the entry at slot 0 and the
    /// targets of calls and function references; jumps stay within theirs, and each ends in an exit or an
    /// unconditional jump, as Linux demands. Register 10 is never written. All of this holds for
    /// instructions that are never reached, too.
    ///
    /// # Errors
    ///
    /// The first instruction that is wrong, with the field, what was found and what is needed.
    pub fn decode(bytes: &[u8], resolver: &mut dyn Resolver) -> Result<Self, DecodeError> {
        let (slots, rest) = bytes.as_chunks::<SLOT>();
        if slots.is_empty() || !rest.is_empty() {
            return Err(DecodeError::Size { found: bytes.len() });
        }
        if slots.len() > MAX_INSTRUCTIONS {
            let (found, allowed) = (slots.len(), MAX_INSTRUCTIONS);
            return Err(DecodeError::TooLong { found, allowed });
        }
        let mut decoder = Decoder::new(slots.len(), resolver);
        let mut slots = slots.iter().map(|slot| Raw::parse(*slot));
        while let Some(raw) = slots.next() {
            let at = At {
                at: decoder.code.len(),
                raw,
            };
            at.registers()?;
            let second = if raw.opcode == isa::LD_IMM64 {
                slots.next()
            } else {
                None
            };
            decoder.instruction(at, second)?;
        }
        flow::check(&decoder.code, &decoder.functions)?;
        Ok(Self {
            code: decoder.code,
            unresolved: decoder.unresolved,
        })
    }

    /// Instruction slots; a 64-bit immediate takes two.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a program has at least one instruction"
    )]
    pub fn len(&self) -> usize {
        self.code.len()
    }
}

/// A slot and its place.
#[derive(Clone, Copy)]
struct At {
    at: usize,
    raw: Raw,
}

impl At {
    /// Refuses registers that do not exist, in any instruction.
    fn registers(self) -> Result<(), DecodeError> {
        let Raw { dst, src, .. } = self.raw;
        self.known("dst", dst)?;
        self.known("src", src)
    }

    fn known(self, field: &'static str, register: u8) -> Result<(), DecodeError> {
        if register > isa::FRAME_POINTER {
            return self.field(field, register, "a register from 0 to 10");
        }
        Ok(())
    }

    /// Refuses writing to the frame pointer.
    fn writes(self, field: &'static str, register: u8) -> Result<(), DecodeError> {
        if register == isa::FRAME_POINTER {
            return self.field(field, register, "a register that may be written, 0 to 9");
        }
        Ok(())
    }

    fn zero_dst(self) -> Result<(), DecodeError> {
        self.zero("dst", i64::from(self.raw.dst))
    }

    fn zero_src(self) -> Result<(), DecodeError> {
        self.zero("src", i64::from(self.raw.src))
    }

    fn zero_offset(self) -> Result<(), DecodeError> {
        self.zero("offset", i64::from(self.raw.offset))
    }

    fn zero_imm(self) -> Result<(), DecodeError> {
        self.zero("imm", i64::from(self.raw.imm))
    }

    fn zero(self, field: &'static str, value: i64) -> Result<(), DecodeError> {
        if value != 0 {
            return self.field(field, value, "0");
        }
        Ok(())
    }

    fn field<T>(
        self,
        field: &'static str,
        found: impl Into<i64>,
        needed: &'static str,
    ) -> Result<T, DecodeError> {
        Err(DecodeError::Field {
            at: self.at,
            field,
            found: found.into(),
            needed,
        })
    }

    fn opcode<T>(self) -> Result<T, DecodeError> {
        Err(DecodeError::Opcode {
            at: self.at,
            found: self.raw.opcode,
        })
    }

    fn refused<T>(self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Refused {
            at: self.at,
            found: self.raw.opcode,
            what,
        })
    }

    /// The instruction with its fields as they are and the immediate sign-extended.
    fn insn(self, op: Op) -> Insn {
        let Raw {
            dst,
            src,
            offset,
            imm,
            ..
        } = self.raw;
        Insn {
            op,
            dst,
            src,
            offset: i32::from(offset),
            imm: i64::from(imm) as u64,
        }
    }
}

struct Decoder<'a> {
    code: Vec<Insn>,
    unresolved: Vec<Unresolved>,
    /// Slots where functions start; unsorted, may repeat, not yet known to exist.
    functions: Vec<flow::Reference>,
    resolver: &'a mut dyn Resolver,
}

impl<'a> Decoder<'a> {
    fn new(slots: usize, resolver: &'a mut dyn Resolver) -> Self {
        let code = Vec::with_capacity(slots);
        Self {
            code,
            unresolved: Vec::new(),
            functions: Vec::new(),
            resolver,
        }
    }

    fn instruction(&mut self, at: At, second: Option<Raw>) -> Result<(), DecodeError> {
        let insn = match at.raw.class() {
            class::ALU | class::ALU64 => alu::decode(at)?,
            class::JMP | class::JMP32 => self.branch(at)?,
            class::LDX => memory::load(at)?,
            class::ST => memory::store_immediate(at)?,
            class::STX => memory::store_register(at)?,
            _ => self.immediate(at, second)?,
        };
        self.code.push(insn);
        if at.raw.opcode == isa::LD_IMM64 {
            self.code.push(Insn {
                op: Op::Unreachable,
                dst: 0,
                src: 0,
                offset: 0,
                imm: 0,
            });
        }
        Ok(())
    }

    /// The class LD: the 64-bit immediate, and packet access of old.
    fn immediate(&mut self, at: At, second: Option<Raw>) -> Result<Insn, DecodeError> {
        use isa::mem;
        let raw = at.raw;
        if raw.opcode != isa::LD_IMM64 {
            let legacy = matches!(raw.opcode & mem::MODE_MASK, mem::ABS | mem::IND);
            let packet = legacy && raw.opcode & mem::SIZE_MASK != mem::DOUBLE;
            return if packet {
                at.refused("packet access")
            } else {
                at.opcode()
            };
        }
        at.writes("dst", raw.dst)?;
        at.zero_offset()?;
        let Some(second) = second else {
            return at.field("slots left", 1, "2 for a 64-bit immediate");
        };
        at.zero("opcode of the second slot", i64::from(second.opcode))?;
        at.zero("dst of the second slot", i64::from(second.dst))?;
        at.zero("src of the second slot", i64::from(second.src))?;
        at.zero("offset of the second slot", i64::from(second.offset))?;
        let imm = self.immediate_value(at, raw.imm, second.imm)?;
        Ok(Insn {
            imm,
            ..at.insn(Op::LoadImm64)
        })
    }

    fn immediate_value(&mut self, at: At, imm: i32, next: i32) -> Result<u64, DecodeError> {
        let pseudo = match at.raw.src {
            0 => return Ok(u64::from(imm as u32) | (u64::from(next as u32) << 32)),
            1 => Pseudo::MapFd,
            2 => Pseudo::MapFdValue,
            3 => Pseudo::BtfId,
            4 => {
                at.zero("imm of the second slot", i64::from(next))?;
                let target = self.function(at, imm)?;
                return Ok(FUNCTION_BASE | (target as u64 & 0xffff_ffff));
            }
            5 => Pseudo::MapIndex,
            6 => Pseudo::MapIndexValue,
            _ => return at.field("src", at.raw.src, "a kind of 64-bit immediate, 0 to 6"),
        };
        let answer = self.resolver.immediate(at.at, pseudo, imm, next);
        answer.map_err(|reason| DecodeError::Unresolved { at: at.at, reason })
    }

    /// Notes the function that starts `distance` slots after the next one, and returns where that is.
    fn function(&mut self, at: At, distance: i32) -> Result<i64, DecodeError> {
        let target = (at.at as i64) + 1 + i64::from(distance);
        self.functions.push(flow::Reference { at: at.at, target });
        Ok(target)
    }

    /// Keeps a call without an answer as one that traps.
    fn unresolved(&mut self, at: At, reason: Unresolved) -> Insn {
        match self.unresolved.len() {
            0..MAX_REASONS => self.unresolved.push(reason),
            MAX_REASONS => self
                .unresolved
                .push("call: one of too many without an answer".into()),
            _ => {}
        }
        let imm = self.unresolved.len().saturating_sub(1) as u64;
        Insn {
            imm,
            ..at.insn(Op::CallUnresolved)
        }
    }
}
