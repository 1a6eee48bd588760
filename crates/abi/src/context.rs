//! The two structures that cross the border, byte for byte as on a 64-bit little-endian machine.

/// `struct kexec_context`, the argument of both anchors; 56 bytes.
///
/// Frozen: fields are only ever appended. Addresses are the host's own (a virtual address in
/// Linux, a region address in the sandbox); a parser may only pass them on to kfuncs, plus an
/// offset. Sizes are bytes; anything over `i32::MAX` is refused before a parser is armed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// 1 for a crash (kdump) load, else 0. C type `bool`; offset 0.
    pub kdump: u8,
    /// Keeps `image` at offset 8; always zero.
    pub reserved: [u8; 7],
    /// Address of the stage's image: the covered bytes only. `char *`; offset 8.
    pub image: u64,
    /// Its size. Offset 16.
    pub image_sz: i32,
    /// Keeps `initrd` at offset 24; always zero.
    pub reserved_image: u32,
    /// Address of the caller's initrd, 0 without one. Offset 24.
    pub initrd: u64,
    /// Its size. Offset 32.
    pub initrd_sz: i32,
    /// Keeps `cmdline` at offset 40; always zero.
    pub reserved_initrd: u32,
    /// Address of the caller's command line, selector included, without NUL; 0 without one.
    /// Offset 40.
    pub cmdline: u64,
    /// Its size. Offset 48.
    pub cmdline_sz: i32,
    /// Pads the structure to its alignment; always zero.
    pub reserved_cmdline: u32,
}

/// `struct mem_range_result`, what `bpf_decompress` returns; the first 16 bytes are public.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemRangeResult {
    /// Address of the decompressed bytes. `char *`; offset 0.
    pub buf: u64,
    /// Bytes allocated. Offset 8.
    pub buf_sz: u32,
    /// Bytes that hold data. Offset 12.
    pub data_sz: u32,
}

impl Context {
    /// Size of the structure in bytes.
    pub const SIZE: usize = core::mem::size_of::<Self>();

    /// The structure's bytes, little-endian, as the host writes them for the parser.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut put = |at: usize, value: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(at).zip(value) {
                *to = *from;
            }
        };
        put(core::mem::offset_of!(Self, kdump), &[self.kdump]);
        put(
            core::mem::offset_of!(Self, image),
            &self.image.to_le_bytes(),
        );
        put(
            core::mem::offset_of!(Self, image_sz),
            &self.image_sz.to_le_bytes(),
        );
        put(
            core::mem::offset_of!(Self, initrd),
            &self.initrd.to_le_bytes(),
        );
        put(
            core::mem::offset_of!(Self, initrd_sz),
            &self.initrd_sz.to_le_bytes(),
        );
        put(
            core::mem::offset_of!(Self, cmdline),
            &self.cmdline.to_le_bytes(),
        );
        put(
            core::mem::offset_of!(Self, cmdline_sz),
            &self.cmdline_sz.to_le_bytes(),
        );
        bytes
    }
}

impl MemRangeResult {
    /// Size of the public part in bytes.
    pub const SIZE: usize = core::mem::size_of::<Self>();

    /// The public part's bytes, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let value =
            u128::from(self.buf) | u128::from(self.buf_sz) << 64 | u128::from(self.data_sz) << 96;
        bytes.copy_from_slice(&value.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn context_keeps_the_frozen_offsets() {
        assert_eq!(
            [
                offset_of!(Context, kdump),
                offset_of!(Context, image),
                offset_of!(Context, image_sz),
                offset_of!(Context, initrd),
                offset_of!(Context, initrd_sz),
                offset_of!(Context, cmdline),
                offset_of!(Context, cmdline_sz),
                size_of::<Context>(),
            ],
            [0, 8, 16, 24, 32, 40, 48, 56]
        );
    }

    #[test]
    fn context_bytes_stand_at_their_offsets() {
        let context = Context {
            kdump: 1,
            image: 0x1122_3344_5566_7788,
            image_sz: -2,
            cmdline_sz: 7,
            ..Context::default()
        };
        let bytes = context.to_bytes();
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[8..16], 0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(bytes[16..20], (-2_i32).to_le_bytes());
        assert_eq!(bytes[48..52], 7_i32.to_le_bytes());
    }

    #[test]
    fn result_bytes_stand_at_their_offsets() {
        let bytes = MemRangeResult {
            buf: 9,
            buf_sz: 8,
            data_sz: 7,
        }
        .to_bytes();
        assert_eq!(bytes[0..8], 9_u64.to_le_bytes());
        assert_eq!(bytes[8..12], 8_u32.to_le_bytes());
        assert_eq!(bytes[12..16], 7_u32.to_le_bytes());
    }
}
