//! Just enough BPF to write a dozen instructions by hand (RFC 9669).

/// Bytes of an instruction.
pub(crate) const INSN_SIZE: usize = 8;

/// One instruction slot; a call of a kfunc still has its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) offset: i16,
    pub(crate) imm: i32,
    pub(crate) kfunc: Option<&'static str>,
}

/// Instructions of a program, without wide ones.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) insns: Vec<Insn>,
}

impl Program {
    pub(crate) fn new(insns: impl Into<Vec<Insn>>) -> Self {
        Self {
            insns: insns.into(),
        }
    }
}

impl Insn {
    pub(crate) const fn new(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Self {
        Self {
            code,
            dst,
            src,
            offset,
            imm,
            kfunc: None,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; INSN_SIZE] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.code, self.src << 4 | self.dst, o0, o1, i0, i1, i2, i3]
    }
}

/// `dst = imm`
pub(crate) const fn set(dst: u8, imm: i32) -> Insn {
    Insn::new(0xb7, dst, 0, 0, imm)
}

/// `dst = src`
pub(crate) const fn mov(dst: u8, src: u8) -> Insn {
    Insn::new(0xbf, dst, src, 0, 0)
}

/// `dst += imm`
pub(crate) const fn add(dst: u8, imm: i32) -> Insn {
    Insn::new(0x07, dst, 0, 0, imm)
}

/// `dst >>= imm`
pub(crate) const fn shift_right(dst: u8, imm: i32) -> Insn {
    Insn::new(0x77, dst, 0, 0, imm)
}

/// `dst = *(u32 *)(src + offset)`
pub(crate) const fn load_u32(dst: u8, src: u8, offset: i16) -> Insn {
    Insn::new(0x61, dst, src, offset, 0)
}

/// `dst = *(u64 *)(src + offset)`
pub(crate) const fn load_u64(dst: u8, src: u8, offset: i16) -> Insn {
    Insn::new(0x79, dst, src, offset, 0)
}

/// `*(u32 *)(dst + offset) = src`
pub(crate) const fn store_u32(dst: u8, offset: i16, src: u8) -> Insn {
    Insn::new(0x63, dst, src, offset, 0)
}

/// `*(u64 *)(dst + offset) = src`
pub(crate) const fn store_u64(dst: u8, offset: i16, src: u8) -> Insn {
    Insn::new(0x7b, dst, src, offset, 0)
}

/// Skips `offset` instructions if `dst` is 0.
pub(crate) const fn jump_if_zero(dst: u8, offset: i16) -> Insn {
    Insn::new(0x15, dst, 0, offset, 0)
}

/// Skips `offset` instructions if `dst` is negative.
pub(crate) const fn jump_if_negative(dst: u8, offset: i16) -> Insn {
    Insn::new(0xc5, dst, 0, offset, 0)
}

/// Calls a helper by number.
pub(crate) const fn helper(id: i32) -> Insn {
    Insn::new(0x85, 0, 0, 0, id)
}

/// Calls a kfunc; the loader finds it by name.
pub(crate) const fn call(kfunc: &'static str) -> Insn {
    /// `BPF_PSEUDO_KFUNC_CALL`.
    const KFUNC: u8 = 2;
    let mut insn = Insn::new(0x85, 0, KFUNC, 0, 0);
    insn.kfunc = Some(kfunc);
    insn
}

/// Ends the function.
pub(crate) const fn exit() -> Insn {
    Insn::new(0x95, 0, 0, 0, 0)
}

/// `dst = address of the loader's data + offset`, two slots.
pub(crate) fn data_address(dst: u8, offset: usize) -> [Insn; 2] {
    /// `BPF_PSEUDO_MAP_IDX_VALUE`; index 0 is the loader's map.
    const MAP_IDX_VALUE: u8 = 6;
    let offset = i32::try_from(offset).expect("a twin's data is small");
    [
        Insn::new(0x18, dst, MAP_IDX_VALUE, 0, 0),
        Insn::new(0, 0, 0, 0, offset),
    ]
}
