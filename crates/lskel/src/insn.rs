//! BPF instructions (RFC 9669), as far as the linker reads and the loader uses them.

/// Bytes of one instruction slot; `ld_imm64` takes two slots.
pub(crate) const INSN_SIZE: usize = 8;

/// `ld_imm64`: class LD, size DW, mode IMM.
pub(crate) const LD_IMM64: u8 = 0x18;
/// `call`.
pub(crate) const CALL: u8 = 0x85;
/// `exit`.
pub(crate) const EXIT: u8 = 0x95;
/// `ja +off`.
pub(crate) const JA: u8 = 0x05;
/// `ja +imm` (class JMP32).
pub(crate) const JA32: u8 = 0x06;

/// Class of an opcode: its lowest three bits.
pub(crate) const CLASS_MASK: u8 = 0x07;
/// Class of 64-bit jumps, calls and exit.
pub(crate) const CLASS_JMP: u8 = 0x05;
/// Class of 32-bit jumps.
pub(crate) const CLASS_JMP32: u8 = 0x06;

/// `src` of a call of another function of the program (`BPF_PSEUDO_CALL`).
pub(crate) const PSEUDO_CALL: u8 = 1;
/// `src` of a kfunc call (`BPF_PSEUDO_KFUNC_CALL`).
pub(crate) const PSEUDO_KFUNC_CALL: u8 = 2;
/// `src` of an `ld_imm64` of an address in a map named by fd array index
/// (`BPF_PSEUDO_MAP_IDX_VALUE`).
pub(crate) const PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// One instruction slot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) off: i16,
    pub(crate) imm: i32,
}

impl Insn {
    pub(crate) fn from_bytes(bytes: [u8; INSN_SIZE]) -> Self {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        Self {
            code,
            dst: regs & 0x0f,
            src: regs >> 4,
            off: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; INSN_SIZE] {
        let [o0, o1] = self.off.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        let regs = (self.src << 4) | (self.dst & 0x0f);
        [self.code, regs, o0, o1, i0, i1, i2, i3]
    }

    /// How far from the next slot a jump lands, `None` for anything else.
    pub(crate) fn jump_distance(self) -> Option<i64> {
        match (self.code, self.code & CLASS_MASK) {
            (CALL | EXIT, _) => None,
            (JA32, _) => Some(i64::from(self.imm)),
            (_, CLASS_JMP | CLASS_JMP32) => Some(i64::from(self.off)),
            _ => None,
        }
    }

    /// Whether control never goes on to the next slot.
    pub(crate) fn ends_function(self) -> bool {
        matches!(self.code, EXIT | JA | JA32)
    }
}

/// The bytes of a sequence of instructions.
pub(crate) fn to_bytes(insns: &[Insn]) -> Vec<u8> {
    insns.iter().flat_map(|insn| insn.to_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let bytes = [0x85, 0x2a, 0x34, 0x12, 0xfe, 0xff, 0xff, 0xff];
        let insn = Insn::from_bytes(bytes);
        assert_eq!(
            (insn.dst, insn.src, insn.off, insn.imm),
            (10, 2, 0x1234, -2)
        );
        assert_eq!(insn.to_bytes(), bytes);
    }

    #[test]
    fn long_jump_takes_its_distance_from_the_immediate() {
        let long = Insn {
            code: JA32,
            off: 1,
            imm: 70_000,
            ..Insn::default()
        };
        assert_eq!(long.jump_distance(), Some(70_000));
        let short = Insn { code: JA, ..long };
        assert_eq!(short.jump_distance(), Some(1));
        let call = Insn { code: CALL, ..long };
        assert_eq!(call.jump_distance(), None);
    }
}
