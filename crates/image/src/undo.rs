//! The record that lets [`crate::detach`] give back the very bytes of before.
//!
//! It stands in the padding of the section that was added, behind its data, at a multiple of 8:
//!
//! ```text
//! 0   "kpeelund"
//! 8   where section data began, 4 bytes
//! 12  bytes of headers that follow, 4 bytes
//! 16  the headers of before, up to the end of their section table
//! ```
//! Nobody trusts it: what it gives is taken only when attaching again leads to the same image.

use kpeel_envelope::error::Result;
use kpeel_envelope::pe::Pe;
use kpeel_envelope::section::{SECTION_HEADER_SIZE, Section};

use crate::directory::{patch_debug, table_end_of};
use crate::editor::Editor;
use crate::emit::emit;
use crate::layout::{Layout, pe_offset};
use crate::moves::Moves;
use crate::number::{get_u32, put_u32, to_u32};

const MAGIC: &[u8] = b"kpeelund";
const HEAD: usize = 8;
const HEADERS_LEN: usize = 12;
const HEADERS: usize = 16;
const ALIGNMENT: usize = 8;

/// The record for the image that `editor` was made from, to stand behind `data_len` bytes.
pub(crate) fn record(editor: &Editor<'_>, data_len: usize) -> Result<Vec<u8>> {
    let mut before = editor
        .pe
        .bytes()
        .get(..table_end_of(&editor.pe))
        .unwrap_or(&[])
        .to_vec();
    // A signature that is dropped does not come back.
    if let Some(entry) = before.get_mut(editor.pe.covered().zeroed[1].clone()) {
        entry.fill(0);
    }
    record_of(before, editor.head, data_len)
}

/// The record for the image that `editor` would write now.
pub(crate) fn record_of_output(editor: &Editor<'_>, data_len: usize) -> Result<Vec<u8>> {
    let layout = Layout::new(editor)?;
    let parts = emit(editor, &layout)?;
    let table = editor
        .entries
        .len()
        .saturating_mul(SECTION_HEADER_SIZE)
        .saturating_add(editor.pe.headers().section_table_offset())
        .saturating_add(layout.shift);
    let head = parts.head();
    let before = head.get(..table).unwrap_or(head).to_vec();
    record_of(before, layout.head, data_len)
}

fn record_of(mut before: Vec<u8>, head: usize, data_len: usize) -> Result<Vec<u8>> {
    let mut record = vec![0; padding(data_len)];
    record.extend_from_slice(MAGIC);
    record.extend(to_u32("SizeOfHeaders", head)?.to_le_bytes());
    record.extend(to_u32("SizeOfHeaders", before.len())?.to_le_bytes());
    record.append(&mut before);
    Ok(record)
}

/// The image of before, as the record in the padding of `section` (the last in the table) tells it;
/// `None` when there is no record or it fits nothing.
pub(crate) fn undo(editor: &Editor<'_>, section: &Section<'_>) -> Option<Vec<u8>> {
    let image = editor.pe.bytes();
    let record = find(section)?;
    let head = get_u32(record, HEAD)? as usize;
    let len = get_u32(record, HEADERS_LEN)? as usize;
    let before = record.get(HEADERS..HEADERS.checked_add(len)?)?;
    let mut moves = Moves::default();
    let mut output = image.get(..editor.head.min(head))?.to_vec();
    moves.push(0, output.len(), 0);
    // Neither number is worth more memory than the image itself.
    if head > image.len() || before.len() > head {
        return None;
    }
    output.resize(head, 0);
    // Where the headers stand now there was nothing behind those of before.
    let end = table_end_of(&editor.pe).min(output.len());
    output.get_mut(pe_offset(&editor.pe).min(end)..end)?.fill(0);
    output.get_mut(..before.len())?.copy_from_slice(before);
    // Nothing of the image stood twice in the one before, so all ranges together are no longer than it.
    let mut left = image.len();
    let ranges = old_sections(editor, before)?.into_iter();
    for range in ranges.chain(editor.overlay.clone()) {
        left = left.checked_sub(range.len())?;
        moves.push(range.start, range.len(), output.len());
        output.extend_from_slice(image.get(range)?);
    }
    let mut put = |at, value| put_u32(&mut output, at, value);
    patch_debug(&editor.pe, &moves, &mut put).ok()?;
    Some(output)
}

/// Ranges of today's image that hold the old sections, gaps included, in the order of the file.
fn old_sections(editor: &Editor<'_>, before: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    // The table is the last thing in the record; one section came after it was written.
    let count = editor.entries.len().checked_sub(1)?;
    let table = before
        .len()
        .checked_sub(count.checked_mul(SECTION_HEADER_SIZE)?)?;
    let mut places = Vec::new();
    let headers = before.get(table..)?.chunks_exact(SECTION_HEADER_SIZE);
    for (entry, header) in editor.entries.iter().zip(headers) {
        let size = get_u32(header, crate::entry::SIZE_OF_RAW_DATA)? as usize;
        let old = get_u32(header, crate::entry::POINTER_TO_RAW_DATA)? as usize;
        places.extend(entry.from.map(|now| (old, size, now)));
    }
    places.sort_unstable();
    let next = places
        .iter()
        .skip(1)
        .map(|(old, ..)| Some(*old))
        .chain([None]);
    let range = |((old, size, now), next): (&(usize, usize, usize), Option<usize>)| {
        let len = next.unwrap_or(old.checked_add(*size)?).checked_sub(*old)?;
        Some(*now..now.checked_add(len)?)
    };
    places.iter().zip(next).map(range).collect()
}

fn find<'a>(section: &Section<'a>) -> Option<&'a [u8]> {
    let data = section.data().len();
    let record = section.raw().get(data.checked_add(padding(data))?..)?;
    record.starts_with(MAGIC).then_some(record)
}

fn padding(data_len: usize) -> usize {
    data_len.wrapping_neg() % ALIGNMENT
}

/// Whether `pe` is an image this module may have written about.
pub(crate) fn last_section<'a>(pe: &Pe<'a>) -> Option<Section<'a>> {
    pe.sections().last()
}
