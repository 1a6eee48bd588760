//! Arithmetic, moves and byte swaps (RFC 9669 sections 4.1 and 4.2).

use super::At;
use crate::error::DecodeError;
use crate::isa::{alu, class};
use crate::op::{Insn, Op};

pub(super) fn decode(at: At) -> Result<Insn, DecodeError> {
    let raw = at.raw;
    let wide = raw.class() == class::ALU64;
    if raw.code() > alu::END {
        return at.opcode();
    }
    at.writes("dst", raw.dst)?;
    match raw.code() {
        alu::END => return swap(at, wide),
        alu::NEG => return negate(at, wide),
        _ => {}
    }
    let op = match (raw.code(), raw.offset) {
        (_, 0) => operation(raw.code(), wide, raw.source_is_register()),
        (alu::DIV | alu::MOD, 1) => signed(raw.code(), wide, raw.source_is_register()),
        (alu::DIV | alu::MOD, _) => return at.field("offset", raw.offset, "0, or 1 for signed"),
        (alu::MOV, width) if raw.source_is_register() => extending_move(at, wide, width)?,
        _ => return at.field("offset", raw.offset, "0"),
    };
    if raw.source_is_register() {
        at.zero_imm()?;
    } else {
        at.zero_src()?;
    }
    Ok(at.insn(op))
}

fn operation(code: u8, wide: bool, register: bool) -> Op {
    let [k64, x64, k32, x32] = match code {
        0x0 => [Op::Add64K, Op::Add64X, Op::Add32K, Op::Add32X],
        0x1 => [Op::Sub64K, Op::Sub64X, Op::Sub32K, Op::Sub32X],
        0x2 => [Op::Mul64K, Op::Mul64X, Op::Mul32K, Op::Mul32X],
        0x3 => [Op::Div64K, Op::Div64X, Op::Div32K, Op::Div32X],
        0x4 => [Op::Or64K, Op::Or64X, Op::Or32K, Op::Or32X],
        0x5 => [Op::And64K, Op::And64X, Op::And32K, Op::And32X],
        0x6 => [Op::Lsh64K, Op::Lsh64X, Op::Lsh32K, Op::Lsh32X],
        0x7 => [Op::Rsh64K, Op::Rsh64X, Op::Rsh32K, Op::Rsh32X],
        0x9 => [Op::Mod64K, Op::Mod64X, Op::Mod32K, Op::Mod32X],
        0xa => [Op::Xor64K, Op::Xor64X, Op::Xor32K, Op::Xor32X],
        0xb => [Op::Mov64K, Op::Mov64X, Op::Mov32K, Op::Mov32X],
        _ => [Op::Arsh64K, Op::Arsh64X, Op::Arsh32K, Op::Arsh32X],
    };
    match (wide, register) {
        (true, false) => k64,
        (true, true) => x64,
        (false, false) => k32,
        (false, true) => x32,
    }
}

fn signed(code: u8, wide: bool, register: bool) -> Op {
    match (code == alu::DIV, wide, register) {
        (true, true, false) => Op::Sdiv64K,
        (true, true, true) => Op::Sdiv64X,
        (true, false, false) => Op::Sdiv32K,
        (true, false, true) => Op::Sdiv32X,
        (false, true, false) => Op::Smod64K,
        (false, true, true) => Op::Smod64X,
        (false, false, false) => Op::Smod32K,
        (false, false, true) => Op::Smod32X,
    }
}

fn extending_move(at: At, wide: bool, width: i16) -> Result<Op, DecodeError> {
    match (wide, width) {
        (true, 8) => Ok(Op::Movsx8To64),
        (true, 16) => Ok(Op::Movsx16To64),
        (true, 32) => Ok(Op::Movsx32To64),
        (false, 8) => Ok(Op::Movsx8To32),
        (false, 16) => Ok(Op::Movsx16To32),
        (true, _) => at.field("offset", width, "0, or 8, 16 or 32 to extend a sign"),
        (false, _) => at.field("offset", width, "0, or 8 or 16 to extend a sign"),
    }
}

fn negate(at: At, wide: bool) -> Result<Insn, DecodeError> {
    if at.raw.source_is_register() {
        return at.opcode();
    }
    at.zero_src()?;
    at.zero_offset()?;
    at.zero_imm()?;
    Ok(at.insn(if wide { Op::Neg64 } else { Op::Neg32 }))
}

/// In the 32-bit class the source bit says to which order to convert; memory is little-endian, so
/// converting to that only truncates. The 64-bit class always swaps, and leaves the bit zero.
fn swap(at: At, wide: bool) -> Result<Insn, DecodeError> {
    let to_big = at.raw.source_is_register();
    if wide && to_big {
        return at.opcode();
    }
    at.zero_src()?;
    at.zero_offset()?;
    let op = match (at.raw.imm, wide || to_big) {
        (16, true) => Op::Swap16,
        (32, true) => Op::Swap32,
        (64, true) => Op::Swap64,
        (16, false) => Op::Low16,
        (32, false) => Op::Low32,
        (64, false) => Op::Nop,
        (width, _) => return at.field("imm", width, "a width of 16, 32 or 64 bits"),
    };
    Ok(at.insn(op))
}
