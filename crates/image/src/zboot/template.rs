//! A zboot image's payload replaced.
//!
//! The decompressor finds the payload by addresses that are part of its code: from `_gzdata_start`,
//! which the header tells, to `_gzdata_end`, the last four bytes before which say the unpacked
//! size. Neither can move. So a payload must fit into the old one's room, and what it leaves free
//! must not disturb the decompressor: behind a zstd stream stands a skippable frame (RFC 8878,
//! section 3.1.2), since Linux gives zstd everything up to the size; behind the others, zeros.

use kpeel_codec::Codec;
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_formats::zboot::{Header, PAYLOAD_SIZE_AT};

use super::{MARK_SECTION, Payload, SIZE_LEN, too_large};
use crate::attach::add_parser;
use crate::editor::{Certificates, Editor};
use crate::number::{put, put_u32, to_u32};
use crate::uki::codec_of;

/// Magic of a skippable frame, and bytes of its header.
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_LEN: usize = 8;

/// The codec that the template's decompressor knows.
///
/// # Errors
/// `Malformed` for an image that is not zboot's, `Unsupported` for a codec nobody knows.
pub fn codec(template: &[u8]) -> Result<Codec> {
    let header = header(template)?;
    codec_of(header.codec).ok_or(Error::absent(Class::Unsupported, "comp_type"))
}

/// `template` with `payload` in the place of its own, and `parser` in that of its own.
///
/// # Errors
/// `Malformed` for a template that is not zboot's; `Misuse` for one that has no decompressor, or a
/// payload that it does not know; `Unsupported` for one that is too large for its room; `Refused` (signature) for a
/// signed template unless its signature is dropped.
pub fn from_template(
    template: &[u8],
    payload: &Payload,
    parser: Option<&[u8]>,
    certificates: Certificates,
) -> Result<Vec<u8>> {
    let header = header(template)?;
    if codec_of(header.codec) != Some(payload.codec) {
        return Err(Error::reason(
            Class::Misuse,
            "codec",
            "the template's decompressor unpacks another one; without it, the image is for kexec \
             only",
        ));
    }
    let pe = Pe::parse(template)?;
    if pe.find(MARK_SECTION).next().is_some() {
        return Err(Error::reason(
            Class::Misuse,
            MARK_SECTION,
            "the template is for kexec only: it has no EFI decompressor",
        ));
    }
    let mut image = template.to_vec();
    let room = room(&pe, &header)?;
    let bytes = fill(payload, room.len())?;
    put(&mut image, room.start, &bytes)?;
    let size = to_u32("payload size", payload.stream.len())?;
    put_u32(&mut image, PAYLOAD_SIZE_AT, size)?;
    let mut editor = Editor::parse(&image)?;
    editor.set_certificates(certificates);
    editor.remove(SECTION_BPF)?;
    if let Some(carrier) = parser {
        add_parser(&mut editor, carrier)?;
    }
    editor.finish()
}

fn header(template: &[u8]) -> Result<Header> {
    Header::parse(template).map_err(|error| {
        let (field, found, needed) = match error {
            kpeel_formats::zboot::Error::NotZboot => {
                let reason = "the template is no EFI zboot image";
                return Error::reason(Class::Malformed, "zimg", reason);
            }
            kpeel_formats::zboot::Error::Malformed(field)
            | kpeel_formats::zboot::Error::Unsupported(field) => {
                (field.name, field.found, field.needed)
            }
        };
        Error::malformed(field, found, Needed::Given(needed))
    })
}

/// From `_gzdata_start` to `_gzdata_end`.
fn room(pe: &Pe<'_>, header: &Header) -> Result<std::ops::Range<usize>> {
    let payload = header.payload();
    let trailer = if codec_of(header.codec) == Some(Codec::Gzip) {
        0
    } else {
        SIZE_LEN
    };
    let end = payload.end.saturating_add(trailer);
    let inside = pe.sections().any(|section| {
        let raw = section.raw_range();
        raw.start <= payload.start && end <= raw.end
    });
    if inside {
        return Ok(payload.start..end);
    }
    let needed = Needed::Words("a payload that lies in one section, its size behind it");
    let found = end as u64;
    Err(Error::value(
        Class::Unsupported,
        "payload_offset",
        found,
        needed,
    ))
}

/// The stream, what fills the room behind it, and the unpacked size.
fn fill(payload: &Payload, room: usize) -> Result<Vec<u8>> {
    let stream = &payload.stream;
    if payload.codec == Codec::Gzip && stream.len() == room {
        // Its last four bytes are the size.
        return Ok(stream.clone());
    }
    let needed = stream.len().saturating_add(SIZE_LEN);
    let free = room
        .checked_sub(needed)
        .ok_or_else(|| too_large(needed, room))?;
    let mut bytes = stream.clone();
    if payload.codec == Codec::Zstd && free != 0 {
        let rest = free.checked_sub(SKIPPABLE_LEN).ok_or(Error::value(
            Class::Unsupported,
            "room left behind the payload",
            free as u64,
            Needed::AtLeast(SKIPPABLE_LEN as u64),
        ))?;
        bytes.extend(SKIPPABLE.to_le_bytes());
        bytes.extend(to_u32("payload size", rest)?.to_le_bytes());
    }
    bytes.resize(room.saturating_sub(SIZE_LEN), 0);
    bytes.extend(to_u32("unpacked size", payload.unpacked)?.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(codec: Codec, len: usize) -> Payload {
        Payload {
            codec,
            stream: vec![7; len],
            unpacked: 1000,
        }
    }

    #[test]
    fn the_unpacked_size_ends_the_room() {
        let size = 1000_u32.to_le_bytes();
        for codec in [Codec::Gzip, Codec::Lzma, Codec::Zstd] {
            let bytes = fill(&payload(codec, 50), 100).unwrap();
            assert_eq!((bytes.len(), &bytes[96..]), (100, &size[..]));
            assert_eq!(bytes[..50], [7; 50]);
        }
        let skipped = fill(&payload(Codec::Zstd, 50), 100).unwrap()[50..58].to_vec();
        assert_eq!(skipped, [0x50, 0x2a, 0x4d, 0x18, 38, 0, 0, 0]);
    }

    #[test]
    fn a_payload_fits_up_to_the_last_byte() {
        assert!(fill(&payload(Codec::Lzma, 96), 100).is_ok());
        assert!(fill(&payload(Codec::Lzma, 97), 100).is_err());
        // gzip brings its size along.
        assert_eq!(fill(&payload(Codec::Gzip, 100), 100).unwrap(), [7; 100]);
        assert!(fill(&payload(Codec::Gzip, 98), 100).is_err());
        // No frame of zstd is as short as 1 to 7 bytes.
        assert!(fill(&payload(Codec::Zstd, 96), 100).is_ok());
        assert!(fill(&payload(Codec::Zstd, 89), 100).is_err());
        assert!(fill(&payload(Codec::Zstd, 88), 100).is_ok());
    }
}
