//! Opens EFI zboot images: checks the header, has the host decompress the payload, publishes it.
#![no_std]
#![no_main]

use kpeel_formats::zboot;
use kpeel_parser_kit::{
    Context, Name, Unpacked, malformed, not_mine, parser, resource, unsupported,
};

parser!(open);

/// The header as little-endian words.
type Header = [u64; zboot::HEADER_LEN / 8];

fn open(context: Context) -> Option<()> {
    let image = context.image();
    let Some(header) = image.read::<Header>(0) else {
        return not_mine(Name::new(c"zimg"), image.len(), zboot::HEADER_LEN as u64);
    };
    let [magic, payload, _, codec, ..] = header;
    if magic as u16 != zboot::MZ || (magic >> 32) as u32 != zboot::ZIMG {
        return not_mine(Name::new(c"zimg"), magic >> 32, zboot::ZIMG.into());
    }

    let (offset, size) = (payload as u32 as u64, payload >> 32);
    if offset < zboot::HEADER_LEN as u64 {
        return malformed(
            Name::new(c"payload_offset"),
            offset,
            zboot::HEADER_LEN as u64,
        );
    }
    if offset > image.len() {
        return malformed(Name::new(c"payload_offset"), offset, image.len());
    }
    let room = image.len() - offset;
    if size < zboot::MAGIC_LEN {
        return malformed(Name::new(c"payload_size"), size, zboot::MAGIC_LEN);
    }
    let Some(payload) = image.sub(offset, size) else {
        return malformed(Name::new(c"payload_size"), size, room);
    };

    let Some(codec) = zboot::declared(codec) else {
        return unsupported(Name::new(c"comp_type"), codec, 0);
    };
    let magic = u16::from_be(payload.read::<u16>(0)?);
    if magic != codec.magic {
        return malformed(
            Name::new(c"payload_magic"),
            magic.into(),
            codec.magic.into(),
        );
    }
    Unpacked::new(payload)?.bytes().publish(resource::KERNEL)
}
