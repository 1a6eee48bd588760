//! The dense form that the machine executes: one 16-byte instruction per slot.

/// An instruction with its fields where the machine wants them.
///
/// Slots keep their places, so that jump targets and reported positions need no translation: the second
/// slot of a 64-bit immediate is a [`Op::Unreachable`] that is stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) op: Op,
    /// At most 10, checked when decoded.
    pub(crate) dst: u8,
    /// At most 10, checked when decoded.
    pub(crate) src: u8,
    /// Displacement of a load or store, distance of a jump from the next slot.
    pub(crate) offset: i32,
    /// The immediate, extended to 64 bits; for calls an id, token, distance or table index.
    pub(crate) imm: u64,
}

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an instruction does. `K` takes the immediate, `X` the source register.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Op { $($(#[$doc])* $name,)* }
    };
}

ops! {
    Add64K, Add64X, Sub64K, Sub64X, Mul64K, Mul64X, Div64K, Div64X, Or64K, Or64X, And64K, And64X,
    Lsh64K, Lsh64X, Rsh64K, Rsh64X, Mod64K, Mod64X, Xor64K, Xor64X, Mov64K, Mov64X, Arsh64K, Arsh64X,
    Sdiv64K, Sdiv64X, Smod64K, Smod64X, Neg64,
    Add32K, Add32X, Sub32K, Sub32X, Mul32K, Mul32X, Div32K, Div32X, Or32K, Or32X, And32K, And32X,
    Lsh32K, Lsh32X, Rsh32K, Rsh32X, Mod32K, Mod32X, Xor32K, Xor32X, Mov32K, Mov32X, Arsh32K, Arsh32X,
    Sdiv32K, Sdiv32X, Smod32K, Smod32X, Neg32,
    Movsx8To64, Movsx16To64, Movsx32To64, Movsx8To32, Movsx16To32,
    /// Little-endian truncation to 16 or 32 bits; to 64 it is nothing.
    Low16, Low32, Nop, Swap16, Swap32, Swap64,
    Load8, Load16, Load32, Load64, LoadS8, LoadS16, LoadS32,
    Store8K, Store16K, Store32K, Store64K, Store8X, Store16X, Store32X, Store64X,
    /// The operation is in the immediate.
    Atomic32, Atomic64,
    LoadImm64,
    Jump,
    Jeq64K, Jeq64X, Jne64K, Jne64X, Jgt64K, Jgt64X, Jge64K, Jge64X, Jlt64K, Jlt64X, Jle64K, Jle64X,
    Jset64K, Jset64X, Jsgt64K, Jsgt64X, Jsge64K, Jsge64X, Jslt64K, Jslt64X, Jsle64K, Jsle64X,
    Jeq32K, Jeq32X, Jne32K, Jne32X, Jgt32K, Jgt32X, Jge32K, Jge32X, Jlt32K, Jlt32X, Jle32K, Jle32X,
    Jset32K, Jset32X, Jsgt32K, Jsgt32X, Jsge32K, Jsge32X, Jslt32K, Jslt32X, Jsle32K, Jsle32X,
    CallHelper, CallKfunc, CallLocal, Exit,
    /// A call without an answer; the immediate indexes the program's reasons.
    CallUnresolved,
    /// Second slot of a 64-bit immediate.
    Unreachable,
}
