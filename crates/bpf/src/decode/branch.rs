//! Jumps, calls and exits (RFC 9669 section 4.3).

use super::{At, Decoder};
use crate::error::DecodeError;
use crate::isa::{call, class, jump};
use crate::op::{Insn, Op};

impl Decoder<'_> {
    pub(super) fn branch(&mut self, at: At) -> Result<Insn, DecodeError> {
        let raw = at.raw;
        let wide = raw.class() == class::JMP;
        match (raw.code(), raw.source_is_register()) {
            (jump::JA, false) => always(at, wide),
            (jump::CALL, false) if wide => self.call(at),
            (jump::CALL, true) if wide => at.refused("call by register"),
            (jump::EXIT, false) if wide => exit(at),
            (jump::JA | jump::CALL | jump::EXIT, _) => at.opcode(),
            (_, register) => conditional(at, wide, register),
        }
    }

    fn call(&mut self, at: At) -> Result<Insn, DecodeError> {
        let raw = at.raw;
        at.zero_dst()?;
        if raw.src != call::KFUNC {
            at.zero_offset()?;
        }
        match raw.src {
            call::HELPER => {
                let id = raw.imm as u32;
                Ok(match self.resolver.helper(at.at, id) {
                    Ok(()) => Insn {
                        imm: u64::from(id),
                        ..at.insn(Op::CallHelper)
                    },
                    Err(reason) => self.unresolved(at, reason),
                })
            }
            call::LOCAL => {
                self.function(at, raw.imm)?;
                Ok(Insn {
                    offset: raw.imm,
                    ..at.insn(Op::CallLocal)
                })
            }
            call::KFUNC => Ok(match self.resolver.kfunc(at.at, raw.imm, raw.offset) {
                Ok(token) => Insn {
                    imm: u64::from(token),
                    ..at.insn(Op::CallKfunc)
                },
                Err(reason) => self.unresolved(at, reason),
            }),
            other => at.field("src", other, "a kind of call, 0 to 2"),
        }
    }
}

fn exit(at: At) -> Result<Insn, DecodeError> {
    at.zero_dst()?;
    at.zero_src()?;
    at.zero_offset()?;
    at.zero_imm()?;
    Ok(at.insn(Op::Exit))
}

/// The unconditional jump: 16 bits of distance in the offset, or 32 in the immediate.
fn always(at: At, short: bool) -> Result<Insn, DecodeError> {
    at.zero_dst()?;
    at.zero_src()?;
    if short {
        at.zero_imm()?;
        return Ok(at.insn(Op::Jump));
    }
    at.zero_offset()?;
    Ok(Insn {
        offset: at.raw.imm,
        ..at.insn(Op::Jump)
    })
}

fn conditional(at: At, wide: bool, register: bool) -> Result<Insn, DecodeError> {
    let [k64, x64, k32, x32] = match at.raw.code() {
        0x1 => [Op::Jeq64K, Op::Jeq64X, Op::Jeq32K, Op::Jeq32X],
        0x2 => [Op::Jgt64K, Op::Jgt64X, Op::Jgt32K, Op::Jgt32X],
        0x3 => [Op::Jge64K, Op::Jge64X, Op::Jge32K, Op::Jge32X],
        0x4 => [Op::Jset64K, Op::Jset64X, Op::Jset32K, Op::Jset32X],
        0x5 => [Op::Jne64K, Op::Jne64X, Op::Jne32K, Op::Jne32X],
        0x6 => [Op::Jsgt64K, Op::Jsgt64X, Op::Jsgt32K, Op::Jsgt32X],
        0x7 => [Op::Jsge64K, Op::Jsge64X, Op::Jsge32K, Op::Jsge32X],
        0xa => [Op::Jlt64K, Op::Jlt64X, Op::Jlt32K, Op::Jlt32X],
        0xb => [Op::Jle64K, Op::Jle64X, Op::Jle32K, Op::Jle32X],
        0xc => [Op::Jslt64K, Op::Jslt64X, Op::Jslt32K, Op::Jslt32X],
        0xd => [Op::Jsle64K, Op::Jsle64X, Op::Jsle32K, Op::Jsle32X],
        _ => return at.opcode(),
    };
    if register {
        at.zero_imm()?;
    } else {
        at.zero_src()?;
    }
    Ok(at.insn(match (wide, register) {
        (true, false) => k64,
        (true, true) => x64,
        (false, false) => k32,
        (false, true) => x32,
    }))
}
