//! zboot images laid out as `zboot-header.S` of Linux lays them out, put together by the GNU assembler.
//!
//! They hold no code: nothing can boot them, but all that a loader reads is in its place.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Codec, Machine, Scratch};
use crate::{Result, tool};

/// What a zboot image is made of.
#[derive(Debug, Clone, Copy)]
pub struct Zboot<'a> {
    /// The machine of the PE header.
    pub machine: Machine,
    /// The name in the header's codec field, at most 31 bytes.
    pub name: &'a str,
    /// The compressed stream.
    pub stream: &'a [u8],
    /// What follows the stream outside the declared size: kbuild's length, 4 bytes, for all codecs but gzip.
    pub trailer: Option<u32>,
}

/// Compresses `kernel` and wraps it up as kbuild would.
///
/// # Errors
/// What the compressor or the assembler says.
pub fn zboot(machine: Machine, codec: Codec, kernel: &[u8], out: &Path) -> Result<()> {
    let stream = codec.compress(machine, kernel)?;
    let trailer = (codec != Codec::Gzip).then_some(kernel.len() as u32);
    Zboot {
        machine,
        name: codec.name(),
        stream: &stream,
        trailer,
    }
    .write(out)
}

impl Zboot<'_> {
    /// Assembles the image and writes it to `out`.
    ///
    /// # Errors
    /// What the assembler says.
    pub fn write(&self, out: &Path) -> Result<()> {
        let scratch = Scratch::new()?;
        let stream = scratch.write("stream", self.stream)?;
        let source = scratch.write("zboot.s", self.source(&stream).as_bytes())?;
        let object = scratch.join("zboot.o");
        tool::run(Command::new("as").arg("-o").arg(&object).arg(&source))?;
        tool::run(
            Command::new("objcopy")
                .args(["-O", "binary", "-j", ".text"])
                .arg(&object)
                .arg(out),
        )?;
        Ok(())
    }

    fn source(&self, stream: &Path) -> String {
        let mut text = HEADER
            .replace("@NAME@", self.name)
            .replace("@MACHINE@", &self.machine.pe().to_string());
        let _ = writeln!(text, "  .incbin \"{}\"", stream.display());
        text.push_str("stream_end:\n");
        if let Some(length) = self.trailer {
            let _ = writeln!(text, "  .long {length}");
        }
        text.push_str(TAIL);
        text
    }
}

/// DOS, COFF and optional header, section table, and the place of the code before the stream.
const HEADER: &str = r#"
  .text
image:
  .ascii "MZ\0\0zimg"
  .long stream - image, stream_end - stream
  .org image + 0x18
  .asciz "@NAME@"
  .org image + 0x38
  .long 0x818223cd                    # Linux's PE magic
  .long coff - 4 - image

  .ascii "PE\0\0"
coff:
  .short @MACHINE@, 2                 # machine, sections
  .long 0, 0, 0                       # time, symbols
  .short sections - optional, 0x0206  # executable, no line numbers, no debug
optional:
  .short 0x20b                        # PE32+
  .byte 2, 20                         # linker version
  .long data - code, data_end - data, 0, code - image, code - image
  .quad 0                             # image base
  .long 0x1000, 0x200                 # alignment of sections, of the file
  .long 0, 3, 0, 0                    # versions: system, image, subsystem; reserved
  .long data_end - image + 0x200      # SizeOfImage, not rounded up to a page
  .long code - image                  # SizeOfHeaders
  .long 0                             # CheckSum
  .short 10, 0x100                    # EFI application, NX compatible
  .quad 0, 0, 0, 0                    # stack and heap
  .long 0, 6                          # loader flags, directories
  .quad 0, 0, 0, 0, 0, 0
sections:
  .ascii ".text\0\0\0"
  .long data - code, code - image, data - code, code - image, 0, 0, 0, 0x60000020
  .ascii ".data\0\0\0"
  .long data_end - data + 0x200, data - image, data_end - data, data - image, 0, 0, 0, 0xc0000040

  .org image + 0x1000
code:
  .fill 0x4dc, 1, 0xcc
stream:
"#;

const TAIL: &str = r#"
  .balign 0x1000
data:
  .fill 0x200, 1, 0xdd
data_end:
"#;
