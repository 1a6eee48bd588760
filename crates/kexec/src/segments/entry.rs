//! The instructions that enter the kernel.
//!
//! `kexec_load(2)` jumps here with the MMU off, at EL2 or EL1, and x0 = 0; the kernel wants the
//! tree's physical address in x0 and zeros in x1 to x3 (booting.rst, section 4).

/// Machine code at any address: loads both addresses from behind itself and branches.
pub(super) fn code(kernel: u64, tree: u64) -> Vec<u8> {
    /// `ldr x4, #24`: the kernel's address.
    const LDR_X4: u32 = 0x5800_00c4;
    /// `ldr x0, #28`: the tree's address.
    const LDR_X0: u32 = 0x5800_00e0;
    /// `mov x1, xzr` and so on.
    const MOV_X1: u32 = 0xaa1f_03e1;
    const MOV_X2: u32 = 0xaa1f_03e2;
    const MOV_X3: u32 = 0xaa1f_03e3;
    /// `br x4`.
    const BR_X4: u32 = 0xd61f_0080;
    let instructions = [LDR_X4, LDR_X0, MOV_X1, MOV_X2, MOV_X3, BR_X4];
    let mut code: Vec<u8> = instructions
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    code.extend_from_slice(&kernel.to_le_bytes());
    code.extend_from_slice(&tree.to_le_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_stand_where_the_loads_look() {
        let code = code(0x1111, 0x2222);
        let imm19 = |at: usize| {
            let word = u32::from_le_bytes(code[at..at + 4].try_into().unwrap());
            at + 4 * (word >> 5 & 0x7ffff) as usize
        };
        assert_eq!(code[imm19(0)..][..8], 0x1111_u64.to_le_bytes());
        assert_eq!(code[imm19(4)..][..8], 0x2222_u64.to_le_bytes());
    }
}
