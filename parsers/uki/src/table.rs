//! The PE section table, as far as a UKI needs it.

use core::hint::black_box;

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
/// lower. Of a section without data in the file the upper half is `VirtualSize`. 0 where no section
/// stands, or one that takes no memory.
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
}

/// Reads every section header, sorts it into base, selected profile or neither, and keeps the
/// first of each kind per scope; the profile's own take the base's place. `None` when the table
/// leaves the image, which the host has ruled out.
///
/// No branch but those that end the loop: in a loop, the verifier remembers a state only every 100
/// instructions or 20 branches, and walks each combination of the branches in between.
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
        let known = if_zero(*uki::NAMES.get(slot)? ^ name);
        let kind = (1 << slot) & known;
        let profile = !if_zero(kind & const { Kind::Profile.bit() });
        let again = scope.seen & kind;

        let takes = if_zero(again | scope.elsewhere | profile) & known;
        let size = least(low(sizes), low(place));
        let data = choose(if_zero(size), sizes << 32, place >> 32 << 32 | size);
        let kept = effective.get_mut(slot)?;
        *kept = choose(takes, data, *kept);
        found.duplicate = choose(!if_zero(again & uki::SINGLE), name, found.duplicate);

        let elsewhere = found.profiles ^ scope.selected;
        scope.elsewhere = choose(profile, elsewhere, scope.elsewhere);
        scope.seen = (scope.seen | kind) & !profile;
        found.kinds |= kind;
        found.profiles = found.profiles.wrapping_sub(profile);
    }
    Some(())
}

/// All ones if `value` is 0, else 0.
#[inline(always)]
pub fn if_zero(value: u64) -> u64 {
    let some = value >> 32 | low(value);
    sign(some.wrapping_sub(1))
}

/// The smaller of two values below 2^63.
#[inline(always)]
fn least(a: u64, b: u64) -> u64 {
    choose(sign(black_box(a.wrapping_sub(b))), a, b)
}

/// All ones if the top bit is 1, else 0. The compiler must not see that there are but two, or it
/// makes a branch of what depends on them.
#[inline(always)]
fn sign(value: u64) -> u64 {
    black_box((value.cast_signed() >> 63).cast_unsigned())
}

/// `yes` where the mask has ones, `no` elsewhere.
#[inline(always)]
const fn choose(mask: u64, yes: u64, no: u64) -> u64 {
    yes & mask | no & !mask
}

/// The lower half.
#[inline(always)]
const fn low(value: u64) -> u64 {
    value & 0xffff_ffff
}
