//! Opens Unified Kernel Images (UAPI.5).
//!
//! One pass over the section table decides everything; which kind a section is comes from one
//! table look-up, and what is remembered are words the verifier knows nothing about
//! ([`unknown_zeros`] says why that matters). The rules themselves are those of
//! `kpeel_formats::uki`.
#![no_std]
#![no_main]

mod cmdline;
mod table;

use kpeel_formats::uki::{self, Kind};
use kpeel_parser_kit::{
    Bytes, Context, Name, malformed, not_mine, parser, resource, unknown_zeros, unsupported, warn,
};
use table::{Effective, Found, Scope};

parser!(open);

/// A command line of nothing, for the host to drop.
static BLANK: u8 = 0;

fn open(context: Context) -> Option<()> {
    let image = context.image();
    let Some(headers) = table::headers(image) else {
        return not_mine(Name::new(c"PE"), 0, 0);
    };
    if headers.count > uki::MAX_SECTIONS.into() {
        let needed = uki::MAX_SECTIONS.into();
        return unsupported(Name::new(c"NumberOfSections"), headers.count, needed);
    }
    let [zero, elsewhere, duplicate] = unknown_zeros(image)?;
    let profile = zero.wrapping_add(cmdline::selected(context.cmdline())?);
    let mut effective = [0; uki::SLOTS];
    let mut found = Found {
        kinds: zero,
        duplicate,
        profiles: zero,
    };
    let scope = Scope {
        selected: profile,
        elsewhere,
        seen: zero,
    };
    table::scan(image, &headers, scope, &mut found, &mut effective)?;

    if found.kinds & const { Kind::Linux.bit() } == 0 {
        return not_mine(Name::new(c".linux"), 0, 1);
    }
    if found.duplicate != 0 {
        return malformed(Name::of_words(&[found.duplicate, 0]), 2, 1);
    }
    if profile != 0 && profile >= found.profiles {
        return unsupported(Name::new(c"profile"), profile, found.profiles);
    }
    name_left_out(&effective);
    publish(image, &effective, zero)
}

/// Warns about every section of the effective set that a boot by firmware would have used.
fn name_left_out(effective: &Effective) {
    for (slot, (name, section)) in uki::NAMES.iter().zip(effective).enumerate() {
        let size = *section as u32;
        if uki::LEFT_OUT >> slot & 1 != 0 && size != 0 {
            warn(Name::of_words(&[*name, 0]), size.into(), 0);
        }
    }
}

/// Hands over what the host asks for: microcode before the initrd, the command line, the kernel.
fn publish(image: Bytes, effective: &Effective, zero: u64) -> Option<()> {
    let kernel = data(image, effective, const { Kind::Linux.slot() })?;
    if kernel.is_empty() {
        return malformed(Name::new(c".linux"), 0, 1);
    }
    let microcode = data(image, effective, const { Kind::Ucode.slot() })?;
    let initrd = data(image, effective, const { Kind::Initrd.slot() })?;
    let line = data(image, effective, const { Kind::Cmdline.slot() })?;
    let mut line = cmdline::terminated(line, zero)?;
    // Firmware's stub takes no line of the caller's where memory has the section, whatever is in it;
    // the host, which says what of the caller's counts, must hear of it.
    if line.is_empty() && *effective.get(const { Kind::Cmdline.slot() })? != 0 {
        line = Bytes::new((&raw const BLANK).addr() as u64, 1);
    }

    let mut name = resource::INITRD;
    if !microcode.is_empty() {
        hand_over(name, microcode)?;
        name = resource::INITRD_MORE;
    }
    if !initrd.is_empty() {
        hand_over(name, initrd)?;
    }
    if !line.is_empty() {
        hand_over(resource::CMDLINE, line)?;
    }
    hand_over(resource::KERNEL, kernel)
}

/// Bytes of the effective section in `slot`, none if there is no such section.
#[inline(always)]
fn data(image: Bytes, effective: &Effective, slot: usize) -> Option<Bytes> {
    let section = effective.get(slot)?;
    let len = section & 0xffff_ffff;
    let offset = section >> 32 & !table::if_zero(len);
    match image.sub(offset, len) {
        Some(data) => Some(data),
        None => malformed(Name::new(c"PointerToRawData"), offset + len, image.len()),
    }
}

/// Publishes, once for all callers: each call of a kfunc costs the loader code of its own.
#[inline(never)]
fn hand_over(name: Name, data: Bytes) -> Option<()> {
    data.publish(name)
}
