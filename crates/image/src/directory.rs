//! Data directories that matter to an editor.

use kpeel_envelope::error::Result;
use kpeel_envelope::pe::{DIRECTORY_CERTIFICATE, Pe};
use kpeel_envelope::section::SECTION_HEADER_SIZE;

use crate::moves::Moves;
use crate::number::{get_u32, to_u32};

/// Index of the debug directory.
const DIRECTORY_DEBUG: u32 = 6;
/// Size of one entry of the debug directory, and PointerToRawData in it ("Debug Directory").
const DEBUG_ENTRY_SIZE: usize = 28;
const DEBUG_POINTER_TO_RAW_DATA: usize = 24;

/// Whether nothing stands between the section table and `table_end`, its new end; section data
/// begin at `head`.
pub(crate) fn is_free(pe: &Pe<'_>, table_end: usize, head: usize) -> bool {
    let free = table_end_of(pe);
    let end = table_end.min(head);
    let room = pe.bytes().get(free..end).unwrap_or(&[]);
    // Addresses below SizeOfHeaders are file offsets.
    let in_room = |start: usize, len: usize| start < end && start.saturating_add(len) > free;
    room.iter().all(|byte| *byte == 0)
        && !directories(pe).any(|(_, start, len)| len != 0 && in_room(start, len))
}

/// Where bytes before `head`, the begin of section data, are in use no more.
pub(crate) fn used_end(pe: &Pe<'_>, head: usize) -> usize {
    let bytes = pe.bytes().get(..head).unwrap_or(&[]);
    let last = bytes.iter().rposition(|byte| *byte != 0);
    let last = last.map_or(0, |last| last.saturating_add(1));
    let ends = directories(pe).filter(|(_, start, len)| *len != 0 && *start < head);
    let ends = ends.map(|(_, start, len)| start.saturating_add(len).min(head));
    ends.fold(last, usize::max)
}

/// File offset one past the section table.
pub(crate) fn table_end_of(pe: &Pe<'_>) -> usize {
    let headers = pe.headers();
    let used = usize::from(headers.number_of_sections).saturating_mul(SECTION_HEADER_SIZE);
    headers.section_table_offset().saturating_add(used)
}

/// Makes the debug directory's file offsets follow the bytes they point at; `put` writes a field.
pub(crate) fn patch_debug(
    pe: &Pe<'_>,
    moves: &Moves,
    put: &mut dyn FnMut(usize, u32) -> Result<()>,
) -> Result<()> {
    let debug = directories(pe).find(|(index, ..)| *index == DIRECTORY_DEBUG);
    let Some((_, address, len)) = debug else {
        return Ok(());
    };
    let Some(offset) = file_offset(pe, address, len) else {
        return Ok(());
    };
    let table = pe
        .bytes()
        .get(offset..offset.saturating_add(len))
        .unwrap_or(&[]);
    for (number, entry) in table.chunks_exact(DEBUG_ENTRY_SIZE).enumerate() {
        let at = number
            .saturating_mul(DEBUG_ENTRY_SIZE)
            .saturating_add(DEBUG_POINTER_TO_RAW_DATA);
        let old = get_u32(entry, DEBUG_POINTER_TO_RAW_DATA).unwrap_or(0) as usize;
        let moved = moves.offset(old).filter(|_| old != 0);
        let field = moves.range(offset.saturating_add(at), 4);
        if let (Some(new), Some(field)) = (moved, field) {
            // Nothing is written where nothing moved: that would copy a section.
            if new != old {
                put(field, to_u32("debug PointerToRawData", new)?)?;
            }
        }
    }
    Ok(())
}

/// Index, address and size of every directory that holds addresses.
fn directories<'p>(pe: &'p Pe<'_>) -> impl Iterator<Item = (u32, usize, usize)> + 'p {
    let headers = pe.headers();
    (0..headers.number_of_directories)
        .filter(|index| *index != DIRECTORY_CERTIFICATE)
        .filter_map(|index| {
            let at = headers.directory_offset(index)?;
            let address = get_u32(pe.bytes(), at)? as usize;
            Some((
                index,
                address,
                get_u32(pe.bytes(), at.checked_add(4)?)? as usize,
            ))
        })
}

/// Where the file holds the `len` bytes at `address`.
fn file_offset(pe: &Pe<'_>, address: usize, len: usize) -> Option<usize> {
    let end = address.checked_add(len)?;
    if end <= pe.headers().size_of_headers as usize {
        return Some(address);
    }
    pe.sections().find_map(|section| {
        let inside = address.checked_sub(section.virtual_address as usize)?;
        let fits = inside.checked_add(len)? <= section.raw().len();
        section
            .raw_range()
            .start
            .checked_add(inside)
            .filter(|_| fits)
    })
}
