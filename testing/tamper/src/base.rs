//! The images that are signed and then tampered with.

use std::ops::Range;
use std::process::Command;

use kpeel_images::make::{Machine, Scratch, text, tiny_kernel, uki};
use kpeel_images::{Item, fetch};

use crate::pe::Image;
use crate::{Authority, Outcome, tool};

/// A signed image and what it was before.
pub struct Base {
    /// What its variants' names begin with.
    pub name: &'static str,
    /// Without a signature.
    pub unsigned: Vec<u8>,
    /// The same, signed by sbsign with the authority's key.
    pub signed: Vec<u8>,
}

impl Base {
    /// The parts of the signed file that the signature leaves out: `CheckSum`, the certificate
    /// table's directory entry, and the table.
    #[must_use]
    pub fn uncovered(&self) -> [Range<usize>; 3] {
        let image = Image::new(self.signed.clone());
        let (check_sum, entry) = (image.check_sum(), image.directory(4));
        let (start, len) = image.table().unwrap_or((image.bytes.len(), 0));
        [
            check_sum..check_sum + 4,
            entry..entry + 8,
            start..start + len,
        ]
    }
}

/// The three bases: a small EFI program with every part that an image can have, a UKI, and systemd
/// 252's stub, a real image with a COFF symbol table and sections at unaligned addresses.
///
/// # Errors
/// When a tool fails or a package cannot be fetched.
pub fn bases(authority: &Authority) -> Outcome<Vec<Base>> {
    let stub = fetch(Item::StubAmd64V252)?;
    [
        ("program", program()?),
        ("uki", small_uki()?),
        ("stub", std::fs::read(stub)?),
    ]
    .into_iter()
    .map(|(name, unsigned)| {
        let signed = authority.sbsign(&unsigned)?;
        Ok(Base {
            name,
            unsigned,
            signed,
        })
    })
    .collect()
}

fn small_uki() -> Outcome<Vec<u8>> {
    let kernel = tiny_kernel(Machine::Amd64, 16 << 10);
    let initrd = text(5000);
    let sections: [(&str, &[u8]); 5] = [
        (".osrel", b"ID=test\n"),
        (".uname", b"6.12.0-test"),
        (".cmdline", b"quiet"),
        (".initrd", &initrd),
        (".linux", &kernel),
    ];
    let scratch = Scratch::new()?;
    let out = scratch.join("uki.efi");
    uki(&fetch(Item::StubAmd64V257)?, &sections, &out)?;
    Ok(std::fs::read(out)?)
}

/// An EFI program that returns at once, assembled byte by byte.
fn program() -> Outcome<Vec<u8>> {
    let scratch = Scratch::new()?;
    let source = scratch.write("program.s", PROGRAM.as_bytes())?;
    let (object, image) = (scratch.join("program.o"), scratch.join("program.efi"));
    let mut assembler = Command::new("as");
    tool::run(assembler.arg("-o").arg(&object).arg(&source), &[])?;
    let mut objcopy = Command::new("objcopy");
    objcopy.args(["-O", "binary", "-j", ".text"]);
    tool::run(objcopy.arg(&object).arg(&image), &[])?;
    Ok(std::fs::read(image)?)
}

/// DOS header and stub, four sections, a COFF symbol table, and bytes behind it.
const PROGRAM: &str = r#"
  .text
image:
  .ascii "MZ"
  .org image + 0x3c
  .long signature - image
  .ascii "nothing for DOS here"
  .org image + 0x80
signature:
  .ascii "PE\0\0"
coff:
  .short 0x8664, 4                    # machine, sections
  .long 0x5f000000                    # time
  .long symbols - image, 2
  .short sections - optional, 0x0206  # executable, no line numbers, no debug
optional:
  .short 0x20b                        # PE32+
  .byte 2, 20                         # linker version
  .long 0x200, 0x800, 0, 0x1000, 0x1000
  .quad 0                             # image base
  .long 0x1000, 0x200                 # alignment of sections, of the file
  .long 0, 0, 0, 0                    # versions: system, image, subsystem; reserved
  .long 0x5000                        # SizeOfImage
  .long code - image                  # SizeOfHeaders
  .long 0                             # CheckSum
  .short 10, 0x100                    # EFI application, NX compatible
  .quad 0x100000, 0x1000, 0x100000, 0x1000
  .long 0, 16                         # loader flags, directories
  .fill 16, 8, 0
sections:
  .ascii ".text\0\0\0"
  .long 0x200, 0x1000, 0x200, code - image, 0, 0, 0, 0x60000020
  .ascii ".data\0\0\0"
  .long 0x400, 0x2000, 0x400, data - image, 0, 0, 0, 0xc0000040
  .ascii ".sbat\0\0\0"
  .long 0x1f0, 0x3000, 0x200, sbat - image, 0, 0, 0, 0x40000040
  .ascii ".bpf\0\0\0\0"
  .long 0x200, 0x4000, 0x200, bpf - image, 0, 0, 0, 0x40000040

  .org image + 0x400
code:
  xor %eax, %eax                      # EFI_SUCCESS
  ret
  .org code + 0x200, 0xcc
data:
  .fill 0x400, 1, 0xdd
sbat:
  .ascii "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
  .org sbat + 0x200
bpf:
  .fill 0x200, 1, 0xbb
symbols:
  .ascii "code\0\0\0\0"
  .long 0
  .short 1, 0
  .byte 2, 0
  .ascii "data\0\0\0\0"
  .long 0
  .short 2, 0
  .byte 2, 0
  .long 4                             # an empty string table
overlay:
  .ascii "bytes behind everything else"
"#;
