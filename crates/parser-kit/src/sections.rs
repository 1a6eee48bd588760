//! Sections of a PE image by name, for formats that keep their parts in sections of their own.

use crate::{Bytes, unknown_zeros};

/// Offset of the u32 that leads to the PE header (`e_lfanew`).
const PE_OFFSET_AT: u64 = 0x3c;
/// `PE\0\0`.
const PE: u32 = 0x0000_4550;
/// Bytes of signature and COFF header.
const COFF_LEN: u64 = 24;
/// Bytes of one section header.
const SECTION_LEN: u64 = 40;
/// Most sections an image may have ("Section Table": the Windows loader's limit); hosts refuse
/// images with more.
const SECTIONS_MAX: u64 = 96;

/// A section's name as [`sections`] compares it: at most eight bytes, padded with NUL.
///
/// # Panics
/// When the name is longer. In a constant, which is where names belong, that fails the build.
#[must_use]
pub const fn section(name: &str) -> u64 {
    let mut bytes = name.as_bytes();
    assert!(bytes.len() <= 8, "a section's name has eight bytes");
    let mut word = 0;
    let mut shift = 0;
    while let [first, rest @ ..] = bytes {
        word |= (*first as u64) << shift;
        shift += 8;
        bytes = rest;
    }
    word
}

/// The contents of the sections of these names, in one pass over the table. Of a name that stands
/// twice, the first counts; one that does not stand there gives no bytes.
///
/// Contents are what both file and memory hold: the first `min(VirtualSize, SizeOfRawData)` bytes.
/// `None` when this is no PE image, or the host refuses a read.
///
/// Linux's verifier follows the loop once, however many sections there are: what a turn finds are
/// values it does not know ([`unknown_zeros`] says why that matters).
#[inline(always)]
#[must_use]
pub fn sections<const N: usize>(image: Bytes, names: [u64; N]) -> Option<[Bytes; N]> {
    let pe: u32 = image.read(PE_OFFSET_AT)?;
    let [signature, _, sizes] = image.read::<[u64; COFF_LEN as usize / 8]>(pe.into())?;
    if signature as u32 != PE {
        return None;
    }
    let (count, optional) = (signature >> 48, sizes >> 32 & 0xffff);
    let table = image.sub(u64::from(pe) + COFF_LEN + optional, count * SECTION_LEN)?;
    // Places: PointerToRawData in the upper half, bytes in the lower.
    let mut found = unknown_zeros::<N>(image)?;
    for turn in 0..SECTIONS_MAX {
        if turn >= count {
            break;
        }
        // From the end, so that the first of a name is what stays.
        let at = (count - 1 - turn) * SECTION_LEN;
        let header = Bytes::new(table.address() + at, SECTION_LEN);
        let [name, in_memory, place] = header.read::<[u64; 3]>(0)?;
        let (in_memory, in_file) = (in_memory as u32, place as u32);
        let len = if in_memory < in_file {
            in_memory
        } else {
            in_file
        };
        for (found, wanted) in found.iter_mut().zip(names) {
            if name == wanted {
                *found = place >> 32 << 32 | u64::from(len);
            }
        }
    }
    let mut parts = [Bytes::new(image.address(), 0); N];
    for (part, found) in parts.iter_mut().zip(found) {
        *part = image.sub(found >> 32, found & 0xffff_ffff)?;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn names_are_words_padded_with_nul() {
        assert_eq!(section(""), 0);
        assert_eq!(section(".bpf").to_le_bytes(), *b".bpf\0\0\0\0");
        assert_eq!(section(".eight_8").to_le_bytes(), *b".eight_8");
    }

    #[test]
    #[should_panic(expected = "eight bytes")]
    fn no_name_is_longer_than_its_field() {
        let _ = section(".ninechar");
    }
}
