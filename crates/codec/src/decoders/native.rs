//! libdeflate, libzstd, liblzma.

use liblzma::stream::{Action, Error as LzmaError, Status, Stream, TELL_UNSUPPORTED_CHECK};
use zstd_safe::is_error_kind;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;

use super::{Decoders, Stop, XZ_STATE};
use crate::output::{Output, memory, over, probe};
use crate::pages::advise_large;
use crate::reader::{corrupt, truncated};
use crate::zstd::Frame;
use crate::{Bound, Codec, Error, Limits, Value, lzma};

/// Bytes that libdeflate's decoder has at most; without them making one panics.
const GZIP_STATE: usize = 64 << 10;

/// The decoders in C.
pub(crate) struct Native;

impl Decoders for Native {
    fn gzip(input: &[u8], body: usize, room: &mut [u8]) -> Result<usize, Stop> {
        use libdeflater::DecompressionError;
        probe(Codec::Gzip, GZIP_STATE).map_err(Stop::Error)?;
        let result = libdeflater::Decompressor::new().gzip_decompress(input, room);
        result.map_err(|error| match error {
            DecompressionError::InsufficientSpace => Stop::Room,
            DecompressionError::BadData => {
                Stop::Error(corrupt(Codec::Gzip, "deflate data or its crc32", body))
            }
        })
    }

    /// One call decodes the frame into the result, which is the window as well.
    fn zstd(frame: &Frame<'_>, limits: &Limits) -> Result<Vec<u8>, Error> {
        const CODEC: Codec = Codec::Zstd;
        let room = frame.most.min(limits.output);
        let mut result = Vec::new();
        usize::try_from(room)
            .ok()
            .and_then(|room| result.try_reserve_exact(room).ok())
            .ok_or_else(|| memory(CODEC, room))?;
        advise_large(&mut result, frame.bytes.len(), frame.content_size);
        let mut context = zstd_safe::DCtx::try_create().ok_or_else(|| memory(CODEC, room))?;
        if let Err(code) = context.decompress(&mut result, frame.bytes) {
            let full = is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall);
            return Err(match frame.content_size {
                None if full && room < frame.most => over(CODEC, limits),
                _ => corrupt(CODEC, "frame", 0),
            });
        }
        result.shrink_to_fit();
        Ok(result)
    }

    fn xz(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
        let memory = limits.window.saturating_add(XZ_STATE);
        let stream = Stream::new_stream_decoder(memory, TELL_UNSUPPORTED_CHECK);
        run(Codec::Xz, stream, input, limits)
    }

    fn lzma(input: &[u8], _header: &lzma::Header, limits: &Limits) -> Result<Vec<u8>, Error> {
        // The only dictionary is bounded already.
        run(
            Codec::Lzma,
            Stream::new_lzma_decoder(u64::MAX),
            input,
            limits,
        )
    }
}

/// Runs liblzma over `input` to the end of its stream.
fn run(
    codec: Codec,
    stream: Result<Stream, LzmaError>,
    input: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let mut stream = stream.map_err(|error| refused(codec, error, 0, limits))?;
    let mut output = Output::new(codec, limits, input)?;
    loop {
        let at = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = input.get(at..).unwrap_or_default();
        let (_, status) = output.fill(|room| {
            let before = stream.total_out();
            // Says `MemNeeded` when called twice without progress, so this loop ends.
            let status = stream.process(rest, room, Action::Run).map_err(|error| {
                let at = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
                refused(codec, error, at, limits)
            })?;
            let written = stream.total_out().saturating_sub(before);
            Ok((usize::try_from(written).unwrap_or(usize::MAX), status))
        })?;
        match status {
            Status::StreamEnd => return Ok(output.finish()),
            Status::Ok | Status::GetCheck => {}
            Status::MemNeeded => return Err(truncated(codec, "stream", at)),
        }
    }
}

/// What a refusal of liblzma after `at` bytes is here.
fn refused(codec: Codec, error: LzmaError, at: usize, limits: &Limits) -> Error {
    match error {
        LzmaError::Options | LzmaError::UnsupportedCheck => Error::Unsupported {
            codec,
            field: "stream",
            offset: at as u64,
            found: Value::Text("options that liblzma does not have"),
            needed: Value::Text("those of .xz 1.2.1"),
        },
        // The first block's dictionary is bounded already; this is that of a later block.
        LzmaError::MemLimit => Error::Limit {
            codec,
            bound: Bound::Window,
            asked: limits.window.saturating_add(1),
            allowed: limits.window,
        },
        LzmaError::Mem => memory(codec, limits.window),
        _ => corrupt(codec, "stream", at),
    }
}
