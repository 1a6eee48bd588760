//! Encoders: what tests and the image writer pack with.

use adler2::adler32_slice as adler;
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use zstd_safe::{CCtx, CParameter};

use crate::{Codec, Error, Value};

/// An xz branch filter: converts an architecture's relative branches, which packs its code better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Branch {
    /// x86, 32 and 64 bits.
    X86,
    /// PowerPC, big-endian.
    PowerPc,
    /// Itanium.
    Ia64,
    /// ARM.
    Arm,
    /// ARM Thumb.
    ArmThumb,
    /// SPARC.
    Sparc,
    /// ARM64.
    Arm64,
    /// RISC-V.
    RiscV,
}

/// Packs `input` as one stream.
///
/// Levels are those of the codec's tool: gzip 0 to 12 (libdeflate's), zstd 1 to 22, xz and lzma 0 to 9, bzip2 1 to
/// 9; lz4 and lzo have one encoder and take 0 to 12 and 0 to 9. Streams are such that Linux unpacks them: xz has a
/// CRC-32 check and no filter ([`compress_xz`] has one), lzo has blocks of 256 KiB.
///
/// # Errors
///
/// [`Error::Unsupported`] for a level that there is not; [`Error::Memory`] when an encoder fails.
pub fn compress(codec: Codec, level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    let levels = match codec {
        Codec::Gzip | Codec::Lz4 => (0, 12, "0 to 12"),
        Codec::Zstd => (1, 22, "1 to 22"),
        Codec::Xz | Codec::Lzma | Codec::Lzo => (0, 9, "0 to 9"),
        Codec::Bzip2 => (1, 9, "1 to 9"),
    };
    check_level(codec, level, levels)?;
    match codec {
        Codec::Gzip => gzip(level, input),
        Codec::Zstd => zstd(level, input),
        Codec::Xz => compress_xz(None, level, input),
        Codec::Lzma => lzma(level, input),
        Codec::Lz4 => Ok(lz4(input)),
        Codec::Lzo => lzo(input),
        Codec::Bzip2 => bzip2(level, input),
    }
}

/// Packs `input` as .xz with a branch filter, as Linux' xz_wrap.sh does for kernels.
///
/// # Errors
///
/// As [`compress`].
pub fn compress_xz(branch: Option<Branch>, level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    check_level(Codec::Xz, level, (0, 9, "0 to 9"))?;
    let failed = |_| failed(Codec::Xz, input);
    let mut filters = Filters::new();
    match branch {
        None => &mut filters,
        Some(Branch::X86) => filters.x86(),
        Some(Branch::PowerPc) => filters.powerpc(),
        Some(Branch::Ia64) => filters.ia64(),
        Some(Branch::Arm) => filters.arm(),
        Some(Branch::ArmThumb) => filters.arm_thumb(),
        Some(Branch::Sparc) => filters.sparc(),
        Some(Branch::Arm64) => filters.arm64(),
        Some(Branch::RiscV) => filters.riscv(),
    };
    filters.lzma2(&LzmaOptions::new_preset(level).map_err(failed)?);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).map_err(failed)?;
    run(Codec::Xz, stream, input)
}

fn check_level(
    codec: Codec,
    level: u32,
    (least, most, text): (u32, u32, &'static str),
) -> Result<(), Error> {
    if (least..=most).contains(&level) {
        return Ok(());
    }
    let (found, needed) = (Value::Number(level.into()), Value::Text(text));
    Err(Error::Unsupported {
        codec,
        field: "level",
        offset: 0,
        found,
        needed,
    })
}

fn failed(codec: Codec, input: &[u8]) -> Error {
    Error::Memory {
        codec,
        asked: input.len() as u64,
    }
}

fn gzip(level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = failed(Codec::Gzip, input);
    let level = i32::try_from(level)
        .ok()
        .and_then(|l| libdeflater::CompressionLvl::new(l).ok());
    let mut encoder = libdeflater::Compressor::new(level.ok_or(failed)?);
    let mut packed = vec![0; encoder.gzip_compress_bound(input.len())];
    let len = encoder
        .gzip_compress(input, &mut packed)
        .map_err(|_| failed)?;
    packed.truncate(len);
    Ok(packed)
}

fn zstd(level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = failed(Codec::Zstd, input);
    let mut context = CCtx::try_create().ok_or(failed)?;
    let level = i32::try_from(level).map_err(|_| failed)?;
    context
        .set_parameter(CParameter::CompressionLevel(level))
        .map_err(|_| failed)?;
    context
        .set_parameter(CParameter::ChecksumFlag(true))
        .map_err(|_| failed)?;
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(input.len()));
    context.compress2(&mut packed, input).map_err(|_| failed)?;
    Ok(packed)
}

fn lzma(level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |_| failed(Codec::Lzma, input);
    let options = LzmaOptions::new_preset(level).map_err(failed)?;
    run(
        Codec::Lzma,
        Stream::new_lzma_encoder(&options).map_err(failed)?,
        input,
    )
}

fn run(codec: Codec, mut stream: Stream, input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packed = Vec::with_capacity(input.len() / 2 + 4096);
    loop {
        let at = usize::try_from(stream.total_in()).map_err(|_| failed(codec, input))?;
        let rest = input.get(at..).unwrap_or_default();
        match stream.process_vec(rest, &mut packed, Action::Finish) {
            Ok(Status::StreamEnd) => return Ok(packed),
            Ok(_) => packed.reserve(packed.len() / 2 + 4096),
            Err(_) => return Err(failed(codec, input)),
        }
    }
}

/// Bytes of a chunk of LZ4 legacy before packing.
const LZ4_CHUNK: usize = 8 << 20;

fn lz4(input: &[u8]) -> Vec<u8> {
    let mut packed = 0x184c_2102_u32.to_le_bytes().to_vec();
    for chunk in input.chunks(LZ4_CHUNK) {
        let block = lz4_flex::block::compress(chunk);
        packed.extend((block.len() as u32).to_le_bytes());
        packed.extend(block);
    }
    packed
}

/// Bytes of a block before packing; Linux takes no more.
const LZO_BLOCK: usize = 256 << 10;
/// Version 1.030 of lzop with LZO 2.10, readable from 0.940 on; method LZO1X-999, level 9.
const LZO_VERSIONS: [u8; 8] = [0x10, 0x30, 0x20, 0xa0, 0x09, 0x40, 3, 9];
/// Made on Unix; blocks have an Adler-32 of their unpacked bytes.
const LZO_FLAGS: u32 = 0x0300_0001;

fn lzo(input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut header = LZO_VERSIONS.to_vec();
    header.extend(LZO_FLAGS.to_be_bytes());
    header.extend(0o100_644_u32.to_be_bytes());
    // Time, its high half, the length of the name.
    header.extend([0; 9]);
    let mut packed = b"\x89LZO\0\r\n\x1a\n".to_vec();
    packed.extend(&header);
    packed.extend(adler(&header).to_be_bytes());
    for chunk in input.chunks(LZO_BLOCK) {
        let block = lzokay::compress::compress(chunk).map_err(|_| failed(Codec::Lzo, input))?;
        let block = if block.len() < chunk.len() {
            &block[..]
        } else {
            chunk
        };
        packed.extend((chunk.len() as u32).to_be_bytes());
        packed.extend((block.len() as u32).to_be_bytes());
        packed.extend(adler(chunk).to_be_bytes());
        packed.extend(block);
    }
    packed.extend([0; 4]);
    Ok(packed)
}

fn bzip2(level: u32, input: &[u8]) -> Result<Vec<u8>, Error> {
    use bzip2::{Action, Compress, Compression, Status};
    let mut encoder = Compress::new(Compression::new(level), 0);
    let mut packed = Vec::with_capacity(input.len() / 2 + 4096);
    loop {
        let at = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
        let rest = input.get(at..).unwrap_or_default();
        match encoder.compress_vec(rest, &mut packed, Action::Finish) {
            Ok(Status::StreamEnd) => return Ok(packed),
            Ok(_) => packed.reserve(packed.len() / 2 + 4096),
            Err(_) => return Err(failed(Codec::Bzip2, input)),
        }
    }
}
