//! The hash of a PE image, as Microsoft's "Windows Authenticode Portable Executable Signature
//! Format", "Calculating the PE Image Hash", describes it and firmware implements it.

use std::process::Command;

use crate::pe::Image;
use crate::{Outcome, tool};

/// A hash function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// As openssl calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Its object identifier, encoded (RFC 3279, 2.2.1 and RFC 5754, 2).
    pub(crate) fn oid(self) -> &'static [u8] {
        match self {
            Self::Md5 => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05],
            Self::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            Self::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            Self::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        }
    }

    /// The hash of these bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-binary"]);
        tool::run(openssl.arg(format!("-{}", self.name())), bytes)
    }
}

/// The bytes that are hashed, in their order. What lies between sections is not among them; what an
/// image only says it has is left out.
pub(crate) fn hashed(image: &Image) -> Vec<u8> {
    let bytes = &image.bytes;
    let check_sum = image.check_sum();
    let directory = image.directory(4);
    let end = image.table().map_or(bytes.len(), |(start, _)| start);
    let headers = end.min(image.u32(image.size_of_headers()) as usize);
    let mut out = [
        &bytes[..check_sum],
        &bytes[check_sum + 4..directory],
        &bytes[directory + 8..headers],
    ]
    .concat();
    let mut sections: Vec<(usize, usize)> = (0..image.sections())
        .filter(|index| image.section(index + 1) <= end)
        .map(|index| image.raw(index))
        .filter(|(start, len)| *len != 0 && start + len <= end)
        .collect();
    sections.sort_unstable();
    let mut counted = headers;
    for (start, len) in sections {
        out.extend_from_slice(&bytes[start..start + len]);
        counted += len;
    }
    if counted < end {
        out.extend_from_slice(&bytes[counted..end]);
    }
    out
}
