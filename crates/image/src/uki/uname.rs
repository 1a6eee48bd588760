//! What a kernel says its release is.

use std::borrow::Cow;

use kpeel_codec::{Codec, Limits, decompress};
use kpeel_formats::zboot;

/// x86's setup header (`Documentation/arch/x86/boot.rst`): magic, and the offset of the version
/// text counted from 0x200.
const X86_MAGIC_AT: usize = 0x202;
const X86_MAGIC: &[u8] = b"HdrS";
const X86_VERSION_AT: usize = 0x20e;
const X86_VERSION_BASE: usize = 0x200;
/// How a kernel's `linux_banner` begins (`init/version.c`).
const BANNER: &[u8] = b"Linux version ";
/// Longest release looked at; `struct new_utsname` holds 64 bytes.
const RELEASE_MAX: usize = 64;

/// A kernel file, and what was done to make it one that firmware starts.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    /// The kernel.
    pub kernel: Cow<'a, [u8]>,
    /// The codec it was packed with, if it was.
    pub codec: Option<Codec>,
}

/// The PE image in `file`: some distributions pack it as a whole (`Image.gz`).
///
/// # Errors
/// Those of [`decompress`].
pub fn unpack_kernel(file: &[u8]) -> Result<Unpacked<'_>, kpeel_codec::Error> {
    let Some(codec) = Codec::detect(file).filter(|_| !file.starts_with(b"MZ")) else {
        return Ok(Unpacked {
            kernel: file.into(),
            codec: None,
        });
    };
    let kernel = decompress(codec, file, &Limits::default())?.into();
    Ok(Unpacked {
        kernel,
        codec: Some(codec),
    })
}

/// The release that `kernel` bears, as `uname -r` would tell it; `None` when it tells none. zboot
/// images are looked into, whatever their codec.
///
/// # Errors
/// Those of [`decompress`] for a zboot payload.
pub fn of_kernel(kernel: &[u8]) -> Result<Option<String>, kpeel_codec::Error> {
    if let Some(release) = of_x86(kernel) {
        return Ok(Some(release));
    }
    if let Ok(header) = zboot::Header::parse(kernel)
        && let Some(stream) = kernel.get(header.payload())
        && let Some(codec) = codec_of(header.codec)
    {
        let kernel = decompress(codec, stream, &Limits::default())?;
        return Ok(of_banner(&kernel));
    }
    Ok(of_banner(kernel))
}

/// The codec of a declared name.
pub(crate) fn codec_of(declared: zboot::Declared) -> Option<Codec> {
    let magic = declared.magic.to_be_bytes();
    Codec::detect(&magic)
}

fn of_x86(kernel: &[u8]) -> Option<String> {
    if !kernel.get(X86_MAGIC_AT..)?.starts_with(X86_MAGIC) {
        return None;
    }
    let field = kernel.get(X86_VERSION_AT..)?.first_chunk()?;
    let at = usize::from(u16::from_le_bytes(*field)).checked_add(X86_VERSION_BASE)?;
    release(kernel.get(at..)?)
}

fn of_banner(kernel: &[u8]) -> Option<String> {
    let release_at = |at: usize| {
        let text = kernel.get(at.checked_add(BANNER.len())?..)?;
        // The same words stand in format strings: a release begins with a number.
        text.first().filter(|byte| byte.is_ascii_digit())?;
        release(text)
    };
    memchr::memmem::find_iter(kernel, BANNER).find_map(release_at)
}

/// The word at the begin of `text`, which a blank must end.
fn release(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let word = text.get(..end).filter(|word| {
        !word.is_empty() && word.len() < RELEASE_MAX && word.iter().all(u8::is_ascii_graphic)
    })?;
    String::from_utf8(word.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_x86s_header() {
        let mut kernel = vec![0; 0x400];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20e..0x210].copy_from_slice(&0x40_u16.to_le_bytes());
        kernel[0x240..0x25a].copy_from_slice(b"6.12.1+deb-Cloud (a@b) #1 ");
        assert_eq!(
            of_kernel(&kernel).unwrap().as_deref(),
            Some("6.12.1+deb-Cloud")
        );
        kernel[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(of_kernel(&kernel).unwrap(), None);
    }

    #[test]
    fn passes_format_strings_over_to_find_the_banner() {
        let kernel = b"..Linux version %s (%s)\0..Linux version 6.12.0-x (a@b) (gcc) #1\0";
        assert_eq!(of_kernel(kernel).unwrap().as_deref(), Some("6.12.0-x"));
        assert_eq!(of_kernel(b"Linux version ").unwrap(), None);
        assert_eq!(of_kernel(b"Linux version 6.12.0-x").unwrap(), None);
        let long = [b"Linux version 6".as_slice(), &[b'1'; 99], b" "].concat();
        assert_eq!(of_kernel(&long).unwrap(), None);
    }
}
