//! What a run holds besides memory.

use crate::decode::Program;
use crate::error::{Direction, Trap};
use crate::isa::{FRAME_POINTER, atomic};
use crate::machine::{Calls, MAX_ARGUMENTS};
use crate::memory::{MAX_FRAMES, Memory};
use crate::op::{Insn, Op};

pub(super) struct Machine<'a, C> {
    pub(super) program: &'a Program,
    pub(super) registers: Registers,
    pub(super) memory: &'a mut Memory,
    pub(super) calls: &'a mut C,
    pub(super) callers: Callers,
}

/// The registers: as many as a `u8` can name, so that no index needs a check at run time.
pub(super) struct Registers([u64; 256]);

impl Default for Registers {
    fn default() -> Self {
        Self([0; 256])
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "every u8 is an index of 256 registers"
)]
impl Registers {
    #[inline(always)]
    pub(super) fn get(&self, register: u8) -> u64 {
        self.0[usize::from(register)]
    }

    #[inline(always)]
    pub(super) fn set(&mut self, register: u8, value: u64) {
        self.0[usize::from(register)] = value;
    }

    #[inline(always)]
    pub(super) fn arguments(&self) -> [u64; MAX_ARGUMENTS] {
        [
            self.get(1),
            self.get(2),
            self.get(3),
            self.get(4),
            self.get(5),
        ]
    }
}

/// What a return restores.
#[derive(Clone, Copy, Default)]
pub(super) struct Caller {
    /// Slot to go on with.
    next: usize,
    /// Registers 6 to 9, and the frame pointer.
    saved: [u64; 5],
}

/// The functions that wait for a return.
#[derive(Default)]
pub(super) struct Callers {
    stack: [Caller; MAX_FRAMES],
    len: usize,
}

impl<C: Calls> Machine<'_, C> {
    /// Enters a function: a new frame, and registers 6 to 9 kept for the return to slot `next`.
    #[inline(always)]
    pub(super) fn enter(&mut self, next: usize) -> Option<()> {
        let caller = self.callers.stack.get_mut(self.callers.len)?;
        let frame = self.memory.push_frame()?;
        let r = &self.registers;
        *caller = Caller {
            next,
            saved: [r.get(6), r.get(7), r.get(8), r.get(9), r.get(10)],
        };
        self.callers.len += 1;
        self.registers.set(FRAME_POINTER, frame);
        Some(())
    }

    /// Leaves a function; the slot to go on with, or `None` when it was the entry function.
    #[inline(always)]
    pub(super) fn leave(&mut self) -> Option<usize> {
        self.callers.len = self.callers.len.checked_sub(1)?;
        let caller = self.callers.stack.get(self.callers.len)?;
        for (register, value) in (6..).zip(caller.saved) {
            self.registers.set(register, value);
        }
        self.memory.pop_frame();
        Some(caller.next)
    }

    /// Loads what the instruction's source register and displacement point at.
    #[inline(always)]
    pub(super) fn load<const N: usize>(&self, insn: &Insn) -> Option<[u8; N]> {
        self.memory
            .load(displaced(self.registers.get(insn.src), insn))
    }

    /// Stores where the instruction's destination register and displacement point.
    #[inline(always)]
    pub(super) fn store<const N: usize>(&mut self, insn: &Insn, value: [u8; N]) -> Option<()> {
        self.memory
            .store(displaced(self.registers.get(insn.dst), insn), value)
    }

    /// The refused access of a load or store.
    #[cold]
    pub(super) fn fault(&self, at: usize, insn: &Insn) -> Trap<C::Error> {
        let (len, direction) = match insn.op {
            Op::Load8 | Op::LoadS8 => (1, Direction::Read),
            Op::Load16 | Op::LoadS16 => (2, Direction::Read),
            Op::Load32 | Op::LoadS32 => (4, Direction::Read),
            Op::Load64 => (8, Direction::Read),
            Op::Store8K | Op::Store8X => (1, Direction::Write),
            Op::Store16K | Op::Store16X => (2, Direction::Write),
            Op::Store32K | Op::Store32X | Op::Atomic32 => (4, Direction::Write),
            _ => (8, Direction::Write),
        };
        let base = if direction == Direction::Read {
            insn.src
        } else {
            insn.dst
        };
        let address = displaced(self.registers.get(base), insn);
        Trap::Fault {
            at,
            fault: self.memory.fault(address, len, direction),
        }
    }

    /// Control is at no instruction of the window: the budget ended before the program did.
    #[cold]
    pub(super) fn stopped(&self, at: usize) -> Trap<C::Error> {
        if at < self.program.len() {
            Trap::Budget { at }
        } else {
            Trap::Lost { at }
        }
    }

    #[cold]
    pub(super) fn unresolved(&self, at: usize, insn: &Insn) -> Trap<C::Error> {
        match self.program.unresolved.get(insn.imm as usize) {
            Some(reason) => Trap::Unresolved {
                at,
                reason: reason.clone(),
            },
            None => Trap::Lost { at },
        }
    }

    /// An atomic operation on 32 bits. Nothing else runs, so a load and a store do.
    pub(super) fn atomic32(&mut self, insn: &Insn) -> Option<()> {
        let old = u32::from_le_bytes(self.load_dst(insn)?);
        let source = self.registers.get(insn.src) as u32;
        let expected = self.registers.get(0) as u32;
        let new = combine(insn, old.into(), source.into(), expected.into()) as u32;
        self.store(insn, new.to_le_bytes())?;
        self.fetched(insn, old.into());
        Some(())
    }

    /// An atomic operation on 64 bits.
    pub(super) fn atomic64(&mut self, insn: &Insn) -> Option<()> {
        let old = u64::from_le_bytes(self.load_dst(insn)?);
        let new = combine(
            insn,
            old,
            self.registers.get(insn.src),
            self.registers.get(0),
        );
        self.store(insn, new.to_le_bytes())?;
        self.fetched(insn, old);
        Some(())
    }

    fn load_dst<const N: usize>(&self, insn: &Insn) -> Option<[u8; N]> {
        self.memory
            .load(displaced(self.registers.get(insn.dst), insn))
    }

    /// Puts the old value where the operation wants it, if it does.
    fn fetched(&mut self, insn: &Insn, old: u64) {
        let operation = insn.imm as i32;
        if operation == atomic::CMPXCHG {
            self.registers.set(0, old);
        } else if operation & atomic::FETCH != 0 {
            self.registers.set(insn.src, old);
        }
    }
}

#[inline(always)]
fn displaced(base: u64, insn: &Insn) -> u64 {
    base.wrapping_add_signed(i64::from(insn.offset))
}

/// The value that an atomic operation leaves in memory.
fn combine(insn: &Insn, old: u64, source: u64, expected: u64) -> u64 {
    match insn.imm as i32 {
        atomic::CMPXCHG if old == expected => source,
        atomic::CMPXCHG => old,
        atomic::XCHG => source,
        operation => match operation & !atomic::FETCH {
            atomic::OR => old | source,
            atomic::AND => old & source,
            atomic::XOR => old ^ source,
            _ => old.wrapping_add(source),
        },
    }
}
