//! A second machine, as plain as can be: one slot after the other, straight from the bytes.
//!
//! It shares nothing with the library but the layout of addresses, which the library documents.

use super::*;
use std::collections::BTreeMap;

/// How a run ended, and at which slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Exit(u64),
    Fault(usize),
    Budget(usize),
    Depth(usize),
    Unresolved(usize),
    Call(usize),
}

/// The random programs' helpers, as far as this machine knows: 0 adds, 1 writes register 2 where register
/// 1 points, 2 fails, all others have no answer.
pub struct Reference<'a> {
    pub code: &'a [u8],
    /// Writable bytes by region id.
    pub regions: BTreeMap<u64, Vec<u8>>,
    pub budget: u64,
    registers: [u64; 11],
    callers: Vec<(usize, [u64; 11])>,
}

impl<'a> Reference<'a> {
    pub fn new(code: &'a [u8], regions: BTreeMap<u64, Vec<u8>>, budget: u64) -> Self {
        Self {
            code,
            regions,
            budget,
            registers: [0; 11],
            callers: Vec::new(),
        }
    }

    pub fn run(&mut self, args: &[u64]) -> Outcome {
        self.registers[1..1 + args.len()].copy_from_slice(args);
        self.frame();
        let mut at = 0;
        loop {
            if self.budget == 0 {
                return Outcome::Budget(at);
            }
            self.budget -= 1;
            match self.step(at) {
                Ok(next) => at = next,
                Err(outcome) => return outcome,
            }
        }
    }

    /// Makes the frame of the present depth.
    fn frame(&mut self) {
        let id = self.callers.len() as u64 + 1;
        self.regions.insert(id, vec![0; 512]);
        self.registers[10] = (id << 32) + 512;
    }

    fn step(&mut self, at: usize) -> Result<usize, Outcome> {
        let slot = &self.code[at * 8..at * 8 + 8];
        let (opcode, dst, src) = (
            slot[0],
            usize::from(slot[1] & 15),
            usize::from(slot[1] >> 4),
        );
        let offset = i16::from_le_bytes([slot[2], slot[3]]);
        let imm = i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]);
        let operand = if opcode & X != 0 {
            self.registers[src]
        } else {
            i64::from(imm) as u64
        };
        let far = |distance: i64| (at as i64 + 1 + distance) as usize;
        match opcode & 7 {
            LD => {
                let high = &self.code[at * 8 + 12..at * 8 + 16];
                let high = u32::from_le_bytes(high.try_into().unwrap());
                self.registers[dst] = (u64::from(high) << 32) | u64::from(imm as u32);
                self.budget = self.budget.saturating_sub(1);
                return Ok(at + 2);
            }
            LDX => {
                let bytes = self.load(self.displaced(src, offset), size(opcode));
                let value = number(bytes.ok_or(Outcome::Fault(at))?);
                let unused = 64 - 8 * size(opcode) as u32;
                self.registers[dst] = match opcode & 0xe0 {
                    MEMSX => ((value << unused) as i64 >> unused) as u64,
                    _ => value,
                };
            }
            ST | STX if opcode & 0xe0 == ATOMIC => {
                self.atomic(opcode, dst, src, offset, imm)
                    .ok_or(Outcome::Fault(at))?;
            }
            ST => {
                let value = i64::from(imm) as u64;
                self.store(self.displaced(dst, offset), size(opcode), value)
                    .ok_or(Outcome::Fault(at))?;
            }
            STX => {
                let value = self.registers[src];
                self.store(self.displaced(dst, offset), size(opcode), value)
                    .ok_or(Outcome::Fault(at))?;
            }
            ALU => self.registers[dst] = alu32(opcode, self.registers[dst], operand, offset, imm),
            ALU64 => self.registers[dst] = alu64(opcode, self.registers[dst], operand, offset, imm),
            _ if opcode & 0xf0 == JA => {
                let short = opcode & 7 == JMP;
                return Ok(far(if short {
                    i64::from(offset)
                } else {
                    i64::from(imm)
                }));
            }
            _ if opcode & 0xf0 == CALL && src == 1 => {
                if self.callers.len() == 7 {
                    return Err(Outcome::Depth(at));
                }
                self.callers.push((at + 1, self.registers));
                self.frame();
                return Ok(far(i64::from(imm)));
            }
            _ if opcode & 0xf0 == CALL => self.helper(at, imm)?,
            _ if opcode & 0xf0 == EXIT => return self.leave(),
            class => {
                let (a, b) = match class {
                    JMP => (self.registers[dst], operand),
                    _ => (
                        u64::from(self.registers[dst] as u32),
                        u64::from(operand as u32),
                    ),
                };
                let signed = |x: u64| {
                    if class == JMP {
                        x as i64
                    } else {
                        i64::from(x as u32 as i32)
                    }
                };
                if holds(opcode, a, b, signed(a), signed(b)) {
                    return Ok(far(i64::from(offset)));
                }
            }
        }
        Ok(at + 1)
    }

    fn leave(&mut self) -> Result<usize, Outcome> {
        let Some((next, saved)) = self.callers.pop() else {
            return Err(Outcome::Exit(self.registers[0]));
        };
        self.regions.remove(&(self.callers.len() as u64 + 2));
        self.registers[6..].copy_from_slice(&saved[6..]);
        Ok(next)
    }

    fn helper(&mut self, at: usize, id: i32) -> Result<(), Outcome> {
        let [_, a, b, ..] = self.registers;
        self.registers[0] = match id {
            0 => a.wrapping_add(b),
            1 => {
                self.store(a, 8, b).ok_or(Outcome::Call(at))?;
                1
            }
            2 => return Err(Outcome::Call(at)),
            _ => return Err(Outcome::Unresolved(at)),
        };
        Ok(())
    }

    fn atomic(&mut self, opcode: u8, dst: usize, src: usize, offset: i16, imm: i32) -> Option<()> {
        let (size, address) = (size(opcode), self.displaced(dst, offset));
        let cut = |value: u64| {
            if size == 4 {
                u64::from(value as u32)
            } else {
                value
            }
        };
        let old = number(self.load(address, size)?);
        let source = self.registers[src];
        let new = match imm & !1 {
            0x00 => old.wrapping_add(source),
            0x40 => old | source,
            0x50 => old & source,
            0xa0 => old ^ source,
            0xe0 => source,
            _ if cut(self.registers[0]) == old => source,
            _ => old,
        };
        self.store(address, size, new)?;
        match imm {
            0xf1 => self.registers[0] = old,
            _ if imm & 1 == 1 => self.registers[src] = old,
            _ => {}
        }
        Some(())
    }

    fn displaced(&self, register: usize, offset: i16) -> u64 {
        self.registers[register].wrapping_add(i64::from(offset) as u64)
    }

    fn load(&self, address: u64, size: usize) -> Option<&[u8]> {
        let start = address as u32 as usize;
        self.regions.get(&(address >> 32))?.get(start..start + size)
    }

    fn store(&mut self, address: u64, size: usize, value: u64) -> Option<()> {
        let start = address as u32 as usize;
        let bytes = self
            .regions
            .get_mut(&(address >> 32))?
            .get_mut(start..start + size)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..size]);
        Some(())
    }
}

fn size(opcode: u8) -> usize {
    match opcode & 0x18 {
        W => 4,
        H => 2,
        B => 1,
        _ => 8,
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

fn holds(opcode: u8, a: u64, b: u64, signed_a: i64, signed_b: i64) -> bool {
    match opcode & 0xf0 {
        JEQ => a == b,
        JNE => a != b,
        JGT => a > b,
        JGE => a >= b,
        JLT => a < b,
        JLE => a <= b,
        JSET => a & b != 0,
        JSGT => signed_a > signed_b,
        JSGE => signed_a >= signed_b,
        JSLT => signed_a < signed_b,
        _ => signed_a <= signed_b,
    }
}

/// Bytes from the lowest, of a width in bits.
fn swapped(value: u64, width: i32) -> u64 {
    (0..width / 8).fold(0, |out, at| (out << 8) | ((value >> (8 * at)) & 0xff))
}

fn cut(value: u64, width: i32) -> u64 {
    if width == 64 {
        value
    } else {
        value & ((1 << width) - 1)
    }
}

fn alu64(opcode: u8, a: u64, b: u64, offset: i16, imm: i32) -> u64 {
    let (signed_a, signed_b) = (i128::from(a as i64), i128::from(b as i64));
    match opcode & 0xf0 {
        ADD => (u128::from(a) + u128::from(b)) as u64,
        SUB => (signed_a - signed_b) as u64,
        MUL => (u128::from(a) * u128::from(b)) as u64,
        DIV if b == 0 => 0,
        DIV if offset == 1 => (signed_a / signed_b) as u64,
        DIV => a / b,
        OR => a | b,
        AND => a & b,
        LSH => a << (b % 64),
        RSH => a >> (b % 64),
        NEG => (-signed_a) as u64,
        MOD if b == 0 => a,
        MOD if offset == 1 => (signed_a % signed_b) as u64,
        MOD => a % b,
        XOR => a ^ b,
        MOV => extended(b, offset),
        ARSH => (a as i64 >> (b % 64)) as u64,
        _ => swapped(a, imm),
    }
}

fn alu32(opcode: u8, a: u64, b: u64, offset: i16, imm: i32) -> u64 {
    let (low_a, low_b) = (u64::from(a as u32), u64::from(b as u32));
    let (signed_a, signed_b) = (i64::from(a as i32), i64::from(b as i32));
    let value = match opcode & 0xf0 {
        ADD => low_a + low_b,
        SUB => (signed_a - signed_b) as u64,
        MUL => low_a * low_b,
        DIV if low_b == 0 => 0,
        DIV if offset == 1 => (signed_a / signed_b) as u64,
        DIV => low_a / low_b,
        OR => low_a | low_b,
        AND => low_a & low_b,
        LSH => low_a << (low_b % 32),
        RSH => low_a >> (low_b % 32),
        NEG => (-signed_a) as u64,
        MOD if low_b == 0 => low_a,
        MOD if offset == 1 => (signed_a % signed_b) as u64,
        MOD => low_a % low_b,
        XOR => low_a ^ low_b,
        MOV => extended(b, offset),
        ARSH => (signed_a >> (low_b % 32)) as u64,
        // Byte order conversions are of this class, but of any width.
        _ if opcode & X != 0 => return swapped(a, imm),
        _ => return cut(a, imm),
    };
    u64::from(value as u32)
}

fn extended(value: u64, width: i16) -> u64 {
    match width {
        8 => i64::from(value as i8) as u64,
        16 => i64::from(value as i16) as u64,
        32 => i64::from(value as i32) as u64,
        _ => value,
    }
}
