//! Execution.

mod alu;
mod execute;
mod state;

use crate::decode::{Program, Pseudo, Resolver};
use crate::error::{Trap, Unresolved};
use crate::isa::FRAME_POINTER;
use crate::memory::{MAX_FRAMES, Memory};
use core::convert::Infallible;
use state::{Callers, Machine, Registers};

/// Arguments that an entry function, helper or kfunc takes: registers 1 to 5.
pub const MAX_ARGUMENTS: usize = 5;

/// Instructions that may still be executed. A 64-bit immediate counts as two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// A budget of `instructions`.
    pub fn new(instructions: u64) -> Self {
        Self { left: instructions }
    }

    /// Instructions left; runs take theirs off when they end, however they end.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// Does what a running program calls for.
///
/// Only helpers and kfuncs that the [`Resolver`] admitted for this program are asked for. The answer
/// becomes register 0; an error ends the run.
pub trait Calls {
    /// Why a call ends the run.
    type Error;

    /// Calls helper `id` with registers 1 to 5.
    fn helper(
        &mut self,
        memory: &mut Memory,
        id: u32,
        args: [u64; MAX_ARGUMENTS],
    ) -> Result<u64, Self::Error>;

    /// Calls the kfunc of `token` with registers 1 to 5.
    fn kfunc(
        &mut self,
        memory: &mut Memory,
        token: u32,
        args: [u64; MAX_ARGUMENTS],
    ) -> Result<u64, Self::Error>;
}

/// Neither names nor calls: for programs that only compute.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCalls;

impl Resolver for NoCalls {
    fn immediate(&mut self, _: usize, _: Pseudo, _: i32, _: i32) -> Result<u64, Unresolved> {
        Err("64-bit immediate: there are no maps and no kernel objects".into())
    }

    fn helper(&mut self, _: usize, _: u32) -> Result<(), Unresolved> {
        Err("call: there are no helpers".into())
    }

    fn kfunc(&mut self, _: usize, _: i32, _: i16) -> Result<u32, Unresolved> {
        Err("call: there are no kfuncs".into())
    }
}

impl Calls for NoCalls {
    type Error = Infallible;

    fn helper(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Infallible> {
        Ok(0)
    }
}

/// Runs a program from its first instruction to its exit, and returns register 0.
///
/// `args` become registers 1 and up; all other registers are zero, and register 10 is the end of a
/// zeroed frame. Calls into `calls` happen in program order. Whatever way the run ends, its frames are
/// gone and its instructions are taken off the budget.
///
/// # Errors
///
/// The instruction that could not be executed, and why.
pub fn run<C: Calls>(
    program: &Program,
    args: &[u64],
    memory: &mut Memory,
    calls: &mut C,
    budget: &mut Budget,
) -> Result<u64, Trap<C::Error>> {
    if args.len() > MAX_ARGUMENTS {
        return Err(Trap::Arguments {
            found: args.len(),
            allowed: MAX_ARGUMENTS,
        });
    }
    let outer = memory.depth();
    let Some(frame) = memory.push_frame() else {
        return Err(Trap::Depth {
            at: 0,
            allowed: MAX_FRAMES,
        });
    };
    let mut registers = Registers::default();
    for (register, value) in (1..).zip(args) {
        registers.set(register, *value);
    }
    registers.set(FRAME_POINTER, frame);
    let mut machine = Machine {
        program,
        registers,
        memory,
        calls,
        callers: Callers::default(),
    };
    let result = machine.execute(budget);
    while machine.memory.depth() > outer {
        machine.memory.pop_frame();
    }
    result
}
