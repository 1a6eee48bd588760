//! Writes EFI zboot images: a compressed kernel behind zboot's header.
//!
//! With a template, an image that kbuild made, its EFI decompressor stays and the payload is
//! replaced ([`from_template`]). Without one there is no decompressor, and only kexec can open the
//! image ([`kexec_only`]).
//!
//! Sources: Linux `drivers/firmware/efi/libstub/` (`Makefile.zboot`, `zboot-header.S`, `zboot.lds`,
//! `zboot.c`, `zboot-decompress-*.c`).

mod bare;
mod template;

use kpeel_codec::Codec;
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::pe::Pe;
use kpeel_formats::word;
use kpeel_formats::zboot::{Declared, declared};

pub use bare::{MARK, MARK_SECTION, kexec_only};
pub use template::{codec as template_codec, from_template};

/// A compressed kernel.
#[derive(Clone, Debug)]
pub struct Payload {
    /// How it is compressed.
    pub codec: Codec,
    /// The stream.
    pub stream: Vec<u8>,
    /// Bytes it unpacks to.
    pub unpacked: usize,
}

/// Size in bytes of the number behind the stream that says what it unpacks to: EFI decompressors
/// allocate by it. A gzip stream ends with that number itself.
const SIZE_LEN: usize = 4;
/// `image_size` in the header of arm64, RISC-V and LoongArch kernels, of which kbuild reads 4 bytes.
const IMAGE_SIZE_AT: usize = 16;
/// Their magic (`Documentation/arch/arm64/booting.rst`, `riscv/boot-image-header.rst`), and the PE
/// magic that LoongArch has there.
const IMAGE_MAGIC_AT: usize = 0x38;
const IMAGE_MAGICS: [[u8; 4]; 3] = [*b"ARM\x64", *b"RSC\x05", LINUX_PE_MAGIC];
const LINUX_PE_MAGIC: [u8; 4] = 0x8182_23cd_u32.to_le_bytes();
/// Largest `image_size` believed.
const IMAGE_SIZE_MAX: u64 = 512 << 20;

/// Appends zeros up to the size the kernel has in memory: firmware gives it as much memory as the
/// payload unpacks to. Returns how many.
///
/// # Errors
/// `Refused` (bound) for a size over 512 MiB.
pub fn pad(kernel: &mut Vec<u8>) -> Result<usize> {
    let magic = kernel
        .get(IMAGE_MAGIC_AT..)
        .and_then(|rest| rest.first_chunk());
    if !magic.is_some_and(|magic| IMAGE_MAGICS.contains(magic)) {
        return Ok(0);
    }
    let size = crate::number::get_u32(kernel, IMAGE_SIZE_AT).unwrap_or(0);
    if u64::from(size) > IMAGE_SIZE_MAX {
        return Err(Error::bound("image_size", size.into(), IMAGE_SIZE_MAX));
    }
    let missing = (size as usize).saturating_sub(kernel.len());
    kernel.resize(kernel.len().saturating_add(missing), 0);
    Ok(missing)
}

/// Whether the kernel is signed; zeros behind its signature make it unreadable to Linux.
#[must_use]
pub fn is_signed(kernel: &[u8]) -> bool {
    Pe::parse(kernel).is_ok_and(|pe| pe.certificate_table().is_some())
}

/// The name kbuild gives a codec in zboot's header.
fn declared_name(codec: Codec) -> Result<Declared> {
    let name: &[u8] = match codec {
        Codec::Xz => b"xzkern",
        other => other.name().as_bytes(),
    };
    declared(word(name)).ok_or(Error::reason(
        Class::Unsupported,
        "comp_type",
        "zboot has no name for this codec",
    ))
}

fn too_large(found: usize, room: usize) -> Error {
    Error::value(
        Class::Unsupported,
        "payload size",
        found as u64,
        Needed::AtMost(room as u64),
    )
}
