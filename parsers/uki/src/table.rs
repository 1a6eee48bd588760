//! The PE section table, as far as a UKI needs it.

use kpeel_formats::uki::{self, Kind};
use kpeel_parser_kit::Bytes;

/// `MZ`; offset 0 of a PE image.
const MZ: u16 = 0x5a4d;
/// Offset of the u32 that leads to the PE header (`e_lfanew`).
const PE_OFFSET_AT: u64 = 0x3c;
/// `PE\0\0`.
const PE: u32 = 0x0000_4550;
/// Bytes of signature and COFF header.
const COFF_LEN: u64 = 24;
/// Bytes of one section header.
const SECTION_LEN: u64 = 40;

/// Where the section table is.
pub struct Headers {
    /// Its offset in the image.
    pub at: u64,
    /// Entries (`NumberOfSections`).
    pub count: u64,
}

/// The effective set by `uki::slot`: `PointerToRawData` in the upper half, bytes of data in the
/// lower, 0 where nothing stands.
pub type Effective = [u64; uki::SLOTS];

/// What one pass over the table found, besides the effective set.
pub struct Found {
    /// Every kind seen, in whatever scope.
    pub kinds: u64,
    /// Name of the first section that stands twice in one scope and may not, else 0.
    pub duplicate: u64,
    /// `.profile` sections.
    pub profiles: u64,
}

/// Finds the section table; `None` when this is no PE image. (The host has checked it far more
/// closely before the program runs.)
#[inline(always)]
pub fn headers(image: Bytes) -> Option<Headers> {
    let pe: u32 = image.read(PE_OFFSET_AT)?;
    let [signature, _, sizes] = image.read::<[u64; COFF_LEN as usize / 8]>(pe.into())?;
    if image.read::<u16>(0)? != MZ || signature as u32 != PE {
        return None;
    }
    let optional = sizes >> 32 & 0xffff;
    Some(Headers {
        at: u64::from(pe) + COFF_LEN + optional,
        count: signature >> 48,
    })
}

/// Where in the table the scan is; all values are ones the verifier does not know.
pub struct Scope {
    /// The profile to open.
    pub selected: u64,
    /// 0 while the present scope is the base or the selected profile.
    pub elsewhere: u64,
    /// Kinds seen in the present scope.
    pub seen: u64,
    /// The empty set of kinds.
    pub none: u64,
}

/// Reads every section header, sorts it into base, selected profile or neither, and keeps the
/// first of each kind per scope; the profile's own take the base's place. `None` when the table
/// leaves the image, which the host has ruled out.
#[inline(always)]
pub fn scan(
    image: Bytes,
    headers: &Headers,
    mut scope: Scope,
    found: &mut Found,
    effective: &mut Effective,
) -> Option<()> {
    let table = image.sub(headers.at, headers.count * SECTION_LEN)?;
    for index in 0..u64::from(uki::MAX_SECTIONS) {
        if index >= headers.count {
            break;
        }
        let header = Bytes::new(table.address() + index * SECTION_LEN, SECTION_LEN);
        let [name, sizes, place] = header.read(0)?;
        let slot = uki::slot(name);
        if *uki::NAMES.get(slot)? != name {
            continue;
        }
        found.kinds |= 1 << slot;
        if slot == const { Kind::Profile.slot() } {
            scope.elsewhere = found.profiles ^ scope.selected;
            scope.seen = scope.none;
            found.profiles += 1;
            continue;
        }
        let again = scope.seen >> slot & 1;
        scope.seen |= 1 << slot;
        if again | scope.elsewhere == 0 {
            let (in_memory, in_file) = (sizes as u32, place as u32);
            let len = if in_memory < in_file {
                in_memory
            } else {
                in_file
            };
            *effective.get_mut(slot)? = place >> 32 << 32 | u64::from(len);
        }
        if again & uki::SINGLE >> slot != 0 {
            found.duplicate = name;
        }
    }
    Some(())
}
