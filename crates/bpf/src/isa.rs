//! Instruction encoding: field values and their sections of RFC 9669.

/// Bytes of an instruction slot (section 3).
pub(crate) const SLOT: usize = 8;

/// Instruction classes, the low three bits of an opcode (section 3.1).
pub(crate) mod class {
    pub(crate) const MASK: u8 = 0x07;
    pub(crate) const LD: u8 = 0x00;
    pub(crate) const LDX: u8 = 0x01;
    pub(crate) const ST: u8 = 0x02;
    pub(crate) const STX: u8 = 0x03;
    pub(crate) const ALU: u8 = 0x04;
    pub(crate) const JMP: u8 = 0x05;
    pub(crate) const JMP32: u8 = 0x06;
    pub(crate) const ALU64: u8 = 0x07;
}

/// Opcode bit: the source operand is a register (section 4).
pub(crate) const SOURCE_REGISTER: u8 = 0x08;

/// Sizes and modes of load and store opcodes (section 5).
pub(crate) mod mem {
    pub(crate) const SIZE_MASK: u8 = 0x18;
    pub(crate) const WORD: u8 = 0x00;
    pub(crate) const HALF: u8 = 0x08;
    pub(crate) const BYTE: u8 = 0x10;
    pub(crate) const DOUBLE: u8 = 0x18;
    pub(crate) const MODE_MASK: u8 = 0xe0;
    pub(crate) const IMM: u8 = 0x00;
    pub(crate) const ABS: u8 = 0x20;
    pub(crate) const IND: u8 = 0x40;
    pub(crate) const MEM: u8 = 0x60;
    pub(crate) const MEMSX: u8 = 0x80;
    pub(crate) const ATOMIC: u8 = 0xc0;
}

/// Atomic operations, in the immediate (section 5.3).
pub(crate) mod atomic {
    pub(crate) const FETCH: i32 = 0x01;
    pub(crate) const ADD: i32 = 0x00;
    pub(crate) const OR: i32 = 0x40;
    pub(crate) const AND: i32 = 0x50;
    pub(crate) const XOR: i32 = 0xa0;
    pub(crate) const XCHG: i32 = 0xe0 | FETCH;
    pub(crate) const CMPXCHG: i32 = 0xf0 | FETCH;
}

/// Arithmetic codes, the high four bits of an opcode (section 4.1).
pub(crate) mod alu {
    pub(crate) const DIV: u8 = 0x3;
    pub(crate) const NEG: u8 = 0x8;
    pub(crate) const MOD: u8 = 0x9;
    pub(crate) const MOV: u8 = 0xb;
    pub(crate) const END: u8 = 0xd;
}

/// Jump codes, the high four bits of an opcode (section 4.3).
pub(crate) mod jump {
    pub(crate) const JA: u8 = 0x0;
    pub(crate) const CALL: u8 = 0x8;
    pub(crate) const EXIT: u8 = 0x9;
}

/// What a call's source register says of its immediate (section 4.3.1).
pub(crate) mod call {
    pub(crate) const HELPER: u8 = 0;
    pub(crate) const LOCAL: u8 = 1;
    pub(crate) const KFUNC: u8 = 2;
}

/// Opcode of the 64-bit immediate load, which takes two slots (section 5.4).
pub(crate) const LD_IMM64: u8 = class::LD | mem::IMM | mem::DOUBLE;
/// The read-only frame pointer, and the highest register.
pub(crate) const FRAME_POINTER: u8 = 10;

/// One slot as it is stored, little-endian (section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) opcode: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) offset: i16,
    pub(crate) imm: i32,
}

impl Raw {
    pub(crate) fn parse(slot: [u8; SLOT]) -> Self {
        let [opcode, registers, o0, o1, i0, i1, i2, i3] = slot;
        Self {
            opcode,
            dst: registers & 0xf,
            src: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    pub(crate) fn class(self) -> u8 {
        self.opcode & class::MASK
    }

    /// The high four bits: what the opcode does within an arithmetic or jump class.
    pub(crate) fn code(self) -> u8 {
        self.opcode >> 4
    }

    pub(crate) fn source_is_register(self) -> bool {
        self.opcode & SOURCE_REGISTER != 0
    }
}
