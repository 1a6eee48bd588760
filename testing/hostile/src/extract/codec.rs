//! Unpacking by libraries that kpeel's own build does not take.

use std::io::Read;

/// More than any kernel here unpacks to.
const MOST: u64 = 256 << 20;
/// Legacy LZ4's magic, and what a chunk unpacks to at most (`lib/decompress_unlz4.c`).
const LZ4_MAGIC: u32 = 0x184c_2102;
const LZ4_CHUNK: i32 = 8 << 20;

/// What the first stream in `stream` unpacks to; `codec` is the name in a zboot header.
///
/// # Errors
/// What the library says.
pub fn unpack(codec: &str, stream: &[u8]) -> Result<Vec<u8>, String> {
    match codec {
        "gzip" => all(flate2::bufread::GzDecoder::new(stream)),
        "zstd" | "zstd22" => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(stream);
            all(decoder.map_err(|error| error.to_string())?)
        }
        "xz" | "xzkern" => all(lzma_rust2::XzReader::new(stream, false)),
        "lzma" => {
            let reader = lzma_rust2::LzmaReader::new_mem_limit(stream, u32::MAX, None);
            all(reader.map_err(|error| error.to_string())?)
        }
        "lz4" => lz4(stream),
        "lzo" => lzop(stream),
        "bzip2" => bzip2(stream),
        other => Err(format!("codec {other:?}")),
    }
}

fn all(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = reader.take(MOST).read_to_end(&mut out);
    read.map_err(|error| error.to_string())?;
    Ok(out)
}

fn bzip2(stream: &[u8]) -> Result<Vec<u8>, String> {
    all(bzip2_rs::DecoderReader::new(stream))
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

fn lz4(stream: &[u8]) -> Result<Vec<u8>, String> {
    let (magic, mut rest) = word(stream).ok_or("no magic")?;
    if magic != LZ4_MAGIC {
        return Err("no lz4 magic".into());
    }
    let mut out = Vec::new();
    while let Some((len, tail)) = word(rest) {
        if len == 0 || tail.is_empty() && len as usize == out.len() {
            return Ok(out);
        }
        rest = tail;
        if len == LZ4_MAGIC {
            continue;
        }
        let chunk = rest.get(..len as usize).ok_or("a chunk past the end")?;
        let chunk = lz4::block::decompress(chunk, Some(LZ4_CHUNK));
        out.extend(chunk.map_err(|error| error.to_string())?);
        rest = &rest[len as usize..];
    }
    match rest.iter().all(|byte| *byte == 0) {
        true => Ok(out),
        false => Err("bytes behind the last chunk".into()),
    }
}

/// lzop's flags (its `conf.h`): checksums of the unpacked and packed block, by Adler-32 and CRC-32.
const LZOP_MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
const ADLER_UNPACKED: u32 = 1;
const ADLER_PACKED: u32 = 2;
const EXTRA_FIELD: u32 = 0x40;
const CRC_UNPACKED: u32 = 0x100;
const CRC_PACKED: u32 = 0x200;
const FILTER: u32 = 0x800;
/// The version since which the header has more fields.
const LZOP_NEW: u32 = 0x940;

/// Reads lzop's container; numbers in it are big-endian. Checksums are not looked at: kpeel does.
fn lzop(stream: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Lzop {
        rest: stream.strip_prefix(LZOP_MAGIC).ok_or("no lzop magic")?,
    };
    let flags = reader.header().ok_or("a header past the end")?;
    let sums = |of: [u32; 2]| 4 * of.iter().filter(|sum| flags & **sum != 0).count();
    let mut out = Vec::new();
    loop {
        let unpacked = reader.number(4).ok_or("no end")? as usize;
        if unpacked == 0 {
            return Ok(out);
        }
        let packed = reader.number(4).ok_or("no packed length")? as usize;
        let skip = sums([ADLER_UNPACKED, CRC_UNPACKED]);
        reader.take(skip).ok_or("no checksum")?;
        if packed < unpacked {
            let skip = sums([ADLER_PACKED, CRC_PACKED]);
            reader.take(skip).ok_or("no checksum")?;
        }
        let block = reader.take(packed).ok_or("a block past the end")?;
        if packed == unpacked {
            out.extend_from_slice(block);
        } else if unpacked as u64 > MOST {
            return Err("a block too large".into());
        } else {
            let mut room = vec![0; unpacked];
            let len = lzallright::decompress(block, &mut room);
            room.truncate(len.map_err(|error| error.to_string())?);
            out.extend(room);
        }
    }
}

/// What is left of an lzop file.
struct Lzop<'a> {
    rest: &'a [u8],
}

impl<'a> Lzop<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self, len: usize) -> Option<u32> {
        let bytes = self.take(len)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| (number << 8) | u32::from(*byte)),
        )
    }

    /// Reads the header and gives its flags.
    fn header(&mut self) -> Option<u32> {
        let version = self.number(2)?;
        // The library's version, and that needed to extract; method and level.
        let new = version >= LZOP_NEW;
        self.take(if new { 2 + 2 + 2 } else { 2 + 1 })?;
        let flags = self.number(4)?;
        if flags & FILTER != 0 {
            self.take(4)?;
        }
        // Mode, time, and its upper half.
        self.take(if new { 4 + 4 + 4 } else { 4 + 4 })?;
        let name = self.number(1)? as usize;
        self.take(name + 4)?;
        if flags & EXTRA_FIELD != 0 {
            let extra = self.number(4)? as usize;
            self.take(extra.checked_add(4)?)?;
        }
        Some(flags)
    }
}
