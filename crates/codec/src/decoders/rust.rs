//! miniz_oxide, ruzstd, lzma-rust2.

use std::io::{self, ErrorKind, Read};

use lzma_rust2::{DICT_SIZE_MAX, LzmaReader, XzReader};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Decoders, Stop, XZ_STATE};
use crate::output::{Output, memory};
use crate::reader::{Reader, corrupt, malformed, truncated};
use crate::xz::{self, Block};
use crate::zstd::Frame;
use crate::{Bound, Codec, Error, Limits, Value, lzma};

/// The decoders in Rust.
pub(crate) struct Rust;

impl Decoders for Rust {
    fn gzip(input: &[u8], body: usize, room: &mut [u8]) -> Result<usize, Stop> {
        const CODEC: Codec = Codec::Gzip;
        let data = input.get(body..).unwrap_or_default();
        let mut decoder = Box::<DecompressorOxide>::default();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut decoder, data, room, 0, flags);
        let at = body.saturating_add(read);
        match status {
            TINFLStatus::Done => {}
            TINFLStatus::HasMoreOutput => return Err(Stop::Room),
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(Stop::Error(truncated(CODEC, "deflate data", at)));
            }
            _ => return Err(Stop::Error(corrupt(CODEC, "deflate data", at))),
        }
        let content = room.get(..written).unwrap_or_default();
        gzip_trailer(input, at, content).map_err(Stop::Error)?;
        Ok(written)
    }

    fn zstd(frame: &Frame<'_>, limits: &Limits) -> Result<Vec<u8>, Error> {
        const CODEC: Codec = Codec::Zstd;
        let wrong_size = || corrupt(CODEC, "content size", frame.bytes.len());
        // Where the frame itself says how much there is, more than that is no matter of limits.
        let over = |error| match error {
            Error::Limit { .. } if frame.most <= limits.output => wrong_size(),
            error => error,
        };
        let mut output = Output::new(
            CODEC,
            &Limits {
                output: limits.output.min(frame.most),
                ..*limits
            },
            frame.bytes,
        )?;
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(limits.window);
        let mut source = frame.bytes;
        if decoder.init(&mut source).is_err() {
            return Err(corrupt(CODEC, "frame header", 0));
        }
        while !decoder.is_finished() {
            let step = BlockDecodingStrategy::UptoBytes(ZSTD_STEP);
            if decoder.decode_blocks(&mut source, step).is_err() {
                let at = frame.bytes.len().saturating_sub(source.len());
                return Err(corrupt(CODEC, "block", at));
            }
            collect(&mut decoder, &mut output).map_err(over)?;
        }
        if frame
            .content_size
            .is_some_and(|size| size != output.len() as u64)
        {
            return Err(wrong_size());
        }
        let found = decoder.get_checksum_from_data();
        if found.is_some() && found != decoder.get_calculated_checksum() {
            let at = frame.bytes.len().saturating_sub(4);
            return Err(corrupt(CODEC, "content checksum", at));
        }
        Ok(output.finish())
    }

    fn xz(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
        const CODEC: Codec = Codec::Xz;
        let kib = limits.window.saturating_add(XZ_STATE) / 1024;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let mut reader = XzReader::new_mem_limit(input, false, kib);
        let mut output = Output::new(CODEC, limits, input)?;
        let copied = copy(&mut reader, &mut output);
        let at = input.len().saturating_sub(reader.inner().len());
        copied.map_err(|stop| match stop {
            Stopped::Here(error) => error,
            // The first block's dictionary is bounded already; this is that of a later block.
            Stopped::There(ErrorKind::OutOfMemory) => Error::Limit {
                codec: CODEC,
                bound: Bound::Window,
                asked: limits.window.saturating_add(1),
                allowed: limits.window,
            },
            Stopped::There(kind) => refused(CODEC, kind, at),
        })?;
        xz_sizes(input.get(..at).unwrap_or_default(), output.len())?;
        Ok(output.finish())
    }

    fn lzma(input: &[u8], header: &lzma::Header, limits: &Limits) -> Result<Vec<u8>, Error> {
        const CODEC: Codec = Codec::Lzma;
        let data = input.get(header.data..).unwrap_or_default();
        let size = header.size.unwrap_or(u64::MAX);
        let dictionary = header.dictionary.min(DICT_SIZE_MAX);
        let reader = LzmaReader::new_with_props(data, size, header.properties, dictionary, None);
        let mut reader = reader.map_err(|error| refused(CODEC, error.kind(), header.data))?;
        reader.set_relaxed_end_condition(false);
        let mut output = Output::new(CODEC, limits, input)?;
        let copied = copy(&mut reader, &mut output);
        let at = input.len().saturating_sub(reader.inner().len());
        copied.map_err(|stop| match stop {
            Stopped::Here(error) => error,
            Stopped::There(ErrorKind::OutOfMemory) => memory(CODEC, limits.window),
            Stopped::There(kind) => refused(CODEC, kind, at),
        })?;
        Ok(output.finish())
    }
}

/// Bytes that are decoded before they are taken out of ruzstd's window.
const ZSTD_STEP: usize = 256 << 10;

/// Takes out of ruzstd what its window does not need.
fn collect(decoder: &mut FrameDecoder, output: &mut Output) -> Result<(), Error> {
    while decoder.can_collect() > 0 {
        output.fill(|room| match decoder.read(room) {
            Ok(written) => Ok((written, ())),
            Err(_) => Err(corrupt(Codec::Zstd, "block", 0)),
        })?;
    }
    Ok(())
}

/// RFC 1952, 2.3.1: CRC-32 and ISIZE.
fn gzip_trailer(input: &[u8], at: usize, content: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(Codec::Gzip, input);
    reader.take("deflate data", at)?;
    let found = reader.u32_le("crc32")?;
    reader.expect("crc32", 4, found.into(), crc32fast::hash(content).into())?;
    let found = reader.u32_le("isize")?;
    reader.expect("isize", 4, found.into(), content.len() as u64 & 0xffff_ffff)
}

/// Who stopped a copy: the output's limit or the library.
enum Stopped {
    Here(Error),
    There(ErrorKind),
}

/// Reads all of `reader` into `output`.
fn copy(reader: &mut impl Read, output: &mut Output) -> Result<(), Stopped> {
    loop {
        let mut failed = None;
        let (written, ()) = output
            .fill(|room| {
                let read = reader.read(room).unwrap_or_else(|error: io::Error| {
                    failed = Some(error.kind());
                    0
                });
                Ok((read, ()))
            })
            .map_err(Stopped::Here)?;
        match failed {
            Some(kind) => return Err(Stopped::There(kind)),
            None if written == 0 => return Ok(()),
            None => {}
        }
    }
}

/// What a refusal of lzma-rust2 is here.
fn refused(codec: Codec, kind: ErrorKind, at: usize) -> Error {
    match kind {
        ErrorKind::UnexpectedEof => truncated(codec, "stream", at),
        ErrorKind::Unsupported => Error::Unsupported {
            codec,
            field: "stream",
            offset: at as u64,
            found: Value::Text("options that lzma-rust2 does not have"),
            needed: Value::Text("those of .xz 1.2.1"),
        },
        _ => corrupt(codec, "stream", at),
    }
}

/// The stream footer: CRC-32, backward size, flags, magic (.xz 1.2.1, 2.1.2).
const XZ_FOOTER: usize = 12;

/// Compares the sizes in the index of a decoded stream and those in its block headers, which lzma-rust2 does not.
fn xz_sizes(stream: &[u8], unpacked: usize) -> Result<(), Error> {
    let check = xz::stream_header(stream)?;
    let (mut index, start) = xz_index(stream)?;
    let (mut at, mut total) = (xz::STREAM_HEADER as u64, 0_u64);
    for _ in 0..xz::integer(&mut index, "index record count")? {
        let unpadded = xz::integer(&mut index, "index unpadded size")?;
        let content = xz::integer(&mut index, "index unpacked size")?;
        let header = Block::read(stream, usize::try_from(at).unwrap_or(usize::MAX))?;
        let block = header.ok_or_else(|| other_sizes("index records", start))?;
        let packed = unpadded.checked_sub(block.header.saturating_add(check));
        if packed.is_none()
            || block.packed.is_some_and(|size| packed != Some(size))
            || block.unpacked.is_some_and(|size| content != size)
        {
            return Err(other_sizes("block sizes", start));
        }
        at = unpadded
            .checked_next_multiple_of(4)
            .and_then(|len| at.checked_add(len))
            .ok_or_else(|| other_sizes("index records", start))?;
        total = total.saturating_add(content);
    }
    // What is left is padding to a multiple of four, and a CRC-32.
    if at != start as u64 || total != unpacked as u64 || index.rest().len() >= 8 {
        return Err(other_sizes("index records", start));
    }
    Ok(())
}

/// The index of a decoded stream, where the footer says it is, from its record count on; and where it starts.
fn xz_index(stream: &[u8]) -> Result<(Reader<'_>, usize), Error> {
    let end = stream.len().saturating_sub(XZ_FOOTER);
    let mut footer = Reader::new(Codec::Xz, stream);
    footer.take("blocks, index, footer crc32", end.saturating_add(4))?;
    let backward = (footer.u32_le("backward size")? as usize)
        .saturating_add(1)
        .saturating_mul(4);
    let start = end
        .checked_sub(backward)
        .ok_or_else(|| other_sizes("backward size", end))?;
    let mut index = Reader::new(Codec::Xz, stream.get(..end).unwrap_or_default());
    // Blocks, then the zero byte that marks an index.
    index.take("blocks", start)?;
    index.take("index indicator", 1)?;
    Ok((index, start))
}

fn other_sizes(field: &'static str, at: usize) -> Error {
    let found = Value::Text("other sizes");
    malformed(
        Codec::Xz,
        field,
        at,
        found,
        Value::Text("those of the blocks"),
    )
}
