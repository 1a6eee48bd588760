//! Emits the loader's instructions.

use crate::Error;
use crate::insn::{CALL, EXIT, Insn, JA, LD_IMM64, PSEUDO_MAP_IDX_VALUE, to_bytes};

/// A register number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reg(pub(crate) u8);

/// Result and scratch.
pub(crate) const R0: Reg = Reg(0);
/// Arguments; lost in calls.
pub(crate) const R1: Reg = Reg(1);
/// See [`R1`].
pub(crate) const R2: Reg = Reg(2);
/// See [`R1`].
pub(crate) const R3: Reg = Reg(3);
/// See [`R1`].
pub(crate) const R4: Reg = Reg(4);
/// See [`R1`].
pub(crate) const R5: Reg = Reg(5);
/// Kept over calls.
pub(crate) const R6: Reg = Reg(6);
/// See [`R6`].
pub(crate) const R7: Reg = Reg(7);
/// See [`R6`].
pub(crate) const R8: Reg = Reg(8);
/// See [`R6`].
pub(crate) const R9: Reg = Reg(9);

const ALU64_ADD_IMM: u8 = 0x07;
const ALU64_ADD_REG: u8 = 0x0f;
const ALU64_RSH_IMM: u8 = 0x77;
const ALU64_MOV_IMM: u8 = 0xb7;
const ALU64_MOV_REG: u8 = 0xbf;
const JMP_JEQ_IMM: u8 = 0x15;
const JMP_JNE_IMM: u8 = 0x55;
const JMP_JSLT_IMM: u8 = 0xc5;
const JMP32_JSLT_IMM: u8 = 0xc6;
const ST_IMM_H: u8 = 0x6a;

/// Width of a memory access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Width {
    /// 4 bytes.
    W,
    /// 8 bytes.
    Dw,
}

impl Width {
    fn load(self) -> u8 {
        match self {
            Self::W => 0x61,
            Self::Dw => 0x79,
        }
    }

    fn store(self) -> u8 {
        match self {
            Self::W => 0x63,
            Self::Dw => 0x7b,
        }
    }
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    Always,
    Zero(Reg),
    Negative(Reg),
    /// The lower 32 bits, as a signed number.
    Negative32(Reg),
    Differs(Reg, i32),
}

/// A place jumps go to; known when [`Asm::land`] is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Label(usize);

/// Instructions so far.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    insns: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Asm {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label means the next instruction.
    pub(crate) fn land(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.insns.len());
        }
    }

    pub(crate) fn jump(&mut self, when: When, label: Label) {
        let (code, dst, imm) = match when {
            When::Always => (JA, R0, 0),
            When::Zero(reg) => (JMP_JEQ_IMM, reg, 0),
            When::Negative(reg) => (JMP_JSLT_IMM, reg, 0),
            When::Negative32(reg) => (JMP32_JSLT_IMM, reg, 0),
            When::Differs(reg, imm) => (JMP_JNE_IMM, reg, imm),
        };
        self.jumps.push((self.insns.len(), label));
        self.push(code, dst, R0, 0, imm);
    }

    pub(crate) fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(ALU64_MOV_REG, dst, src, 0, 0);
    }

    pub(crate) fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.push(ALU64_MOV_IMM, dst, R0, 0, imm);
    }

    pub(crate) fn add(&mut self, dst: Reg, src: Reg) {
        self.push(ALU64_ADD_REG, dst, src, 0, 0);
    }

    pub(crate) fn add_imm(&mut self, dst: Reg, imm: i32) {
        self.push(ALU64_ADD_IMM, dst, R0, 0, imm);
    }

    pub(crate) fn shift_right(&mut self, dst: Reg, bits: i32) {
        self.push(ALU64_RSH_IMM, dst, R0, 0, bits);
    }

    pub(crate) fn load(&mut self, width: Width, dst: Reg, src: Reg, off: i16) {
        self.push(width.load(), dst, src, off, 0);
    }

    pub(crate) fn store(&mut self, width: Width, dst: Reg, off: i16, src: Reg) {
        self.push(width.store(), dst, src, off, 0);
    }

    /// Stores a constant of 2 bytes.
    pub(crate) fn store_half(&mut self, dst: Reg, off: i16, imm: u16) {
        self.push(ST_IMM_H, dst, R0, off, imm.into());
    }

    /// The address of the first byte of the map at `index` of the fd array.
    pub(crate) fn map_value(&mut self, dst: Reg, index: i32) {
        self.push(LD_IMM64, dst, Reg(PSEUDO_MAP_IDX_VALUE), 0, index);
        self.push(0, R0, R0, 0, 0);
    }

    pub(crate) fn call(&mut self, helper: kpeel_abi::Helper) {
        self.push(CALL, R0, R0, 0, helper as i32);
    }

    pub(crate) fn exit(&mut self) {
        self.push(EXIT, R0, R0, 0, 0);
    }

    /// The program's bytes, jumps resolved.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        for (at, label) in &self.jumps {
            let distance = self.labels.get(label.0).copied().flatten().and_then(|to| {
                let next = i64::try_from(*at).ok()?.checked_add(1)?;
                i16::try_from(i64::try_from(to).ok()?.checked_sub(next)?).ok()
            });
            let (Some(distance), Some(insn)) = (distance, self.insns.get_mut(*at)) else {
                return Err(Error::unsupported(
                    "kfunc calls",
                    "more than a loader can patch",
                    "a loader with jumps of 16 bits",
                ));
            };
            insn.off = distance;
        }
        Ok(to_bytes(&self.insns))
    }

    fn push(&mut self, code: u8, dst: Reg, src: Reg, off: i16, imm: i32) {
        self.insns.push(Insn {
            code,
            dst: dst.0,
            src: src.0,
            off,
            imm,
        });
    }
}
