//! Writes a laid-out image.

use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::pe::DIRECTORY_CERTIFICATE;
use kpeel_envelope::section::SECTION_HEADER_SIZE;
use kpeel_formats::zboot::PAYLOAD_OFFSET_AT;

use crate::directory::{patch_debug, table_end_of};
use crate::editor::Editor;
use crate::entry::{self, Entry};
use crate::fixed::zboot_payload;
use crate::layout::{Layout, Place, pe_offset};
use crate::number::{align_up, get_u32, put_u32, to_u32};
use crate::parts::Parts;

/// Offset of the PE signature's place in the DOS header.
const LFANEW_OFFSET: usize = 0x3c;
/// Offsets in the COFF header.
const NUMBER_OF_SECTIONS: usize = 2;
const POINTER_TO_SYMBOL_TABLE: usize = 8;
/// Offsets in the optional header.
const SIZE_OF_INITIALIZED_DATA: usize = 8;
const SIZE_OF_IMAGE: usize = 56;
const SIZE_OF_HEADERS: usize = 60;
const DLL_CHARACTERISTICS: usize = 70;

/// The image's bytes.
pub(crate) fn emit<'e>(editor: &'e Editor<'_>, layout: &Layout) -> Result<Parts<'e>> {
    let mut output = copy(editor, layout)?;
    move_headers(editor, layout, &mut output)?;
    write_section_table(editor, layout, &mut output)?;
    write_headers(editor, layout, &mut output)?;
    write_certificate_entry(editor, layout, &mut output)?;
    follow_payload(editor, layout, &mut output)?;
    patch_debug(&editor.pe, &layout.moves, &mut |at, value| {
        output.put_u32(at, value)
    })?;
    let headers = editor.pe.headers();
    let field = headers.check_sum_offset().saturating_add(layout.shift);
    output.renew_check_sum(headers, field)?;
    Ok(output)
}

/// Everything in its place; a signature covers all of it, since nothing lies between the pieces.
fn copy<'e>(editor: &'e Editor<'_>, layout: &Layout) -> Result<Parts<'e>> {
    let image = editor.pe.bytes();
    let kept = image.get(..editor.head.min(layout.head)).unwrap_or(&[]);
    let mut head = kept.to_vec();
    head.resize(layout.head, 0);
    let mut output = Parts::default();
    output.push(head);
    for index in &layout.order {
        let entry = editor.entries.get(*index).zip(layout.places.get(*index));
        if let Some((entry, place)) = entry {
            check_place(&output, place.offset)?;
            output.push(entry.raw.as_ref());
            output.push_later(entry.later);
            output.push_zeros(place.padding);
        }
    }
    for range in &editor.overlay {
        output.push(image.get(range.clone()).unwrap_or(&[]));
    }
    if let Some(start) = layout.certificates {
        output.push_zeros(start.saturating_sub(output.len()));
        output.push(editor.kept_certificates().unwrap_or(&[]));
    }
    check_place(&output, layout.len)?;
    Ok(output)
}

fn check_place(output: &Parts<'_>, expected: usize) -> Result<()> {
    if output.len() == expected {
        return Ok(());
    }
    let needed = Needed::Exactly(expected as u64);
    Err(Error::value(
        Class::Bug,
        "PointerToRawData",
        output.len() as u64,
        needed,
    ))
}

/// Moves the PE headers, section table included, to their new place and leaves zeros.
fn move_headers(editor: &Editor<'_>, layout: &Layout, output: &mut Parts<'_>) -> Result<()> {
    if layout.shift == 0 {
        return Ok(());
    }
    let old = pe_offset(&editor.pe)..table_end_of(&editor.pe);
    let new = old.start.saturating_add(layout.shift);
    let headers = editor.pe.bytes().get(old.clone()).unwrap_or(&[]);
    output.put(old.start, &vec![0; old.len()])?;
    output.put(new, headers)?;
    output.put_u32(LFANEW_OFFSET, to_u32("e_lfanew", new)?)
}

fn write_section_table(editor: &Editor<'_>, layout: &Layout, output: &mut Parts<'_>) -> Result<()> {
    let headers = editor.pe.headers();
    let table = headers.section_table_offset().saturating_add(layout.shift);
    let old = usize::from(headers.number_of_sections).saturating_mul(SECTION_HEADER_SIZE);
    output.put(table, &vec![0; old])?;
    let mut at = table;
    for (entry, place) in editor.entries.iter().zip(&layout.places) {
        output.put(at, &section_header(entry, place, layout)?)?;
        at = at.saturating_add(SECTION_HEADER_SIZE);
    }
    Ok(())
}

fn section_header(
    entry: &Entry<'_>,
    place: &Place,
    layout: &Layout,
) -> Result<[u8; SECTION_HEADER_SIZE]> {
    let mut header = entry.header;
    if entry.has_raw() {
        let size = entry.raw_len().saturating_add(place.padding);
        put_u32(
            &mut header,
            entry::SIZE_OF_RAW_DATA,
            to_u32("SizeOfRawData", size)?,
        )?;
        let offset = to_u32("PointerToRawData", place.offset)?;
        put_u32(&mut header, entry::POINTER_TO_RAW_DATA, offset)?;
    }
    for field in [entry::POINTER_TO_RELOCATIONS, entry::POINTER_TO_LINENUMBERS] {
        let old = get_u32(&entry.header, field).unwrap_or(0) as usize;
        if let Some(new) = layout.moves.offset(old).filter(|_| old != 0) {
            put_u32(&mut header, field, to_u32("PointerToRelocations", new)?)?;
        }
    }
    Ok(header)
}

fn write_headers(editor: &Editor<'_>, layout: &Layout, output: &mut Parts<'_>) -> Result<()> {
    let headers = editor.pe.headers();
    let coff = headers.coff_offset.saturating_add(layout.shift);
    let optional = headers
        .optional_header_offset()
        .saturating_add(layout.shift);
    let count = u16::try_from(editor.entries.len()).unwrap_or(u16::MAX);
    output.put(
        coff.saturating_add(NUMBER_OF_SECTIONS),
        &count.to_le_bytes(),
    )?;
    let symbols = headers.pointer_to_symbol_table as usize;
    if let Some(moved) = layout.moves.offset(symbols).filter(|_| symbols != 0) {
        let moved = to_u32("PointerToSymbolTable", moved)?;
        output.put_u32(coff.saturating_add(POINTER_TO_SYMBOL_TABLE), moved)?;
    }
    output.put_u32(
        optional.saturating_add(SIZE_OF_HEADERS),
        to_u32("SizeOfHeaders", layout.head)?,
    )?;
    let characteristics = headers.dll_characteristics & !editor.dll_cleared;
    output.put(
        optional.saturating_add(DLL_CHARACTERISTICS),
        &characteristics.to_le_bytes(),
    )?;
    if editor.changed {
        write_sizes(editor, optional, output)?;
    }
    Ok(())
}

fn write_sizes(editor: &Editor<'_>, optional: usize, output: &mut Parts<'_>) -> Result<()> {
    let alignment = editor.pe.headers().section_alignment as usize;
    let end = editor.entries.iter().map(Entry::end).max().unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    let size = to_u32("SizeOfImage", align_up("SizeOfImage", end, alignment)?)?;
    output.put_u32(optional.saturating_add(SIZE_OF_IMAGE), size)?;
    let field = editor
        .pe
        .headers()
        .optional_header_offset()
        .saturating_add(SIZE_OF_INITIALIZED_DATA);
    let old = get_u32(editor.pe.bytes(), field).unwrap_or(0);
    // A linker may have counted otherwise than we do; the field tells nobody anything.
    let new = i64::from(old).saturating_add(editor.initialized).max(0);
    output.put_u32(
        optional.saturating_add(SIZE_OF_INITIALIZED_DATA),
        u32::try_from(new).unwrap_or(u32::MAX),
    )
}

/// The certificate directory entry: zero unless the table is kept on purpose.
fn write_certificate_entry(
    editor: &Editor<'_>,
    layout: &Layout,
    output: &mut Parts<'_>,
) -> Result<()> {
    let headers = editor.pe.headers();
    let Some(at) = headers.directory_offset(DIRECTORY_CERTIFICATE) else {
        return Ok(());
    };
    let at = at.saturating_add(layout.shift);
    output.put(at, &[0; 8])?;
    if let (Some(start), Some(table)) = (layout.certificates, editor.kept_certificates()) {
        let size = at.saturating_add(4);
        output.put_u32(at, to_u32("certificate table offset", start)?)?;
        output.put_u32(size, to_u32("certificate table Size", table.len())?)?;
    }
    Ok(())
}

/// Lets zboot's header point where its payload went.
fn follow_payload(editor: &Editor<'_>, layout: &Layout, output: &mut Parts<'_>) -> Result<()> {
    let image = editor.pe.bytes();
    let Some((offset, size)) = zboot_payload(image) else {
        return Ok(());
    };
    if offset.saturating_add(size) > image.len() {
        // It points nowhere: not ours to mend.
        return Ok(());
    }
    let Some(moved) = layout.moves.range(offset, size) else {
        let needed = Needed::Words("a payload that lies in one section");
        return Err(Error::value(
            Class::Unsupported,
            "zboot payload",
            offset as u64,
            needed,
        ));
    };
    output.put_u32(PAYLOAD_OFFSET_AT, to_u32("zboot payload", moved)?)
}
