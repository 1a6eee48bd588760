//! Small contents, the same at every run.

use super::Machine;

/// `len` bytes that do not compress, always the same for one `seed`.
#[must_use]
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    // xorshift64*: any generator would do, but its state must not be zero.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `len` bytes of text that compresses well.
#[must_use]
pub fn text(len: usize) -> Vec<u8> {
    let lines = (0_u64..)
        .flat_map(|line| format!("line {line} of a text that repeats itself\n").into_bytes());
    lines.take(len).collect()
}

/// `len` bytes that look like a plain kernel of `machine` to a loader which looks at the header only.
///
/// amd64: a bzImage's setup header (Linux, `Documentation/arch/x86/boot.rst`); the others: the 64-byte `Image` header
/// (`Documentation/arch/arm64/booting.rst` and its like). The rest is half noise, half text.
///
/// # Panics
/// When `len` is less than 4096.
#[must_use]
pub fn tiny_kernel(machine: Machine, len: usize) -> Vec<u8> {
    assert!(
        len >= 4096,
        "a kernel of {len} bytes has no room for its header"
    );
    let mut kernel = noise(len / 2, len as u64);
    kernel.extend(text(len - kernel.len()));
    match machine {
        Machine::Amd64 => bzimage_header(&mut kernel),
        Machine::Arm64 => image_header(&mut kernel, b"ARM\x64", 0x38),
        Machine::Riscv64 => image_header(&mut kernel, b"RSC\x05", 0x38),
        // LoongArch has Linux's PE magic there, and its machine in the PE header alone; only `MZ` is left out, so
        // that the rest need not be a PE image.
        Machine::Loong64 => {
            image_header(&mut kernel, &0x8182_23cd_u32.to_le_bytes(), 0x38);
            put(&mut kernel, 0x3c, &0x40_u32.to_le_bytes());
            put(&mut kernel, 0x40, b"PE\0\0");
            put(&mut kernel, 0x44, &machine.pe().to_le_bytes());
        }
    }
    kernel
}

fn put(kernel: &mut [u8], at: usize, bytes: &[u8]) {
    kernel[at..at + bytes.len()].copy_from_slice(bytes);
}

fn bzimage_header(kernel: &mut [u8]) {
    let protected_mode = (kernel.len() - 1024) as u32;
    kernel[..0x280].fill(0);
    put(kernel, 0x1f1, &[1]); // setup_sects
    put(kernel, 0x1f4, &protected_mode.div_ceil(16).to_le_bytes()); // syssize
    put(kernel, 0x1fe, &0xaa55_u16.to_le_bytes()); // boot_flag
    put(kernel, 0x200, &[0xeb, 0x66]); // jump over the header
    put(kernel, 0x202, b"HdrS");
    put(kernel, 0x206, &0x020f_u16.to_le_bytes()); // version 2.15
    put(kernel, 0x211, &[1]); // loadflags: loaded high
    put(kernel, 0x22c, &0x7fff_ffff_u32.to_le_bytes()); // initrd_addr_max
    put(kernel, 0x230, &0x20_0000_u32.to_le_bytes()); // kernel_alignment
    put(kernel, 0x234, &[1]); // relocatable_kernel
    put(kernel, 0x236, &3_u16.to_le_bytes()); // xloadflags: 64-bit, above 4G
    put(kernel, 0x238, &2047_u32.to_le_bytes()); // cmdline_size
    put(kernel, 0x258, &0x100_0000_u64.to_le_bytes()); // pref_address
    put(kernel, 0x260, &protected_mode.to_le_bytes()); // init_size
}

fn image_header(kernel: &mut [u8], magic: &[u8], at: usize) {
    let size = kernel.len() as u64;
    kernel[..0x40].fill(0);
    put(kernel, 0x10, &size.to_le_bytes()); // image_size
    put(kernel, 0x18, &0xa_u64.to_le_bytes()); // little-endian, 4K pages, anywhere
    put(kernel, at, magic);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_for_one_seed_and_differs_for_another() {
        assert_eq!(noise(100, 1), noise(100, 1));
        assert_ne!(noise(100, 1), noise(100, 2));
        assert_eq!(noise(13, 5).len(), 13);
    }

    #[test]
    fn a_tiny_kernel_has_its_machines_magic() {
        assert_eq!(tiny_kernel(Machine::Amd64, 4096)[0x202..0x206], *b"HdrS");
        assert_eq!(tiny_kernel(Machine::Arm64, 65536)[0x38..0x3c], *b"ARM\x64");
    }
}
