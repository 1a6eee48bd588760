//! A zboot image without an EFI decompressor, for kexec only.
//!
//! Firmware that starts it is told `EFI_UNSUPPORTED` by a few instructions at its entry point; a
//! section of its own says in words why.

use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::pe::{Pe, SUBSYSTEM_EFI_APPLICATION};
use kpeel_formats::zboot::{
    CODEC_AT, HEADER_LEN, MZ, PAYLOAD_OFFSET_AT, PAYLOAD_SIZE_AT, ZIMG, ZIMG_AT,
};

use super::{IMAGE_MAGIC_AT, LINUX_PE_MAGIC, Payload, declared_name};
use crate::attach::add_parser;
use crate::editor::{Contents, Editor, NX_COMPAT};
use crate::number::{put, put_u32, to_u32};

/// Name of the section that marks an image as one for kexec only.
pub const MARK_SECTION: &str = ".kexec";
/// What it says.
pub const MARK: &str = "kexec only: this image has no EFI decompressor\n";

const PAYLOAD_SECTION: &str = ".data";
const LFANEW_AT: usize = 0x3c;
/// Size of the headers, room for further sections included.
const HEADERS: usize = 0x400;
const FILE_ALIGNMENT: u32 = 0x200;
const SECTION_ALIGNMENT: u32 = 0x1000;
/// Data directories: as many as zboot's own header has.
const DIRECTORIES: u32 = 6;

/// Code that returns `EFI_UNSUPPORTED` (UEFI, appendix D: the highest bit and 3), by machine.
const CODE: [(u16, &[u8]); 4] = [
    // movabs $0x8000000000000003, %rax; ret
    (0x8664, &[0x48, 0xb8, 3, 0, 0, 0, 0, 0, 0, 0x80, 0xc3]),
    // mov x0, #3; movk x0, #0x8000, lsl #48; ret
    (
        0xaa64,
        &[0x60, 0, 0x80, 0xd2, 0, 0, 0xf0, 0xf2, 0xc0, 3, 0x5f, 0xd6],
    ),
    // li a0, 1; slli a0, a0, 63; addi a0, a0, 3; ret
    (
        0x5064,
        &[
            0x13, 5, 0x10, 0, 0x13, 0x15, 0xf5, 3, 0x13, 5, 0x35, 0, 0x67, 0x80, 0, 0,
        ],
    ),
    // ori $a0, $zero, 3; lu52i.d $a0, $a0, -2048; jirl $zero, $ra, 0
    (
        0x6264,
        &[4, 0x0c, 0x80, 3, 0x84, 0, 0x20, 3, 0x20, 0, 0, 0x4c],
    ),
];

/// A zboot image around `payload` for the PE `machine`, with `parser`.
///
/// # Errors
/// `Unsupported` for a machine this is not known for, or a codec without a name in zboot's header.
pub fn kexec_only(machine: u16, payload: &Payload, parser: Option<&[u8]>) -> Result<Vec<u8>> {
    let code = CODE.iter().find(|(of, _)| *of == machine);
    let (_, code) = code.ok_or(Error::value(
        Class::Unsupported,
        "Machine",
        machine.into(),
        Needed::Words("x86_64, aarch64, riscv64 or loongarch64"),
    ))?;
    let mut data = payload.stream.clone();
    if payload.codec != kpeel_codec::Codec::Gzip {
        data.extend(to_u32("unpacked size", payload.unpacked)?.to_le_bytes());
    }
    let headers = headers(machine, payload)?;
    let mut editor = Editor::parse(&headers)?;
    editor.add(".text", *code, Contents::Code)?;
    editor.add(MARK_SECTION, MARK.as_bytes(), Contents::Data)?;
    editor.add(PAYLOAD_SECTION, data, Contents::Data)?;
    let mut image = editor.finish()?;
    let pe = Pe::parse(&image)?;
    let payload_at = pe
        .find(PAYLOAD_SECTION)
        .map(|section| section.pointer_to_raw_data)
        .next();
    let payload_at = payload_at.ok_or(Error::absent(Class::Bug, PAYLOAD_SECTION))?;
    put_u32(&mut image, PAYLOAD_OFFSET_AT, payload_at)?;
    let size = to_u32("payload size", payload.stream.len())?;
    put_u32(&mut image, PAYLOAD_SIZE_AT, size)?;
    let Some(carrier) = parser else {
        return Ok(image);
    };
    let mut editor = Editor::parse(&image)?;
    add_parser(&mut editor, carrier)?;
    editor.finish()
}

/// zboot's and the PE headers of an image without sections.
fn headers(machine: u16, payload: &Payload) -> Result<Vec<u8>> {
    let mut image = vec![0; HEADERS];
    put(&mut image, 0, &MZ.to_le_bytes())?;
    put_u32(&mut image, ZIMG_AT, ZIMG)?;
    let name = declared_name(payload.codec)?.name;
    put(&mut image, CODEC_AT, &name.to_le_bytes())?;
    put(&mut image, IMAGE_MAGIC_AT, &LINUX_PE_MAGIC)?;
    put_u32(&mut image, LFANEW_AT, HEADER_LEN as u32)?;
    put(&mut image, HEADER_LEN, &pe_headers(machine))?;
    Ok(image)
}

/// PE signature, COFF and optional header; the data directories are empty.
fn pe_headers(machine: u16) -> Vec<u8> {
    let directories_len = DIRECTORIES.saturating_mul(8);
    let fields: [&[u8]; 23] = [
        b"PE\0\0",
        &machine.to_le_bytes(),
        // NumberOfSections; TimeDateStamp: none, so that nothing depends on when; no symbols.
        &[0; 2],
        &[0; 12],
        &112_u16.saturating_add(directories_len as u16).to_le_bytes(),
        // Executable; neither line numbers nor debug data.
        &0x0206_u16.to_le_bytes(),
        &0x020b_u16.to_le_bytes(),
        // Linker version; SizeOfCode, of initialized and of uninitialized data.
        &[0; 2],
        &FILE_ALIGNMENT.to_le_bytes(),
        &[0; 8],
        // AddressOfEntryPoint and BaseOfCode: the first section.
        &SECTION_ALIGNMENT.to_le_bytes(),
        &SECTION_ALIGNMENT.to_le_bytes(),
        // ImageBase.
        &[0; 8],
        &SECTION_ALIGNMENT.to_le_bytes(),
        &FILE_ALIGNMENT.to_le_bytes(),
        // Versions.
        &[0; 16],
        // SizeOfImage, SizeOfHeaders, CheckSum.
        &SECTION_ALIGNMENT.to_le_bytes(),
        &(HEADERS as u32).to_le_bytes(),
        &[0; 4],
        &SUBSYSTEM_EFI_APPLICATION.to_le_bytes(),
        &NX_COMPAT.to_le_bytes(),
        // Stack and heap, LoaderFlags.
        &[0; 36],
        &DIRECTORIES.to_le_bytes(),
    ];
    fields.concat()
}
