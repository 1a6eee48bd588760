//! Opens trio images, the format that README.md describes.
#![no_std]
#![no_main]

use kpeel_parser_kit::{
    Bytes, Context, Name, Unpacked, malformed, not_mine, parser, resource, section, sections,
    unsupported,
};

parser!(open);

const HEAD: u64 = section(".trhead");
const KERNEL: u64 = section(".trkern");
const INITRD: u64 = section(".trinit");

/// `TRIO`.
const MAGIC: u32 = u32::from_le_bytes(*b"TRIO");
const VERSION: u32 = 1;
/// The kernel is compressed.
const COMPRESSED: u32 = 1;
/// Bytes before the command line.
const FIELDS_LEN: u64 = 16;

fn open(context: Context) -> Option<()> {
    let image = context.image();
    let Some([head, kernel, initrd]) = sections(image, [HEAD, KERNEL, INITRD]) else {
        return not_mine(Name::new(c"PE"), 0, 1);
    };
    if head.is_empty() {
        return not_mine(Name::new(c".trhead"), 0, 1);
    }
    let Some([magic, version, flags, line]) = head.read::<[u32; 4]>(0) else {
        return malformed(Name::new(c".trhead"), head.len(), FIELDS_LEN);
    };
    if magic != MAGIC {
        return malformed(Name::new(c"magic"), magic.into(), MAGIC.into());
    }
    if version != VERSION {
        return unsupported(Name::new(c"version"), version.into(), VERSION.into());
    }
    if flags & !COMPRESSED != 0 {
        return unsupported(Name::new(c"flags"), flags.into(), COMPRESSED.into());
    }
    let Some(line) = head.sub(FIELDS_LEN, line.into()) else {
        let room = head.len() - FIELDS_LEN;
        return malformed(Name::new(c"cmdline_len"), line.into(), room);
    };
    if kernel.is_empty() {
        return malformed(Name::new(c".trkern"), 0, 1);
    }
    publish(resource::INITRD, initrd)?;
    publish(resource::CMDLINE, line)?;
    if flags & COMPRESSED == 0 {
        return kernel.publish(resource::KERNEL);
    }
    Unpacked::new(kernel)?.bytes().publish(resource::KERNEL)
}

/// Publishes what may be missing.
#[inline(always)]
fn publish(name: Name, part: Bytes) -> Option<()> {
    if part.is_empty() {
        return Some(());
    }
    part.publish(name)
}
