//! Files that are compressed as a whole, such as arm64's `Image.gz`.

use std::sync::Arc;

use kpeel_codec::Codec;
use kpeel_envelope::error::Result;
use kpeel_envelope::limits::Meter;
use kpeel_envelope::pe::looks_like_pe;

use crate::buffer::Buffer;
use crate::codec;
use crate::recognise::Machine;

/// Unpacks a file that is compressed as a whole; `None` for one that is not. Only one layer of
/// compression is taken off.
///
/// Images and plain kernels are never looked at as compressed data, whatever their first bytes say.
///
/// # Errors
/// What the codec complains of; `Refused` when the result would be larger than a kernel may be.
pub fn unpack_whole(file: &Buffer, meter: &Arc<Meter>) -> Result<Option<Buffer>> {
    let bytes = file.as_ref();
    if looks_like_pe(bytes) || Machine::of_kernel(bytes).is_some() {
        return Ok(None);
    }
    let Some(codec) = Codec::detect(bytes) else {
        return Ok(None);
    };
    let limits = meter.limits();
    let left = limits.memory.saturating_sub(meter.held());
    let limits = kpeel_codec::Limits {
        output: limits.kernel.min(left),
        ..kpeel_codec::Limits::default()
    };
    let unpacked = kpeel_codec::decompress(codec, bytes, &limits);
    let unpacked = unpacked.map_err(|error| codec::error(&error))?;
    Buffer::from_vec(unpacked, meter).map(Some)
}

#[cfg(test)]
mod tests {
    use kpeel_envelope::limits::Limits;

    use super::*;

    fn unpack(bytes: &[u8], kernel: u64) -> Result<Option<Vec<u8>>> {
        let limits = Limits {
            kernel,
            ..Limits::default()
        };
        let meter = Arc::new(Meter::new(limits));
        let file = Buffer::from_vec(bytes.to_vec(), &meter).unwrap();
        let unpacked = unpack_whole(&file, &meter)?;
        Ok(unpacked.map(|buffer| buffer.as_ref().to_vec()))
    }

    /// `printf kernel | gzip -n`.
    const GZIP: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x4e, 0x2d, 0xca, 0x4b, 0xcd, 1, 0, 0xab, 0x9a,
        0xd2, 0x5d, 6, 0, 0, 0,
    ];

    #[test]
    fn unpacks_a_compressed_file() {
        assert_eq!(unpack(GZIP, 6).unwrap().unwrap(), b"kernel");
    }

    #[test]
    fn refuses_a_result_over_the_bound_of_kernels() {
        let error = unpack(GZIP, 5).unwrap_err();
        assert_eq!(error.errno(), 7);
    }

    #[test]
    fn reports_a_truncated_stream() {
        let truncated = GZIP.split_last().unwrap().1;
        assert_eq!(
            unpack(truncated, 6).unwrap_err().class,
            kpeel_envelope::error::Class::Malformed
        );
    }

    #[test]
    fn leaves_other_files_alone() {
        assert!(unpack(b"MZ\x1f\x8b", 6).unwrap().is_none());
        assert!(unpack(b"kernel", 6).unwrap().is_none());
        assert!(unpack(b"", 6).unwrap().is_none());
    }
}
