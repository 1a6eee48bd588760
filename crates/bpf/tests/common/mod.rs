//! A small assembler, and runs of what it makes. Opcodes are those of RFC 9669, section 3.1 to 5.4.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod differential;
pub mod random;
pub mod reference;

use kpeel_bpf::{Access, Budget, DecodeError, Memory, NoCalls, Program, Trap, run};
use std::convert::Infallible;

pub const LD: u8 = 0x00;
pub const LDX: u8 = 0x01;
pub const ST: u8 = 0x02;
pub const STX: u8 = 0x03;
pub const ALU: u8 = 0x04;
pub const JMP: u8 = 0x05;
pub const JMP32: u8 = 0x06;
pub const ALU64: u8 = 0x07;

pub const K: u8 = 0x00;
pub const X: u8 = 0x08;

pub const ADD: u8 = 0x00;
pub const SUB: u8 = 0x10;
pub const MUL: u8 = 0x20;
pub const DIV: u8 = 0x30;
pub const OR: u8 = 0x40;
pub const AND: u8 = 0x50;
pub const LSH: u8 = 0x60;
pub const RSH: u8 = 0x70;
pub const NEG: u8 = 0x80;
pub const MOD: u8 = 0x90;
pub const XOR: u8 = 0xa0;
pub const MOV: u8 = 0xb0;
pub const ARSH: u8 = 0xc0;
pub const END: u8 = 0xd0;

pub const JA: u8 = 0x00;
pub const JEQ: u8 = 0x10;
pub const JGT: u8 = 0x20;
pub const JGE: u8 = 0x30;
pub const JSET: u8 = 0x40;
pub const JNE: u8 = 0x50;
pub const JSGT: u8 = 0x60;
pub const JSGE: u8 = 0x70;
pub const CALL: u8 = 0x80;
pub const EXIT: u8 = 0x90;
pub const JLT: u8 = 0xa0;
pub const JLE: u8 = 0xb0;
pub const JSLT: u8 = 0xc0;
pub const JSLE: u8 = 0xd0;

pub const W: u8 = 0x00;
pub const H: u8 = 0x08;
pub const B: u8 = 0x10;
pub const DW: u8 = 0x18;
pub const MEM: u8 = 0x60;
pub const MEMSX: u8 = 0x80;
pub const ATOMIC: u8 = 0xc0;

/// A program in the making.
#[derive(Clone, Default)]
pub struct Code(pub Vec<u8>);

impl Code {
    pub fn new() -> Self {
        Self::default()
    }

    /// One slot.
    pub fn op(mut self, opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Self {
        self.0.extend([opcode, dst | (src << 4)]);
        self.0.extend(offset.to_le_bytes());
        self.0.extend(imm.to_le_bytes());
        self
    }

    /// A 64-bit immediate, two slots.
    pub fn load(self, dst: u8, value: u64) -> Self {
        self.wide(dst, 0, value as i32, (value >> 32) as i32)
    }

    /// A 64-bit immediate by its fields.
    pub fn wide(self, dst: u8, src: u8, imm: i32, next: i32) -> Self {
        self.op(LD | DW, dst, src, 0, imm).op(0, 0, 0, 0, next)
    }

    pub fn mov(self, dst: u8, imm: i32) -> Self {
        self.op(ALU64 | MOV | K, dst, 0, 0, imm)
    }

    pub fn copy(self, dst: u8, src: u8) -> Self {
        self.op(ALU64 | MOV | X, dst, src, 0, 0)
    }

    pub fn exit(self) -> Self {
        self.op(JMP | EXIT, 0, 0, 0, 0)
    }

    /// Calls the function that starts `distance` slots after the next one.
    pub fn call(self, distance: i32) -> Self {
        self.op(JMP | CALL, 0, 1, 0, distance)
    }

    pub fn helper(self, id: i32) -> Self {
        self.op(JMP | CALL, 0, 0, 0, id)
    }

    pub fn decode(&self) -> Result<Program, DecodeError> {
        Program::decode(&self.0, &mut NoCalls)
    }

    /// Runs the program without arguments.
    pub fn run(&self) -> Result<u64, Trap<Infallible>> {
        self.run_over(&mut Memory::new(), &[])
    }

    /// Runs the program and returns register 0.
    #[track_caller]
    pub fn result(&self) -> u64 {
        self.run().expect("the program runs to its exit")
    }

    /// Runs the program with register 1 at writable memory, and returns register 0 and the memory.
    #[track_caller]
    pub fn result_over(&self, bytes: &[u8]) -> (u64, Vec<u8>) {
        let mut memory = Memory::new();
        let base = memory.map_owned(bytes.to_vec(), Access::ReadWrite).unwrap();
        let r0 = self
            .run_over(&mut memory, &[base])
            .expect("the program runs to its exit");
        (r0, memory.take(base).unwrap())
    }

    pub fn run_over(&self, memory: &mut Memory, args: &[u64]) -> Result<u64, Trap<Infallible>> {
        let program = self.decode().expect("the program is accepted");
        run(
            &program,
            args,
            memory,
            &mut NoCalls,
            &mut Budget::new(1_000_000),
        )
    }
}
