//! The loop.

use super::state::Machine;
use super::{Budget, Calls, alu};
use crate::error::Trap;
use crate::memory::MAX_FRAMES;
use crate::op::{Insn, Op};
use core::ops::{BitAnd, BitOr, BitXor};

/// Instructions that one run may take off a budget: sums with slot numbers do not overflow.
const MOST: usize = usize::MAX >> 2;

impl<C: Calls> Machine<'_, C> {
    /// Executes until an exit or a trap, and takes what was executed off the budget.
    pub(super) fn execute(&mut self, budget: &mut Budget) -> Result<u64, Trap<C::Error>> {
        let granted = usize::try_from(budget.left).unwrap_or(MOST).min(MOST);
        let (result, left) = self.run(granted);
        budget.left = budget
            .left
            .saturating_sub(granted.saturating_sub(left) as u64);
        result
    }

    /// One `match` is the whole machine, so that the compiler makes one jump table of it.
    ///
    /// `limit` is the slot that straight execution must not reach: `limit - pc` is what is left of the
    /// budget. A jump moves both, so that counting costs nothing between jumps. `window` is the code up
    /// to `limit`: one check per instruction is both the end of the code and the end of the budget.
    #[inline(always)]
    fn run(&mut self, granted: usize) -> (Result<u64, Trap<C::Error>>, usize) {
        let code = self.program.code.as_slice();
        let mut pc = 0_usize;
        let mut limit = granted;
        let mut window = clip(code, limit);
        let result = loop {
            let Some(insn) = window.get(pc) else {
                break Err(self.stopped(pc));
            };
            pc = pc.wrapping_add(1);
            macro_rules! dst {
                () => {
                    self.registers.get(insn.dst)
                };
            }
            macro_rules! src {
                () => {
                    self.registers.get(insn.src)
                };
            }
            macro_rules! operand {
                (K) => {
                    insn.imm
                };
                (X) => {
                    src!()
                };
            }
            macro_rules! set {
                ($value:expr) => {{
                    let value = $value;
                    self.registers.set(insn.dst, u64::from(value))
                }};
            }
            macro_rules! alu64 {
                ($operand:tt, $f:path) => {
                    set!($f(dst!(), operand!($operand)))
                };
            }
            macro_rules! alu32 {
                ($operand:tt, $f:path) => {
                    set!($f(dst!() as u32, operand!($operand) as u32))
                };
            }
            macro_rules! jump {
                ($distance:expr) => {{
                    let distance = $distance;
                    pc = pc.wrapping_add_signed(distance);
                    limit = limit.wrapping_add_signed(distance);
                    window = clip(code, limit);
                }};
            }
            macro_rules! branch {
                ($operand:tt, $type:ty, |$a:ident, $b:ident| $condition:expr) => {{
                    let $a = dst!() as $type;
                    let $b = operand!($operand) as $type;
                    if $condition {
                        jump!(insn.offset as isize);
                    }
                }};
            }
            macro_rules! load {
                ($from:ty, $to:ty) => {
                    match self.load(insn) {
                        // Through the loaded type and the one to extend to, which carries the sign.
                        Some(bytes) => set!(<$from>::from_le_bytes(bytes) as $to as u64),
                        None => break Err(self.fault(pc.wrapping_sub(1), insn)),
                    }
                };
            }
            macro_rules! store {
                ($type:ty, $value:expr) => {{
                    let value = $value as $type;
                    if self.store(insn, value.to_le_bytes()).is_none() {
                        break Err(self.fault(pc.wrapping_sub(1), insn));
                    }
                }};
            }
            macro_rules! call {
                ($function:ident) => {{
                    let arguments = self.registers.arguments();
                    match self
                        .calls
                        .$function(self.memory, insn.imm as u32, arguments)
                    {
                        Ok(value) => self.registers.set(0, value),
                        Err(error) => {
                            break Err(Trap::Call {
                                at: pc.wrapping_sub(1),
                                error,
                            });
                        }
                    }
                }};
            }
            match insn.op {
                Op::Add64K => alu64!(K, u64::wrapping_add),
                Op::Add64X => alu64!(X, u64::wrapping_add),
                Op::Sub64K => alu64!(K, u64::wrapping_sub),
                Op::Sub64X => alu64!(X, u64::wrapping_sub),
                Op::Mul64K => alu64!(K, u64::wrapping_mul),
                Op::Mul64X => alu64!(X, u64::wrapping_mul),
                Op::Div64K => alu64!(K, alu::div64),
                Op::Div64X => alu64!(X, alu::div64),
                Op::Or64K => alu64!(K, u64::bitor),
                Op::Or64X => alu64!(X, u64::bitor),
                Op::And64K => alu64!(K, u64::bitand),
                Op::And64X => alu64!(X, u64::bitand),
                Op::Lsh64K => alu64!(K, alu::lsh64),
                Op::Lsh64X => alu64!(X, alu::lsh64),
                Op::Rsh64K => alu64!(K, alu::rsh64),
                Op::Rsh64X => alu64!(X, alu::rsh64),
                Op::Mod64K => alu64!(K, alu::mod64),
                Op::Mod64X => alu64!(X, alu::mod64),
                Op::Xor64K => alu64!(K, u64::bitxor),
                Op::Xor64X => alu64!(X, u64::bitxor),
                Op::Arsh64K => alu64!(K, alu::arsh64),
                Op::Arsh64X => alu64!(X, alu::arsh64),
                Op::Sdiv64K => alu64!(K, alu::sdiv64),
                Op::Sdiv64X => alu64!(X, alu::sdiv64),
                Op::Smod64K => alu64!(K, alu::smod64),
                Op::Smod64X => alu64!(X, alu::smod64),
                Op::Mov64K => set!(insn.imm),
                Op::Mov64X => set!(src!()),
                Op::Neg64 => set!(dst!().wrapping_neg()),
                Op::Add32K => alu32!(K, u32::wrapping_add),
                Op::Add32X => alu32!(X, u32::wrapping_add),
                Op::Sub32K => alu32!(K, u32::wrapping_sub),
                Op::Sub32X => alu32!(X, u32::wrapping_sub),
                Op::Mul32K => alu32!(K, u32::wrapping_mul),
                Op::Mul32X => alu32!(X, u32::wrapping_mul),
                Op::Div32K => alu32!(K, alu::div32),
                Op::Div32X => alu32!(X, alu::div32),
                Op::Or32K => alu32!(K, u32::bitor),
                Op::Or32X => alu32!(X, u32::bitor),
                Op::And32K => alu32!(K, u32::bitand),
                Op::And32X => alu32!(X, u32::bitand),
                Op::Lsh32K => alu32!(K, alu::lsh32),
                Op::Lsh32X => alu32!(X, alu::lsh32),
                Op::Rsh32K => alu32!(K, alu::rsh32),
                Op::Rsh32X => alu32!(X, alu::rsh32),
                Op::Mod32K => alu32!(K, alu::mod32),
                Op::Mod32X => alu32!(X, alu::mod32),
                Op::Xor32K => alu32!(K, u32::bitxor),
                Op::Xor32X => alu32!(X, u32::bitxor),
                Op::Arsh32K => alu32!(K, alu::arsh32),
                Op::Arsh32X => alu32!(X, alu::arsh32),
                Op::Sdiv32K => alu32!(K, alu::sdiv32),
                Op::Sdiv32X => alu32!(X, alu::sdiv32),
                Op::Smod32K => alu32!(K, alu::smod32),
                Op::Smod32X => alu32!(X, alu::smod32),
                Op::Mov32K => set!(insn.imm as u32),
                Op::Mov32X => set!(src!() as u32),
                Op::Neg32 => set!((dst!() as u32).wrapping_neg()),
                Op::Movsx8To64 => set!(src!() as i8 as i64 as u64),
                Op::Movsx16To64 => set!(src!() as i16 as i64 as u64),
                Op::Movsx32To64 => set!(src!() as i32 as i64 as u64),
                Op::Movsx8To32 => set!(src!() as i8 as u32),
                Op::Movsx16To32 => set!(src!() as i16 as u32),
                Op::Low16 => set!(dst!() as u16),
                Op::Low32 => set!(dst!() as u32),
                Op::Nop => {}
                Op::Swap16 => set!((dst!() as u16).swap_bytes()),
                Op::Swap32 => set!((dst!() as u32).swap_bytes()),
                Op::Swap64 => set!(dst!().swap_bytes()),
                Op::Load8 => load!(u8, u64),
                Op::Load16 => load!(u16, u64),
                Op::Load32 => load!(u32, u64),
                Op::Load64 => load!(u64, u64),
                Op::LoadS8 => load!(i8, i64),
                Op::LoadS16 => load!(i16, i64),
                Op::LoadS32 => load!(i32, i64),
                Op::Store8K => store!(u8, insn.imm),
                Op::Store16K => store!(u16, insn.imm),
                Op::Store32K => store!(u32, insn.imm),
                Op::Store64K => store!(u64, insn.imm),
                Op::Store8X => store!(u8, src!()),
                Op::Store16X => store!(u16, src!()),
                Op::Store32X => store!(u32, src!()),
                Op::Store64X => store!(u64, src!()),
                Op::Atomic32 => {
                    if self.atomic32(insn).is_none() {
                        break Err(self.fault(pc.wrapping_sub(1), insn));
                    }
                }
                Op::Atomic64 => {
                    if self.atomic64(insn).is_none() {
                        break Err(self.fault(pc.wrapping_sub(1), insn));
                    }
                }
                Op::LoadImm64 => {
                    set!(insn.imm);
                    pc = pc.wrapping_add(1);
                }
                Op::Jump => jump!(insn.offset as isize),
                Op::Jeq64K => branch!(K, u64, |a, b| a == b),
                Op::Jeq64X => branch!(X, u64, |a, b| a == b),
                Op::Jne64K => branch!(K, u64, |a, b| a != b),
                Op::Jne64X => branch!(X, u64, |a, b| a != b),
                Op::Jgt64K => branch!(K, u64, |a, b| a > b),
                Op::Jgt64X => branch!(X, u64, |a, b| a > b),
                Op::Jge64K => branch!(K, u64, |a, b| a >= b),
                Op::Jge64X => branch!(X, u64, |a, b| a >= b),
                Op::Jlt64K => branch!(K, u64, |a, b| a < b),
                Op::Jlt64X => branch!(X, u64, |a, b| a < b),
                Op::Jle64K => branch!(K, u64, |a, b| a <= b),
                Op::Jle64X => branch!(X, u64, |a, b| a <= b),
                Op::Jset64K => branch!(K, u64, |a, b| a & b != 0),
                Op::Jset64X => branch!(X, u64, |a, b| a & b != 0),
                Op::Jsgt64K => branch!(K, i64, |a, b| a > b),
                Op::Jsgt64X => branch!(X, i64, |a, b| a > b),
                Op::Jsge64K => branch!(K, i64, |a, b| a >= b),
                Op::Jsge64X => branch!(X, i64, |a, b| a >= b),
                Op::Jslt64K => branch!(K, i64, |a, b| a < b),
                Op::Jslt64X => branch!(X, i64, |a, b| a < b),
                Op::Jsle64K => branch!(K, i64, |a, b| a <= b),
                Op::Jsle64X => branch!(X, i64, |a, b| a <= b),
                Op::Jeq32K => branch!(K, u32, |a, b| a == b),
                Op::Jeq32X => branch!(X, u32, |a, b| a == b),
                Op::Jne32K => branch!(K, u32, |a, b| a != b),
                Op::Jne32X => branch!(X, u32, |a, b| a != b),
                Op::Jgt32K => branch!(K, u32, |a, b| a > b),
                Op::Jgt32X => branch!(X, u32, |a, b| a > b),
                Op::Jge32K => branch!(K, u32, |a, b| a >= b),
                Op::Jge32X => branch!(X, u32, |a, b| a >= b),
                Op::Jlt32K => branch!(K, u32, |a, b| a < b),
                Op::Jlt32X => branch!(X, u32, |a, b| a < b),
                Op::Jle32K => branch!(K, u32, |a, b| a <= b),
                Op::Jle32X => branch!(X, u32, |a, b| a <= b),
                Op::Jset32K => branch!(K, u32, |a, b| a & b != 0),
                Op::Jset32X => branch!(X, u32, |a, b| a & b != 0),
                Op::Jsgt32K => branch!(K, i32, |a, b| a > b),
                Op::Jsgt32X => branch!(X, i32, |a, b| a > b),
                Op::Jsge32K => branch!(K, i32, |a, b| a >= b),
                Op::Jsge32X => branch!(X, i32, |a, b| a >= b),
                Op::Jslt32K => branch!(K, i32, |a, b| a < b),
                Op::Jslt32X => branch!(X, i32, |a, b| a < b),
                Op::Jsle32K => branch!(K, i32, |a, b| a <= b),
                Op::Jsle32X => branch!(X, i32, |a, b| a <= b),
                Op::CallHelper => call!(helper),
                Op::CallKfunc => call!(kfunc),
                Op::CallLocal => match self.enter(pc) {
                    Some(()) => jump!(insn.offset as isize),
                    None => {
                        let at = pc.wrapping_sub(1);
                        break Err(Trap::Depth {
                            at,
                            allowed: MAX_FRAMES,
                        });
                    }
                },
                Op::Exit => match self.leave() {
                    Some(next) => jump!(next.wrapping_sub(pc) as isize),
                    None => break Ok(self.registers.get(0)),
                },
                Op::CallUnresolved => break Err(self.unresolved(pc.wrapping_sub(1), insn)),
                Op::Unreachable => {
                    break Err(Trap::Lost {
                        at: pc.wrapping_sub(1),
                    });
                }
            }
        };
        (result, limit.saturating_sub(pc))
    }
}

/// The code that may be executed before the budget ends.
#[inline(always)]
fn clip(code: &[Insn], limit: usize) -> &[Insn] {
    code.get(..limit.min(code.len())).unwrap_or_default()
}
