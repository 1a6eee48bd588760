//! Loads, stores and atomic operations (RFC 9669 section 5).

use super::At;
use crate::error::DecodeError;
use crate::isa::{atomic, mem};
use crate::op::{Insn, Op};

pub(super) fn load(at: At) -> Result<Insn, DecodeError> {
    let raw = at.raw;
    let size = raw.opcode & mem::SIZE_MASK;
    let op = match (raw.opcode & mem::MODE_MASK, size) {
        (mem::MEM, mem::BYTE) => Op::Load8,
        (mem::MEM, mem::HALF) => Op::Load16,
        (mem::MEM, mem::WORD) => Op::Load32,
        (mem::MEM, mem::DOUBLE) => Op::Load64,
        (mem::MEMSX, mem::BYTE) => Op::LoadS8,
        (mem::MEMSX, mem::HALF) => Op::LoadS16,
        (mem::MEMSX, mem::WORD) => Op::LoadS32,
        _ => return at.opcode(),
    };
    at.writes("dst", raw.dst)?;
    at.zero_imm()?;
    Ok(at.insn(op))
}

pub(super) fn store_immediate(at: At) -> Result<Insn, DecodeError> {
    let raw = at.raw;
    if raw.opcode & mem::MODE_MASK != mem::MEM {
        return at.opcode();
    }
    at.zero_src()?;
    Ok(at.insn(match raw.opcode & mem::SIZE_MASK {
        mem::BYTE => Op::Store8K,
        mem::HALF => Op::Store16K,
        mem::WORD => Op::Store32K,
        _ => Op::Store64K,
    }))
}

pub(super) fn store_register(at: At) -> Result<Insn, DecodeError> {
    let raw = at.raw;
    let size = raw.opcode & mem::SIZE_MASK;
    match (raw.opcode & mem::MODE_MASK, size) {
        (mem::ATOMIC, mem::WORD) => return atomic(at, Op::Atomic32),
        (mem::ATOMIC, mem::DOUBLE) => return atomic(at, Op::Atomic64),
        (mem::MEM, _) => {}
        _ => return at.opcode(),
    }
    at.zero_imm()?;
    Ok(at.insn(match size {
        mem::BYTE => Op::Store8X,
        mem::HALF => Op::Store16X,
        mem::WORD => Op::Store32X,
        _ => Op::Store64X,
    }))
}

fn atomic(at: At, op: Op) -> Result<Insn, DecodeError> {
    match at.raw.imm {
        atomic::CMPXCHG => {}
        atomic::XCHG => at.writes("src", at.raw.src)?,
        other => match other & !atomic::FETCH {
            atomic::ADD | atomic::OR | atomic::AND | atomic::XOR => {
                if other & atomic::FETCH != 0 {
                    at.writes("src", at.raw.src)?;
                }
            }
            _ => return at.field("imm", other, "an atomic operation"),
        },
    }
    Ok(at.insn(op))
}
