//! Where control may go: jumps within their function, calls to instructions, no function without an end.

use crate::error::DecodeError;
use crate::op::{Insn, Op};
use alloc::vec::Vec;

/// An instruction that names a function by its first slot.
#[derive(Clone, Copy)]
pub(super) struct Reference {
    pub(super) at: usize,
    pub(super) target: i64,
}

pub(super) fn check(code: &[Insn], references: &[Reference]) -> Result<(), DecodeError> {
    let mut starts = Vec::with_capacity(references.len() + 1);
    starts.push(0);
    for Reference { at, target } in references {
        starts.push(slot(code, *at, *target)?);
    }
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        function(code, start, end)?;
    }
    Ok(())
}

/// Checks the function in the slots from `start` to before `end`.
fn function(code: &[Insn], start: usize, end: usize) -> Result<(), DecodeError> {
    let body = code.get(start..end).unwrap_or_default();
    for (at, insn) in (start..).zip(body) {
        if !is_jump(insn.op) {
            continue;
        }
        let found = at as i64 + 1 + i64::from(insn.offset);
        let target = slot(code, at, found)?;
        if !(start..end).contains(&target) {
            return Err(DecodeError::Target {
                at,
                found,
                problem: "is in another function",
            });
        }
    }
    match body.last().map(|insn| insn.op) {
        Some(Op::Exit | Op::Jump) => Ok(()),
        _ => Err(DecodeError::Open {
            at: end.saturating_sub(1),
        }),
    }
}

/// The slot of a target, if an instruction starts there.
fn slot(code: &[Insn], at: usize, target: i64) -> Result<usize, DecodeError> {
    let error = |problem| DecodeError::Target {
        at,
        found: target,
        problem,
    };
    let slot = usize::try_from(target).map_err(|_| error("is before the program"))?;
    match code.get(slot).map(|insn| insn.op) {
        None => Err(error("is past the program")),
        Some(Op::Unreachable) => Err(error("is the second slot of a 64-bit immediate")),
        Some(_) => Ok(slot),
    }
}

fn is_jump(op: Op) -> bool {
    (Op::Jump as u8..=Op::Jsle32X as u8).contains(&(op as u8))
}
